"""Bad input, one kind a line: each becomes one failure that says why, and nothing else is lost."""

from __future__ import annotations

import hashlib
import io
import os
import socket
import struct
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest
from PIL import Image

import tiny_model
from archive_server import jpeg
from lesionlens.classifier import Classifier
from lesionlens.errors import ImageError
from lesionlens.screening import places, reading
from lesionlens.screening.items import REASONS, Failure, Item
from lesionlens.screening.reading import read_item
from lesionlens.screening.sources import ImageSource, SourceOptions
from lesionlens.screening.worker import judge_items

GOOD = {"0-good.jpg": jpeg(1), "z-good.jpg": jpeg(2)}


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Classifier:
    bundle = tiny_model.write(tmp_path_factory.mktemp("model") / "bundle")
    return Classifier(bundle, threads=1, views=1)


def outcomes(source: ImageSource, classifier: Classifier) -> dict[str, str]:
    """Judge all that a source has: by name, the reason of a failure or nothing."""
    found: dict[str, str] = {}
    for item in source:
        [record] = judge_items([item], classifier)
        assert record.uri not in found
        found[record.uri] = record.reason if isinstance(record, Failure) else ""
        if isinstance(record, Failure):
            assert record.reason in REASONS
            assert record.error.startswith(record.uri), record.error
    return found


def picture(suffix: str, size: tuple[int, int] = (64, 64), **options: object) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", size, (180, 120, 100)).save(stream, suffix, **options)
    return stream.getvalue()


def announced_png(width: int, height: int) -> bytes:
    """Return a PNG whose header says so many pixels, and which has none of them."""
    content = bytearray(picture("PNG"))
    content[16:24] = struct.pack(">2L", width, height)
    content[29:33] = struct.pack(">L", zlib.crc32(bytes(content[12:29])))
    return bytes(content)


def animated() -> bytes:
    frames = [Image.new("RGB", (64, 64), colour) for colour in ("red", "blue")]
    stream = io.BytesIO()
    frames[0].save(stream, "WEBP", save_all=True, append_images=frames[1:])
    return stream.getvalue()


CONTENTS: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "empty"),
    "text": (b"I am no image.\n" * 50, "not_an_image"),
    "truncated": (jpeg(3)[:5000], "truncated"),
    "heic": (b"\0\0\0\x18ftypheic" + bytes(200), "heic"),
    "gif": (picture("GIF"), "gif"),
    "pdf": (b"%PDF-1.7\n" + bytes(200), "pdf"),
    "dicom": (bytes(128) + b"DICM" + bytes(200), "no_pixels"),
    "animated": (animated(), "animated"),
    "too small": (picture("PNG", (64, 20)), "too_small"),
    "too many pixels": (announced_png(20_000, 20_000), "too_large"),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "photos"
    root.mkdir()
    for name, content in GOOD.items():
        (root / name).write_bytes(content)
    return root


@pytest.mark.parametrize("case", CONTENTS)
def test_what_is_no_image_is_one_failure(case: str, folder: Path, classifier: Classifier) -> None:
    content, reason = CONTENTS[case]
    (folder / "bad.jpg").write_bytes(content)
    assert outcomes(ImageSource([str(folder)]), classifier) == {
        "0-good.jpg": "",
        "bad.jpg": reason,
        "z-good.jpg": "",
    }


def a_pipe(path: Path) -> None:
    os.mkfifo(path)


def a_socket(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # the path of a socket has 108 bytes at most
    with socket.socket(socket.AF_UNIX) as end:
        end.bind(path.name)
    os.chdir(here)


def a_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def a_link_to_itself(path: Path) -> None:
    path.symlink_to(path.name)


def a_link_to_nothing(path: Path) -> None:
    path.symlink_to("elsewhere.jpg")


def a_file_of_a_terabyte(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 40)


PLACES: dict[Callable[[Path], None], str] = {
    a_pipe: "not_an_image",
    a_socket: "not_an_image",
    a_device: "not_an_image",
    a_link_to_itself: "unreadable",
    a_link_to_nothing: "not_found",
    a_file_of_a_terabyte: "too_large",
}


@pytest.mark.skipif(sys.platform == "win32", reason="has no such files")
@pytest.mark.parametrize("make", PLACES, ids=lambda make: make.__name__)
def test_what_is_no_file_is_one_failure_and_hangs_nothing(
    make: Callable[[Path], None], folder: Path, classifier: Classifier
) -> None:
    make(folder / "bad.jpg")
    assert outcomes(ImageSource([str(folder)]), classifier) == {
        "0-good.jpg": "",
        "bad.jpg": PLACES[make],
        "z-good.jpg": "",
    }


def test_a_folder_named_like_an_image_is_looked_into(folder: Path, classifier: Classifier) -> None:
    (folder / "x.jpg").mkdir()
    (folder / "x.jpg" / "in.jpg").write_bytes(jpeg(4))
    assert outcomes(ImageSource([str(folder)]), classifier) == {
        "0-good.jpg": "",
        "x.jpg/in.jpg": "",
        "z-good.jpg": "",
    }


def test_a_folder_that_a_list_names_is_one_failure(folder: Path, classifier: Classifier) -> None:
    (folder / "x.jpg").mkdir()
    (folder / "all.txt").write_text("x.jpg\n0-good.jpg\n")
    found = outcomes(ImageSource([str(folder / "all.txt")]), classifier)
    assert found == {"x.jpg": "not_an_image", "0-good.jpg": ""}


@pytest.mark.skipif(sys.platform != "linux", reason="names are text there")
def test_a_name_that_is_no_text_is_judged_and_spelled(folder: Path, classifier: Classifier) -> None:
    (Path(os.fsdecode(os.fsencode(folder) + b"/n\xff.jpg"))).write_bytes(jpeg(4))
    (Path(os.fsdecode(os.fsencode(folder) + b"/n\xfe.jpg"))).write_bytes(b"")
    found = outcomes(ImageSource([str(folder)]), classifier)
    assert found == {
        "0-good.jpg": "",
        "n\\udcfe.jpg": "empty",
        "n\\udcff.jpg": "",
        "z-good.jpg": "",
    }


def deep(folder: Path, length: int) -> str:
    """Make folders in folders until a path has ``length`` characters, and an image at the end."""
    here = os.open(folder, os.O_RDONLY)
    path = str(folder)
    while len(path) < length - 5:
        name = "d" * min(200, length - len(path) - len("/x.jpg") - 1)
        os.mkdir(name, dir_fd=here)
        here, before = os.open(name, os.O_RDONLY, dir_fd=here), here
        os.close(before)
        path += f"/{name}"
        if length - len(path) <= len("/x.jpg") + 1:
            break
    descriptor = os.open("x.jpg", os.O_WRONLY | os.O_CREAT, dir_fd=here)
    os.write(descriptor, jpeg(5))
    os.close(descriptor)
    os.close(here)
    return f"{path}/x.jpg"


@pytest.mark.skipif(sys.platform != "linux", reason="paths end at another length there")
def test_a_path_of_4000_characters_is_judged(folder: Path, classifier: Classifier) -> None:
    path = deep(folder, 4000)
    assert 3990 <= len(path) <= 4000
    found = outcomes(ImageSource([str(folder)]), classifier)
    assert found == {"0-good.jpg": "", path.removeprefix(f"{folder}/"): "", "z-good.jpg": ""}


@pytest.mark.skipif(sys.platform != "linux", reason="paths end at another length there")
def test_a_path_too_long_for_the_system_is_one_failure(
    folder: Path, classifier: Classifier
) -> None:
    deep(folder, 4600)
    found = outcomes(ImageSource([str(folder)]), classifier)
    assert [reason for reason in found.values() if reason] == ["unreadable"]
    assert len(found) == 3
    assert found.items() >= {"0-good.jpg": "", "z-good.jpg": ""}.items()


def test_a_file_that_vanishes_is_one_failure(folder: Path, classifier: Classifier) -> None:
    (folder / "m.jpg").write_bytes(jpeg(4))
    found = {}
    for item in ImageSource([str(folder)]):
        (folder / "m.jpg").unlink(missing_ok=True)  # after the folder was read
        [record] = judge_items([item], classifier)
        found[record.uri] = getattr(record, "reason", "")
    assert found == {"0-good.jpg": "", "m.jpg": "not_found", "z-good.jpg": ""}


@pytest.mark.parametrize(("n_writes", "reason"), [(1, ""), (2, "changed_while_read")])
def test_a_file_that_is_being_written_is_read_twice(
    n_writes: int,
    reason: str,
    folder: Path,
    classifier: Classifier,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    growing = folder / "m.jpg"
    growing.write_bytes(jpeg(4)[:4000])
    rest = [jpeg(4)[4000:5000], jpeg(4)[5000:]] if n_writes == 2 else [jpeg(4)[4000:]]
    read_all = reading._read_all

    def read_and_be_written(file: IO[bytes], size: int) -> bytes:
        content = read_all(file, size)
        if rest and os.fstat(file.fileno()).st_ino == growing.stat().st_ino:
            with growing.open("ab") as writer:
                writer.write(rest.pop(0))
        return content

    monkeypatch.setattr(reading, "_read_all", read_and_be_written)
    found = outcomes(ImageSource([str(folder)]), classifier)
    assert found == {"0-good.jpg": "", "m.jpg": reason, "z-good.jpg": ""}


@contextmanager
def as_nobody() -> Iterator[None]:
    """Be a user who may not read everything, as root may."""
    if os.geteuid():
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.skipif(sys.platform == "win32", reason="has other permissions")
def test_what_may_not_be_read_is_one_failure_each(folder: Path, classifier: Classifier) -> None:
    for parent in (folder, *folder.parents):  # pytest's are closed to others
        if parent.is_relative_to(tempfile.gettempdir()) and parent.stat().st_uid == os.geteuid():
            parent.chmod(0o755)
    (folder / "m.jpg").write_bytes(jpeg(4))
    (folder / "m.jpg").chmod(0)
    (folder / "closed").mkdir()
    (folder / "closed" / "in.jpg").write_bytes(jpeg(4))
    (folder / "closed").chmod(0)
    try:
        with as_nobody():
            found = outcomes(ImageSource([str(folder)]), classifier)
    finally:
        (folder / "closed").chmod(0o755)
    assert found == {
        "0-good.jpg": "",
        "closed": "no_permission",
        "m.jpg": "no_permission",
        "z-good.jpg": "",
    }


def test_the_hash_is_that_of_the_file_which_is_read_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = []
    read_all = reading._read_all

    def counted(file: IO[bytes], size: int) -> bytes:
        sizes.append(size)
        return read_all(file, size)

    monkeypatch.setattr(reading, "_read_all", counted)
    found = read_item(Item("a", str(folder / "0-good.jpg")))
    assert found.source == GOOD["0-good.jpg"]
    assert found.sha256 == hashlib.sha256(GOOD["0-good.jpg"]).hexdigest()
    assert sizes == [len(GOOD["0-good.jpg"])]


def test_what_a_source_could_not_list_is_told_when_it_is_read() -> None:
    item = places.unusable("in/a.zip", "/in/a.zip", "bad_archive", "is cut off")
    with pytest.raises(ImageError, match=r"in/a\.zip: is cut off") as caught:
        read_item(item)
    assert caught.value.reason == "bad_archive"


def test_the_run_folder_is_left_out(folder: Path) -> None:
    (folder / "out").mkdir()
    (folder / "out" / "overlay.png").write_bytes(picture("PNG"))
    found = ImageSource([str(folder)], SourceOptions(skip=(str(folder / "out"),)))
    assert [item.uri for item in found] == sorted(GOOD)
