"""Icon and splash: as they are drawn, in the colours of the app, inside what a phone shows."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tarfile
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parent.parent
ASSETS = ROOT / "src/lesionlens/app/assets"
FLET = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["flet"]


def load_draw_assets() -> ModuleType:
    spec = importlib.util.spec_from_file_location("draw_assets", ROOT / "docs/draw_assets.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


draw_assets = load_draw_assets()
DRAWN = draw_assets.draw_all()


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert("RGBA")).astype(int)


def reach(image: Image.Image) -> float:
    """How far from the middle there is anything to see, as a share of half the width."""
    rows, columns = np.nonzero(pixels(image)[..., 3] > 8)
    half = image.width / 2
    return float(np.hypot(rows + 0.5 - half, columns + 0.5 - half).max() / half)


@pytest.mark.parametrize("name", DRAWN)
def test_a_committed_asset_is_what_is_drawn(name: str) -> None:
    committed = pixels(Image.open(ASSETS / name))
    drawn = pixels(DRAWN[name])
    assert committed.shape == drawn.shape
    # Other releases of Pillow may round the reduction otherwise, by a step.
    assert np.abs(committed - drawn).max() <= 2, "make assets"


def test_drawing_twice_gives_the_same() -> None:
    for name, image in draw_assets.draw_all().items():
        assert image.tobytes() == DRAWN[name].tobytes()


def test_a_launcher_cuts_nothing_off_the_icon() -> None:
    assert reach(DRAWN["icon_android.png"]) <= draw_assets.ADAPTIVE_SAFE
    assert reach(DRAWN["icon_android.png"]) > 0.5 * draw_assets.ADAPTIVE_SAFE  # and it is no speck


@pytest.mark.parametrize("name", ["splash_android.png", "splash_dark_android.png"])
def test_android_12_cuts_nothing_off_the_splash(name: str) -> None:
    assert reach(DRAWN[name]) <= draw_assets.SPLASH_SAFE


def contrast(one: str, other: str) -> float:
    """The contrast of two colours, https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio."""

    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return float(np.dot((0.2126, 0.7152, 0.0722), linear))

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_the_mark_stands_out_from_what_is_behind_it() -> None:
    assert contrast(draw_assets.BLADES, draw_assets.TEAL) >= 4.5
    assert contrast(draw_assets.TEAL, draw_assets.SPLASH_LIGHT) >= 4.5
    assert contrast(draw_assets.BLADES, draw_assets.SPLASH_DARK) >= 4.5
    assert contrast(draw_assets.SPOT, draw_assets.SKIN) >= 3


def test_builder_app_and_drawings_have_the_same_colours() -> None:
    theme: Any = pytest.importorskip("lesionlens.app.theme", reason="needs the extra app")
    teal, light_teal = theme.ROLES["primary"]
    light, dark = theme.ROLES["surface"]
    screen = FLET["boot_screen"]["flet"]
    assert draw_assets.TEAL == FLET["android"]["adaptive_icon_background"] == teal
    assert draw_assets.SPLASH_LIGHT == FLET["splash"]["color"] == screen["bgcolor_light"] == light
    assert draw_assets.SPLASH_DARK == FLET["splash"]["dark_color"] == screen["bgcolor_dark"] == dark
    assert (screen["spinner_color_light"], screen["spinner_color_dark"]) == (teal, light_teal)


def test_the_builder_finds_the_assets_beside_the_entry() -> None:
    beside = ROOT / "src/assets"
    assert beside.is_symlink(), "check out with symbolic links (Windows: core.symlinks)"
    assert beside.resolve() == ASSETS.resolve()
    assert (ROOT / FLET["app"]["path"] / f"{FLET['app']['module']}.py").is_file()


@pytest.mark.slow
def test_the_source_archive_holds_the_assets_once_despite_the_link(tmp_path: Path) -> None:
    pytest.importorskip("build", reason="needs the extra dev")
    command = [sys.executable, "-m", "build", "--sdist", "--outdir", str(tmp_path), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    if "No matching distribution" in done.stdout + done.stderr:
        pytest.skip("no package index to install the build backend from")
    assert done.returncode == 0, done.stdout + done.stderr
    (archive,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive) as files:
        names = [name.partition("/")[2] for name in files.getnames()]
    assert names.count("src/lesionlens/app/assets/icon.png") == 1
    assert not [name for name in names if name.startswith("src/assets")]
