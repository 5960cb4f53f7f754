"""A training run as a folder: one hold-out fit, or K folds and a final fit on everything.

In a cross-validated run each fold is predicted by a model that never saw it, whose best
epoch was chosen and whose temperature was fitted on a validation part cut, by group, from
the other folds. The model that ships is the final fit; what is reported of it is what the
folds' models did on the folds they had not seen.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lesionlens.data.prepare import Cache
from lesionlens.data.splits import Splits, check_splits, make_splits
from lesionlens.errors import TrainingError
from lesionlens.files import atomic_write, read_json, write_json
from lesionlens.labels import Label
from lesionlens.prediction_table import PredictionTable
from lesionlens.records import Frame
from lesionlens.runtime import Model
from lesionlens.train.calibration import Judged, calibrate
from lesionlens.train.config import TrainConfig
from lesionlens.train.curves import draw_curves
from lesionlens.train.export import convert, spread
from lesionlens.train.held_out import photos_are_good, view_logits
from lesionlens.train.inputs import Examples, select_examples
from lesionlens.train.stages import EpochLog, load_best, read_log, train_network
from lesionlens.verdicts import DEFAULT_POLICY, POOR_IMAGE

if TYPE_CHECKING:
    import keras

#: Files of a run's folder, beside those of stages.py.
CALIBRATION, CURVES, LOGITS, RUN = "calibration.json", "curves.png", "logits.npz", "run.json"
MODEL = "model.tflite"  # float32, of a model whose answers are judged
PREDICTIONS_VALIDATION = "predictions-validation.csv"
PREDICTIONS_TEST = "predictions-test.csv"
PREDICTIONS_OUT_OF_FOLD = "predictions-out-of-fold.csv"
#: The same answers, judged by each policy.
OUT_OF_FOLD_TABLES = {
    DEFAULT_POLICY: PREDICTIONS_OUT_OF_FOLD,
    "sensitive": "predictions-out-of-fold-sensitive.csv",
}
FINAL = "final"

#: Images of one class that an epoch is judged on, at most.
VALIDATION_PER_CLASS = 100


@dataclass(frozen=True)
class Material:
    """What a run learns from and is scored on."""

    frames: Mapping[str, Frame]  # image_id -> frame
    cache: Cache
    splits: Splits

    def usable(self, image_ids: Sequence[str]) -> list[Frame]:
        """Return the frames of ``image_ids`` that have been decoded."""
        return [self.frames[name] for name in image_ids if name in self.cache.row_of]

    def rows(self, frames: Sequence[Frame]) -> np.ndarray:
        """Return the row of each frame in the cache, (N,) intp."""
        return np.array([self.cache.row_of[frame.image_id] for frame in frames], np.intp)

    def examples(self, image_ids: Sequence[str], labels: Sequence[Label]) -> Examples:
        """Return those of ``image_ids`` that a model with ``labels`` can learn from."""
        return select_examples(self.usable(image_ids), self.cache.row_of, labels)


@dataclass(frozen=True)
class Hooks:
    """Where a run tells how far it is."""

    on_part: Callable[[str], None] = lambda name: None  # "fold 1 of 5", "final", ...
    on_batch: Callable[[int, int, int], None] = lambda epoch, done, total: None
    on_epoch: Callable[[EpochLog], None] = lambda row: None


def train_run(
    config: TrainConfig,
    material: Material,
    directory: Path,
    *,
    weights: str | Path | None,
    hooks: Hooks | None = None,
) -> Path:
    """Train as the splits say, and write models, logs, curves and prediction tables.

    A hold-out split gives ``best.keras``, ``predictions-validation.csv`` and
    ``predictions-test.csv``; folds give ``fold0/`` ... ``final/`` and
    ``predictions-out-of-fold.csv``. Running it again goes on where it stopped.

    Args:
        config: what to do.
        material: images, labels and splits.
        directory: the run's folder.
        weights: for ``network.build_network``.
        hooks: for progress.

    Returns:
        The prediction table to evaluate: of the test part, or out of fold.

    Raises:
        LeakageError: a group stands in two parts.
        TrainingError: see ``stages.train_network``.
    """
    hooks = hooks or Hooks()
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    check_splits(material.splits, list(material.frames.values()))
    parts = material.splits.parts
    if material.splits.kind == "holdout":
        hooks.on_part("training")
        _fit(
            config,
            material,
            parts["train"],
            parts["validation"],
            directory,
            weights=weights,
            hooks=hooks,
        )
        table = _score(config, material, parts["validation"], parts["test"], directory)
        _write_run(directory, config, material, "holdout")
        return table
    names = sorted(parts)
    for k, name in enumerate(names):
        hooks.on_part(f"fold {k + 1} of {len(names)}")
        train_fold(config, material, name, directory / name, weights=weights, hooks=hooks)
    table = _pool(config, material, [directory / name for name in names], directory)
    hooks.on_part("final fit on all folds")
    everything = [image_id for name in names for image_id in parts[name]]
    train, validation = cut_validation(everything, material, config)
    _fit(config, material, train, validation, directory / FINAL, weights=weights, hooks=hooks)
    _write_run(directory, config, material, "folds")
    return table


def train_fold(
    config: TrainConfig,
    material: Material,
    name: str,
    directory: Path,
    *,
    weights: str | Path | None,
    hooks: Hooks | None = None,
) -> Path:
    """Train on all folds but ``name`` and predict that one; returns its prediction table."""
    parts = material.splits.parts
    rest = [image_id for other in sorted(parts) if other != name for image_id in parts[other]]
    train, validation = cut_validation(rest, material, config)
    _fit(config, material, train, validation, directory, weights=weights, hooks=hooks or Hooks())
    return _score(config, material, validation, parts[name], directory)


def best_model(directory: Path) -> keras.Model:
    """Load the model of a run that is to be exported."""
    final = Path(directory) / FINAL
    return load_best(final if final.is_dir() else Path(directory))


def cut_validation(
    image_ids: Sequence[str], material: Material, config: TrainConfig
) -> tuple[list[str], list[str]]:
    """Cut a validation part of about ``config.validation_share``, stratified, by whole groups."""
    share = config.validation_share
    cut = make_splits(
        material.usable(image_ids),
        material.splits.groups,
        seed=config.seed,
        fractions=(1 - share, share, 0.0),
    )
    return list(cut.parts["train"]), list(cut.parts["validation"])


def _fit(
    config: TrainConfig,
    material: Material,
    train: Sequence[str],
    validation: Sequence[str],
    directory: Path,
    *,
    weights: str | Path | None,
    hooks: Hooks,
) -> None:
    train_network(
        config,
        material.cache.images,
        material.examples(train, config.labels),
        material.examples(_some_of_each(validation, material), config.labels),
        directory,
        weights=weights,
        on_batch=hooks.on_batch,
        on_epoch=hooks.on_epoch,
    )
    draw_curves(read_log(directory), directory / CURVES, title=f"{config.preset}: {directory.name}")


def _some_of_each(image_ids: Sequence[str], material: Material) -> list[str]:
    """Return at most ``VALIDATION_PER_CLASS`` of each class.

    The epoch is chosen by a mean over classes, to which the last thousand nevi add nothing
    but time.
    """
    by_label: dict[Label, list[str]] = {}
    for frame in material.usable(image_ids):
        by_label.setdefault(frame.label, []).append(frame.image_id)
    return [i for ids in by_label.values() for i in spread(ids, VALIDATION_PER_CLASS)]


def _score(
    config: TrainConfig,
    material: Material,
    validation: Sequence[str],
    test: Sequence[str],
    directory: Path,
) -> Path:
    """Predict validation and test parts, calibrate on the former, write both tables."""
    path = directory / PREDICTIONS_TEST
    if path.is_file():
        return path
    images = material.cache.images
    # By the runtime that answers later, four times as fast as TensorFlow: float32 logits within
    # 1e-5 of Keras' (export.py holds it to that).
    content = convert(load_best(directory), "fp32")
    with atomic_write(directory / MODEL, "wb") as file:
        file.write(content)
    model = Model(content, num_threads=1, name=str(directory))
    # Other lesions are scored even where the model has no output for them.
    validation_frames, test_frames = material.usable(validation), material.usable(test)
    validation_logits, test_logits = (
        view_logits(model, images, material.rows(frames), config)
        for frames in (validation_frames, test_frames)
    )
    calibration = calibrate(
        validation_logits, validation_frames, config.labels, "the validation part"
    )
    calibration.save(directory / CALIBRATION)
    arrays: dict[str, Any] = {f"validation_{n}": values for n, values in validation_logits.items()}
    arrays |= {f"test_{n}": values for n, values in test_logits.items()}
    arrays["test_ids"] = np.array([frame.image_id for frame in test_frames])
    with atomic_write(directory / LOGITS, "wb") as file:
        np.savez(file, **arrays)
    for name, logits, frames in (
        (PREDICTIONS_VALIDATION, validation_logits, validation_frames),
        (PREDICTIONS_TEST, test_logits, test_frames),
    ):
        judged = calibration.judge(
            logits[config.views], config.labels, views=config.views, policy=DEFAULT_POLICY
        )
        is_good = photos_are_good(material.cache, material.rows(frames))
        _table(judged, is_good, frames, material, config.labels).save(directory / name)
    return path


def _pool(
    config: TrainConfig, material: Material, folders: Sequence[Path], directory: Path
) -> Path:
    """Join the folds' answers, and calibrate for the final model on all of them.

    Each fold is judged by what was fitted on the other folds, so that no figure is of images
    that anything was fitted to.
    """
    folds: list[tuple[list[Frame], dict[int, np.ndarray]]] = []
    for folder in folders:
        with np.load(folder / LOGITS) as arrays:
            frames = [material.frames[str(name)] for name in arrays["test_ids"]]
            prefix = "test_"
            names = [name for name in arrays if name.startswith(prefix) and name != "test_ids"]
            folds.append((frames, {int(name.removeprefix(prefix)): arrays[name] for name in names}))

    def pooled(chosen: Sequence[int]) -> tuple[dict[int, np.ndarray], list[Frame]]:
        logits = {n: np.concatenate([folds[k][1][n] for k in chosen]) for n in folds[0][1]}
        return logits, [frame for k in chosen for frame in folds[k][0]]

    everyone = range(len(folds))
    all_frames = pooled(everyone)[1]
    is_good = photos_are_good(material.cache, material.rows(all_frames))
    for policy, name in OUT_OF_FOLD_TABLES.items():
        parts = []
        for k in everyone:
            others = calibrate(
                *pooled([i for i in everyone if i != k]), config.labels, "the other folds"
            )
            logits = folds[k][1][config.views]
            parts.append(others.judge(logits, config.labels, views=config.views, policy=policy))
        judged = Judged(
            np.concatenate([part.joint for part in parts]),
            np.concatenate([part.sets for part in parts]),
            [verdict for part in parts for verdict in part.verdicts],
        )
        _table(judged, is_good, all_frames, material, config.labels).save(directory / name)
    calibrate(*pooled(everyone), config.labels, "out-of-fold predictions of all folds").save(
        directory / CALIBRATION
    )
    return directory / PREDICTIONS_OUT_OF_FOLD


def _table(
    judged: Judged,
    is_good: np.ndarray,
    frames: Sequence[Frame],
    material: Material,
    labels: Sequence[Label],
) -> PredictionTable:
    verdicts = np.where(is_good, judged.verdicts, POOR_IMAGE)
    return PredictionTable(
        image_ids=tuple(frame.image_id for frame in frames),
        groups=tuple(material.splits.groups[frame.image_id] for frame in frames),
        sources=tuple(frame.source for frame in frames),
        y_true=tuple(frame.label for frame in frames),
        labels=tuple(labels),
        joint=judged.joint,
        verdicts=tuple(verdicts.tolist()),
        sets=judged.sets,
    )


def _write_run(directory: Path, config: TrainConfig, material: Material, kind: str) -> None:
    """Write what an exported model has to say about its training."""
    from datetime import UTC, datetime

    import keras
    import tensorflow as tf

    image_ids = [image_id for part in material.splits.parts.values() for image_id in part]
    frames = material.examples(image_ids, config.labels).frames
    groups: dict[Label, set[str]] = {frame.label: set() for frame in frames}
    for frame in frames:
        groups[frame.label].add(material.splits.groups[frame.image_id])
    counts = Counter(frame.label.value for frame in frames)
    sources = Counter(frame.source for frame in frames)
    summary: dict[str, Any] = {
        "kind": kind,
        "preset": config.preset,
        "seed": config.seed,
        "date": datetime.now(UTC).date().isoformat(),
        "images": dict(sorted(counts.items())),
        "groups": {label.value: len(members) for label, members in sorted(groups.items())},
        "sources": dict(sorted(sources.items())),
        "archive_sha256": material.splits.input_sha256,
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "config": config.to_json(),
    }
    write_json(directory / RUN, summary)


def read_run(directory: Path) -> dict[str, Any]:
    """Read ``run.json`` of a finished run.

    Raises:
        TrainingError: the run is not finished, or this is no run's folder.
    """
    path = Path(directory) / RUN
    if not path.is_file():
        raise TrainingError(
            f"{directory}: is not a finished run (it has no {RUN}); lesionlens train finishes it"
        )
    return read_json(path)
