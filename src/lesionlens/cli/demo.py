"""``lesionlens demo``: the main job on sample images, ending in a page to look at."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lesionlens.cli import console
from lesionlens.cli.inputs import find_images
from lesionlens.cli.writers import Answer, Failure, TableWriter
from lesionlens.errors import ImageError, LesionLensError

if TYPE_CHECKING:
    import numpy as np

    from lesionlens.classifier import Classifier
    from lesionlens.cli.demo_page import Origin, Sample

#: Names the folder of real dermoscopy that the demo takes samples from.
DATA_VARIABLE = "LESIONLENS_DATA"
#: Real images shown of each class.
_N_OF_EACH = 2


def demo(
    images: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[IMAGE|DIR|GLOB]...",
            help="Your own images; without any, a few of the archive in $LESIONLENS_DATA, and "
            "without that, samples that are drawn on the spot.",
            show_default=False,
        ),
    ] = None,
    *,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Where the page and pictures go.")
    ] = Path("demo"),
    seed: Annotated[
        int, typer.Option(min=0, help="Another number draws or picks other samples.")
    ] = 1,
) -> None:
    """Classify a few samples and write a page that shows the answers.

    Writes `report.html`, one file that opens in any browser without a network, and a picture
    with its answer for every sample. Nothing leaves this machine.

    **Examples**

        lesionlens demo

        lesionlens demo lesion.jpg photos/ -o my-demo

        LESIONLENS_DATA=path/to/archive lesionlens demo --seed 7
    """
    if output.exists() and not output.is_dir():
        raise LesionLensError(f"{output}: is a file; --output needs the name of a folder")

    from lesionlens.classifier import Classifier
    from lesionlens.cli import demo_page

    classifier = Classifier()
    talk = console.stderr()
    samples, origin = _gather(images or [], output, seed)
    talk.print(f"Classifying {len(samples)} {origin.subject} on this machine")
    answers = [_answer(classifier, sample.file) for sample in samples]

    writer = TableWriter(sys.stdout)
    for number, (sample, answer) in enumerate(zip(samples, answers, strict=True), start=1):
        writer.write(answer)
        if isinstance(answer, Failure):
            talk.print(f"lesionlens: {answer.error}", markup=False, soft_wrap=True)
        else:
            name = f"{number:02d}-{Path(sample.file).stem}.png"
            demo_page.write_picture(output / "pictures" / name, sample, answer)
    writer.close()
    sys.stdout.flush()
    report = output / "report.html"
    demo_page.write_page(report, samples, answers, origin=origin, spec=classifier.spec)

    if origin.note:
        talk.print(f"\n{origin.note}", markup=False, soft_wrap=True)
    talk.print(f"\nThe page:  {report}\nPictures:  {output / 'pictures'}", soft_wrap=True)
    talk.print("\nTry next", style="bold")
    for command, purpose in demo_page.next_steps(origin):
        talk.print(f"  {command}", style="cyan", markup=False, soft_wrap=True)
        talk.print(f"      {purpose}", style="dim", soft_wrap=True)
    if any(isinstance(answer, Failure) for answer in answers):
        raise typer.Exit(1)


def _answer(classifier: Classifier, file: str) -> Answer:
    try:
        return classifier.predict(file)
    except ImageError as error:
        return Failure(file, str(error))


def _gather(images: Sequence[str], output: Path, seed: int) -> tuple[list[Sample], Origin]:
    """Return the samples to show, and where they come from."""
    import numpy as np

    from lesionlens.cli import demo_page

    rng = np.random.default_rng(seed)
    if images:
        files = find_images(images)
        return [demo_page.Sample(file) for file in files], demo_page.YOURS
    data = os.environ.get(DATA_VARIABLE)
    if data:
        return _pick_real(Path(data), rng), demo_page.ARCHIVE
    from lesionlens import phantoms

    files = [str(path) for path in phantoms.write_samples(output / "samples", rng)]
    return [
        demo_page.Sample(file, f"Drawn: {phantoms.CAPTIONS[kind]}")
        for kind, file in zip(phantoms.KINDS, files, strict=True)
    ], demo_page.DRAWN


def _pick_real(root: Path, rng: np.random.Generator) -> list[Sample]:
    """Pick a few images of each of the three classes, of nevi, and of nothing medical."""
    from lesionlens.cli.demo_page import Sample
    from lesionlens.data.manifest import load_archive
    from lesionlens.labels import FULL_NAMES, IN_SCOPE, Label

    archive = load_archive(root)
    samples = []
    for label in (*IN_SCOPE, Label.NV):
        frames = [frame for frame in archive.frames if frame.label is label]
        chosen = rng.choice(len(frames), min(_N_OF_EACH, len(frames)), replace=False)
        name = f"Archive: {FULL_NAMES[label].lower()}"
        samples += [Sample(str(frames[index].path), name) for index in sorted(chosen)]
    others = sorted((root / "nonskin").glob("*.*"))
    if others:
        file = others[int(rng.integers(len(others)))]
        samples.append(Sample(str(file), "Archive: nothing medical"))
    if not samples:
        raise LesionLensError(f"{root}: has no image of BCC, SCC, healthy skin or nevus")
    return samples
