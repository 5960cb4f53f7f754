"""From logits to an answer: temperature, prediction set and verdict, fitted on other images.

In a cross-validated run a fold is judged by what was fitted on the held-out answers of the other
folds, as in the run's own out-of-fold table; in a hold-out run by what was fitted on the
validation part; a bundle by what travels in it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lesionlens.bundle import ModelSpec
from lesionlens.errors import DataError
from lesionlens.labels import Label
from lesionlens.records import Frame
from lesionlens.train.calibration import Calibration, Judged, calibrate

_CALIBRATION, _LOGITS = "calibration.json", "logits.npz"
_PREFIX, _IDS = "test_", "test_ids"


@dataclass(frozen=True)
class Judge:
    """How the logits of a model are to be understood."""

    calibration: Calibration
    labels: tuple[Label, ...]  # the K outputs
    policy: str  # one of verdicts.POLICIES

    def judge(self, logits: np.ndarray, views: int) -> Judged:
        """Judge logits (n, K), averaged over ``views`` views.

        What was fitted for so many views is taken, else for the nearest number, as in
        ``ModelSpec.temperature_for``.
        """
        fitted = self.calibration.temperature
        nearest = min(fitted, key=lambda number: (abs(number - views), number))
        return self.calibration.judge(logits, self.labels, views=nearest, policy=self.policy)


def judges_of_folds(
    folders: Sequence[Path], frames: Mapping[str, Frame], labels: tuple[Label, ...], policy: str
) -> list[Judge]:
    """Return a judge for each fold, fitted on the held-out answers of the others.

    Raises:
        DataError: logits are missing or of another number of outputs.
    """
    folds = [_held_out_logits(folder, frames, len(labels)) for folder in folders]
    judges = []
    for own in range(len(folds)):
        others = [fold for number, fold in enumerate(folds) if number != own] or folds
        numbers = set.intersection(*(set(logits) for _, logits in others))
        pooled = {n: np.concatenate([logits[n] for _, logits in others]) for n in sorted(numbers)}
        held_out = [frame for part, _ in others for frame in part]
        fitted = calibrate(pooled, held_out, labels, "the other folds")
        judges.append(Judge(fitted, labels, policy))
    return judges


def judge_of_holdout(folder: Path, labels: tuple[Label, ...], policy: str) -> Judge:
    """Return the judge of a hold-out run, fitted on its validation part.

    Raises:
        DataError: no calibration there.
        TrainingError: one that another version wrote.
    """
    return Judge(Calibration.load(folder / _CALIBRATION), labels, policy)


def judge_of_bundle(spec: ModelSpec, policy: str) -> Judge:
    """Return the judge that travels in a bundle."""
    numbers = {*spec.temperature, *spec.conformal}
    for name in spec.policies:
        numbers |= spec.policy(name).confident_at.keys()
    fitted = Calibration(
        temperature={n: spec.temperature_for(n) for n in numbers},
        conformal={n: spec.conformal_for(n) for n in numbers},
        policies={
            name: dataclasses.replace(
                chosen, confident_at={n: chosen.confident_at_for(n) for n in numbers}
            )
            for name, chosen in spec.policies.items()
        },
        fitted_on="as the bundle says",
    )
    return Judge(fitted, spec.labels, policy)


def _held_out_logits(
    folder: Path, frames: Mapping[str, Frame], n_outputs: int
) -> tuple[list[Frame], dict[int, np.ndarray]]:
    path = folder / _LOGITS
    try:
        with np.load(path) as arrays:
            ids = [str(name) for name in arrays[_IDS]]
            logits = {
                int(name.removeprefix(_PREFIX)): arrays[name]
                for name in arrays.files
                if name.startswith(_PREFIX) and name != _IDS
            }
    except (OSError, KeyError, ValueError) as error:
        raise DataError(
            f"{path}: cannot be read ({error}); lesionlens train writes it when a fold is scored"
        ) from error
    if not logits or any(values.shape != (len(ids), n_outputs) for values in logits.values()):
        raise DataError(f"{path}: does not hold {n_outputs} logits for each of its images")
    missing = [image_id for image_id in ids if image_id not in frames]
    if missing:
        raise DataError(f"{path}: holds {missing[0]}, which the archive does not have")
    return [frames[image_id] for image_id in ids], logits
