"""A model bundle: a folder with ``model.tflite`` and ``model.json``, checked on loading.

Everything that an answer needs besides the weights (labels, input size, views, temperature,
scores for prediction sets, policies) travels in ``model.json``, so that no such number is
written twice. The file carries the SHA-256 of the model: a bundle whose two files do not belong
together is refused rather than believed.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib.resources import files as package_files
from pathlib import Path
from typing import Any, NoReturn, TypeGuard, TypeVar

from lesionlens import imaging
from lesionlens.conformal import ConformalSets
from lesionlens.errors import BundleError, DataError, LesionLensError
from lesionlens.files import atomic_write, read_json, write_json
from lesionlens.labels import IN_SCOPE, Label
from lesionlens.verdicts import POLICIES
from lesionlens.zooms import MAX_VIEWS, ZOOMS

#: The version of ``model.json`` that this code writes, and the only one that it reads: 1 had no
#: prediction sets, policies and zooms.
FORMAT = 2
MODEL_FILE = "model.tflite"
SPEC_FILE = "model.json"
#: Environment variable that names another default bundle folder than the shipped one.
MODEL_VARIABLE = "LESIONLENS_MODEL"
PRECISIONS: tuple[str, ...] = ("fp16", "fp32", "int8")
#: What every metric of a bundle must say; ``value`` alone would be half the truth.
METRIC_KEYS: tuple[str, ...] = ("value", "low", "high", "n", "method")

Fitted = TypeVar("Fitted")

_CURE = "export it again (lesionlens export) or reinstall lesionlens"


@dataclass(frozen=True)
class Policy:
    """How cautiously answers are judged."""

    coverage: float  # of prediction sets, of each class, 0..1
    scope_coverage: float  # of the wider sets whose emptiness means out of scope
    confident_at: dict[int, float]  # number of views -> joint probability, above 0

    def confident_at_for(self, views: int) -> float:
        """Return the threshold fitted for ``views``, or for the nearest number of views."""
        return _nearest(self.confident_at, views)


@dataclass(frozen=True)
class ModelSpec:
    """What ``model.json`` says about the model beside it."""

    name: str  # e.g. "lens"
    version: str  # of the weights, e.g. "0.1.0"
    labels: tuple[Label, ...]  # in the order of the logits; BCC, SCC and Normal among them
    precision: str  # one of PRECISIONS: how the weights are stored
    licence: str  # of the weights, in a phrase
    conformal: dict[int, ConformalSets]  # number of views -> held-out scores
    policies: dict[str, Policy]  # one for each of verdicts.POLICIES
    temperature: dict[int, float] = field(default_factory=lambda: {1: 1.0})  # number of views -> T
    views: int = 1  # how many views an answer averages unless told, 1..10
    zooms: tuple[float, ...] = ZOOMS  # of the views, in turn
    input_px: int = imaging.INPUT_PX  # side of the square input
    resampling: str = "bilinear"  # filter of the resize
    draft_px: int = imaging.DRAFT_PX  # shortest side that a scaled JPEG decode keeps
    training: dict[str, Any] = field(default_factory=dict)  # summary: data, preset, seed, date
    metrics: dict[str, Any] = field(default_factory=dict)  # name -> {value, low, high, n, method}
    sha256: str = ""  # of model.tflite; filled in by write_bundle

    def temperature_for(self, views: int) -> float:
        """Return the temperature fitted for ``views``, or for the nearest number of views."""
        return _nearest(self.temperature, views)

    def conformal_for(self, views: int) -> ConformalSets:
        """Return the held-out scores for ``views``, or for the nearest number of views."""
        return _nearest(self.conformal, views)

    def policy(self, name: str) -> Policy:
        """Return the policy called ``name``.

        Raises:
            LesionLensError: there is none; says which there are.
        """
        if name not in self.policies:
            raise LesionLensError(f"policy {name!r}: is not one of {', '.join(self.policies)}")
        return self.policies[name]

    def as_json(self) -> dict[str, Any]:
        """Return the content of ``model.json``."""
        return {
            "format": FORMAT,
            "name": self.name,
            "version": self.version,
            "labels": [label.value for label in self.labels],
            "precision": self.precision,
            "input_px": self.input_px,
            "resampling": self.resampling,
            "draft_px": self.draft_px,
            "views": self.views,
            "zooms": list(self.zooms),
            "temperature": {str(n): self.temperature[n] for n in sorted(self.temperature)},
            "policies": {
                name: {
                    "coverage": policy.coverage,
                    "scope_coverage": policy.scope_coverage,
                    "confident_at": {str(n): p for n, p in sorted(policy.confident_at.items())},
                }
                for name, policy in self.policies.items()
            },
            "licence": self.licence,
            "training": self.training,
            "metrics": self.metrics,
            "sha256": self.sha256,
            "conformal": {
                str(n): {label.value: list(sets.scores[label]) for label in IN_SCOPE}
                for n, sets in sorted(self.conformal.items())
            },
        }


@dataclass(frozen=True)
class Bundle:
    """A loaded and checked bundle."""

    spec: ModelSpec
    directory: Path  # where it came from
    tflite: bytes = field(repr=False)  # content of model.tflite, whose hash matched


def default_directory() -> Path:
    """Return the bundle folder used when none is given.

    That is ``$LESIONLENS_MODEL`` where it is set, else the bundle shipped in the package.
    """
    override = os.environ.get(MODEL_VARIABLE)
    return Path(override) if override else Path(str(package_files("lesionlens"))) / "models/lens"


def load_bundle(directory: str | os.PathLike[str] | None = None) -> Bundle:
    """Load a bundle and check that it is whole and that this code can answer with it.

    Args:
        directory: the bundle folder; None takes ``default_directory()``.

    Raises:
        BundleError: a file is missing, the format is newer, the model is not the one that
            ``model.json`` describes, or it asks for a pixel path that this code does not have.
    """
    folder = default_directory() if directory is None else Path(directory)
    spec_path, model_path = folder / SPEC_FILE, folder / MODEL_FILE
    if not folder.is_dir():
        raise BundleError(
            f"{folder}: no such folder; a bundle has {MODEL_FILE} and {SPEC_FILE} in it, as "
            "lesionlens export writes it"
        )
    for path in (spec_path, model_path):
        if not path.is_file():
            raise BundleError(f"{path}: is missing from the bundle; {_CURE}")
    try:
        content = read_json(spec_path)
    except DataError as error:
        raise BundleError(f"{error}; {_CURE}") from error
    spec = parse_spec(content, os.fspath(spec_path))
    try:
        tflite = model_path.read_bytes()
    except OSError as error:
        raise BundleError(f"{model_path}: cannot be read ({error.strerror or error})") from error
    found = hashlib.sha256(tflite).hexdigest()
    if found != spec.sha256:
        raise BundleError(
            f"{model_path}: is not the model that {SPEC_FILE} describes (its SHA-256 starts "
            f"{found[:12]}, {spec.sha256[:12] or 'nothing'} is expected); it was damaged or "
            f"replaced: {_CURE}"
        )
    return Bundle(spec, folder, tflite)


def write_bundle(directory: str | os.PathLike[str], tflite: bytes, spec: ModelSpec) -> Bundle:
    """Write a bundle: the model first, then ``model.json`` with its hash, each atomically.

    A kill between the two over an older bundle leaves a pair that ``load_bundle`` refuses.

    Args:
        directory: the folder; made if need be.
        tflite: content of the model file.
        spec: what to say about it; ``sha256`` is filled in.

    Returns:
        The bundle as written.

    Raises:
        BundleError: ``spec`` would not load again.
        LesionLensError: the disk is full or the folder cannot be written.
    """
    folder = Path(directory)
    spec = replace(spec, sha256=hashlib.sha256(tflite).hexdigest())
    content = spec.as_json()
    parse_spec(content, os.fspath(folder / SPEC_FILE))
    with atomic_write(folder / MODEL_FILE, "wb") as file:
        file.write(tflite)
    write_json(folder / SPEC_FILE, content)
    return Bundle(spec, folder, tflite)


def parse_spec(content: Any, name: str) -> ModelSpec:
    """Return the ModelSpec of the content of a ``model.json``; unknown keys are ignored.

    Args:
        content: the parsed JSON.
        name: the file's name, for messages.

    Raises:
        BundleError: names the file, the field, and what is accepted.
    """
    if not isinstance(content, Mapping):
        raise BundleError(f"{name}: must be a JSON object; {_CURE}")
    version = content.get("format")
    if not _is_whole(version) or version < 1:
        raise BundleError(f"{name}: format is {version!r}; a whole number is needed; {_CURE}")
    if version > FORMAT:
        raise BundleError(
            f"{name}: is of format {version}, this lesionlens reads {FORMAT}: "
            "pip install --upgrade lesionlens"
        )
    if version < FORMAT:
        raise BundleError(
            f"{name}: is of format {version}, which has no prediction sets and policies; this "
            f"lesionlens reads {FORMAT}: export the run again (lesionlens export)"
        )
    reader = _Reader(content, name)
    spec = ModelSpec(
        name=reader.text("name"),
        version=reader.text("version"),
        labels=reader.labels(),
        precision=reader.text("precision"),
        licence=reader.text("licence"),
        conformal=reader.conformal(),
        policies=reader.policies(),
        temperature=reader.temperature(),
        views=reader.whole("views"),
        zooms=reader.zooms(),
        input_px=reader.whole("input_px"),
        resampling=reader.text("resampling"),
        draft_px=reader.whole("draft_px"),
        training=reader.table("training"),
        metrics=reader.metrics(),
        sha256=reader.text("sha256"),
    )
    if spec.precision not in PRECISIONS:
        reader.refuse("precision", f"one of {', '.join(PRECISIONS)}")
    if not 1 <= spec.views <= MAX_VIEWS:
        reader.refuse("views", f"1 to {MAX_VIEWS}")
    pixel_path = {
        "input_px": imaging.INPUT_PX,
        "resampling": "bilinear",
        "draft_px": imaging.DRAFT_PX,
    }
    for key, ours in pixel_path.items():
        if content[key] != ours:
            reader.refuse(key, f"{ours}, as the pixel path of this lesionlens has it")
    return spec


def _nearest(by_views: Mapping[int, Fitted], views: int) -> Fitted:
    return by_views[min(by_views, key=lambda fitted: (abs(fitted - views), fitted))]


def _is_views(key: Any) -> bool:
    return isinstance(key, str) and key.isdecimal() and 1 <= int(key) <= MAX_VIEWS


def _is_share(value: Any) -> TypeGuard[float]:
    return _is_number(value) and 0 < value < 1


def _is_whole(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


@dataclass(frozen=True)
class _Reader:
    """Takes fields out of a model.json and refuses, by name, what is not as it must be."""

    content: Mapping[str, Any]
    name: str

    def refuse(self, key: str, accepted: str) -> NoReturn:
        found = f"{key} is {self.content[key]!r}" if key in self.content else f"has no {key}"
        raise BundleError(f"{self.name}: {found}; {accepted} is needed; {_CURE}")

    def text(self, key: str) -> str:
        value = self.content.get(key)
        if not isinstance(value, str) or not value:
            self.refuse(key, "text")
        return value

    def whole(self, key: str) -> int:
        value = self.content.get(key)
        if not _is_whole(value):
            self.refuse(key, "a whole number")
        return value

    def table(self, key: str) -> dict[str, Any]:
        value = self.content.get(key)
        if not isinstance(value, Mapping):
            self.refuse(key, "an object")
        return dict(value)

    def labels(self) -> tuple[Label, ...]:
        known = ", ".join(label.value for label in Label)
        values = self.content.get("labels")
        if not isinstance(values, list) or any(v not in list(Label) for v in values):
            self.refuse("labels", f"a list out of {known}")
        labels = tuple(Label(value) for value in values)
        if len(set(labels)) != len(labels) or not set(IN_SCOPE) <= set(labels):
            self.refuse("labels", f"each label once, {', '.join(IN_SCOPE)} among them,")
        return labels

    def temperature(self) -> dict[int, float]:
        accepted = 'number of views to temperature above 0, e.g. {"1": 1.0},'
        return self._positive_by_views(self.content, "temperature", accepted)

    def zooms(self) -> tuple[float, ...]:
        values = self.content.get("zooms")
        if (
            not isinstance(values, list)
            or not 1 <= len(values) <= MAX_VIEWS
            or not all(_is_number(value) and 0 < value <= 1 for value in values)
            or values[0] != 1
        ):
            self.refuse("zooms", f"1 to {MAX_VIEWS} shares of the side above 0, the first 1,")
        return tuple(float(value) for value in values)

    def policies(self) -> dict[str, Policy]:
        table = self.table("policies")
        accepted = (
            f"{' and '.join(POLICIES)}, each with coverage and scope_coverage within 0..1 and "
            "confident_at by number of views,"
        )
        found = {}
        for name in POLICIES:
            values = table.get(name)
            if not isinstance(values, Mapping):
                self.refuse("policies", accepted)
            coverage, wider = values.get("coverage"), values.get("scope_coverage")
            if not _is_share(coverage) or not _is_share(wider):
                self.refuse("policies", accepted)
            thresholds = self._positive_by_views(values, "confident_at", accepted, of="policies")
            found[name] = Policy(float(coverage), float(wider), thresholds)
        return found

    def conformal(self) -> dict[int, ConformalSets]:
        accepted = "number of views to held-out probabilities of BCC, SCC and Normal"
        table = self.table("conformal")
        if not table or not all(_is_views(key) for key in table):
            self.refuse("conformal", accepted)
        try:
            return {
                int(key): ConformalSets(
                    {Label(name): tuple(values) for name, values in scores.items()}
                )
                for key, scores in table.items()
            }
        except (DataError, TypeError, ValueError, AttributeError) as error:
            raise BundleError(
                f"{self.name}: conformal scores cannot be used ({error}); {accepted} are needed; "
                f"{_CURE}"
            ) from error

    def _positive_by_views(
        self, content: Mapping[str, Any], key: str, accepted: str, of: str | None = None
    ) -> dict[int, float]:
        table = content.get(key)
        if (
            not isinstance(table, Mapping)
            or not table
            or not all(_is_views(k) and _is_number(v) and v > 0 for k, v in table.items())
        ):
            self.refuse(of or key, accepted)
        return {int(views): float(value) for views, value in table.items()}

    def metrics(self) -> dict[str, Any]:
        table = self.table("metrics")
        for key, metric in table.items():
            if not isinstance(metric, Mapping) or not set(METRIC_KEYS) <= set(metric):
                raise BundleError(
                    f"{self.name}: metric {key} is {metric!r}; an object with "
                    f"{', '.join(METRIC_KEYS)} is needed; {_CURE}"
                )
        return table


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
