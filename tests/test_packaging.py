"""A wheel built from this tree, installed into an empty environment elsewhere, predicts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

import lesionlens

ROOT = Path(__file__).parent.parent
SHIPPED = Path(lesionlens.__file__).parent / "models" / "lens" / "model.tflite"
LIMIT_MB = 150
#: What `python -m venv` puts there.
NOT_OURS = ("pip", "setuptools", "pkg_resources", "_distutils_hack", "distutils-precedence")

pytestmark = pytest.mark.slow

Run = Callable[..., subprocess.CompletedProcess[str]]


def pip(python: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [python, "-m", "pip", "--disable-pip-version-check", "--quiet", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    probe = pip(sys.executable, "download", "--no-deps", "--dest", str(folder / "probe"), "pip")
    if probe.returncode:
        pytest.skip(f"no package index to install from: {probe.stderr.strip()[-200:]}")
    built = pip(sys.executable, "wheel", "--no-deps", "--wheel-dir", str(folder), str(ROOT))
    assert built.returncode == 0, built.stderr
    (path,) = folder.glob("lesionlens-*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of an environment that has the wheel and what it depends on."""
    folder = tmp_path_factory.mktemp("elsewhere")
    venv.create(folder / "env", with_pip=True)
    bin_folder = folder / "env" / ("Scripts" if os.name == "nt" else "bin")
    done = pip(str(bin_folder / "python"), "install", str(wheel))
    assert done.returncode == 0, done.stderr
    return bin_folder


@pytest.fixture
def run(installed: Path, tmp_path: Path) -> Run:
    """Run a program of that environment in a folder that has nothing to do with this tree."""
    environment = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("LESIONLENS_", "PYTHON", "VIRTUAL_ENV"))
    }

    def run(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(installed / program), *arguments],
            cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip

    return run


def test_the_wheel_holds_the_package_and_its_licences_and_no_images(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert "lesionlens/py.typed" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert any(name.endswith("LICENSE-MODEL") for name in names)
    drawn = "lesionlens/app/assets/"  # by docs/draw_learn.py and docs/draw_assets.py
    ends = (".jpg", ".jpeg", ".csv", ".h5", ".keras", ".npy")
    stray = [name for name in names if name.endswith(ends) and not name.startswith(drawn)]
    assert not stray
    assert not [name for name in names if name.startswith(("tests/", "benchmarks/"))]


def test_the_base_install_is_small_and_has_no_tensorflow(run: Run) -> None:
    listed = run("python", "-m", "pip", "list", "--format", "json").stdout
    names = {package["name"].lower().replace("-", "_") for package in json.loads(listed)}
    assert {"lesionlens", "numpy", "pillow", "ai_edge_litert", "typer"} <= names
    assert not names & {"tensorflow", "tensorflow_cpu", "keras", "scipy", "matplotlib", "pandas"}
    where = run("python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").stdout
    packages = Path(where.strip()).iterdir()
    own = [path for path in packages if not path.name.startswith(NOT_OURS)]
    files = [file for path in own for file in (path.rglob("*") if path.is_dir() else [path])]
    sizes = {file: file.stat().st_size / 1e6 for file in files if file.is_file()}
    bytecode = sum(size for file, size in sizes.items() if file.suffix == ".pyc")
    megabytes = sum(sizes.values()) - bytecode
    print(f"\ninstalled: {megabytes:.0f} MB, and {bytecode:.0f} MB of bytecode that Python wrote")
    assert megabytes < LIMIT_MB


def test_both_ways_to_start_it_say_the_version(run: Run) -> None:
    for command in (("lesionlens",), ("python", "-m", "lesionlens")):
        done = run(*command, "--version")
        assert done.stdout == f"lesionlens {lesionlens.__version__}\n", done.stderr


def test_a_verb_without_its_extra_names_the_pip_install(run: Run) -> None:
    done = run("lesionlens", "train", ".")
    assert done.returncode == 2
    assert "pip install 'lesionlens[train]'" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.skipif(not SHIPPED.is_file(), reason="this tree ships no model yet")
def test_it_predicts_with_the_shipped_model_from_any_folder(
    run: Run, phantom_jpeg: Path, tmp_path: Path
) -> None:
    for command in (("lesionlens",), ("python", "-m", "lesionlens")):
        done = run(*command, "predict", phantom_jpeg.name, "--format", "json")
        assert done.returncode == 0, done.stderr
        (answer,) = json.loads(done.stdout)
        assert answer["file"] == phantom_jpeg.name
        assert set(answer["probabilities"]) == {"BCC", "SCC", "Normal"}
        assert abs(sum(answer["probabilities"].values()) - 1) < 1e-6
    done = run("lesionlens", "demo")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "demo" / "report.html").is_file()
