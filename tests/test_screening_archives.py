"""ZIP and TAR: read without unpacking, and whatever is wrong with one stays with it."""

from __future__ import annotations

import bz2
import dataclasses
import gzip
import hashlib
import io
import lzma
import os
import pickle
import random
import shutil
import struct
import subprocess
import sys
import tarfile
import time
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from archive_server import jpeg
from lesionlens.errors import ImageError
from lesionlens.screening import archives, members, places, tars, zips
from lesionlens.screening.items import Item, spelled
from lesionlens.screening.places import Member, Unusable, member_uri
from lesionlens.screening.reading import beginning_of, read_item
from lesionlens.screening.sources import ImageSource, SourceOptions
from memory_kit import growth_alone

PHOTOS = {"b/1.jpg": jpeg(1), "a/2.jpg": jpeg(2), "3.png": jpeg(3)}
TARS = ["tar", "tar.gz", "tgz", "tar.bz2", "tar.xz", "tar.zst"]


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def read_all(source: ImageSource) -> dict[str, str]:
    """Read all that a source has: by name, the hash or the reason of a failure."""
    found: dict[str, str] = {}
    for item in source:
        assert item.uri not in found
        words, found[item.uri] = outcome(pickle.loads(pickle.dumps(item)))  # as engines hand it on
        assert words.startswith(item.uri)
    return found


def outcome(item: Item) -> tuple[str, str]:
    """Read an item; return what is said and its hash, or the reason of a failure."""
    try:
        return item.uri, read_item(item).sha256
    except ImageError as error:
        return str(error), error.reason


def write_zip(
    path: Path, photos: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED, **options: object
) -> Path:
    with zipfile.ZipFile(path, "w", method, **options) as archive:
        for name, content in photos.items():
            archive.writestr(name, content)
    return path


def write_tar(path: Path, photos: dict[str, bytes], **options: object) -> Path:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", **options) as archive:
        for name, content in photos.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    path.write_bytes(PACK[places.packing_of(path.name)](stream.getvalue()))
    return path


PACK: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    "gzip": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zstd": lambda content: pa.compress(content, codec="zstd", asbytes=True),
}


@pytest.mark.parametrize(
    "method",
    [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA],
    ids=str,
)
def test_a_zip_gives_its_photos_in_its_order(method: int, tmp_path: Path) -> None:
    path = write_zip(tmp_path / "all.zip", {"notes.txt": b"?", **PHOTOS}, method)
    found = read_all(ImageSource([str(path)]))
    assert list(found.items()) == [(f"all.zip!/{n}", sha256(c)) for n, c in PHOTOS.items()]


@pytest.mark.parametrize("suffix", TARS)
def test_a_tar_gives_its_photos_in_its_order(suffix: str, tmp_path: Path) -> None:
    path = write_tar(tmp_path / f"all.{suffix}", {"notes.txt": b"?", **PHOTOS})
    found = read_all(ImageSource([str(path)]))
    assert list(found.items()) == [(f"all.{suffix}!/{n}", sha256(c)) for n, c in PHOTOS.items()]


@pytest.mark.parametrize("suffix", ["zip", *TARS])
def test_archives_in_a_folder_are_opened(suffix: str, tmp_path: Path) -> None:
    (tmp_path / "2024").mkdir()
    write = write_zip if suffix == "zip" else write_tar
    write(tmp_path / "2024" / f"all.{suffix}", PHOTOS)
    (tmp_path / "z.jpg").write_bytes(jpeg(7))
    found = list(read_all(ImageSource([str(tmp_path)])))
    assert found == [*(f"2024/all.{suffix}!/{name}" for name in PHOTOS), "z.jpg"]


@pytest.mark.parametrize("suffix", ["zip", *TARS])
def test_members_without_a_suffix_are_told_by_content_if_asked(suffix: str, tmp_path: Path) -> None:
    photos = {"1": jpeg(1), "README": b"I am text. " * 30, "IM/2": bytes(128) + b"DICM" + bytes(99)}
    path = (write_zip if suffix == "zip" else write_tar)(tmp_path / f"all.{suffix}", photos)
    assert not list(ImageSource([str(path)]))
    found = read_all(ImageSource([str(path)], SourceOptions(all_files=True)))
    assert list(found) == [f"all.{suffix}!/1", f"all.{suffix}!/IM/2"]
    assert list(found.values()) == [sha256(photos["1"]), "no_pixels"]  # DICOM is read as such


def test_hidden_members_are_left_out(tmp_path: Path) -> None:
    photos = {"__MACOSX/._1.jpg": b"?", ".git/1.jpg": b"?", "1.jpg": jpeg(1)}
    assert list(read_all(ImageSource([str(write_zip(tmp_path / "a.zip", photos))]))) == [
        "a.zip!/1.jpg"
    ]


# What is wrong with an archive -------------------------------------------------------------------


def encrypted_zip(path: Path) -> None:
    # The standard library reads but does not write encryption; the flag is all that counts here.
    write_zip(path, PHOTOS)
    content = bytearray(path.read_bytes())
    entry = content.index(b"PK\1\2", content.index(b"PK\1\2") + 4)  # the second
    content[entry + 8] |= 1
    path.write_bytes(content)


def bomb_zip(path: Path) -> None:
    write_zip(path, {"b/1.jpg": jpeg(1), "a/2.jpg": bytes(96 << 20), "3.png": jpeg(3)})


def giant_zip(path: Path) -> None:
    """Announce a member of four terabytes, by ZIP64."""
    write_zip(path, PHOTOS)
    content = bytearray(path.read_bytes())
    first = content.index(b"PK\1\2")
    entry = content.index(b"PK\1\2", first + 4)
    content[entry + 24 : entry + 28] = b"\xff" * 4
    content[entry + 30 : entry + 32] = struct.pack("<H", 12)
    n_name = struct.unpack_from("<H", content, entry + 28)[0]
    at = entry + 46 + n_name
    content[at:at] = struct.pack("<2HQ", 1, 8, 4 << 40)
    end = content.index(b"PK\5\6")
    size = struct.unpack_from("<L", content, end + 12)[0]
    content[end + 12 : end + 16] = struct.pack("<L", size + 12)
    path.write_bytes(content)


def lying_zip(path: Path) -> None:
    """Announce fewer bytes than there are."""
    write_zip(path, PHOTOS)
    content = bytearray(path.read_bytes())
    entry = content.index(b"PK\1\2", content.index(b"PK\1\2") + 4)
    content[entry + 24 : entry + 28] = struct.pack("<L", 100)
    path.write_bytes(content)


def flipped_zip(path: Path) -> None:
    write_zip(path, PHOTOS, zipfile.ZIP_STORED)
    content = bytearray(path.read_bytes())
    content[content.index(jpeg(2)) + 2000] ^= 1
    path.write_bytes(content)


def by_method(number: int) -> Callable[[Path], None]:
    """Return what makes a ZIP with a member that says it is packed in another way."""

    def make(path: Path) -> None:
        write_zip(path, PHOTOS)
        content = bytearray(path.read_bytes())
        entry = content.index(b"PK\1\2", content.index(b"PK\1\2") + 4)
        content[entry + 10 : entry + 12] = struct.pack("<H", number)
        path.write_bytes(content)

    make.__name__ = f"by_method_{number}"
    return make


def second_by(method: int, change: Callable[[bytearray, int], None]) -> Callable[[Path], None]:
    """Return what makes a ZIP whose second member is packed by a method and then changed."""

    def make(path: Path) -> None:
        with zipfile.ZipFile(path, "w") as archive:
            for (name, content), number in zip(PHOTOS.items(), (8, method, 8), strict=True):
                archive.writestr(name, content, number)
            info = archive.infolist()[1]
        changed = bytearray(path.read_bytes())
        change(changed, info.header_offset + 30 + len(info.filename))
        path.write_bytes(changed)

    make.__name__ = f"{change.__name__}_by_{method}"
    return make


def flipped(content: bytearray, start: int) -> None:
    content[start + 4000] ^= 1


def without_properties(content: bytearray, start: int) -> None:
    content[start + 2] = 9


def of_impossible_properties(content: bytearray, start: int) -> None:
    content[start + 4] = 255


def misplaced_zip(path: Path) -> None:
    write_zip(path, PHOTOS)
    content = bytearray(path.read_bytes())
    entry = content.index(b"PK\1\2", content.index(b"PK\1\2") + 4)
    content[entry + 42 : entry + 46] = struct.pack("<L", 77)
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (encrypted_zip, "encrypted"),
        (bomb_zip, "bad_archive"),
        (giant_zip, "too_large"),
        (lying_zip, "bad_archive"),
        (flipped_zip, "bad_archive"),
        *((by_method(number), "unsupported_format") for number in (9, 93, 98, 77)),
        (second_by(zipfile.ZIP_LZMA, flipped), "bad_archive"),
        (second_by(zipfile.ZIP_LZMA, without_properties), "bad_archive"),
        (second_by(zipfile.ZIP_LZMA, of_impossible_properties), "bad_archive"),
        (second_by(zipfile.ZIP_BZIP2, flipped), "bad_archive"),
        (misplaced_zip, "bad_archive"),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_a_bad_member_is_one_failure(
    make: Callable[[Path], None], reason: str, tmp_path: Path
) -> None:
    make(tmp_path / "a.zip")
    assert read_all(ImageSource([str(tmp_path)])) == {
        "a.zip!/b/1.jpg": sha256(PHOTOS["b/1.jpg"]),
        "a.zip!/a/2.jpg": reason,
        "a.zip!/3.png": sha256(PHOTOS["3.png"]),
    }


def test_a_member_packed_by_what_is_not_read_is_told_by_its_name(tmp_path: Path) -> None:
    for number, name in ((9, "Deflate64"), (93, "Zstandard"), (77, "an unknown way")):
        by_method(number)(tmp_path / "a.zip")
        item = list(ImageSource([str(tmp_path / "a.zip")]))[1]
        with pytest.raises(ImageError, match=rf"is packed by {name} \(method {number}\); stored"):
            read_item(item)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA], ids=str)
def test_a_bomb_of_another_method_is_told_or_given_up(method: int, tmp_path: Path) -> None:
    write_zip(tmp_path / "a.zip", {"1.jpg": bytes(96 << 20)}, method)
    assert list(read_all(ImageSource([str(tmp_path)])).values()) == ["bad_archive"]
    # Nor is it unpacked to its end where its header says less than there is.
    content = bytearray((tmp_path / "a.zip").read_bytes())
    entry = content.index(b"PK\1\2")
    content[entry + 24 : entry + 28] = struct.pack("<L", 1000)
    (tmp_path / "a.zip").write_bytes(content)
    (item,) = ImageSource([str(tmp_path)])
    tracemalloc.start()
    assert outcome(item)[1] == "bad_archive"
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 << 20


@pytest.mark.parametrize("name", ["a.jpg", "noise"])
@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA], ids=str)
def test_the_first_bytes_of_a_large_member_are_seen(method: int, name: str, tmp_path: Path) -> None:
    large = jpeg(1) + random.Random(0).randbytes(3_000_000)
    write_zip(tmp_path / "a.zip", {name: large}, method)
    (item,) = ImageSource([str(tmp_path / "a.zip")], SourceOptions(all_files=True))
    assert beginning_of(item, 5000) == (large[:5000], len(large))
    assert read_item(item).source == large


def test_a_dictionary_of_four_gigabytes_is_not_set_aside(tmp_path: Path) -> None:
    def greedy(content: bytearray, start: int) -> None:
        content[start + 5 : start + 9] = b"\xff" * 4

    second_by(zipfile.ZIP_LZMA, greedy)(tmp_path / "a.zip")
    program = """
import sys
from lesionlens.children import limit_memory
from lesionlens.screening import reading, sources
limit_memory(64 << 20)
print([reading.read_item(item).sha256 for item in sources.ImageSource(sys.argv[1:])])
"""
    done = subprocess.run(
        [sys.executable, "-c", program, tmp_path / "a.zip"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == str([sha256(content) for content in PHOTOS.values()])


def test_what_is_packed_by_lzma_may_have_no_mark_at_its_end(tmp_path: Path) -> None:
    """Other programs leave it out: as if the last bytes were cut off, which say nothing else."""
    path = write_zip(tmp_path / "a.zip", {"1.jpg": jpeg(1)}, zipfile.ZIP_LZMA)
    with zipfile.ZipFile(path) as archive:
        info = archive.infolist()[0]
    content = path.read_bytes()
    start = info.header_offset + 30 + len(info.filename)
    packed = content[start : start + info.compress_size - 4]
    entry = zips.Entry("1.jpg", 0, len(packed), info.file_size, 14, info.CRC, is_encrypted=False)
    shortened = io.BytesIO(content[:start] + packed)
    assert zips.read(shortened, entry) == jpeg(1)
    short = dataclasses.replace(entry, size=entry.size - 1)
    with pytest.raises(archives.ArchiveError, match="do not match"):
        zips.read(shortened, short)


@pytest.mark.skipif(not shutil.which("7z"), reason="needs 7z: apt install 7zip")
@pytest.mark.parametrize(
    ("method", "reason"),
    [("BZip2", ""), ("LZMA", ""), ("Deflate64", "unsupported_format"),
     ("PPMd", "unsupported_format")],
)  # fmt: skip
def test_another_program_packs_what_is_read_or_told(
    method: str, reason: str, tmp_path: Path
) -> None:
    pixels = np.zeros((300, 300, 3), np.uint8)
    pixels[:, ::7] = 200
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "BMP")  # which each of them packs, and does not store
    (tmp_path / "1.bmp").write_bytes(stream.getvalue())
    command = ["7z", "a", f"-mm={method}", "-bso0", tmp_path / "a.zip", tmp_path / "1.bmp"]
    subprocess.run(command, check=True)
    found = read_all(ImageSource([str(tmp_path / "a.zip")]))
    assert found == {"a.zip!/1.bmp": reason or sha256(stream.getvalue())}


def test_a_bomb_is_told_by_its_header_and_never_unpacked(tmp_path: Path) -> None:
    bomb_zip(tmp_path / "a.zip")
    (tmp_path / "z.jpg").write_bytes(jpeg(8))
    assert growth_alone(read_a_bad_archive, tmp_path) < 48 << 20


def read_a_bad_archive(folder: Path) -> Iterator[None]:
    read_all(ImageSource([str(folder / "z.jpg")]))  # what is loaded the first time
    yield
    assert "bad_archive" in read_all(ImageSource([str(folder)])).values()


def test_an_archive_in_an_archive_is_told_and_not_opened(tmp_path: Path) -> None:
    # So a quine, a ZIP that contains itself, is one failure, too.
    inner = write_zip(tmp_path / "inner.zip", PHOTOS).read_bytes()
    (tmp_path / "inner.zip").unlink()
    write_zip(tmp_path / "a.zip", {"1.jpg": jpeg(1), "r/r.zip": inner, "r/r.tgz": inner})
    write_tar(tmp_path / "b.tar", {"1.jpg": jpeg(1), "r.zip": inner})
    assert read_all(ImageSource([str(tmp_path)])) == {
        "a.zip!/1.jpg": sha256(jpeg(1)),
        "a.zip!/r/r.zip": "unsupported_format",
        "a.zip!/r/r.tgz": "unsupported_format",
        "b.tar!/1.jpg": sha256(jpeg(1)),
        "b.tar!/r.zip": "unsupported_format",
    }


@pytest.mark.parametrize("suffix", ["zip", *TARS])
def test_a_damaged_archive_is_one_failure(suffix: str, tmp_path: Path) -> None:
    path = (write_zip if suffix == "zip" else write_tar)(tmp_path / f"m.{suffix}", PHOTOS)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    (tmp_path / "a.jpg").write_bytes(jpeg(7))
    (tmp_path / "z.jpg").write_bytes(jpeg(8))
    found = read_all(ImageSource([str(tmp_path)]))
    assert found[path.name] == "bad_archive"
    assert found.items() >= {"a.jpg": sha256(jpeg(7)), "z.jpg": sha256(jpeg(8))}.items()
    for name, content in PHOTOS.items():  # what stood before the damage is read
        assert found.get(f"{path.name}!/{name}", "bad_archive") in (sha256(content), "bad_archive")


@pytest.mark.parametrize("suffix", ["zip", *TARS])
@pytest.mark.parametrize("content", [b"", b"I am text. " * 200, bytes(100)], ids=len)
def test_what_is_no_archive_is_one_failure(suffix: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / f"m.{suffix}").write_bytes(content)
    assert read_all(ImageSource([str(tmp_path)])) == {f"m.{suffix}": "bad_archive"}


def test_a_tar_that_unpacks_without_end_is_given_up(tmp_path: Path) -> None:
    info = tarfile.TarInfo("film.bin")
    info.size = 1 << 40
    header = info.tobuf(tarfile.GNU_FORMAT)
    zeros = gzip.compress(bytes(64 << 20), 9)
    first = write_tar(tmp_path / "f.tar", {"1.jpg": jpeg(1)}).read_bytes()[:-10240]
    (tmp_path / "f.tar").unlink()
    head = gzip.compress(first[: 512 + -(-len(jpeg(1)) // 512) * 512] + header)
    (tmp_path / "a.tar.gz").write_bytes(head + zeros)
    (tmp_path / "z.jpg").write_bytes(jpeg(8))
    assert read_all(ImageSource([str(tmp_path)])) == {
        "a.tar.gz!/1.jpg": sha256(jpeg(1)),
        "a.tar.gz": "bad_archive",
        "z.jpg": sha256(jpeg(8)),
    }


def test_a_name_of_a_gigabyte_in_a_tar_is_not_read(tmp_path: Path) -> None:
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 1 << 30
    with (tmp_path / "a.tar").open("wb") as file:
        file.write(info.tobuf(tarfile.GNU_FORMAT))
        file.truncate(2 << 30)
    (tmp_path / "z.jpg").write_bytes(jpeg(8))
    assert growth_alone(read_a_bad_archive, tmp_path) < 48 << 20
    assert read_all(ImageSource([str(tmp_path / "a.tar")])) == {"a.tar": "bad_archive"}


def test_links_and_devices_in_a_tar_are_failures(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for name, kind in [
            ("hard.jpg", tarfile.LNKTYPE),
            ("soft.jpg", tarfile.SYMTYPE),
            ("pipe.jpg", tarfile.FIFOTYPE),
            ("device.jpg", tarfile.CHRTYPE),
            ("folder.jpg", tarfile.DIRTYPE),
        ]:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "../../etc/passwd"
            archive.addfile(info)
        info = tarfile.TarInfo("1.jpg")
        info.size = len(jpeg(1))
        archive.addfile(info, io.BytesIO(jpeg(1)))
    assert read_all(ImageSource([str(tmp_path)])) == {
        "a.tar!/hard.jpg": "unsupported_format",
        "a.tar!/soft.jpg": "unsupported_format",
        "a.tar!/pipe.jpg": "unsupported_format",
        "a.tar!/device.jpg": "unsupported_format",
        "a.tar!/1.jpg": sha256(jpeg(1)),
    }


# Names -------------------------------------------------------------------------------------------

UNSAFE = {
    "../../etc/1.jpg": "%2E%2E/%2E%2E/etc/1.jpg",
    "/etc/1.jpg": "%2Fetc/1.jpg",
    "C:\\photos\\1.jpg": "C%3A%5Cphotos%5C1.jpg",
    "a/./1.jpg": "a/%2E/1.jpg",
    "%2E%2E/1.jpg": "%252E%252E/1.jpg",
    "a\n1.jpg": "a%0A1.jpg",
}


@pytest.mark.parametrize("name", UNSAFE)
@pytest.mark.parametrize("suffix", ["zip", "tar", "tar.gz"])
def test_a_name_that_leads_elsewhere_is_judged_under_one_that_does_not(
    name: str, suffix: str, tmp_path: Path
) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    write = write_zip if suffix == "zip" else write_tar
    write(folder / f"a.{suffix}", {name: jpeg(1), "2.jpg": jpeg(2)})
    assert read_all(ImageSource([str(folder)])) == {
        f"a.{suffix}!/{UNSAFE[name]}": sha256(jpeg(1)),
        f"a.{suffix}!/2.jpg": sha256(jpeg(2)),
    }
    assert [path.name for path in tmp_path.rglob("*")] == ["photos", f"a.{suffix}"]


NAMES = st.text(st.sampled_from("ab./\\%2EC:5\n"), max_size=10)


@given(NAMES, NAMES)
def test_two_members_are_never_called_alike(first: str, second: str) -> None:
    uris = [member_uri("a.zip", name) for name in (first, second)]
    assert (uris[0] == uris[1]) == (first == second)
    for uri in uris:
        inside = uri.removeprefix("a.zip!/")
        assert not inside.startswith("/")
        assert not {".", ".."} & set(inside.split("/"))


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("suffix", ["zip", "tar", "tar.gz"])
def test_members_of_one_name_are_all_judged(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{suffix}"
    if suffix == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            for n in (1, 2, 3):
                archive.writestr("1.jpg", jpeg(n))
    else:
        with tarfile.open(path, "w:gz" if suffix == "tar.gz" else "w") as archive:
            for n in (1, 2, 3):
                info = tarfile.TarInfo("1.jpg")
                info.size = len(jpeg(n))
                archive.addfile(info, io.BytesIO(jpeg(n)))
    assert read_all(ImageSource([str(path)])) == {
        f"a.{suffix}!/1.jpg": sha256(jpeg(1)),
        f"a.{suffix}!/1.jpg~2": sha256(jpeg(2)),
        f"a.{suffix}!/1.jpg~3": sha256(jpeg(3)),
    }


def test_names_that_are_no_text_are_kept(tmp_path: Path) -> None:
    name = os.fsdecode(b"\xff1.jpg")
    with tarfile.open(tmp_path / "a.tar", "w", format=tarfile.GNU_FORMAT) as archive:
        info = tarfile.TarInfo(name)
        info.size = len(jpeg(1))
        archive.addfile(info, io.BytesIO(jpeg(1)))
    (item,) = ImageSource([str(tmp_path)])
    assert item.member == name
    assert spelled(item.uri) == "a.tar!/\\udcff1.jpg"
    assert read_item(item).sha256 == sha256(jpeg(1))


# Many, large, changed ----------------------------------------------------------------------------


def test_an_archive_that_changed_since_it_was_listed_is_not_mixed_up(tmp_path: Path) -> None:
    for suffix, write in (("zip", write_zip), ("tar", write_tar)):
        path = write(tmp_path / f"a.{suffix}", PHOTOS)
        items = list(ImageSource([str(path)]))
        read_item(items[0])
        path.unlink()
        write(path, {name: jpeg(9) for name in PHOTOS})
        os.utime(path, (1, 1))
        fresh = dataclasses.replace(items[1], location=f"{tmp_path}/./a.{suffix}")  # not open yet
        with pytest.raises(ImageError, match="has changed") as caught:
            read_item(fresh)
        assert caught.value.reason == "changed_while_read"


def test_an_archive_that_is_gone_is_told_for_each_member(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "gone.zip", PHOTOS)
    items = list(ImageSource([str(path)]))
    path.unlink()
    for item in items:
        with pytest.raises(ImageError) as caught:
            read_item(item)
        assert caught.value.reason == "not_found"


def test_a_thread_keeps_few_archives_open(tmp_path: Path) -> None:
    for n in range(12):
        write_zip(tmp_path / f"{n:02}.zip", {f"{k}.jpg": jpeg(k) for k in range(2)})
    items = list(ImageSource([str(tmp_path)]))
    random.Random(0).shuffle(items)
    most = 0
    for item in items:
        read_item(item)
        files = (file.path for file in psutil.Process().open_files())
        most = max(most, sum(path.startswith(f"{tmp_path}{os.sep}") for path in files))
    assert 0 < most <= archives._OPEN


@pytest.mark.parametrize("suffix", TARS[1:])
def test_what_the_spool_has_no_more_is_unpacked_again(suffix: str, tmp_path: Path) -> None:
    photos = {f"{n:03}.jpg": jpeg(n) for n in range(8)}
    path = write_tar(tmp_path / f"all.{suffix}", photos)
    items = list(ImageSource([str(path)]))  # its spool goes with the source
    assert all(isinstance(item, Member) and item.spool for item in items)
    assert not any(Path(item.spool).exists() for item in items)
    for item in reversed(items):
        assert read_item(item).sha256 == sha256(photos[item.member])


def test_a_spool_stays_within_its_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tars, "_SEGMENT_BYTES", 50_000)
    spool = tars.Spool(200_000)
    content = [bytes([n]) * 20_000 for n in range(40)]
    kept = [spool.add(io.BytesIO(part), len(part)) for part in content]
    on_disk = sum(f.stat().st_size for f in Path(kept[0][0]).parent.iterdir())
    assert on_disk <= 200_000 + 2 * 70_000
    read = [tars.read_spooled(path, place, 20_000) for path, place in kept]
    assert read[0] is None
    assert read[-5:] == content[-5:]
    assert all(part in (None, content[n]) for n, part in enumerate(read))


def test_a_full_disk_costs_the_spool_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_tar(tmp_path / "all.tar.gz", PHOTOS)

    class Full(io.BytesIO):
        def write(self, content: object) -> int:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(tars, "open", lambda *_, **__: Full(), raising=False)
    items = list(ImageSource([str(path)]))
    monkeypatch.undo()
    assert [item.spool for item in items] == ["", "", ""]
    assert [read_item(item).sha256 for item in items] == [sha256(c) for c in PHOTOS.values()]


def big_zip(path: Path, n: int) -> None:
    """Write a ZIP of ``n`` members which all are the same bytes: only its directory is long."""
    local = struct.pack("<4s5H3L2H", b"PK\3\4", 20, 0, 0, 0, 0, 0, 3, 3, 0, 0) + b"abc"
    with path.open("wb") as file:
        file.write(local)
        for index in range(n):
            name = b"%08d.jpg" % index
            file.write(
                struct.pack(
                    "<4s6H3L5H2L", b"PK\1\2", 20, 20, 0, 0, 0, 0, 0, 3, 3, len(name), 0, 0, 0, 0,
                    0, 0,
                ) + name
            )  # fmt: skip
        size = file.tell() - len(local)
        end64 = file.tell()
        file.write(
            struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, n, n, size, len(local))
            + struct.pack("<4sLQL", b"PK\6\7", 0, end64, 1)
            + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 2**32 - 1, 2**32 - 1, 0)
        )


def test_a_directory_of_many_is_listed_in_flat_memory(tmp_path: Path) -> None:
    big_zip(tmp_path / "a.zip", 100_000)
    with zipfile.ZipFile(tmp_path / "a.zip") as theirs:  # it is a ZIP
        assert len(theirs.namelist()) == 100_000
        assert theirs.getinfo("00000099.jpg").file_size == 3
    assert growth_alone(list_directory, tmp_path) < 20 << 20


def list_directory(folder: Path) -> Iterator[None]:
    listed = iter(ImageSource([str(folder)]))
    next(listed)
    yield
    assert 1 + sum(1 for _ in listed) == 100_000


@pytest.mark.parametrize("suffix", TARS[1:])
def test_a_packed_tar_is_unpacked_once(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = {f"{n:03}{'.jpg' if n % 2 else ''}": jpeg(n) for n in range(20)}
    path = write_tar(tmp_path / f"all.{suffix}", photos)
    begun = []
    unpacked = archives._unpacked
    monkeypatch.setattr(
        archives, "_unpacked", lambda *arguments: begun.append(1) or unpacked(*arguments)
    )
    source = ImageSource([str(path)], SourceOptions(all_files=True))
    assert [read_item(item).sha256 for item in source] == [sha256(c) for c in photos.values()]
    assert len(begun) == 1


def test_the_first_member_is_there_before_the_last_is_unpacked(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "all.tar.gz", {f"{n}.jpg": jpeg(n) for n in range(20)})
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    found = iter(ImageSource([str(path)]))
    assert isinstance(next(found), Member)
    *_, last = found
    assert isinstance(last, Unusable)


def test_a_packed_tar_is_not_counted_and_others_are(tmp_path: Path) -> None:
    write_tar(tmp_path / "a.tar", PHOTOS)
    write_zip(tmp_path / "b.zip", PHOTOS)
    assert ImageSource([str(tmp_path)]).count() == 6
    assert ImageSource([str(tmp_path)]).count(lambda item: item.kind == "zip") == 3
    write_tar(tmp_path / "c.tgz", PHOTOS)
    assert ImageSource([str(tmp_path)]).count() is None


# Whatever is in a file that calls itself an archive ----------------------------------------------


def damaged(content: bytes, rng: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(rng.randint(1, 8)):
        changed[rng.randrange(len(changed))] = rng.choice([0, 1, 0x7F, 0xFF, rng.randrange(256)])
    if rng.random() < 0.3:
        del changed[rng.randrange(len(changed)) :]
    return bytes(changed)


@cache
def whole(path: Path) -> bytes:
    photos = {f"{n}.jpg": jpeg(n, 8) for n in range(3)}
    return (write_zip if path.suffix == ".zip" else write_tar)(path, photos).read_bytes()


@pytest.mark.parametrize("suffix", ["zip", *TARS])
@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_no_damage_does_more_than_fail(
    suffix: str, seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / f"damaged.{suffix}"
    path.unlink(missing_ok=True)
    path.write_bytes(damaged(whole(path.with_name(f"whole.{suffix}")), random.Random(seed)))
    found = members.members_of(
        str(path), "a", "zip" if suffix == "zip" else "tar", members.Listing(), extra={}
    )
    began = time.thread_time()
    for item in found:
        assert isinstance(item, Item)
        reason = outcome(dataclasses.replace(item, spool="") if isinstance(item, Member) else item)[
            1
        ]
        known = {"bad_archive", "encrypted", "unsupported_format", "too_large"}
        assert reason in known or len(reason) == 64
    assert time.thread_time() - began < 2  # of work, however long it took
