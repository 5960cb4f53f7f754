"""Score a model of your own: any table of probabilities, every metric with its interval.

    python examples/score_your_model.py            # makes up a model and scores it
    python examples/score_your_model.py mine.csv   # image_id, y_true, probability_BCC, ...

Give ``group_id`` (the lesion or the patient) where you know it: photographs of one lesion are
alike, and an interval that counts them as independent is too narrow.
"""

from __future__ import annotations

import sys

import numpy as np

from lesionlens.labels import IN_SCOPE
from lesionlens.metrics import evaluate
from lesionlens.prediction_table import PredictionTable, load_predictions


def make_up_a_model(rng: np.random.Generator) -> PredictionTable:
    """Return answers of nobody's model about 60 lesions, each photographed twice."""
    truth = rng.integers(0, 3, 60).repeat(2)
    of_lesion = rng.normal(size=(60, 3)).repeat(2, axis=0)  # what both photographs share
    scores = of_lesion + 0.3 * rng.normal(size=(120, 3)) + 1.5 * np.eye(3)[truth]
    joint = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    return PredictionTable(
        image_ids=tuple(f"image{i}" for i in range(120)),
        groups=tuple(f"lesion{i // 2}" for i in range(120)),
        sources=("made up",) * 120,
        y_true=tuple(IN_SCOPE[i] for i in truth),
        labels=IN_SCOPE,
        joint=joint,
    )


def main(path: str | None) -> None:
    """Print a few metrics of a table."""
    table = load_predictions(path) if path else make_up_a_model(np.random.default_rng(0))
    found = evaluate(table, n_bootstrap=1000)
    print(f"{found.n} images of {found.n_groups} lesions or patients")
    metrics = {name: found.overall[name] for name in ("accuracy", "macro_f1", "macro_roc_auc")}
    metrics |= {f"recall of {label}": found.by_class[label]["recall"] for label in IN_SCOPE}
    for name, metric in metrics.items():
        if metric.value is None or metric.low is None:
            print(f"{name}: {metric.note}")
        else:
            interval = f"{metric.low:.3f} to {metric.high:.3f}, {metric.method}"
            print(f"{name}: {metric.value:.3f} ({interval}, {metric.n} images)")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else None)
