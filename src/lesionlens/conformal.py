"""Prediction sets: which of BCC, SCC and Normal an image may be, with a guarantee per class.

Class-conditional ("Mondrian") split conformal prediction: an image's set holds each class
whose probability is no lower than that of all but the lowest few held-out images of that very
class. Of images of a class, whatever its prevalence, at least the asked share then keep the
class in their set, if they come from where the held-out ones did (Vovk, Gammerman and Shafer
2005, *Algorithmic Learning in a Random World*, section 4.5;
Vovk 2012, https://proceedings.mlr.press/v25/vovk12.html).

The probabilities are joint ones, over all outputs of the network. A set may therefore be empty:
the image is like no class that the model answers with.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lesionlens.errors import DataError
from lesionlens.labels import IN_SCOPE, Label

#: A threshold that every probability reaches: too few held-out images to leave anything out.
ALWAYS = 0.0


@dataclass(frozen=True)
class ConformalSets:
    """Held-out scores per class, from which sets of any coverage can be made.

    Raises:
        DataError: a class is missing or has no score, or a score is no probability.
    """

    scores: Mapping[Label, tuple[float, ...]]  # joint probability of the true class, ascending

    def __post_init__(self) -> None:
        """Check the scores and put them in order."""
        ordered: dict[Label, tuple[float, ...]] = {}
        for label in IN_SCOPE:
            values = tuple(sorted(float(value) for value in self.scores.get(label, ())))
            if not values:
                raise DataError(f"conformal scores: none for {label}; each of the three needs some")
            if not all(0 <= value <= 1 for value in values):
                raise DataError(f"conformal scores: {label} has some that are not within 0..1")
            ordered[label] = values
        object.__setattr__(self, "scores", ordered)

    def thresholds(self, coverage: float) -> np.ndarray:
        """Return the joint probability from which each class belongs to a set.

        Of n held-out scores the k-th lowest, with k = floor((1 - coverage) (n + 1)): then a new
        image of the class falls below it with probability at most 1 - coverage, for any n.

        Args:
            coverage: share of the images of each class whose set is to hold the class, within
                0..1, both excluded.

        Returns:
            (3,) float64 in the order of ``IN_SCOPE``; ``ALWAYS`` where n is too small.

        Raises:
            DataError: ``coverage`` out of range.
        """
        check_coverage(coverage)
        found = []
        for label in IN_SCOPE:
            values = self.scores[label]
            # The tiny addition makes 0.1 * 10 one and not a hair less.
            k = math.floor((1 - coverage) * (len(values) + 1) + 1e-9)
            found.append(values[k - 1] if k >= 1 else ALWAYS)
        return np.array(found)

    def p_values(self, joint_in_scope: np.ndarray) -> np.ndarray:
        """Return how usual each class's probability is among held-out images of that class.

        Args:
            joint_in_scope: (..., 3), joint probabilities of BCC, SCC and Normal.

        Returns:
            (..., 3) float64 in 1/(n+1)..1: (1 + held-out scores no higher) / (n + 1). The set at
            coverage c holds the classes whose value exceeds 1 - c.
        """
        values = _finite(joint_in_scope)
        columns = []
        for column, label in enumerate(IN_SCOPE):
            scores = np.array(self.scores[label])
            n_no_higher = np.searchsorted(scores, values[..., column], side="right")
            columns.append((1 + n_no_higher) / (len(scores) + 1))
        return np.stack(columns, axis=-1)

    def sets(self, joint_in_scope: np.ndarray, coverage: float) -> np.ndarray:
        """Return which classes belong to the set of each image.

        Args:
            joint_in_scope: (..., 3), joint probabilities of BCC, SCC and Normal.
            coverage: as for ``thresholds``.

        Returns:
            (..., 3) bool.

        Raises:
            DataError: ``coverage`` out of range.
        """
        values = _finite(joint_in_scope)
        found: np.ndarray = values >= self.thresholds(coverage)
        return found


def _finite(joint: np.ndarray) -> np.ndarray:
    values = np.asarray(joint, dtype=np.float64)
    if np.isnan(values).any():
        raise DataError("prediction sets: some probabilities are not numbers")
    return values


def check_coverage(coverage: float) -> float:
    """Return ``coverage`` if sets can be made for it.

    Raises:
        DataError: not within 0..1, both excluded.
    """
    if not 0 < coverage < 1:
        raise DataError(f"coverage: must be above 0 and below 1, such as 0.9, not {coverage!r}")
    return coverage


def fit_conformal(joint_in_scope: np.ndarray, y_true: Sequence[Label]) -> ConformalSets:
    """Collect the scores of held-out images.

    Args:
        joint_in_scope: (N, 3), calibrated joint probabilities of images that the model was not
            trained on; rows of other labels are left out.
        y_true: the N true labels.

    Raises:
        DataError: shapes that do not match, or a class without images.
    """
    values = np.asarray(joint_in_scope, dtype=np.float64)
    if values.shape != (len(y_true), len(IN_SCOPE)):
        raise DataError(
            f"conformal scores: need probabilities (N, {len(IN_SCOPE)}) and N labels, "
            f"got {values.shape} and {len(y_true)}"
        )
    return ConformalSets(
        {
            label: tuple(
                float(row[column])
                for row, truth in zip(values, y_true, strict=True)
                if truth == label
            )
            for column, label in enumerate(IN_SCOPE)
        }
    )
