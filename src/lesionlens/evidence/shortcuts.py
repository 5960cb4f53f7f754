"""Does the model know the disease, or the camera, the distance and the skin around?

Three tests. *Magnification*: healthy-skin crops show skin from nearer than whole frames do, so
lesions are shown as near as crops, and crops as far as frames. *Corners*: a corner of a lesion's
frame without lesion in it is healthy skin. *Background*: the lesion is taken out, and what the
model still gets right among three classes is not dermatology (Bissoto et al. 2019,
https://arxiv.org/abs/1904.08818).

What chance gives: balanced accuracy of any answer that does not look at the picture is 1/3, and
1/2 for BCC against SCC, whatever the share of each class. Healthy-skin crops are given holes in
the shape of other images' lesions, so that a hole says nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from lesionlens.evidence import masks as pictures
from lesionlens.evidence import measures
from lesionlens.evidence.answers import Answers
from lesionlens.evidence.cohort import Change, Cohort
from lesionlens.evidence.sections import Column, Row, Section, Table
from lesionlens.intervals import Metric, Scores
from lesionlens.labels import IN_SCOPE, Label
from lesionlens.prediction_table import PredictionTable

KEY = "shortcuts"
#: Balanced accuracy of an answer that does not look at the picture.
CHANCE = 1 / len(IN_SCOPE)

_WHOLE = "whole picture"
_NO_LESION = ("lesion out, median skin colour", "lesion out, skin continued")
_ONLY_LESION = ("lesion alone, on its own skin colour", "lesion alone, on one skin colour")
_SHAPE = "shape of the mask alone"
_CORNER_SHARE = 0.25


@dataclass(frozen=True, eq=False)
class Masks:
    """The lesions of some of a cohort's images, by row."""

    lesions: Mapping[int, np.ndarray]  # bool, (side, side)
    remarks: tuple[str, ...]


def load_masks(cohort: Cohort, directory: Path) -> Masks:
    """Read the masks of a cohort's lesions.

    Raises:
        DataError: no such folder, or a mask that is unreadable or of another shape than its image.
    """
    row_of = {case.frame.image_id: row for row, case in enumerate(cohort.cases)}
    lesions, n_empty = {}, 0
    for image_id, path in pictures.find_masks(directory, row_of).items():
        row = row_of[image_id]
        if cohort.cases[row].frame.label in (Label.NORMAL, Label.NOT_SKIN):
            continue
        mask = pictures.load_mask(path, image_size_px=cohort.size_px(row))
        if mask.any():
            lesions[row] = mask
        else:
            n_empty += 1
    remarks = (f"{n_empty:,} masks are empty and were not used",) if n_empty else ()
    return Masks(lesions, remarks)


def audit_shortcuts(
    cohort: Cohort, answers: Answers, masks: Masks | None, *, n_bootstrap: int, seed: int
) -> Section:
    """Ask about magnification, corners and, where there are masks, background and lesion alone."""
    tables = [_magnification(cohort, answers, masks)]
    findings: list[str] = []
    remarks = list(masks.remarks) if masks else []
    background, words = _background(cohort, answers, masks, n_bootstrap=n_bootstrap, seed=seed)
    if background is not None:
        tables.append(background)
        findings += _told(background)
    return Section(
        key=KEY,
        title="Shortcuts",
        question="Is it the lesion that is recognised, or the distance, the camera and the skin "
        "around? Each picture is changed and shown, one view, to a model that never saw it.",
        tables=tuple(tables),
        findings=tuple(findings),
        remarks=(*remarks, *words),
    )


def enlarge(rgb: np.ndarray, left: float, top: float, share: float) -> np.ndarray:
    """Return the square at (left, top) of ``share`` of the side, all 0..1, at full size."""
    side = len(rgb)
    box = (left * side, top * side, (left + share) * side, (top + share) * side)
    image = Image.fromarray(rgb).resize((side, side), Image.Resampling.BILINEAR, box=box)
    return np.asarray(image)


def mirrored(rgb: np.ndarray) -> np.ndarray:
    """Return a picture at half its magnification, mirrored into the room around it."""
    side = len(rgb)
    margin = side // 2
    padded = np.pad(rgb, ((margin, margin), (margin, margin), (0, 0)), "symmetric")
    return np.asarray(Image.fromarray(padded).resize((side, side), Image.Resampling.BILINEAR))


def free_corner(mask: np.ndarray) -> tuple[float, float] | None:
    """Return left and top, 0..1, of a corner without any lesion, or None."""
    side = len(mask)
    reach = round(_CORNER_SHARE * side)
    grown = pictures.grow(mask, pictures.MARGIN_PX)
    for top in (0, side - reach):
        for left in (0, side - reach):
            if not grown[top : top + reach, left : left + reach].any():
                return left / side, top / side
    return None


def _magnification(cohort: Cohort, answers: Answers, masks: Masks | None) -> Table:
    whole: Change = lambda rgb, row: rgb  # noqa: E731 - it stands in a row of its like
    rows: list[Row] = []

    def add(name: str, block: str, chosen: np.ndarray, change: Change, truth: Label) -> None:
        if not len(chosen):
            return
        key = f"{KEY}-{truth}-{block}-{name}"
        logits = answers.ask(key, [change], chosen)[0]
        rows.append(_named(name, block, cohort.table(logits, chosen, views=1), truth))

    for label in (Label.BCC, Label.SCC):
        chosen = cohort.rows(label)
        add("whole frame", str(label), chosen, whole, label)
        add(
            "its middle half, as near as a skin crop", str(label), chosen,
            lambda rgb, row: enlarge(rgb, 0.25, 0.25, 0.5), label,
        )  # fmt: skip
        corners = {
            row: place
            for row in chosen.tolist()
            if masks is not None
            and row in masks.lesions
            and (place := free_corner(masks.lesions[row])) is not None
        }

        def corner(
            rgb: np.ndarray, row: int, places: Mapping[int, tuple[float, float]] = corners
        ) -> np.ndarray:
            return enlarge(rgb, *places[row], _CORNER_SHARE)

        free = np.array(sorted(corners), dtype=int)
        add("a corner without lesion: skin", str(label), free, corner, label)
    crops = cohort.rows(Label.NORMAL)
    sources = np.array([cohort.cases[row].frame.source for row in crops])
    for source in np.unique(sources):
        block = f"Normal, {source or 'source not told'}"
        chosen = crops[sources == source]
        add("crop", block, chosen, whole, Label.NORMAL)
        add(
            "crop, mirrored to a frame's magnification", block, chosen,
            lambda rgb, row: mirrored(rgb), Label.NORMAL,
        )  # fmt: skip
    return Table(
        key="magnification",
        caption="By how near the camera was, and by source. A lesion that is called Normal once it "
        "is shown as near as a crop, or a crop that no longer is once it is shown from further "
        "away, was told by its distance. A corner without lesion is skin: Normal is the right "
        "answer there.",
        columns={
            "called_normal": Column("Called Normal"),
            "called_truth": Column("Called rightly"),
        },
        rows=tuple(rows),
    )


def _named(name: str, block: str, table: PredictionTable, truth: Label) -> Row:
    answer = np.array(IN_SCOPE, dtype=object)[table.conditional.argmax(axis=1)]
    metrics = {
        key: measures.share(answer == label, table.groups)
        for key, label in (("called_normal", Label.NORMAL), ("called_truth", truth))
    }
    if name.startswith("a corner"):
        metrics.pop("called_truth")  # the frame's truth is not the corner's
    return Row(name, metrics, len(table), measures.n_groups(table.groups), block)


def _background(
    cohort: Cohort, answers: Answers, masks: Masks | None, *, n_bootstrap: int, seed: int
) -> tuple[Table | None, list[str]]:
    if masks is None:
        return None, [
            "no lesion masks were given (--masks): background and lesion alone not tested"
        ]
    lesions = [row for row in cohort.rows(Label.BCC, Label.SCC).tolist() if row in masks.lesions]
    usable = {row: masks.lesions[row] for row in lesions if pictures.is_usable(masks.lesions[row])}
    missing = sorted(
        label.value
        for label in (Label.BCC, Label.SCC)
        if not any(cohort.cases[row].frame.label == label for row in usable)
    )
    crops = cohort.rows(Label.NORMAL).tolist()
    if missing or not crops:
        words = " or ".join(missing or [Label.NORMAL.value])
        return None, [f"no image of {words} has a usable mask: background not tested"]
    rng = np.random.default_rng(seed)
    of_row = usable | pictures.borrow_masks(usable, crops, rng)
    chosen = np.array(sorted(of_row), dtype=int)
    changes: dict[str, Change] = {
        _WHOLE: lambda rgb, row: rgb,
        _NO_LESION[0]: lambda rgb, row: pictures.without_lesion(rgb, of_row[row], grain=False),
        _NO_LESION[1]: lambda rgb, row: pictures.without_lesion(rgb, of_row[row], grain=True),
        _SHAPE: lambda rgb, row: pictures.silhouette(of_row[row]),
        _ONLY_LESION[0]: lambda rgb, row: pictures.lesion_only(rgb, of_row[row]),
        _ONLY_LESION[1]: lambda rgb, row: pictures.lesion_only(
            rgb, of_row[row], pictures.SKIN_COLOUR
        ),
    }
    key = f"{KEY}-background-{seed}-{_fingerprint(of_row)}"
    logits = answers.ask(key, list(changes.values()), chosen)
    tables = {name: cohort.table(logits[k], chosen, views=1) for k, name in enumerate(changes)}
    metrics = measures.compare(
        {
            name: measures.together(
                measures.closed_score(table), measures.pair_score(table, Label.BCC, Label.SCC)
            )
            for name, table in tables.items()
        },
        tables[_WHOLE].groups,
        n_bootstrap=n_bootstrap,
        seed=seed,
        also=_above_chance,
    )
    n_groups = measures.n_groups(tables[_WHOLE].groups)
    rows = tuple(Row(name, metrics[name], len(chosen), n_groups) for name in changes)
    table = Table(
        key="background",
        caption="What is left when the lesion is taken out, and when nothing else is left. "
        f"Chance is {CHANCE:.3f} for the balanced accuracy of three classes and 0.5 for BCC "
        "against SCC. “Kept” is the share of the accuracy above chance that is still there.",
        columns={
            "balanced_accuracy": Column("Balanced accuracy"),
            "above_chance": Column("Above chance", is_difference=True),
            "kept": Column("Kept"),
            "pair_balanced_accuracy": Column("BCC or SCC, balanced"),
            "pair_roc_auc": Column("BCC against SCC, ROC-AUC"),
            "recall_BCC": Column("BCC found"),
            "recall_SCC": Column("SCC found"),
            "recall_Normal": Column("Normal found"),
        },
        rows=rows,
    )
    n_left_out = len(lesions) - len(usable)
    n_without = len(cohort.rows(Label.BCC, Label.SCC)) - len(lesions)
    told = [
        f"{len(usable):,} images of BCC and SCC with a mask and {len(crops):,} of healthy skin; "
        f"{n_left_out:,} lesions leave too little of either lesion or skin, {n_without:,} have "
        "no mask"
    ]
    return table, told


def _above_chance(by_condition: Mapping[str, Scores]) -> dict[str, Scores]:
    whole = by_condition[_WHOLE]["balanced_accuracy"] - CHANCE
    found = {}
    for name, scores in by_condition.items():
        above = scores["balanced_accuracy"] - CHANCE
        found[name] = {"above_chance": above}
        if name != _WHOLE:
            with np.errstate(divide="ignore", invalid="ignore"):
                found[name]["kept"] = np.where(whole > 0, above / whole, np.nan)
    return found


def _told(table: Table) -> list[str]:
    sentences = []
    whole = table.row(_WHOLE).metrics["balanced_accuracy"]
    for name, words in (
        (_NO_LESION[1], "With the lesion taken out and the skin continued"),
        (_ONLY_LESION[1], "With nothing but the lesion left, on one and the same skin colour"),
    ):
        left, kept = (table.row(name).metrics[key] for key in ("balanced_accuracy", "kept"))
        if whole.value is None or left.value is None or kept.value is None:
            continue
        sentences.append(
            f"{words}, the balanced accuracy is {_with_interval(left)} "
            f"(whole picture {whole.value:.3f}, chance {CHANCE:.3f}): "
            f"{100 * kept.value:.0f} % of what exceeds chance is still there."
        )
    return sentences


def _with_interval(metric: Metric) -> str:
    if metric.low is None or metric.high is None:
        return f"{metric.value:.3f}"
    return f"{metric.value:.3f} ({metric.low:.3f}–{metric.high:.3f})"


def _fingerprint(masks: Mapping[int, np.ndarray]) -> str:
    import hashlib

    digest = hashlib.sha256()
    for row in sorted(masks):
        digest.update(row.to_bytes(4, "little") + np.packbits(masks[row]).tobytes())
    return digest.hexdigest()[:16]
