"""What turns logits into answers: temperatures, scores for prediction sets, thresholds.

Fitted on images the model was not trained on: the validation part, or out-of-fold predictions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lesionlens.bundle import Policy
from lesionlens.confidence import choose_confident_at, combine, fit_temperature, judge
from lesionlens.conformal import ConformalSets, fit_conformal
from lesionlens.errors import TrainingError
from lesionlens.files import read_json, write_json
from lesionlens.labels import IN_SCOPE, Label
from lesionlens.records import Frame
from lesionlens.verdicts import COVERAGE, SCOPE_COVERAGE

#: The share of confident answers that has to be right, images of other things counted as half of
#: what is shown (see ``_confident_at``).
CONFIDENT_PRECISION = 0.9
#: Increased whenever calibration.json holds other things.
_FORMAT = 3


@dataclass(frozen=True)
class Judged:
    """Answers to N images, and what is said about them."""

    joint: np.ndarray  # (N, K) calibrated joint probabilities
    sets: np.ndarray  # (N, 3) bool
    verdicts: list[str]  # N


@dataclass(frozen=True)
class Calibration:
    """What turns logits into answers; fitted on images the model was not trained on."""

    temperature: dict[int, float]  # number of views -> T
    conformal: dict[int, ConformalSets]  # number of views -> held-out scores
    policies: dict[str, Policy]
    fitted_on: str  # which images, in words

    def judge(
        self, logits: np.ndarray, labels: Sequence[Label], *, views: int, policy: str
    ) -> Judged:
        """Judge answers to images that this was not fitted on.

        Args:
            logits: (N, K), averaged over ``views`` views.
            labels: the K outputs.
            views: one of those this was fitted for.
            policy: one of ``verdicts.POLICIES``.
        """
        joint = combine(logits[:, None, :], self.temperature[views])
        chosen = self.policies[policy]
        scores, conformal = _in_scope(joint, labels), self.conformal[views]
        sets = conformal.sets(scores, chosen.coverage)
        wider = conformal.sets(scores, chosen.scope_coverage)
        return Judged(joint, sets, judge(joint, labels, sets, wider, chosen.confident_at[views]))

    def save(self, path: Path) -> None:
        """Write as JSON."""
        content = {
            "format": _FORMAT,
            "fitted_on": self.fitted_on,
            "temperature": self.temperature,
            "policies": {
                name: {
                    "coverage": policy.coverage,
                    "scope_coverage": policy.scope_coverage,
                    "confident_at": policy.confident_at,
                }
                for name, policy in self.policies.items()
            },
            "conformal": {
                views: {label.value: values for label, values in sets.scores.items()}
                for views, sets in self.conformal.items()
            },
        }
        write_json(path, content)

    @classmethod
    def load(cls, path: Path) -> Calibration:
        """Read what ``save`` wrote.

        Raises:
            TrainingError: an earlier version wrote it.
        """
        content = read_json(path)
        if content.get("format") != _FORMAT:
            raise TrainingError(
                f"{path}: was written by another version of lesionlens; delete it and the tables "
                "beside it and train again: the trained network is kept"
            )
        return cls(
            temperature={int(views): float(t) for views, t in content["temperature"].items()},
            conformal={
                int(views): ConformalSets({Label(name): tuple(v) for name, v in scores.items()})
                for views, scores in content["conformal"].items()
            },
            policies={
                name: Policy(
                    float(values["coverage"]),
                    float(values["scope_coverage"]),
                    {int(views): float(at) for views, at in values["confident_at"].items()},
                )
                for name, values in content["policies"].items()
            },
            fitted_on=str(content["fitted_on"]),
        )


def calibrate(
    logits: Mapping[int, np.ndarray],
    frames: Sequence[Frame],
    labels: Sequence[Label],
    fitted_on: str,
) -> Calibration:
    """Fit, for each number of views, a temperature, scores for sets, and thresholds.

    The temperature makes the three-class answer likeliest on the images that are one of the
    three; sets and thresholds are of the joint probabilities that it gives.

    Args:
        logits: number of views -> (N, K), of images the model was not trained on.
        frames: the N images.
        labels: the K outputs; the three of the answer first.
        fitted_on: which images these are, in words.
    """
    truth = np.array([frame.label for frame in frames], dtype=object)
    is_in_scope = np.isin(truth, np.array(IN_SCOPE, dtype=object))
    index = np.array([IN_SCOPE.index(label) for label in truth[is_in_scope]])
    temperature, conformal = {}, {}
    confident_at: dict[str, dict[int, float]] = {name: {} for name in COVERAGE}
    for views, values in logits.items():
        temperature[views] = fit_temperature(values[is_in_scope][:, : len(IN_SCOPE)], index)
        joint = combine(values[:, None, :], temperature[views])
        scores = _in_scope(joint, labels).round(6)
        conformal[views] = fit_conformal(scores[is_in_scope], list(truth[is_in_scope]))
        for name, coverage in COVERAGE.items():
            sets = conformal[views].sets(scores, coverage)
            confident_at[name][views] = _confident_at(joint, truth, labels, sets)
    policies = {
        name: Policy(COVERAGE[name], SCOPE_COVERAGE[name], confident_at[name]) for name in COVERAGE
    }
    return Calibration(temperature, conformal, policies, fitted_on)


def _in_scope(joint: np.ndarray, labels: Sequence[Label]) -> np.ndarray:
    return joint[:, [list(labels).index(label) for label in IN_SCOPE]]


def _confident_at(
    joint: np.ndarray, truth: np.ndarray, labels: Sequence[Label], sets: np.ndarray
) -> float:
    """Choose the threshold with as many images of other things as of the three.

    Archives hold ten times as many nevi as carcinomas, a clinic's screening camera some other
    share; one half is a stated convention. Where there are more others than that, evenly
    spaced ones of the order of their probability are taken, so that nothing is left to chance.
    """
    is_in_scope = np.isin(truth, np.array(IN_SCOPE, dtype=object))
    others = np.flatnonzero(~is_in_scope)
    n_others = min(len(others), int(is_in_scope.sum()))
    order = others[np.argsort(_in_scope(joint, labels)[others].max(1), kind="stable")]
    spaced = order[np.linspace(0, len(order) - 1, n_others).round().astype(int)] if n_others else []
    chosen = np.concatenate([np.flatnonzero(is_in_scope), np.asarray(spaced, int)])
    return choose_confident_at(
        joint[chosen],
        labels,
        list(truth[chosen]),
        sets=sets[chosen],
        precision=CONFIDENT_PRECISION,
    )
