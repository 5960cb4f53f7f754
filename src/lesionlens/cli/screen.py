"""``lesionlens screen``: answers for whole archives, resumable, into Parquet."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from enum import StrEnum
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Annotated

import typer

from lesionlens.cli import console
from lesionlens.cli.options import GateOption, ModelOption, PolicyOption, ViewsOption
from lesionlens.cli.screen_view import View, duration_words, make_view
from lesionlens.errors import LesionLensError
from lesionlens.verdicts import DEFAULT_POLICY

if TYPE_CHECKING:
    from lesionlens.screening.items import Item
    from lesionlens.screening.progress import Pause, Stop
    from lesionlens.screening.running import Outcome, Plan
    from lesionlens.screening.sources import ImageSource

#: How often it is told how far the page's maps are.
_TELL_S = 10.0


class Engine(StrEnum):
    """Who judges."""

    LOCAL = "local"
    RAY = "ray"


def screen(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE...",
            help="Folders (looked through to the bottom), patterns in quotes, image files, lists "
            "and tables of paths (.txt, .csv, .parquet; - is a list on standard input), ZIP and "
            "TAR archives, addresses (http, s3, gs).",
            show_default=False,
        ),
    ],
    *,
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            metavar="DIR",
            help="The run folder; made if need be, gone on with if it is there.",
            show_default=False,
        ),
    ],
    engine: Annotated[
        Engine,
        typer.Option(
            help="Who judges: `local`, processes of this machine, or `ray`, actors of Ray Data, on "
            "this machine or a cluster. The rows are the same."
        ),
    ] = Engine.LOCAL,
    ray_address: Annotated[
        str,
        typer.Option(
            metavar="ADDRESS",
            help="The cluster of --engine ray: `auto` or HOST:PORT; this machine must be a node "
            "of it. Without it Ray runs on this machine.",
            show_default=False,
        ),
    ] = "",
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Processes side by side; one per core, of the cluster if there is one, without "
            "it.",
            show_default=False,
        ),
    ] = None,
    views: ViewsOption = None,
    model: ModelOption = None,
    policy: PolicyOption = DEFAULT_POLICY,
    gate: GateOption = True,
    all_files: Annotated[
        bool,
        typer.Option(
            "--all-files",
            help="Look into files whose name does not say that they are images, too: DICOM files "
            "often have no suffix.",
        ),
    ] = False,
    images_root: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder that paths in lists and tables start from; without it the list's own.",
            show_default=False,
        ),
    ] = None,
    path_column: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Column of a table that has the paths; without it path, file, image, uri, "
            "image_id or isic_id, the first that is there.",
            show_default=False,
        ),
    ] = "",
    keep_columns: Annotated[
        str,
        typer.Option(
            metavar="NAME,...",
            help="Columns of a table to carry along into the results; none without it.",
            show_default=False,
        ),
    ] = "",
    format_extra: Annotated[
        str,
        typer.Option(
            metavar="NAME,...",
            help="Write results in these formats, too: fhir (fhir.ndjson), sr (a DICOM report for "
            "each DICOM image; needs --keep-patient-data).",
            show_default=False,
        ),
    ] = "",
    keep_patient_data: Annotated[
        bool,
        typer.Option(
            "--keep-patient-data",
            help="Copy who and which study a DICOM image is of into all outputs: patient's ID, "
            "accession number, UIDs. Nothing of it is copied unless it is asked for.",
        ),
    ] = False,
    keep_dicom: Annotated[
        str,
        typer.Option(
            metavar="KEYWORD,...",
            help="Attributes of DICOM files to carry along into the results, such as "
            "BodyPartExamined,BurnedInAnnotation.",
            show_default=False,
        ),
    ] = "",
    shard: Annotated[
        str,
        typer.Option(
            metavar="I/N",
            help="Judge one part of N, such as 2/8, into DIR/shard-2-of-8; all parts together are "
            "the whole.",
            show_default=False,
        ),
    ] = "",
    limit: Annotated[
        int | None,
        typer.Option(min=1, help="Judge so many images and stop.", show_default=False),
    ] = None,
    watch: Annotated[
        bool,
        typer.Option("--watch", help="Go on as files arrive, until Ctrl-C."),
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Say how many images, how long and how much disk; write nothing."
        ),
    ] = False,
    restart: Annotated[
        bool,
        typer.Option(
            "--restart", help="Throw away what an earlier run left in DIR, and begin anew."
        ),
    ] = False,
    retry: Annotated[bool, typer.Option("--retry", help="Judge again what failed before.")] = False,
    review: Annotated[
        bool, typer.Option(help="Write a page to look through the images, accept and correct.")
    ] = True,
    maps: Annotated[
        int | None,
        typer.Option(
            min=0,
            metavar="N",
            help="Images that get a map of evidence and a preview in the page, by risk and "
            "uncertainty; 500 without it.",
            show_default=False,
        ),
    ] = None,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds that one image may take.")] = 30.0,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")] = False,
    json_progress: Annotated[
        bool,
        typer.Option(
            "--json-progress", help="Write progress to standard error as JSON, an object a line."
        ),
    ] = False,
) -> None:
    """Judge every image of an archive, side by side, so that nothing is lost and all can go on.

    Writes `results.parquet` (an image a row), `errors.csv` (what could not be judged, and why),
    `summary.json`, and `review.html`, a page to look through the images, accept and correct.
    Stopped at any moment, by Ctrl-C, a crash or a power cut, the same command goes on where it
    was; with another model or other options it refuses to mix rows. An image that cannot be read,
    or whose decoder crashes or hangs, is one line of `errors.csv` and makes the exit code 1.

    **Not a diagnosis.**

    **Examples**

        lesionlens screen photos/ -o run

        lesionlens screen photos/ -o run --dry-run

        lesionlens screen archive.zip "more/*.jpg" paths.csv -o run --workers 8

        lesionlens screen photos/ -o run --shard 2/8

        lesionlens screen inbox/ -o run --watch

        lesionlens screen s3://archive/photos -o run --engine ray --ray-address auto
    """
    console.require("screen", "bulk", "pyarrow")
    from lesionlens.bundle import load_bundle
    from lesionlens.screening.formats import parse_formats
    from lesionlens.screening.progress import Stop
    from lesionlens.screening.running import Plan, run
    from lesionlens.screening.settings import Shard, make_settings
    from lesionlens.screening.sources import ImageSource, SourceOptions

    if engine is Engine.RAY:
        console.require("screen --engine ray", "ray", "ray")
    elif ray_address:
        raise LesionLensError("--ray-address: is for --engine ray; give both, or neither")
    if dry_run and watch:
        raise LesionLensError(
            "--dry-run and --watch: say what is there, or wait for more; not both"
        )
    part = Shard.parse(shard) if shard else None
    keep = [name for name in keep_columns.split(",") if name]
    kept = _dicom_attributes(keep_dicom, keep_patient_data=keep_patient_data)
    formats = parse_formats(format_extra, keep_patient_data=keep_patient_data)
    if "sr" in formats:
        console.require("screen --format-extra sr", "dicom", "highdicom")
    bundle = load_bundle(model)
    plan = Plan(
        directory=output / part.folder if part else output,
        settings=make_settings(
            bundle, sources, policy=policy, views=views, gate=gate, keep=[*keep, *kept], shard=part
        ),
        bundle=bundle,
        workers=workers or _cores(ray_address),
        engine=engine.value,
        ray_address=ray_address,
        timeout_s=timeout,
        limit=limit,
        is_restart=restart,
        is_retry=retry,
        is_watching=watch,
        formats=formats,
    )
    options = SourceOptions(
        all_files=all_files,
        images_root="" if images_root is None else str(images_root),
        path_column=path_column,
        keep=tuple(keep),
        keep_dicom=kept,
        skip=(str(output),),
    )
    source = ImageSource(sources, options)
    if dry_run:
        _say_what_it_takes(plan, source)
        return
    stop = Stop()
    view = make_view(quiet=quiet, as_json=json_progress)
    try:
        with _ended_by_signals(stop, view):
            outcome = run(
                plan,
                source,
                stop=stop,
                listener=view.show,
                note=view.note,
            )
    finally:
        view.close()
    for line in _closing_lines(plan, outcome):
        view.note(line)
    if review and outcome.totals.n_judged and (watch or not outcome.was_stopped):
        _write_review(plan, source, maps, view.note)
    if outcome.was_stopped:
        raise typer.Exit(130)
    if outcome.totals.n_failed:
        raise typer.Exit(1)


def _cores(ray_address: str) -> int:
    """Return how many cores this machine has, or the cluster, which is joined then."""
    if ray_address:
        from lesionlens.screening.ray_cluster import connect

        return connect(ray_address)
    from lesionlens.runtime import usable_cores

    return usable_cores()


def _dicom_attributes(keep: str, *, keep_patient_data: bool) -> tuple[str, ...]:
    """Return the keywords of the DICOM attributes to carry along."""
    names = [name for name in keep.split(",") if name]
    if not names and not keep_patient_data:
        return ()
    console.require("screen --keep-dicom and --keep-patient-data", "dicom", "pydicom")
    from lesionlens.screening.dicom import PATIENT_COLUMNS, check_keywords

    check_keywords(names)
    return tuple(dict.fromkeys((*names, *(PATIENT_COLUMNS if keep_patient_data else ()))))


@contextmanager
def _ended_by_signals(stop: Stop, view: View) -> Iterator[None]:
    """Let the first Ctrl-C (or SIGTERM) end a run in good order, the second at once."""

    def end(number: int, frame: object) -> None:
        if stop.is_requested:
            raise KeyboardInterrupt
        stop.request()
        with suppress(RuntimeError):  # a "reentrant call": it came in the middle of a write
            view.note("stopping: what has begun is finished; once more ends it at once")

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _closing_lines(plan: Plan, outcome: Outcome) -> Iterator[str]:
    """Yield what a run says of itself at its end."""
    totals = outcome.totals
    rate = outcome.n / outcome.seconds if outcome.seconds else 0.0
    yield (
        f"{plan.directory}: {outcome.n:,} images in {duration_words(outcome.seconds)} "
        f"({rate:,.1f}/s); {totals.n_judged:,} judged altogether, {totals.n_failed:,} failed"
    )
    counts = ", ".join(
        f"{n:,} {verdict.replace('_', ' ')}" for verdict, n in totals.verdicts.most_common()
    )
    if counts:
        yield f"{plan.directory / 'results.parquet'}: {counts}. Not a diagnosis."
    if totals.n_failed:
        reasons = ", ".join(f"{n:,} {reason}" for reason, n in totals.reasons.most_common())
        yield f"{plan.directory / 'errors.csv'}: {reasons.replace('_', ' ')}"
    if outcome.was_stopped:
        yield "stopped; run the same command again to go on"


def _write_review(
    plan: Plan, source: ImageSource, n: int | None, note: Callable[[str], None]
) -> None:
    """Write ``review.html``, unless it is there and no chunk is newer."""
    from lesionlens.classifier import Classifier
    from lesionlens.screening.job import CHUNKS, chunk_files
    from lesionlens.screening.review import PAGE, PICTURES, write_review
    from lesionlens.screening.review_pictures import Pictures, Places

    page = plan.directory / PAGE
    if n is None and page.exists():
        written = page.stat().st_mtime_ns
        if all(path.stat().st_mtime_ns < written for path in chunk_files(plan.directory / CHUNKS)):
            return
    settings = plan.settings
    classifier = Classifier(
        plan.bundle, views=settings.views, policy=settings.policy, gate=settings.gate, threads=1
    )
    told = monotonic()

    def tell(n_made: int, n_all: int) -> None:
        nonlocal told
        if monotonic() - told > _TELL_S:
            told = monotonic()
            note(f"{page}: {n_made:,} of {n_all:,} maps of evidence")

    write_review(
        plan.directory,
        places=lambda names: Places(names, source.quickly()),
        pictures=Pictures(
            classifier, PICTURES if n is None else n, min(plan.workers, _cores("")), tell
        ),
    )
    note(f"{page}: open it in a browser to look through the images")


def _say_what_it_takes(plan: Plan, source: Iterable[Item | Pause]) -> None:
    """Print how many images there are, how long they take and how much disk."""
    import shutil

    from lesionlens.classifier import Classifier
    from lesionlens.screening.estimating import estimate
    from lesionlens.screening.job import JOB_FILE, Job

    settings = plan.settings
    classifier = Classifier(
        plan.bundle, views=settings.views, policy=settings.policy, gate=settings.gate, threads=1
    )
    n_done = 0
    with ExitStack() as stack:
        if (plan.directory / JOB_FILE).exists() and not plan.is_restart:
            job = stack.enter_context(Job(plan.directory, settings))
            n_done, source = job.n_done, job.pending(source)
        found = estimate(source, classifier, workers=plan.workers, limit=plan.limit)
    place = plan.directory.absolute()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    before = f", beside {n_done:,} that are done" if n_done else ""
    typer.echo(f"{found.n:,} images to judge{before}")
    typer.echo(
        f"{duration_words(found.seconds)} by {plan.workers} workers, from {found.n_sample} images "
        f"drawn at random: {found.image_ms:.1f} ms each on one core"
    )
    typer.echo(
        f"{found.output_bytes / 1e6:,.1f} MB in {plan.directory}; the disk has "
        f"{free / 1e6:,.0f} MB left"
    )
    if found.n_failed:
        typer.echo(f"{found.n_failed} of those {found.n_sample} could not be judged")
