"""What averaging over views gives: from how many distances, and how often.

    python benchmarks/views.py runs/lens ARCHIVE --cache cache --splits folds.json

Each image of the three classes, and every eighth of the others, is shown to the fold's model that
never saw it, in all symmetries of the square at five zooms; plans of views are then averages over
some of these. The temperature is fitted on the other folds. Prints rows of a Markdown table;
``--into`` puts them between the marks of a page.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np

from folds import put_into
from lesionlens.confidence import combine, fit_temperature
from lesionlens.data.manifest import load_archive
from lesionlens.data.prepare import load_cache
from lesionlens.data.splits import Splits
from lesionlens.labels import IN_SCOPE, Label
from lesionlens.metrics import Evaluation, evaluate, paired_differences
from lesionlens.prediction_table import PredictionTable
from lesionlens.records import Frame
from lesionlens.runtime import Model, usable_cores
from lesionlens.train.config import TrainConfig
from lesionlens.train.runs import MODEL, Material
from lesionlens.views import N_SYMMETRIES, make_views, view_plan
from lesionlens.zooms import ZOOMS

SHOWN = ("accuracy", "macro_f1", "log_loss", "open_roc_auc_BCC", "open_roc_auc_SCC")
Plan = Sequence[tuple[int, float]]
PLANS: dict[str, Plan] = {
    "1: the image itself": view_plan(1),
    "8: all symmetries, whole": [(s, 1.0) for s in range(N_SYMMETRIES)],
    "10: all symmetries, 2 zooms (version 0.1)": [
        *((s, 1.0) for s in range(N_SYMMETRIES)),
        (0, 0.875),
        (0, 0.75),
    ],
    "2 of five distances": view_plan(2),
    "5, each from another distance": view_plan(5),
    "10, two from each distance (`lens`)": view_plan(10),
    "40: all": [(s, zoom) for zoom in ZOOMS for s in range(N_SYMMETRIES)],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="folder of a cross-validated run")
    parser.add_argument("archive", type=Path)
    parser.add_argument("--cache", type=Path, default=Path("cache"))
    parser.add_argument("--splits", type=Path, default=Path("splits.json"))
    parser.add_argument("--into", type=Path, help="page with <!-- views --> marks")
    args = parser.parse_args()
    frames = {frame.image_id: frame for frame in load_archive(args.archive).frames}
    material = Material(frames, load_cache(args.cache), Splits.load(args.splits))
    labels = read_labels(args.run)
    folds = []
    for name, image_ids in sorted(material.splits.parts.items()):
        shown = choose(material.usable(image_ids))
        model = Model(args.run / name / MODEL, num_threads=1)
        with ThreadPoolExecutor(usable_cores()) as pool:
            logits = pool.map(partial(see, model, material.cache.images), material.rows(shown))
            folds.append((shown, np.stack(list(logits))))
    evaluations = {
        name: evaluate(judge(plan, folds, labels, material)) for name, plan in PLANS.items()
    }
    text = "\n".join(rows(evaluations)) + "\n"
    print(text, end="")
    if args.into:
        put_into(args.into, "<!-- views -->", text)


def read_labels(run: Path) -> tuple[Label, ...]:
    """Return the outputs of a run's models."""
    from lesionlens.train.runs import read_run

    return TrainConfig.from_json(read_run(run)["config"]).labels


def choose(frames: Sequence[Frame]) -> list[Frame]:
    """Return the frames of the three classes, and every eighth of the others."""
    others = [frame for frame in frames if frame.label not in IN_SCOPE]
    return [frame for frame in frames if frame.label in IN_SCOPE] + others[::8]


def see(model: Model, images: np.ndarray, row: int) -> np.ndarray:
    """Return the logits of every symmetry at every zoom: (zooms, symmetries, K)."""
    found, rgb = [], np.array(images[row])
    for zoom in ZOOMS:
        nearer = make_views(rgb, 2, [1.0, zoom])[1][:, ::-1]  # the second view is mirrored
        found.append(model.run(make_views(np.ascontiguousarray(nearer), 8, [1.0])).logits)
    return np.stack(found)


def judge(
    plan: Plan,
    folds: Sequence[tuple[list[Frame], np.ndarray]],
    labels: tuple[Label, ...],
    material: Material,
) -> PredictionTable:
    """Return the table of all folds, each by the temperature that fits the others."""
    means = [
        np.mean([logits[:, ZOOMS.index(zoom), symmetry] for symmetry, zoom in plan], axis=0)
        for _, logits in folds
    ]
    joint = []
    for k, mean in enumerate(means):
        others = [i for i in range(len(folds)) if i != k]
        truth = [frame.label for i in others for frame in folds[i][0]]
        known = np.array([label in IN_SCOPE for label in truth])
        fitted_on = np.concatenate([means[i] for i in others])[known][:, : len(IN_SCOPE)]
        index = np.array([IN_SCOPE.index(label) for label in truth if label in IN_SCOPE])
        joint.append(combine(mean[:, None], fit_temperature(fitted_on, index)))
    frames = [frame for shown, _ in folds for frame in shown]
    return PredictionTable(
        image_ids=tuple(frame.image_id for frame in frames),
        groups=tuple(material.splits.groups[frame.image_id] for frame in frames),
        sources=tuple(frame.source for frame in frames),
        y_true=tuple(frame.label for frame in frames),
        labels=labels,
        joint=np.concatenate(joint),
    )


def rows(evaluations: dict[str, Evaluation]) -> list[str]:
    """Return the Markdown table, differences to the first row below each figure."""
    found = [f"| views averaged | {' | '.join(SHOWN)} |", f"|{' --- |' * (len(SHOWN) + 1)}"]
    reference = next(iter(evaluations.values()))
    for name, evaluation in evaluations.items():
        metrics = evaluation.summary()
        gains = (evaluation is not reference and paired_differences(reference, evaluation)) or {}
        cells = []
        for metric_name in SHOWN:
            metric = metrics[metric_name]
            cell = f"{metric.value:.3f} ({metric.low:.3f}–{metric.high:.3f})"
            if gain := gains.get(metric_name):
                cell += f"<br>{gain.value:+.3f} ({gain.low:+.3f} to {gain.high:+.3f})"
            cells.append(cell)
        found.append(f"| {name} | {' | '.join(cells)} |")
    return found


if __name__ == "__main__":
    main()
