"""Print the tables of MODEL_CARD.md from out-of-fold prediction tables.

    python benchmarks/model_card.py runs/lens/predictions-out-of-fold.csv \\
        runs/paper/predictions-out-of-fold.csv

The first table is of the model that ships, the second of the preset beside it; both must hold
the same images.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from lesionlens.confidence import top_in_scope
from lesionlens.intervals import proportion
from lesionlens.labels import IN_SCOPE, Label
from lesionlens.metrics import Evaluation, evaluate, load_predictions, paired_differences
from lesionlens.prediction_table import PredictionTable
from lesionlens.reporting import format_metric
from lesionlens.train.calibration import Calibration
from lesionlens.train.runs import CALIBRATION

CLOSED = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro F1",
    **{f"{name}_{label}": f"{words}, {label}" for name, words in (
        ("recall", "sensitivity"), ("specificity", "specificity"), ("precision", "precision"),
        ("roc_auc", "ROC-AUC, one against the other two"),
    ) for label in IN_SCOPE},
    "brier": "Brier score",
    "log_loss": "log loss",
    "expected_calibration_error": "expected calibration error",
}  # fmt: skip
OPEN = {
    **{f"open_roc_auc_{label}": f"ROC-AUC {label}, other lesions among the rest"
       for label in IN_SCOPE},
    "open_scope_roc_auc": "ROC-AUC, one of the three against other lesions",
}  # fmt: skip


def print_rows(names: dict[str, str], lens: Evaluation, paper: Evaluation) -> None:
    ours, theirs = lens.summary(), paper.summary()
    print("| | `lens` (ships) | `paper` |\n| --- | --- | --- |")
    for name, words in names.items():
        print(f"| {words} | {format_metric(ours[name])} | {format_metric(theirs[name])} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("lens", type=Path)
    parser.add_argument("paper", type=Path)
    args = parser.parse_args()
    lens, paper = (evaluate(load_predictions(path)) for path in (args.lens, args.paper))
    print(f"{lens.n:,} images of {lens.n_groups:,} lesions or patients, three classes:\n")
    print_rows(CLOSED, lens, paper)
    differences = paired_differences(paper, lens)
    if differences is not None:
        print("\n`lens` against `paper` on the same images (paired bootstrap by group):\n")
        for name, metric in differences.items():
            interval = f"({metric.low:+.3f} to {metric.high:+.3f})"
            print(f"- {name.replace('_', ' ')} {metric.value:+.3f} {interval}")
    print("\nConfusion (rows: truth; columns: answer):\n")
    print("| | " + " | ".join(IN_SCOPE) + " |\n|" + " --- |" * 4)
    for label, counts in zip(IN_SCOPE, lens.confusion, strict=True):
        print(f"| **{label}** | " + " | ".join(str(n) for n in counts) + " |")
    if lens.open_set is not None:
        print(f"\nWith {lens.open_set.n_out_of_scope:,} images of other lesions among them:\n")
        print_rows(OPEN, lens, paper)
    calibration = args.lens.parent / CALIBRATION
    if calibration.is_file():
        print_confident(lens.table, Calibration.load(calibration).confident_at)


def print_confident(table: PredictionTable, confident_at: float) -> None:
    """Print how many images of each truth get a confident answer, and how many rightly."""
    index, probability = top_in_scope(table.joint, table.labels)
    is_confident = probability >= confident_at
    is_right = np.array(
        [IN_SCOPE[i] is truth for i, truth in zip(index, table.y_true, strict=True)]
    )
    truths = np.array(table.y_true, dtype=object)
    print(f"\nConfident at {confident_at:.3f}, the threshold fitted to these very predictions:\n")
    print("| truth | images | called `confident` | of these, rightly |\n| --- | --- | --- | --- |")
    for label in Label:
        is_it = truths == label
        if is_it.any():
            n = int((is_it & is_confident).sum())
            share = format_metric(proportion(n, int(is_it.sum())))
            right = int((is_it & is_confident & is_right).sum())
            print(f"| {label} | {is_it.sum():,} | {share} | {right} of {n} |")


if __name__ == "__main__":
    main()
