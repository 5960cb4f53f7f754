"""How fast training is, against the recipe that most tutorials give.

    python benchmarks/training.py --weights mobilenet_v3_small.weights.h5
    python benchmarks/training.py --whole   # also times the whole `paper` preset

The baseline is Keras' ``ImageDataGenerator.flow_from_directory`` with the paper's augmentation,
which decodes and warps every image anew in every epoch, feeding the same network on the same
images in the same process. With LESIONLENS_DATA the three-class images of that archive are
used, without it drawn ones.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from lesionlens import phantoms
from lesionlens.data.manifest import load_archive
from lesionlens.data.prepare import load_cache, prepare_cache
from lesionlens.data.splits import group_frames, make_splits
from lesionlens.labels import IN_SCOPE
from lesionlens.train.config import PAPER, Stage
from lesionlens.train.export import spread
from lesionlens.train.inputs import Examples, epoch_batches, select_examples
from lesionlens.train.network import build_network, free_layers
from lesionlens.train.runs import Material, train_run
from lesionlens.train.stages import EpochLog, train_network

N_IMAGES = 512


def images_per_second(epoch: Callable[[], int], repeats: int) -> float:
    rates = []
    for _ in range(repeats):
        start = time.perf_counter()
        n = epoch()
        rates.append(n / (time.perf_counter() - start))
    return statistics.median(rates)


def row(what: str, target: str, ours: float, theirs: float) -> None:
    rates = f"{ours:.0f} images/s | {theirs:.0f} images/s | {ours / theirs:.1f}x"
    print(f"| {what} | {target} | {rates} |", flush=True)


def compare(frames: list, images: np.ndarray, row_of: dict, args: Any) -> None:
    import keras
    from keras.src.legacy.preprocessing.image import ImageDataGenerator

    examples = select_examples(frames, row_of, IN_SCOPE)
    folder = Path(tempfile.mkdtemp())
    for frame in examples.frames:
        (folder / frame.label).mkdir(exist_ok=True)
        (folder / frame.label / frame.path.name).symlink_to(frame.path.resolve())
    options = PAPER.augmentation
    generator = ImageDataGenerator(
        rotation_range=options.rotation_degrees,
        width_shift_range=options.shift,
        height_shift_range=options.shift,
        zoom_range=0.1,
        shear_range=options.shear_degrees,
        brightness_range=(1 - options.brightness, 1 + options.brightness),
        horizontal_flip=True,
    ).flow_from_directory(
        str(folder), target_size=(224, 224), batch_size=PAPER.batch_size, seed=0, shuffle=True
    )
    n = len(examples)

    def ours_input() -> int:
        for _ in epoch_batches(images, examples, PAPER, stage=0, epoch=0):
            pass
        return n

    def theirs_input() -> int:
        for i in range(len(generator)):
            generator[i]
        return n

    row(
        "input pipeline alone",
        "",
        images_per_second(ours_input, args.repeats),
        images_per_second(theirs_input, args.repeats),
    )
    for stage in PAPER.stages:
        model = build_network(PAPER, args.weights)
        free_layers(model, stage.free_layers)
        model.compile(
            keras.optimizers.Adam(stage.learning_rate),
            keras.losses.CategoricalCrossentropy(from_logits=True),
            jit_compile=False,
        )

        def theirs(model: Any = model) -> int:
            model.fit(generator, epochs=1, verbose=0)
            return n

        theirs()  # traces the graph
        row(
            f"training, {stage.name} stage",
            "3x",
            our_rate(stage, images, examples, args),
            images_per_second(theirs, args.repeats),
        )


def our_rate(stage: Stage, images: np.ndarray, examples: Examples, args: Any) -> float:
    """Train a few epochs of one stage; the first, which traces the graph, does not count."""
    once = dataclasses.replace(stage, epochs=1 + args.repeats)
    with tempfile.TemporaryDirectory() as folder:
        rows: list[EpochLog] = []
        train_network(
            dataclasses.replace(PAPER, stages=(once,)),
            images,
            examples,
            examples,  # validation is not timed
            Path(folder),
            weights=args.weights,
            on_epoch=rows.append,
        )
    return statistics.median(row.images_per_second for row in rows[1:])


def time_whole(frames: list, cache: Any, args: Any) -> None:
    import resource

    splits = make_splits(frames, group_frames(frames), seed=0)
    material = Material({frame.image_id: frame for frame in frames}, cache, splits)
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        train_run(PAPER, material, Path(folder), weights=args.weights)
        minutes = (time.perf_counter() - start) / 60
    peak_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(
        f"| whole `paper` preset, {len(frames):,} images, 40 epochs, both tables | 12 min, 3 GB | "
        f"{minutes:.1f} min, peak {peak_gb:.2f} GB | | |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", default=os.environ.get("LESIONLENS_WEIGHTS"))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--whole", action="store_true", help="also time the whole paper preset")
    args = parser.parse_args()
    data = os.environ.get("LESIONLENS_DATA")
    with tempfile.TemporaryDirectory() as scratch:
        root = (
            Path(data)
            if data
            else phantoms.write_archive(Path(scratch) / "archive", 60, np.random.default_rng(0))
        )
        if args.weights is None and data:
            args.weights = next((root / "weights").glob("*.weights.h5"))
        every = [frame for frame in load_archive(root).frames if frame.label in IN_SCOPE]
        prepare_cache(every, Path(scratch) / "cache")
        cache = load_cache(Path(scratch) / "cache")
        print(
            "| what | target | ours | ImageDataGenerator | ratio |\n| --- | --- | --- | --- | --- |"
        )
        compare(spread(every, N_IMAGES), cache.images, dict(cache.row_of), args)
        if args.whole:
            time_whole(every, cache, args)


if __name__ == "__main__":
    main()
