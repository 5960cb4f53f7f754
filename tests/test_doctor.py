from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import pytest

import tiny_model
from lesionlens import __version__
from lesionlens.cli import doctor as doctor_module
from lesionlens.cli.main import main


@pytest.fixture
def bundle_dir(tmp_path: Path) -> Path:
    return tiny_model.write(tmp_path / "bundle").directory


def _run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: object
) -> SimpleNamespace:
    monkeypatch.setattr(sys, "argv", ["lesionlens", "doctor", *map(str, arguments)])
    with pytest.raises(SystemExit) as stopped:
        main()
    out, err = capsys.readouterr()
    return SimpleNamespace(code=stopped.value.code or 0, out=out, err=err)


def test_a_whole_installation_is_well_and_timed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], bundle_dir: Path
) -> None:
    done = _run(monkeypatch, capsys, "--model", bundle_dir)
    assert done.code == 0
    assert "All is well" in done.out
    assert __version__ in done.out
    assert "hash ok" in done.out
    assert "with 10 views" in done.out
    assert len(done.out.splitlines()) <= 25, "one screen, and the end of a temporary folder's name"


def test_json_says_the_same_to_a_program(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], bundle_dir: Path
) -> None:
    content = json.loads(_run(monkeypatch, capsys, "--model", bundle_dir, "--json").out)
    assert content["ok"] is True
    checks = {check["name"]: check for check in content["checks"]}
    assert {"python", "lesionlens", "numpy", "runtime", "model", "self-test", "disk"} <= set(checks)
    assert checks["model"]["found"].startswith("tiny 1.2.3, fp32")
    assert all(check["state"] in ("ok", "absent", "warning") for check in checks.values())


def test_what_reads_dicom_is_told_by_its_versions(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], bundle_dir: Path
) -> None:
    pytest.importorskip("highdicom")
    content = json.loads(_run(monkeypatch, capsys, "--model", bundle_dir, "--json").out)
    (extra,) = [check for check in content["checks"] if check["name"] == "[dicom]"]
    assert extra["state"] == "ok"
    packages = {"pydicom": "pydicom", "highdicom": "highdicom", "pylibjpeg": "pylibjpeg",
                "rle": "pylibjpeg-rle"}  # fmt: skip
    told = ", ".join(f"{name} {version(package)}" for name, package in packages.items())
    assert extra["found"] == told


def test_a_damaged_model_is_broken_with_a_cure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], bundle_dir: Path
) -> None:
    (bundle_dir / "model.tflite").write_bytes(b"damaged")
    done = _run(monkeypatch, capsys, "--model", bundle_dir, "--json")
    assert done.code == 1
    content = json.loads(done.out)
    assert content["ok"] is False
    (broken,) = [check for check in content["checks"] if check["state"] == "broken"]
    assert broken["name"] == "model"
    assert "model.tflite" in broken["found"]
    assert broken["cure"]


def test_a_missing_bundle_is_broken_on_the_screen_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    done = _run(monkeypatch, capsys, "--model", tmp_path / "nowhere")
    assert done.code == 1
    assert "✕ model" in done.out
    assert "Something is broken" in done.out


def test_a_missing_extra_is_no_fault_and_names_its_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], bundle_dir: Path
) -> None:
    monkeypatch.setattr(doctor_module, "EXTRAS", {"magic": ("no_such_module", "json")})
    done = _run(monkeypatch, capsys, "--model", bundle_dir, "--json")
    assert done.code == 0
    (extra,) = [c for c in json.loads(done.out)["checks"] if c["name"] == "[magic]"]
    assert extra["state"] == "absent"
    assert extra["found"] == "not installed: no_such_module"
    assert "pip install 'lesionlens[magic]'" in extra["cure"]


def test_little_free_disk_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], bundle_dir: Path
) -> None:
    monkeypatch.setattr(
        "lesionlens.cli.doctor.shutil.disk_usage", lambda _: SimpleNamespace(free=10**8)
    )
    done = _run(monkeypatch, capsys, "--model", bundle_dir, "--json")
    assert done.code == 0
    (disk,) = [c for c in json.loads(done.out)["checks"] if c["name"] == "disk"]
    assert disk["state"] == "warning"


def test_the_doctor_loads_no_heavy_package(bundle_dir: Path) -> None:
    code = (
        "import sys, atexit\n"
        "heavy = 'tensorflow keras ray pandas scipy matplotlib sklearn skimage httpx'.split()\n"
        "atexit.register(lambda: print([n for n in heavy if n in sys.modules], file=sys.stderr))\n"
        "from lesionlens.cli.main import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "doctor", "--model", str(bundle_dir)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == "[]\n"
