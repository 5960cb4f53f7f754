"""Prediction tables made in code: the answers of a decent model, lesions in several images."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lesionlens.labels import IN_SCOPE, Label
from lesionlens.prediction_table import PredictionTable
from lesionlens.verdicts import CONFIDENT, OUT_OF_SCOPE, UNCERTAIN

OUTPUTS = (*IN_SCOPE, Label.NV, Label.MEL, Label.BKL, Label.AK, Label.DF, Label.VASC)
COUNTS = {Label.BCC: 300, Label.SCC: 120, Label.NORMAL: 180, Label.NV: 200, Label.MEL: 100}
_SOURCES = ("ViDIR Group, Medical University of Vienna", "Hospital Clínic de Barcelona", "MSK")


def make_table(
    rng: np.random.Generator,
    *,
    counts: dict[Label, int] | None = None,
    outputs: tuple[Label, ...] = OUTPUTS,
    skill: float = 2.0,
) -> PredictionTable:
    """Draw a table whose wrong answers are like those of a real model.

    BCC and SCC are taken for each other, healthy skin hardly for anything; images of one
    lesion share most of their noise.
    """
    counts = COUNTS if counts is None else counts
    image_ids, groups, sources, y_true, logits = [], [], [], [], []
    for label, count in counts.items():
        lesion, left = 0, count
        while left > 0:
            n_images = min(left, int(rng.integers(1, 4)))
            left -= n_images
            shared = rng.normal(0, 1.2, len(outputs))
            for view in range(n_images):
                evidence = shared + rng.normal(0, 0.6, len(outputs))
                if label in outputs:
                    evidence[outputs.index(label)] += skill
                if label is Label.NORMAL:
                    evidence[outputs.index(label)] += 3
                elif label in (Label.BCC, Label.SCC):
                    evidence[:2] += 1.2
                image_ids.append(f"{label}_{lesion:04d}_{view}")
                groups.append(f"{label}_{lesion:04d}")
                sources.append(_SOURCES[int(rng.choice(3, p=[0.72, 0.27, 0.01]))])
                y_true.append(label)
                logits.append(evidence)
            lesion += 1
    exponential = np.exp(1.3 * np.array(logits))
    return PredictionTable(
        image_ids=tuple(image_ids),
        groups=tuple(groups),
        sources=tuple(sources),
        y_true=tuple(y_true),
        labels=outputs,
        joint=exponential / exponential.sum(axis=1, keepdims=True),
    )


def judge_simply(
    table: PredictionTable, *, in_set_at: float = 0.2, confident_at: float = 0.6
) -> PredictionTable:
    """Return the table with sets and verdicts by one threshold each: enough to count with."""
    sets = table.joint_in_scope >= in_set_at
    is_confident = (sets.sum(axis=1) == 1) & (table.joint_in_scope.max(axis=1) >= confident_at)
    verdicts = np.where(is_confident, CONFIDENT, np.where(sets.any(1), UNCERTAIN, OUT_OF_SCOPE))
    return replace(table, sets=sets, verdicts=tuple(str(verdict) for verdict in verdicts))
