"""``lesionlens reproduce``: from an archive folder to a trained, proven model with a report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lesionlens.cli import console
from lesionlens.cli.train import (
    IMAGENET,
    EpochsOption,
    PresetOption,
    SeedOption,
    WeightsOption,
    make_config,
)
from lesionlens.cli.training_view import training_view
from lesionlens.errors import DataError

if TYPE_CHECKING:
    from lesionlens.records import Frame


def reproduce(
    archive: Annotated[
        Path,
        typer.Argument(
            help="Archive folder: metadata.csv and images/, normal/ if you have it.",
            show_default=False,
        ),
    ],
    *,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="Folder for all of it [default: runs/PRESET-SEED].",
            show_default=False,
        ),
    ] = None,
    preset: PresetOption = "lens",
    folds: Annotated[
        int,
        typer.Option(
            help="Cross-validate over so many folds and fit a final model on all; "
            "0 trains once and tests on a part held out."
        ),
    ] = 5,
    weights: WeightsOption = IMAGENET,
    seed: SeedOption = 0,
    epochs: EpochsOption = None,
    normals: Annotated[
        Path | None, typer.Option(help="Folder of healthy-skin crops, if not ARCHIVE/normal.")
    ] = None,
    masks: Annotated[
        Path | None,
        typer.Option(help="Lesion masks to cut healthy skin by, if there are no crops yet."),
    ] = None,
) -> None:
    """Split, decode, train, export and evaluate in one go, ending with a report.

    Every step is a verb of its own (data normals, data prepare, data split, train, export,
    evaluate); stop at any time, the same command goes on. Healthy-skin crops are cut from the
    archive's benign frames where it has none.

    **Examples**

        lesionlens reproduce archive

        lesionlens reproduce archive --preset paper --folds 0 -o runs/paper
    """
    console.require(
        "reproduce", "train", "tensorflow", "keras", "cv2", "sklearn", "matplotlib", "imagehash"
    )
    from lesionlens.train.network import import_tensorflow

    import_tensorflow()
    config = make_config(preset, seed, epochs)
    directory = output or Path("runs") / f"{preset}-{seed}"

    from lesionlens.cli.export import DEFAULT_LICENCE, export_run, print_parity
    from lesionlens.data.duplicates import find_in_cache
    from lesionlens.data.manifest import load_archive
    from lesionlens.data.prepare import load_cache, prepare_cache
    from lesionlens.data.splits import Splits, group_frames, make_splits
    from lesionlens.labels import Label
    from lesionlens.metrics import evaluate
    from lesionlens.prediction_table import load_predictions
    from lesionlens.reporting import write_report
    from lesionlens.train.runs import Material, train_run

    talk = console.stderr()
    frames = load_archive(archive, normals=normals).frames
    if normals is None and not any(frame.label is Label.NORMAL for frame in frames):
        normals = directory / "normal"
        _cut_normals(frames, normals, masks, seed)
        frames = load_archive(archive, normals=normals).frames

    with console.progress("decoding", len(frames)) as advance:
        prepared = prepare_cache(frames, directory / "cache", advance=advance)
    cache = load_cache(directory / "cache")
    talk.print(
        f"decoded {prepared.n_done:,} images, {prepared.n_kept:,} were there already"
        + (
            f", {len(prepared.errors):,} unreadable: {directory / 'cache' / 'errors.csv'}"
            if prepared.errors
            else ""
        )
    )
    frames = tuple(frame for frame in frames if frame.image_id in cache.row_of)
    splits_path = directory / "splits.json"
    if not splits_path.is_file():
        with console.progress("comparing", len(frames)) as advance:
            pairs = find_in_cache(cache, frames, advance=advance)
        groups = group_frames(frames, [(pair.first_id, pair.second_id) for pair in pairs])
        make_splits(frames, groups, seed=seed, folds=folds or None).save(splits_path)
    splits = Splits.load(splits_path)
    talk.print(
        f"{splits_path}: {len(set(splits.groups.values())):,} groups in {len(splits.parts)} parts"
    )

    material = Material({frame.image_id: frame for frame in frames}, cache, splits)
    run = directory / "run"
    with training_view(sum(stage.epochs for stage in config.stages)) as hooks:
        table = train_run(config, material, run, weights=weights, hooks=hooks)

    bundle = directory / "bundle"
    exported = export_run(
        run, material, bundle, precision="fp16", name=None, licence=DEFAULT_LICENCE
    )
    print_parity(exported.parities, "fp16")

    evaluation = evaluate(load_predictions(table))
    images = {frame.image_id: frame.path for frame in frames}
    report = write_report(
        evaluation, directory / "report", title=f"{preset} on {archive.name}", images=images
    )
    talk.print(f"model:  {bundle}\ntable:  {table}\nreport: [bold]{report}[/bold]")
    typer.echo(report)


def _cut_normals(frames: Sequence[Frame], folder: Path, masks: Path | None, seed: int) -> None:
    from lesionlens.data.normals import CropOptions, cut_normals

    options = CropOptions(seed=seed)
    with console.progress("cutting healthy skin", options.count, unit="crops") as advance:
        report = cut_normals(frames, folder, options, masks=masks, advance=advance)
    console.stderr().print(
        f"{folder}: {len(report.crops):,} crops of healthy skin from {report.n_frames:,} frames "
        "of benign lesions"
    )
    if not report.crops:
        raise DataError(
            f"{folder}: no healthy skin could be cut from {report.n_frames:,} benign frames; give "
            "crops with --normals, masks with --masks, or fetch more benign frames"
        )
