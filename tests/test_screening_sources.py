"""Where images come from: which are found, in what order, and what each is called."""

from __future__ import annotations

import io
import os
import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from archive_server import jpeg
from lesionlens.errors import DataError, ImageError, LesionLensError
from lesionlens.screening import walking
from lesionlens.screening.places import public_url
from lesionlens.screening.reading import read_item
from lesionlens.screening.sources import ImageSource, SourceOptions
from memory_kit import growth_alone


def touch(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def names(*sources: str | Path, **options: object) -> list[str]:
    found = ImageSource([str(s) for s in sources], SourceOptions(**options))
    return [item.uri for item in found]


# Folders -----------------------------------------------------------------------------------------


def test_a_folder_gives_all_images_below_it_in_the_order_of_their_paths(tmp_path: Path) -> None:
    wanted = ["B.JPG", "a-b.jpg", "a.jpg", "a/1.tiff", "a/b/2.webp", "a/c.png", "a0.dcm", "ä.jpe"]
    touch(tmp_path, *wanted, "notes.txt", "a/thumbs.db", ".hidden.jpg", ".git/1.jpg", "a/.x/1.jpg")
    assert names(tmp_path) == wanted
    assert names(tmp_path) == sorted(names(tmp_path), key=os.fsencode)
    kinds = {item.uri: item.kind for item in ImageSource([str(tmp_path)])}
    assert (kinds["a0.dcm"], kinds["a.jpg"]) == ("dicom", "file")


NAMES = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1)


@given(st.sets(NAMES, max_size=30))
def test_names_put_aside_on_disk_come_back_sorted(found: set[str]) -> None:
    held, walking._SORTED_NAMES = walking._SORTED_NAMES, 4
    try:
        encoded = [name.encode() for name in found]
        assert list(walking._merged(encoded)) == sorted(encoded)
    finally:
        walking._SORTED_NAMES = held


@pytest.mark.skipif(sys.platform == "win32", reason="links need a right there")
def test_every_real_folder_is_looked_into_once(tmp_path: Path) -> None:
    root, elsewhere = tmp_path / "root", tmp_path / "elsewhere"
    touch(root, "real/1.jpg", "sub/2.jpg", ".kept/3.jpg")
    touch(elsewhere, "4.jpg")
    (root / "a-link-inside").symlink_to("real")
    (root / "sub" / "up").symlink_to("..")
    (root / "sub" / "further-up").symlink_to(tmp_path)
    (root / "sub" / "itself").symlink_to("itself")
    (root / "out").symlink_to(elsewhere)
    (root / "out-again").symlink_to(elsewhere)
    (elsewhere / "back").symlink_to(root)
    (root / "to-hidden").symlink_to(".kept")
    (root / "5.jpg").symlink_to(elsewhere / "4.jpg")
    assert names(root) == ["5.jpg", "out-again/4.jpg", "real/1.jpg", "sub/2.jpg", "to-hidden/3.jpg"]


def test_files_without_a_suffix_are_told_by_content_if_asked(tmp_path: Path) -> None:
    (tmp_path / "IM001").write_bytes(bytes(128) + b"DICM" + bytes(9))
    (tmp_path / "photo").write_bytes(jpeg(1))
    (tmp_path / "README").write_bytes(b"I am text.")
    (tmp_path / "empty").touch()
    assert names(tmp_path) == []
    if sys.platform != "win32":
        os.mkfifo(tmp_path / "pipe")  # is not waited for
    found = ImageSource([str(tmp_path)], SourceOptions(all_files=True))
    assert [(item.uri, item.kind) for item in found] == [("IM001", "dicom"), ("photo", "file")]


class _FakeEntry:
    def __init__(self, name: str) -> None:
        self.name = name
        self.path = f"/{name}"

    def is_dir(self) -> bool:
        return False


@pytest.mark.parametrize("n", [100_000, pytest.param(1_000_000, marks=pytest.mark.slow)])
def test_a_folder_of_very_many_is_listed_in_flat_memory(n: int, tmp_path: Path) -> None:
    assert growth_alone(list_very_many, n, tmp_path) < 24 << 20


def list_very_many(n: int, folder: Path) -> Iterator[None]:
    @contextmanager
    def scandir(path: str) -> Iterator[Iterator[_FakeEntry]]:
        # In no order: 7 is prime to n.
        yield (_FakeEntry(f"ISIC_{i * 7_777_777 % n:07}.jpg") for i in range(n))

    walking.os.scandir = scandir  # in a process that ends with this
    list(zip(range(10), ImageSource([str(folder)]), strict=False))
    yield
    for index, item in enumerate(ImageSource([str(folder)])):
        assert item.uri == f"ISIC_{index:07}.jpg"
    assert index == n - 1


# Patterns ----------------------------------------------------------------------------------------

PATTERNS = {
    "*.jpg": ["1.jpg"],
    "*/*.jpg": ["a/2.jpg", "b/3.jpg"],
    "**/*.jpg": ["1.jpg", "a/2.jpg", "a/c/4.jpg", "b/3.jpg"],
    "**/c/*": ["a/c/4.jpg", "a/c/5.png"],
    "[ab]": ["a/2.jpg", "a/c/4.jpg", "a/c/5.png", "b/3.jpg"],  # folders: all below
    "a/?.jpg": ["2.jpg"],
    "**": ["1.jpg", "a/2.jpg", "a/c/4.jpg", "a/c/5.png", "b/3.jpg"],
}


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_pattern_gives_what_it_matches(pattern: str, tmp_path: Path) -> None:
    touch(tmp_path, "1.jpg", "a/2.jpg", "b/3.jpg", "a/c/4.jpg", "a/c/5.png", "a/c/n.txt")
    assert names(tmp_path / pattern) == PATTERNS[pattern]


def test_a_pattern_does_not_look_deeper_than_it_reaches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path, "1.jpg", "a/b/2.jpg")
    scandir, seen = os.scandir, []
    monkeypatch.setattr(walking.os, "scandir", lambda path: seen.append(path) or scandir(path))
    assert names(tmp_path / "*.jpg") == ["1.jpg"]
    assert seen == [str(tmp_path)]


def test_a_name_that_reads_like_a_pattern_is_a_file_if_there_is_one(tmp_path: Path) -> None:
    touch(tmp_path, "x[1].jpg", "x1.jpg")
    assert names(tmp_path / "x[1].jpg") == ["x[1].jpg"]


# Lists and tables --------------------------------------------------------------------------------


def test_a_list_gives_its_paths_in_its_order(tmp_path: Path) -> None:
    touch(tmp_path, "photos/1.jpg", "photos/2.jpg", "else/3.jpg")
    lines = ["2.jpg", "", "../else/3.jpg", str(tmp_path / "photos" / "1.jpg"), "gone.jpg"]
    file = tmp_path / "photos" / "all.txt"
    file.write_bytes("\ufeff".encode() + "\r\n".join(lines).encode())
    found = ["2.jpg", f"{tmp_path}/else/3.jpg", "1.jpg", "gone.jpg"]
    assert names(file) == found
    assert names(file, images_root=str(tmp_path / "else")) == [
        "2.jpg", "3.jpg", f"{tmp_path}/photos/1.jpg", "gone.jpg",
    ]  # fmt: skip


@pytest.mark.skipif(sys.platform != "linux", reason="names are text there")
def test_a_list_may_have_names_that_are_no_text(tmp_path: Path) -> None:
    name = os.fsdecode(b"\xe4.jpg")
    (tmp_path / name).write_bytes(jpeg(1))
    (tmp_path / "all.lst").write_bytes(b"\xe4.jpg\n")
    (item,) = ImageSource([str(tmp_path / "all.lst")])
    assert (item.uri, item.name) == (name, "\\udce4.jpg")
    assert read_item(item).source == jpeg(1)


def test_standard_input_is_a_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "1.jpg", "a/2.jpg")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"a/2.jpg\n1.jpg\n")))
    source = ImageSource(["-"])
    assert source.count() is None
    assert [item.uri for item in source] == ["a/2.jpg", "1.jpg"]


@pytest.mark.parametrize("suffix", ["csv", "tsv", "parquet"])
@pytest.mark.parametrize("column", ["path", "file", "image"])
def test_a_table_gives_the_paths_of_its_column(suffix: str, column: str, tmp_path: Path) -> None:
    rows = [
        {"patient": "p1", column: "a/1.jpg", "note": 'x, "y"'},
        {"patient": "p2", column: "2.jpg", "note": ""},
        {"patient": "p3", column: "", "note": "no photo"},
    ]
    file = tmp_path / f"all.{suffix}"
    if suffix == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), file)
    else:
        from lesionlens.files import write_csv

        write_csv(file, list(rows[0]), rows)
        if suffix == "tsv":
            text = [
                ["patient", column, "note"],
                ["p1", "a/1.jpg", '"x, ""y"""'],
                ["p2", "2.jpg", ""],
            ]
            file.write_text("\n".join("\t".join(line) for line in text))
    assert names(file) == ["a/1.jpg", "2.jpg"]
    found = ImageSource([str(file)], SourceOptions(keep=("patient", "note")))
    assert [item.extra for item in found] == [
        {"patient": "p1", "note": 'x, "y"'},
        {"patient": "p2", "note": ""},
    ]
    assert not any(item.extra for item in ImageSource([str(file)]))  # only if asked


def test_a_column_of_the_table_can_be_named(tmp_path: Path) -> None:
    (tmp_path / "all.csv").write_text("path,scan\n1.jpg,2.jpg\n")
    assert names(tmp_path / "all.csv", path_column="scan") == ["2.jpg"]


def test_ids_are_looked_up_among_the_images(tmp_path: Path) -> None:
    touch(tmp_path / "images", "ISIC_1.jpg", "ISIC_2.png", "ISIC_4.JPG")
    table = tmp_path / "metadata.csv"
    table.write_text("isic_id,age\nISIC_1,60\nISIC_2,\nISIC_3,\nISIC_4.JPG,\n")
    found = names(table, images_root=str(tmp_path / "images"))
    assert found[:2] == ["ISIC_1.jpg", "ISIC_2.png"]
    assert os.path.splitext(found[2])[0] == "ISIC_3"
    assert found[3] == "ISIC_4.JPG"


@pytest.mark.parametrize(
    ("content", "options", "words"),
    [
        ("name,age\n1,2\n", {}, "has no column path or file or image"),
        ("name,age\n1,2\n", {"path_column": "scan"}, "has no column scan.*It has name, age"),
        ("path\n1.jpg\n", {"keep": ("age",)}, "has no column age to keep; it has path"),
        ("", {}, "has no column path"),
        ("path\n" + "x" * 200_000 + "\n", {}, "line 1: is not CSV"),
    ],
)
def test_a_table_that_is_no_use_says_why(
    content: str, options: dict[str, object], words: str, tmp_path: Path
) -> None:
    (tmp_path / "all.csv").write_text(content)
    with pytest.raises(DataError, match=words):
        names(tmp_path / "all.csv", **options)


def test_a_file_that_is_no_parquet_says_so(tmp_path: Path) -> None:
    (tmp_path / "all.parquet").write_text("path\n")
    with pytest.raises(DataError, match="is not readable Parquet"):
        names(tmp_path / "all.parquet")


def test_columns_of_a_plain_list_cannot_be_kept(tmp_path: Path) -> None:
    (tmp_path / "all.txt").write_text("1.jpg\n")
    with pytest.raises(DataError, match="has no columns to keep"):
        names(tmp_path / "all.txt", keep=("age",))


@pytest.mark.parametrize("name", ["a\0b.jpg", "a\0b.zip", "x" * 5000 + ".jpg", "x" * 300 + ".zip"])
def test_a_path_that_no_file_can_have_is_one_failure(name: str, tmp_path: Path) -> None:
    (tmp_path / "1.jpg").write_bytes(jpeg(1))
    (tmp_path / "all.txt").write_text(f"{name}\n1.jpg\n")
    bad, good = ImageSource([str(tmp_path / "all.txt")])
    with pytest.raises(ImageError) as caught:
        read_item(bad)
    assert caught.value.reason in ("not_found", "unreadable")
    assert read_item(good).source == jpeg(1)


def test_a_long_table_is_read_in_flat_memory(tmp_path: Path) -> None:
    with (tmp_path / "all.csv").open("w") as file:
        file.write("path,age\n")
        file.writelines(f"images/ISIC_{n:07}.jpg,60\n" for n in range(100_000))
    assert growth_alone(list_table, tmp_path / "all.csv") < 16 << 20


def test_the_first_rows_of_a_table_are_there_before_its_last_is_read(tmp_path: Path) -> None:
    rows = "".join(f"{n}.jpg\n" for n in range(10_000))
    (tmp_path / "all.csv").write_text(f"path\n{rows}{'x' * 200_000}\n")  # the last is no CSV
    found = iter(ImageSource([str(tmp_path / "all.csv")]))
    assert next(found).uri == "0.jpg"
    with pytest.raises(DataError, match="line 10001: is not CSV"):
        list(found)


def list_table(path: Path) -> Iterator[None]:
    source = iter(ImageSource([str(path)]))
    next(source)
    yield
    assert sum(1 for _ in source) == 99_999


# Several, none, and names ------------------------------------------------------------------------


def test_of_several_sources_two_files_have_two_names_and_one_file_has_one(tmp_path: Path) -> None:
    touch(tmp_path, "siteA/1.jpg", "siteB/1.jpg", "siteB/sub/2.jpg")
    assert names(tmp_path / "siteA", tmp_path / "siteB") == [
        "siteA/1.jpg", "siteB/1.jpg", "siteB/sub/2.jpg",
    ]  # fmt: skip
    assert names(tmp_path / "siteB", tmp_path / "siteB" / "sub") == [
        "1.jpg", "sub/2.jpg", "sub/2.jpg",
    ]  # fmt: skip


def test_names_do_not_depend_on_where_one_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path, "siteA/1.jpg", "siteB/1.jpg")
    monkeypatch.chdir(tmp_path / "siteA")
    there = names(".", "../siteB")
    monkeypatch.chdir(tmp_path)
    assert names("siteA/", "siteB") == there


def test_a_single_file_is_taken_whatever_its_name(tmp_path: Path) -> None:
    touch(tmp_path, "photo.xyz")
    assert names(tmp_path / "photo.xyz") == ["photo.xyz"]
    assert names((tmp_path / "photo.xyz").as_uri()) == ["photo.xyz"]


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("gone/", "no such file or folder"),
        ("gone/*.jpg", "there is no folder .*gone to look in"),
        ("", "no such file or folder"),
        ("ftp://host/1.jpg", "ftp:// is not read; paths, http://, https://, s3://, gs:// are"),
        ("memory://a::zip://b", "is not read"),
    ],
)
def test_a_source_that_is_not_there_is_refused_at_once(
    source: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(LesionLensError, match=words):
        ImageSource([source])


def test_no_source_is_refused() -> None:
    with pytest.raises(LesionLensError, match="no source was given"):
        ImageSource([])


def test_sources_are_counted_without_reading(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{n}.jpg" for n in range(20)), "a/1.jpg")
    source = ImageSource([str(tmp_path)])
    assert source.count() == 21
    assert source.count(lambda item: item.uri.startswith("a/")) == 1


def test_a_source_is_looked_at_anew_each_time(tmp_path: Path) -> None:
    touch(tmp_path, "1.jpg")
    source = ImageSource([str(tmp_path)])
    assert [item.uri for item in source] == ["1.jpg"]
    touch(tmp_path, "2.jpg")
    assert [item.uri for item in source] == ["1.jpg", "2.jpg"]


def test_the_order_does_not_depend_on_the_file_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path, *(f"{a}/{n}.jpg" for a in "bca" for n in range(5)))
    before = names(tmp_path)
    scandir = os.scandir

    @contextmanager
    def shuffled(path: str) -> Iterator[list[os.DirEntry[str]]]:
        with scandir(path) as entries:
            found = list(entries)
        random.Random(1).shuffle(found)
        yield found

    monkeypatch.setattr(walking.os, "scandir", shuffled)
    assert names(tmp_path) == before


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://u:p@h:8080/a b.jpg#x", "https://h:8080/a b.jpg"),
        ("https://h/a.jpg?id=7&X-Amz-Signature=abc&X-Amz-Date=1", "https://h/a.jpg?id=7"),
        ("https://h/a.jpg?sv=1&sig=2&se=3", "https://h/a.jpg"),
        ("s3://bucket/a/b.jpg", "s3://bucket/a/b.jpg"),
    ],
)
def test_no_secret_of_an_address_is_in_a_name(url: str, name: str) -> None:
    assert public_url(url) == name
