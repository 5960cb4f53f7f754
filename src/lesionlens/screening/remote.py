"""Images behind an address: listed a page at a time, fetched with patience and a limit.

``fsspec`` knows the services; what it asks once is asked again here, with exponential back-off and
jitter, where a network or a server that is busy may be at fault.
"""

from __future__ import annotations

import io
import os
import random
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import unquote, urlsplit

from lesionlens.errors import ImageError, LesionLensError, MissingExtraError
from lesionlens.screening.archives import Seekable
from lesionlens.screening.places import MAX_BYTES, public_url

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

T = TypeVar("T")


@dataclass(frozen=True)
class _Service:
    package: str  # that fsspec needs for it
    extra: str


#: What may stand before ``://``.
SERVICES = {
    "http": _Service("aiohttp", "bulk"),
    "https": _Service("aiohttp", "bulk"),
    "s3": _Service("s3fs", "s3"),
    "gs": _Service("gcsfs", "gs"),
    "memory": _Service("fsspec", "bulk"),  # of this process: for tests and notebooks
}
#: Longest silence of a server, and wait for it to take a call, in seconds.
_READ_S, _CONNECT_S = 10.0, 5.0
#: How often to ask in all; waits between are drawn from 0..base, 0..2 base, ..., of cap at most;
#: and after this long no more: a worker that is silent for longer is taken for dead.
ATTEMPTS, _BASE_S, _CAP_S, _PATIENCE_S = 5, 0.5, 8.0, 15.0
_TRY_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
#: Bytes fetched at a time while an archive is listed.
_READ_AHEAD = 1 << 20
#: Folders in folders of a web server's listing that are followed.
_DEPTH = 32


_NO_PARTS = "the server sends no parts of a file; download the archive"


class _TooLargeError(Exception):
    """More bytes than an image may have."""


def file_system(url: str) -> AbstractFileSystem:
    """Return what reads ``url``; one for a process and service.

    Raises:
        LesionLensError: a scheme that is not known.
        MissingExtraError: its package is not installed.
    """
    scheme = urlsplit(url).scheme.lower()
    service = SERVICES.get(scheme)
    if service is None or "::" in url:
        known = ", ".join(f"{name}://" for name in SERVICES if name != "memory")
        raise LesionLensError(f"{public_url(url)}: {scheme}:// is not read; paths, {known} are")
    options: dict[str, Any] = {}
    try:
        import fsspec

        if scheme in ("http", "https"):
            import aiohttp

            patience = aiohttp.ClientTimeout(None, sock_connect=_CONNECT_S, sock_read=_READ_S)
            options = {"client_kwargs": {"timeout": patience}, "simple_links": False}
        elif scheme == "s3":
            options = {
                "config_kwargs": {"connect_timeout": _CONNECT_S, "read_timeout": _READ_S},
                "max_concurrency": 1,  # more asks for an object's size before it asks for it
            }
        return fsspec.filesystem(scheme, use_listings_cache=False, **options)
    except ImportError as error:
        raise MissingExtraError(f"reading {scheme}://", service.extra, service.package) from error


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


def refusal(error: Exception, url: str, uri: str) -> ImageError:
    """Return what an error of a service's library means for the item ``uri``, with a reason."""
    status = getattr(error, "status", None)
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
    status = getattr(error, "status", None)
    if isinstance(status, int) and status:
        return status in _TRY_AGAIN
    if isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError):
        return False
    # aiohttp has errors of its own for a connection that breaks.
    return isinstance(error, OSError | TimeoutError) or type(error).__module__.startswith("aiohttp")


def _asked_wait(error: Exception) -> float:
    """Return for how many seconds a server asked to be left alone."""
    headers = getattr(error, "headers", None) or {}
    told = headers.get("Retry-After", "")
    return float(told) if told.isdecimal() else 0.0


def _read(files: AbstractFileSystem, url: str, size: int | None) -> bytes:
    if _is_web(url):
        return _get(files, url)[0]
    known = size if size is not None else files.info(url)["size"]
    if known > MAX_BYTES:
        raise _TooLargeError
    return files.cat_file(url)


def _is_web(url: str) -> bool:
    return urlsplit(url).scheme in ("http", "https")


def _get(files: Any, url: str, **headers: str) -> tuple[bytes, Mapping[str, str]]:
    """Return what a web server answers, and its headers.

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
    if not _is_web(url):
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
    except OSError as error:
        if getattr(error, "status", None):  # aiohttp's are of several kinds
            raise OSError(0, _told(error, url)) from error
        raise
    except Exception as error:
        status = getattr(error, "status", None)
        if status in (404, 410):
            raise FileNotFoundError(url) from error
        if status in (401, 403):
            raise PermissionError(url) from error
        raise OSError(0, _told(error, url)) from error


def _told(error: Exception, url: str) -> str:
    return (str(error) or type(error).__name__).replace(url, public_url(url))


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


def listing(url: str) -> Iterator[tuple[str, str, int | None]]:
    """Yield what lies below ``url``: relative name, address and bytes, sorted folder by folder.

    S3 is asked for a page at a time, in flat memory; other services for a folder at a time.

    Raises:
        LesionLensError: the service cannot be asked, or does not list.
    """
    root = url.rstrip("/") + "/"
    files = file_system(url)
    scheme = urlsplit(url).scheme
    try:
        if scheme == "s3":
            yield from _pages(files, root)
        else:
            yield from _folders(files, root, "", 0)
    except LesionLensError:
        raise
    except Exception as error:
        words = str(refusal(error, url, public_url(url)))
        hint = (
            "; without an index page, give it a list of addresses" if scheme[:4] == "http" else ""
        )
        raise LesionLensError(
            f"{words.replace('no such file there', 'nothing there')}{hint}"
        ) from error


def _pages(files: Any, root: str) -> Iterator[tuple[str, str, int | None]]:
    bucket, _, prefix = root.removeprefix("s3://").partition("/")
    more: dict[str, str] = {}
    while True:
        page = persist(
            partial(files.call_s3, "list_objects_v2", Bucket=bucket, Prefix=prefix, **more)
        )
        for thing in page.get("Contents", ()):
            key = thing["Key"]
            if not key.endswith("/"):
                yield key.removeprefix(prefix), f"s3://{bucket}/{key}", thing["Size"]
        if not page.get("IsTruncated"):
            return
        more = {"ContinuationToken": page["NextContinuationToken"]}


def _folders(
    files: AbstractFileSystem, root: str, below: str, depth: int
) -> Iterator[tuple[str, str, int | None]]:
    """Yield what lies in the folder ``below`` the ``root`` and in those below it."""
    folder = root + below
    is_web = _is_web(root)
    base = files._strip_protocol(folder).rstrip("/") + "/"
    found = persist(lambda: files.ls(folder, detail=True))
    for thing in sorted(found, key=lambda thing: thing["name"]):
        name = thing["name"].removeprefix(base)
        # A web page also links to itself in other orders, and to elsewhere.
        if not name.strip("/") or (is_web and re.search("[?#]|^https?:", name)):
            continue
        if thing["type"] == "directory":
            if depth < _DEPTH:
                yield from _folders(files, root, below + name.rstrip("/") + "/", depth + 1)
        else:
            path = below + name
            yield (unquote(path) if is_web else path), root + path, thing["size"]
