"""From scores of many images to ROC-AUC, rejection, intervals and Markdown, for ``scope.py``."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lesionlens.intervals import Metric, Scores, bootstrap, proportion
from lesionlens.labels import IN_SCOPE, Label
from lesionlens.records import Frame
from lesionlens.scoring import ranking_scores
from lesionlens.train.calibration import calibrate
from lesionlens.verdicts import CONFIDENT, DEFAULT_POLICY, OUT_OF_SCOPE
from scope_scores import CANCERS, KEPT, Answers, Gated, Score, n_bytes

#: What is told from the three, one after the other.
TARGETS = (Label.MEL, Label.NV, Label.BKL, Label.AK, Label.DF, Label.VASC, Label.NOT_SKIN)
#: Columns that are means of others: all of them, and the lesions among them.
ALL, LESIONS = "all", "lesions"
FIGURES = {
    "auc": "ROC-AUC, the three against",
    "rejected": f"share rejected where {KEPT:.0%} of BCC and SCC are kept, of",
}

#: What a network is asked about, by what it was to that network.
PARTS = ("known", "validation", "test", "never seen")


@dataclass(frozen=True)
class Fit:
    """A network that was trained without a fold, and what it says; one npz."""

    fold: str
    answers: Mapping[str, Answers]  # by part
    image_ids: Mapping[str, np.ndarray]  # by part, (N,) str
    labels: tuple[Label, ...]  # its outputs
    seen: frozenset[Label]  # what it was taught


@dataclass(frozen=True)
class Case:
    """One network and one kind of thing: rows of the long table of all answers."""

    target: Label
    inside: np.ndarray  # rows of the three classes
    cancers: np.ndarray  # of these, rows of BCC and SCC
    outside: np.ndarray  # rows of the target


@dataclass(frozen=True)
class Compared:
    """Every score of every answer to be judged, and which rows belong together."""

    scores: Mapping[str, np.ndarray]  # by name, (N,)
    group_of: np.ndarray  # (N,) int
    cases: Sequence[Case]

    def targets(self) -> list[Label]:
        return [target for target in TARGETS if any(c.target == target for c in self.cases)]


def compare(
    fits: Sequence[Fit],
    scores: Sequence[Mapping[str, Score]],
    groups: Mapping[str, str],
    *,
    taught: bool,
    only: Sequence[Label],
) -> Compared:
    """Score the test images of each fit, and what it was taught, or never was, of ``only``."""
    columns: dict[str, list[np.ndarray]] = defaultdict(list)
    group_ids: list[str] = []
    cases = []
    for fit, found in zip(fits, scores, strict=True):
        start = len(group_ids)
        test, unseen = fit.answers["test"], fit.answers["never seen"]
        for name, score in found.items():
            parts = [score(part.logits, part.features) for part in (test, unseen)]
            columns[name].append(np.concatenate(parts))
        labels = np.concatenate([test.labels, unseen.labels])
        for part in ("test", "never seen"):
            group_ids += [groups.get(i, i) for i in fit.image_ids[part]]
        inside, cancers = (start + np.flatnonzero(np.isin(labels, k)) for k in (IN_SCOPE, CANCERS))
        for target in only:
            outside = start + np.flatnonzero(labels == target)
            if len(outside) and (target in fit.seen) == taught:
                cases.append(Case(target, inside, cancers, outside))
    _, group_of = np.unique(group_ids, return_inverse=True)
    whole = {n: np.concatenate(v) for n, v in columns.items() if len(v) == len(fits)}
    return Compared(whole, group_of, cases)


def rejection(
    weights: np.ndarray, score: np.ndarray, cancers: np.ndarray, outside: np.ndarray
) -> np.ndarray:
    """Return the share of ``outside`` below the score that keeps 95 % of ``cancers``, (B,)."""
    order = cancers[np.argsort(-score[cancers], kind="stable")]
    kept = np.cumsum(weights[:, order], axis=1)
    # The first row at which so many are kept; the tiny subtraction is for rounding.
    place = (kept < KEPT * kept[:, -1:] - 1e-9).sum(axis=1)
    threshold = score[order][np.minimum(place, len(order) - 1)]
    ascending = outside[np.argsort(score[outside], kind="stable")]
    below = np.cumsum(weights[:, ascending], axis=1)
    n_below = np.searchsorted(score[ascending], threshold, side="left")
    rejected = np.where(n_below > 0, below[np.arange(len(below)), n_below - 1], 0)
    with np.errstate(invalid="ignore"):
        share: np.ndarray = rejected / below[:, -1]
    return share


def figures(
    compared: Compared, n_bootstrap: int, *, reference: str
) -> dict[tuple[str, str, str], Metric]:
    """Return ROC-AUC and rejection by (figure, score, target or mean), with 95 % intervals.

    Of several networks (folds) the mean is taken, as scores of two networks need not compare;
    "auc gain" is a mean ROC-AUC less that of the reference, on the same draws.
    """
    targets = compared.targets()
    means = {ALL: targets}
    if Label.NOT_SKIN in targets and len(targets) > 1:
        means = {LESIONS: [target for target in targets if target is not Label.NOT_SKIN], **means}

    def all_scores(weights: np.ndarray) -> Scores:
        found: Scores = {}
        for name, score in compared.scores.items():
            for target in targets:
                cases = [case for case in compared.cases if case.target is target]
                pairs = [_judge(weights, score, case) for case in cases]
                for figure, each in zip(FIGURES, zip(*pairs, strict=True), strict=True):
                    found[f"{figure}|{name}|{target}"] = np.mean(each, axis=0)
            for figure in FIGURES:
                for mean, members in means.items():
                    values = [found[f"{figure}|{name}|{target}"] for target in members]
                    found[f"{figure}|{name}|{mean}"] = np.mean(values, axis=0)
        for key in list(found):
            figure, name, column = key.split("|")
            if column in means and name != reference:
                found[f"{figure} gain|{name}|{column}"] = (
                    found[key] - found[f"{figure}|{reference}|{column}"]
                )
        return found

    metrics = bootstrap(all_scores, compared.group_of, n_bootstrap, np.random.default_rng(0))
    by_key: dict[tuple[str, str, str], Metric] = {}
    for key, metric in metrics.items():
        figure, name, target = key.split("|")
        by_key[figure, name, target] = metric
    return by_key


def _judge(weights: np.ndarray, score: np.ndarray, case: Case) -> tuple[np.ndarray, np.ndarray]:
    """Return ROC-AUC and rejection, (B,) each."""
    rows = np.concatenate([case.inside, case.outside])
    is_inside = np.arange(len(rows)) < len(case.inside)
    area, _ = ranking_scores(weights[:, rows], is_inside, score[rows])
    return area, rejection(weights, score, case.cancers, case.outside)


def cell(metric: Metric | None, *, sign: str = "") -> str:
    """Return a value and its interval for a table."""
    if metric is None or metric.value is None:
        return "–"
    value = f"{metric.value:{sign}.3f}"
    if metric.low is None or metric.high is None:
        return value
    joint = " to " if sign else "–"
    return f"{value} ({metric.low:{sign}.2f}{joint}{metric.high:{sign}.2f})"


def print_tables(title: str, compared: Compared, n_bootstrap: int) -> None:
    """Print one table of ROC-AUC and one of rejection."""
    reference = next(iter(compared.scores))
    found = figures(compared, n_bootstrap, reference=reference)
    columns = list(dict.fromkeys(target for _, name, target in found if name == reference))
    means = [column for column in columns if column in (LESIONS, ALL)]
    gains = [f"{mean}, less the first row" for mean in means]
    for figure, words in FIGURES.items():
        print(f"\n**{title}: {words}**\n")
        print(f"| score | {' | '.join([*columns, *gains])} |")
        print("| --- |" + " --- |" * len([*columns, *gains]))
        for name in compared.scores:
            cells = [cell(found[figure, name, column]) for column in columns]
            cells += [cell(found.get((f"{figure} gain", name, mean)), sign="+") for mean in means]
            print(f"| {name} | {' | '.join(cells)} |")


def print_verdicts(
    title: str,
    fits: Sequence[Fit],
    gates: Sequence[Score | None],
    frames: Mapping[str, Frame],
    *,
    part: str,
) -> None:
    """Print what the verdicts of the policy ``balanced`` come to, with and without a gate.

    Temperature, sets and threshold are fitted on the validation part of each network, and all
    that a gate turns away is out of scope.
    """
    counts: dict[Label, Counter[str]] = defaultdict(Counter)
    for fit, gate in zip(fits, gates, strict=True):
        validation = [frames[i] for i in fit.image_ids["validation"]]
        logits = {1: fit.answers["validation"].logits}
        fitted = calibrate(logits, validation, fit.labels, "the validation part")
        answers = fit.answers[part]
        if not len(answers.labels) or not isinstance(gate, Gated):
            continue
        judged = fitted.judge(answers.logits, fit.labels, views=1, policy=DEFAULT_POLICY)
        is_near = gate.is_near(answers.logits, answers.features)
        is_inside = answers.logits.argmax(axis=1) < len(IN_SCOPE)
        for label, inside, verdict, near in zip(
            answers.labels, is_inside, judged.verdicts, is_near, strict=True
        ):
            counts[label].update(["n", verdict])
            if inside:
                counts[label].update(["inside"])
            if near:
                counts[label].update(["near", f"{verdict}, near"])
    if not counts:
        return
    print(f"\n**{title}: verdicts, policy {DEFAULT_POLICY}, without and with the gate**\n")
    columns = ["likeliest is one of the three", CONFIDENT, OUT_OF_SCOPE, "beyond the gate"]
    columns += [f"{verdict}, with it" for verdict in (CONFIDENT, OUT_OF_SCOPE)]
    print(f"| truth | n | {' | '.join(columns)} |")
    print("| --- |" + " --- |" * (1 + len(columns)))
    for label in (*IN_SCOPE, *TARGETS):
        found = counts[label]
        n, n_far = found["n"], found["n"] - found["near"]
        shares = [
            found["inside"],
            found[CONFIDENT],
            found[OUT_OF_SCOPE],
            n_far,
            found[f"{CONFIDENT}, near"],
            found[f"{OUT_OF_SCOPE}, near"] + n_far,
        ]
        if n:
            cells = [cell(proportion(share, n)) for share in shares]
            print(f"| {label} | {n:,} | {' | '.join(cells)} |")


def print_costs(scores: Mapping[str, Score], answers: Answers) -> None:
    """Print what each score adds to an answer and to a bundle."""
    print("\n| score | ms an image | bytes in the bundle, as float16 |\n| --- | --- | --- |")
    for name, score in scores.items():
        print(f"| {name} | {milliseconds(score, answers):.3f} | {n_bytes(score):,} |")


def milliseconds(score: Score, answers: Answers) -> float:
    """Return the median time of a score of one image, in this thread's own time."""
    times = []
    for row in range(min(300, len(answers.labels))):
        logits, features = answers.logits[row : row + 1], answers.features[row : row + 1]
        start = time.thread_time_ns()
        score(logits, features)
        times.append(time.thread_time_ns() - start)
    return float(np.median(times[20:])) / 1e6
