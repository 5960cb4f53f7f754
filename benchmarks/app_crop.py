"""What the app's crop should start with: the whole photo, its centred square, or something nearer.

    python benchmarks/app_crop.py ARCHIVE [--each 200] [--into docs/crop.md]

The network squashes whatever part of a photo it is given to a square. Frames that were 4:3 before
an archive squashed them are read here through boxes that are squares of the frame as it was taken,
and once lying on their side, as a phone held upright takes them. The shipped model has seen these
frames, whole and near: compare the rows, not the levels. Prints rows of a Markdown table;
``--into`` puts them between the marks of a page.
"""

from __future__ import annotations

import argparse
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from folds import put_into
from lesionlens.classifier import Classifier
from lesionlens.data.manifest import load_archive
from lesionlens.imaging import Box, load_pixels
from lesionlens.intervals import proportion
from lesionlens.labels import Label
from lesionlens.records import Frame, Prediction
from lesionlens.runtime import usable_cores
from lesionlens.verdicts import CONFIDENT, VERDICTS

#: Of the frames before they were squashed (HAM10000: 600 x 450).
ASPECT = 4 / 3
SOURCE = "ViDIR"  # part of the attribution of those frames
CANCERS = (Label.BCC, Label.SCC)


def square(share: float) -> Box:
    """Return the centred square of ``share`` of the shorter side, in a squashed 4:3 frame."""
    across, down = share / ASPECT / 2, share / 2
    return (0.5 - across, 0.5 - down, 0.5 + across, 0.5 + down)


BOXES: dict[str, Box] = {
    "whole photo": (0.0, 0.0, 1.0, 1.0),
    "centred square": square(1.0),
    "square of 80 %": square(0.8),
    "square of 60 %": square(0.6),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("archive", type=Path)
    parser.add_argument("--each", type=int, default=200, help="frames of BCC, SCC and others")
    parser.add_argument("--views", type=int, default=10)
    parser.add_argument("--into", type=Path, help="page with <!-- app_crop --> marks")
    args = parser.parse_args()
    frames = choose(load_archive(args.archive).frames, args.each)
    classifier = Classifier(views=args.views, threads=1)
    rows = [HEAD]
    with ThreadPoolExecutor(usable_cores()) as pool:
        for name, box in BOXES.items():
            answers = list(pool.map(lambda f, b=box: ask(classifier, f, b), frames))
            rows.append(row(name, frames, answers))
        upright = list(pool.map(lambda f: ask(classifier, f, BOXES["whole photo"], 1), frames))
        rows.append(row("whole photo, on its side", frames, upright))
    text = "\n".join(rows) + "\n"
    print(text, end="")
    if args.into:
        put_into(args.into, "<!-- app_crop -->", text)


def choose(frames: list[Frame], n: int) -> list[Frame]:
    """Draw frames of BCC, of SCC and of all that is out of scope, ``n`` each, where there are."""
    rng = np.random.default_rng(0)
    known = [frame for frame in frames if SOURCE in frame.source]
    groups = {
        Label.BCC: [frame for frame in known if frame.label is Label.BCC],
        Label.SCC: [frame for frame in known if frame.label is Label.SCC],
        None: [frame for frame in known if frame.label not in (*CANCERS, Label.NORMAL)],
    }
    return [
        group[place]
        for group in groups.values()
        for place in sorted(rng.permutation(len(group))[:n])
    ]


def ask(classifier: Classifier, frame: Frame, box: Box, quarter_turns: int = 0) -> Prediction:
    """Answer for a part of a frame, as the app does."""
    with Image.open(frame.path) as image:
        turned = image.convert("RGB").rotate(90 * quarter_turns)
    return classifier.predict(load_pixels(turned, box=box))


HEAD = (
    "| part | right of the three | " + " | ".join(f"`{v}`" for v in VERDICTS) + " | wrong among "
    "`confident` | others: `confident` | others: `out_of_scope` | `lesion_cut` |\n"
    "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"
)


def row(name: str, frames: list[Frame], answers: list[Prediction]) -> str:
    """Return a row: BCC and SCC first, then the others."""
    pairs = list(zip(frames, answers, strict=True))
    ours = [(f, a) for f, a in pairs if f.label in CANCERS]
    others = [a for f, a in pairs if f.label not in CANCERS]
    verdicts = Counter(a.verdict for _, a in ours)
    sure = [(f, a) for f, a in ours if a.verdict == CONFIDENT]
    cells = [
        share(sum(f.label is a.label for f, a in ours), len(ours)),
        *(share(verdicts[verdict], len(ours)) for verdict in VERDICTS),
        share(sum(f.label is not a.label for f, a in sure), len(sure)),
        share(sum(a.verdict == CONFIDENT for a in others), len(others)),
        share(sum(a.verdict == "out_of_scope" for a in others), len(others)),
        share(sum(is_cut(a) for _, a in ours), len(ours)),
    ]
    return f"| {name} | " + " | ".join(cells) + " |"


def is_cut(answer: Prediction) -> bool:
    """Whether the gate finds the spot cut off."""
    return any(finding.name == "lesion_cut" for finding in answer.quality.findings)


def share(count: int, n: int) -> str:
    """Return a share with Wilson's 95 % interval."""
    if not n:
        return "–"
    metric = proportion(count, n)
    return f"{metric.value:.1%} ({metric.low:.0%}–{metric.high:.0%})".replace("%", " %")


if __name__ == "__main__":
    main()
