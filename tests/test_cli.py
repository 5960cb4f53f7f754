"""What holds for every verb: errors are one line and an exit code, Ctrl-C is clean."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

import tiny_model
from lesionlens import __version__
from lesionlens.cli import data_split, doctor, options
from lesionlens.cli.main import main
from lesionlens.data.prepare import load_cache

Run = Callable[..., SimpleNamespace]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """A function that runs the command in this process, in an empty folder."""
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.delenv("LESIONLENS_MODEL", raising=False)

    def call(*arguments: object) -> SimpleNamespace:
        monkeypatch.setattr(sys, "argv", ["lesionlens", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            main()
        out, err = capsys.readouterr()
        return SimpleNamespace(code=stopped.value.code or 0, out=out, err=err, folder=work)

    return call


def test_the_version_is_said(run: Run) -> None:
    assert run("--version").out == f"lesionlens {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (["data", "split", "nowhere"], "nowhere: no such folder"),
        (["data", "audit", "nowhere"], "nowhere: no such folder"),
        (["data", "prepare", "nowhere"], "nowhere: no such folder"),
        (["data", "normals", "nowhere"], "nowhere: no such folder"),
        (["data", "import", "nowhere", "-o", "archive"], "nowhere: no such folder"),
        (["data", "fetch", "-d", "Freckle", "-o", "archive"], "'Freckle' is not a diagnosis"),
        (["data", "fetch", "-o", "archive"], "nothing to fetch"),
        (["evaluate", "nowhere.csv"], "nowhere.csv: no such file"),
        (["predict", "x.jpg", "--model", "nowhere"], "nowhere: no such folder"),
        (["predict", ""], "'': is no name"),
    ],
)
def test_bad_input_is_one_line_that_names_it_and_exit_code_2(
    run: Run, arguments: list[str], name: str
) -> None:
    if arguments[1] in ("fetch", "normals"):
        pytest.importorskip("isic_metadata")
    done = run(*arguments)
    assert done.code == 2
    assert len(done.err.splitlines()) == 1
    assert done.err.startswith(f"lesionlens: {name}")
    assert not done.out
    assert not list(done.folder.iterdir())


@pytest.mark.parametrize("arguments", [["foretell"], ["data"], ["data", "split"], ["predict"]])
def test_what_cannot_be_meant_exits_2_with_a_hint(run: Run, arguments: list[str]) -> None:
    done = run(*arguments)
    assert done.code == 2
    assert "Usage:" in done.out + done.err


@pytest.mark.parametrize("verb", ["prepare", "split", "audit"])
def test_ctrl_c_ends_with_a_line_and_130(
    run: Run, monkeypatch: pytest.MonkeyPatch, make_archive: Callable[..., Path], verb: str
) -> None:
    def press(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    archive = make_archive(3)
    monkeypatch.setattr("lesionlens.data.prepare._decode", press)
    done = run("data", verb, archive)
    assert done.code == 130
    assert done.err == "lesionlens: stopped; run the same command again to go on\n"
    assert not (done.folder / "splits.json").exists()


def test_an_error_of_the_system_is_one_line_too(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail(*_: object) -> None:
        raise PermissionError(13, "Permission denied", "secret.txt")

    monkeypatch.setattr(doctor, "_check_disk", fail)
    bundle = tiny_model.write(tmp_path / "bundle").directory
    done = run("doctor", "--model", bundle)
    assert (done.code, done.err) == (2, "lesionlens: secret.txt: Permission denied\n")


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="no /dev/full here")
@pytest.mark.parametrize("form", ["table", "json", "csv", "jsonl"])
def test_output_that_cannot_be_written_is_told_once(
    tmp_path: Path, phantom_jpeg: Path, form: str
) -> None:
    bundle = tiny_model.write(tmp_path / "bundle").directory
    command = [sys.executable, "-m", "lesionlens", "predict", str(phantom_jpeg)]
    command += ["--model", str(bundle), "--views", "1", "--format", form]
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=300, check=False
        )
    assert done.returncode == 2
    assert done.stderr == "lesionlens: standard output: No space left on device\n"


@pytest.mark.skipif(sys.platform != "linux", reason="file names are text there")
@pytest.mark.parametrize(
    ("form", "encoding"), [("table", "ascii"), ("json", "utf-8"), ("csv", "utf-8")]
)
def test_names_and_symbols_that_are_no_text_are_spelled_out(
    tmp_path: Path, phantom_jpeg: Path, form: str, encoding: str
) -> None:
    odd = os.fsdecode(b"\xff[red]\xe2\x97\x8f.jpg")
    phantom_jpeg.rename(tmp_path / odd)
    bundle = tiny_model.write(tmp_path / "bundle").directory
    command = [sys.executable, "-m", "lesionlens", "predict", odd, "--model", str(bundle)]
    command += ["--views", "1", "--format", form]
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "COLUMNS": "200"}
    shown = "\\udcff[red]" + ("●" if encoding == "utf-8" else "\\u25cf") + ".jpg"
    for more in ([], ["-o", "answers"]):
        done = subprocess.run(
            [*command, *more], cwd=tmp_path, env=environment, capture_output=True, timeout=300,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        if not more:
            assert shown in done.stdout.decode(encoding)
    written = (tmp_path / "answers").read_text(encoding="utf-8")
    assert "\\udcff[red]●.jpg" in written
    if form == "json":
        assert json.loads(written)[0]["file"] == odd


def test_a_reader_that_has_seen_enough_is_no_error(tmp_path: Path, phantom_jpeg: Path) -> None:
    bundle = tiny_model.write(tmp_path / "bundle").directory
    command = [sys.executable, "-m", "lesionlens", "predict", str(phantom_jpeg)]
    command += ["--model", str(bundle), "--views", "1", "--format", "json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    errors = process.stderr.read()
    assert process.wait(timeout=300) == 1
    assert errors == ""


@pytest.mark.skipif(sys.platform == "win32", reason="no limits of this kind there")
def test_a_disk_that_fills_up_during_prepare_is_told_and_the_same_command_goes_on(
    make_archive: Callable[..., Path],
) -> None:
    # A limit on the size of a file stands for the disk: the system refuses the write.
    program = (
        "import resource, sys\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (700_000, 700_000))\n"
        "from lesionlens.cli.main import main\n"
        "main()\n"
    )
    archive = make_archive(4)
    arguments = ["data", "prepare", str(archive), "-o", str(archive.parent / "cache")]
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"lesionlens: {archive.parent / 'cache'}")
    assert "cannot be written" in line
    done = subprocess.run(
        [sys.executable, "-m", "lesionlens", *arguments],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert len(load_cache(archive.parent / "cache").images) == 16


def test_a_class_with_too_few_groups_is_told_by_the_verb(
    run: Run, make_archive: Callable[..., Path]
) -> None:
    archive = make_archive(4)
    done = run("data", "split", archive, "--folds", "6")
    assert done.code == 2
    *_, line = done.err.splitlines()
    assert "too few to have one in each of 6 parts" in line
    assert "at least 6 are needed" in line
    assert not (done.folder / "splits.json").exists()


def test_a_model_that_was_replaced_is_refused_by_name(
    run: Run, tmp_path: Path, phantom_jpeg: Path
) -> None:
    bundle = tiny_model.write(tmp_path / "bundle").directory
    (bundle / "model.tflite").write_bytes(tiny_model.build(3))
    done = run("predict", phantom_jpeg, "--model", bundle)
    assert done.code == 2
    (line,) = done.err.splitlines()
    assert line.startswith(f"lesionlens: {bundle / 'model.tflite'}: is not the model that")
    assert "SHA-256" in line
    assert not done.out


def test_defaults_of_verbs_that_work_together_agree() -> None:
    from inspect import signature

    from lesionlens.cli import export, train

    assert signature(train.train).parameters["cache"].default == options.DEFAULT_CACHE
    assert signature(train.train).parameters["splits"].default == data_split.DEFAULT_SPLITS
    assert signature(export.export).parameters["cache"].default == options.DEFAULT_CACHE
    assert signature(export.export).parameters["splits"].default == data_split.DEFAULT_SPLITS
