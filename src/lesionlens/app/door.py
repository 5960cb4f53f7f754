"""The door: how files of a browser come to Python, other than through the WebSocket.

Flutter sees neither a drop nor a pasted picture. A script of ours does (assets/web/door.js) and
posts the file to ``/door/<session>``, where it is handed to that session and to no other. Files
that were chosen come the same way: a picker that reads them for the WebSocket takes twice as
long (30 MB: 9 s, here 4), and one that is too large for a message breaks the connection without
a word. A session's id is 16 random characters that only its own page and this process know. The
bytes are held in memory; none is written to disk.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote

from lesionlens.app.engine import MAX_PHOTO_BYTES

if TYPE_CHECKING:
    import flet as ft
    from starlette.requests import Request
    from starlette.responses import Response

#: Called with a file's name and its bytes, or None in place of bytes that were too many.
Taker = Callable[[str, bytes | None], Awaitable[None]]

_TAKER = "lesionlens.door"
#: A chosen file that has not arrived by then will not: 64 MiB take 50 s at 10 Mbit/s.
_FETCH_TIMEOUT_S = 120


@dataclass(frozen=True)
class _Expected:
    """A file that was chosen and is on its way."""

    arrived: asyncio.Future[bytes | None]
    max_bytes: int


def open_door(page: ft.Page, take: Taker) -> None:
    """Let pictures in that are dropped on a page or pasted into it.

    The door stays open as long as the page's session lives and is closed with it. On a desktop
    window or a phone there is nothing to open and this does no harm.

    Args:
        page: The page of one session.
        take: A coroutine function that is given the file's name and bytes, or None for a file
            of more than MAX_PHOTO_BYTES. It runs as any handler of the page does.
    """
    page.session.store.set(_TAKER, take)


async def fetch(
    page: ft.Page,
    picker: ft.FilePicker,
    file: ft.FilePickerFile,
    *,
    max_bytes: int = MAX_PHOTO_BYTES,
) -> bytes | None:
    """Bring over a file that was chosen in a browser.

    Args:
        page: The page of the session, shown by a browser.
        picker: Of that page; it still has the file, chosen without its data.
        file: What it said of the file.
        max_bytes: The most that is taken.

    Returns:
        The bytes; None for a file that has more of them than may be.

    Raises:
        TimeoutError: The file did not arrive.
    """
    import flet as ft

    if file.size > max_bytes:
        return None
    token = secrets.token_urlsafe(12)
    expected = _Expected(asyncio.get_running_loop().create_future(), max_bytes)
    store = page.session.store
    store.set(f"{_TAKER}.{token}", expected)
    try:
        url = f"/door/{page.session.id}/{token}"
        await picker.upload([ft.FilePickerUploadFile(upload_url=url, method="POST", id=file.id)])
        async with asyncio.timeout(_FETCH_TIMEOUT_S):
            return await expected.arrived
    finally:
        store.remove(f"{_TAKER}.{token}")


async def receive(request: Request, pages: Mapping[str, ft.Page]) -> Response:
    """Answer a post to ``/door/<session>`` or ``/door/<session>/<token>``: hand the body over.

    Args:
        request: The file as the raw body, its name percent-encoded in ``X-File-Name``. With a
            token it is one that `fetch` waits for, else one that was dropped or pasted.
        pages: The page of every session that lives.

    Returns:
        204 when it was handed over, 404 where no such session is connected and listening, 413
        where the file is too large (which the session is told).
    """
    from starlette.responses import PlainTextResponse, Response

    page = pages.get(request.path_params["session"])
    token = request.path_params.get("token")
    wanted: Taker | _Expected | None = None
    if page is not None and page.session.connection is not None:
        wanted = page.session.store.get(_TAKER if token is None else f"{_TAKER}.{token}")
    if page is None or wanted is None:
        return PlainTextResponse("There is no such page.\n", 404)
    max_bytes = wanted.max_bytes if isinstance(wanted, _Expected) else MAX_PHOTO_BYTES
    body = await _read(request, max_bytes)
    if not isinstance(wanted, _Expected):
        page.run_task(wanted, unquote(request.headers.get("x-file-name", "")), body)
    elif not wanted.arrived.done():
        wanted.arrived.set_result(body)
    if body is None:
        return PlainTextResponse(f"A file may have {max_bytes} bytes.\n", 413)
    return Response(status_code=204)


async def _read(request: Request, max_bytes: int) -> bytes | None:
    """Return the body, or None as soon as it is known to be too large."""
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > max_bytes:
        return None
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > max_bytes:
            return None
    return bytes(body)
