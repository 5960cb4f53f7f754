"""Who gets in, and what every answer says: the wall around the application.

Without tokens the server is for programs of this machine alone, but a browser on this machine
runs other people's pages, too: a request by another name than ours (DNS rebinding) or by a page
(``Origin``) is refused. With tokens it is they who decide; no page has one, as there are no
cookies. Written against ASGI itself: https://asgi.readthedocs.io/en/latest/specs/www.html
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from starlette.datastructures import Headers

from lesionlens.addresses import is_own_host
from lesionlens.service.journal import Exchange, Journal
from lesionlens.service.limits import Limits, Rates, client_of
from lesionlens.service.meters import Meters
from lesionlens.service.problems import Problem
from lesionlens.service.tokens import Tokens
from lesionlens.service.worker_process import fault_of

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]

#: Asked by whoever watches over the server, often and without a token.
OPEN_ROUTES = frozenset({"/healthz", "/readyz"})
PREDICTIONS = "/v1/predictions"
_DESCRIPTION = "/openapi.json"  # of FastAPI's own making, without a route to tell
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"})
#: The same with every answer: none of them is a page, and none is to be kept.
_HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}


@dataclass
class Presence:
    """Who is here, and whether the server is about to end."""

    n_requests: int = 0  # of any kind, from their heads to the ends of their answers
    is_ending: bool = False  # finish what is here, take nothing new


class Wall:
    """Refuses, marks, counts and writes down."""

    def __init__(
        self,
        application: Application,
        *,
        host: str,
        tokens: Tokens,
        limits: Limits,
        meters: Meters,
        journal: Journal,
        presence: Presence,
    ) -> None:
        """Stand before an application.

        Args:
            application: what is asked once a request has been let in.
            host: the address that the server listens on; decides the names it answers to.
            tokens: that open the door; none: everybody on this machine may ask.
            limits: how much of a client is taken.
            meters: count what was answered.
            journal: has a line for what was answered.
            presence: is kept up to date here; ending refuses what is new.
        """
        self._application = application
        self._host = host.lower()
        self._tokens, self._limits = tokens, limits
        self._meters, self._journal, self._presence = meters, journal, presence
        self._rates = Rates(limits.rate_per_s, limits.burst)

    def charge(self, client: str, n_images: int) -> None:
        """Take more images from what a client may send."""
        self._rates.charge(client, n_images)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return
        began = perf_counter()
        headers = Headers(raw=scope["headers"])
        done = Exchange(scope["method"] if scope["method"] in _METHODS else "OTHER")
        closes = self._is_long(headers)

        async def receive_counted() -> Message:
            message = await receive()
            done.received += len(message.get("body", b""))
            return message

        async def send_marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                done.status = message["status"]
                more = {**_HEADERS, **({"connection": "close"} if closes(done.status) else {})}
                pairs = [(name.encode(), value.encode()) for name, value in more.items()]
                message["headers"] = [*message.get("headers", ()), *pairs]
            done.sent += len(message.get("body", b""))
            await send(message)

        self._presence.n_requests += 1
        try:
            self._check(scope, headers)
            await self._application(scope, receive_counted, send_marked)
        except Problem as problem:
            await problem.response()(scope, receive, send_marked)  # type: ignore[arg-type]
        except Exception as error:  # it was answered: by telling.tell_fault
            self._journal.fault(fault_of(error))
        finally:
            self._presence.n_requests -= 1
            done.seconds = perf_counter() - began
            if scope["path"] == _DESCRIPTION:
                done.route = _DESCRIPTION
            elif "route" in scope:
                done.route = scope["route"].path
            self._meters.note_exchange(done)
            self._journal.exchange(done)

    def _check(self, scope: Message, headers: Headers) -> None:
        """Raise Problem, saying why, where a request is not let in."""
        if scope["path"] in OPEN_ROUTES:
            return
        if self._presence.is_ending:
            raise Problem(
                "ending",
                "What is here is finished, nothing new is taken. Ask another server, or this one "
                "after it was started again.",
                retry_after_s=10,
            )
        if not self._tokens:
            if not is_own_host(headers.get("host", ""), self._host):
                raise Problem(
                    "foreign",
                    "This address is not one of this server's: ask for the one that `lesionlens "
                    "serve` printed. Behind a proxy that keeps the name, give the server a token.",
                )
            if "origin" in headers or headers.get("sec-fetch-site", "none") != "none":
                raise Problem(
                    "foreign",
                    "This server answers programs, not pages of websites: send no Origin header.",
                )
        client = client_of(scope["client"][0] if scope.get("client") else "")
        self._rates.check(client)
        try:
            self._tokens.check(headers.get("authorization", ""))
        except Problem:
            self._rates.charge(client, 1)  # whoever guesses is slowed down
            raise

    def _is_long(self, headers: Headers) -> Callable[[int], bool]:
        """Return whether to close the connection after a refusal rather than read what follows."""
        length = headers.get("content-length", "0")
        is_long = "transfer-encoding" in headers or not (
            length.isdecimal() and int(length) <= self._limits.max_bytes
        )
        return lambda status: is_long and status >= 400
