"""What speaks to each service that images may lie in: web servers, S3, Google Cloud Storage."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from lesionlens.errors import LesionLensError, MissingExtraError
from lesionlens.screening.places import public_url, scheme_of

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem


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


def file_system(url: str) -> AbstractFileSystem:
    """Return what reads ``url``; one for a process and service.

    Raises:
        LesionLensError: a scheme that is not known.
        MissingExtraError: its package is not installed.
    """
    scheme = scheme_of(url)
    service = SERVICES.get(scheme)
    if service is None or re.search("::[a-z0-9]+://", url):  # fsspec's way to chain services
        known = ", ".join(f"{name}://" for name in SERVICES if name != "memory")
        raise LesionLensError(f"{public_url(url)}: {scheme}:// is not read; paths, {known} are")
    try:
        import fsspec

        if scheme == "memory":
            return fsspec.filesystem(scheme)
        if scheme == "s3":
            return fsspec.filesystem(
                scheme,
                use_listings_cache=False,
                config_kwargs={"connect_timeout": _CONNECT_S, "read_timeout": _READ_S},
                max_concurrency=1,  # more asks for an object's size before it asks for it
            )
        import aiohttp

        patience = aiohttp.ClientTimeout(None, sock_connect=_CONNECT_S, sock_read=_READ_S)
        if scheme == "gs":
            return _google_storage()(use_listings_cache=False, requests_timeout=patience)
        return fsspec.filesystem(
            scheme,
            use_listings_cache=False,
            client_kwargs={"timeout": patience},
            simple_links=False,
        )
    except ImportError as error:
        raise MissingExtraError(f"reading {scheme}://", service.extra, service.package) from error


@lru_cache(maxsize=1)
def _google_storage() -> Any:
    """Return gcsfs's class, less its own patience.

    gcsfs asks six times, with waits of half a minute in all and each failure told on stderr, where
    a worker that is silent for as long is taken for dead; ``remote.persist`` asks again instead.
    The class is that of the JSON API: the one that the package exports asks by gRPC, before each
    read, of what kind the bucket is (seen with 2026.10).
    """
    from gcsfs.core import GCSFileSystem

    ask_once = GCSFileSystem._request.__wrapped__

    class Storage(GCSFileSystem):
        async def _request(self, *arguments: Any, **options: Any) -> Any:
            try:
                return await ask_once(self, *arguments, **options)
            except OSError as error:
                if str(error).startswith("Forbidden"):
                    raise PermissionError(str(error)) from error
                raise

    return Storage
