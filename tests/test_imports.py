"""Who may import whom, and what a cheap import may not load.

Held twice: by reading the source (every import, wherever it stands) and by asking a fresh
interpreter what it has loaded.
"""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import lesionlens

ROOT = Path(lesionlens.__file__).parent

VOCABULARY = {
    "addresses", "children", "quiet", "parallel", "labels", "records", "verdicts", "zooms",
    "errors", "files", "body_sites", "history",
}  # fmt: skip
CORE = {
    "headers", "shrinking", "imaging", "quality", "framing", "ranking", "views", "bundle",
    "confidence", "conformal", "classifier", "saliency", "render", "metrics", "open_set",
    "selective", "judging", "scoring", "intervals", "prediction_table", "phantoms", "painting",
    "scenery",
}  # fmt: skip
REPORTING = {"reporting", "figures", "charts", "tables", "pages"}

#: What each zone may import from outside the standard library, anywhere in its files.
OUTSIDE: dict[str, set[str]] = {
    "package": set(),
    "vocabulary": set(),
    "core": {"numpy", "PIL"},
    "runtime": {"numpy", "ai_edge_litert", "tflite_runtime"},
    "reporting": {"numpy", "PIL", "matplotlib", "jinja2", "markupsafe"},
    "screening": {
        "numpy", "PIL", "ray", "pyarrow", "fsspec", "aiohttp", "gcsfs", "pydicom", "highdicom",
    },
    "data": {"numpy", "PIL", "httpx", "isic_metadata", "skimage", "scipy"},
    "train": {"numpy", "PIL", "cv2", "tensorflow", "keras", "matplotlib"},
    "evidence": {"numpy", "PIL", "matplotlib", "jinja2", "skimage", "scipy"},
    "cli": {"numpy", "PIL", "typer", "rich"},
    "service": {
        "fastapi", "starlette", "pydantic", "uvicorn", "prometheus_client", "numpy", "PIL",
    },
    "app": {
        "flet", "flet_camera", "flet_desktop", "flet_permission_handler", "flet_web", "starlette",
        "uvicorn", "numpy", "PIL", "reportlab",
    },
}  # fmt: skip
#: Outside packages that may stand at the top of a file; the others belong inside functions.
LIGHT = {"numpy", "PIL", "typer"}
#: What the app is written in: it may stand on top of its files, which nothing else imports.
FLET = {"flet", "flet_camera"}
#: The same of the server for other systems.
WEB = {"fastapi", "starlette", "pydantic", "uvicorn", "prometheus_client"}
#: Never loaded by `import lesionlens` or `lesionlens --help`.
HEAVY = {
    "tensorflow", "keras", "ray", "pandas", "scipy", "sklearn", "matplotlib", "httpx", "skimage",
    "cv2", "imagehash", "isic_metadata", "jinja2", "ai_edge_litert", "flet", "pyarrow", "pydicom",
    "highdicom", "fastapi", "uvicorn", "prometheus_client",
}  # fmt: skip

FILES = sorted(ROOT.rglob("*.py"))


def module_of(path: Path) -> str:
    """``data/splits.py`` -> ``data.splits``; the package itself is ``__init__``."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def zone_of(module: str) -> str:
    head = module.split(".", maxsplit=1)[0]
    if head in ("__init__", "__main__"):
        return "package"
    if head in VOCABULARY:
        return "vocabulary"
    if head in CORE:
        return "core"
    return "reporting" if head in REPORTING else head


def imports_of(path: Path) -> Iterator[tuple[str, bool, int]]:
    """Yield every imported module, whether it is imported with the file, and the line."""
    tree = ast.parse(path.read_text(encoding="utf-8"))

    def walk(node: ast.AST, is_top: bool) -> Iterator[tuple[str, bool, int]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                yield from ((alias.name, is_top, child.lineno) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                assert child.level == 0, f"{path}:{child.lineno}: imports are absolute here"
                yield child.module or "", is_top, child.lineno
                if child.module and child.module.startswith("lesionlens"):
                    for alias in child.names:
                        yield f"{child.module}.{alias.name}", is_top, child.lineno
            elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                continue  # for the type checker only: nothing is loaded
            else:
                is_function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
                yield from walk(child, is_top and not is_function)

    yield from walk(tree, is_top=True)


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_a_file_imports_only_what_its_zone_may(path: Path) -> None:
    module = module_of(path)
    zone = zone_of(module)
    assert zone in OUTSIDE, f"{module}: belongs to no zone; give it one in this test and in DESIGN"
    for name, is_top, line in imports_of(path):
        top = name.split(".")[0]
        where = f"{path}:{line}"
        if top == "lesionlens":
            inside = name.split(".")[1:]
            target = inside[0] if inside else "__init__"
            if zone not in ("cli", "app") and module != "__main__":
                faces = {"cli", "app", "service"} - {zone}
                assert target not in faces, f"{where}: nothing imports the faces"
            if zone == "app":
                assert target not in ("train", "data", "reporting", "screening", "service"), where
            if zone == "vocabulary":
                assert target in VOCABULARY, f"{where}: vocabulary knows only itself"
            if zone == "core":
                allowed = VOCABULARY | CORE | {"runtime", "__version__", "models", "__init__"}
                assert target in allowed, f"{where}: core does not know {target}"
            if zone == "screening":
                own = VOCABULARY | CORE | {"runtime", "screening", "__version__", "__init__"}
                assert target in own, f"{where}: bulk screening does not know {target}"
            if zone == "service":
                own = VOCABULARY | CORE | {"runtime", "service", "__version__", "__init__"}
                assert target in own, f"{where}: the server does not know {target}"
            if zone == "evidence":  # models answer through the runtime: no TensorFlow
                inside = name.removeprefix("lesionlens.train.").split(".")[0]
                light = target != "train" or inside in ("calibration", "config")
                assert light, f"{where}: evidence needs nothing that trains"
            if module in ("metrics", "scoring", "prediction_table") or zone == "reporting":
                assert target not in ("classifier", "runtime", "train"), (
                    f"{where}: what scores never sees a model"
                )
        elif top not in sys.stdlib_module_names:
            assert top in OUTSIDE[zone], f"{where}: {zone} may not import {top}"
            is_face = top in FLET or (zone == "service" and top in WEB)
            if is_top and module != "train.network" and not is_face:
                assert top in LIGHT, f"{where}: import {top} inside the function that needs it"


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_only_runtime_imports_a_runtime(path: Path) -> None:
    if module_of(path) == "runtime":
        return
    for name, _, line in imports_of(path):
        assert name.split(".")[0] not in ("ai_edge_litert", "tflite_runtime"), f"{path}:{line}"


@pytest.mark.parametrize("path", sorted((ROOT / "cli").glob("*.py")), ids=module_of)
def test_verbs_are_light_until_they_run(path: Path) -> None:
    light = VOCABULARY | {"cli", "__version__", "__init__"}
    for name, is_top, line in imports_of(path):
        top, *inside = name.split(".")
        # The two page writers are themselves imported inside their verbs.
        if is_top and top == "lesionlens" and inside and path.stem != "demo_page":
            assert inside[0] in light or is_cheap(inside), f"{path}:{line}: {name} is not light"


def is_cheap(inside: list[str]) -> bool:
    """A module that imports neither numpy nor Pillow with the file."""
    path = ROOT.joinpath(*inside).with_suffix(".py")
    if not path.is_file():  # a name inside a module, checked with the module
        return len(inside) > 1 and is_cheap(inside[:-1])
    return not any(
        top and name.split(".")[0] not in sys.stdlib_module_names | {"lesionlens"}
        for name, top, _ in imports_of(path)
    )


def loaded_by(code: str) -> set[str]:
    script = f"import json, sys\n{code}\nsys.stderr.write(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    return {name.split(".")[0] for name in json.loads(done.stderr)}


RUN_HELP = """
from lesionlens.cli.main import app
try:
    app({arguments})
except SystemExit as done:
    assert not done.code, done.code
"""


def test_import_lesionlens_is_cheap() -> None:
    loaded = loaded_by("import lesionlens")
    assert not loaded & (HEAVY | {"numpy", "PIL", "typer", "rich"})


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["predict", "--help"], ["screen", "--help"], ["data", "split", "--help"]],
)
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    loaded = loaded_by(RUN_HELP.format(arguments=arguments))
    assert "typer" in loaded
    assert not loaded & HEAVY
    # pydantic: what Typer checks values with; there is none to check (cli.main._Group).
    assert not loaded & {"numpy", "PIL", "pydantic"}


#: The least that any Typer application does to show a help page in Markdown.
BARE_HELP = """
import typer
app = typer.Typer(rich_markup_mode="markdown")
@app.command(help="Say **hello**.")
def hello(name: str) -> None: ...
app(["--help"])
"""


def processor_seconds(*arguments: str) -> float:
    """Processor time of a run of Python.

    One thread that waits for nothing: on an idle machine that is its wall time, and on a busy
    one what others do does not count.
    """
    resource = pytest.importorskip("resource", reason="no processor times of children here")

    def seconds() -> float:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime

    before = seconds()
    subprocess.run([sys.executable, *arguments], capture_output=True, check=True, timeout=60)
    return seconds() - before


@pytest.mark.parametrize("arguments", [["--help"], ["predict", "--help"]], ids=" ".join)
def test_help_starts_in_under_0_3_seconds(arguments: list[str]) -> None:
    ours = floor = float("inf")
    for n_runs in range(1, 21):  # by turns, until the least of each is what it is
        ours = min(ours, processor_seconds("-m", "lesionlens", *arguments))
        if ours < 0.3:
            return
        # A slow machine: then at most twice what its tools take; 1.7 times is usual.
        floor = min(floor, processor_seconds("-c", BARE_HELP))
        if n_runs >= 4 and ours < 2 * floor:
            return
    pytest.fail(f"{ours:.2f} s; a help page of Typer's takes {floor:.2f} s")


def test_the_public_names_resolve() -> None:
    for name in lesionlens.__all__:
        assert getattr(lesionlens, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'Clasifier'"):
        lesionlens.Clasifier  # noqa: B018
