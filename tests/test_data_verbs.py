"""Options of the data verbs reach what they are meant for; each in a drawn archive."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from archive_server import ArchiveServer
from lesionlens import phantoms
from lesionlens.cli.main import app
from lesionlens.data.manifest import load_archive
from lesionlens.data.prepare import load_cache
from lesionlens.data.splits import Splits
from lesionlens.files import read_csv, write_csv
from lesionlens.labels import IN_SCOPE, Label


def run(*arguments: object, code: int = 0) -> Result:
    result = CliRunner().invoke(app, ["data", *map(str, arguments)])
    assert result.exit_code == code, result.output
    return result


@pytest.fixture
def archive(make_archive: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A drawn archive of 9 frames a class; the working folder is beside it."""
    root = make_archive(9)
    monkeypatch.chdir(root.parent)
    return root


# --- fetch -------------------------------------------------------------------------------


@pytest.fixture
def searched(tmp_path: Path) -> Callable[..., list[str]]:
    """A function that fetches with options, dry, and returns the queries the server saw."""
    pytest.importorskip("httpx", reason="the [data] extra is not installed")
    pytest.importorskip("isic_metadata", reason="the [data] extra is not installed")

    def search(*options: str) -> list[str]:
        with ArchiveServer(n=2, page_size=5) as server:
            run("fetch", "--base-url", server.url, "--dry-run", "-o", tmp_path / "a", *options)
            return [parameters["query"] for parameters in server.searches]

    return search


def test_a_raw_query_goes_to_the_archive_as_it_is(searched: Callable[..., list[str]]) -> None:
    assert searched("--query", 'diagnosis_1:"Benign" AND patient_id:*') == [
        'diagnosis_1:"Benign" AND patient_id:*'
    ]


def test_licences_narrow_every_selection(searched: Callable[..., list[str]]) -> None:
    queries = searched("-d", "BCC", "-d", "Nevus", "--license", "CC-0", "--license", "CC-BY")
    assert len(queries) == 2
    for query in queries:
        assert query.endswith(
            'AND (copyright_license:"CC-0" OR copyright_license:"CC-BY")'
        )  # fmt: skip
        assert 'image_type:"dermoscopic"' in query


def test_the_paper_preset_searches_for_three_things(searched: Callable[..., list[str]]) -> None:
    bcc, scc, benign = searched("--preset", "paper")
    assert "Basal cell carcinoma" in bcc
    assert "Squamous cell carcinoma" in scc
    assert 'diagnosis_1:"Benign"' in benign


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--license", "GPL", "-d", "BCC"], "'GPL' is not a licence; accepted: CC-0"),
        (["--preset", "mine"], "'mine' is not a preset; accepted: paper"),
        (["-d", "Normal"], "it labels no healthy skin"),
    ],
)
def test_wishes_that_cannot_be_met_say_what_can(
    tmp_path: Path, options: list[str], words: str
) -> None:
    pytest.importorskip("isic_metadata", reason="the [data] extra is not installed")
    result = run("fetch", "-o", tmp_path / "a", *options, code=2)
    assert words in result.stderr
    assert not (tmp_path / "a").exists()


# --- import ------------------------------------------------------------------------------


@pytest.fixture
def ham(tmp_path: Path) -> Path:
    """HAM10000 in small: four images and their table."""
    folder = tmp_path / "ham"
    rng = np.random.default_rng(7)
    rows = []
    for number, dx in enumerate(("bcc", "nv", "akiec", "bcc")):
        phantoms.save(phantoms.draw("bcc", size_px=(64, 48), rng=rng), folder / f"I{number}.jpg")
        rows.append({"lesion_id": f"L{number // 2}", "image_id": f"I{number}", "dx": dx})
    write_csv(folder / "HAM10000_metadata.csv", ["lesion_id", "image_id", "dx"], rows)
    return folder


def test_images_can_be_linked_and_the_table_be_named(ham: Path, tmp_path: Path) -> None:
    table = shutil.move(ham / "HAM10000_metadata.csv", tmp_path / "elsewhere.csv")
    out = run("import", ham, "-o", tmp_path / "a", "--link", "--metadata", table)
    assert out.stdout == f"{tmp_path / 'a' / 'metadata.csv'}\n"
    assert "4 linked" in out.stderr
    assert "SCC in situ" in " ".join(out.stderr.split())
    assert os.path.samefile(tmp_path / "a" / "images" / "I0.jpg", ham / "I0.jpg")
    assert load_archive(tmp_path / "a").counts()[Label.AK] == 1


def test_a_metadata_that_is_none_is_refused(ham: Path, tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("name,colour\nI0,red\n")
    result = run("import", ham, "-o", tmp_path / "a", "--metadata", tmp_path / "list.csv", code=2)
    assert "list.csv: is not a table of diagnoses" in result.stderr
    assert not (tmp_path / "a").exists()


def test_a_disk_that_fills_up_during_an_import_is_told_and_the_import_goes_on(
    ham: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    n_written = 0
    real = os.fsync

    def fsync(descriptor: int) -> None:
        nonlocal n_written
        n_written += 1
        if n_written > 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(descriptor)

    monkeypatch.setattr("lesionlens.files.os.fsync", fsync)
    result = run("import", ham, "-o", tmp_path / "a", code=2)
    assert "cannot be written (No space left on device)" in result.stderr
    assert not (tmp_path / "a" / "metadata.csv").exists()
    for path in (tmp_path / "a" / "images").iterdir():  # whole or not there
        assert path.read_bytes() == (ham / path.name).read_bytes()
    monkeypatch.undo()
    result = run("import", ham, "-o", tmp_path / "a")
    assert "2 copied, 2 were there" in result.stderr


# --- normals -----------------------------------------------------------------------------


def test_masks_decide_where_crops_may_be(archive: Path, tmp_path: Path) -> None:
    pytest.importorskip("skimage", reason="the [data] extra is not installed")
    masks = tmp_path / "masks"
    masks.mkdir()
    benign = [frame for frame in load_archive(archive).frames if frame.is_benign]
    for frame in benign:  # the whole left half is lesion
        mask = np.zeros((120, 160), np.uint8)
        mask[:, :80] = 255
        Image.fromarray(mask).save(masks / f"{frame.image_id}_segmentation.png")
    out = tmp_path / "normal"
    run("normals", archive, "-o", out, "--masks", masks, "--count", "6", "--min-side-px", "32",
        "--size-fraction", "0.27,0.3", "--per-frame", "2", "--per-group", "3")  # fmt: skip
    rows = read_csv(out / "metadata.csv")
    assert len(rows) == 6
    assert all(int(row["crop_x_px"]) >= 80 for row in rows)
    assert all(32 <= int(row["crop_size_px"]) <= 36 for row in rows)
    assert len({row["parent_isic_id"] for row in rows}) < 6  # two of a frame were allowed
    run("normals", archive, "-o", out, "--masks", tmp_path / "no", code=2)


def test_normals_elsewhere_serve_the_other_verbs(archive: Path, tmp_path: Path) -> None:
    elsewhere = shutil.move(archive / "normal", tmp_path / "skin")
    options = ["--normals", elsewhere]
    run("split", archive, *options)
    splits = Splits.load("splits.json")
    assert all(counts["Normal"] for counts in splits.counts.values())
    result = run("audit", archive, *options, "--splits", "splits.json")
    assert "nothing stands on both sides" in result.stderr
    run("prepare", archive, *options, "--workers", "2")
    assert len(load_cache(Path("cache")).images) == 36
    result = run("audit", archive, "--splits", "splits.json", code=1)  # 9 crops are missing now
    assert "splits.json: " in result.stderr


# --- split and audit ---------------------------------------------------------------------


def test_without_near_duplicates_no_image_is_opened(archive: Path) -> None:
    for path in (archive / "images").iterdir():
        path.write_bytes(b"not an image")
    run("split", archive, "--no-near-duplicates")
    assert not Path("cache").exists()
    splits = Splits.load("splits.json")
    assert sum(map(len, splits.parts.values())) == 36
    assert len(set(splits.groups.values())) < 36  # lesions still keep their images together


def test_the_paper_preset_splits_three_classes_by_its_counts(
    make_archive: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = make_archive(60, size_px=(112, 112))
    monkeypatch.chdir(archive.parent)
    run("split", archive, "--preset", "paper", "--no-near-duplicates")
    counts = Splits.load("splits.json").counts
    assert all(set(part) == {label.value for label in IN_SCOPE} for part in counts.values())
    test = counts["test"]
    assert (test["BCC"], test["SCC"], test["Normal"]) == (36, 36, 24)


def test_an_archive_is_audited_without_splits_too(archive: Path) -> None:
    result = run("audit", archive, "--json", "audit.json")
    assert "near-duplicate pairs" in result.stdout
    assert Path("audit.json").is_file()


# --- stopping ----------------------------------------------------------------------------

#: Runs a verb that gets its Ctrl-C from a thread of its own as soon as a file is there: from
#: another process it may come when a quick verb is done.
STOPPED = """
import os, signal, sys, threading, time
from lesionlens.cli.main import main

def press(path):
    while not os.path.exists(path):
        time.sleep(0.005)
    os.kill(os.getpid(), signal.SIGINT)

threading.Thread(target=press, args=(sys.argv.pop(1),), daemon=True).start()
main()
"""


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="signals of another kind there")
@pytest.mark.parametrize("verb", ["prepare", "split", "normals"])
def test_ctrl_c_in_a_running_verb_ends_it_cleanly_and_it_goes_on(archive: Path, verb: str) -> None:
    pytest.importorskip("skimage", reason="the [data] extra is not installed")
    images = sorted((archive / "images").iterdir())
    rows = read_csv(archive / "metadata.csv")
    many = []
    for copy in range(25):  # enough to be at work when the signal comes
        for row, image in zip(rows, images, strict=True):
            name = f"{row['isic_id']}_{copy}"
            os.link(image, archive / "images" / f"{name}.jpg")
            many.append({**row, "isic_id": name, "lesion_id": name})
    write_csv(archive / "metadata.csv", list(rows[0]), [*rows, *many])
    command = ["data", verb, str(archive)]
    if verb == "normals":
        command += ["-o", "skin", "--count", "150", "--min-side-px", "32"]
    begun = {"prepare": "cache/images.npy", "split": "cache/images.npy", "normals": "skin/images"}
    stopped = subprocess.run(
        [sys.executable, "-c", STOPPED, begun[verb], *command],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert stopped.returncode == 130, stopped.stderr
    assert (
        stopped.stderr.splitlines()[-1]
        == "lesionlens: stopped; run the same command again to go on"
    )
    assert "Traceback" not in stopped.stderr
    assert not list(archive.parent.rglob("*.part"))
    done = subprocess.run(
        [sys.executable, "-m", "lesionlens", *command],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
