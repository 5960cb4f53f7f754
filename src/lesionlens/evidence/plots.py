"""The figures of an audit, drawn from its tables in the manner of ``lesionlens.figures``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from lesionlens import figures
from lesionlens.evidence import averaging, robustness, shortcuts, subgroups
from lesionlens.evidence.sections import Row, Section, Table
from lesionlens.intervals import Metric

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_BLUE, _ORANGE, _GREEN, _PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
_FAINT = "#8a8a8a"
_COLUMNS = 5  # of the panels of robustness

#: Lines of a panel: metric, words, colour, line style.
_Line = tuple[str, str, str, str]
_ACCURACY: tuple[_Line, ...] = (
    ("accuracy", "accuracy", _BLUE, "-"),
    ("macro_f1", "macro F1", _GREEN, "-."),
    ("mean_confidence", "mean confidence", _ORANGE, "--"),
    ("stopped", "stopped by the quality gate", _FAINT, ":"),
)
_ERRORS: tuple[_Line, ...] = (
    ("confident_and_wrong", "confident and wrong", _ORANGE, "-"),
    ("confident_and_wrong_behind_gate", "the same behind the gate", _BLUE, "--"),
    ("others_confident", "other lesions called confident", _PURPLE, "-."),
)


def draw_section(section: Section) -> dict[str, Figure]:
    """Return the figures of a section by name; none for a section without curves."""
    drawn: dict[str, Figure] = {}
    if section.key == shortcuts.KEY and (table := section.table("background")) is not None:
        drawn["shortcuts"] = draw_background(table)
    elif section.key == robustness.KEY:
        drawn["robustness"] = draw_curves(section.tables, _ACCURACY, "Score, 0 to 1", (0, 1.02))
        drawn["confident_errors"] = draw_curves(section.tables, _ERRORS, "Share of images", None)
    elif section.key == subgroups.KEY and section.tables:
        drawn["subgroups"] = draw_differences(section.tables)
    elif section.key == averaging.KEY:
        drawn["views"] = draw_views(section.tables[0])
    return drawn


#: What to write below each figure.
CAPTIONS: dict[str, str] = {
    "shortcuts": "What is still told apart with the lesion taken out, by its shape alone, and by "
    "the lesion alone. Bars: 95 % interval, bootstrap by group; dotted: chance.",
    "robustness": "Accuracy, macro F1 and mean confidence as a change grows stronger, and what the "
    "quality gate stops; bands: 95 % intervals. Confidence that stays above falling accuracy is "
    "the dangerous kind.",
    "confident_errors": "Confident answers that are wrong, with and without the quality "
    "gate in front, and other lesions answered with confidence; bands: 95 % intervals.",
    "subgroups": "Accuracy of each subgroup less that of all others at the same mix of classes; "
    "bars: 95 % interval, bootstrap by group.",
    "views": "Difference from one view, paired, against the time that it takes; bars: 95 % "
    "interval, bootstrap by group.",
}


def draw_background(table: Table) -> Figure:
    """Draw the scores of every picture shown, with what chance gives."""
    rows = table.rows
    figure = figures.bare_figure(7.4, 0.9 + 0.42 * len(rows))
    panels = figure.subplots(1, 2, sharey=True)
    for axes, key, words, chance in (
        (panels[0], "balanced_accuracy", "Balanced accuracy, three classes", shortcuts.CHANCE),
        (panels[1], "pair_roc_auc", "BCC against SCC, ROC-AUC", 0.5),
    ):
        axes.axvline(chance, color=_FAINT, linewidth=0.9, linestyle=(0, (1, 2)))
        for place, row in enumerate(rows):
            _dot(axes, row.metrics[key], place, _ORANGE if "lesion out" in row.name else _BLUE)
        axes.set_xlabel(words)
        axes.set_xlim(min(chance, 0.5) - 0.06, 1.01)
        figures.lay_grid(axes, "x")
        axes.tick_params(axis="y", length=0)
    panels[0].set_yticks(range(len(rows)), [row.name for row in rows], fontsize=8.5)
    panels[0].set_ylim(len(rows) - 0.5, -0.5)
    return figure


def draw_curves(
    tables: Sequence[Table],
    lines: Sequence[_Line],
    ylabel: str,
    ylim: tuple[float, float] | None,
) -> Figure:
    """Draw a panel for each kind of change, a line for each score, bands for the intervals."""
    n_lines = -(-len(tables) // _COLUMNS)
    figure = figures.bare_figure(9.6, 2.35 * n_lines + 0.4)
    grid = figure.subplots(n_lines, _COLUMNS, squeeze=False, sharey=True)
    for axes in grid.flat[len(tables) :]:
        axes.axis("off")
    for axes, table in zip(grid.flat, tables, strict=False):
        places = np.arange(len(table.rows))
        for key, words, colour, style in lines:
            metrics = [row.metrics.get(key) for row in table.rows]
            _curve(axes, places, metrics, label=words, colour=colour, style=style)
        names = ["–" if row.strength is None or k == 0 else row.name
                 for k, row in enumerate(table.rows)]  # fmt: skip
        axes.set_xticks(places, names)
        title, _, unit = table.caption.partition(": ")
        axes.set_title(title, fontsize=9.5, loc="left")
        axes.set_xlabel(unit, fontsize=8)
        figures.lay_grid(axes)
        axes.tick_params(axis="x", labelsize=7)
    grid[0][0].set_ylim(*(ylim or (0, None)))  # shared by all
    for row in grid:
        row[0].set_ylabel(ylabel, fontsize=8.5)
    handles, words = grid[0][0].get_legend_handles_labels()
    figure.legend(
        handles, words, loc="outside lower center", ncols=len(lines), frameon=False, fontsize=8.5
    )
    return figure


def draw_differences(tables: Sequence[Table]) -> Figure:
    """Draw how far each subgroup is from everybody else."""
    places: list[tuple[float, Row]] = []
    headings: list[tuple[float, str]] = []
    place = 0.0
    for table in tables:
        told = [row for row in table.rows if row.metrics["accuracy_difference"].value is not None]
        if not told:
            continue
        headings.append((place, table.caption))
        for row in told:
            place += 1
            places.append((place, row))
        place += 1.4
    figure, axes = figures.new_figure(7.4, 0.8 + 0.235 * (place + 1))
    axes.axvline(0, color=_FAINT, linewidth=0.9)
    for at, row in places:
        gap = row.metrics["accuracy_difference"]
        is_sure = gap.low is not None and gap.high is not None and not gap.low <= 0 <= gap.high
        _dot(axes, gap, at, _ORANGE if is_sure else _BLUE)
        axes.text(1.01, at, f"{gap.n:,}", transform=axes.get_yaxis_transform(), fontsize=8,
                  va="center", color="#5a5a5a")  # fmt: skip
    for at, words in headings:
        axes.text(-0.02, at, words, transform=axes.get_yaxis_transform(), fontsize=8.5,
                  va="center", ha="right", fontweight="bold")  # fmt: skip
    if headings:
        axes.text(1.01, headings[0][0], "images", transform=axes.get_yaxis_transform(),
                  fontsize=8, va="center", color="#5a5a5a")  # fmt: skip
    axes.set_yticks([at for at, _ in places], [row.name for _, row in places], fontsize=8.5)
    axes.set_ylim(place - 0.4, -0.8)
    axes.set_xlabel("Difference in accuracy", fontsize=9)
    figures.lay_grid(axes, "x")
    axes.tick_params(axis="y", length=0)
    return figure


def draw_views(table: Table) -> Figure:
    """Draw what more views give against what they take."""
    figure, axes = figures.new_figure(6.2, 3.4)
    axes.axhline(0, color=_FAINT, linewidth=0.9)
    rows = [row for row in table.rows[1:] if row.metrics["elapsed"].value]
    for key, words, colour, marker, shift in (
        ("accuracy_difference", "accuracy", _BLUE, "o", -0.012),
        ("macro_f1_difference", "macro F1", _GREEN, "^", -0.004),
        ("open_macro_roc_auc_difference", "ROC-AUC, other lesions too", _PURPLE, "D", 0.004),
        ("expected_calibration_error_difference", "calibration error (less is better)",
         _ORANGE, "s", 0.012),
    ):  # fmt: skip
        longest = max((row.metrics["elapsed"].value or 0 for row in rows), default=1)
        for number, row in enumerate(rows):
            metric = row.metrics[key]
            if metric.value is None:
                continue
            value, low, high = figures.ends(metric)
            axes.errorbar(
                (row.metrics["elapsed"].value or 0) + shift * longest, value,
                yerr=[[value - low], [high - value]], fmt=marker, color=colour, markersize=5,
                capsize=2.5, linewidth=1.2, label=words if number == 0 else None,
            )  # fmt: skip
    for row in rows:
        axes.annotate(
            row.name, ((row.metrics["elapsed"].value or 0), 1), xycoords=("data", "axes fraction"),
            ha="center", va="bottom", fontsize=8,
        )  # fmt: skip
    axes.set_xlabel("Time per image, ms on one core")
    axes.set_ylabel("Difference from 1 view")
    axes.set_xlim(left=0)
    figures.lay_grid(axes)
    figures.draw_legend(axes, "best", "")
    return figure


def _dot(axes: Axes, metric: Metric, place: float, colour: str) -> None:
    if metric.value is None:
        axes.text(0.02, place, metric.note or "–", transform=axes.get_yaxis_transform(),
                  fontsize=7.5, va="center", color=_FAINT)  # fmt: skip
        return
    value, low, high = figures.ends(metric)
    axes.errorbar(
        value, place, xerr=[[value - low], [high - value]], fmt="o", color=colour, markersize=5,
        capsize=2.5, linewidth=1.3,
    )  # fmt: skip


def _curve(
    axes: Axes,
    places: np.ndarray,
    metrics: Sequence[Metric | None],
    *,
    label: str,
    colour: str,
    style: str,
) -> None:
    if any(metric is None or metric.value is None for metric in metrics):
        return
    ends = np.array([figures.ends(metric) for metric in metrics if metric is not None])
    axes.fill_between(places, ends[:, 1], ends[:, 2], color=colour, alpha=0.15, linewidth=0)
    axes.plot(places, ends[:, 0], color=colour, linestyle=style, linewidth=1.6, label=label)
