"""A server from its start to its end: sockets, signals, and what is still to be finished."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import uvicorn

from lesionlens.addresses import listen, url_of
from lesionlens.bundle import load_bundle
from lesionlens.service.application import Service
from lesionlens.service.journal import Journal, JournalHandler
from lesionlens.service.limits import Limits
from lesionlens.service.meters import Meters
from lesionlens.service.pool import Pool
from lesionlens.service.tokens import Tokens

#: Connections that wait to be taken.
_BACKLOG = 512


def serve(
    bundle_directory: str | None = None,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    n_workers: int = 1,
    tokens: Tokens | None = None,
    limits: Limits | None = None,
    proxies: tuple[str, ...] = (),
    journal: Journal | None = None,
    on_ready: Callable[[str], None] = lambda url: None,
) -> None:
    """Serve until SIGTERM or Ctrl-C; what is here then is finished.

    Args:
        bundle_directory: folder of the model; None: ``$LESIONLENS_MODEL``, else the shipped one.
        host: address or name of the interface to listen on.
        port: to listen on; 0 takes a free one.
        n_workers: processes that judge.
        tokens: who may ask; none: everybody who reaches the port.
        limits: how much a client may ask for.
        proxies: addresses whose word is taken on whom they ask for (``X-Forwarded-For``).
        journal: where requests are written down; None: standard error.
        on_ready: called with the address, once it answers.

    Raises:
        LesionLensError: the address cannot be listened on, or the model cannot be loaded.
    """
    limits, journal = limits or Limits(), journal or Journal()
    bundle = load_bundle(bundle_directory)
    meters = Meters(bundle.spec)
    with listen(host, port) as listener:
        pool = Pool(bundle, n_workers=n_workers, on_restart=meters.restarts.inc)
        try:
            service = Service(
                pool,
                bundle.spec,
                host=host,
                tokens=tokens or Tokens(),
                limits=limits,
                meters=meters,
                journal=journal,
            )
            config = uvicorn.Config(
                service,
                http="h11",  # the one that limits how long a request's head may be
                ws="none",
                loop="asyncio",
                lifespan="off",
                backlog=_BACKLOG,
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=bool(proxies),
                forwarded_allow_ips=list(proxies),
                timeout_keep_alive=30,
                timeout_graceful_shutdown=int(limits.timeout_s) + 1,
            )
            server = _Server(config, service, lambda: on_ready(url_of(listener)))
            with _logged_by(journal):
                server.run(sockets=[listener])
            journal.event("ended")
        finally:
            pool.close()


@contextmanager
def _logged_by(journal: Journal) -> Iterator[None]:
    """Have what uvicorn says of its own written down by a journal."""
    log = logging.getLogger("uvicorn.error")
    handler, propagates = JournalHandler(journal), log.propagate
    log.addHandler(handler)
    log.propagate = False
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.propagate = propagates


class _Server(uvicorn.Server):
    """Ends when nothing is left to finish, and ends well."""

    def __init__(
        self, config: uvicorn.Config, service: Service, on_ready: Callable[[], None]
    ) -> None:
        super().__init__(config)
        self._presence = service.presence
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        if self.started:
            self._on_ready()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Take nothing new; a second signal ends the server at once."""
        if self._presence.is_ending:
            self.should_exit = self.force_exit = True
        self._presence.is_ending = True

    async def on_tick(self, counter: int) -> bool:
        """Tell whether to end; asked ten times a second."""
        is_over = self._presence.is_ending and not self._presence.n_requests
        return await super().on_tick(counter) or is_over
