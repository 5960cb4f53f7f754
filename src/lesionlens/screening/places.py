"""Where images lie: what a name says of a file, limits, and items that carry more than a path.

Engines need not know the kinds of item below: they hand them on whole (by pickle, which every
engine does) and ``reading.read_item`` knows what to do.
"""

from __future__ import annotations

import errno
import os
import re
from dataclasses import dataclass
from urllib.parse import quote, unquote

from lesionlens.errors import ImageError
from lesionlens.imaging import SUFFIXES
from lesionlens.screening.items import Item

#: Encoded bytes of one image, at most. The largest that ``imaging.MAX_PIXELS`` lets through, a
#: 120-megapixel BMP or TIFF of three bytes a pixel that is not packed, has 360 million.
MAX_BYTES = 512 << 20
#: First bytes of a file that tell an image by its content.
HEAD_BYTES = 132
#: DICOM files that have a suffix.
DICOM_SUFFIXES = frozenset({".dcm", ".dicom"})
#: How a TAR is packed as a whole, by the end of its name.
TAR_SUFFIXES = {
    ".tar": "",
    ".tar.gz": "gzip",
    ".tgz": "gzip",
    ".tar.bz2": "bz2",
    ".tbz2": "bz2",
    ".tar.xz": "xz",
    ".txz": "xz",
    ".tar.zst": "zstd",
    ".tzst": "zstd",
}
ZIP_SUFFIX = ".zip"
#: What the formats of ``imaging.FORMATS`` begin with, WebP apart.
_MAGIC = (b"\xff\xd8\xff", b"\x89PNG\r\n", b"II*\0", b"MM\0*", b"BM")
#: Archives that are not opened where they lie in another; told of, as images may be in them.
_NESTED = (ZIP_SUFFIX, *TAR_SUFFIXES, ".7z", ".rar", ".gz")

# Parts of a query that let one in, by what the services that sign addresses call them: Amazon,
# Google, Azure, Alibaba, Tencent, Akamai, Dropbox, SharePoint.
_SECRETS = re.compile(
    r"x-(amz|goog|oss|cos)-.*|q-(ak|sign|sign-.*|key-time)|.*access_?key_?id|google_?accessid"
    r"|expires|policy|key-?(pair-id|name)|urlprefix|sig|s[eprstv]|sip|spr|srt|sk(oid|tid|[tesv])"
    r"|hdn(ea|ts)|rlkey|tempauth|auth|jwt|sas|key|api_?key|.*pass(word|wd|phrase)|pwd"
    r"|.*(signature|token|secret|credential|authorization)|__(token|gda)__",
    re.IGNORECASE,
)
# An address: up to its host, who asks, then all else but a query, and that.
_URL = re.compile(r"([^:]*://)(?:[^/?#]*@)?([^?]*)(?:\?(.*))?", re.DOTALL)
#: Where a web server answers. Elsewhere ``?``, ``#`` and ``%`` are letters of an object's name.
WEB = ("http", "https")


@dataclass(frozen=True)
class Member(Item):
    """An image inside an archive, by the place of its bytes: nobody looks it up by name."""

    offset: int = 0  # ZIP: of its local header; TAR: of its bytes in the unpacked TAR
    packed: int = 0  # ZIP: bytes that it takes up
    method: int = 0  # ZIP: how it is packed
    crc: int = 0  # ZIP: CRC-32 of its bytes
    packing: str = ""  # TAR: how the whole is packed
    stamp: str = ""  # the archive as it was when it was listed, see ``archives.stamp_of``
    spool: str = ""  # TAR that is packed: file that may have its bytes unpacked
    spool_offset: int = 0


@dataclass(frozen=True)
class Unusable(Item):
    """What was found while looking for images and can be no image, and why."""

    reason: str = "unreadable"  # one of items.REASONS
    error: str = ""  # a sentence that begins with the uri


def unusable(uri: str, location: str, reason: str, words: str, **more: object) -> Unusable:
    """Return an item that has no answer, for ``reason`` and in ``words``."""
    return Unusable(uri, location, reason=reason, error=f"{uri}: {words}", **more)  # type: ignore[arg-type]


def kind_of(name: str) -> str:
    """Return what a file is by its name: file, dicom, zip, tar, or nothing: no image.

    >>> kind_of("a/lesion.JPG"), kind_of("all.tar.gz"), kind_of("notes.txt")
    ('file', 'tar', '')
    """
    lower = name.lower()
    suffix = os.path.splitext(lower)[1]
    if suffix in SUFFIXES:
        return "file"
    if suffix in DICOM_SUFFIXES:
        return "dicom"
    if suffix == ZIP_SUFFIX:
        return "zip"
    return "tar" if lower.endswith(tuple(TAR_SUFFIXES)) else ""


def is_dicomdir(name: str) -> bool:
    """Whether a file of this name lists the DICOM files of a disc: they have no suffix."""
    return os.path.basename(name).upper() == "DICOMDIR"


def packing_of(name: str) -> str:
    """Return how a TAR of this name, or at this address, is packed: gzip ... zstd, or nothing."""
    lower = (path_of(name) if is_url(name) else name).lower()
    return next((how for end, how in TAR_SUFFIXES.items() if lower.endswith(end)), "")


def is_nested(name: str) -> bool:
    """Whether a member of this name is an archive itself."""
    return name.lower().endswith(_NESTED)


def is_hidden(name: str) -> bool:
    """Whether a path or any folder in it begins with a dot (but ``.`` and ``..``)."""
    return any(part.startswith(".") and part.strip(".") for part in name.split("/"))


def is_url(text: str) -> bool:
    """Whether ``text`` is an address and not a path.

    >>> is_url("s3://bucket/a.jpg"), is_url("C:/photos"), is_url("a:b.jpg")
    (True, False, False)
    """
    return re.match(r"[a-zA-Z][a-zA-Z0-9+.-]+://", text) is not None


def scheme_of(url: str) -> str:
    """Return what stands before ``://``, in small letters."""
    return url.partition("://")[0].lower()


def path_of(url: str) -> str:
    """Return the path in an address, without its escapes; of an object in a store, its key.

    >>> path_of("https://host/a%20b.jpg?size=2"), path_of("s3://bucket/a%20b#1?.jpg")
    ('/a b.jpg', '/a%20b#1?.jpg')
    """
    rest = url.partition("://")[2]
    if scheme_of(url) in WEB:
        return unquote(re.sub("^[^/?#]*|[?#].*", "", rest, flags=re.DOTALL))
    return "/" + rest.partition("/")[2]


def public_url(url: str) -> str:
    """Return an address without user, password, signature and fragment: a name for outputs.

    What is no secret stays as it was written, so that two addresses have two names.

    >>> public_url("https://me:pw@host/a.jpg?size=2&X-Amz-Signature=1f#x")
    'https://host/a.jpg?size=2'
    """
    found = _URL.fullmatch(url.partition("#")[0] if scheme_of(url) in WEB else url)
    if found is None:
        return url
    start, place, query = found.groups()
    if query is None:
        return f"{start}{place}"
    kept = "&".join(part for part in query.split("&") if not _is_secret(part))
    return f"{start}{place}?{kept}" if kept or not query else f"{start}{place}"


def _is_secret(part: str) -> bool:
    """Whether a part of a query lets one in; ``key=a.jpg`` says which image."""
    name, _, value = part.partition("=")
    return _SECRETS.fullmatch(unquote(name)) is not None and not kind_of(unquote(value))


def without_secrets(text: str) -> str:
    """Return words that may quote addresses, such as those of a library, without their secrets.

    >>> without_secrets("503, url='https://me:pw@host/a.jpg?sig=1f'")
    "503, url='https://host/a.jpg"
    """
    return re.sub(r"[A-Za-z][\w+.-]*://\S+", lambda found: public_url(found[0]), text)


def member_uri(archive: str, name: str) -> str:
    r"""Return what to call a member: the archive, ``!/``, its name.

    Nothing is ever written under such a name; whoever joins one to a folder of his own must not
    leave it, so what would lead out of it (``..``, a leading slash, a drive, a backslash) is
    escaped as in an address.

    >>> member_uri("a.zip", "in/1.jpg"), member_uri("a.zip", "../../etc/1.jpg")
    ('a.zip!/in/1.jpg', 'a.zip!/%2E%2E/%2E%2E/etc/1.jpg')
    """
    if not re.search(r"(^|/)\.{0,2}(/|$)|[\\\x00-\x1f]|^[A-Za-z]:|%[0-9A-F]{2}", name):
        return f"{archive}!/{name}"
    parts = name.replace("%", "%25").split("/")
    escaped = [part.replace(".", "%2E") if part in (".", "..") else part for part in parts]
    text = re.sub(r"[\\\x00-\x1f]", lambda found: quote(found[0]), "/".join(escaped))
    text = re.sub(r"^([A-Za-z]):", r"\1%3A", text)
    return f"{archive}!/{re.sub('^/+', lambda found: '%2F' * len(found[0]), text)}"


def refusal(error: OSError | ValueError, uri: str) -> ImageError:
    """Return what an error of the system means for the item ``uri``, as one with a reason.

    Args:
        error: of opening or reading; a ValueError is about a name that no file can have.
        uri: what to call the item.
    """
    if isinstance(error, FileNotFoundError | NotADirectoryError | ValueError):
        return ImageError(f"{uri}: no such file", reason="not_found")
    if isinstance(error, PermissionError):
        return ImageError(
            f"{uri}: may not be read by this user; grant it, or run as one who may",
            reason="no_permission",
        )
    number = error.errno or 0
    words = {
        errno.ELOOP: "is a symbolic link that leads back to itself",
        errno.ENAMETOOLONG: "its path is longer than this system opens; mount or link a folder "
        "further down and screen that",
    }.get(number, f"cannot be read ({error.strerror or error})")
    return ImageError(f"{uri}: {words}")


def kind_of_bytes(head: bytes) -> str:
    """Return what a file is by its first 132 bytes: file, dicom, or nothing: no image."""
    if head[128:132] == b"DICM":
        return "dicom"
    is_webp = head[:4] == b"RIFF" and head[8:12] == b"WEBP"
    return "file" if is_webp or head.startswith(_MAGIC) else ""
