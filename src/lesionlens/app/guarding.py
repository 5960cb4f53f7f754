"""What the app's server lets in and what it lets a page do: the wall around ``--web``.

The server listens on this machine, but a browser on this machine runs other people's scripts
too. Against those: a page of another site may not open our WebSocket or post to us (its
``Origin`` is not ours), a name that an attacker points at 127.0.0.1 is not answered (DNS
rebinding: its ``Host`` is not ours), nobody may frame us or read our files. Against ourselves:
a content security policy that lets a page reach this origin and nothing else, so that the
browser refuses what a plugin would load from elsewhere before it leaves the machine (Flet's
client asks cdn.jsdelivr.net for a player of animations, which the app has none of).

Written against ASGI itself, without a framework: https://asgi.readthedocs.io/en/latest/specs/
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from lesionlens.addresses import is_own_host, is_same_origin

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]

#: What a page may load; ``{host}`` is where it came from. Flutter compiles WebAssembly, starts
#: workers from blobs, writes style elements, and reads back the blobs that a picker, a camera
#: and a drawn picture are. None of these leaves the browser.
_POLICY = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self' 'wasm-unsafe-eval' blob:",
        "worker-src 'self' blob:",
        "connect-src 'self' blob: data: ws://{host} wss://{host}",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' blob: data:",
        "media-src 'self' blob: data: mediastream:",
        "font-src 'self' data:",
        "object-src 'none'",
        "base-uri 'self'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
#: Of all that a browser can be asked for, the camera, and that by us alone.
_PERMISSIONS = ", ".join(
    (
        "camera=(self)",
        *(
            f"{name}=()"
            for name in (
                "accelerometer", "browsing-topics", "display-capture", "geolocation",
                "gyroscope", "hid", "magnetometer", "microphone", "midi", "payment",
                "publickey-credentials-get", "serial", "usb",
            )
        ),
    )
)  # fmt: skip
#: The same with every answer. No Cross-Origin-Embedder-Policy: with it the page would be isolated,
#: Flutter would draw in a second thread, and the two can destroy their shared memory, after which
#: the page stands still for good (https://github.com/flutter/flutter/issues/190039).
_HEADERS = {
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "permissions-policy": _PERMISSIONS,
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
#: Whoever comes back asks whether a file is still the same (its entity tag) and is mostly told
#: so without it; nothing is served stale after an upgrade.
_CACHE = "no-cache"


class Guard:
    """Refuses what does not come from our own page and marks every answer with our rules."""

    def __init__(self, application: Application, *, host: str) -> None:
        """Stand before an application.

        Args:
            application: What is asked once a request has been let in.
            host: The address that the server listens on, which decides the names it answers to.
        """
        self._application = application
        self._host = host.lower()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request or WebSocket, or say why not."""
        if scope["type"] == "lifespan":
            await self._application(scope, receive, send)
            return
        host = _header(scope, b"host")
        why_not = self._why_not(scope, host)
        named = host if why_not is None else "localhost"  # a refused name stands in no header

        async def send_marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = _marked(message.get("headers", ()), named)
            await send(message)

        if why_not is None:
            await self._application(scope, receive, send_marked)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008, "reason": why_not})
        else:
            head = {"type": "http.response.start", "status": 403}
            await send_marked({**head, "headers": [(b"content-type", b"text/plain")]})
            await send({"type": "http.response.body", "body": f"{why_not}\n".encode()})

    def _why_not(self, scope: Message, host: str) -> str | None:
        """Return why a request is refused, or None."""
        if not is_own_host(host, self._host):
            return (
                "This address is not one of LesionLens's. "
                "Open the address that `lesionlens app` printed."
            )
        reads = scope["type"] == "http" and scope["method"] in ("GET", "HEAD")
        if not reads and not is_same_origin(_header(scope, b"origin"), host):
            return "Only LesionLens's own page may ask for this."
        return None


def _header(scope: Message, name: bytes) -> str:
    """Return the value of a request's header, empty if it has none or several."""
    values = [value for key, value in scope["headers"] if key.lower() == name]
    return values[0].decode("latin-1") if len(values) == 1 else ""


def _marked(headers: Any, host: str) -> list[tuple[bytes, bytes]]:
    """Return an answer's headers with ours in place of any of the same name."""
    rules = {**_HEADERS, "content-security-policy": _POLICY.format(host=host)}
    given = {bytes(name).lower() for name, _ in headers}
    if b"cache-control" not in given:
        rules["cache-control"] = _CACHE
    ours = [(name.encode(), value.encode("latin-1")) for name, value in rules.items()]
    replaced = {name for name, _ in ours}
    return [pair for pair in headers if bytes(pair[0]).lower() not in replaced] + ours
