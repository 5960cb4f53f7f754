"""``lesionlens predict``: answers for images, on the terminal or into a file."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated

import typer

from lesionlens.cli import console
from lesionlens.cli.inputs import STDIN, find_images, read_stdin
from lesionlens.cli.options import GateOption, ModelOption, PolicyOption, ViewsOption
from lesionlens.cli.writers import Answer, Failure, Format, make_writer
from lesionlens.errors import ImageError, LesionLensError
from lesionlens.files import atomic_write
from lesionlens.parallel import map_ahead
from lesionlens.verdicts import DEFAULT_POLICY

if TYPE_CHECKING:
    from lesionlens.classifier import Classifier
    from lesionlens.cli.explaining import Pictures

#: From this many images on, progress is shown.
_MANY = 20


def predict(
    images: Annotated[
        list[str],
        typer.Argument(
            metavar="IMAGE|DIR|GLOB|-",
            help="Image files, folders, patterns in quotes, or - for image bytes on standard "
            "input. JPEG, PNG, WebP, TIFF and BMP.",
            show_default=False,
        ),
    ],
    *,
    form: Annotated[
        Format | None,
        typer.Option(
            "--format",
            "-f",
            help="How to write the answers; without it what the suffix of --output says, "
            "else a table.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        str,
        typer.Option(
            "--output", "-o", metavar="FILE", help="Where to; - is standard output. Written whole."
        ),
    ] = "-",
    views: ViewsOption = None,
    model: ModelOption = None,
    policy: PolicyOption = DEFAULT_POLICY,
    coverage: Annotated[
        float | None,
        typer.Option(
            help="Share of the images of each class that are to keep it in their prediction set, "
            "such as 0.9; without it the policy's.",
            show_default=False,
        ),
    ] = None,
    gate: GateOption = True,
    explain: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Write a picture an image to this folder, <name>-<label>.png: the photo, and "
            "where in it the model found evidence for its answer.",
            show_default=False,
        ),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(min=1, help="Cores to use; up to 4 without it.", show_default=False),
    ] = None,
    recursive: Annotated[
        bool, typer.Option("--recursive", "-r", help="Look in folders below folders, too.")
    ] = False,
) -> None:
    """Answer BCC, SCC or healthy skin for dermoscopic images, on this machine alone.

    Probabilities are calibrated and hold given that the image shows one of the three; "in scope"
    is the probability that it does, "may be" the prediction set. The verdict is *poor image*
    (take another one), *out of scope* (like none of the three), *confident*, or *uncertain*:
    do not rely on it. Images that cannot be read are named on stderr and make the exit code 1;
    the others are answered all the same.

    **Not a diagnosis.**

    **Examples**

        lesionlens predict lesion.jpg

        lesionlens predict photos/ --recursive -o answers.csv

        lesionlens predict "photos/*.png" --format json --views 1

        lesionlens predict photos/ --policy sensitive

        lesionlens predict lesion.jpg --explain pictures

        curl -s https://example.org/lesion.jpg | lesionlens predict - --format jsonl
    """
    form = form or _format_of(output)
    files = find_images(images, recursive=recursive)
    stdin = read_stdin() if STDIN in files else None

    from lesionlens.classifier import Classifier
    from lesionlens.runtime import default_threads

    threads = threads or default_threads()
    # Many images: one per core, side by side. One image: all cores on it.
    workers = min(threads, len(files))
    classifier = Classifier(
        model,
        views=views,
        threads=max(1, threads // workers),
        policy=policy,
        coverage=coverage,
        gate=gate,
    )
    pictures = _make_pictures(explain, files, classifier)
    talk = console.stderr()
    n_failed = 0
    # Rows that run over a terminal and a bar at its foot would get in each other's way.
    rows_run = form.is_streamed and output == "-" and sys.stdout.isatty()
    bar: AbstractContextManager[console.Advance] = (
        console.progress("predicting", len(files))
        if len(files) >= _MANY and not rows_run
        else nullcontext(lambda n=1: None)
    )
    with _open_output(output) as stream:
        writer = make_writer(form, stream, has_pictures=explain is not None)
        with bar as advance:
            for _, (answer, picture) in map_ahead(
                lambda file: _answer(classifier, file, stdin, pictures),
                files,
                workers=workers,
                ahead=4 * workers,
            ):
                if isinstance(answer, Failure):
                    n_failed += 1
                    talk.print(f"lesionlens: {answer.error}", markup=False, soft_wrap=True)
                writer.write(answer, picture)
                advance()
        writer.close()
        stream.flush()
    if output != "-":
        talk.print(f"{output}: {len(files) - n_failed:,} answered", markup=False, soft_wrap=True)
    if explain is not None:
        talk.print(f"{explain}: {len(files) - n_failed:,} explained", markup=False, soft_wrap=True)
    if n_failed:
        if len(files) > 1:
            talk.print(f"lesionlens: {n_failed:,} of {len(files):,} images could not be answered")
        raise typer.Exit(1)


def _format_of(output: str) -> Format:
    suffix = Path(output).suffix.lower().lstrip(".")
    return Format(suffix) if suffix in list(Format) else Format.TABLE


def _open_output(output: str) -> AbstractContextManager[IO[str]]:
    if output == "-":
        return nullcontext(sys.stdout)
    if Path(output).is_dir():
        raise LesionLensError(f"{output}: is a folder; --output needs the name of a file")
    return atomic_write(output)


def _make_pictures(
    directory: Path | None, files: list[str], classifier: Classifier
) -> Pictures | None:
    if directory is None:
        return None
    from lesionlens.cli.explaining import Pictures

    classifier.check_explains()
    return Pictures(directory, files)


def _answer(
    classifier: Classifier, file: str, stdin: bytes | None, pictures: Pictures | None
) -> tuple[Answer, str]:
    """Return the answer and the path of the picture that explains it, if one was asked for."""
    source = stdin if file == STDIN and stdin is not None else file
    try:
        if pictures is not None:
            return pictures.explain(classifier, file, source)
        return replace(classifier.predict(source), file=file), ""
    except ImageError as error:
        return Failure(file, str(error)), ""
