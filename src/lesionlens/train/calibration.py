"""What turns logits into answers: temperatures and the threshold of ``confident``.

Fitted on images the model was not trained on: the validation part, or out-of-fold predictions.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lesionlens.confidence import choose_confident_at, combine, fit_temperature
from lesionlens.files import read_json, write_json
from lesionlens.labels import IN_SCOPE, Label
from lesionlens.records import Frame

#: The share of confident answers that has to be right, other lesions counted as half of what is
#: shown (see ``_confident_at``).
CONFIDENT_PRECISION = 0.9


@dataclass(frozen=True)
class Calibration:
    """What turns logits into answers; fitted on images the model was not trained on."""

    temperature: dict[int, float]  # number of views -> T
    confident_at: float  # joint probability
    fitted_on: str  # which images, in words

    def save(self, path: Path) -> None:
        """Write as JSON."""
        write_json(path, dataclasses.asdict(self))

    @classmethod
    def load(cls, path: Path) -> Calibration:
        """Read what ``save`` wrote."""
        values = read_json(path)
        temperature = {int(views): float(t) for views, t in values["temperature"].items()}
        return cls(temperature, float(values["confident_at"]), str(values["fitted_on"]))


def calibrate(
    logits: Mapping[int, np.ndarray],
    frames: Sequence[Frame],
    labels: Sequence[Label],
    fitted_on: str,
) -> Calibration:
    """Fit a temperature per number of views, and the threshold of ``confident``.

    The temperature makes the three-class answer likeliest on the images that are one of the
    three; the threshold is chosen on the joint probabilities at the largest number of views.

    Args:
        logits: number of views -> (N, K), of images the model was not trained on.
        frames: the N images.
        labels: the K outputs; the three of the answer first.
        fitted_on: which images these are, in words.
    """
    truth = np.array([frame.label for frame in frames], dtype=object)
    is_in_scope = np.isin(truth, np.array(IN_SCOPE, dtype=object))
    index = np.array([IN_SCOPE.index(label) for label in truth[is_in_scope]])
    temperature = {
        views: fit_temperature(values[is_in_scope][:, : len(IN_SCOPE)], index)
        for views, values in logits.items()
    }
    most = max(logits)
    joint = combine(logits[most][:, None, :], temperature[most])
    return Calibration(temperature, _confident_at(joint, truth, labels), fitted_on)


def _confident_at(joint: np.ndarray, truth: np.ndarray, labels: Sequence[Label]) -> float:
    """Choose the threshold with as many images of other lesions as of the three.

    Archives hold ten times as many nevi as carcinomas, a clinic's screening camera some other
    share; one half is a stated convention. Where there are more others than that, evenly
    spaced ones of the order of their probability are taken, so that nothing is left to chance.
    """
    is_in_scope = np.isin(truth, np.array(IN_SCOPE, dtype=object))
    others = np.flatnonzero(~is_in_scope)
    n_others = min(len(others), int(is_in_scope.sum()))
    order = others[np.argsort(joint[others, : len(IN_SCOPE)].max(1), kind="stable")]
    spaced = order[np.linspace(0, len(order) - 1, n_others).round().astype(int)] if n_others else []
    chosen = np.concatenate([np.flatnonzero(is_in_scope), np.asarray(spaced, int)])
    return choose_confident_at(
        joint[chosen], labels, list(truth[chosen]), precision=CONFIDENT_PRECISION
    )
