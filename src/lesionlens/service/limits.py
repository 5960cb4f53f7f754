"""What a client may ask of the server, and what is said to one that asks for more."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from time import monotonic

from lesionlens.service.problems import Problem

MEBIBYTE = 1024 * 1024


@dataclass(frozen=True)
class Limits:
    """The limits of a server."""

    max_bytes: int = 64 * MEBIBYTE  # of a request's body
    max_files: int = 16  # of a form
    max_waiting: int = 32  # requests that may be here beside those that are being judged
    timeout_s: float = 30.0  # from a request's head to its answer
    rate_per_s: float = 50.0  # images that a client may send in the long run; 0: any number
    burst: int = 100  # images that a client may send at once

    @property
    def max_held_bytes(self) -> int:
        """Bytes of all bodies that are held at a time: four of the largest."""
        return 4 * self.max_bytes


class Held:
    """Counts the bytes of all bodies that are in memory."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self.n_bytes = 0

    def take(self, n_bytes: int) -> None:
        """Note that so many more bytes are held.

        Raises:
            Problem: there is no room for them; they are not counted.
        """
        if self.n_bytes + n_bytes > self._max_bytes:
            raise Problem(
                "queue_full",
                f"The images that are here already take up the {self._max_bytes // MEBIBYTE} MiB "
                "that this server holds. Wait as long as Retry-After says, then send yours again.",
                retry_after_s=1,
            )
        self.n_bytes += n_bytes

    def give_back(self, n_bytes: int) -> None:
        """Note that so many bytes are held no longer."""
        self.n_bytes -= n_bytes


class Rates:
    """A bucket of tokens for each client: an image costs one, time brings them back.

    https://en.wikipedia.org/wiki/Token_bucket. A bucket may be in debt, as how many images a form
    has is known only once it was read; who is in debt waits until it is paid.
    """

    #: Clients remembered; of more, those not seen for longest are forgotten, debt and all.
    MOST_CLIENTS = 10_000

    def __init__(
        self, rate_per_s: float, burst: int, *, clock: Callable[[], float] = monotonic
    ) -> None:
        self._rate_per_s, self._burst, self._clock = rate_per_s, burst, clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # tokens, as of when

    def check(self, client: str) -> None:
        """Raise Problem, saying for how long, unless a client may send an image now."""
        tokens = self._tokens(client)
        if tokens < 1:
            wait_s = (1 - tokens) / self._rate_per_s
            raise Problem(
                "rate_exceeded",
                f"This server takes {self._rate_per_s:g} images a second of a client, and "
                f"{self._burst} at once. Wait as long as Retry-After says; whoever runs the "
                "server can allow more (--rate, --burst).",
                retry_after_s=wait_s,
            )

    def charge(self, client: str, n_images: int) -> None:
        """Take the tokens of so many images out of a client's bucket."""
        if not self._rate_per_s:
            return
        self._buckets[client] = (self._tokens(client) - n_images, self._clock())
        self._buckets.move_to_end(client)
        if len(self._buckets) > self.MOST_CLIENTS:
            self._buckets.popitem(last=False)

    def _tokens(self, client: str) -> float:
        tokens, since = self._buckets.get(client, (float(self._burst), 0.0))
        return min(float(self._burst), tokens + (self._clock() - since) * self._rate_per_s)


def client_of(address: str) -> str:
    """Return who stands for an address: itself, or its /64 network, which one client has whole."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is None:
        return str(IPv6Address(int(parsed) >> 64 << 64))
    return address
