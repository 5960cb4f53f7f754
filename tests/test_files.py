"""Files are written whole or not at all, and read whatever their line ends."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import threading
from pathlib import Path

import pytest

from lesionlens import files
from lesionlens.errors import DataError, LesionLensError

# --- writing -----------------------------------------------------------------------------


def test_a_file_appears_whole_in_a_folder_that_is_made(tmp_path: Path) -> None:
    target = tmp_path / "a" / "b" / "c.txt"
    with files.atomic_write(target) as file:
        file.write("half")
        assert not target.exists()
        file.write(" and half\n")
    assert target.read_bytes() == b"half and half\n"
    assert [path.name for path in target.parent.iterdir()] == ["c.txt"]


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt()], ids=["error", "Ctrl-C"])
def test_what_was_there_stays_when_the_block_fails(tmp_path: Path, error: BaseException) -> None:
    target = tmp_path / "table.csv"
    target.write_text("old")
    with pytest.raises(type(error)), files.atomic_write(target) as file:  # noqa: PT012
        file.write("new")
        raise error
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_full_disk_is_told_by_name_and_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    target = tmp_path / "report.html"
    target.write_text("old")
    monkeypatch.setattr(files.os, "fsync", full)
    with (
        pytest.raises(LesionLensError, match=r"report\.html: cannot be written \(No space left"),
        files.atomic_write(target) as file,
    ):
        file.write("new")
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_folder_that_cannot_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for target in (tmp_path / "file" / "x.txt", tmp_path):
        with (
            pytest.raises(LesionLensError, match="cannot be written"),
            files.atomic_write(target) as file,
        ):
            file.write("x")


def test_permissions_are_those_of_an_ordinary_file(tmp_path: Path) -> None:
    with files.atomic_write(tmp_path / "ours", "wb") as file:
        file.write(b"x")
    (tmp_path / "theirs").write_bytes(b"x")
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("ours", "theirs")]
    assert modes[0] == modes[1]


def test_threads_that_write_leave_the_mask_of_the_process_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is one for all threads: two that changed it to read it left it at 0 for good."""
    half_way = threading.Barrier(2)
    umask = os.umask

    def slow(mask: int) -> int:
        before = umask(mask)
        half_way.wait(60)
        return before

    monkeypatch.setattr(files.os, "umask", slow)

    def write(name: str) -> None:
        with files.atomic_write(tmp_path / name) as file:
            file.write("x")

    before = umask(0o027)
    try:
        writers = [threading.Thread(target=write, args=[name]) for name in "ab"]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
        assert umask(0o027) == 0o027
    finally:
        umask(before)
    assert {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in "ab"} == {0o640}


def test_a_link_goes_on_pointing_to_what_was_written(tmp_path: Path) -> None:
    real, link = tmp_path / "real.txt", tmp_path / "link.txt"
    link.symlink_to(real)
    with files.atomic_write(link) as file:
        file.write("x")
    assert link.is_symlink()
    assert real.read_text() == "x"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_is_written_to_and_not_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()), daemon=True)
    reader.start()
    with files.atomic_write(pipe) as file:
        file.write("through")
    reader.join(timeout=60)
    assert read == ["through"]
    assert stat.S_ISFIFO(pipe.stat().st_mode)


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="no /dev/full here")
def test_a_full_device_is_told_and_stays_a_device() -> None:
    with (
        pytest.raises(LesionLensError, match=r"/dev/full: cannot be written \(No space left"),
        files.atomic_write("/dev/full") as file,
    ):
        file.write("x")
    assert Path("/dev/full").is_char_device()


def test_json_has_no_nan_and_reads_back(tmp_path: Path) -> None:
    files.write_json(tmp_path / "a.json", {"name": "Örebro", "value": [1, 2.5, None]})
    assert "Örebro" in (tmp_path / "a.json").read_text(encoding="utf-8")
    assert files.read_json(tmp_path / "a.json") == {"name": "Örebro", "value": [1, 2.5, None]}
    with pytest.raises(ValueError, match="JSON"):
        files.write_json(tmp_path / "b.json", {"value": float("nan")})
    assert not (tmp_path / "b.json").exists()


@pytest.mark.parametrize("content", [b"{", b"", b"\xff\xfe"])
def test_what_is_no_json_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.json"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"model\.json: is not readable JSON"):
        files.read_json(path)
    with pytest.raises(DataError, match="no such file"):
        files.read_json(tmp_path / "nowhere.json")


# --- tables ------------------------------------------------------------------------------


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["plain", "byte-order mark"])
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"], ids=["LF", "CRLF", "CR"])
def test_a_table_reads_alike_whatever_its_line_ends(
    tmp_path: Path, mark: bytes, end: bytes
) -> None:
    lines = [b" isic_id , note", b'A, "two, words"', b"B", b"C,x,more"]
    path = tmp_path / "metadata.csv"
    path.write_bytes(mark + end.join(lines) + end)
    rows = files.read_csv(path, required=["isic_id"])
    assert [row["isic_id"] for row in rows] == ["A", "B", "C"]
    assert [row["note"] for row in rows][1:] == ["", "x"]
    assert set(rows[0]) == {"isic_id", "note"}


def test_a_cell_may_hold_commas_quotes_and_line_ends(tmp_path: Path) -> None:
    rows = [{"a": 'says "no", twice', "b": "two\nlines"}, {"a": "", "b": "é"}]
    files.write_csv(tmp_path / "t.csv", ["a", "b"], rows)
    assert files.read_csv(tmp_path / "t.csv") == rows


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty; a CSV with a header line is needed"),
        (b"isic_id,sex\nA,male\n", "has no column diagnosis_1; it has isic_id, sex"),
        ("isic_id,diagnosis_1\nÄ,x\n".encode("latin-1"), "is not UTF-8 text"),
        (b'isic_id,diagnosis_1\n"' + b"x" * 200_000, "is not CSV"),
    ],
    ids=["empty", "column missing", "latin-1", "endless cell"],
)
def test_a_bad_table_is_named_with_what_is_accepted(
    tmp_path: Path, content: bytes, words: str
) -> None:
    path = tmp_path / "metadata.csv"
    path.write_bytes(content)
    with pytest.raises(DataError, match=rf"metadata\.csv: .*{words}"):
        files.read_csv(path, required=["isic_id", "diagnosis_1"])
    with pytest.raises(DataError, match="no such file"):
        files.read_csv(tmp_path / "nowhere.csv")
    with pytest.raises(DataError, match="cannot be read"):
        files.read_csv(tmp_path)


# --- hashes and room ---------------------------------------------------------------------


def test_the_hash_is_that_of_the_bytes(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abc")
    assert files.sha256_file(tmp_path / "x") == hashlib.sha256(b"abc").hexdigest()


def test_too_little_room_is_told_even_for_a_folder_to_be(tmp_path: Path) -> None:
    files.check_free_space(tmp_path / "not" / "yet", 1000)
    with pytest.raises(LesionLensError, match=r"yet: needs .* MB, the disk has .* MB left"):
        files.check_free_space(tmp_path / "not" / "yet", 10**18)
    assert not (tmp_path / "not").exists()
