"""``lesionlens data normals``: cut healthy skin out of frames of benign lesions."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lesionlens.cli import console
from lesionlens.cli.options import ArchiveArgument
from lesionlens.cli.tables import print_table

_SHOWN_ERRORS = 5


def data_normals(
    archive: ArchiveArgument,
    *,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder for the crops; ARCHIVE/normal if not given."),
    ] = None,
    count: Annotated[int, typer.Option(min=1, help="How many crops to cut.")] = 500,
    size_fraction: Annotated[
        str, typer.Option(help="Side of a crop: from, to, as shares of the frame's shorter side.")
    ] = "0.25,0.5",
    per_frame: Annotated[int, typer.Option(min=1, help="Crops from one frame, at most.")] = 1,
    per_group: Annotated[
        int, typer.Option(min=1, help="Crops from one lesion or patient, at most.")
    ] = 2,
    min_side_px: Annotated[
        int, typer.Option(min=32, help="Smallest side of a crop in pixels.")
    ] = 48,
    masks: Annotated[
        Path | None,
        typer.Option(
            help="Folder of lesion masks, ISIC_x_segmentation.png, white is lesion. Frames "
            "without one are segmented.",
            show_default=False,
        ),
    ] = None,
    splits: Annotated[
        Path | None,
        typer.Option(
            help="A splits file: cut its frames only, and write each crop into its parent's part "
            "and group there.",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same crops.")] = 0,
) -> None:
    """Cut lesion-free squares out of frames of benign lesions, to stand for healthy skin.

    No archive labels healthy skin. Squares of random size and place are cut beside the lesion,
    clear of it by a margin, of dark corners, pen marks and rulers; doubtful frames are given
    up. Parent, lesion, patient and box of every crop are in metadata.csv, so that a crop is
    never split from its parent.

    **Examples**

        lesionlens data normals archive --count 500

        lesionlens data normals archive --masks HAM10000_segmentations --per-group 1

        lesionlens data normals archive --splits splits.json --size-fraction 0.3,0.6
    """
    console.require("data normals", "data", "skimage", "scipy")
    from lesionlens.data.manifest import load_archive
    from lesionlens.data.normals import CropOptions, add_to_splits, cut_normals
    from lesionlens.data.splits import Splits, check_splits

    folder = output or archive / "normal"
    options = CropOptions(
        count=count,
        size_fraction=_parse_range(size_fraction),
        per_frame=per_frame,
        per_group=per_group,
        min_side_px=min_side_px,
        seed=seed,
    )
    if masks is not None and not masks.is_dir():
        raise typer.BadParameter(f"{masks}: no such folder", param_hint="--masks")
    frames = load_archive(archive).frames
    loaded = Splits.load(splits) if splits is not None else None
    with console.progress("cutting", count, unit="crops") as advance:
        report = cut_normals(frames, folder, options, masks=masks, splits=loaded, advance=advance)
    if loaded is not None and splits is not None:
        crops = [crop.frame(folder) for crop in report.crops]
        extended = add_to_splits(loaded, frames, crops, removed=report.removed)
        new = {crop.image_id for crop in crops}
        check_splits(extended, [*(f for f in frames if f.image_id not in new), *crops])
        extended.save(splits)
        typer.echo(f"{splits}: every crop added to its parent's part", err=True)
    rows = [["cut", len(report.crops)]]
    rows += [[f"no crop: {why}", n] for why, n in sorted(report.refused.items())]
    print_table(["healthy skin", "number"], rows)
    typer.echo(
        f"{folder}: {len(report.crops):,} crops from {report.n_frames:,} frames, "
        f"{report.n_masked:,} of them with a mask",
        err=True,
    )
    for failure in report.errors[:_SHOWN_ERRORS]:
        typer.echo(f"  {failure.error}", err=True)
    if len(report.crops) < count:
        typer.echo(
            f"{count - len(report.crops):,} fewer than asked for: raise --per-group or "
            "--per-frame, or fetch more benign frames",
            err=True,
        )
    if report.errors:
        typer.echo(f"{len(report.errors):,} frames could not be read", err=True)
    if report.errors or not report.crops:
        raise typer.Exit(1)


def _parse_range(text: str) -> tuple[float, float]:
    try:
        low, high = (float(value) for value in text.split(","))
    except ValueError as error:
        raise typer.BadParameter(
            f"{text!r}: two numbers with a comma between are needed, such as 0.25,0.5",
            param_hint="--size-fraction",
        ) from error
    return low, high
