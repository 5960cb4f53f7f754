"""Is it as good for everybody? Age, sex, site, skin tone, source, size of the lesion.

Classes are not spread evenly over subgroups (young people have few carcinomas, one collection
has all of the SCC), so the accuracies of two subgroups do not compare. Each subgroup is
therefore set beside everybody else *at its own mix of classes*: the recall of each class among
the others, weighted by the subgroup's share of that class (direct standardisation).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from lesionlens import scoring
from lesionlens.evidence import measures
from lesionlens.evidence.answers import Answers
from lesionlens.evidence.cohort import Cohort
from lesionlens.evidence.sections import Column, Row, Section, Table
from lesionlens.evidence.shortcuts import Masks
from lesionlens.evidence.skin_tone import CLASSES, SkinColour, estimate_skin, tone_class
from lesionlens.intervals import BOOTSTRAP, Metric, Scores, bootstrap
from lesionlens.labels import IN_SCOPE, Label
from lesionlens.prediction_table import PredictionTable

KEY = "subgroups"
#: Age bands in years, from and below.
AGE_BANDS: tuple[tuple[int, int], ...] = ((0, 40), (40, 60), (60, 75), (75, 200))
#: Sizes of a lesion, share of the frame that its mask covers, from and below.
SIZE_BANDS: tuple[tuple[float, float], ...] = ((0, 0.1), (0.1, 0.25), (0.25, 0.5), (0.5, 1.01))

UNKNOWN = "not told"
_NO_SKIN, _NOT_WHITE = "too little skin to tell", "light not white: no angle"
_COLUMNS = {
    "accuracy": Column("Accuracy"),
    "accuracy_difference": Column("against all others, same mix of classes", is_difference=True),
    "recall_BCC": Column("Sensitivity BCC"),
    "recall_SCC": Column("Sensitivity SCC"),
    "recall_Normal": Column("Normal found"),
    "expected_calibration_error": Column("Calibration error"),
    "confident_and_wrong": Column("Confident and wrong"),
    "others_confident": Column("Other lesions called confident"),
}


@dataclass(frozen=True)
class Attribute:
    """Something by which images are told apart."""

    key: str
    title: str
    values: Mapping[int, str]  # row -> subgroup; rows without one are left out
    order: tuple[str, ...] = ()  # of the subgroups, where it is not alphabetic
    remark: str = ""


def audit_subgroups(
    cohort: Cohort, answers: Answers, masks: Masks | None, *, n_bootstrap: int, seed: int
) -> Section:
    """Score every subgroup, at the number of views that answers are given with."""
    rows = np.arange(len(cohort))
    logits = answers.ask_views(cohort.views, rows)
    table = cohort.table(logits.mean(axis=1), rows, views=cohort.views)
    attributes = [*_told_by_metadata(cohort), _skin_tone(cohort, answers, masks)]
    if masks is not None:
        attributes.append(_sizes(cohort, masks))
    tables = []
    for attribute in attributes:
        made = _table(attribute, table, n_bootstrap=n_bootstrap, seed=seed)
        if len(made.rows) > 1 or attribute.key == "skin_tone":
            tables.append(made)
    return Section(
        key=KEY,
        title="Subgroups",
        question="Is it as good for the old and the young, on every site, skin and camera?",
        tables=tuple(tables),
        findings=tuple(_told(tables)),
        remarks=(
            "images and lesions are those of BCC, SCC and healthy skin",
            f"{cohort.views} views; a figure that rests on fewer than {measures.MIN_GROUPS} "
            "lesions or patients is not told",
            "the difference sets each subgroup beside all other images at the subgroup's own mix "
            "of classes; many are looked at, so that one in twenty lies outside its interval by "
            "chance alone",
            *(attribute.remark for attribute in attributes if attribute.remark),
        ),
    )


def _told_by_metadata(cohort: Cohort) -> list[Attribute]:
    def by(read: Callable[[int], str]) -> dict[int, str]:
        lesions = np.flatnonzero(cohort.is_in_scope | cohort.is_other_lesion).tolist()
        return {row: read(row) or UNKNOWN for row in lesions}

    def age(row: int) -> str:
        years = cohort.cases[row].frame.age_approx
        if years is None:
            return UNKNOWN
        return next(_band(low, high) for low, high in AGE_BANDS if low <= years < high)

    return [
        Attribute("age", "Age", by(age), (*(_band(*b) for b in AGE_BANDS), UNKNOWN)),
        Attribute("sex", "Sex", by(lambda row: cohort.cases[row].frame.sex)),
        Attribute("site", "Site", by(lambda row: cohort.cases[row].frame.anatom_site)),
        Attribute("source", "Source", by(lambda row: cohort.cases[row].frame.source)),
    ]


def _band(low: int, high: int) -> str:
    if low == 0:
        return f"under {high}"
    return f"{low} and older" if high >= 200 else f"{low} to {high - 1}"


def _skin_tone(cohort: Cohort, answers: Answers, masks: Masks | None) -> Attribute:
    rows = np.flatnonzero(cohort.is_in_scope | cohort.is_other_lesion)

    def colour(row: int, rgb: np.ndarray) -> tuple[float, float]:
        lesion = masks.lesions.get(row) if masks else None
        if cohort.cases[row].frame.label is Label.NORMAL:
            lesion = np.zeros(rgb.shape[:2], dtype=bool)
        found = estimate_skin(rgb, lesion=lesion)
        return (np.nan, np.nan) if found is None else (found.lightness, found.yellow)

    n_masks = len(masks.lesions) if masks else 0
    colours = answers.remember(
        f"skin-colour-{n_masks}-masks",
        rows,
        lambda advance: np.array(cohort.map(colour, rows, advance), dtype=np.float64),
        modules=("data/segment", "evidence/skin_tone"),
    )
    values = {}
    for row, (lightness, yellow) in zip(rows.tolist(), colours, strict=True):
        angle = SkinColour(float(lightness), float(yellow)).angle
        if np.isnan(lightness):
            values[row] = _NO_SKIN
        else:
            values[row] = _NOT_WHITE if angle is None else tone_class(angle)
    return Attribute(
        "skin_tone",
        "Skin tone as it looks in the picture (individual typology angle)",
        values,
        (*(name for name, _ in CLASSES), _NOT_WHITE, _NO_SKIN),
        remark="skin tone is estimated from the picture, around the lesion; a dermatoscope is no "
        "colorimeter, so it is how light the skin looks, not what it is, and no Fitzpatrick type",
    )


def _sizes(cohort: Cohort, masks: Masks) -> Attribute:
    def name(low: float, high: float) -> str:
        if low == 0:
            return f"under {100 * high:.0f} % of the frame"
        if high > 1:
            return f"{100 * low:.0f} % and more"
        return f"{100 * low:.0f} to {100 * high:.0f} %"

    values = {}
    for row, mask in masks.lesions.items():
        size = float(mask.mean())
        values[row] = next(name(low, high) for low, high in SIZE_BANDS if low <= size < high)
    order = tuple(name(*band) for band in SIZE_BANDS)
    return Attribute("lesion_size", "Size of the lesion, where there is a mask", values, order)


def _table(attribute: Attribute, table: PredictionTable, *, n_bootstrap: int, seed: int) -> Table:
    value_of = np.array([attribute.values.get(row, "") for row in range(len(table))], dtype=object)
    found = {str(value) for value in value_of if value}
    names = [name for name in attribute.order if name in found]
    names += sorted(found - set(names) - {UNKNOWN})
    names += [UNKNOWN] if UNKNOWN in found and UNKNOWN not in names else []
    rows = []
    for name in names:
        inside = value_of == name
        asked = inside & table.is_in_scope
        rows.append(
            Row(
                name=name,
                metrics=_metrics(table, inside, value_of != "", n_bootstrap=n_bootstrap, seed=seed),
                n=int(asked.sum()),
                n_groups=measures.n_groups([table.groups[k] for k in np.flatnonzero(asked)]),
            )
        )
    return Table(attribute.key, attribute.title, _COLUMNS, tuple(rows))


def _metrics(
    table: PredictionTable, inside: np.ndarray, known: np.ndarray, *, n_bootstrap: int, seed: int
) -> dict[str, Metric]:
    """Score the rows of one subgroup."""
    closed, right = table.is_in_scope, measures.is_right(table)
    confident = measures.is_confident(table)
    groups = np.array(table.groups, dtype=object)
    mine = inside & closed

    def share(holds: np.ndarray, chosen: np.ndarray) -> Metric:
        return measures.share(holds[chosen], groups[chosen].tolist())

    truth = np.array([label.value for label in table.y_true])
    others = inside & ~closed
    found = {
        "accuracy": share(right, mine),
        "confident_and_wrong": share(confident & ~right, mine),
        "others_confident": share(confident, others),
        **{f"recall_{label}": share(right, mine & (truth == label.value)) for label in IN_SCOPE},
    }
    n_mine = int(mine.sum())
    if measures.n_groups(groups[mine].tolist()) < measures.MIN_GROUPS:
        words = measures.TOO_FEW if n_mine else "no such image"
        for name in ("accuracy_difference", "expected_calibration_error"):
            found[name] = Metric(None, None, None, n_mine, BOOTSTRAP, words)
        return found
    found |= _drawn(table, mine, closed & known & ~inside, n_bootstrap=n_bootstrap, seed=seed)
    return found


def _drawn(
    table: PredictionTable, mine: np.ndarray, rest: np.ndarray, *, n_bootstrap: int, seed: int
) -> dict[str, Metric]:
    """Return what needs a bootstrap: calibration, and the distance from everybody else.

    Both sides are drawn together: a lesion or patient with images on both stands on both.
    """
    chosen = np.flatnonzero(mine | rest)
    part = table.subset(chosen)
    is_mine = mine[chosen]
    truth = np.array([IN_SCOPE.index(label) for label in part.y_true], dtype=int)
    right = measures.is_right(part)
    calibration = measures.closed_score(part.subset(is_mine))

    def scores(weights: np.ndarray) -> Scores:
        own, other = weights * is_mine, weights * ~is_mine
        expected = np.zeros(len(weights))
        for k in range(len(IN_SCOPE)):
            of_class = truth == k
            n_own = own @ of_class
            recall = scoring.ratio(other @ (of_class & right), other @ of_class)
            # A class that the subgroup has and nobody else: there is nothing to compare with.
            expected += np.where(n_own > 0, n_own * recall, 0)
        total = own.sum(axis=1)
        error = calibration(weights[:, is_mine])["expected_calibration_error"]
        return {
            "accuracy_difference": scoring.ratio(own @ right, total)
            - scoring.ratio(expected, total),
            "expected_calibration_error": error,
        }

    group_of = np.unique(np.array(part.groups), return_inverse=True)[1]
    metrics = bootstrap(scores, group_of, n_bootstrap, np.random.default_rng(seed))
    n_mine = int(is_mine.sum())
    found = {
        name: Metric(m.value, m.low, m.high, n_mine, m.method, m.note)
        for name, m in metrics.items()
    }
    if found["accuracy_difference"].value is None:
        words = "nobody else has images of one of its classes"
        found["accuracy_difference"] = Metric(None, None, None, n_mine, BOOTSTRAP, words)
    return found


def _told(tables: list[Table]) -> list[str]:
    """Name the subgroups that differ from everybody else beyond chance."""
    worse, better, n_compared = [], [], 0
    for table in tables:
        for row in table.rows:
            gap = row.metrics["accuracy_difference"]
            if gap.value is None or gap.low is None or gap.high is None:
                continue
            n_compared += 1
            words = f"{table.caption}: {row.name} ({100 * gap.value:+.0f} points, n = {gap.n:,})"
            if gap.high < 0:
                worse.append(words)
            elif gap.low > 0:
                better.append(words)
    sentences = [
        f"Of {n_compared} subgroups that could be compared, {len(worse)} do worse than all others "
        f"at the same mix of classes and {len(better)} do better, by intervals without 0."
    ]
    sentences += [f"Worse: {'; '.join(worse)}."] if worse else []
    sentences += [f"Better: {'; '.join(better)}."] if better else []
    return sentences
