"""``lesionlens app``: how it starts and ends, what it says, what it does without a window."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.client import HTTPConnection
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("flet_web", reason="needs the app: pip install -e '.[app]'")

from lesionlens.app import window
from lesionlens.cli.app import USUAL_PORT
from lesionlens.errors import LesionLensError

Start = Callable[..., subprocess.Popen[str]]
Run = Callable[..., SimpleNamespace]

#: Without a display, without a browser to open.
BARE = ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER", "FLET_FORCE_WEB_SERVER", "FLET_VIEW_PATH")


@pytest.fixture
def start() -> Iterator[Start]:
    """A function that starts ``lesionlens app ARGUMENTS`` where there is no display."""
    started: list[subprocess.Popen[str]] = []

    def start(
        *arguments: str, usual_port: int = USUAL_PORT, **environment: str
    ) -> subprocess.Popen[str]:
        bare = {key: value for key, value in os.environ.items() if key not in BARE}
        code = f"from lesionlens.cli import app, main; app.USUAL_PORT = {usual_port}; main.main()"
        module = ["-m", "lesionlens"] if usual_port == USUAL_PORT else ["-c", code]
        process = subprocess.Popen(
            [sys.executable, *module, "app", *arguments],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={**bare, **environment},
        )  # fmt: skip
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def url_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def answers_at(url: str) -> bool:
    """Whether it is the app that answers; it does once its start is over."""
    with urllib.request.urlopen(f"{url}/manifest.json", timeout=60) as answer:
        return bool(json.load(answer)["name"] == "LesionLens")


def test_it_prints_the_address_serves_there_and_ends_quietly_on_ctrl_c(start: Start) -> None:
    process = start("--web")
    url = url_of(process)
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+", url)
    assert answers_at(url)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert out == ""
    assert err == "LesionLens is ready; Ctrl-C ends it.\n"


def test_without_a_port_it_is_the_usual_one_or_a_free_one(start: Start) -> None:
    with socket.socket() as squatter:
        squatter.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        usual = bind_to_some_port(squatter)
        squatter.listen()
        assert not url_of(start("--web", usual_port=usual)).endswith(f":{usual}")
    assert url_of(start("--web", usual_port=usual)).endswith(f":{usual}")


def bind_to_some_port(listener: socket.socket) -> int:
    """Take one that this test alone uses: not the usual one, nor one that systems give out."""
    for port in random.SystemRandom().sample(range(20_000, 30_000), 100):
        with suppress(OSError):
            listener.bind(("127.0.0.1", port))
            return port
    pytest.fail("none of 100 ports is free")


def test_the_usual_port_that_is_taken_at_the_last_moment_is_no_failure(
    run_command: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def serve(_: Any, *, port: int, **__: Any) -> None:
        asked.append(port)
        if port == USUAL_PORT:
            raise LesionLensError("another one was faster")

    monkeypatch.setattr("lesionlens.app.serving.serve", serve)
    assert run_command("app", "--web").code == 0
    assert asked == [USUAL_PORT, 0]
    done = run_command("app", "--web", "--port", USUAL_PORT)  # who asks for it gets it or is told
    assert (done.code, done.err) == (2, "lesionlens: another one was faster\n")


def test_a_second_one_on_the_same_port_is_told_that_the_first_runs_there(
    start: Start, run_command: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = url_of(start("--web"))
    answers_at(url)

    class Patient(HTTPConnection):
        """Waits for the first however busy the machine is, where the program waits a second."""

        def __init__(self, host: str, port: int, *, timeout: float) -> None:
            super().__init__(host, port, timeout=60 * timeout)

    monkeypatch.setattr("http.client.HTTPConnection", Patient)
    port = url.rsplit(":", 1)[1]
    second = run_command("app", "--web", "--port", port)
    assert second.code == 2
    assert second.out == ""
    (line,) = second.err.splitlines()
    assert line.startswith(f"lesionlens: port {port} is taken: LesionLens is running there already")


def test_the_page_is_opened_in_the_browser_that_is_set(start: Start, tmp_path: Path) -> None:
    note = tmp_path / "opened"
    script = tmp_path / "browser.sh"
    script.write_text(f'#!/bin/sh\necho "$1" > {note}\n', encoding="utf-8")
    script.chmod(0o755)
    url = url_of(start("--web", BROWSER=str(script)))
    until = time.monotonic() + 60
    while not (note.is_file() and note.read_text(encoding="utf-8")) and time.monotonic() < until:
        time.sleep(0.05)
    assert note.read_text(encoding="utf-8").strip() == url
    note.unlink()
    assert answers_at(url_of(start("--web", "--no-browser", BROWSER=str(script))))
    assert not note.exists()  # what opens the page is over before the server answers


def test_without_a_display_it_says_so_and_comes_up_in_the_browser(start: Start) -> None:
    process = start()
    assert url_of(process).startswith("http://127.0.0.1:")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    why, ready = err.splitlines()
    assert why.startswith("lesionlens: there is no display here. The app comes up in the browser")
    assert ready.startswith("LesionLens is ready")
    assert process.returncode == 0


def test_letting_other_machines_in_is_told_what_it_means(start: Start) -> None:
    process = start("--web", "--host", "0.0.0.0")
    assert url_of(process).startswith("http://127.0.0.1:")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert "--host 0.0.0.0 lets other machines in" in err
    assert "unencrypted" in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--language", "xx"), "--language xx: is not one of en, "),
        (("--web", "--history", "."), "--history is of the window"),
        (("--web", "--model", "no-such-bundle"), "no-such-bundle"),
        (("--web", "--host", "no such host"), "--host no such host: is neither"),
    ],
)
def test_bad_usage_is_one_line_and_exit_code_2(
    run_command: Run, arguments: tuple[str, ...], words: str
) -> None:
    done = run_command("app", *arguments)
    assert done.code == 2
    assert not done.out
    (line,) = done.err.splitlines()
    assert line.startswith("lesionlens: ")
    assert words in line


# ---------------------------------------------------------------- the window


@pytest.fixture
def with_client(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A display, and a flet-desktop of the right release with a client of its own."""
    monkeypatch.setenv("DISPLAY", ":99")
    monkeypatch.setenv("FLET_VIEW_PATH", str(tmp_path))
    monkeypatch.delenv("FLET_FORCE_WEB_SERVER", raising=False)
    monkeypatch.setattr(window, "version", lambda _: "1.0.5")


async def nothing(_: Any) -> None: ...


@pytest.mark.usefixtures("with_client")
def test_a_client_that_ends_before_it_shows_anything_is_no_window(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def end_at_once(*_: Any, **__: Any) -> None:
        signal.signal(signal.SIGINT, lambda *_: pytest.fail("Flet's handler is still there"))

    monkeypatch.setattr("flet.run", end_at_once)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(window.NoWindowError, match="ended before it showed anything"):
        window.run_window(nothing)
    assert signal.getsignal(signal.SIGINT) is before  # Ctrl-C ends the server that comes then


@pytest.mark.usefixtures("with_client")
def test_a_client_that_cannot_be_started_is_no_window(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied", "flet")

    monkeypatch.setattr("flet.run", fail)
    with pytest.raises(window.NoWindowError, match=r"cannot be started .*Permission denied"):
        window.run_window(nothing)


@pytest.mark.usefixtures("with_client")
def test_a_window_that_was_closed_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    import asyncio

    monkeypatch.setattr("flet.run", lambda main, **_: asyncio.run(main(object())))
    window.run_window(nothing)


@pytest.mark.usefixtures("with_client")
def test_without_its_package_nothing_is_installed_and_the_extra_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def absent(name: str) -> str:
        if name == "flet-desktop":
            raise PackageNotFoundError(name)
        return "1.0.5"

    monkeypatch.setattr(window, "version", absent)
    monkeypatch.setattr("flet.run", lambda *_, **__: pytest.fail("Flet would run pip"))
    with pytest.raises(window.NoWindowError, match=r"pip install 'lesionlens\[desktop\]'"):
        window.run_window(nothing)
    monkeypatch.setattr(window, "version", {"flet-desktop": "0.9", "flet": "1.0.5"}.__getitem__)
    with pytest.raises(window.NoWindowError, match=r"0\.9 does not fit flet 1\.0\.5"):
        window.run_window(nothing)
    monkeypatch.setenv("FLET_FORCE_WEB_SERVER", "true")
    with pytest.raises(window.NoWindowError, match="FLET_FORCE_WEB_SERVER"):
        window.run_window(nothing)
