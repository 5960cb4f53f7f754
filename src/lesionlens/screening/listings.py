"""What lies behind an address: listed a page or a folder at a time."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from glob import has_magic
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from lesionlens.errors import LesionLensError
from lesionlens.screening.places import WEB, public_url, scheme_of
from lesionlens.screening.remote import persist, refusal
from lesionlens.screening.services import file_system

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

#: Folders in folders of a web server's listing that are followed.
_DEPTH = 32


def is_pattern(url: str) -> bool:
    """Whether ``url`` means objects of a store by ``*``, ``?`` or ``[``, and is not one itself.

    Raises:
        LesionLensError: the service cannot be asked.
    """
    if scheme_of(url) in WEB or not has_magic(url):
        return False
    if has_magic(url.partition("://")[2].partition("/")[0]):
        raise LesionLensError(
            f"{public_url(url)}: a pattern may not stand for a bucket; name each as a SOURCE"
        )
    files = file_system(url)
    try:
        return persist(lambda: files.info(url))["type"] != "file"
    except FileNotFoundError:
        return True
    except Exception as error:
        raise LesionLensError(str(refusal(error, url, public_url(url)))) from error


def listing(url: str, *, begins: str = "") -> Iterator[tuple[str, str, int | None]]:
    """Yield what lies below ``url``: relative name, address and bytes, sorted folder by folder.

    S3 and Google Cloud Storage are asked for a page at a time, in flat memory; other services for
    a folder at a time.

    Args:
        url: of a bucket, a prefix in one, or the index page of a web server.
        begins: what names of stores begin with that are wanted; others may come, too.

    Raises:
        LesionLensError: the service cannot be asked, or does not list.
    """
    scheme = scheme_of(url)
    place, mark, query = url.partition("?") if scheme in WEB else (url, "", "")
    root = place.rstrip("/") + "/"
    files = file_system(url)
    try:
        if scheme in ("s3", "gs"):
            bucket, _, prefix = root.partition("://")[2].partition("/")
            ask = _s3_objects if scheme == "s3" else _google_objects
            for key, size in ask(files, bucket, prefix + begins):
                if not key.endswith("/"):
                    yield key.removeprefix(prefix), f"{scheme}://{bucket}/{key}", size
        else:
            yield from _folders(files, root, "", mark + query)
    except LesionLensError:
        raise
    except Exception as error:
        words = str(refusal(error, url, public_url(url)))
        hint = "; without an index page, give it a list of addresses" if scheme in WEB else ""
        raise LesionLensError(
            f"{words.replace('no such file there', 'nothing there')}{hint}"
        ) from error


def _s3_objects(files: Any, bucket: str, prefix: str) -> Iterator[tuple[str, int]]:
    more: dict[str, str] = {}
    while True:
        page = persist(
            partial(files.call_s3, "list_objects_v2", Bucket=bucket, Prefix=prefix, **more)
        )
        yield from ((thing["Key"], thing["Size"]) for thing in page.get("Contents", ()))
        if not page.get("IsTruncated"):
            return
        more = {"ContinuationToken": page["NextContinuationToken"]}


def _google_objects(files: Any, bucket: str, prefix: str) -> Iterator[tuple[str, int]]:
    """Yield names and bytes (https://cloud.google.com/storage/docs/json_api/v1/objects/list)."""
    fields, token = "items(name,size),nextPageToken", None
    while True:
        page = persist(
            partial(
                files.call, "GET", "b/{}/o", bucket, prefix=prefix, fields=fields, pageToken=token,
                json_out=True,
            )
        )  # fmt: skip
        yield from ((thing["name"], int(thing["size"])) for thing in page.get("items", ()))
        token = page.get("nextPageToken")
        if not token:
            return


def _folders(
    files: AbstractFileSystem, root: str, below: str, query: str, depth: int = 0
) -> Iterator[tuple[str, str, int | None]]:
    """Yield what lies in the folder ``below`` the ``root`` and in those below it.

    What is asked of a folder (``query``) is asked of all in it, too: it may be what lets one in.
    """
    folder = root + below
    is_web = scheme_of(root) in WEB
    base = files._strip_protocol(folder + query).rstrip("/") + "/"
    found = persist(lambda: files.ls(folder + query, detail=True))
    for thing in sorted(found, key=lambda thing: thing["name"]):
        name = thing["name"].removeprefix(base)
        # A web page also links to itself in other orders, and to elsewhere.
        if not name.strip("/") or (is_web and re.search("[?#]|^https?:", name)):
            continue
        if thing["type"] == "directory":
            if depth < _DEPTH:
                folder_below = below + name.rstrip("/") + "/"
                yield from _folders(files, root, folder_below, query, depth + 1)
        else:
            path = below + name
            yield (unquote(path) if is_web else path), root + path + query, thing["size"]
