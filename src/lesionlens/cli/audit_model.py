"""``lesionlens audit-model``: what a model leans on, what it withstands, whom it serves."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lesionlens.cli import console
from lesionlens.cli.options import ModelOption
from lesionlens.errors import DataError, LesionLensError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table as RichTable

    from lesionlens.evidence.cohort import Cohort
    from lesionlens.evidence.failures import Gallery
    from lesionlens.evidence.sections import Column, Section, Table
    from lesionlens.intervals import Metric

#: The parts of an audit, in order; what each is called in ``--only``.
PARTS = ("shortcuts", "robustness", "subgroups", "views", "failures")


def audit_model(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="[RUN] ARCHIVE",
            help="Folder of a cross-validated or hold-out run, and the archive that it was trained "
            "on. With --model the archive alone.",
            show_default=False,
        ),
    ],
    *,
    model: ModelOption = None,
    cache: Annotated[
        Path | None,
        typer.Option(
            help="Cache folder that `data prepare` wrote; without it images are decoded anew.",
            show_default=False,
        ),
    ] = None,
    splits: Annotated[
        Path | None,
        typer.Option(
            help="File that `data split` wrote and the run was trained with; a bundle needs none.",
            show_default=False,
        ),
    ] = None,
    masks: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder of lesion masks, <image_id>.png or <image_id>_segmentation.png, if not "
            "ARCHIVE/masks. Without masks, background and lesion alone are not tested.",
            show_default=False,
        ),
    ] = None,
    normals: Annotated[
        Path | None, typer.Option(help="Folder of healthy-skin crops, if not ARCHIVE/normal.")
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Where the report goes.")
    ] = Path("audit"),
    only: Annotated[
        str | None,
        typer.Option(
            metavar="PARTS",
            help=f"Parts to do, with commas between: {', '.join(PARTS)} [default: all].",
            show_default=False,
        ),
    ] = None,
    sample: Annotated[
        int,
        typer.Option(
            min=0,
            help="Images of other lesions to draw by lot, and as many of things that are not skin, "
            "beside all of BCC, SCC and healthy skin.",
        ),
    ] = 500,
    policy: Annotated[
        str, typer.Option(help="How cautiously answers are judged: balanced or sensitive.")
    ] = "balanced",
    seed: Annotated[int, typer.Option(min=0, help="Of the draw and the bootstrap.")] = 0,
    bootstrap: Annotated[
        int, typer.Option(min=100, metavar="N", help="Bootstrap replicates.")
    ] = 1000,
    title: Annotated[str, typer.Option(help="Title of the report.")] = "",
) -> None:
    """Test a model for shortcuts, robustness and subgroups, on images that it never saw.

    Each image of a run is shown to the model of the fold that it was held out of; a bundle is
    tested on an archive that it was not trained on. audit.html is one file with figures and the
    worst failures (pictures of your archive: mind who gets it); audit.json has every figure with
    its number of images and 95 % interval. Answers are kept in the folder: the same command goes
    on where it was stopped. TensorFlow is not needed.

    **Examples**

        lesionlens audit-model runs/lens-0 archive --cache cache --splits splits.json

        lesionlens audit-model --model bundle another-archive --only shortcuts,subgroups

        lesionlens audit-model runs/lens-0 archive --masks masks --sample 2000 -o audit-lens
    """
    console.require("audit-model", "report", "matplotlib", "jinja2")
    console.require("audit-model", "data", "skimage", "scipy")
    parts = _parts(only)
    cohort, archive = _cohort(
        paths, model=model, cache=cache, splits=splits, normals=normals, sample=sample,
        policy=policy, seed=seed,
    )  # fmt: skip
    if masks is None and (archive / "masks").is_dir():
        masks = archive / "masks"

    from time import perf_counter

    from lesionlens.evidence.report import Heading, write_audit

    started = perf_counter()
    sections, galleries = _audit(cohort, parts, masks, output, n_bootstrap=bootstrap, seed=seed)
    heading = Heading(
        title or f"Audit of {cohort.title}", bootstrap, seed, perf_counter() - started
    )
    page = write_audit(cohort, sections, galleries, output, heading)
    for section in sections:
        _print(section)
    console.stderr().print(f"Report: {page}", soft_wrap=True, markup=False)


def _parts(only: str | None) -> tuple[str, ...]:
    if only is None:
        return PARTS
    wanted = [word.strip() for word in only.split(",") if word.strip()]
    unknown = [word for word in wanted if word not in PARTS]
    if unknown or not wanted:
        raise LesionLensError(
            f"--only {only}: {', '.join(unknown) or 'nothing'} is no part of an audit; "
            f"there are {', '.join(PARTS)}"
        )
    return tuple(part for part in PARTS if part in wanted)


def _cohort(
    paths: list[Path],
    *,
    model: Path | None,
    cache: Path | None,
    splits: Path | None,
    normals: Path | None,
    sample: int,
    policy: str,
    seed: int,
) -> tuple[Cohort, Path]:
    from lesionlens.data.manifest import load_archive
    from lesionlens.data.prepare import load_cache
    from lesionlens.data.splits import Splits
    from lesionlens.evidence.cohort import load_bundle_cohort, load_run_cohort
    from lesionlens.verdicts import POLICIES

    if policy not in POLICIES:
        raise LesionLensError(f"--policy {policy}: is not one of {', '.join(POLICIES)}")
    if len(paths) > 2 or (model is not None and len(paths) != 1):
        raise LesionLensError(
            "give a run and its archive, or --model BUNDLE and an archive; "
            f"got {', '.join(map(str, paths))}{f' and --model {model}' if model else ''}"
        )
    archive = paths[-1]
    frames = load_archive(archive, normals=normals).frames
    opened = None if cache is None else load_cache(cache)
    dealt = None if splits is None else Splits.load(splits)
    if len(paths) == 2:
        if dealt is None:
            raise LesionLensError(
                "--splits is needed with a run: it says which images each of its models never saw"
            )
        found = load_run_cohort(
            paths[0], frames, opened, dealt, n_others=sample, seed=seed, policy=policy
        )
    else:
        groups = None if dealt is None else dealt.groups
        found = load_bundle_cohort(
            model, frames, opened, groups=groups, n_others=sample, seed=seed, policy=policy
        )
    if not found.is_in_scope.any():
        raise DataError(
            f"{archive}: none of its images that could be asked about is BCC, SCC or healthy skin"
        )
    return found, archive


def _audit(
    cohort: Cohort,
    parts: Sequence[str],
    masks: Path | None,
    output: Path,
    *,
    n_bootstrap: int,
    seed: int,
) -> tuple[list[Section], tuple[Gallery, ...]]:
    from lesionlens.evidence import averaging, failures, robustness, shortcuts, subgroups
    from lesionlens.evidence.answers import Answers

    lesions = None if masks is None else shortcuts.load_masks(cohort, masks)
    galleries: tuple[Gallery, ...] = ()
    sections = []
    with ExitStack() as bars:
        answers = Answers(cohort, output / "answers", lambda key, total: _bar(bars, key, total))
        draws = {"n_bootstrap": n_bootstrap, "seed": seed}
        makers: dict[str, Callable[[], Section]] = {
            "shortcuts": lambda: shortcuts.audit_shortcuts(cohort, answers, lesions, **draws),
            "robustness": lambda: robustness.audit_robustness(cohort, answers, **draws),
            "subgroups": lambda: subgroups.audit_subgroups(cohort, answers, lesions, **draws),
            "views": lambda: averaging.audit_views(cohort, answers, **draws),
            "failures": lambda: failures.audit_failures(cohort, answers, galleries),
        }
        if "failures" in parts:
            galleries = failures.find_galleries(cohort, answers)
        for part in parts:
            sections.append(makers[part]())
    return sections, galleries


def _bar(bars: ExitStack, key: str, total: int) -> Callable[[int], None]:
    """End the last progress bar and begin another."""
    bars.close()
    words = key.split("-(", maxsplit=1)[0].replace("-", " ")
    return bars.enter_context(console.progress(words[:48], total))


def _print(section: Section) -> None:
    """Print what came out of a section, and its tables where they are few."""
    from rich.console import Console

    out = Console(highlight=False)
    if not out.is_terminal:
        out = Console(highlight=False, width=200)
    out.print(f"\n{section.title}", style="bold", markup=False)
    for sentence in section.findings:
        out.print(f"  {sentence}", markup=False)
    if section.key == "robustness":  # ten tables of eight columns are for the page
        out.print(_curves_table(section))
    else:
        for table in section.tables:
            out.print(_rich_table(table))
    for remark in section.remarks:
        out.print(f"  ({remark})", style="dim", markup=False)


def _rich_table(table: Table) -> RichTable:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table as RichTable
    from rich.text import Text

    made = RichTable(
        box=SIMPLE_HEAD, pad_edge=False, title=Text(table.caption), title_justify="left"
    )
    made.add_column("")
    made.add_column("n", justify="right")
    for column in table.columns.values():
        made.add_column(Text(column.heading), justify="right")
    for row in table.rows:
        cells = []
        for key, column in table.columns.items():
            metric = row.metrics.get(key)
            cells.append("" if metric is None else _cell(metric, column))
        name = f"{row.block}: {row.name}" if row.block else row.name
        made.add_row(Text(name), f"{row.n:,}", *cells)
    return made


def _curves_table(section: Section) -> RichTable:
    """Return accuracy under every change, from untouched to the strongest."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table as RichTable
    from rich.text import Text

    from lesionlens.evidence.sections import Column

    title = Text("Accuracy, untouched and at five strengths; audit.html has the other scores")
    made = RichTable(box=SIMPLE_HEAD, pad_edge=False, title=title, title_justify="left")
    for heading in ("", "untouched", *"12345"):
        made.add_column(heading, justify="right" if heading else "left")
    for table in section.tables:
        cells = []
        for row in table.rows:
            strength = "" if row is table.rows[0] else f"{row.name}: "
            cells.append(strength + _cell(row.metrics["accuracy"], Column("")))
        made.add_row(Text(table.caption), *cells)
    return made


def _cell(metric: Metric, column: Column) -> str:
    from lesionlens.reporting import format_metric

    if metric.value is None:
        return "–"  # the page and audit.json say why
    if column.unit:
        return f"{metric.value:.1f} {column.unit}"
    if not column.is_difference:
        return format_metric(metric)
    if metric.low is None or metric.high is None:
        return f"{metric.value:+.3f}"
    return f"{metric.value:+.3f} ({metric.low:+.3f} to {metric.high:+.3f})"
