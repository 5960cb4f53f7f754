"""Print the tables of MODEL_CARD.md from out-of-fold prediction tables.

    python benchmarks/model_card.py runs/lens/predictions-out-of-fold.csv \\
        runs/paper/predictions-out-of-fold.csv

The first table is of the model that ships, the second of the preset beside it; both must hold
the same images.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from lesionlens.labels import IN_SCOPE
from lesionlens.metrics import Evaluation, evaluate, load_predictions, paired_differences
from lesionlens.reporting import format_metric

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


if __name__ == "__main__":
    main()
