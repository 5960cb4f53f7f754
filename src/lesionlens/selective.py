"""Selective classification: how wrong the answers are that are given, as more are withheld.

An answer is withheld where the joint probability of the likeliest class is low; the threshold
``confident_at`` is a point on the curve of answered share against error (El-Yaniv and Wiener
2010), and the area below the curve (AURC, Geifman et al. 2019) judges the probability as a
whole. Twice: of images that are one of the three, and with as many other lesions among them,
whatever answer about one of those being wrong.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from lesionlens import scoring
from lesionlens.confidence import top_in_scope
from lesionlens.intervals import Metric, Scores, bootstrap, group_index
from lesionlens.labels import IN_SCOPE, Label
from lesionlens.prediction_table import PredictionTable
from lesionlens.verdicts import CONFIDENT

#: Points of a curve that are written to metrics.json.
_N_POINTS = 101


@dataclass(frozen=True, eq=False)
class RiskCoverage:
    """Error among the answers given, as a function of how many are given."""

    n: int  # images
    answered: np.ndarray  # (P,) share of images answered, ascending, ending at 1
    error: np.ndarray  # (P,) share wrong among them
    area: Metric  # AURC: mean error over all shares answered; 0 best
    confident: Metric | None  # share called confident; None: the table holds no verdicts
    confident_error: Metric | None  # share wrong among those

    def to_json(self) -> dict[str, Any]:
        """Return plain values for JSON, the curve at 101 shares or fewer."""
        wanted = np.linspace(0, 1, _N_POINTS)[1:]
        rows = np.unique(np.minimum(np.searchsorted(self.answered, wanted), self.n_points - 1))
        return {
            "n_images": self.n,
            "area": self.area.to_json(),
            "confident": self.confident and self.confident.to_json(),
            "confident_error": self.confident_error and self.confident_error.to_json(),
            "curve": {
                "answered": [round(float(share), 6) for share in self.answered[rows]],
                "error": [round(float(share), 6) for share in self.error[rows]],
            },
        }

    @property
    def n_points(self) -> int:
        """Points of the curve: one per distinct probability."""
        return len(self.answered)


@dataclass(frozen=True, eq=False)
class Selective:
    """Both curves; None where there is no image that they could be of."""

    closed: RiskCoverage | None  # images of the three classes
    half: RiskCoverage | None  # and as many of other lesions, by weight

    def summary(self) -> dict[str, Metric]:
        """Return every metric under one flat name; ``half_`` where half are other lesions."""
        flat: dict[str, Metric] = {}
        for prefix, curve in (("", self.closed), ("half_", self.half)):
            if curve is None:
                continue
            flat[f"{prefix}risk_coverage_area"] = curve.area
            if curve.confident_error is not None:
                flat[f"{prefix}confident_error"] = curve.confident_error
        if self.half is not None and self.half.confident is not None:
            flat["half_confident"] = self.half.confident  # of the closed set, judging tells it
        return flat

    def to_json(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "closed": self.closed and self.closed.to_json(),
            "half": self.half and self.half.to_json(),
        }


def evaluate_selective(
    table: PredictionTable, n_bootstrap: int, rng: np.random.Generator
) -> Selective:
    """Score what is withheld and what is not.

    Args:
        table: answers and truth; pictures of what is not skin are left out.
        n_bootstrap: replicates of whole groups.
        rng: draws them.
    """
    in_scope = table.is_in_scope
    lesions = np.array([label is not Label.NOT_SKIN for label in table.y_true])
    return Selective(
        closed=_curve(table.subset(in_scope), n_bootstrap, rng) if in_scope.any() else None,
        half=_curve(table.subset(lesions), n_bootstrap, rng)
        if in_scope.any() and (lesions & ~in_scope).any()
        else None,
    )


def _curve(table: PredictionTable, n_bootstrap: int, rng: np.random.Generator) -> RiskCoverage:
    in_scope = table.is_in_scope
    index, score = top_in_scope(table.joint, table.labels)
    is_wrong = np.array(
        [IN_SCOPE[k] is not truth for k, truth in zip(index, table.y_true, strict=True)]
    )
    is_confident = np.array([verdict == CONFIDENT for verdict in table.verdicts])

    def mix(weights: np.ndarray) -> np.ndarray:
        return weights if in_scope.all() else scoring.half_and_half(weights, in_scope)

    def scores(weights: np.ndarray) -> Scores:
        weights = mix(weights)
        found = {"area": scoring.risk_coverage_areas(weights, score, is_wrong)}
        if table.verdicts:
            answered = weights @ is_confident
            found["confident"] = scoring.ratio(answered, weights.sum(axis=1))
            found["confident_error"] = scoring.ratio(weights @ (is_confident & is_wrong), answered)
        return found

    found = bootstrap(scores, group_index(table.groups), n_bootstrap, rng)
    answered, error = scoring.risk_coverage_curve(score, is_wrong, mix(np.ones((1, len(table))))[0])
    return RiskCoverage(
        n=len(table),
        answered=answered,
        error=error,
        area=found["area"],
        confident=found.get("confident"),
        confident_error=found.get("confident_error"),
    )
