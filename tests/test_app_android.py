"""The Android app: what is shipped is enough, what Flet reads of our configuration is what we mean.

No phone and no Flutter here: that is .github/workflows/android.yml. Here the app runs on this
machine in an environment that has what a phone has and nothing else, and Flet's own builder reads
our configuration up to the point where it would call Flutter.
"""

from __future__ import annotations

import ast
import base64
import importlib.util
import io
import itertools
import json
import os
import shutil
import subprocess
import sys
import tomllib
import venv
import zipfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import lesionlens
from lesionlens.classifier import Classifier
from lesionlens.phantoms import draw
from lesionlens.runtime import RUNTIMES

ROOT = Path(__file__).parent.parent
SRC = ROOT / "src"
CONFIGURATION = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
FLET = CONFIGURATION["tool"]["flet"]
#: What `flet build` is told to bundle, here and in the workflow; wheels of tflite-runtime exist for
#: 3.12 to 3.14, and 3.12 is the oldest: what it can read, the others can.
PYTHON = (3, 12)
#: What may be imported on the phone, beside the standard library and ourselves.
WHEELS = {"numpy", "PIL", "flet", "flet_camera", "flet_permission_handler", "reportlab"}
#: Imported by what only a server calls; that no phone loads it is asked of the app as it runs.
SERVER_ONLY = {"lesionlens/app/door.py": {"starlette"}}


def shipped(path: Path) -> bool:
    """Whether a file below src/ goes into the app."""
    relative = path.relative_to(SRC)
    return not any(relative.is_relative_to(excluded) for excluded in FLET["app"]["exclude"])


def module_file(name: str) -> Path | None:
    path = SRC.joinpath(*name.split("."))
    for file in (path.with_suffix(".py"), path / "__init__.py"):
        if file.is_file():
            return file
    return None


def imported_by(path: Path) -> Iterator[str]:
    """Every import of a file, wherever it stands, but those for the type checker only."""
    waiting: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif not (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)):
            waiting.extend(ast.iter_child_nodes(node))


def needed_by_the_app() -> dict[Path, str]:
    """Every file of ours that the app may ever import, and who does."""
    screens = (SRC / "lesionlens/app/screens").glob("*.py")  # by name, as their routes are gone to
    waiting = {SRC / "main.py": "", **dict.fromkeys(screens, "routes")}
    needed: dict[Path, str] = {}
    while waiting:
        path, who = waiting.popitem()
        needed[path] = who
        for name in imported_by(path):
            file = module_file(name) if name.startswith("lesionlens") else None
            if file is not None and file not in needed:
                waiting[file] = str(path.relative_to(SRC))
    return needed


# ------------------------------------------------------------------ what is shipped


def test_everything_that_the_app_imports_is_shipped() -> None:
    for path, who in needed_by_the_app().items():
        assert shipped(path), f"{path.relative_to(SRC)}: imported by {who}, left out by pyproject"


def test_the_app_imports_nothing_that_a_phone_has_not() -> None:
    runtimes = {module.split(".")[0] for _, module in RUNTIMES}
    for path in needed_by_the_app():
        allowed = WHEELS | runtimes | SERVER_ONLY.get(path.relative_to(SRC).as_posix(), set())
        for name in imported_by(path):
            top = name.split(".")[0]
            known = top in sys.stdlib_module_names or top in allowed | {"lesionlens"}
            assert known, f"{path.relative_to(SRC)} imports {name}"


def test_what_is_left_out_is_there_to_be_left_out() -> None:
    for excluded in FLET["app"]["exclude"]:
        assert (SRC / excluded).exists(), f"{excluded}: no such path; a typing error leaves all in"


def test_the_model_and_the_words_are_shipped() -> None:
    package = SRC / "lesionlens"
    for path in ("models/lens/model.tflite", "models/lens/model.json", "app/i18n/id/body.json"):
        assert (package / path).is_file()
        assert shipped(package / path)


def test_every_source_is_of_the_python_that_the_phone_has() -> None:
    for path in SRC.rglob("*.py"):
        ast.parse(path.read_text(encoding="utf-8"), str(path), feature_version=PYTHON)


def test_the_phone_gets_the_releases_that_are_tested_here() -> None:
    of_the_app = {*CONFIGURATION["project"]["optional-dependencies"]["app"]}
    of_the_phone = {*FLET["android"]["dependencies"]}
    here_only = {d for d in of_the_app if d.startswith("flet-web")}
    assert of_the_app - here_only == {d for d in of_the_phone if "tflite" not in d}


def test_the_shipped_model_has_built_in_operations_only() -> None:
    schema = pytest.importorskip("ai_edge_litert.schema_py_generated")
    content = (SRC / "lesionlens/models/lens/model.tflite").read_bytes()
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
    custom = schema.BuiltinOperator.CUSTOM
    assert model.operatorCodes
    for code in model.operatorCodes:
        assert max(code.builtinCode, code.deprecatedBuiltinCode) != custom, code.customCode


# ------------------------------------------------------------------ what Flet makes of it


def pip(python: Path | str, *arguments: str) -> None:
    command = [str(python), "-m", "pip", "--disable-pip-version-check", "--quiet", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    if done.returncode:
        pytest.skip(f"no package index to install from: {done.stderr.strip()[-200:]}")


def environment(folder: Path, *packages: str) -> Path:
    """Return the Python of a new environment that has ``packages``."""
    venv.create(folder, with_pip=True)
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    pip(python, "install", *packages)
    return python


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What `flet build apk` reads and does on a copy of the project, short of calling Flutter."""
    folder = tmp_path_factory.mktemp("flet")
    flet_version = version("flet")
    python = environment(folder / "env", f"flet-cli=={flet_version}", f"flet=={flet_version}")
    project = folder / "project"
    project.mkdir()
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, project)
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
    shutil.copytree(SRC, project / "src", symlinks=True, ignore=ignored)
    short = ".".join(map(str, PYTHON))
    manifest = folder / "manifest.json"
    release = {"full_version": f"{short}.0", "pyodide_version": "", "android_abis": ["arm64-v8a"]}
    manifest.write_text(json.dumps({"default_python_version": short, "pythons": {short: release}}))
    probe = Path(__file__).parent / "android/flet_build_probe.py"
    done = subprocess.run(
        [str(python), str(probe), str(project), str(manifest),
         "--python-version", short, "--build-version", lesionlens.__version__],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    seen: dict[str, Any] = json.loads(done.stdout)
    return seen


@pytest.mark.slow
def test_flet_builds_without_a_complaint(build: dict[str, Any]) -> None:
    assert build["exit"] == 0, build["talk"]
    assert not [line for line in build["log"] if "warning" in line.lower()]
    assert "deprecat" not in build["talk"].lower()


@pytest.mark.slow
def test_flet_reads_what_we_mean(build: dict[str, Any]) -> None:
    template = build["template"]
    assert template["product_name"] == "LesionLens"
    assert template["split_per_abi"] is True
    assert template["options"]["android_legacy_packaging"] is True
    asked = template["options"]["android_permissions"]
    assert [name for name, wanted in asked.items() if wanted] == ["android.permission.CAMERA"]
    assert not any(template["options"]["android_features"].values())  # runs without a camera, too
    screen = json.loads(base64.b64decode(template["boot_screen"]["options_b64"]))
    assert screen["bgcolor_light"] == template["splash"]["color"]
    assert screen["bgcolor_dark"] == template["splash"]["dark_color"]


@pytest.mark.slow
def test_flet_packages_what_we_mean(build: dict[str, Any]) -> None:
    (package,) = (command for command in build["commands"] if "package" in command)
    pairs = list(itertools.pairwise(package))
    wanted = {value for option, value in pairs if option == "-r"}
    (litert,) = (requirement for requirement in wanted if "litert" in requirement)
    assert 'platform_system != "Android"' in litert  # pip is told that it runs on Android
    assert any(requirement.startswith("tflite-runtime==") for requirement in wanted)
    left_out = {value for option, value in pairs if option == "--exclude"}
    assert {*FLET["app"]["exclude"]} <= left_out
    cleaned = {value for option, value in pairs if option == "--cleanup-package-files"}
    assert cleaned == {*FLET["android"]["cleanup"]["package_files"]}


@pytest.mark.slow
def test_flet_calls_flutter_for_one_apk_per_abi_with_our_version(build: dict[str, Any]) -> None:
    (flutter,) = (command for command in build["commands"] if command[0] == "flutter")
    assert flutter[1:4] == ["build", "apk", "--split-per-abi"]
    assert flutter[flutter.index("--build-name") + 1] == lesionlens.__version__
    assert flutter[flutter.index("--build-number") + 1] == str(FLET["build_number"])


@pytest.mark.slow
def test_flet_makes_icons_and_splash_screens_of_our_drawings(build: dict[str, Any]) -> None:
    made = {Path(name).name for name in build["files"]}
    assert {"ic_launcher.png", "ic_launcher_foreground.png"} <= made
    assert {"splash.png", "android12splash.png"} <= made
    assert any("night" in name for name in build["files"])  # a dark splash of its own


# ------------------------------------------------------------------ a phone's packages, here

#: A package that has the interpreter under the name it has on a phone, and hides where it is from.
STAND_IN = """
import sys
sys.path.insert(0, {hidden!r})
from ai_edge_litert.interpreter import Interpreter, OpResolverType
sys.path.remove({hidden!r})
for name in [name for name in sys.modules if name.partition(".")[0] == "ai_edge_litert"]:
    del sys.modules[name]
"""

#: What runs there. Flet's Pillow has no WebP, AVIF or colour management.
ON_THE_PHONE = """
import asyncio, io, json, sys
for name in ("_webp", "_avif", "_imagingcms"):
    sys.modules["PIL." + name] = None
import app_kit
from lesionlens.app import main  # what src/main.py imports
from lesionlens.app.engine import WHOLE
from lesionlens.app.routes import make_screen
from lesionlens.phantoms import draw
from lesionlens.runtime import load_interpreter_class
from PIL import Image
import numpy as np

said = {"callable": callable(main.run_embedded), "runtime": load_interpreter_class()[1]}
session = app_kit.make_session()
said["screens"] = {}
for route in ("/scan", "/history", "/learn", "/settings"):
    said["screens"][route] = len(list(app_kit.controls_of(make_screen(route, session))))
picture = draw("bcc", size_px=(600, 450), rng=np.random.default_rng(1))
said["verdicts"] = {}
for form in ("JPEG", "PNG"):
    stream = io.BytesIO()
    picture.save(stream, form)
    async def answer():
        photo = await session.engine.open(stream.getvalue(), "phantom")
        return await session.engine.judge(photo, WHOLE, views=3, policy="balanced", gate=False)
    found = asyncio.run(answer())
    said["verdicts"][form] = [found.prediction.verdict, found.prediction.label]
from datetime import UTC, datetime
from lesionlens.app.pdf_report import Report, make_report
from lesionlens.app.texts import Texts
overlay = asyncio.run(session.engine.draw_overlay(found))
report = Report(
    photo=found.picture, overlay=overlay, prediction=found.prediction, taken_at=datetime.now(UTC),
    model_name="lens", model_version="1", model_sha256="0" * 64, milliseconds=1.0,
    app_version="1", device="a phone", notes="a note",
)
said["pdf"] = [make_report(report, Texts(code))[:5].decode() for code in ("en", "id", "fr")]
ours = {name.partition(".")[0] for name in sys.modules}
said["unknown"] = sorted(
    ours & {"ai_edge_litert", "typer", "rich", "starlette", "uvicorn", "flet_web", "httpx",
            "matplotlib", "scipy", "tensorflow", "pygments"}
)
print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def phone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the app says where only a phone's packages are installed."""
    folder = tmp_path_factory.mktemp("phone")
    names = ("numpy", "pillow", "flet", "flet-camera", "flet-permission-handler", "reportlab")
    python = environment(folder / "env", *(f"{name}=={version(name)}" for name in names))
    where = [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    done = subprocess.run(where, capture_output=True, text=True, check=True, timeout=60)
    site = Path(done.stdout.strip())
    hidden = folder / "hidden"
    litert = f"ai-edge-litert=={version('ai-edge-litert')}"
    pip(python, "install", "--no-deps", "--target", str(hidden), litert)
    (site / "tflite_runtime").mkdir()
    (site / "tflite_runtime/__init__.py").touch()
    stand_in = STAND_IN.format(hidden=str(hidden))
    (site / "tflite_runtime/interpreter.py").write_text(stand_in, encoding="utf-8")
    for pattern in FLET["android"]["cleanup"]["package_files"]:
        for path in sorted(site.glob(pattern)):
            shutil.rmtree(path)

    app = folder / "app"
    for path in SRC.rglob("*"):  # does not follow the link src/assets, which is for Flutter's side
        if path.is_file() and shipped(path) and "__pycache__" not in path.parts:
            target = app / path.relative_to(SRC)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
    shutil.copy(ROOT / "tests/app_kit.py", app)
    (app / "on_the_phone.py").write_text(ON_THE_PHONE, encoding="utf-8")
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("LESIONLENS_", "PYTHON"))}
    done = subprocess.run(
        [str(python), str(app / "on_the_phone.py")],
        cwd=elsewhere, env=clean, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return said


@pytest.mark.slow
def test_the_app_starts_with_a_phones_packages(phone: dict[str, Any]) -> None:
    assert phone["callable"]
    assert phone["runtime"] == "tflite-runtime"
    assert len(phone["screens"]) == 4
    assert all(n_controls > 0 for n_controls in phone["screens"].values())


@pytest.mark.slow
def test_it_needs_nothing_else(phone: dict[str, Any]) -> None:
    assert not phone["unknown"], "loaded, but not on a phone, or dead weight there"


@pytest.mark.slow
def test_it_prints_a_page_there(phone: dict[str, Any]) -> None:
    assert phone["pdf"] == ["%PDF-"] * 3


@pytest.mark.slow
@pytest.mark.parametrize("form", ["JPEG", "PNG"])
def test_it_judges_a_photo_there_as_here(phone: dict[str, Any], form: str) -> None:
    stream = io.BytesIO()
    draw("bcc", size_px=(600, 450), rng=np.random.default_rng(1)).save(stream, form)
    here = Classifier(gate=False).predict(stream.getvalue(), views=3)
    assert phone["verdicts"][form] == [here.verdict, here.label]


# ------------------------------------------------------------------ what the workflow runs


def script(name: str, folder: str = "tests/android") -> ModuleType:
    """Load a script that the workflow runs."""
    path = ROOT / folder / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"android_{name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


BADGING = """\
package: name='io.github.lesionlens.lesionlens' versionCode='7' versionName='0.3.0' compileSdk='36'
minSdkVersion:'26'
targetSdkVersion:'36'
uses-permission: name='android.permission.CAMERA'
uses-permission: name='io.github.lesionlens.lesionlens.DYNAMIC_RECEIVER_NOT_EXPORTED_PERMISSION'
application-label:'LesionLens'
application-label-de:'LesionLens'
uses-feature-not-required: name='android.hardware.camera'
native-code: 'arm64-v8a'
"""
MANIFEST = """\
      E: application (line=38)
        A: http://schemas.android.com/apk/res/android:allowBackup(0x01010280)=false
        A: http://schemas.android.com/apk/res/android:usesCleartextTraffic(0x010104ec)=false
"""


def test_an_apk_as_it_should_be_has_no_faults() -> None:
    check = script("check_apk")
    badge = check.read_badge(BADGING)
    assert (badge.version, badge.min_sdk, badge.target_sdk) == ("0.3.0", 26, 36)
    assert check.faults(badge, MANIFEST, 39_000_000) == []


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("uses-feature-not", "uses-permission: name='android.permission.INTERNET'\nuses",
         "asks for android.permission.INTERNET"),
        ("uses-feature-not", "uses-permission-sdk-23: name='android.permission.RECORD_AUDIO'\nuses",
         "asks for android.permission.RECORD_AUDIO"),
        ("minSdkVersion:'26'", "minSdkVersion:'24'", "minSdk is 24"),
        ("'arm64-v8a'", "'arm64-v8a' 'x86_64'", "one of"),
        ("allowBackup(0x01010280)=false", "allowBackup(0x01010280)=true", "allowBackup is not"),
        ("usesCleartextTraffic(0x010104ec)=false", "", "usesCleartextTraffic is not"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_an_apk_is_said(old: str, new: str, fault: str) -> None:
    check = script("check_apk")
    assert old in BADGING + MANIFEST
    badge = check.read_badge(BADGING.replace(old, new))
    (said,) = check.faults(badge, MANIFEST.replace(old, new), 39_000_000)
    assert fault in said


def test_an_apk_that_is_too_large_is_refused() -> None:
    check = script("check_apk")
    (said,) = check.faults(check.read_badge(BADGING), MANIFEST, 40_100_000)
    assert said.startswith("40.1 MB")


def an_apk(path: Path, *, library: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w") as apk:
        for name, content, kind in (
            ("AndroidManifest.xml", b"manifest", zipfile.ZIP_DEFLATED),
            ("resources.arsc", b"resources", zipfile.ZIP_STORED),
            ("assets/stdlib.zip", b"code" * 5000, zipfile.ZIP_STORED),
            ("assets/flutter_assets/a.zip.txt", b"text", zipfile.ZIP_STORED),
            ("lib/arm64-v8a/libpython3.12.so", b"library" * 100, library),
            ("META-INF/CERT.RSA", b"old signature", zipfile.ZIP_DEFLATED),
        ):
            entry = zipfile.ZipInfo(name)
            entry.compress_type = kind
            apk.writestr(entry, content)
    return path


def test_flets_zips_are_compressed_in_an_apk_and_all_else_stays_as_it_was(tmp_path: Path) -> None:
    shrink = script("shrink_apk", "tools")
    before = an_apk(tmp_path / "before.apk")
    assert shrink.compress(before, tmp_path / "after.apk") == 1
    with zipfile.ZipFile(before) as old, zipfile.ZipFile(tmp_path / "after.apk") as new:
        assert [e.filename for e in old.infolist()][:-1] == [e.filename for e in new.infolist()]
        for entry in new.infolist():
            assert new.read(entry) == old.read(entry.filename)
            is_zip = entry.filename == "assets/stdlib.zip"
            kind = zipfile.ZIP_DEFLATED if is_zip else old.getinfo(entry.filename).compress_type
            assert entry.compress_type == kind
    assert (tmp_path / "after.apk").stat().st_size < before.stat().st_size / 10


def test_an_apk_whose_libraries_are_mapped_is_left_alone(tmp_path: Path) -> None:
    shrink = script("shrink_apk", "tools")
    apk = an_apk(tmp_path / "before.apk", library=zipfile.ZIP_STORED)
    with pytest.raises(ValueError, match="legacy_packaging = true"):
        shrink.compress(apk, tmp_path / "after.apk")


def test_what_is_on_a_screen_is_found_by_its_words() -> None:
    pytest.importorskip("flet")
    smoke = script("smoke")
    nodes = smoke.read_nodes(
        '<hierarchy rotation="0"><node class="android.widget.FrameLayout" text="" content-desc="" '
        'package="p" enabled="true" bounds="[0,0][1080,2220]"><node class="android.widget.Button" '
        'text="" content-desc="Scan&#10;Tab 1 of 4" package="p" enabled="true" '
        'bounds="[0,2000][270,2220]" /></node></hierarchy>'
    )
    assert nodes[1].words == ("Scan", "Tab 1 of 4")
    assert nodes[1].middle == (135, 2110)
    assert nodes[1].kind.endswith("Button")


def test_the_application_is_called_as_the_script_calls_it() -> None:
    pytest.importorskip("flet")
    smoke = script("smoke")
    assert f"{FLET['org']}.{CONFIGURATION['project']['name']}" == smoke.PACKAGE


def test_the_script_expects_a_clear_answer_to_its_picture() -> None:
    pytest.importorskip("flet")
    smoke = script("smoke")
    assert smoke.answer_here(smoke.phantom()) == smoke.texts(
        "verdict.confident", label=smoke.texts("label.BCC.inside")
    )


def test_the_workflow_builds_with_the_versions_that_are_tested_here() -> None:
    workflow = (ROOT / ".github/workflows/android.yml").read_text(encoding="utf-8")
    assert f'PYTHON_VERSION: "{PYTHON[0]}.{PYTHON[1]}"' in workflow
    assert f"flet=={version('flet')}" in FLET["android"]["dependencies"]
    assert f'FLET_VERSION: "{version("flet")}"' in workflow
    assert f"api: {FLET['android']['min_sdk_version']}," in workflow
