"""The cache: right pixels, nothing done twice, nothing lost to a kill or a full disk."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from lesionlens.cli.main import app
from lesionlens.data import prepare
from lesionlens.data.manifest import load_archive
from lesionlens.data.prepare import load_cache, prepare_cache
from lesionlens.errors import DataError, LesionLensError
from lesionlens.files import read_csv, write_csv
from lesionlens.imaging import load_pixels
from lesionlens.labels import Label
from lesionlens.records import Frame


def save_image(path: Path, seed: int) -> Path:
    rng = np.random.default_rng(seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    coarse = Image.fromarray(rng.integers(0, 255, (6, 8, 3), dtype=np.uint8))
    coarse.resize((120, 90)).save(path, quality=90)
    return path


@pytest.fixture
def frames(tmp_path: Path) -> list[Frame]:
    return [
        Frame(f"image_{i}", save_image(tmp_path / "images" / f"image_{i}.jpg", i), Label.BCC)
        for i in range(10)
    ]


def check_against_the_pixel_path(directory: Path, frames: list[Frame]) -> None:
    cache = load_cache(directory)
    assert len(cache.images) == len(cache.image_ids) == len(cache.row_of)
    for frame in frames:
        row = cache.row_of[frame.image_id]
        assert cache.image_ids[row] == frame.image_id
        np.testing.assert_array_equal(cache.images[row], load_pixels(frame.path).rgb)


def test_cache_holds_the_pixels_of_the_pixel_path_read_only(
    frames: list[Frame], tmp_path: Path
) -> None:
    advanced: list[int] = []
    report = prepare_cache(frames, tmp_path / "cache", advance=advanced.append)
    assert (report.n_done, report.n_kept, report.errors) == (10, 0, ())
    assert sum(advanced) == 10
    check_against_the_pixel_path(tmp_path / "cache", frames)
    cache = load_cache(tmp_path / "cache")
    assert isinstance(cache.images, np.memmap)
    assert not cache.images.flags.writeable
    assert cache.sizes_px.tolist() == [[120, 90]] * 10


def test_second_run_decodes_nothing(
    frames: list[Frame], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare_cache(frames, tmp_path / "cache")

    def refuse(source: object) -> None:
        raise AssertionError(f"decoded again: {source}")

    monkeypatch.setattr(prepare.imaging, "load_pixels", refuse)
    report = prepare_cache(frames, tmp_path / "cache")
    assert (report.n_done, report.n_kept) == (0, 10)


def test_changed_image_is_decoded_again_and_no_other(frames: list[Frame], tmp_path: Path) -> None:
    prepare_cache(frames, tmp_path / "cache")
    old = frames[3].path.stat()
    save_image(frames[3].path, 99)
    os.utime(frames[3].path, ns=(old.st_atime_ns, old.st_mtime_ns))
    report = prepare_cache(frames, tmp_path / "cache")
    assert (report.n_done, report.n_kept) == (1, 9)
    check_against_the_pixel_path(tmp_path / "cache", frames)


def test_new_images_join_and_old_ones_stay(frames: list[Frame], tmp_path: Path) -> None:
    prepare_cache(frames[:4], tmp_path / "cache")
    report = prepare_cache(frames[4:], tmp_path / "cache")
    assert (report.n_done, report.n_kept) == (6, 0)
    check_against_the_pixel_path(tmp_path / "cache", frames)


def test_unreadable_images_are_listed_and_cost_no_other(
    frames: list[Frame], tmp_path: Path
) -> None:
    frames[2].path.write_bytes(b"")
    whole = frames[5].path.read_bytes()
    frames[5].path.write_bytes(whole[: len(whole) // 2])
    frames[7].path.unlink()
    report = prepare_cache(frames, tmp_path / "cache")
    assert report.n_done == 7
    assert [failure.path for failure in report.errors] == [frames[i].path for i in (2, 5, 7)]
    assert all(str(failure.path) in failure.error for failure in report.errors)
    assert "truncated" in report.errors[1].error
    listed = read_csv(tmp_path / "cache" / "errors.csv", required=("path", "error"))
    assert [row["path"] for row in listed] == [str(frames[i].path) for i in (2, 5, 7)]
    good = [frame for i, frame in enumerate(frames) if i not in (2, 5, 7)]
    check_against_the_pixel_path(tmp_path / "cache", good)


def test_image_that_became_unreadable_leaves_the_cache_without_a_gap(
    frames: list[Frame], tmp_path: Path
) -> None:
    prepare_cache(frames, tmp_path / "cache")
    frames[1].path.write_bytes(b"not an image")
    frames[4].path.write_bytes(b"not an image")
    report = prepare_cache(frames, tmp_path / "cache")
    assert (report.n_kept, len(report.errors)) == (8, 2)
    good = [frame for i, frame in enumerate(frames) if i not in (1, 4)]
    check_against_the_pixel_path(tmp_path / "cache", good)
    assert len(load_cache(tmp_path / "cache").images) == 8


def test_full_disk_is_told_and_what_was_written_is_kept(
    frames: list[Frame], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = 0
    real_write_row = prepare._write_row

    def write_row(file: object, row: int, rgb: np.ndarray) -> None:
        nonlocal written
        written += 1
        if written > 6:
            raise OSError(errno.ENOSPC, "No space left on device")
        real_write_row(file, row, rgb)  # type: ignore[arg-type]

    monkeypatch.setattr(prepare, "_CHUNK", 2)
    monkeypatch.setattr(prepare, "_write_row", write_row)
    with pytest.raises(LesionLensError, match=r"cache.*disk is full.*go on"):
        prepare_cache(frames, tmp_path / "cache")
    monkeypatch.undo()
    check_against_the_pixel_path(tmp_path / "cache", frames[:6])
    report = prepare_cache(frames, tmp_path / "cache")
    assert (report.n_done, report.n_kept) == (4, 6)
    check_against_the_pixel_path(tmp_path / "cache", frames)


def test_too_small_a_disk_is_refused_before_the_first_image(
    frames: list[Frame], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = type("usage", (), {"free": 1_000_000})
    monkeypatch.setattr("lesionlens.files.shutil.disk_usage", lambda _: usage)
    with pytest.raises(LesionLensError, match=r"needs .* MB"):
        prepare_cache(frames, tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_ctrl_c_leaves_a_usable_cache(
    frames: list[Frame], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepare, "_CHUNK", 4)
    n_seen = 0

    def press(_: int) -> None:
        nonlocal n_seen
        n_seen += 1
        if n_seen == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare_cache(frames, tmp_path / "cache", advance=press)
    check_against_the_pixel_path(tmp_path / "cache", frames[:6])
    assert prepare_cache(frames, tmp_path / "cache").n_kept == 6
    assert not list((tmp_path / "cache").glob(".*"))


def test_torn_last_manifest_line_is_done_again(frames: list[Frame], tmp_path: Path) -> None:
    prepare_cache(frames, tmp_path / "cache")
    manifest = tmp_path / "cache" / "manifest.csv"
    manifest.write_bytes(manifest.read_bytes()[:-2])  # "...,120,90\n" becomes "...,120,9"
    assert "image_9" not in load_cache(tmp_path / "cache").row_of
    report = prepare_cache(frames, tmp_path / "cache")
    assert (report.n_done, report.n_kept) == (1, 9)
    check_against_the_pixel_path(tmp_path / "cache", frames)


def test_manifest_is_never_ahead_of_the_pixels_when_killed(tmp_path: Path) -> None:
    frames = [
        Frame(f"image_{i}", save_image(tmp_path / "images" / f"image_{i}.jpg", i), Label.BCC)
        for i in range(300)
    ]
    program = (
        "import sys, time\nfrom pathlib import Path\nfrom lesionlens.data import prepare\n"
        "from lesionlens.labels import Label\nfrom lesionlens.records import Frame\n"
        "prepare._CHUNK = 8\nroot = Path(sys.argv[1])\n"
        "frames = [Frame(f'image_{i}', root / 'images' / f'image_{i}.jpg', Label.BCC)"
        " for i in range(300)]\n"
        "done = []\ndef advance(n):\n    done.append(n)\n"
        "    time.sleep(0.005 if len(done) < 200 else 120)\n"  # it is killed before it ends
        "prepare.prepare_cache(frames, root / 'cache', advance=advance)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)])
    manifest = tmp_path / "cache" / "manifest.csv"
    deadline = time.monotonic() + 60
    while not (manifest.exists() and manifest.read_text().count("\n") > 40):
        assert time.monotonic() < deadline
        assert process.poll() is None, "it ended before it could be killed"
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    n_written = len(load_cache(tmp_path / "cache").images)
    assert 40 <= n_written < 300
    check_against_the_pixel_path(tmp_path / "cache", frames[:n_written])
    report = prepare_cache(frames, tmp_path / "cache")
    assert (report.n_done, report.n_kept) == (300 - n_written, n_written)
    check_against_the_pixel_path(tmp_path / "cache", frames)


def test_cache_of_another_pixel_path_is_refused_and_made_anew(
    frames: list[Frame], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare_cache(frames, tmp_path / "cache")
    monkeypatch.setitem(prepare.PIXEL_PATH, "version", 2)
    with pytest.raises(DataError, match="another pixel path"):
        load_cache(tmp_path / "cache")
    assert prepare_cache(frames, tmp_path / "cache").n_done == 10
    check_against_the_pixel_path(tmp_path / "cache", frames)


def test_folder_with_other_files_is_not_taken_for_a_cache(
    frames: list[Frame], tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="no cache"):
        prepare_cache(frames, tmp_path / "images")


def test_no_cache_there_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="lesionlens data prepare"):
        load_cache(tmp_path)


def test_same_id_twice_is_refused(frames: list[Frame], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="image_0"):
        prepare_cache([*frames, frames[0]], tmp_path / "cache")


def test_header_has_room_for_a_hundred_million_images() -> None:
    assert len(prepare._header(0)) == len(prepare._header(10**8))


def test_verb_exits_1_when_an_image_is_unreadable_and_0_when_all_are_good(
    frames: list[Frame], tmp_path: Path
) -> None:
    columns = ("isic_id", "diagnosis_1", "diagnosis_3")
    rows = [
        dict(zip(columns, (f.image_id, "Malignant", "Basal cell carcinoma"), strict=True))
        for f in frames
    ]
    write_csv(tmp_path / "metadata.csv", columns, rows)
    arguments = ["data", "prepare", str(tmp_path), "-o", str(tmp_path / "cache")]
    frames[0].path.write_bytes(b"no image")
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 1, result.output
    assert "9 images decoded" in result.stderr
    assert "errors.csv" in result.stderr.replace("\n", "")
    save_image(frames[0].path, 5)
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert result.stdout == ""


@pytest.mark.skipif("LESIONLENS_DATA" not in os.environ, reason="LESIONLENS_DATA is not set")
def test_real_frames_come_out_as_the_pixel_path_gives_them(tmp_path: Path) -> None:
    frames = list(load_archive(Path(os.environ["LESIONLENS_DATA"])).frames[::400])
    report = prepare_cache(frames, tmp_path / "cache", workers=2)
    assert (report.n_done, report.errors) == (len(frames), ())
    check_against_the_pixel_path(tmp_path / "cache", frames)
