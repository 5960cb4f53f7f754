"""The base install does what needs no extra, and a verb whose extra is missing names it.

Held without another environment: an interpreter that finds none of the packages that extras
bring. That a real, empty environment does the same is held by test_packaging.
"""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

import numpy as np
import pytest

import lesionlens
import tiny_model
from lesionlens import phantoms
from lesionlens.cli.doctor import EXTRAS

ROOT = Path(__file__).parent.parent
CLI = Path(lesionlens.__file__).parent / "cli"
#: What extras bring, by the names of import.
BROUGHT = sorted({
    "httpx", "isic_metadata", "imagehash", "sklearn", "skimage", "scipy", "matplotlib", "jinja2",
    "tensorflow", "keras", "cv2", "pandas", "flet", "flet_web", "flet_camera",
    "flet_permission_handler", "flet_desktop", "reportlab", "pyarrow", "fastapi",
    "uvicorn", "python_multipart", "prometheus_client", "pydicom", "highdicom", "pylibjpeg", "rle",
})  # fmt: skip

#: Runs verbs one after the other where those packages cannot be found; prints what came of each.
PROGRAM = """
import contextlib, io, json, sys
hidden, calls = json.loads(sys.argv[1])

class Hiding:
    def __init__(self, finder):
        self.finder = finder
    def find_spec(self, name, *arguments):
        return None if name.split(".")[0] in hidden else self.finder.find_spec(name, *arguments)
    def __getattr__(self, name):
        return getattr(self.finder, name)

sys.meta_path[:] = [Hiding(finder) for finder in sys.meta_path]
from lesionlens.cli.main import app
done = []
for call in calls:
    out, err = io.StringIO(), io.StringIO()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            app(call)
        code = 0
    except SystemExit as stopped:
        code = stopped.code or 0
    done.append([code, out.getvalue(), err.getvalue()])
assert not set(hidden) & set(sys.modules)
print(json.dumps(done))
"""


@dataclass(frozen=True)
class Done:
    """What came of a call."""

    code: int
    out: str
    err: str


def run_without_extras(*calls: list[object], cwd: Path) -> list[Done]:
    texts = [[str(word) for word in call] for call in calls]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps([BROUGHT, texts])],
        cwd=cwd, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return [Done(*values) for values in json.loads(done.stdout)]


def test_every_verb_without_its_extra_names_the_pip_install(tmp_path: Path) -> None:
    calls: dict[str, list[object]] = {
        "data": ["data", "fetch", "-d", "BCC", "-o", "archive"],
        "data normals": ["data", "normals", "archive"],
        "report": ["evaluate", "predictions.csv"],
        "app": ["app"],
        "bulk": ["screen", "photos", "-o", "run"],
        "serve": ["serve"],
        "train": ["train", "archive"],
        "train export": ["export", "run", "archive"],
        "train reproduce": ["reproduce", "archive"],
    }
    for key, done in zip(calls, run_without_extras(*calls.values(), cwd=tmp_path), strict=True):
        extra = key.split()[0]
        assert done.code == 2, (key, done)
        (line,) = done.err.splitlines()
        assert re.fullmatch(
            rf"lesionlens: .+ needs \w+, which is not installed: "
            rf"pip install 'lesionlens\[{extra}\]'", line
        ), line  # fmt: skip
        assert not done.out
    assert not list(tmp_path.iterdir())


def test_what_needs_no_extra_works_without_any(tmp_path: Path) -> None:
    bundle = tiny_model.write(tmp_path / "bundle").directory
    archive = phantoms.write_archive(
        tmp_path / "archive", 6, np.random.default_rng(5), size_px=(144, 108)
    )
    photos = tmp_path / "photos" / "BCC"
    phantoms.save(phantoms.draw("bcc", size_px=(96, 72), rng=np.random.default_rng(6)),
                  photos / "a.jpg")  # fmt: skip
    truth = tmp_path / "truth.csv"
    truth.write_text("file,y_true\na.jpg,BCC\n")
    model = ["--model", bundle]
    calls: list[list[object]] = [
        ["predict", photos / "a.jpg", *model],
        ["predict", photos / "a.jpg", *model, "-o", "answers.csv"],
        ["evaluate", "answers.csv", "--truth", truth, "--no-report"],
        ["doctor", *model],
        ["data", "import", photos.parent, "-o", "imported"],
        ["data", "split", archive, "-o", "splits.json"],
        ["data", "audit", archive, "--splits", "splits.json"],
        ["data", "prepare", archive],
    ]
    results = run_without_extras(*calls, cwd=tmp_path)
    for call, done in zip(calls, results, strict=True):
        assert done.code == 0, (call, done)
    doctor = results[3].out
    for extra in EXTRAS:
        assert f"[{extra}]" in doctor
        assert f"pip install 'lesionlens[{extra}]'" in doctor


def brought_by(extra: str) -> set[str]:
    """The import names that an extra brings: its own packages and what those require."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    named: set[str] = set()
    waiting = list(extras[extra])
    while waiting:
        text = waiting.pop()
        inner = re.match(r"lesionlens\[([\w,]+)\]", text)
        if inner:
            waiting += [line for name in inner.group(1).split(",") for line in extras[name]]
        else:
            named.add(_normal(text))
    for name in list(named):
        try:
            named |= {_normal(line) for line in requires(name) or () if "extra ==" not in line}
        except PackageNotFoundError:  # an alternative for another platform
            continue
    return {
        module
        for module, distributions in packages_distributions().items()
        if named & {_normal(name) for name in distributions}
    }


def _normal(requirement: str) -> str:
    found = re.match(r"[\w.-]+", requirement)
    assert found is not None
    return found.group().lower().replace("_", "-")


@pytest.mark.parametrize("path", sorted(CLI.glob("*.py")), ids=lambda path: path.stem)
def test_what_a_verb_requires_is_brought_by_the_extra_that_it_names(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "console.require":
            _, extra, *modules = (ast.literal_eval(argument) for argument in node.args)
            missing = set(modules) - brought_by(extra)
            installed = {name for name in missing if name in packages_distributions()}
            assert not installed, f"{path.name}: [{extra}] does not bring {installed}"


@pytest.mark.parametrize("extra", sorted(EXTRAS))
def test_the_doctor_looks_for_what_the_extra_brings(extra: str) -> None:
    installed = {name for name in EXTRAS[extra] if name in packages_distributions()}
    assert installed <= brought_by(extra)
