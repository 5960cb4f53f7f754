"""Polite, resumable HTTP: JSON and files, retried with back-off, never fetched twice.

A file grows in a part file, byte by byte as it arrives and unbuffered, so that a kill loses
nothing that reached this process; the next attempt asks for the rest only (``Range``), and
guards against a file that changed meanwhile by its entity tag (``If-Range``, RFC 9110
section 13.1.5). Time-outs, dropped connections, 408, 425, 429 and 5xx are tried again, with
exponential back-off and full jitter; a ``Retry-After`` holds back every worker, not just the
one that was told.
"""

from __future__ import annotations

import random
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from lesionlens import __version__
from lesionlens.errors import FetchError, LesionLensError

if TYPE_CHECKING:
    import httpx

T = TypeVar("T")

_TRY_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
_DENIED = frozenset({401, 403, 410})


@dataclass(frozen=True)
class RetryPolicy:
    """How often and how patiently to ask again."""

    attempts: int = 7  # in all, per page or file
    base_s: float = 1.0  # the first wait is drawn from 0..base_s, the next from 0..2 base_s, ...
    cap_s: float = 60.0  # longest drawn wait
    retry_after_cap_s: float = 600.0  # longest wait that a server may ask for

    def wait_s(self, attempt: int, generator: random.Random) -> float:
        """Return how long to wait after ``attempt`` (1, 2, ...) failed, in seconds."""
        return generator.uniform(0, min(self.cap_s, self.base_s * 2 ** (attempt - 1)))


class AccessDeniedError(FetchError):
    """The server knows the file but does not hand it out under this (maybe expired) address."""


class _TransientError(Exception):
    """Worth another attempt."""

    def __init__(self, reason: str, *, wait_s: float | None = None) -> None:
        super().__init__(reason)
        self.wait_s = wait_s


class Connection:
    """A pool of kept-open connections with one patience; safe to share between threads.

    Args:
        retry: how often and how patiently to ask again.
        timeout_s: longest silence of the server, in seconds.
        report: called with a line of text whenever a request is about to be repeated.
    """

    def __init__(
        self,
        *,
        retry: RetryPolicy | None = None,
        timeout_s: float = 30.0,
        report: Callable[[str], None] | None = None,
    ) -> None:
        import httpx

        self.retry = retry or RetryPolicy()
        self._report = report or (lambda line: None)
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()  # that a thread may be waiting on
        self._not_before = 0.0  # time.monotonic() before which nobody asks
        # Not for results: jitter has to differ between runs, or clients retry in step.
        self._jitter = random.Random()
        self._client = httpx.Client(
            timeout=httpx.Timeout(timeout_s, pool=None),
            follow_redirects=True,
            headers={"User-Agent": f"lesionlens/{__version__}"},
        )

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._client.close()

    def stop(self) -> None:
        """Make every running and later request give up at once; what arrived stays on disk."""
        self._stop.set()
        with self._lock:
            for waited_on in self._sockets:
                with suppress(OSError):  # it may just have closed
                    # Wakes the thread that reads; closing would not. Not the method of an
                    # SSLSocket, which takes the TLS state away from under the reader.
                    socket.socket.shutdown(waited_on, socket.SHUT_RDWR)

    @contextmanager
    def _interruptible(self, response: httpx.Response) -> Iterator[None]:
        """Let :meth:`stop` end a read of ``response`` that waits for a silent server."""
        stream = response.extensions.get("network_stream")
        waited_on = stream.get_extra_info("socket") if stream is not None else None
        if waited_on is None:
            yield
            return
        with self._lock:
            self._sockets.add(waited_on)
        try:
            yield
        finally:
            with self._lock:
                self._sockets.discard(waited_on)

    def get_json(self, url: str, parameters: Mapping[str, str | int] | None = None) -> Any:
        """Fetch ``url`` and return its JSON.

        Raises:
            FetchError: refused, not JSON, or still failing after the last attempt.
        """

        def ask() -> Any:
            response = self._client.get(url, params=parameters)
            _check_status(response)
            try:
                return response.json()
            except ValueError as error:
                raise _TransientError(f"did not answer JSON ({error})") from error

        return self._persist(url, ask)

    def get_file(self, url: str, part: Path, *, size_bytes: int) -> int:
        """Bring ``part`` to ``size_bytes``, fetching only what it lacks.

        Args:
            url: of the file.
            part: file to grow; what it holds is taken for the file's beginning. Beside it a
                file of that name with ``.tag`` keeps the entity tag.
            size_bytes: the file's whole size, as announced.

        Returns:
            How many responses the file was put together from in this call, 0 if it was whole.

        Raises:
            AccessDeniedError: 401, 403 or 410; the address may have expired.
            FetchError: refused, larger than announced, or incomplete after the last attempt.
            LesionLensError: ``part`` cannot be written.
        """
        n_responses = 0

        def grow() -> None:
            nonlocal n_responses
            with _writing(part):
                have = part.stat().st_size if part.exists() else 0
                if have > size_bytes:
                    discard(part)
                    have = 0
            if have < size_bytes:
                n_responses += 1
                self._grow(url, part, have, size_bytes)

        self._persist(url, grow)
        return n_responses

    def _grow(self, url: str, part: Path, have: int, size_bytes: int) -> None:
        headers = {"Accept-Encoding": "identity"}
        tag = _read_tag(part)
        if have:
            headers["Range"] = f"bytes={have}-"
            if tag and not tag.startswith("W/"):
                headers["If-Range"] = tag
        with (
            self._client.stream("GET", url, headers=headers) as response,
            self._interruptible(response),
        ):
            if response.status_code == 416:
                discard(part)
                raise _TransientError("has no such range: the file there has changed")
            _check_status(response)
            if response.status_code == 206:
                start = response.headers.get("Content-Range", "").removeprefix("bytes ")
                new_tag = response.headers.get("ETag", "")
                if start.split("-")[0] != str(have) or (tag and new_tag and tag != new_tag):
                    discard(part)
                    raise _TransientError("the file there has changed; starting over")
            else:
                have = 0
            with _writing(part):
                if not have:
                    part.parent.mkdir(parents=True, exist_ok=True)
                    _tag_file(part).write_text(response.headers.get("ETag", ""), encoding="ascii")
                with open(part, "ab" if have else "wb", buffering=0) as file:
                    for chunk in response.iter_raw():
                        if self._stop.is_set():
                            raise FetchError(f"{_bare(url)}: stopped")
                        file.write(chunk)
                        have += len(chunk)
                        if have > size_bytes:
                            break
        if have > size_bytes:
            discard(part)
            raise FetchError(f"{_bare(url)}: is larger than the {size_bytes:,} bytes announced")
        if have < size_bytes:
            raise _TransientError(f"ended after {have:,} of {size_bytes:,} bytes")

    def _persist(self, url: str, action: Callable[[], T]) -> T:
        import httpx

        attempt = 0
        while True:
            attempt += 1
            self._hold_back(url)
            try:
                return action()
            except httpx.UnsupportedProtocol as error:
                raise FetchError(f"{_bare(url)}: {error}") from error
            except (_TransientError, httpx.TransportError) as error:
                reason = str(error) or type(error).__name__
                asked = error.wait_s if isinstance(error, _TransientError) else None
                if self._stop.is_set():  # it was us who hung up
                    raise FetchError(f"{_bare(url)}: stopped") from error
                if attempt >= self.retry.attempts:
                    raise FetchError(
                        f"{_bare(url)}: {reason}; gave up after {attempt} attempts"
                    ) from error
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                raise FetchError(f"{_bare(url)}: {error}") from error
            wait_s = self.retry.wait_s(attempt, self._jitter)
            if asked is not None:
                wait_s = min(max(wait_s, asked), self.retry.retry_after_cap_s)
                with self._lock:
                    self._not_before = max(self._not_before, time.monotonic() + wait_s)
            self._report(f"{_bare(url)}: {reason}; asking again in {wait_s:.1f} s")
            if self._stop.wait(wait_s):
                raise FetchError(f"{_bare(url)}: stopped")

    def _hold_back(self, url: str) -> None:
        while True:
            with self._lock:
                wait_s = self._not_before - time.monotonic()
            if self._stop.wait(max(wait_s, 0.0)) or self._stop.is_set():
                raise FetchError(f"{_bare(url)}: stopped")
            if wait_s <= 0:
                return


def discard(part: Path) -> None:
    """Delete a part file and the entity tag beside it, if they are there."""
    part.unlink(missing_ok=True)
    _tag_file(part).unlink(missing_ok=True)


def _check_status(response: httpx.Response) -> None:
    status = response.status_code
    if status < 300:
        return
    reason = f"answered {status} {response.reason_phrase}".rstrip()
    if status in _TRY_AGAIN:
        raise _TransientError(reason, wait_s=_retry_after_s(response.headers.get("Retry-After")))
    if status == 400:
        # The archive says here why it did not understand a query.
        reason += f" ({response.read()[:300].decode('utf-8', 'replace').strip()})"
    kind = AccessDeniedError if status in _DENIED else FetchError
    raise kind(f"{_bare(str(response.url))}: {reason}")


def _retry_after_s(value: str | None) -> float | None:
    """Return the seconds that a ``Retry-After`` asks for: a number, or a date to wait for."""
    if not value:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())


def _tag_file(part: Path) -> Path:
    return part.with_name(f"{part.name}.tag")


def _read_tag(part: Path) -> str:
    try:
        return _tag_file(part).read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        return ""  # without a tag the rest is fetched unguarded, and decoding is the check


def _bare(url: str) -> str:
    """Return ``url`` without its query, which may carry a signature."""
    return url.partition("?")[0]


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Turn a failed write into an error that stops the whole fetch: the disk may be full."""
    try:
        yield
    except OSError as error:
        raise LesionLensError(
            f"{path}: cannot be written ({error.strerror or error}); "
            "what arrived is kept, run the same command again to go on"
        ) from error
