"""Training curves as a picture, where people would rather look than read log.csv."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

from lesionlens.files import atomic_write


def draw_curves(rows: Sequence[Mapping[str, str]], path: Path, *, title: str) -> None:
    """Draw loss and accuracy over epochs, stages apart, the kept epoch marked.

    Args:
        rows: of log.csv, see ``stages.EpochLog``.
        path: PNG to write.
        title: of the picture.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    epochs = [int(row["epoch"]) for row in rows]
    kept = [int(row["epoch"]) for row in rows if row["is_best"] == "True"][-1]
    starts = [
        int(row["epoch"]) for before, row in pairwise(rows) if row["stage"] != before["stage"]
    ]
    figure = Figure(figsize=(9, 3.8), layout="constrained")
    losses, accuracies = figure.subplots(1, 2)
    for axes, name, lines in (
        (
            losses,
            "cross-entropy",
            {"train_loss": "training (augmented)", "validation_loss": "validation"},
        ),
        (
            accuracies,
            "BCC / SCC / Normal, validation",
            {
                "validation_accuracy": "accuracy",
                "validation_balanced_accuracy": "balanced accuracy",
            },
        ),
    ):
        for (column, label), colour in zip(lines.items(), ("#0072B2", "#D55E00"), strict=True):
            values = [float(row[column]) for row in rows]
            axes.plot(epochs, values, color=colour, label=label, linewidth=1.6)
        axes.axvline(kept, color="#555555", linestyle=":", label=f"kept: epoch {kept}")
        for place, start in enumerate(starts):
            label = "next stage" if place == 0 else "_nolegend_"
            axes.axvline(start - 0.5, color="#BBBBBB", linewidth=1, label=label)
        axes.set(xlabel="epoch", ylabel=name)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=8)
    figure.suptitle(title, fontsize=11)
    with atomic_write(path, "wb") as file:
        figure.savefig(file, format="png", dpi=130)
