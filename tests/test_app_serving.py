"""The server of ``lesionlens app --web``: who gets in, what a page may do, what goes back."""

from __future__ import annotations

import asyncio
import gc
import io
import re
import socket
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

pytest.importorskip("flet_web", reason="needs the app: pip install -e '.[app]'")

import msgpack
from flet_web import get_package_web_dir
from starlette.testclient import TestClient, WebSocketTestSession
from starlette.websockets import WebSocketDisconnect

from lesionlens.app import door, guarding, serving
from lesionlens.app.engine import MAX_PHOTO_BYTES
from lesionlens.errors import LesionLensError

HOST = "127.0.0.1:8000"
ORIGIN = {"Origin": f"http://{HOST}"}
WEBSOCKET = f"ws://{HOST}/ws"
CLIENT = Path(get_package_web_dir())
REGISTER = 1  # flet.messaging.protocol.MessageAction.REGISTER_CLIENT


class Visited:
    """A main function that remembers its pages (weakly) and what came through their doors."""

    def __init__(self) -> None:
        self.pages: list[weakref.ref[Any]] = []
        self.taken: list[tuple[str, str, bytes | None]] = []

    async def __call__(self, page: Any) -> None:
        session_id = page.session.id

        async def take(name: str, data: bytes | None) -> None:
            self.taken.append((session_id, name, data))

        self.pages.append(weakref.ref(page))
        door.open_door(page, take)

    def wait_for(self, n: int) -> list[tuple[str, str, bytes | None]]:
        until = time.monotonic() + 60
        while len(self.taken) < n and time.monotonic() < until:
            time.sleep(0.01)
        return self.taken


@pytest.fixture
def visited() -> Visited:
    return Visited()


@pytest.fixture
def client(visited: Visited) -> Iterator[TestClient]:
    application: Any = serving.build(visited.__call__, host="127.0.0.1")
    with TestClient(application, base_url=f"http://{HOST}") as client:
        yield client


@contextmanager
def connect(client: TestClient, **headers: str) -> Iterator[WebSocketTestSession]:
    """Have a WebSocket for a block, after which the server is done with it.

    The test client would cancel the server's side at once, in the middle of what it does about a
    connection that has ended: its session then stayed connected for good.
    """
    ended = threading.Event()
    session = client.websocket_connect(WEBSOCKET, headers={**ORIGIN, **headers})
    application = session.app

    async def told(scope: Any, receive: Any, send: Any) -> None:
        try:
            await application(scope, receive, send)
        finally:
            ended.set()

    session.app = told
    with session as websocket:
        yield websocket
        websocket.close()
        assert ended.wait(60), "the server is not done with a connection that was closed"


def register(websocket: WebSocketTestSession, visited: Visited, *, session: str = "") -> str:
    """Say hello as Flet's client does; returns the session's id once its main has run."""
    n_before = len(visited.pages)
    hello = [REGISTER, {"session_id": session, "page_name": "", "page": {"route": "/"}}]
    websocket.send_bytes(b"\x00" + msgpack.packb(hello))
    action, body = msgpack.unpackb(websocket.receive_bytes()[1:], strict_map_key=False)
    assert action == REGISTER
    until = time.monotonic() + 60
    while not session and len(visited.pages) == n_before and time.monotonic() < until:
        time.sleep(0.01)
    return str(body["session_id"])


# ---------------------------------------------------------------- who gets in


@pytest.mark.parametrize(
    ("header", "listening_on", "is_own"),
    [
        ("127.0.0.1:8000", "127.0.0.1", True),
        ("localhost:8000", "127.0.0.1", True),
        ("LOCALHOST", "127.0.0.1", True),
        ("[::1]:8000", "::1", True),
        ("evil.example", "127.0.0.1", False),
        ("127.0.0.1.evil.example", "127.0.0.1", False),
        ("192.168.0.7:8000", "127.0.0.1", False),
        ("192.168.0.7:8000", "192.168.0.7", True),
        ("192.168.0.7:8000", "0.0.0.0", True),
        ("evil.example:8000", "0.0.0.0", False),
        (socket.gethostname(), "0.0.0.0", True),
        ("127.0.0.1@evil.example", "127.0.0.1", False),
        ("127.0.0.1:port", "127.0.0.1", False),
        ("", "127.0.0.1", False),
    ],
)
def test_only_names_of_this_machine_are_answered(
    header: str, listening_on: str, is_own: bool
) -> None:
    assert guarding.is_own_host(header, listening_on) is is_own


def test_a_rebound_name_gets_nothing_and_is_told_what_to_open(client: TestClient) -> None:
    for path in ("/", "/main.dart.js", "/door/x"):
        answer = client.get(path, headers={"Host": "evil.example:8000"})
        assert answer.status_code == 403
        assert "lesionlens app" in answer.text
        assert "evil" not in str(answer.headers)


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://127.0.0.1:9000", f"file://{HOST}", None]
)
def test_pages_of_other_sites_open_no_websocket_and_post_nothing(
    client: TestClient, origin: str | None
) -> None:
    headers = {} if origin is None else {"Origin": origin}
    assert client.post("/door/x", content=b"x", headers=headers).status_code == 403
    with (
        pytest.raises(WebSocketDisconnect) as refused,
        client.websocket_connect(WEBSOCKET, headers=headers),
    ):
        pass
    assert refused.value.code == 1008
    assert "own page" in refused.value.reason


# ---------------------------------------------------------------- what a page may do


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 200),
        ("GET", "/manifest.json", 200),
        ("GET", "/nothing.png", 404),
        ("POST", "/door/nobody", 404),
    ],
)
def test_every_answer_carries_the_rules(
    client: TestClient, method: str, path: str, status: int
) -> None:
    answer = client.request(method, path, headers=ORIGIN)
    assert answer.status_code == status
    policy = dict(
        rule.strip().split(" ", 1) for rule in answer.headers["content-security-policy"].split(";")
    )
    assert policy["default-src"] == "'self'"
    assert policy["frame-ancestors"] == "'none'"
    allowed = {source for sources in policy.values() for source in sources.split()}
    assert allowed <= {
        "'self'", "'none'", "'wasm-unsafe-eval'", "'unsafe-inline'", "blob:", "data:",
        "mediastream:", f"ws://{HOST}", f"wss://{HOST}",
    }  # fmt: skip
    assert "'unsafe-inline'" not in policy["script-src"]
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["x-frame-options"] == "DENY"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"
    assert "camera=(self)" in answer.headers["permissions-policy"]
    assert "microphone=()" in answer.headers["permissions-policy"]
    assert "access-control-allow-origin" not in answer.headers


def test_the_page_is_ours_and_names_no_other_place(client: TestClient) -> None:
    page = client.get("/").text
    assert "<title>LesionLens</title>" in page
    assert "Flet<" not in page
    assert not re.search(r"<script(?![^>]*\bsrc=)", page), "the policy refuses inline scripts"
    named = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert len(named) >= 6
    for path in named:
        assert not path.startswith(("http:", "https:", "//")), path
        if not path.startswith("icons/") and path not in ("favicon.png", "/"):
            assert client.get(f"/{path}").status_code == 200, path
    assert client.get("/manifest.json").json()["name"] == "LesionLens"


def test_the_client_is_told_all_that_flets_own_page_tells_it(client: TestClient) -> None:
    theirs = (CLIENT / "index.html").read_text(encoding="utf-8")
    block = theirs.split("var flet = {", 1)[1].split("}", 1)[0]
    wanted = set(re.findall(r"^\s*(\w+):", block, re.MULTILINE))
    wanted -= {"pyodideUrl", "appPackageUrl"}  # Python in the browser: not ours
    assert {"webSocketEndpoint", "canvasKitBaseUrl", "noCdn"} <= wanted
    ours = client.get("/client.js").text
    told = dict(re.findall(r"^\s*(\w+): ([^,]+),", ours, re.MULTILINE))
    assert told.keys() == wanted
    assert told["noCdn"] == "true"
    assert told["pyodide"] == "false"


def test_whoever_reloads_in_the_middle_of_the_app_gets_the_page(client: TestClient) -> None:
    page = client.get("/").text
    for route in ("/history", "/history/3", "/learn/abcde"):
        answer = client.get(route)
        assert answer.status_code == 200
        assert answer.text == page
    assert client.get("/history/3.png").status_code == 404
    for climbing in ("/..%2f..%2fengine.py", "/web/../../engine.py", "/engine.py"):
        assert client.get(climbing).status_code == 404


def test_every_font_is_served_from_here(client: TestClient) -> None:
    fonts = client.get("/assets/FontManifest.json").json()
    families = {font["family"] for font in fonts}
    assert {"Roboto", "MaterialIcons"} <= families
    for font in fonts:
        for file in font["fonts"]:
            assert client.get(f"/assets/{file['asset']}").status_code == 200, file


def test_a_reload_fetches_no_file_again_that_is_the_same(client: TestClient) -> None:
    first = client.get("/main.dart.wasm")
    assert first.status_code == 200
    assert first.headers["cache-control"] == "no-cache"
    again = client.get("/main.dart.wasm", headers={"If-None-Match": first.headers["etag"]})
    assert again.status_code == 304
    assert not again.content


def test_icons_are_drawn_from_ours_in_the_sizes_that_browsers_ask_for(client: TestClient) -> None:
    if not (serving.ASSETS / "icon.png").is_file():
        pytest.skip("this tree has no icon yet")
    for icon in client.get("/manifest.json").json()["icons"]:
        answer = client.get(f"/{icon['src']}")
        assert answer.headers["content-type"] == icon["type"]
        with Image.open(io.BytesIO(answer.content)) as image:
            assert "x".join(map(str, image.size)) == icon["sizes"]


# ---------------------------------------------------------------- the door


def test_a_picture_reaches_the_session_that_it_was_dropped_on_and_no_other(
    client: TestClient, visited: Visited
) -> None:
    with connect(client) as one, connect(client) as other:
        first, second = register(one, visited), register(other, visited)
        assert first != second
        headers = {**ORIGIN, "X-File-Name": "l%C3%A9sion%201.png"}
        answer = client.post(f"/door/{second}", content=b"\x89PNG...", headers=headers)
        assert answer.status_code == 204
        assert visited.wait_for(1) == [(second, "lésion 1.png", b"\x89PNG...")]


def test_the_door_of_a_page_that_has_gone_is_closed(client: TestClient, visited: Visited) -> None:
    with connect(client) as websocket:
        session = register(websocket, visited)
        assert client.post(f"/door/{session}", content=b"x", headers=ORIGIN).status_code == 204
    assert client.post(f"/door/{session}", content=b"x", headers=ORIGIN).status_code == 404
    assert client.post(f"/door/{session[:-1]}", content=b"x", headers=ORIGIN).status_code == 404
    assert len(visited.wait_for(1)) == 1


@pytest.mark.parametrize("is_told", [True, False], ids=["told length", "chunks"])
def test_a_picture_that_is_too_large_is_refused_and_the_session_is_told(
    client: TestClient, visited: Visited, is_told: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert MAX_PHOTO_BYTES == 64 * 1024 * 1024
    monkeypatch.setattr(door, "MAX_PHOTO_BYTES", 1000)
    with connect(client) as websocket:
        session = register(websocket, visited)
        large: Any = b"x" * 1001 if is_told else iter([b"x" * 600, b"x" * 401])
        answer = client.post(f"/door/{session}", content=large, headers=ORIGIN)
        assert answer.status_code == 413
        assert client.post(f"/door/{session}", content=b"x" * 1000, headers=ORIGIN).is_success
        sizes = [None if data is None else len(data) for _, _, data in visited.wait_for(2)]
        assert sizes == [None, 1000]


class Picker:
    """A picker whose browser posts the file that was chosen."""

    def __init__(self, client: TestClient, sent: bytes) -> None:
        self._client, self._sent, self.urls = client, sent, list[str]()

    async def upload(self, files: list[Any]) -> None:
        (file,) = files
        self.urls.append(file.upload_url)
        self._posting = asyncio.get_running_loop().run_in_executor(None, self._post, file)

    def _post(self, file: Any) -> None:
        self._client.request(file.method, file.upload_url, content=self._sent, headers=ORIGIN)


@pytest.mark.parametrize(
    ("told", "sent", "n_got"),
    [(10, 10, 10), (11, 11, None), (10, 11, None)],
    ids=["fits", "says that it is too large", "is larger than it says"],
)
def test_a_chosen_file_comes_through_a_door_of_its_own_once(
    client: TestClient, visited: Visited, told: int, sent: int, n_got: int | None
) -> None:
    picker = Picker(client, b"x" * sent)
    file = SimpleNamespace(id=0, name="chosen.png", size=told)
    with connect(client) as websocket:
        session = register(websocket, visited)
        page = visited.pages[0]()
        assert client.portal is not None
        got = client.portal.call(partial(door.fetch, page, picker, file, max_bytes=10))
        assert (None if got is None else len(got)) == n_got
        assert len(picker.urls) == (0 if told > 10 else 1)
        for url in [*picker.urls, f"/door/{session}/guessed"]:
            assert client.post(url, content=b"x", headers=ORIGIN).status_code == 404
    assert visited.taken == []  # that is for what was dropped


# ---------------------------------------------------------------- sessions


def test_a_reload_finds_its_session_and_a_stranger_does_not_take_it(
    client: TestClient, visited: Visited
) -> None:
    with connect(client) as websocket:
        session = register(websocket, visited)
        with connect(client) as stranger:  # it is connected: nobody else becomes it
            assert register(stranger, visited, session=session) != session
    with connect(client, **{"User-Agent": "another browser"}) as stranger:
        assert register(stranger, visited, session=session) != session
    with connect(client) as websocket:
        assert register(websocket, visited, session=session) == session


def close_a_page_and_wait() -> None:
    """Open and close a page of a server of one's own, and wait until its session is freed."""
    visited = Visited()
    application: Any = serving.build(visited.__call__, host="127.0.0.1", session_timeout_s=0)

    async def collect() -> None:
        gc.collect()

    with TestClient(application, base_url=f"http://{HOST}") as client:
        with connect(client) as websocket:
            session = register(websocket, visited)
            assert client.post(f"/door/{session}", content=b"x", headers=ORIGIN).is_success
            visited.wait_for(1)
            assert visited.pages[0]() is not None
        assert client.portal is not None
        until = time.monotonic() + 100  # Flet looks for sessions that have ended every 10 s
        while visited.pages[0]() is not None and time.monotonic() < until:
            time.sleep(0.2)
            client.portal.call(collect)
        assert visited.pages[0]() is None, "still there 100 s after its page was closed"


@pytest.mark.slow
def test_the_memory_of_a_closed_page_is_given_back() -> None:
    # In a process of its own: what Flet frees sessions with is one per process and starts once.
    code = f"import {Path(__file__).stem} as tests; tests.close_a_page_and_wait()"
    folder = Path(__file__).parent
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        cwd=folder, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


# ---------------------------------------------------------------- the address


def test_a_free_port_is_taken_and_the_address_says_which() -> None:
    with serving.listen("127.0.0.1", 0) as listener:
        url = serving.url_of(listener)
        assert re.fullmatch(r"http://127\.0\.0\.1:\d{4,5}", url)
        port = int(url.rsplit(":", 1)[1])
        with socket.create_connection(("127.0.0.1", port), timeout=5):
            pass  # who comes early waits
    with serving.listen("0.0.0.0", 0) as listener:
        assert serving.url_of(listener).startswith("http://127.0.0.1:")


@pytest.mark.parametrize(
    ("host", "words"),
    [("no such host", "neither an address nor a name"), ("203.0.113.1", "no address of this")],
)
def test_an_address_that_is_not_ours_is_named_with_one_that_is(host: str, words: str) -> None:
    with pytest.raises(LesionLensError, match=words) as error:
        serving.listen(host, 0)
    assert f"--host {host}" in str(error.value)
    assert "127.0.0.1" in str(error.value)


def test_a_port_that_is_taken_is_told_and_what_to_do() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(LesionLensError) as error:
            serving.listen("127.0.0.1", port)
    assert f"port {port} is taken: another program listens there" in str(error.value)
    assert "--port" in str(error.value)
