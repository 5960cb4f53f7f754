"""The figures of a report about what may be withheld: verdicts, risk and coverage, scope.

Drawn like those of ``figures``: no pyplot, colours that people with any colour vision tell apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from lesionlens import figures, scoring
from lesionlens.intervals import proportion
from lesionlens.judging import Verdicts
from lesionlens.labels import FULL_NAMES, IN_SCOPE, Label
from lesionlens.metrics import Evaluation
from lesionlens.selective import RiskCoverage
from lesionlens.verdicts import CONFIDENT, OUT_OF_SCOPE, POOR_IMAGE, UNCERTAIN

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Colour of a bar's parts. Wrong and confident is what matters and is the only warm colour.
_PARTS = {
    "confident, right": "#0072B2",
    "confident, wrong": "#D55E00",
    "uncertain": "#9FC9E3",
    "out of scope": "#DADADA",
    "poor image": "#7D7D7D",
}
_CLOSED, _HALF = ("#0072B2", "-"), ("#D55E00", "--")
_MARKERS = "osD^v<>"
_FAINT = "#8a8a8a"
#: A part of a bar narrower than this has no room for its percentage.
_LEAST_TOLD = 0.045


def draw_verdicts(verdicts: Verdicts) -> Figure:
    """Draw the verdicts on the images of each truth as a bar that adds up to all of them."""
    labels = list(verdicts.by_label)
    figure, axes = figures.new_figure(7.4, 1.3 + 0.36 * len(labels))
    for place, row in enumerate(verdicts.by_label.values()):
        right = row.confident_right.value or 0.0
        shares = {verdict: count / row.n for verdict, count in row.counts.items()}
        parts = (
            right,
            shares[CONFIDENT] - right,
            shares[UNCERTAIN],
            shares[OUT_OF_SCOPE],
            shares[POOR_IMAGE],
        )
        left = 0.0
        for share, (name, colour) in zip(parts, _PARTS.items(), strict=True):
            axes.barh(place, share, left=left, height=0.72, color=colour, label=name)
            if share >= _LEAST_TOLD:
                dark = name in ("confident, right", "confident, wrong", "poor image")
                axes.text(
                    left + share / 2, place, f"{100 * share:.0f} %", ha="center", va="center",
                    fontsize=8.5, color="white" if dark else "#1a1a1a",
                )  # fmt: skip
            left += share
    names = [f"{FULL_NAMES[label]}  ({verdicts.by_label[label].n:,})" for label in labels]
    axes.set_yticks(range(len(labels)), names, fontsize=9)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.set_xlim(0, 1)
    axes.set_xticks(np.linspace(0, 1, 6), [f"{share:.0f} %" for share in np.linspace(0, 100, 6)])
    n_in_scope = sum(label in IN_SCOPE for label in labels)
    if 0 < n_in_scope < len(labels):
        axes.axhline(n_in_scope - 0.5, color=_FAINT, linewidth=0.8, linestyle=(0, (1, 2)))
    axes.set_xlabel("Share of the images of each truth")
    axes.tick_params(axis="y", length=0)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    handles, words = axes.get_legend_handles_labels()
    told = dict(zip(words, handles, strict=True))
    figure.legend(
        told.values(), told.keys(), loc="outside upper center", ncols=len(told), frameon=False,
        fontsize=8.5, handlelength=1.1, columnspacing=1.4,
    )  # fmt: skip
    return figure


def draw_risk_coverage(
    evaluation: Evaluation, others: Sequence[tuple[str, Evaluation]] = ()
) -> Figure:
    """Draw error against the share answered, and where the verdicts of the table stand.

    Args:
        evaluation: whose curves to draw.
        others: evaluations of the same answers judged otherwise, by name, such as by another
            policy; their points are marked. Those of other answers are passed over.
    """
    figure, axes = figures.new_figure(5.6, 4.7)
    selective = evaluation.selective
    same = [(name, other) for name, other in others if _same_answers(evaluation, other)]
    curves = (
        (selective.closed, _CLOSED, "BCC, SCC, healthy skin"),
        (selective.half, _HALF, "half other lesions"),
    )
    for curve, (colour, style), words in curves:
        if curve is None:
            continue
        axes.plot(
            curve.answered, curve.error, color=colour, linestyle=style, linewidth=1.8,
            label=f"{words}\narea {figures.told(curve.area)}",
        )  # fmt: skip
        _mark(axes, curve, colour, _MARKERS[0])
        for place, (_, other) in enumerate(same, 1):
            found = other.selective.closed if curve is selective.closed else other.selective.half
            if found is not None:
                _mark(axes, found, colour, _MARKERS[place % len(_MARKERS)])
    if evaluation.table.verdicts:
        names = ["confident" + (", this table" if same else ""), *(name for name, _ in same)]
        for place, name in enumerate(names):
            axes.plot(
                [], [], marker=_MARKERS[place % len(_MARKERS)], linestyle="none",
                markerfacecolor="white", markeredgecolor="#1a1a1a", label=name,
            )  # fmt: skip
    axes.set_xlim(0, 1)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("Share of images answered, the most probable answers first")
    axes.set_ylabel("Share wrong among the answers")
    figures.lay_grid(axes)
    figures.draw_legend(axes, "upper left", "")
    return figure


def _same_answers(one: Evaluation, other: Evaluation) -> bool:
    first, second = one.table, other.table
    return (
        first.image_ids == second.image_ids
        and first.joint.shape == second.joint.shape
        and bool(np.allclose(first.joint, second.joint, atol=1e-5))
        and bool(second.verdicts)
    )


def _mark(axes: Axes, curve: RiskCoverage, colour: str, marker: str) -> None:
    """Mark the point of the confident answers, a cross of its two intervals behind it."""
    share, error = curve.confident, curve.confident_error
    if share is None or error is None or error.value is None:
        return
    x, x_low, x_high = figures.ends(share)
    y, y_low, y_high = figures.ends(error)
    axes.errorbar(
        x, y, xerr=[[x - x_low], [x_high - x]], yerr=[[y - y_low], [y_high - y]],
        fmt=marker, color=colour, markerfacecolor="white", markersize=7, markeredgewidth=1.6,
        linewidth=1.1, capsize=2, zorder=4,
    )  # fmt: skip


def draw_scope_reliability(evaluation: Evaluation) -> Figure | None:
    """Draw how often an image is one of the three against the ``scope`` it is given.

    Other lesions count as many as images of the three, together. Bins are those of the
    calibration error; bars are Wilson's intervals of the counts, brought to that mixture.

    Returns:
        None where the table has no other lesions, or the model no way to tell them.
    """
    open_set = evaluation.open_set
    if open_set is None or open_set.scope_calibration_error.value is None:
        return None
    chosen = np.array([label is not Label.NOT_SKIN for label in evaluation.table.y_true])
    scope = evaluation.table.scope[chosen]
    in_scope = evaluation.table.is_in_scope[chosen]
    weights = scoring.half_and_half(np.ones((1, len(scope))), in_scope)[0]
    factor = in_scope.sum() / (~in_scope).sum()
    bin_of = scoring.calibration_bin_of(scope, weights=weights)

    def mixed(share: float) -> float:
        return share / (share + factor * (1 - share))

    figure, axes = figures.new_figure(4.9, 4.7)
    axes.plot([0, 1], [0, 1], color=_FAINT, linewidth=0.8, linestyle=(0, (1, 2)))
    for found in np.unique(bin_of):
        inside = bin_of == found
        share = proportion(int(in_scope[inside].sum()), int(inside.sum()))
        value, low, high = (mixed(end) for end in figures.ends(share))
        axes.errorbar(
            np.average(scope[inside], weights=weights[inside]), value,
            yerr=[[value - low], [high - value]],
            fmt="o", color="#0072B2", markersize=5, linewidth=1.2, capsize=2.5, clip_on=False,
        )  # fmt: skip
    axes.text(
        0.03, 0.95, f"Calibration error\n{figures.told(open_set.scope_calibration_error)}",
        transform=axes.transAxes, va="top", fontsize=8.5, linespacing=1.5,
    )  # fmt: skip
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.set_aspect("equal")
    axes.set_xlabel("Scope: probability of one of the three")
    axes.set_ylabel("Share that is one of the three")
    figures.lay_grid(axes)
    return figure
