"""Fixtures that several test files share, and the reasons for which tests are skipped."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import hypothesis
import numpy as np
import pytest
from PIL import Image

from lesionlens import phantoms

# Hypothesis's own profile for CI: the same examples every time, and no limit to what one takes,
# which a busy machine passes now and then. --hypothesis-profile=default looks for new ones.
hypothesis.settings.load_profile("ci")

# No matter of the terminal, the network and the shell that the tests are run from: where lines
# break, colours in what is compared, a proxy before servers of this machine, and, of a command
# that a script runs behind its back with `&`, that Ctrl-C is ignored.
os.environ["COLUMNS"] = "80"
for _name in ("FORCE_COLOR", "PY_COLORS", "GITHUB_ACTIONS"):  # all that Rich and Typer heed
    os.environ.pop(_name, None)
for _name in ("NO_PROXY", "no_proxy"):
    os.environ[_name] = ",".join(
        filter(None, [os.environ.get(_name), "127.0.0.1,localhost,0.0.0.0"])
    )
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs TensorFlow where there is none, and say how to get it."""
    if find_spec("tensorflow") is None:
        reason = "needs TensorFlow: pip install -e '.[train]' (make test does)"
        for item in items:
            if item.get_closest_marker("train"):
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real dermoscopy that LESIONLENS_DATA names."""
    value = os.environ.get("LESIONLENS_DATA")
    if not value:
        pytest.skip("LESIONLENS_DATA is not set: no real images to test on")
    path = Path(value)
    if not (path / "isic" / "metadata.csv").is_file():
        pytest.skip(f"LESIONLENS_DATA={value} has no isic/metadata.csv")
    return path


@pytest.fixture(scope="session")
def shipped_bundle() -> Path:
    """The folder of the model that is shipped in the package."""
    path = Path(phantoms.__file__).parent / "models" / "lens"
    if not (path / "model.tflite").is_file():
        pytest.skip("this tree ships no model yet: lesionlens export writes one")
    return path


@pytest.fixture
def rng() -> np.random.Generator:
    """A generator that starts alike in every test."""
    return np.random.default_rng(20240229)


@pytest.fixture(scope="session")
def phantom_image() -> Image.Image:
    """A drawn BCC-like lesion, 600 x 450 RGB; do not change it in place."""
    return phantoms.draw("bcc", rng=np.random.default_rng(1))


@pytest.fixture
def phantom_jpeg(phantom_image: Image.Image, tmp_path: Path) -> Path:
    """The same as a JPEG file."""
    return phantoms.save(phantom_image, tmp_path / "drawn-bcc.jpg")


@pytest.fixture(scope="session")
def drawn_archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A drawn archive, 8 frames of BCC, SCC, nevus and healthy skin each; read only."""
    root = tmp_path_factory.mktemp("drawn_archive")
    return phantoms.write_archive(root, 8, np.random.default_rng(2))


@pytest.fixture
def make_archive(tmp_path: Path) -> Callable[..., Path]:
    """A function that draws an archive of its own: ``make_archive(n_per_class=6, seed=3)``."""

    def make(n_per_class: int = 6, *, seed: int = 3, size_px: tuple[int, int] = (160, 120)) -> Path:
        rng = np.random.default_rng(seed)
        return phantoms.write_archive(tmp_path / "archive", n_per_class, rng, size_px=size_px)

    return make


@pytest.fixture
def run_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., SimpleNamespace]:
    """Run ``lesionlens ARGUMENTS`` in this process; gives code, out and err."""
    from lesionlens.cli.main import main

    def call(*arguments: object) -> SimpleNamespace:
        monkeypatch.setattr(sys, "argv", ["lesionlens", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            main()
        out, err = capsys.readouterr()
        return SimpleNamespace(code=stopped.value.code or 0, out=out, err=err)

    return call
