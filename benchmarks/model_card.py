"""Print the tables of MODEL_CARD.md from two cross-validated runs.

    python benchmarks/model_card.py runs/lens runs/paper

The first is of the model that ships, the second of the preset beside it; both must hold the same
images of the three classes and of other lesions. Read are ``predictions-out-of-fold.csv`` and, of
the cautious policy, ``predictions-out-of-fold-sensitive.csv``; a single table may be named instead
of a run.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from lesionlens.judging import VerdictRow
from lesionlens.labels import FULL_NAMES, IN_SCOPE, Label
from lesionlens.metrics import Evaluation, evaluate, load_predictions, paired_differences
from lesionlens.prediction_table import PredictionTable
from lesionlens.reporting import format_metric
from lesionlens.train.runs import OUT_OF_FOLD_TABLES
from lesionlens.verdicts import CONFIDENT, DEFAULT_POLICY

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
    "open_not_skin_roc_auc": "ROC-AUC, one of the three against things that are not skin",
    "open_scope_calibration_error": "calibration error of scope, half of other lesions",
}  # fmt: skip
JUDGED = {
    "confident_other_lesions": "other lesions that get a confident answer",
    "confident_MEL": "of these, melanoma",
    "confident_NotSkin": "things that are not skin that get one",
    "confident_in_scope": "images of the three that get one",
    "confident_error": "wrong among those",
    "half_confident_error": "wrong among confident answers, half of other lesions",
    "kept_cancer": "BCC and SCC not sent away, whose label is right or whose set holds it",
    "sensitivity_cancer": "BCC and SCC not sent away, with either as label or in the set",
    **{f"coverage_{label}": f"sets that hold the truth, {label}" for label in IN_SCOPE},
    "mean_set_size": "classes in a set, of the three",
    "empty_sets_other_lesions": "empty sets, other lesions",
    "risk_coverage_area": "area under risk and coverage (AURC), of the three",
    "half_risk_coverage_area": "area under risk and coverage, half of other lesions",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("lens", type=Path)
    parser.add_argument("paper", type=Path)
    args = parser.parse_args()
    ours, theirs = read(args.lens), read(args.paper)
    lens, paper = ours[DEFAULT_POLICY], theirs[DEFAULT_POLICY]
    print(f"{lens.n:,} images of {lens.n_groups:,} lesions or patients, three classes:\n")
    pair = {"`lens` (ships)": lens, "`paper`": paper}
    print_rows(CLOSED, pair)
    print_differences(paper, lens)
    print("\nConfusion (rows: truth; columns: answer):\n")
    print("| | " + " | ".join(IN_SCOPE) + " |\n|" + " --- |" * 4)
    for label, counts in zip(IN_SCOPE, lens.confusion, strict=True):
        print(f"| **{label}** | " + " | ".join(str(n) for n in counts) + " |")
    if lens.open_set is not None:
        print(f"\nWith {lens.open_set.n_out_of_scope:,} images of other lesions among them:\n")
        print_rows(OPEN, pair)
    judged = {f"`lens`, {policy}": evaluation for policy, evaluation in ours.items()}
    judged |= {f"`paper`, {policy}": evaluation for policy, evaluation in theirs.items()}
    judged = {name: one for name, one in judged.items() if one.judgement.verdicts is not None}
    if judged:
        print("\nVerdicts and sets, each fold judged by what was fitted on the others:\n")
        print_rows(JUDGED, judged)
        print("\nCalled `confident`, and how many of these rightly:\n")
        print_confident(judged)


def read(path: Path) -> dict[str, Evaluation]:
    """Return the evaluations of a run by policy, or of one table."""
    tables = {DEFAULT_POLICY: path}
    if path.is_dir():
        tables = {
            policy: path / name
            for policy, name in OUT_OF_FOLD_TABLES.items()
            if policy == DEFAULT_POLICY or (path / name).is_file()
        }
    return {policy: evaluate(load_predictions(table)) for policy, table in tables.items()}


def print_rows(names: Mapping[str, str], evaluations: Mapping[str, Evaluation]) -> None:
    """Print a table: a row a metric that any of the evaluations has, a column each."""
    found = [evaluation.summary() for evaluation in evaluations.values()]
    print(f"| | {' | '.join(evaluations)} |\n| --- |{' --- |' * len(found)}")
    for name, words in names.items():
        if any(name in metrics for metrics in found):
            cells = [format_metric(m[name]) if name in m else "–" for m in found]
            print(f"| {words} | {' | '.join(cells)} |")


def print_differences(paper: Evaluation, lens: Evaluation) -> None:
    """Print by how much the first model exceeds the second on the images that both answered."""
    shared = set(lens.table.image_ids) & set(paper.table.image_ids)
    both = [evaluate(part(one.table, shared), n_bootstrap=2000) for one in (paper, lens)]
    differences = paired_differences(*both)
    if differences is None:
        return
    print("\n`lens` against `paper` on the same images (paired bootstrap by group):\n")
    for name, metric in differences.items():
        interval = f"({metric.low:+.3f} to {metric.high:+.3f})"
        print(f"- {name.replace('_', ' ')} {metric.value:+.3f} {interval}")


def print_confident(judged: Mapping[str, Evaluation]) -> None:
    """Print how many images of each truth get a confident answer, and how many rightly."""
    print(f"| truth | images | {' | '.join(judged)} |\n| --- | --- |{' --- |' * len(judged)}")
    rows = [one.judgement.verdicts for one in judged.values()]
    for label in Label:
        found = [None if row is None else row.by_label.get(label) for row in rows]
        n = max((row.n for row in found if row is not None), default=0)
        if n:
            cells = [confident_cell(row, label) for row in found]
            print(f"| {FULL_NAMES[label]} | {n:,} | {' | '.join(cells)} |")


def confident_cell(row: VerdictRow | None, label: Label) -> str:
    if row is None:
        return "–"
    share = format_metric(row.shares[CONFIDENT])
    n, right = row.counts[CONFIDENT], row.confident_right.value or 0
    return f"{share}; {round(right * row.n)} of {n}" if label in IN_SCOPE else share


def part(table: PredictionTable, image_ids: set[str]) -> PredictionTable:
    return table.subset(np.array([name in image_ids for name in table.image_ids]))


if __name__ == "__main__":
    main()
