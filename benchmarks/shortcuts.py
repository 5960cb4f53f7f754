"""Does the model know skin from lesion, or only how near the camera was?

    python benchmarks/shortcuts.py runs/lens ARCHIVE --cache cache --splits folds.json

A crop of healthy skin shows skin at about twice the magnification of a whole frame, and comes
from some collections more than from others. Each image is shown, as it is and changed, to the
fold's model that never saw it; the answer is the likeliest of the three classes (one view).
Prints rows of a Markdown table, proportions with Wilson's 95 % interval.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from lesionlens.data.manifest import load_archive
from lesionlens.data.prepare import load_cache
from lesionlens.data.splits import Splits
from lesionlens.intervals import proportion
from lesionlens.labels import IN_SCOPE, Label
from lesionlens.records import Frame
from lesionlens.runtime import Model
from lesionlens.train.export import convert
from lesionlens.train.network import import_tensorflow
from lesionlens.train.runs import Material
from lesionlens.train.stages import load_best

Change = Callable[[np.ndarray], np.ndarray]


def enlarge(rgb: np.ndarray, left: float, top: float, share: float) -> np.ndarray:
    """Return the part of ``share`` of the side at (left, top), shares too, at full size."""
    side = len(rgb)
    box = (left * side, top * side, (left + share) * side, (top + share) * side)
    size = (side, side)
    return np.asarray(Image.fromarray(rgb).resize(size, Image.Resampling.BILINEAR, box=box))


def mirrored(rgb: np.ndarray) -> np.ndarray:
    """Return the image at half the magnification, mirrored into the room around it."""
    side = len(rgb)
    padded = np.pad(rgb, ((side // 2, side // 2), (side // 2, side // 2), (0, 0)), "symmetric")
    return np.asarray(Image.fromarray(padded).resize((side, side), Image.Resampling.BILINEAR))


CHANGES: dict[str, Change] = {
    "whole frame": lambda rgb: rgb,
    "middle half, as near as a skin crop": lambda rgb: enlarge(rgb, 0.25, 0.25, 0.5),
    "upper left corner, a quarter of the side": lambda rgb: enlarge(rgb, 0, 0, 0.25),
}
NORMAL_CHANGES: dict[str, Change] = {
    "crop": lambda rgb: rgb,
    "crop mirrored to a frame's magnification": mirrored,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="folder of a cross-validated run")
    parser.add_argument("archive", type=Path)
    parser.add_argument("--cache", type=Path, default=Path("cache"))
    parser.add_argument("--splits", type=Path, default=Path("splits.json"))
    args = parser.parse_args()
    import_tensorflow()
    frames = {frame.image_id: frame for frame in load_archive(args.archive).frames}
    material = Material(frames, load_cache(args.cache), Splits.load(args.splits))
    answers: dict[tuple[str, str], list[Label]] = {}
    for name, image_ids in material.splits.parts.items():
        model = Model(convert(load_best(args.run / name), "fp32"), name=name)
        for frame in material.usable(image_ids):
            if frame.label in IN_SCOPE:
                rgb = np.array(material.cache.images[material.cache.row_of[frame.image_id]])
                collect(frame, rgb, model, answers)
    print("| truth | shown | n | called Normal | called rightly |\n| --- | --- | --- | --- | --- |")
    for (truth, shown), found in sorted(answers.items()):
        cells = [
            proportion(sum(answer == label for answer in found), len(found))
            for label in (Label.NORMAL, truth.split(",")[0])
        ]
        texts = [f"{m.value:.3f} ({m.low:.3f}–{m.high:.3f})" for m in cells]
        print(f"| {truth} | {shown} | {len(found)} | {' | '.join(texts)} |")


def collect(
    frame: Frame, rgb: np.ndarray, model: Model, answers: dict[tuple[str, str], list[Label]]
) -> None:
    """Add the answers for one image in all its guises."""
    is_normal = frame.label is Label.NORMAL
    changes = NORMAL_CHANGES if is_normal else CHANGES
    truth = f"{frame.label}, {frame.source.split(',')[0]}" if is_normal else str(frame.label)
    logits = model.run(np.stack([change(rgb) for change in changes.values()])).logits
    for shown, row in zip(changes, logits, strict=True):
        answers.setdefault((truth, shown), []).append(IN_SCOPE[int(row[:3].argmax())])


if __name__ == "__main__":
    main()
