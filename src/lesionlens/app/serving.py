"""The app in a browser: a server of our own around Flet's client, for this machine alone.

    serve(main, on_ready=print)   # until Ctrl-C

Flet brings the client (Flutter, compiled) and the protocol between it and Python over a
WebSocket; ``ft.run(view=WEB_BROWSER)`` would serve them too. What that does not do and this
does: answer only to our own page (`guarding`), a policy that keeps a browser from reaching
anywhere else, nothing from a content delivery network, no file written (Flet's own server
patches its page into a folder), pictures of 64 MiB, dropped and pasted ones too (`door`), the
memory of closed tabs back after minutes, and a clear word where a port is taken.
"""

from __future__ import annotations

import asyncio
import inspect
import io
import json
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from lesionlens.addresses import listen, url_of
from lesionlens.app import door
from lesionlens.app.engine import MAX_PHOTO_BYTES
from lesionlens.app.guarding import Application, Guard

if TYPE_CHECKING:
    import flet as ft
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.websockets import WebSocket

    Main = Callable[[ft.Page], Awaitable[None] | None]

ASSETS = Path(__file__).parent / "assets"
#: How long a session outlives its connection: a reload or a laptop's nap, not an evening. Its
#: pictures and answers are freed then.
SESSION_TIMEOUT_S = 600
#: A photo from the camera comes as one message, with a little around it.
_MAX_MESSAGE_BYTES = MAX_PHOTO_BYTES + 1024 * 1024
_STOP_WAITING_AFTER_S = 2
#: Icons that browsers ask for, drawn from the one we have.
_ICON_SIZES_PX = {
    "favicon.png": 64,
    "icons/apple-touch-icon-192.png": 192,
    "icons/icon-192.png": 192,
    "icons/icon-512.png": 512,
}


def serve(
    main: Main,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    open_browser: bool = True,
    on_ready: Callable[[str], None] | None = None,
    session_timeout_s: int = SESSION_TIMEOUT_S,
) -> None:
    """Serve the app until Ctrl-C.

    Args:
        main: Called with the page of every new session, once.
        host: Address or name of the interface to listen on; others than loopback let other
            machines in, unencrypted.
        port: Port to listen on; 0 takes a free one.
        open_browser: Open the page in the browser of whoever sits here, if there is a display.
        on_ready: Called with the address to open, once it answers.
        session_timeout_s: Seconds after which a session without a connection is freed.

    Raises:
        LesionLensError: The address cannot be listened on; says why and what to do.
    """
    import uvicorn

    listener = listen(host, port)
    url = url_of(listener)

    def ready() -> None:
        if on_ready is not None:
            on_ready(url)
        if open_browser and has_display():
            import webbrowser

            webbrowser.open(url)

    config = uvicorn.Config(
        build(main, host=host, on_startup=ready, session_timeout_s=session_timeout_s),
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        ws="websockets-sansio",  # what Flet itself is run with
        ws_max_size=_MAX_MESSAGE_BYTES,
        ws_per_message_deflate=False,  # pictures are compressed already
        timeout_graceful_shutdown=_STOP_WAITING_AFTER_S,
    )
    with suppress(KeyboardInterrupt):  # which uvicorn raises once more when all is closed
        uvicorn.Server(config).run(sockets=[listener])


def build(
    main: Main,
    *,
    host: str,
    on_startup: Callable[[], None] | None = None,
    session_timeout_s: int = SESSION_TIMEOUT_S,
) -> Application:
    """Return the server's application: client, WebSocket and door behind the guard."""
    from flet_web import get_package_web_dir
    from flet_web.fastapi import FletApp, app_manager
    from starlette.applications import Starlette
    from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
    from starlette.routing import Mount, Route, WebSocketRoute
    from starlette.staticfiles import StaticFiles

    client = Path(get_package_web_dir())
    pages: WeakValueDictionary[str, ft.Page] = WeakValueDictionary()

    async def welcome(page: ft.Page) -> None:
        pages[page.session.id] = page
        done = main(page)
        if inspect.isawaitable(done):
            await done

    async def talk(websocket: WebSocket) -> None:
        session = FletApp(
            loop=asyncio.get_running_loop(),
            executor=app_manager.executor,
            main=welcome,
            before_main=None,
            session_timeout_seconds=session_timeout_s,
        )
        await session.handle(websocket)

    async def take_in(request: Request) -> Response:
        return await door.receive(request, pages)

    async def fonts(_: Request) -> Response:
        return JSONResponse(_font_manifest(client))

    async def icon(request: Request) -> Response:
        return Response(_icon(request.url.path.strip("/")), media_type="image/png")

    async def page_or_nothing(request: Request, error: Exception) -> Response:
        # Routes of the app (/history/3) are no files: whoever reloads there gets the page.
        is_route = "." not in request.url.path.rsplit("/", maxsplit=1)[-1]
        if request.method in ("GET", "HEAD") and is_route:
            return FileResponse(ASSETS / "web" / "index.html")
        return PlainTextResponse("Not found.\n", 404)

    files = StaticFiles(directory=ASSETS / "web", html=True)
    files.all_directories += [ASSETS, client]

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        await app_manager.start()  # frees the sessions that have ended, looking every 10 s
        # Its loop holds on to the session that it looked at last, for good if none follows:
        # this one, which never ends, always does.
        await app_manager.add_session("", SimpleNamespace(expires_at=None))
        if on_startup is not None:
            await asyncio.to_thread(on_startup)
        yield
        await app_manager.shutdown()

    routes = [
        WebSocketRoute("/ws", talk),
        Route("/door/{session}", take_in, methods=["POST"]),
        Route("/door/{session}/{token}", take_in, methods=["POST"]),
        Route("/assets/FontManifest.json", fonts),
        *(Route(f"/{name}", icon) for name in _ICON_SIZES_PX if (ASSETS / "icon.png").is_file()),
        Mount("/", files),
    ]
    application = Starlette(
        routes=routes, lifespan=lifespan, exception_handlers={404: page_or_nothing}
    )
    return Guard(application, host=host)


def has_display() -> bool:
    """Tell whether somebody sits before this machine, as far as it can know."""
    if sys.platform in ("win32", "darwin"):
        return True
    return any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"))


def _font_manifest(client: Path) -> list[dict[str, object]]:
    """Return the fonts of Flet's client and Roboto, which it has but leaves to the network."""
    path = client / "assets" / "FontManifest.json"
    fonts: list[dict[str, object]] = json.loads(path.read_text(encoding="utf-8"))
    return [*fonts, {"family": "Roboto", "fonts": [{"asset": "fonts/roboto.woff2"}]}]


@lru_cache
def _icon(name: str) -> bytes:
    """Return our icon as a PNG of the size that a browser asks for."""
    from PIL import Image

    with Image.open(ASSETS / "icon.png") as image:
        side_px = _ICON_SIZES_PX[name]
        drawn = image.convert("RGBA").resize((side_px, side_px), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    drawn.save(stream, "PNG")
    return stream.getvalue()
