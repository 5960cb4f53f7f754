"""Score the lesion segmentation against masks drawn by people, and the crops beside it.

    python benchmarks/segmentation.py ARCHIVE MASKS

Prints the rows of BENCHMARKS.md: the Dice coefficient, and how often a square of healthy skin
that was cut without looking at the mask touches the lesion by that mask. The masks are
``<image_id>_segmentation.png``; only frames that have one are used.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from PIL import Image

from lesionlens.data.manifest import load_archive
from lesionlens.data.normals import CropOptions, find_squares
from lesionlens.data.segment import WORK_PX, dice, segment_lesion
from lesionlens.imaging import load_pixels
from lesionlens.intervals import proportion
from lesionlens.records import Frame


def touches(square: tuple[int, int, int], size: tuple[int, int], mask: np.ndarray) -> bool:
    """Return whether a square of a frame of ``size`` has any lesion in it by the mask."""
    left, top, side = square
    across, down = mask.shape[1] / size[0], mask.shape[0] / size[1]
    rows = slice(int(top * down), int(np.ceil((top + side) * down)))
    columns = slice(int(left * across), int(np.ceil((left + side) * across)))
    return bool(mask[rows, columns].any())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("archive", type=Path)
    parser.add_argument("masks", type=Path)
    parser.add_argument("--per-frame", type=int, default=3, help="crops tried per frame")
    arguments = parser.parse_args()

    options = CropOptions(per_frame=arguments.per_frame)
    rows: list[tuple[Frame, float, str, int, int]] = []
    seconds = 0.0
    for frame in load_archive(arguments.archive).frames:
        path = arguments.masks / f"{frame.image_id}_segmentation.png"
        if not path.is_file():
            continue
        pixels = load_pixels(frame.path, size_px=WORK_PX)
        size = (pixels.width_px, pixels.height_px)
        start = time.perf_counter()
        found = segment_lesion(pixels.rgb)
        seconds += time.perf_counter() - start
        with Image.open(path) as image:
            grey = image.convert("L")
            mask = np.asarray(grey) > 127
            small = np.asarray(grey.resize((WORK_PX, WORK_PX), Image.Resampling.NEAREST)) > 127
        rng = np.random.default_rng(int(frame.image_id.removeprefix("ISIC_")))
        squares = [] if found.doubt else find_squares(found, size, options, rng)
        n_touching = sum(touches(square, size, mask) for square in squares)
        rows.append((frame, dice(found.lesion, small), found.doubt, len(squares), n_touching))

    print(f"{len(rows)} frames with a mask, {1000 * seconds / len(rows):.1f} ms a segmentation")
    header = ("frames", "n", "Dice mean", "median", "kept", "crops", "touch", "share (95 %)")
    print("{:<28}{:>6}{:>11}{:>8}{:>7}{:>7}{:>7}  {}".format(*header))
    for name, chosen in (
        ("benign (what is cut)", [row for row in rows if row[0].is_benign]),
        ("others (never cut)", [row for row in rows if not row[0].is_benign]),
        ("all", rows),
        ("all, not doubtful", [row for row in rows if not row[2]]),
    ):
        scores = [row[1] for row in chosen]
        n_crops, n_touching = sum(row[3] for row in chosen), sum(row[4] for row in chosen)
        metric = proportion(n_touching, n_crops)
        share = metric.note if metric.value is None else f"{metric.value:.2%}"
        if metric.low is not None and metric.high is not None:
            share += f" ({metric.low:.2%} to {metric.high:.2%})"
        print(
            f"{name:<28}{len(chosen):>6}{np.mean(scores):>11.3f}{np.median(scores):>8.3f}"
            f"{sum(row[3] > 0 for row in chosen):>7}{n_crops:>7}{n_touching:>7}  {share}"
        )
    reasons: dict[str, int] = {}
    for row in rows:
        if row[0].is_benign:
            reason = row[2] or ("cut" if row[3] else "no room beside the lesion")
            reasons[reason] = reasons.get(reason, 0) + 1
    print("benign frames: " + ", ".join(f"{n} {reason}" for reason, n in sorted(reasons.items())))


if __name__ == "__main__":
    main()
