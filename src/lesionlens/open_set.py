"""How a model fares when other lesions, and photos of no skin at all, are among the images.

Other *lesions* are what a clinic's camera sees beside BCC and SCC: each class is sought among
them. Pictures of what is *not skin* (``Label.NOT_SKIN``) are another matter, easier and told
apart from the lesions, lest many easy photos make the hard question look solved.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from lesionlens import scoring
from lesionlens.intervals import BOOTSTRAP, Metric, Scores, bootstrap, group_index, to_plain
from lesionlens.labels import IN_SCOPE, Label
from lesionlens.prediction_table import PredictionTable

_RANKINGS = ("roc_auc", "average_precision")


@dataclass(frozen=True, eq=False)
class OpenSet:
    """What holds when images of other lesions are among those asked about."""

    n: int  # images of the three classes and of other lesions
    n_groups: int
    n_out_of_scope: int  # images of other lesions
    n_not_skin: int  # images of what is not skin, counted in none of the above
    by_class: dict[Label, dict[str, Metric]]  # roc_auc and average_precision, joint probability
    macro: dict[str, Metric]  # their means
    scope_roc_auc: Metric  # one of the three against other lesions
    not_skin_roc_auc: Metric | None  # one of the three against what is not skin; None: none asked
    scope_brier: Metric  # of ``scope`` as a probability, as many other lesions as of the three
    scope_calibration_error: Metric  # likewise
    answers: dict[Label, dict[str, int]]  # true label -> BCC, SCC, Normal, "other" -> images

    def summary(self) -> dict[str, Metric]:
        """Return every metric under one flat name, such as ``open_roc_auc_BCC``."""
        flat = {
            "open_scope_roc_auc": self.scope_roc_auc,
            "open_scope_brier": self.scope_brier,
            "open_scope_calibration_error": self.scope_calibration_error,
        }
        if self.not_skin_roc_auc is not None:
            flat["open_not_skin_roc_auc"] = self.not_skin_roc_auc
        flat |= {f"open_{name}": metric for name, metric in self.macro.items()}
        for label, metrics in self.by_class.items():
            flat |= {f"open_{name}_{label}": metric for name, metric in metrics.items()}
        return flat

    def to_json(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "n_images": self.n,
            "n_groups": self.n_groups,
            "n_out_of_scope": self.n_out_of_scope,
            "n_not_skin": self.n_not_skin,
            "scope_roc_auc": self.scope_roc_auc.to_json(),
            "not_skin_roc_auc": self.not_skin_roc_auc and self.not_skin_roc_auc.to_json(),
            "scope_brier": self.scope_brier.to_json(),
            "scope_calibration_error": self.scope_calibration_error.to_json(),
            "macro": to_plain(self.macro),
            "by_class": {label.value: to_plain(found) for label, found in self.by_class.items()},
            "answers": {label.value: dict(row) for label, row in self.answers.items()},
        }


def evaluate_open_set(
    table: PredictionTable, n_bootstrap: int, rng: np.random.Generator
) -> OpenSet:
    """Score a table with all its images.

    Args:
        table: answers and truth.
        n_bootstrap: replicates of whole groups.
        rng: draws them.
    """
    is_not_skin = np.array([label is Label.NOT_SKIN for label in table.y_true])
    of_skin = np.flatnonzero(~is_not_skin)
    found = _score_lesions(table.subset(of_skin), n_bootstrap, rng) if len(of_skin) else {}
    in_scope = table.is_in_scope
    n_lesions, n_other = len(of_skin), int((~in_scope & ~is_not_skin).sum())
    return OpenSet(
        n=n_lesions,
        n_groups=len({table.groups[row] for row in of_skin}),
        n_out_of_scope=n_other,
        n_not_skin=int(is_not_skin.sum()),
        by_class={
            label: {
                name: found[f"{name}/{label}"]
                if label in table.y_true
                else _nothing(0, f"no image is {label}")
                for name in _RANKINGS
            }
            for label in IN_SCOPE
        },
        macro={
            f"macro_{name}": found.get(f"macro_{name}", _nothing(0, "no image is in scope"))
            for name in _RANKINGS
        },
        **{
            name: _about_scope(found.get(name), table, n_lesions, n_other)
            for name in ("scope_roc_auc", "scope_brier", "scope_calibration_error")
        },
        not_skin_roc_auc=_score_not_skin(table, is_not_skin, n_bootstrap, rng),
        answers=_answers(table),
    )


def _score_lesions(
    table: PredictionTable, n_bootstrap: int, rng: np.random.Generator
) -> dict[str, Metric]:
    in_scope = table.is_in_scope
    y_true = np.array([label.value for label in table.y_true])
    joint, scope = table.joint_in_scope, table.scope
    squared = (scope - in_scope) ** 2
    bin_of = scoring.calibration_bin_of(
        scope, weights=scoring.half_and_half(np.ones((1, len(table))), in_scope)[0]
    )

    def scores(weights: np.ndarray) -> Scores:
        found: Scores = {}
        for k, label in enumerate(IN_SCOPE):
            both = scoring.ranking_scores(weights, y_true == label.value, joint[:, k])
            found |= {f"{name}/{label}": value for name, value in zip(_RANKINGS, both, strict=True)}
        for name in _RANKINGS:
            stacked = np.column_stack([found[f"{name}/{label}"] for label in IN_SCOPE])
            found[f"macro_{name}"] = scoring.mean_over_classes(stacked)
        found["scope_roc_auc"] = scoring.ranking_scores(weights, in_scope, scope)[0]
        balanced = scoring.half_and_half(weights, in_scope)
        found["scope_brier"] = scoring.ratio(balanced @ squared, balanced.sum(axis=1))
        found["scope_calibration_error"] = scoring.calibration_errors(
            balanced, scope, in_scope, bin_of
        )
        return found

    return bootstrap(scores, group_index(table.groups), n_bootstrap, rng)


def _about_scope(
    metric: Metric | None, table: PredictionTable, n_lesions: int, n_other: int
) -> Metric:
    if not table.has_other_outputs:
        return _nothing(n_lesions, "the model has no output for other lesions")
    if metric is None or not n_other or n_other == n_lesions:
        words = "no image is in scope" if n_other == n_lesions else "no image is out of scope"
        return _nothing(n_lesions, words)
    return metric


def _score_not_skin(
    table: PredictionTable, is_not_skin: np.ndarray, n_bootstrap: int, rng: np.random.Generator
) -> Metric | None:
    if not is_not_skin.any():
        return None
    asked = table.subset(is_not_skin | table.is_in_scope)
    if not table.has_other_outputs:
        return _nothing(len(asked), "the model has no output for other things")
    in_scope, scope = asked.is_in_scope, asked.scope
    if not in_scope.any():
        return _nothing(len(asked), "no image is in scope")

    def scores(weights: np.ndarray) -> Scores:
        return {"auc": scoring.ranking_scores(weights, in_scope, scope)[0]}

    return bootstrap(scores, group_index(asked.groups), n_bootstrap, rng)["auc"]


def _answers(table: PredictionTable) -> dict[Label, dict[str, int]]:
    said = [
        label.value if label in IN_SCOPE else "other"
        for label in (table.labels[k] for k in table.joint.argmax(axis=1))
    ]
    return {
        label: {
            answer: sum(t == label and s == answer for t, s in zip(table.y_true, said, strict=True))
            for answer in (*(label.value for label in IN_SCOPE), "other")
        }
        for label in Label
        if label in table.y_true
    }


def _nothing(n: int, words: str) -> Metric:
    return Metric(None, None, None, n, BOOTSTRAP, words)
