"""What the verdicts cost: tables and figures of docs/verdicts.md, from a cross-validated run.

    python benchmarks/verdicts.py runs/lens --into docs/verdicts.md --images docs/images

Reads ``predictions-out-of-fold.csv`` and ``predictions-out-of-fold-sensitive.csv``: the same
answers judged by both policies, each fold by what was fitted on the other folds. Prints verdicts
by truth, coverage of the sets by class and source, and what other thresholds would have cost.
``--raw raw.csv`` writes the same answers at a temperature of 1, for ``lesionlens evaluate
predictions-out-of-fold.csv --before raw.csv``.
Shares carry Wilson's interval; all else a bootstrap of whole lesions or patients.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from folds import load_uncalibrated, put_into, table
from lesionlens import charts, figures, scoring
from lesionlens.confidence import is_unrivalled, top_in_scope
from lesionlens.files import atomic_write
from lesionlens.intervals import Metric, Scores, bootstrap, group_index, proportion
from lesionlens.judging import MIN_SOURCE_ROWS, VerdictRow
from lesionlens.labels import FULL_NAMES, IN_SCOPE, Label
from lesionlens.metrics import Evaluation, evaluate
from lesionlens.prediction_table import PredictionTable, load_predictions
from lesionlens.train.calibration import Calibration
from lesionlens.train.runs import CALIBRATION, OUT_OF_FOLD_TABLES
from lesionlens.verdicts import CONFIDENT, DEFAULT_POLICY, OUT_OF_SCOPE, POOR_IMAGE, UNCERTAIN

BEGIN = "<!-- benchmarks/verdicts.py -->"
N_BOOTSTRAP = 2000
#: Values of ``confident_at`` whose price is told.
THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
CURVE, BARS, RELIABILITY = "risk-coverage.png", "verdicts.png", "reliability.png"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="folder of a cross-validated run")
    parser.add_argument("--into", type=Path, help="page whose tables between marks to replace")
    parser.add_argument("--images", type=Path, help="folder to draw the figures into")
    parser.add_argument("--raw", type=Path, help="table to write, of answers without calibration")
    args = parser.parse_args()
    found = {
        policy: evaluate(load_predictions(args.run / name), n_bootstrap=N_BOOTSTRAP)
        for policy, name in OUT_OF_FOLD_TABLES.items()
    }
    text = "\n".join(
        [
            *(verdicts_table(name, evaluation) for name, evaluation in found.items()),
            policies_table(found, Calibration.load(args.run / CALIBRATION)),
            sources_table(found),
            thresholds_table(found[DEFAULT_POLICY].table),
        ]
    )
    print(text)
    if args.images is not None:
        before = evaluate(load_uncalibrated(args.run), n_bootstrap=N_BOOTSTRAP)
        draw(found, before, args.images)
    if args.raw is not None:
        load_uncalibrated(args.run).save(args.raw)
    if args.into is not None:
        put_into(args.into, BEGIN, text)


def verdicts_table(policy: str, evaluation: Evaluation) -> str:
    verdicts = evaluation.judgement.verdicts
    if verdicts is None:
        raise SystemExit("the tables hold no verdicts; train the run again, its networks are kept")
    rows: dict[str, VerdictRow] = {
        FULL_NAMES[label]: row for label, row in verdicts.by_label.items() if label in IN_SCOPE
    }
    rows["*other lesions, together*"] = verdicts.other_lesions
    rows |= {
        FULL_NAMES[label]: row for label, row in verdicts.by_label.items() if label not in IN_SCOPE
    }
    lines = [
        [
            name,
            f"{row.n:,}",
            percent(row.shares[CONFIDENT]),
            percent(row.right_of_confident) if name in IN_SCOPE_NAMES else "none",
            percent(row.shares[UNCERTAIN], interval=False),
            percent(row.shares[OUT_OF_SCOPE], interval=False),
            percent(row.shares[POOR_IMAGE], interval=False),
        ]
        for name, row in rows.items()
    ]
    header = ["truth", "images", "`confident`", "of these, rightly", "`uncertain`",
              "`out_of_scope`", "`poor_image`"]  # fmt: skip
    words = f"**`{policy}`**, out of fold"
    if not any(row.counts[POOR_IMAGE] for row in rows.values()):
        words += " (either no photo is poor, or the quality gate was not asked)"
        header.pop()
        lines = [line[:-1] for line in lines]
    return f"{words}:\n\n{table(header, lines)}"


IN_SCOPE_NAMES = [FULL_NAMES[label] for label in IN_SCOPE]


def policies_table(found: Mapping[str, Evaluation], calibration: Calibration) -> str:
    """Return what a policy keeps and costs, a column each."""
    rows: list[list[str]] = []

    def add(name: str, cells: list[str]) -> None:
        rows.append([name, *cells])

    views = max(calibration.temperature)
    add("`confident_at` of the final model", [
        f"{calibration.policies[policy].confident_at[views]:.3f}" for policy in found
    ])  # fmt: skip
    sets = [evaluation.judgement.sets for evaluation in found.values()]
    verdicts = [evaluation.judgement.verdicts for evaluation in found.values()]
    for label in IN_SCOPE:
        add(
            f"sets that hold the truth, {label}",
            [percent(s.by_label[label].coverage) for s in sets],
        )  # type: ignore[union-attr]
    by_group = [coverage_by_group(evaluation.table) for evaluation in found.values()]
    for label in IN_SCOPE:
        add(
            f"the same, each lesion or patient counted once, {label}",
            [percent(one[label]) for one in by_group],
        )
    add("classes in a set, of the three", [number(s.in_scope.mean_size) for s in sets])  # type: ignore[union-attr]
    add("classes in a set, SCC", [number(s.by_label[Label.SCC].mean_size) for s in sets])  # type: ignore[union-attr]
    add("empty sets, of the three", [percent(s.in_scope.empty) for s in sets])  # type: ignore[union-attr]
    add("empty sets, other lesions", [percent(s.other_lesions.empty) for s in sets])  # type: ignore[union-attr]
    add("BCC and SCC not sent away, whose label is right or whose set holds it",
        [percent(v.kept_cancer) for v in verdicts])  # type: ignore[union-attr]  # fmt: skip
    add("BCC and SCC not sent away, with either as label or in the set",
        [percent(v.sensitivity_cancer) for v in verdicts])  # type: ignore[union-attr]  # fmt: skip
    for label in verdicts[0].specificity_cancer:  # type: ignore[union-attr]
        add(f"not taken for one so, {FULL_NAMES[label].lower()}",
            [percent(v.specificity_cancer[label]) for v in verdicts])  # type: ignore[union-attr]  # fmt: skip
    for words, half in (("of the three", False), ("half of other lesions", True)):
        curves = [e.selective.half if half else e.selective.closed for e in found.values()]
        add(f"confident answers, images {words}", [percent(c and c.confident) for c in curves])
        add("wrong among them", [percent(c and c.confident_error) for c in curves])
    return f"The two policies beside each other:\n\n{table(['', *found], rows)}"


def coverage_by_group(predictions: PredictionTable) -> dict[Label, Metric]:
    """Return the coverage per class with each lesion or patient weighing as much as another."""
    truths = np.array([label.value for label in predictions.y_true])
    groups = group_index(predictions.groups)
    sets = predictions.sets
    assert sets is not None
    found: dict[Label, Metric] = {}
    for column, label in enumerate(IN_SCOPE):
        rows = truths == label
        own = np.unique(groups[rows], return_inverse=True)[1]
        share = np.bincount(own, sets[rows, column]) / np.bincount(own)

        def scores(weights: np.ndarray, share: np.ndarray = share) -> Scores:
            return {"": scoring.ratio(weights @ share, weights.sum(axis=1))}

        found[label] = bootstrap(
            scores, np.arange(len(share)), N_BOOTSTRAP, np.random.default_rng(0)
        )[""]
    return found


def sources_table(found: Mapping[str, Evaluation]) -> str:
    rows = []
    for policy, evaluation in found.items():
        sets = evaluation.judgement.sets
        assert sets is not None
        rows += [
            [
                f"`{policy}`",
                of.source or "unknown",
                f"{of.n:,}",
                *(percent(of.coverage[label]) for label in IN_SCOPE),
                number(of.mean_size),
            ]
            for of in sets.by_source
            if of.n >= MIN_SOURCE_ROWS
        ]
    header = ["", "source", "images", *(f"{label}" for label in IN_SCOPE), "classes in a set"]
    return (
        f"Sets that hold the truth, by source (of {MIN_SOURCE_ROWS} images or more):\n\n"
        f"{table(header, rows)}"
    )


def thresholds_table(predictions: PredictionTable) -> str:
    """Return what other values of ``confident_at`` would have done to the default policy."""
    truths = np.array([label.value for label in predictions.y_true])
    index, score = top_in_scope(predictions.joint, predictions.labels)
    assert predictions.sets is not None
    eligible = is_unrivalled(predictions.joint, predictions.labels, predictions.sets)
    # A poor photo stays one, whatever the threshold.
    eligible &= np.array(predictions.verdicts) != POOR_IMAGE
    right = np.array([label.value for label in IN_SCOPE])[index] == truths
    inside = predictions.is_in_scope
    lesions = truths != Label.NOT_SKIN
    parts = {
        "BCC": truths == Label.BCC,
        "SCC": truths == Label.SCC,
        "healthy skin": truths == Label.NORMAL,
        "other lesions": ~inside & lesions,
        "melanoma": truths == Label.MEL,
        "not skin": ~lesions,
    }
    parts = {name: rows for name, rows in parts.items() if rows.any()}
    groups = group_index([g for g, is_it in zip(predictions.groups, lesions, strict=True) if is_it])
    lines = []
    for threshold, needs_set in itertools.product(THRESHOLDS, (True, False)):
        confident = (eligible | (not needs_set)) & (score >= threshold)

        def scores(weights: np.ndarray, confident: np.ndarray = confident) -> Scores:
            answered = confident[lesions]
            wrong = answered & ~right[lesions]
            mixed = scoring.half_and_half(weights, inside[lesions])
            closed = weights * inside[lesions]
            return {
                "closed": scoring.ratio(closed @ wrong, closed @ answered),
                "half": scoring.ratio(mixed @ wrong, mixed @ answered),
            }

        errors = bootstrap(scores, groups, N_BOOTSTRAP, np.random.default_rng(0))
        lines.append(
            [
                f"{threshold:.2f}" if needs_set else f"{threshold:.2f}, any set",
                *(
                    percent(proportion(int(confident[rows].sum()), int(rows.sum())))
                    for rows in parts.values()
                ),
                percent(errors["closed"]),
                percent(errors["half"]),
            ]
        )
    header = ["`confident_at`", *parts, "wrong, of the three", "wrong, half other lesions"]
    return (
        f"Share that gets a confident answer, by `confident_at`, and how many of those are wrong; "
        f'sets of `{DEFAULT_POLICY}`, or the probability alone ("any set"):\n\n'
        f"{table(header, lines)}"
    )


def percent(metric: Metric | None, *, interval: bool = True) -> str:
    """Return a share in percent, and its interval where there is one."""
    if metric is None or metric.value is None:
        return "–"
    value = f"{100 * metric.value:.1f} %"
    if not interval or metric.low is None or metric.high is None:
        return value
    return f"{value} ({100 * metric.low:.1f}–{100 * metric.high:.1f})"


def number(metric: Metric) -> str:
    """Return a mean with two decimals and its interval."""
    if metric.value is None:
        return "–"
    if metric.low is None or metric.high is None:
        return f"{metric.value:.2f}"
    return f"{metric.value:.2f} ({metric.low:.2f}–{metric.high:.2f})"


def draw(found: Mapping[str, Evaluation], before: Evaluation, folder: Path) -> None:
    """Draw risk against coverage with both policies marked, the default policy's verdicts, and
    how reliable the probabilities are, beside what they were before calibration."""
    ours = found[DEFAULT_POLICY]
    others = [(policy, other) for policy, other in found.items() if policy != DEFAULT_POLICY]
    verdicts = ours.judgement.verdicts
    assert verdicts is not None
    curves = charts.draw_risk_coverage(ours, others)
    legend = curves.axes[0].get_legend()
    for words in legend.get_texts() if legend is not None else ():
        words.set_text(words.get_text().replace("this table", DEFAULT_POLICY))
    drawn = {
        CURVE: curves,
        BARS: charts.draw_verdicts(verdicts),
        RELIABILITY: figures.draw_reliability(ours, before),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, figure in drawn.items():
        with atomic_write(folder / name, "wb") as file:
            figure.savefig(file, format="png", dpi=120, metadata={"Software": None})


if __name__ == "__main__":
    main()
