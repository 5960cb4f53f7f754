"""The folds of a cross-validated run, as the benchmarks of calibration and verdicts take them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lesionlens.confidence import softmax
from lesionlens.errors import TrainingError
from lesionlens.files import atomic_write, read_json
from lesionlens.labels import IN_SCOPE, Label
from lesionlens.prediction_table import PredictionTable, load_predictions
from lesionlens.train.runs import LOGITS, PREDICTIONS_TEST

#: Ends what a benchmark writes between marks of a page.
END = "<!-- end -->"


@dataclass(frozen=True, eq=False)
class Pooled:
    """Held-out logits of all folds, one row an image."""

    logits: np.ndarray  # (N, K), averaged over the run's views
    labels: tuple[Label, ...]  # K outputs
    y_true: np.ndarray  # (N,) of Label
    group_of: np.ndarray  # (N,) int, lesion or patient
    fold_of: np.ndarray  # (N,) int
    views: int

    @property
    def is_in_scope(self) -> np.ndarray:
        return np.isin(self.y_true, np.array(IN_SCOPE, dtype=object))

    @property
    def columns(self) -> list[int]:
        """Columns of BCC, SCC and Normal."""
        return [self.labels.index(label) for label in IN_SCOPE]

    def rows(self, chosen: np.ndarray) -> Pooled:
        """Return the rows at ``chosen``, a (N,) bool mask."""
        return Pooled(
            self.logits[chosen],
            self.labels,
            self.y_true[chosen],
            np.unique(self.group_of[chosen], return_inverse=True)[1],
            self.fold_of[chosen],
            self.views,
        )


def load_folds(run: Path) -> Pooled:
    """Read ``fold0/`` ... of a run: logits of the images that each fold's model never saw.

    Raises:
        TrainingError: there is no such fold.
    """
    folders = sorted(path.parent for path in Path(run).glob(f"fold*/{LOGITS}"))
    if len(folders) < 2:
        raise TrainingError(
            f"{run}: has no fold0/{LOGITS}, fold1/{LOGITS}; a run of folds is needed"
        )
    config = read_json(folders[0] / "config.json")
    logits, truth, groups, folds = [], [], [], []
    for number, folder in enumerate(folders):
        with np.load(folder / LOGITS) as arrays:
            ids, values = (
                [str(name) for name in arrays["test_ids"]],
                arrays[f"test_{config['views']}"],
            )
        table = load_predictions(folder / PREDICTIONS_TEST)
        if list(table.image_ids) != ids:
            raise TrainingError(f"{folder}: {LOGITS} and {PREDICTIONS_TEST} are of other images")
        logits.append(values)
        truth += table.y_true
        groups += table.groups
        folds += [number] * len(ids)
    return Pooled(
        np.concatenate(logits).astype(np.float64),
        tuple(Label(name) for name in config["labels"]),
        np.array(truth, dtype=object),
        np.unique(groups, return_inverse=True)[1],
        np.array(folds),
        int(config["views"]),
    )


def load_uncalibrated(run: Path) -> PredictionTable:
    """Read the same images as softmax of their logits: what a temperature of 1 would have said.

    Raises:
        TrainingError: there is no such fold.
    """
    pooled = load_folds(run)
    tables = [
        load_predictions(path.parent / PREDICTIONS_TEST)
        for path in sorted(Path(run).glob(f"fold*/{LOGITS}"))
    ]
    return PredictionTable(
        image_ids=tuple(name for part in tables for name in part.image_ids),
        groups=tuple(name for part in tables for name in part.groups),
        sources=tuple(name for part in tables for name in part.sources),
        y_true=tuple(pooled.y_true),
        labels=pooled.labels,
        joint=softmax(pooled.logits),
    )


def put_into(page: Path, begin: str, text: str) -> None:
    """Replace what stands between ``begin`` and the next ``END`` of a page."""
    content = page.read_text(encoding="utf-8")
    if begin not in content or END not in content.split(begin, 1)[1]:
        raise SystemExit(f"{page}: has no {begin} followed by {END} to write between")
    before, rest = content.split(begin, 1)
    with atomic_write(page) as file:
        file.write(f"{before}{begin}\n{text}{END}{rest.split(END, 1)[1]}")


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines) + "\n"
