"""Licences: ours, the model's, and those of the packages that are installed and used.

Read once and kept: what is installed does not change while the app runs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from importlib.resources import files as package_files

#: What the app is built on; what these need in turn is found in their metadata.
_ROOTS = (
    "numpy", "pillow", "ai-edge-litert", "tflite-runtime", "flet", "flet-web", "flet-desktop",
    "flet-camera", "flet-permission-handler", "reportlab",
)  # fmt: skip
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
#: Names of licence texts within a package.
_TEXT = re.compile(r"licen[cs]e|copying|notice", re.IGNORECASE)


@dataclass(frozen=True)
class Part:
    """A package that the app uses."""

    name: str
    version: str
    licence: str  # as the package names it; may be empty


@lru_cache
def own_licence() -> str:
    """Return the licence of LesionLens' code, in full."""
    return (package_files("lesionlens") / "LICENSE").read_text(encoding="utf-8")


@lru_cache
def model_licence() -> str:
    """Return the licence of the shipped weights, in full."""
    folder = package_files("lesionlens") / "models"
    return (folder / "LICENSE-MODEL").read_text(encoding="utf-8")


@lru_cache
def parts() -> tuple[Part, ...]:
    """Return the packages that are installed and used, by name.

    Empty where packages were installed without their metadata.
    """
    found: dict[str, Part] = {}
    waiting = list(_ROOTS)
    while waiting:
        name = waiting.pop().lower().replace("_", "-")
        if name in found:
            continue
        try:
            package = distribution(name)
        except PackageNotFoundError:
            continue
        found[name] = Part(package.metadata["Name"], package.version, _licence_of(package))
        for needed in package.requires or []:
            match = _NAME.match(needed)
            if match and "extra ==" not in needed:
                waiting.append(match[0])
    return tuple(found[name] for name in sorted(found))


@lru_cache
def text_of(name: str) -> str:
    """Return the licence texts that a package brings, one after the other; may be empty.

    Raises:
        KeyError: no such package.
    """
    try:
        return _texts_of(distribution(name))
    except PackageNotFoundError:
        raise KeyError(name) from None


def _licence_of(package: Distribution) -> str:
    expressions = package.metadata.get_all("License-Expression")
    if expressions:
        return str(expressions[0])
    classifiers = package.metadata.get_all("Classifier") or []
    kinds = [line for line in classifiers if line.startswith("License ::")]
    if kinds:
        return ", ".join(kind.rsplit(" :: ", maxsplit=1)[-1] for kind in kinds)
    lines = "\n".join(package.metadata.get_all("License") or []).strip().splitlines()
    return lines[0] if lines else ""


def _texts_of(package: Distribution) -> str:
    texts = []
    for file in package.files or []:
        if ".dist-info/" in str(file) and _TEXT.match(file.name):
            try:
                texts.append(file.read_text(encoding="utf-8").strip())
            except (OSError, UnicodeDecodeError):
                continue
    return "\n\n".join(texts)
