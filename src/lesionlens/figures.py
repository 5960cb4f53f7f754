"""The figures of a report, drawn from an evaluation; compute in ``metrics``, render here.

Every function returns a matplotlib ``Figure`` that no global state knows of (no pyplot), on a
white ground, in the colours of Okabe and Ito (https://jfly.uni-koeln.de/color/), which people
with any colour vision tell apart; line styles and markers tell the classes apart in grey.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lesionlens import scoring
from lesionlens.errors import ImageError
from lesionlens.imaging import load_pixels
from lesionlens.intervals import Metric, proportion
from lesionlens.labels import IN_SCOPE, Label
from lesionlens.metrics import Evaluation

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Colour, line style and marker of each class, the same in every figure.
CLASS_STYLE: dict[Label, tuple[str, str, str]] = {
    Label.BCC: ("#0072B2", "-", "o"),
    Label.SCC: ("#D55E00", "--", "s"),
    Label.NORMAL: ("#009E73", "-.", "^"),
}
_INK = "#1a1a1a"
_FAINT = "#8a8a8a"
_GRID = "#e4e4e4"
_WIDTH_IN = 5.2  # of a figure that fills a column
_GALLERY_COLUMNS = 4
_THUMBNAIL_PX = 168


@dataclass(frozen=True)
class WrongAnswer:
    """An image of the closed set that was given a wrong answer."""

    image_id: str
    source: str
    truth: Label
    answer: Label
    probability: float  # 0..1, of the answer
    truth_probability: float  # 0..1, of the truth


def worst_errors(evaluation: Evaluation, n: int = 12) -> list[WrongAnswer]:
    """Return the ``n`` wrong answers given with most confidence, the most confident first."""
    table = evaluation.table
    conditional = table.conditional
    answers = conditional.argmax(axis=1)
    wrong = [
        WrongAnswer(
            image_id=table.image_ids[row],
            source=table.sources[row],
            truth=truth,
            answer=IN_SCOPE[answers[row]],
            probability=float(conditional[row, answers[row]]),
            truth_probability=float(conditional[row, IN_SCOPE.index(truth)]),
        )
        for row, truth in enumerate(table.y_true)
        if truth in IN_SCOPE and IN_SCOPE[answers[row]] != truth
    ]
    return sorted(wrong, key=lambda error: (-error.probability, error.image_id))[:n]


def draw_confusion(evaluation: Evaluation) -> Figure:
    """Draw the confusion matrix: counts, and the percentage of each true class."""
    figure, axes = new_figure(4.6, 4.0)
    counts = evaluation.confusion
    support = counts.sum(axis=1, keepdims=True)
    share = np.where(support > 0, counts / np.maximum(support, 1), 0)
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1.15)
    for row in range(len(IN_SCOPE)):
        for column in range(len(IN_SCOPE)):
            colour = "white" if share[row, column] > 0.6 else _INK
            axes.text(
                column, row - 0.08, f"{counts[row, column]:,}",
                ha="center", va="center", fontsize=15, color=colour,
                fontweight="bold" if row == column else "normal",
            )  # fmt: skip
            percent = f"{100 * share[row, column]:.1f} %" if support[row, 0] else "no image"
            axes.text(
                column, row + 0.22, percent, ha="center", va="center", fontsize=9.5, color=colour
            )
    names = [label.value for label in IN_SCOPE]
    axes.set_xticks(range(len(names)), names)
    axes.set_yticks(
        range(len(names)),
        [f"{name}\nn = {n:,}" for name, n in zip(names, support[:, 0], strict=True)],
    )
    axes.set_xlabel("Answer of the model", labelpad=8)
    axes.set_ylabel("Truth", labelpad=8)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    for edge in (0.5, 1.5):
        axes.axhline(edge, color="white", linewidth=2)
        axes.axvline(edge, color="white", linewidth=2)
    return figure


def draw_roc(evaluation: Evaluation) -> Figure:
    """Draw each class's ROC curve against the other two, the area with its interval."""
    figure, axes = new_figure(4.9, 4.7)
    axes.plot([0, 1], [0, 1], color=_FAINT, linewidth=0.8, linestyle=(0, (1, 2)))
    _draw_curves(axes, evaluation, "roc_auc")
    axes.set_xlabel("1 − specificity (false-positive rate)")
    axes.set_ylabel("Sensitivity (true-positive rate)")
    draw_legend(axes, "lower right", "Area under the curve (95 % interval)")
    return figure


def draw_precision_recall(evaluation: Evaluation) -> Figure:
    """Draw each class's precision-recall curve, average precision with its interval."""
    figure, axes = new_figure(4.9, 4.7)
    _draw_curves(axes, evaluation, "average_precision")
    total = max(evaluation.n, 1)
    for label, n in zip(IN_SCOPE, evaluation.confusion.sum(axis=1), strict=True):
        if n:
            axes.plot(
                [0, 1], [n / total] * 2, color=CLASS_STYLE[label][0], linewidth=0.7, alpha=0.6,
                linestyle=(0, (1, 2)),
            )  # fmt: skip
    axes.set_xlabel("Recall (sensitivity)")
    axes.set_ylabel("Precision")
    draw_legend(axes, "lower left", "Average precision (95 % interval)")
    return figure


_LEGEND: dict[str, Any] = {
    "frameon": True,
    "framealpha": 0.92,
    "edgecolor": "none",
    "fontsize": 8.5,
    "title_fontsize": 8.5,
    "alignment": "left",
}


def draw_legend(axes: Axes, place: Any, title: str) -> None:
    """Draw a legend in the style of the report, if there is anything to tell."""
    if axes.get_legend_handles_labels()[0]:  # matplotlib warns of a legend of nothing
        axes.legend(loc=place, title=title, **_LEGEND)


def _draw_curves(axes: Axes, evaluation: Evaluation, name: str) -> None:
    chosen = evaluation.table.is_in_scope
    truths = np.array([y.value for y in evaluation.table.y_true])[chosen]
    conditional = evaluation.table.conditional[chosen]
    for k, label in enumerate(IN_SCOPE):
        metric = evaluation.by_class[label][name]
        is_positive = truths == label.value
        if metric.value is None:
            continue
        if name == "roc_auc":
            x, y = scoring.roc_curve(is_positive, conditional[:, k])
        else:
            x, y = scoring.precision_recall_curve(is_positive, conditional[:, k])
            x, y = np.concatenate(([0.0], x)), np.concatenate((y[:1], y))
        colour, style, _ = CLASS_STYLE[label]
        axes.plot(
            x, y, color=colour, linestyle=style, linewidth=1.8, label=f"{label}  {told(metric)}",
            solid_joinstyle="miter", drawstyle="default" if name == "roc_auc" else "steps-pre",
            clip_on=False,
        )  # fmt: skip
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.set_aspect("equal")
    lay_grid(axes)


def draw_reliability(evaluation: Evaluation, before: Evaluation | None = None) -> Figure:
    """Draw how often the model is right against how sure it is, and how many answers that is.

    Bins are those of the expected calibration error; bars are Wilson's intervals.

    Args:
        evaluation: whose answers to draw.
        before: of the same images before calibration; its dots are hollow.
    """
    figure = bare_figure(_WIDTH_IN, 5.2)
    axes, below = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": [3.6, 1]})
    axes.plot([0, 1], [0, 1], color=_FAINT, linewidth=0.8, linestyle=(0, (1, 2)))
    if before is not None:
        _draw_reliability(axes, *_confidence_and_right(before), "#CC79A7", "white")
    confidence, is_right = _confidence_and_right(evaluation)
    if len(confidence):
        _draw_reliability(axes, confidence, is_right, "#0072B2", "#0072B2")
        below.hist(
            [confidence[~is_right], confidence[is_right]],
            bins=np.linspace(1 / 3, 1, 21), stacked=True, color=["#D55E00", "#56B4E9"],
            label=["wrong", "right"], zorder=2,
        )  # fmt: skip
        below.legend(loc="upper left", **_LEGEND)
    error = evaluation.overall["expected_calibration_error"]
    words = told(error)
    if before is not None:
        earlier = before.overall["expected_calibration_error"]
        words += f"\nbefore calibration (hollow)\n{told(earlier)}"
    axes.text(
        0.03, 0.95, f"Expected calibration error\n{words}",
        transform=axes.transAxes, va="top", fontsize=8.5, linespacing=1.5,
    )  # fmt: skip
    axes.text(0.99, 0.045, "bars: Wilson's 95 % interval\ndots: a tenth of the answers each",
              transform=axes.transAxes, ha="right", fontsize=7.5, color="#5a5a5a")  # fmt: skip
    axes.set_xlim(1 / 3, 1)
    axes.set_ylim(0, 1)
    axes.set_ylabel("Share of right answers")
    below.set_ylabel("Answers")
    below.set_xlabel("Probability that the model gives its answer")
    for part in (axes, below):
        lay_grid(part)
    return figure


def _confidence_and_right(evaluation: Evaluation) -> tuple[np.ndarray, np.ndarray]:
    """Return the probability of each answer of the closed set, and whether it is right."""
    conditional = evaluation.table.conditional[evaluation.table.is_in_scope]
    truths = [IN_SCOPE.index(y) for y in evaluation.table.y_true if y in IN_SCOPE]
    return conditional.max(axis=1), conditional.argmax(axis=1) == np.array(truths, dtype=int)


def _draw_reliability(
    axes: Axes, confidence: np.ndarray, is_right: np.ndarray, colour: str, inside_colour: str
) -> None:
    if not len(confidence):
        return
    bin_of = scoring.calibration_bin_of(confidence)
    for found in np.unique(bin_of):
        inside = bin_of == found
        share = proportion(int(is_right[inside].sum()), int(inside.sum()))
        value, low, high = ends(share)
        axes.errorbar(
            confidence[inside].mean(), value, yerr=[[value - low], [high - value]],
            fmt="o", color=colour, markerfacecolor=inside_colour, markersize=5, linewidth=1.2,
            capsize=2.5, clip_on=False,
        )  # fmt: skip


def draw_worst_errors(errors: Sequence[WrongAnswer], images: Mapping[str, Path]) -> Figure | None:
    """Draw the images of wrong answers, truth and answer below each.

    Args:
        errors: from ``worst_errors``.
        images: image id to file; those missing or unreadable are left out.

    Returns:
        None if no image could be read.
    """
    drawn = []
    for error in errors:
        if error.image_id in images:
            try:
                pixels = load_pixels(images[error.image_id], size_px=_THUMBNAIL_PX)
            except ImageError:
                continue
            drawn.append((error, pixels.rgb))
    if not drawn:
        return None
    n_rows = -(-len(drawn) // _GALLERY_COLUMNS)
    figure = bare_figure(7.4, 2.25 * n_rows)
    grid = figure.subplots(n_rows, _GALLERY_COLUMNS, squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for axes, (error, rgb) in zip(grid.flat, drawn, strict=False):
        axes.imshow(rgb, interpolation="antialiased")
        axes.set_title(
            f"{error.truth}, taken for {error.answer}\n{100 * error.probability:.0f} % sure",
            fontsize=8.5, pad=4, linespacing=1.3,
        )  # fmt: skip
        axes.text(0.5, -0.03, error.image_id, transform=axes.transAxes, ha="center", va="top",
                  fontsize=6.5, color="#5a5a5a")  # fmt: skip
    return figure


def draw_comparison(entries: Sequence[tuple[str, Evaluation]]) -> Figure:
    """Draw the headline metrics of several tables, a dot and its interval for each."""
    names = {
        "accuracy": "Accuracy",
        "balanced_accuracy": "Balanced accuracy",
        "macro_f1": "Macro F1",
        "macro_roc_auc": "Macro ROC-AUC",
    }
    figure, axes = new_figure(7.0, 0.9 + len(names) * (0.22 * len(entries) + 0.25))
    colours = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
    markers = "os^Dv<>"
    step = 0.75 / max(len(entries), 1)
    for k, (title, evaluation) in enumerate(entries):
        for row, name in enumerate(names):
            metric = evaluation.overall[name]
            if metric.value is None:
                continue
            value, low, high = ends(metric)
            axes.errorbar(
                value, row + (k - (len(entries) - 1) / 2) * step,
                xerr=[[value - low], [high - value]],
                fmt=markers[k % len(markers)], color=colours[k % len(colours)], markersize=5,
                capsize=2.5, linewidth=1.3, label=title if row == 0 else None,
            )  # fmt: skip
    axes.set_yticks(range(len(names)), list(names.values()))
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlim(right=1.0)
    axes.set_xlabel("Value and 95 % interval")
    lay_grid(axes, "x")
    axes.tick_params(axis="y", length=0)
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1), **_LEGEND)
    return figure


def ends(metric: Metric) -> tuple[float, float, float]:
    """Return value, low and high of a metric with a value; without an interval all three alike."""
    value = metric.value or 0.0
    low = value if metric.low is None else metric.low
    return value, low, value if metric.high is None else metric.high


def told(metric: Metric) -> str:
    """Return a metric and its interval as a legend tells them."""
    if metric.value is None:
        return "–"
    if metric.low is None or metric.high is None:
        return f"{metric.value:.3f} (no interval)"
    return f"{metric.value:.3f} ({metric.low:.3f}–{metric.high:.3f})"


def bare_figure(width_in: float, height_in: float) -> Figure:
    """Return an empty figure that belongs to no window."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    layout = ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.1)  # inches
    figure = Figure(figsize=(width_in, height_in), layout=layout, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def new_figure(width_in: float, height_in: float) -> tuple[Figure, Axes]:
    """Return a figure with one pair of axes."""
    figure = bare_figure(width_in, height_in)
    return figure, figure.add_subplot()


def lay_grid(axes: Axes, axis: Any = "both") -> None:
    """Lay a pale grid behind what is drawn, and take the box away."""
    axes.grid(axis=axis, color=_GRID, linewidth=0.7)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(_FAINT)
    axes.tick_params(color=_FAINT, labelsize=9)
