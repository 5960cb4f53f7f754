"""The door: pictures that are dropped on the page or pasted into it, on their way to Python.

Flutter sees neither a drop nor a pasted picture. A script of ours does (assets/web/door.js) and
posts the file to ``/door/<session>``, where it is handed to that session and to no other. The
session's id is 16 random characters that only its own page and this process know. The bytes are
held in memory; none is written to disk.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING
from urllib.parse import unquote

from lesionlens.app.engine import MAX_PHOTO_BYTES

if TYPE_CHECKING:
    import flet as ft
    from starlette.requests import Request
    from starlette.responses import Response

#: Called with a file's name and its bytes, or None in place of bytes that were too many.
Taker = Callable[[str, bytes | None], Awaitable[None]]

_KEY = "lesionlens.door"


def open_door(page: ft.Page, take: Taker) -> None:
    """Let pictures in that are dropped on a page or pasted into it.

    The door stays open as long as the page's session lives and is closed with it. On a desktop
    window or a phone there is nothing to open and this does no harm.

    Args:
        page: The page of one session.
        take: A coroutine function that is given the file's name and bytes, or None for a file
            of more than MAX_PHOTO_BYTES. It runs as any handler of the page does.
    """
    page.session.store.set(_KEY, take)


async def receive(request: Request, pages: Mapping[str, ft.Page]) -> Response:
    """Answer a post to ``/door/<session>``: hand the body to the session.

    Args:
        request: The file as the raw body, its name percent-encoded in ``X-File-Name``.
        pages: The page of every session that lives.

    Returns:
        204 when it was handed over, 404 where no such session is connected and listening, 413
        where the file is too large (which the session is told).
    """
    from starlette.responses import PlainTextResponse, Response

    page = pages.get(request.path_params["session"])
    take: Taker | None = None
    if page is not None and page.session.connection is not None:
        take = page.session.store.get(_KEY)
    if page is None or take is None:
        return PlainTextResponse("There is no such page.\n", 404)
    name = unquote(request.headers.get("x-file-name", ""))
    body = await _read(request)
    page.run_task(take, name, body)
    if body is None:
        limit = MAX_PHOTO_BYTES // 1024**2
        return PlainTextResponse(f"A picture may have {limit} MiB.\n", 413)
    return Response(status_code=204)


async def _read(request: Request) -> bytes | None:
    """Return the body, or None as soon as it is known to be too large."""
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > MAX_PHOTO_BYTES:
        return None
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_PHOTO_BYTES:
            return None
    return bytes(body)
