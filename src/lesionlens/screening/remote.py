"""Files behind an address, fetched with patience and a limit.

``fsspec`` knows the services; what it asks once is asked again here, with exponential back-off and
jitter, where a network or a server that is busy may be at fault.
"""

from __future__ import annotations

import io
import os
import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from lesionlens.errors import ImageError
from lesionlens.screening.archives import Seekable
from lesionlens.screening.places import MAX_BYTES, WEB, public_url, scheme_of, without_secrets
from lesionlens.screening.services import file_system

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

T = TypeVar("T")

#: How often to ask in all; waits between are drawn from 0..base, 0..2 base, ..., of cap at most;
#: and after this long no more: a worker that is silent for longer is taken for dead.
ATTEMPTS, _BASE_S, _CAP_S, _PATIENCE_S = 5, 0.5, 8.0, 15.0
_TRY_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
#: Bytes fetched at a time while an archive is listed.
_READ_AHEAD = 1 << 20
_NO_PARTS = "the server sends no parts of a file; download the archive"


class _TooLargeError(Exception):
    """More bytes than an image may have."""


def fetch(url: str, *, uri: str, size: int | None = None) -> bytes:
    """Return the bytes at ``url``.

    Args:
        url: of one file.
        uri: what to call it in messages.
        size: bytes, where a listing told them.

    Raises:
        ImageError: not there, not allowed, too large, or not to be had after the last attempt.
    """
    try:
        files = file_system(url)
        return persist(lambda: _read(files, url, size))
    except _TooLargeError as error:
        raise ImageError(
            f"{uri}: has more than the {MAX_BYTES / 1e6:,.0f} MB that an image may have; it was "
            "not fetched to its end",
            reason="too_large",
        ) from error
    except Exception as error:  # whatever libraries of services raise
        raise refusal(error, url, uri) from error


def fetch_beginning(url: str, n_bytes: int, *, uri: str) -> tuple[bytes, int | None]:
    """Return the first bytes at ``url``, and how many there are; None: the server does not tell.

    By one request; a server that sends no parts of a file is left when it has sent so much.

    Args:
        url: of one file.
        n_bytes: how many to fetch.
        uri: what to call it in messages.

    Raises:
        ImageError: as ``fetch``.
    """
    try:
        files = file_system(url)
        return persist(lambda: _read_beginning(files, url, n_bytes))
    except Exception as error:  # whatever libraries of services raise
        raise refusal(error, url, uri) from error


def refusal(error: Exception, url: str, uri: str) -> ImageError:
    """Return what an error of a service's library means for the item ``uri``, with a reason."""
    status = _status(error)
    if isinstance(error, FileNotFoundError) or status in (404, 410):
        return ImageError(f"{uri}: no such file there", reason="not_found")
    if isinstance(error, PermissionError) or status in (401, 403):
        return ImageError(
            f"{uri}: the server does not hand it out to us; check the address and credentials",
            reason="no_permission",
        )
    reason = "timed_out" if isinstance(error, TimeoutError) else "remote_error"
    return ImageError(f"{uri}: could not be fetched ({_told(error, url)})", reason=reason)


def persist(ask: Callable[[], T]) -> T:
    """Return what ``ask`` returns, asking again where that may help.

    Raises:
        Whatever ``ask`` raised last.
    """
    jitter = random.Random()  # not for results: clients must not retry in step
    began = time.monotonic()
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return ask()
        except Exception as error:
            wait_s = max(
                jitter.uniform(0, min(_CAP_S, _BASE_S * 2 ** (attempt - 1))), _asked_wait(error)
            )
            is_late = time.monotonic() + wait_s - began > _PATIENCE_S
            if attempt == ATTEMPTS or is_late or not _may_pass(error):
                raise
            time.sleep(wait_s)
    raise AssertionError  # the last attempt returns or raises


def _may_pass(error: Exception) -> bool:
    """Whether asking again may help."""
    if status := _status(error):
        return status in _TRY_AGAIN
    if isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError):
        return False
    # aiohttp has errors of its own for a connection that breaks, google.auth for a token not had.
    is_passing = getattr(error, "retryable", False) is True
    is_broken = type(error).__module__.startswith("aiohttp")
    return isinstance(error, OSError | TimeoutError) or is_passing or is_broken


def _status(error: Exception) -> int:
    """Return the status that a server answered with, as aiohttp or gcsfs tells it; 0: none."""
    told = (getattr(error, name, 0) for name in ("status", "code"))
    return next((int(status) for status in told if str(status).isdecimal() and int(status)), 0)


def _asked_wait(error: Exception) -> float:
    """Return for how many seconds a server asked to be left alone."""
    headers = getattr(error, "headers", None) or {}
    told = headers.get("Retry-After", "")
    return float(told) if told.isdecimal() else 0.0


def _read(files: AbstractFileSystem, url: str, size: int | None) -> bytes:
    if scheme_of(url) in WEB:
        return _get(files, url)[0]
    known = size if size is not None else files.info(url)["size"]
    if known > MAX_BYTES:
        raise _TooLargeError
    return files.cat_file(url)


def _read_beginning(files: AbstractFileSystem, url: str, n_bytes: int) -> tuple[bytes, int | None]:
    if scheme_of(url) not in WEB:
        content = files.cat_file(url, start=0, end=n_bytes)
        return content, len(content) if len(content) < n_bytes else None
    content, headers = _get(files, url, most=n_bytes, Range=f"bytes=0-{n_bytes - 1}")
    told = headers.get("Content-Range", "").rpartition("/")[2] or headers.get("Content-Length", "")
    return content[:n_bytes], int(told) if told.isdecimal() else None


def _get(
    files: Any, url: str, *, most: int | None = None, **headers: str
) -> tuple[bytes, Mapping[str, str]]:
    """Return what a web server answers, and its headers; of ``most`` bytes, little more.

    By one request and as a stream, so that no server can make us take more than the limit; fsspec's
    own ``open`` asks twice or thrice and calls whatever goes wrong "not found".

    Raises:
        FileNotFoundError, aiohttp.ClientResponseError with a status, _TooLargeError.
    """
    from fsspec.asyn import sync

    async def ask() -> tuple[bytes, Mapping[str, str]]:
        session = await files.set_session()
        async with session.get(files.encode_url(url), headers=headers) as answer:
            answer.raise_for_status()
            content = bytearray()
            async for part in answer.content.iter_chunked(1 << 18):
                content += part
                if most is not None and len(content) >= most:
                    break
                if len(content) > MAX_BYTES:
                    raise _TooLargeError
            return bytes(content), answer.headers

    return sync(files.loop, ask)


def open_seekable(url: str, *, is_listed: bool) -> tuple[Seekable, str]:
    """Open a remote archive for reading here and there.

    Args:
        url: of the archive.
        is_listed: read ahead, for who goes through it from end to end.

    Returns:
        The file, and a stamp that differs when it has changed.

    Raises:
        OSError: it cannot be had, or the server sends files as a whole only.
    """
    with _as_system_errors(url):
        files = file_system(url)
        size, version = persist(lambda: _size_and_version(files, url))
    ranged = _Ranged(files, url, size)
    if is_listed:
        return io.BufferedReader(ranged, _READ_AHEAD), f"{size}-{version}"
    return ranged, f"{size}-{version}"


def _size_and_version(files: AbstractFileSystem, url: str) -> tuple[int, str]:
    if scheme_of(url) not in WEB:
        info = files.info(url)
        return info["size"], str(info.get("ETag") or info.get("etag") or info.get("mtime") or "")
    try:
        _, headers = _get(files, url, Range="bytes=0-0")
    except _TooLargeError:
        headers = {}
    size = headers.get("Content-Range", "").rpartition("/")[2]
    if not size.isdecimal():
        raise OSError(_NO_PARTS)
    return int(size), headers.get("ETag") or headers.get("Last-Modified") or ""


@contextmanager
def _as_system_errors(url: str) -> Iterator[None]:
    """Have whatever libraries of services raise come as an OSError, as of a file."""
    try:
        yield
    except (FileNotFoundError, PermissionError):
        raise
    except Exception as error:
        status = _status(error)
        if status in (404, 410):
            raise FileNotFoundError(url) from error
        if status in (401, 403):
            raise PermissionError(url) from error
        raise OSError(0, _told(error, url)) from error


def _told(error: Exception, url: str) -> str:
    """Return what an error says, without secrets of ``url``, as typed or as a library writes it."""
    words = str(error) or type(error).__name__
    return without_secrets(words.replace(url, public_url(url)))


class _Ranged(io.RawIOBase):
    """A remote file; each read is one request."""

    def __init__(self, files: AbstractFileSystem, url: str, size: int) -> None:
        self._files, self._url, self._size, self._position = files, url, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = max(0, start + offset)
        return self._position

    def read(self, size: int = -1, /) -> bytes:
        start = self._position
        end = self._size if size < 0 else min(self._size, start + size)
        if end <= start:
            return b""
        with _as_system_errors(self._url):
            content = persist(lambda: self._files.cat_file(self._url, start=start, end=end))
        if len(content) != end - start:
            raise OSError(0, _NO_PARTS)
        self._position = end
        return content

    def readinto(self, buffer: Any) -> int:
        content = self.read(len(buffer))
        buffer[: len(content)] = content
        return len(content)
