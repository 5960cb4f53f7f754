"""``lesionlens doctor``: is this installation whole, and how fast is it here."""

from __future__ import annotations

import json
import os
import platform
import shutil
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer

from lesionlens import __version__
from lesionlens.cli.options import ModelOption

#: Packages that an extra brings, by the name they are imported under; a verb needs them all.
EXTRAS: dict[str, tuple[str, ...]] = {
    "data": ("httpx", "isic_metadata", "skimage", "scipy"),
    "report": ("matplotlib", "jinja2"),
    "train": ("tensorflow", "keras", "cv2"),
    "app": ("flet", "flet_web", "flet_camera", "flet_permission_handler", "reportlab"),
    "desktop": ("flet_desktop",),
    "bulk": ("pyarrow",),
    "dicom": ("pydicom", "highdicom", "pylibjpeg", "rle"),
    "serve": ("fastapi", "uvicorn", "python_multipart", "prometheus_client"),
}
#: Less free disk than this is worth a warning: an archive of 10,000 frames has about 1 GB.
_LOW_DISK_BYTES = 1_000_000_000
_SELF_TEST_REPEATS = 15


@dataclass(frozen=True)
class Check:
    """One line of the screen."""

    name: str
    state: str  # "ok", "absent" (an option, not here), "warning" or "broken"
    found: str  # what was found, in a phrase
    cure: str = ""  # what to do about it, empty where nothing


def doctor(
    model: ModelOption = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="The same as JSON, for a bug report or a script.")
    ] = False,
) -> None:
    """Check the installation: versions, extras, the model and its hash, speed, free disk.

    Exits 1 if something is broken and says what to do about it. An extra that is not
    installed is not broken. Reads nothing but the installation and sends nothing anywhere.

    **Examples**

        lesionlens doctor

        lesionlens doctor --json > doctor.json

        lesionlens doctor --model runs/mine/bundle
    """
    checks = [_check_python(), *_check_packages(), *_check_extras(), *_check_model(model)]
    checks += [_check_disk(), _check_machine()]
    is_broken = any(check.state == "broken" for check in checks)
    if as_json:
        content = {"ok": not is_broken, "checks": [asdict(check) for check in checks]}
        typer.echo(json.dumps(content, indent=2, ensure_ascii=False))
    else:
        _show(checks, is_broken=is_broken)
    if is_broken:
        raise typer.Exit(1)


def _check_python() -> Check:
    found = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    return Check("python", "ok", found)


def _check_packages() -> list[Check]:
    checks = [Check("lesionlens", "ok", f"{__version__} in {Path(__file__).parents[1]}")]
    for package in ("numpy", "pillow", "typer", "rich"):
        found = _version_of(package)
        cure = "" if found else "pip install --force-reinstall lesionlens"
        checks.append(Check(package, "ok" if found else "broken", found or "not installed", cure))
    return checks


def _check_extras() -> list[Check]:
    checks = []
    for extra, modules in EXTRAS.items():
        missing = [module for module in modules if find_spec(module) is None]
        if missing:
            cure = f"pip install 'lesionlens[{extra}]' where you need it"
            checks.append(
                Check(f"[{extra}]", "absent", f"not installed: {', '.join(missing)}", cure)
            )
        else:
            named = ", ".join(_named_versions(modules))
            checks.append(Check(f"[{extra}]", "ok", named))
    return checks


def _check_model(directory: Path | None) -> list[Check]:
    """Check runtime, bundle and speed; each stands on the one before."""
    from lesionlens.bundle import load_bundle
    from lesionlens.errors import LesionLensError
    from lesionlens.runtime import load_interpreter_class

    try:
        _, runtime = load_interpreter_class()
    except LesionLensError as error:
        return [Check("runtime", "broken", str(error), "pip install ai-edge-litert")]
    checks = [Check("runtime", "ok", f"{runtime} {_version_of(runtime)}")]
    try:
        bundle = load_bundle(directory)
    except LesionLensError as error:
        cure = "give another --model" if directory else "pip install --force-reinstall lesionlens"
        return [*checks, Check("model", "broken", str(error), cure)]
    spec = bundle.spec
    found = (
        f"{spec.name} {spec.version}, {spec.precision}, {len(bundle.tflite) / 1e6:.1f} MB, "
        f"{len(spec.labels)} outputs, hash ok ({spec.sha256[:12]})"
    )
    checks += [Check("model", "ok", found), Check("model folder", "ok", str(bundle.directory))]
    try:
        found = _self_test(bundle)
    except LesionLensError as error:
        return [*checks, Check("self-test", "broken", str(error), "give another --model")]
    return [*checks, Check("self-test", "ok", found)]


def _self_test(bundle: Any) -> str:
    """Answer for a random image and return how long that takes; raise where it cannot be."""
    import io
    from statistics import median

    import numpy as np
    from PIL import Image

    from lesionlens.classifier import Classifier
    from lesionlens.errors import LesionLensError

    pixels = np.random.default_rng(0).integers(0, 256, (45, 60, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).resize((600, 450), Image.Resampling.BICUBIC).save(stream, "JPEG")
    classifier = Classifier(bundle)
    phrases = []
    for views in (1, 10):
        answers = [
            classifier.predict(stream.getvalue(), views=views) for _ in range(_SELF_TEST_REPEATS)
        ]
        total = sum(answers[0].probabilities.values())
        if abs(total - 1) > 1e-6 or any(
            a.probabilities != answers[0].probabilities for a in answers
        ):
            raise LesionLensError(
                f"the same image gave different answers, or probabilities that sum to {total:g}"
            )
        milliseconds = median(answer.elapsed_ms for answer in answers[3:])
        phrases.append(f"{milliseconds:.1f} ms with {views} view{'s' if views > 1 else ''}")
    return f"a 600 x 450 JPEG in {', '.join(phrases)}"


def _check_disk() -> Check:
    free = shutil.disk_usage(Path.cwd()).free
    found = f"{free / 1e9:,.1f} GB free under {Path.cwd()}"
    if free < _LOW_DISK_BYTES:
        return Check("disk", "warning", found, "free some before you fetch or prepare an archive")
    return Check("disk", "ok", found)


def _check_machine() -> Check:
    from lesionlens.runtime import usable_cores

    found = f"{usable_cores()} of {os.cpu_count()} cores"
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        found += f", {memory / 1e9:,.1f} GB of memory"
    return Check("machine", "ok", found)


def _version_of(distribution: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(distribution)
    except PackageNotFoundError:
        return ""


def _named_versions(modules: tuple[str, ...]) -> list[str]:
    """Return ``name version`` of each module, read from its metadata without importing it."""
    distributions = {
        "skimage": ("scikit-image",),
        "isic_metadata": ("isic-metadata",),
        "cv2": ("opencv-python-headless", "opencv-python"),
        "tensorflow": ("tensorflow-cpu", "tensorflow"),
        "rle": ("pylibjpeg-rle",),
    }
    named = []
    for module in modules:
        found = [v for name in distributions.get(module, (module,)) if (v := _version_of(name))]
        named.append(f"{module} {found[0]}" if found else module)
    return named


def _show(checks: list[Check], *, is_broken: bool) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    marks = {
        "ok": ("✓", "green"),
        "absent": ("–", "dim"),
        "warning": ("!", "yellow"),
        "broken": ("✕", "bold red"),
    }
    table = Table.grid(padding=(0, 1))
    table.add_column()
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for check in checks:
        mark, style = marks[check.state]
        found = Text(check.found, style=style if check.state != "ok" else "")
        if check.cure:
            found.append(f"\n→ {check.cure}", style="bold" if check.state == "broken" else "dim")
        table.add_row(Text(mark, style=style), Text(check.name, style="bold"), found)
    console = Console(highlight=False)
    console.print(table)
    if is_broken:
        console.print("Something is broken: see the lines marked ✕.", style="bold red")
    else:
        console.print("All is well.", style="green")
