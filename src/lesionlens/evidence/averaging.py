"""What does averaging over views buy, and what does it cost?"""

from __future__ import annotations

from collections.abc import Sequence
from time import thread_time

import numpy as np

from lesionlens.evidence import measures
from lesionlens.evidence.answers import Answers
from lesionlens.evidence.cohort import Cohort
from lesionlens.evidence.sections import Column, Row, Section, Table
from lesionlens.intervals import Metric
from lesionlens.views import make_views

KEY = "views"
#: Numbers of views that are compared.
VIEWS = (1, 2, 5, 10)

_TIMED_IMAGES = 40
_COLUMNS = {
    "accuracy": Column("Accuracy"),
    "accuracy_difference": Column("against 1 view", is_difference=True),
    "macro_f1": Column("F1, macro"),
    "macro_f1_difference": Column("against 1 view", is_difference=True),
    "expected_calibration_error": Column("Calibration error"),
    "expected_calibration_error_difference": Column("against 1 view", is_difference=True),
    "open_macro_roc_auc": Column("ROC-AUC, other lesions too"),
    "open_macro_roc_auc_difference": Column("against 1 view", is_difference=True),
    "elapsed": Column("Time per image", unit="ms"),
}


def audit_views(cohort: Cohort, answers: Answers, *, n_bootstrap: int, seed: int) -> Section:
    """Compare answers averaged over 1, 2, 5 and 10 views of the same images."""
    rows = np.arange(len(cohort))
    logits = answers.ask_views(max(VIEWS), rows)
    tables = {n: cohort.table(logits[:, :n].mean(axis=1), rows, views=n) for n in VIEWS}
    inside = tables[1].is_in_scope
    names = {n: f"{n} view{'s' if n > 1 else ''}" for n in VIEWS}
    metrics = measures.compare(
        {
            names[n]: measures.together(
                _on_rows(measures.closed_score(table.subset(inside)), inside),
                measures.open_score(table),
            )
            for n, table in tables.items()
        },
        tables[1].groups,
        n_bootstrap=n_bootstrap,
        seed=seed,
    )
    right = {n: measures.is_right(table)[inside] for n, table in tables.items()}
    times = _times_ms(cohort)
    table = Table(
        key="views",
        caption="Answers averaged over the first views of each image. Differences are of the same "
        "images, drawn together: an interval without 0 is a difference beyond chance.",
        columns=_COLUMNS,
        rows=tuple(
            Row(
                name=names[n],
                metrics=metrics[names[n]]
                | {"accuracy": measures.share(right[n]), "elapsed": times[n]},
                n=len(rows),
                n_groups=measures.n_groups(tables[n].groups),
                strength=n,
            )
            for n in VIEWS
        ),
    )
    return Section(
        key=KEY,
        title="Views averaged",
        question="What do 1, 2, 5 and 10 views of an image buy, and what do they cost?",
        tables=(table,),
        findings=tuple(_told(table)),
        remarks=(
            "accuracy, F1 and calibration are of the images that are one of the three; the "
            "temperature is the one fitted for the nearest number of views",
            "time is what making and answering the views of a decoded image takes of one core of "
            "the machine that wrote this report, whatever else it did meanwhile: median, with the "
            "2.5th and 97.5th percentile",
        ),
    )


def _on_rows(score: measures.Score, chosen: np.ndarray) -> measures.Score:
    """Return a score of some of the rows as one that takes the weights of all."""
    return lambda weights: score(weights[:, chosen])


def _times_ms(cohort: Cohort) -> dict[int, Metric]:
    """Time the views of some images, one after the other, in this thread alone.

    Processor time: a machine that does other things meanwhile gives much the same.
    """
    step = max(1, len(cohort) // _TIMED_IMAGES)
    chosen: Sequence[int] = range(0, len(cohort), step)[:_TIMED_IMAGES]
    pictures = [(row, cohort.pixels(row)) for row in chosen]
    times: dict[int, list[float]] = {n: [] for n in VIEWS}
    for row, rgb in pictures:
        model = cohort.examinees[cohort.cases[row].examinee].model
        model.run(rgb[np.newaxis])  # the interpreter of this thread is made, and warm
        for n in VIEWS:
            started = thread_time()
            model.run(make_views(rgb, n, cohort.zooms))
            times[n].append((thread_time() - started) * 1e3)
    found = {}
    for n, values in times.items():
        low, middle, high = (float(v) for v in np.percentile(values, [2.5, 50, 97.5]))
        found[n] = Metric(middle, low, high, len(values), "percentiles of single images")
    return found


def _told(table: Table) -> list[str]:
    first = table.rows[0].metrics["elapsed"].value
    sentences = []
    for row in table.rows[1:]:
        gain, time = row.metrics["accuracy_difference"], row.metrics["elapsed"].value
        if gain.value is None or gain.low is None or gain.high is None or not first or not time:
            continue
        sure = "beyond chance" if gain.low > 0 or gain.high < 0 else "within chance"
        sentences.append(
            f"{row.name}: accuracy {100 * gain.value:+.1f} points ({100 * gain.low:+.1f} to "
            f"{100 * gain.high:+.1f}, {sure}) for {time / first:.1f} times the time."
        )
    return sentences
