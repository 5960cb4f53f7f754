"""The images in an archive, as items: what is one, what can be none, and what each is called."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace

from lesionlens.errors import ImageError
from lesionlens.screening import tars, zips
from lesionlens.screening.archives import ArchiveError, Names, Opened, Unpacking, open_archive
from lesionlens.screening.items import Item
from lesionlens.screening.places import (
    HEAD_BYTES,
    MAX_BYTES,
    Member,
    Unusable,
    is_hidden,
    is_nested,
    kind_of,
    kind_of_bytes,
    member_uri,
    packing_of,
    refusal,
    unusable,
)
from lesionlens.screening.reading import beginning_of


class CostlyError(Exception):
    """To list the archive is to unpack it all."""


@dataclass
class Listing:
    """How archives are listed; one for a source, as it owns the spool."""

    all_files: bool = False  # members without an image's suffix are looked into
    is_count: bool = False  # only for a number: raise CostlyError rather than unpack
    is_quick: bool = False  # leave out what is packed as a whole rather than unpack it
    spools: list[tars.Spool] = field(default_factory=list)  # none, or the one that is in use


def members_of(
    location: str, uri: str, kind: str, listing: Listing, *, extra: dict[str, str]
) -> Iterator[Item]:
    """Yield the images in an archive, in its order.

    Hidden members are left out, archives in the archive are not opened. What cannot be read on,
    the archive itself included, comes as ``Unusable``.

    Args:
        location: absolute path or URL.
        uri: what the archive is called.
        kind: "zip" or "tar".
        listing: how to list it.
        extra: columns that its images carry along.

    Raises:
        CostlyError: see ``Listing.is_count``.
    """
    packing = packing_of(location) if kind == "tar" else ""
    if packing and listing.is_count:
        raise CostlyError(uri)
    if packing and listing.is_quick:
        return
    try:
        opened = open_archive(location, is_listed=True)
        with closing(opened.file):
            if kind == "zip":
                found = _zip(opened, location, listing)
            else:
                found = _tar(opened, location, packing, listing)
            names = Names()
            for item in found:
                # What would read as the number of a frame is escaped, too.
                name = re.sub(r"#(\d+)$", r"%23\1", member_uri(uri, item.member))
                name = names.unique(name)
                yield _named(item, name, extra)
    except ArchiveError as error:
        yield unusable(uri, location, error.reason, str(error), extra=extra)
    except (OSError, ValueError) as error:
        refused = refusal(error, uri)
        yield Unusable(uri, location, reason=refused.reason, error=str(refused), extra=extra)


def _named(item: Member | Unusable, uri: str, extra: dict[str, str]) -> Item:
    if isinstance(item, Unusable):
        return replace(item, uri=uri, error=f"{uri}: {item.error}", extra=extra)
    return replace(item, uri=uri, extra=extra)


def _zip(opened: Opened, location: str, listing: Listing) -> Iterator[Member | Unusable]:
    stamp = opened.stamp()
    for entry in zips.entries(opened.file):
        if entry.name.endswith("/") or is_hidden(entry.name):
            continue
        if is_nested(entry.name):
            yield _nested(location, entry.name)
            continue
        member = Member(
            "", location, entry.name, kind="zip", size=entry.size, offset=entry.offset,
            packed=entry.packed, method=entry.method, crc=entry.crc, stamp=stamp,
        )  # fmt: skip
        if not kind_of(entry.name) and not (listing.all_files and _is_image(member, entry)):
            continue
        if entry.is_encrypted:
            words = "is encrypted; unpack the archive with its password and screen the folder"
            yield _unusable(location, entry.name, "encrypted", words)
        else:
            yield member


def _is_image(member: Member, entry: zips.Entry) -> bool:
    """Whether a member of a ZIP is an image by its content."""
    if entry.is_encrypted:
        return False
    try:
        return bool(kind_of_bytes(beginning_of(member, HEAD_BYTES)[0]))
    except ImageError:
        return False


def _tar(
    opened: Opened, location: str, packing: str, listing: Listing
) -> Iterator[Member | Unusable]:
    stamp = opened.stamp()
    file = Unpacking(opened.file, packing) if packing else opened.file
    if packing and not listing.spools:
        listing.spools.append(tars.Spool())
    for entry in tars.entries(file):
        if is_hidden(entry.name):
            continue
        if is_nested(entry.name):
            yield _nested(location, entry.name)
            continue
        head = b""
        if not kind_of(entry.name):
            if not (listing.all_files and entry.is_plain):
                continue
            file.seek(entry.offset)
            head = file.read(min(HEAD_BYTES, entry.size))
            if not kind_of_bytes(head):
                continue
        if entry.link:
            words = f"is a link in the archive to {entry.link}; that is judged, if it is in there"
            yield _unusable(location, entry.name, "unsupported_format", words)
        elif not entry.is_plain:
            words = "is no plain file in the archive: a pipe, a device or stored with gaps"
            yield _unusable(location, entry.name, "unsupported_format", words)
        else:
            member = Member(
                "", location, entry.name, kind="tar", size=entry.size, offset=entry.offset,
                packing=packing, stamp=stamp,
            )  # fmt: skip
            if packing and entry.size <= MAX_BYTES:
                file.seek(entry.offset + len(head))  # never back: that is from the start again
                path, place = listing.spools[0].add(file, entry.size, head=head)
                member = replace(member, spool=path, spool_offset=place)
            yield member


def _unusable(location: str, name: str, reason: str, words: str) -> Unusable:
    return Unusable("", location, name, reason=reason, error=words)


def _nested(location: str, name: str) -> Unusable:
    words = "is an archive in an archive, which is not opened; unpack the outer one and screen that"
    return _unusable(location, name, "unsupported_format", words)
