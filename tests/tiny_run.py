"""A finished run built in code, without TensorFlow: the model of ``tiny_model`` in every fold."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

import tiny_model
from lesionlens.data.groups import group_frames
from lesionlens.data.manifest import load_archive
from lesionlens.data.prepare import prepare_cache
from lesionlens.data.splits import Splits, make_splits
from lesionlens.files import write_csv
from lesionlens.imaging import load_pixels
from lesionlens.labels import Label
from lesionlens.records import Frame
from lesionlens.runtime import Model
from lesionlens.train.calibration import calibrate
from lesionlens.views import make_views

VIEWS = 2


def write_run(directory: Path, archive: Path, *, folds: int | None = 2) -> Path:
    """Write ``run/``, ``splits.json`` and ``cache/`` for an archive; ``folds`` None: hold-out.

    Returns the folder of the run.
    """
    frames = list(load_archive(archive).frames)
    splits = make_splits(
        frames, group_frames(frames), seed=0, folds=folds, fractions=(0.4, 0.3, 0.3)
    )
    splits.save(directory / "splits.json")
    prepare_cache(frames, directory / "cache", workers=1)
    run = directory / "run"
    content = tiny_model.build()
    model = Model(content, num_threads=1)
    by_id = {frame.image_id: frame for frame in frames}
    tested = (
        {run: splits.parts["test"]}
        if folds is None
        else {run / name: ids for name, ids in splits.parts.items()}
    )
    for folder, ids in tested.items():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "model.tflite").write_bytes(content)
        labels = [label.value for label in tiny_model.LABELS]
        config = {"labels": labels, "views": VIEWS}
        (folder / "config.json").write_text(json.dumps(config))
        write_csv(folder / "predictions-test.csv", ["image_id"], [{"image_id": i} for i in ids])
        logits = {f"test_{n}": values for n, values in logits_of(model, by_id, ids).items()}
        np.savez(folder / "logits.npz", test_ids=np.array(ids), **logits)
    if folds is None:
        held_out = [by_id[name] for name in splits.parts["validation"]]
        calibrate(
            logits_of(model, by_id, splits.parts["validation"]), held_out, tiny_model.LABELS, "here"
        ).save(run / "calibration.json")
    return run


def logits_of(model: Model, frames: dict[str, Frame], ids: Sequence[str]) -> dict[int, np.ndarray]:
    """The mean logits of one and of ``VIEWS`` views."""
    views = np.stack(
        [model.run(make_views(load_pixels(frames[i].path).rgb, VIEWS)).logits for i in ids]
    )
    return {1: views[:, 0], VIEWS: views.mean(axis=1)}


def write_masks(directory: Path, archive: Path) -> Path:
    """Write a round mask for every BCC and SCC, larger than the frames and of their shape."""
    directory.mkdir(parents=True, exist_ok=True)
    for number, frame in enumerate(load_archive(archive).frames):
        if frame.label in (Label.BCC, Label.SCC):
            with Image.open(frame.path) as image:
                width, height = (2 * side for side in image.size)
            mask = Image.new("L", (width, height), 0)
            reach = (0.16 + 0.06 * (number % 5)) * min(width, height)
            box = (width / 2 - reach, height / 2 - reach, width / 2 + reach, height / 2 + reach)
            ImageDraw.Draw(mask).ellipse(box, fill=255)
            mask.save(directory / f"{frame.image_id}_segmentation.png")
    return directory


def load_splits(directory: Path) -> Splits:
    return Splits.load(directory / "splits.json")
