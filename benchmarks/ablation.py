"""What each idea of the ``lens`` preset gives: train without it, score what was held out.

    LESIONLENS_DATA=... python benchmarks/ablation.py -o ablation/ --cache cache --splits folds.json

Each variant takes one thing away from ``lens`` (or puts the paper's choice in its place), is
trained with a shortened schedule on all folds but one, and predicts that one; the same folds
for every variant. A row gives the metric with its 95 % interval and the difference to ``lens``
on the same images (paired bootstrap by group). Stop it at any time: it goes on where it was.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
from pathlib import Path

from lesionlens.data.manifest import load_archive
from lesionlens.data.prepare import load_cache
from lesionlens.data.splits import Splits
from lesionlens.labels import IN_SCOPE
from lesionlens.metrics import Evaluation, evaluate, paired_differences
from lesionlens.prediction_table import PredictionTable, load_predictions
from lesionlens.train.config import LENS, TrainConfig
from lesionlens.train.network import import_tensorflow
from lesionlens.train.runs import Material, train_fold

#: Shown of each variant; the open-set ones are None for a model without other outputs.
METRICS = ("accuracy", "macro_f1", "macro_roc_auc", "open_roc_auc_BCC", "open_roc_auc_SCC")


def shortened(epochs: tuple[int, int], epoch_size: int) -> TrainConfig:
    """Return ``lens`` with fewer epochs and fewer images in each."""
    stages = tuple(
        dataclasses.replace(stage, epochs=n) for stage, n in zip(LENS.stages, epochs, strict=True)
    )
    return dataclasses.replace(LENS, stages=stages, epoch_size=epoch_size)


def variants(epochs: tuple[int, int], epoch_size: int) -> dict[str, TrainConfig]:
    """Return name -> configuration; the first is the reference."""
    lens = dataclasses.replace(shortened(epochs, epoch_size), views=4)

    def augmented(**changes: object) -> TrainConfig:
        return dataclasses.replace(
            lens, augmentation=dataclasses.replace(lens.augmentation, **changes)
        )

    only_three = {label: share for label, share in LENS.mixture.items() if label in IN_SCOPE}
    all_free = tuple(
        dataclasses.replace(stage, free_layers=-1 if stage.free_layers else 0)
        for stage in lens.stages
    )
    grey = {"contrast": 0.0, "saturation": 0.0, "hue_degrees": 0.0, "channel_gain": 0.0,
            "blur_share": 0.0}  # fmt: skip
    return {
        "lens, shortened": lens,
        "without other lesions": dataclasses.replace(
            lens, labels=IN_SCOPE, mixture=only_three, epoch_size=epoch_size
        ),
        "without matched magnification": augmented(window=(0.9, 1.1), window_normal=None),
        "without colour, contrast, blur": augmented(**grey),
        "flips left-right only, 20 degrees": augmented(
            vertical_flip=False, transpose=False, rotation_degrees=20
        ),
        "without mixup and smoothing": dataclasses.replace(
            lens, mixup_alpha=0.0, label_smoothing=0.0
        ),
        "without weight averaging": dataclasses.replace(lens, average_decay=0.0),
        "all layers free, not 60": dataclasses.replace(lens, stages=all_free),
        "statistics of the base learn": dataclasses.replace(lens, base_statistics_learn=True),
    }


def pooled(paths: list[Path]) -> Evaluation:
    """Score several folds' tables as one."""
    import numpy as np

    tables = [load_predictions(path) for path in paths]
    return evaluate(
        PredictionTable(
            image_ids=tuple(i for table in tables for i in table.image_ids),
            groups=tuple(i for table in tables for i in table.groups),
            sources=tuple(i for table in tables for i in table.sources),
            y_true=tuple(i for table in tables for i in table.y_true),
            labels=tables[0].labels,
            joint=np.concatenate([table.joint for table in tables]),
        )
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, default=Path("ablation"))
    parser.add_argument("--archive", type=Path, default=os.environ.get("LESIONLENS_DATA"))
    parser.add_argument("--cache", type=Path, default=Path("cache"))
    parser.add_argument("--splits", type=Path, default=Path("splits.json"), help="with folds")
    parser.add_argument("--weights", default=os.environ.get("LESIONLENS_WEIGHTS", "imagenet"))
    parser.add_argument("--folds", type=int, default=2, help="how many of them to use")
    parser.add_argument("--epochs", default="2,8")
    parser.add_argument("--epoch-size", type=int, default=2048)
    args = parser.parse_args()
    if args.archive is None:
        parser.error("give --archive, or set LESIONLENS_DATA")

    import_tensorflow()
    frames = {frame.image_id: frame for frame in load_archive(Path(args.archive)).frames}
    splits = Splits.load(args.splits)
    material = Material(frames, load_cache(args.cache), splits)
    first, second = (int(n) for n in args.epochs.split(","))
    chosen = variants((first, second), args.epoch_size)
    names = sorted(splits.parts)[: args.folds]
    done: dict[str, list[Path]] = {variant: [] for variant in chosen}
    for name in names:
        for place, (variant, config) in enumerate(chosen.items()):
            folder = args.output / f"{place}-{name}"
            path = train_fold(config, material, name, folder, weights=args.weights)
            done[variant].append(path)
            print(f"{variant}: {name} done", flush=True)
    report(done)


def report(done: dict[str, list[Path]]) -> None:
    """Print the Markdown table."""
    evaluations = {variant: pooled(paths) for variant, paths in done.items()}
    reference = next(iter(evaluations.values()))
    print(f"| variant | {' | '.join(METRICS)} |\n|{' --- |' * (len(METRICS) + 1)}")
    for variant, evaluation in evaluations.items():
        found = evaluation.summary()
        differences = None if evaluation is reference else paired_differences(reference, evaluation)
        cells = []
        for name in METRICS:
            metric = found.get(name)
            if metric is None or metric.value is None:
                cells.append("–")
                continue
            cell = f"{metric.value:.3f} ({metric.low:.3f}–{metric.high:.3f})"
            gain = (differences or {}).get(name)
            if gain is not None:
                cell += f"<br>{gain.value:+.3f} ({gain.low:+.3f} to {gain.high:+.3f})"
            cells.append(cell)
        print(f"| {variant} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
