"""The history leaves in files that lose nothing, and comes back from files that are not trusted."""

from __future__ import annotations

import csv
import io
import json
import struct
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lesionlens.errors import HistoryError, LesionLensError
from lesionlens.files import read_csv
from lesionlens.history import transfer
from lesionlens.history.records import ImportSummary, Lesion
from lesionlens.history.store import History
from lesionlens.history.transfer import safe_cell
from sample_scans import ANSWER, ELSEWHERE, HEALTHY, jpeg, png, save


@pytest.fixture
def history(tmp_path: Path) -> Iterator[History]:
    """Three scans, two of one lesion, one with an overlay, and a lesion without a scan."""
    with History(tmp_path / "history.db") as opened:
        mole = opened.add_lesion("Müttermal", body_site="chest", notes="since 2019")
        opened.add_lesion("Other")
        save(opened, 0, lesion_id=mole.id, notes='first\nline, "quoted" ; 🙂', overlay=png(1))
        save(opened, 1, ELSEWHERE, lesion_id=mole.id, overlay=jpeg(77), used_anyway=True)
        odd_name = replace(HEALTHY, file="odd \udcff name")
        save(opened, 2, odd_name, body_site="face", joint={"BCC": 0.1, "NV": 0.9})
        yield opened


@pytest.fixture
def exported(tmp_path: Path, history: History) -> Path:
    path = tmp_path / "export.zip"
    assert history.export_zip(path) == 3
    return path


def without_ids(history: History) -> tuple[list[tuple[Any, ...]], list[Lesion]]:
    """All that a history holds, but for numbers that are its own."""
    names = {lesion.id: lesion.uuid for lesion in history.lesions()}
    scans = [
        (replace(scan, id=0, lesion_id=None), names.get(scan.lesion_id or 0),
         history.pictures(scan.id))
        for scan in history.scans()
    ]  # fmt: skip
    lesions = [replace(lesion, id=0, last_scan_id=None) for lesion in history.lesions()]
    return scans, lesions


def rewritten(path: Path, change: Callable[[dict[str, Any]], Any]) -> Path:
    """The same ZIP with another scans.json: what ``change`` makes of the old one."""
    target = path.with_name("changed.zip")
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(target, "w") as new:
        for info in old.infolist():
            data = old.read(info)
            if info.filename == "scans.json":
                content = json.loads(data)
                changed = change(content)
                data = json.dumps(content if changed is None else changed).encode()
            new.writestr(info, data)
    return target


# --- there and back ----------------------------------------------------------------------


def test_an_export_that_is_read_in_elsewhere_loses_nothing(
    history: History, exported: Path
) -> None:
    with History(None) as other:
        save(other, 30, lesion_id=other.add_lesion("Own").id)  # so that the numbers differ
        other.delete_all()
        assert other.import_zip(exported) == ImportSummary(3, 0, ())
        assert without_ids(other) == without_ids(history)
        assert {scan.id for scan in other.scans()}.isdisjoint({1})
        assert other.count(search="muttermal") == 2


def test_reading_in_twice_adds_nothing_and_keeps_what_was_changed(
    history: History, exported: Path
) -> None:
    scan = history.scans()[0]
    history.update(scan.id, notes="changed since")
    history.delete(history.scans()[1].id)
    assert history.import_zip(exported) == ImportSummary(1, 2, ())
    assert history.import_zip(exported) == ImportSummary(0, 3, ())
    assert history.scan(scan.id).notes == "changed since"
    assert len(history.lesions()) == 2
    assert history.count() == 3


def test_streams_do_as_well_as_files_and_progress_is_told(history: History) -> None:
    stream, told = io.BytesIO(), []
    history.export_zip(stream, progress=lambda done, total: told.append((done, total)))
    stream.seek(0)
    with History(None) as other:
        other.import_zip(stream, progress=lambda done, total: told.append((done, total)))
        assert other.count() == 3
    assert told == [(1, 3), (2, 3), (3, 3)] * 2


def test_an_export_has_a_table_and_pictures_for_people(exported: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(exported) as archive:
        names = archive.namelist()
        archive.extract("scans.csv", tmp_path)
        assert archive.testzip() is None
    assert sorted(name.split("/")[0] for name in names) == (
        ["overlays"] * 2 + ["photos"] * 3 + ["scans.csv", "scans.json"] + ["thumbnails"] * 3
    )
    assert {Path(name).suffix for name in names if name.startswith("overlays/")} == {".png", ".jpg"}
    assert (tmp_path / "scans.csv").read_bytes().startswith(b"\xef\xbb\xbf")
    newest, middle, oldest = sorted(
        read_csv(tmp_path / "scans.csv", required=transfer.COLUMNS),
        key=lambda row: row["taken_at"],
        reverse=True,
    )
    assert (newest["label"], newest["body_site"]) == ("Normal", "face")
    assert (middle["label"], middle["verdict"], middle["used_anyway"]) == (
        "",
        "out_of_scope",
        "True",
    )
    assert (oldest["lesion"], oldest["quality"]) == ("Müttermal", "blur")
    assert float(oldest["confidence"]) == ANSWER.probability
    assert oldest["notes"] == 'first\nline, "quoted" ; 🙂'


def test_a_target_that_cannot_be_written_is_named(history: History, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LesionLensError, match=r"out\.zip: cannot be written"):
        history.export_zip(tmp_path / "file" / "out.zip")


# --- spreadsheets ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "note",
    ["=1+1", "+SUM(A1)", "-2", "@cmd", "\t=1", "\r=1", " =1", "a;=1+1", "a\n=1", '"=1', "＝1"],
)  # fmt: skip
def test_no_note_is_a_formula_in_a_spreadsheet(history: History, note: str) -> None:
    history.delete_all()
    lesion = history.add_lesion(f"={note}")
    save(history, notes=note, lesion_id=lesion.id, model="=model")
    stream = io.StringIO(newline="")
    assert history.export_csv(stream) == 1
    (row,) = csv.DictReader(io.StringIO(stream.getvalue(), newline=""))
    assert row["notes"].replace("'", "") == note
    for cell in (row["notes"], row["lesion"], row["model"]):
        for part in cell.replace("\t", ";").replace("\r", ";").replace("\n", ";").split(";"):
            assert not part.strip(' "').startswith(("=", "+", "-", "@", "＝"))


@given(st.text(alphabet="=+-@;\t\n' \"a1é", max_size=12))
def test_safe_text_differs_by_apostrophes_alone(text: str) -> None:
    safe = safe_cell(text)
    assert safe.replace("'", "") == text.replace("'", "")
    assert not safe.startswith(("=", "+", "-", "@"))
    if not any(sign in text for sign in "=+-@"):
        assert safe == text


# --- what is not trusted -----------------------------------------------------------------


def without(key: str) -> Callable[[Any], None]:
    def change(scan: Any) -> None:
        del scan[key]

    return change


def set_to(value: Any, *keys: str) -> Callable[[Any], None]:
    def change(scan: Any) -> None:
        for key in keys[:-1]:
            scan = scan[key]
        scan[keys[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (without("notes"), "has no notes"),
        (without("prediction"), "has no prediction"),
        (set_to("../../etc/passwd", "uuid"), "is not 32 hexadecimal digits"),
        (set_to("0" * 32, "uuid"), "photos/0{32}.jpg: is not in the ZIP"),
        (set_to("yesterday", "taken_at"), "'yesterday': is no time"),
        (set_to(17, "taken_at"), "17: is no time"),
        (set_to("0001-01-01T00:00:00+14:00", "taken_at"), "is no time"),
        (set_to("2026-03-01T09:30:00", "taken_at"), "has no time zone"),
        (set_to("tail", "body_site"), "body site 'tail'"),
        (set_to(["face"], "body_site"), "body site"),
        (set_to("f" * 32, "lesion"), "is not among the lesions"),
        (set_to({}, "lesion"), "is not among the lesions"),
        (set_to("yes", "used_anyway"), "used_anyway: is 'yes'"),
        (set_to("exe", "overlay"), "overlay: is 'exe'"),
        (set_to("jpg", "overlay"), "overlays/.*jpg: is not in the ZIP"),
        (set_to(None, "notes"), "notes: is NoneType"),
        (set_to({"model": "fast"}, "milliseconds"), "milliseconds: is fast"),
        (set_to({"model": 10**400}, "milliseconds"), "milliseconds: is 1000"),
        (set_to([1], "joint"), "joint: is list"),
        (set_to(float("nan"), "prediction", "scope"), "scope: is nan"),
        (set_to(-0.2, "prediction", "probabilities", "BCC"), r"in 0\.\.1 is needed"),
        (set_to(0.9, "prediction", "probabilities", "SCC"), "that sum to 1"),
        (set_to("Wart", "prediction", "label"), "'Wart' is not a valid Label"),
        (set_to("MEL", "prediction", "label"), "not one of the three"),
        (set_to(["NV"], "prediction", "prediction_set"), "not one of the three"),
        (set_to("sure", "prediction", "verdict"), "verdict 'sure'"),
        (set_to(0, "prediction", "views"), "views is 0"),
        (set_to([], "prediction", "quality"), "prediction: is not as it is written"),
        (set_to([{"name": "blur"}], "prediction", "quality", "findings"), "has no 'value'"),
        (set_to("GPL", "model_sha256"), "model_sha256"),
    ],
)
def test_a_bad_row_is_told_and_the_others_are_taken(
    exported: Path, change: Callable[[Any], None], reason: str
) -> None:
    changed = rewritten(exported, lambda content: change(content["scans"][0]))
    if "overlays" in reason:
        changed = rewritten(exported, lambda content: change(content["scans"][2]))
    with History(None) as other:
        summary = other.import_zip(changed)
        assert (summary.added, summary.already_there, other.count()) == (2, 0, 2)
        assert len(summary.rejected) == 1
        with pytest.raises(AssertionError, match=reason):
            raise AssertionError(summary.rejected[0].reason)


def test_what_is_no_row_is_told_by_its_place(exported: Path) -> None:
    def spoil(content: dict[str, Any]) -> None:
        content["scans"].insert(1, "row")
        content["lesions"].append({"name": ""})

    with History(None) as other:
        summary = other.import_zip(rewritten(exported, spoil))
    assert summary.added == 3
    assert [rejected.row for rejected in summary.rejected] == ["lesion 3", "scan 2"]


def test_a_lesion_that_is_not_taken_takes_its_scans_with_it(exported: Path) -> None:
    def spoil(content: dict[str, Any]) -> None:
        content["lesions"][0]["name"] = "\x00"

    with History(None) as other:
        summary = other.import_zip(rewritten(exported, spoil))
        assert (summary.added, len(summary.rejected)) == (1, 3)
        assert len(other.lesions()) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: content.update(format=2), "is of format 2, this program reads up to 1"),
        (lambda content: content.update(format="1"), "is of format '1', a number is needed"),
        (lambda content: content.update(kind="contacts"), "not of a LesionLens history"),
        (lambda content: content.update(scans={}), "has no list 'scans'"),
        (lambda _: [], "not of a LesionLens history"),
    ],
)
def test_another_schema_is_refused_whole(
    exported: Path, change: Callable[[Any], Any], message: str
) -> None:
    with History(None) as other:
        with pytest.raises(HistoryError, match=rf"changed\.zip: .*{message}"):
            other.import_zip(rewritten(exported, change))
        assert (other.count(), other.lesions()) == (0, [])


@pytest.mark.parametrize(
    "name", ["../evil.txt", "/etc/evil", "photos/../../evil", "..\\evil", "C:evil"]
)
def test_a_zip_that_points_out_of_itself_is_refused(exported: Path, name: str) -> None:
    with zipfile.ZipFile(exported, "a") as archive:
        archive.writestr(name, "evil")
    with History(None) as other:
        with pytest.raises(HistoryError, match="points out of it"):
            other.import_zip(exported)
        assert other.count() == 0


def photo_of(path: Path) -> str:
    with zipfile.ZipFile(path) as archive:
        return next(name for name in archive.namelist() if name.startswith("photos/"))


def replaced(path: Path, member: str, data: bytes, method: int) -> Path:
    target = path.with_name("bomb.zip")
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            if name == member:
                new.writestr(name, data, method)
            else:
                new.writestr(name, old.read(name))
    return target


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA])
def test_a_picture_that_unpacks_to_too_much_is_not_unpacked(exported: Path, method: int) -> None:
    size = 20_000_000 if method == zipfile.ZIP_DEFLATED else 1000
    bomb = replaced(exported, photo_of(exported), b"\xff\xd8\xff" + bytes(size), method)
    with History(None) as other:
        summary = other.import_zip(bomb)
    assert summary.added == 2
    expected = "unpacks to 20.0 MB, at most 8.4" if size > 1000 else "is packed in another way"
    assert expected in summary.rejected[0].reason


def test_a_bomb_that_lies_about_its_size_is_not_unpacked(
    exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    member = photo_of(exported)
    bomb = replaced(exported, member, b"\xff\xd8\xff" + bytes(50_000_000), zipfile.ZIP_DEFLATED)
    data = bomb.read_bytes()
    for place in (data.find(b"PK\x03\x04"), data.find(b"PK\x01\x02")):
        assert data[place:].find(member.encode()) < 60  # it is the first in the ZIP
    size = struct.pack("<I", 50_000_003)
    assert data.count(size) == 2
    bomb.write_bytes(data.replace(size, struct.pack("<I", 2000)))

    given_out: list[int] = []
    real = zipfile.ZipExtFile._read1  # type: ignore[attr-defined]

    def spy(file: Any, n: int) -> bytes:
        given_out.append(n)
        result: bytes = real(file, n)
        return result

    monkeypatch.setattr(zipfile.ZipExtFile, "_read1", spy)
    with History(None) as other:
        summary = other.import_zip(bomb)
    assert summary.added == 2
    assert "is damaged" in summary.rejected[0].reason
    assert max(given_out) < 2**20  # how much zipfile was ever asked to unpack at once


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("MAX_MEMBERS", 4, "has 10 files, at most 4 are read"),
        ("MAX_JSON_BYTES", 100, "scans.json: unpacks to"),
        ("MAX_BYTES_IN_MEMORY", 1000, "a history in memory takes at most 0 MB"),
    ],
)
def test_too_much_is_refused(
    exported: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: int, message: str
) -> None:
    monkeypatch.setattr(transfer, name, value)
    with History(None) as other, pytest.raises(HistoryError, match=message):
        other.import_zip(exported)


def test_a_disk_with_too_little_left_is_told_before(
    history: History, exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: object, needed_bytes: int) -> None:
        raise LesionLensError(f"needs {needed_bytes}")

    monkeypatch.setattr(transfer, "check_free_space", full)
    with pytest.raises(LesionLensError, match=r"needs \d{4,}"):
        history.import_zip(exported)


def test_what_is_no_zip_is_told(tmp_path: Path, exported: Path) -> None:
    (tmp_path / "half.zip").write_bytes(exported.read_bytes()[:-200])
    (tmp_path / "note.zip").write_text("hello")
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("readme.txt", "hello")
    with zipfile.ZipFile(tmp_path / "deep.zip", "w") as archive:
        archive.writestr("scans.json", "[" * 100_000)
    expected = {
        "half.zip": "is no ZIP, or was cut off",
        "note.zip": "is no ZIP",
        "gone.zip": "no such file",
        "other.zip": "is no export of LesionLens .scans.json: is not in",
        "deep.zip": ".*is not readable JSON",
    }
    with History(None) as other:
        for name, message in expected.items():
            with pytest.raises(HistoryError, match=rf"{name}: {message}"):
                other.import_zip(tmp_path / name)
        assert other.count() == 0


def test_a_photo_that_was_damaged_on_the_way_is_rejected(exported: Path) -> None:
    data = bytearray(exported.read_bytes())
    place = data.find(jpeg(0)[100:130])
    data[place] ^= 0xFF
    exported.write_bytes(data)
    with History(None) as other:
        summary = other.import_zip(exported)
    assert summary.added == 2
    assert "is damaged or encrypted (Bad CRC-32" in summary.rejected[0].reason


def test_an_import_that_was_stopped_goes_on_where_it_was(exported: Path, tmp_path: Path) -> None:
    def stop(done: int, _: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with History(tmp_path / "other.db") as other:
        with pytest.raises(KeyboardInterrupt):
            other.import_zip(exported, progress=stop)
        assert other.count() == 2
        assert other.import_zip(exported) == ImportSummary(1, 2, ())
