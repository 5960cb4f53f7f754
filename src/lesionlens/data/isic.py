"""The ISIC archive: what to ask it for, and an archive folder fetched from it.

The archive (https://www.isic-archive.com) answers searches in pages of 100 with a cursor to
the next, and serves the images from an object store. What a fetch needs to go on after a kill
lies in ``.fetch/`` of the output folder: pages of the search as they came, and part files. An
image enters ``images/`` only when it has the size that the archive announced and decodes, so
whatever is there is whole.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urljoin, urlsplit

from lesionlens.data.downloads import AccessDeniedError, Connection, discard
from lesionlens.data.manifest import ISIC_COLUMNS, write_metadata
from lesionlens.data.notices import write_notices
from lesionlens.data.queries import Selection
from lesionlens.errors import DataError, FetchError, ImageError
from lesionlens.files import check_free_space, read_csv, read_json, write_csv, write_json
from lesionlens.imaging import SUFFIXES, load_pixels

#: Where the archive answers.
BASE_URL = "https://api.isic-archive.com/api/v2/"
#: Environment variable that names another address.
BASE_URL_VARIABLE = "LESIONLENS_ISIC_URL"
#: Columns of ``errors.csv``.
ERROR_COLUMNS = ("isic_id", "url", "error")
#: Results per page; the archive gives no more.
PAGE_SIZE = 100

_SAFE_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True)
class RemoteImage:
    """An image of the archive as a search describes it."""

    isic_id: str
    url: str
    size_bytes: int
    metadata: Mapping[str, str]  # ISIC_COLUMNS

    @property
    def file_name(self) -> str:
        """The name of the image in ``images/``: its id and the suffix that it has there."""
        suffix = PurePosixPath(urlsplit(self.url).path).suffix.lower()
        known = suffix in SUFFIXES and suffix not in (".jpeg", ".jpe")
        return f"{self.isic_id}{suffix if known else '.jpg'}"


@dataclass(frozen=True)
class Plan:
    """What a fetch would bring."""

    selections: tuple[tuple[Selection, int, int], ...]  # with images and bytes found for each
    images: tuple[RemoteImage, ...]  # each once, whichever selections found it

    @property
    def size_bytes(self) -> int:
        """Size of all images together."""
        return sum(image.size_bytes for image in self.images)


@dataclass(frozen=True)
class Failure:
    """An image that could not be had."""

    isic_id: str
    url: str  # without its query, which may carry a signature
    error: str


@dataclass(frozen=True)
class FetchResult:
    """What a fetch brought."""

    n_fetched: int  # images that arrived in this run, whole or their missing rest
    n_present: int  # images that were there already
    n_archive: int  # images in the folder's metadata.csv now, those of earlier fetches included
    failures: tuple[Failure, ...]


def make_plan(
    connection: Connection,
    selections: Sequence[Selection],
    *,
    base_url: str = BASE_URL,
    store: Path | None = None,
) -> Plan:
    """Search the archive.

    Args:
        connection: to ask through.
        selections: what to search for.
        base_url: where the archive answers.
        store: output folder, whose ``.fetch/pages`` are read before the network and keep
            every page that is asked for; None: nothing is stored.

    Raises:
        FetchError: the archive refused a query, did not answer, or not in the known shape.
    """
    images: dict[str, RemoteImage] = {}
    rows: list[tuple[Selection, int, int]] = []
    for selection in selections:
        found = list(_search(connection, selection, base_url, store))
        rows.append((selection, len(found), sum(image.size_bytes for image in found)))
        for image in found:
            images.setdefault(image.isic_id, image)
    return Plan(selections=tuple(rows), images=tuple(images.values()))


def fetch(
    connection: Connection,
    plan: Plan,
    output: Path,
    *,
    base_url: str = BASE_URL,
    workers: int = 8,
    advance: Callable[[], None] = lambda: None,
) -> FetchResult:
    """Bring the images of ``plan`` into the archive folder ``output``.

    Images that are there in full are left alone, begun ones are completed. What an earlier
    fetch left in ``metadata.csv`` stays there. Failures are written to ``errors.csv``, which
    is removed when there are none.

    Args:
        connection: to ask through.
        plan: what to bring.
        output: the archive folder; made if need be.
        base_url: where the archive answers, for a new address should an image's have expired.
        workers: images fetched at the same time.
        advance: called once per image that is done, well or not, from this thread.

    Raises:
        LesionLensError: the disk has too little room, or cannot be written.
        DataError: ``output`` has a metadata.csv that no fetch has written.
    """
    earlier = _earlier_rows(output)
    missing = [image for image in plan.images if not _is_present(output, image)]
    check_free_space(output, sum(image.size_bytes - _begun(output, image) for image in missing))
    n_present = len(plan.images) - len(missing)
    for _ in range(n_present):
        advance()

    failures: list[Failure] = []
    pool = ThreadPoolExecutor(max_workers=workers, thread_name_prefix="fetch")
    try:
        jobs = {
            pool.submit(_bring, connection, image, output, base_url): image for image in missing
        }
        pending = set(jobs)
        while pending:
            done, pending = wait(pending, return_when=FIRST_COMPLETED)
            for job in done:
                image = jobs[job]
                try:
                    job.result()
                except FetchError as error:
                    url = image.url.partition("?")[0]
                    reason = str(error).removeprefix(f"{url}: ")
                    failures.append(Failure(image.isic_id, url, reason))
                advance()
    except BaseException:
        connection.stop()  # Ctrl-C or a full disk: let the workers go, keep what arrived
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)

    failed = {failure.isic_id for failure in failures}
    rows: dict[str, Mapping[str, str]] = {row["isic_id"]: row for row in earlier}
    rows |= {image.isic_id: image.metadata for image in plan.images if image.isic_id not in failed}
    ordered = [rows[isic_id] for isic_id in sorted(rows)]
    if ordered:
        write_metadata(output / "metadata.csv", ordered)
        write_notices(output, ordered)
    _write_failures(output / "errors.csv", failures)
    return FetchResult(
        n_fetched=len(missing) - len(failures),
        n_present=n_present,
        n_archive=len(ordered),
        failures=tuple(failures),
    )


def discard_pages(output: Path) -> None:
    """Forget the stored pages of earlier searches, so that the archive is asked anew."""
    for page in (output / ".fetch" / "pages").glob("*/*.json"):
        page.unlink()


def _search(
    connection: Connection, selection: Selection, base_url: str, store: Path | None
) -> Iterator[RemoteImage]:
    key = hashlib.sha256(f"{base_url}\n{selection.query}".encode()).hexdigest()[:16]
    pages = None if store is None else store / ".fetch" / "pages" / key
    first = urljoin(_folder(base_url), "images/search/")
    address: str | None = first
    seen: set[str] = set()
    n_left = selection.limit
    while address and (n_left is None or n_left > 0):
        stored = None if pages is None else pages / f"{len(seen):05d}.json"
        if stored is not None and stored.exists():
            page = read_json(stored)
        elif address == first:
            page = connection.get_json(address, {"query": selection.query, "limit": PAGE_SIZE})
        else:
            page = connection.get_json(address)
        seen.add(address)
        images, following = _read_page(page, address)
        if stored is not None and not stored.exists():
            write_json(stored, page)
        yield from images[:n_left]
        n_left = None if n_left is None else n_left - len(images)
        address = urljoin(address, following) if following else None
        if address in seen:
            raise FetchError(f"{first}: its pages go round in a circle; nothing was fetched")


def _folder(base_url: str) -> str:
    return base_url if base_url.endswith("/") else f"{base_url}/"


def _read_page(page: Any, address: str) -> tuple[list[RemoteImage], str | None]:
    try:
        return [_read_image(item) for item in page["results"]], page.get("next")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FetchError(
            f"{address.partition('?')[0]}: answers in a shape that this version does not know "
            f"({type(error).__name__}: {error}); is it the ISIC archive's API, version 2?"
        ) from error


def _read_image(item: Mapping[str, Any]) -> RemoteImage:
    isic_id = item["isic_id"]
    if not _SAFE_ID.fullmatch(isic_id):  # it becomes a file name
        raise ValueError(f"{isic_id!r} is not an image id")
    file = item["files"]["full"]
    values = {
        "isic_id": isic_id,
        "attribution": item.get("attribution"),
        "copyright_license": item.get("copyright_license"),
        **item["metadata"].get("acquisition", {}),
        **item["metadata"].get("clinical", {}),
    }
    return RemoteImage(
        isic_id=isic_id,
        url=file["url"],
        size_bytes=int(file["size"]),
        metadata={
            column: "" if values.get(column) is None else str(values[column])
            for column in ISIC_COLUMNS
        },
    )


def _part(output: Path, image: RemoteImage) -> Path:
    return output / ".fetch" / "parts" / f"{image.file_name}.part"


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _begun(output: Path, image: RemoteImage) -> int:
    return min(_size(_part(output, image)), image.size_bytes)


def _is_present(output: Path, image: RemoteImage) -> bool:
    # Only whole images that decode are moved there, so the size tells ours from others.
    return _size(output / "images" / image.file_name) == image.size_bytes > 0


def _bring(connection: Connection, image: RemoteImage, output: Path, base_url: str) -> None:
    part = _part(output, image)
    begun = part.exists()
    try:
        n_responses = connection.get_file(image.url, part, size_bytes=image.size_bytes)
    except AccessDeniedError:
        # Addresses of files that are not public are signed for a while: ask for a new one.
        item = connection.get_json(urljoin(_folder(base_url), f"images/{image.isic_id}/"))
        (renewed,), _ = _read_page({"results": [item]}, image.url)
        if renewed.url == image.url:
            raise
        n_responses = connection.get_file(renewed.url, part, size_bytes=image.size_bytes)
    try:
        _check_decodes(part, image)
    except FetchError:
        if not begun and n_responses == 1:
            raise  # it came in one piece and is bad where it comes from
        # A seam between two attempts may be the cause: once more, in one piece.
        connection.get_file(image.url, part, size_bytes=image.size_bytes)
        _check_decodes(part, image)
    target = output / "images" / image.file_name
    target.parent.mkdir(parents=True, exist_ok=True)
    part.replace(target)
    discard(part)


def _check_decodes(part: Path, image: RemoteImage) -> None:
    try:
        load_pixels(part)
    except ImageError as error:
        discard(part)
        reason = str(error).removeprefix(f"{part}: ")
        raise FetchError(f"{image.file_name}: arrived in full but {reason}") from error


def _earlier_rows(output: Path) -> list[dict[str, str]]:
    metadata = output / "metadata.csv"
    if not metadata.exists():
        return []
    rows = read_csv(metadata, required=ISIC_COLUMNS)
    if rows and set(rows[0]) != set(ISIC_COLUMNS):
        extra = ", ".join(sorted(set(rows[0]) - set(ISIC_COLUMNS)))
        raise DataError(
            f"{metadata}: was not written by a fetch (it has a column {extra}); "
            "choose another output folder"
        )
    return rows


def _write_failures(path: Path, failures: Sequence[Failure]) -> None:
    if failures:
        ordered = sorted(failures, key=lambda failure: failure.isic_id)
        write_csv(path, ERROR_COLUMNS, (vars(failure) for failure in ordered))
    else:
        path.unlink(missing_ok=True)
