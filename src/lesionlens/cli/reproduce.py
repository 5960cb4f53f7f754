"""``lesionlens reproduce``: from an archive folder to a trained, proven model with a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
from lesionlens.labels import IN_SCOPE, Label
from lesionlens.train.config import PAPER

if TYPE_CHECKING:
    from lesionlens.data.prepare import Cache
    from lesionlens.data.splits import Splits
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
    paper_test: Annotated[
        bool,
        typer.Option(
            "--paper-test",
            help="Hold out the paper's test set: 36 BCC, 36 SCC and 24 Normal, as near as whole "
            "groups allow. Only the three classes are used; trains once, whatever --folds says.",
        ),
    ] = False,
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

        lesionlens reproduce archive --preset paper --paper-test -o runs/paper
    """
    console.require(
        "reproduce", "train", "tensorflow", "keras", "cv2", "matplotlib", "jinja2", "skimage"
    )
    from lesionlens.data.splits import PAPER_TEST_COUNTS
    from lesionlens.train.network import import_tensorflow

    import_tensorflow()
    if folds == 1 or folds < 0:
        raise typer.BadParameter(f"{folds}: 0, or 2 and more", param_hint="--folds")
    config = make_config(preset, seed, epochs)
    directory = output or Path("runs") / f"{preset}-{seed}"

    from lesionlens.cli.export import DEFAULT_LICENCE, export_run, print_parity
    from lesionlens.metrics import evaluate
    from lesionlens.prediction_table import load_predictions
    from lesionlens.reporting import load_reference, write_report
    from lesionlens.train.runs import Material, train_run

    talk = console.stderr()
    frames, cache = _decode(
        _load_frames(archive, normals, masks, directory=directory, seed=seed), directory
    )
    splits = _split(
        frames,
        cache,
        directory / "splits.json",
        folds=0 if paper_test else folds,
        test_counts=PAPER_TEST_COUNTS if paper_test else None,
        seed=seed,
    )
    material = Material({frame.image_id: frame for frame in frames}, cache, splits)
    run, bundle = directory / "run", directory / "bundle"
    with training_view(sum(stage.epochs for stage in config.stages)) as hooks:
        table = train_run(config, material, run, weights=weights, hooks=hooks)
    exported = export_run(
        run, material, bundle, precision="fp16", name=None, licence=DEFAULT_LICENCE
    )
    print_parity(exported.parities, "fp16")
    report = write_report(
        evaluate(load_predictions(table)),
        directory / "report",
        title=f"{preset} on {archive.name}",
        images={frame.image_id: frame.path for frame in frames},
        reference=load_reference("paper") if preset == PAPER.preset else None,
    )
    talk.print(f"model:  {bundle}\ntable:  {table}\nreport: [bold]{report}[/bold]")
    typer.echo(report)


def _load_frames(
    archive: Path, normals: Path | None, masks: Path | None, *, directory: Path, seed: int
) -> Sequence[Frame]:
    """Load the archive, with healthy skin cut from it where it brings none."""
    from lesionlens.data.manifest import load_archive

    frames = load_archive(archive, normals=normals).frames
    if normals is not None or any(frame.label is Label.NORMAL for frame in frames):
        return frames
    cut = directory / "normal"
    if not (cut / "metadata.csv").is_file():
        _cut_normals(frames, cut, masks, seed)
    return load_archive(archive, normals=cut).frames


def _decode(frames: Sequence[Frame], directory: Path) -> tuple[Sequence[Frame], Cache]:
    """Decode into the cache; returns the frames that could be read."""
    from lesionlens.data.prepare import load_cache, prepare_cache

    folder = directory / "cache"
    with console.progress("decoding", len(frames)) as advance:
        prepared = prepare_cache(frames, folder, advance=advance)
    said = f"decoded {prepared.n_done:,} images, {prepared.n_kept:,} were there already"
    if prepared.errors:
        said += f", {len(prepared.errors):,} unreadable: {folder / 'errors.csv'}"
    console.stderr().print(said)
    cache = load_cache(folder)
    return [frame for frame in frames if frame.image_id in cache.row_of], cache


def _split(
    frames: Sequence[Frame],
    cache: Cache,
    path: Path,
    *,
    folds: int,
    test_counts: Mapping[Label, int] | None,
    seed: int,
) -> Splits:
    """Split by group, or read the split of an earlier run."""
    from lesionlens.data.duplicates import find_in_cache
    from lesionlens.data.splits import Splits, group_frames, make_splits

    if not path.is_file():
        with console.progress("comparing", len(frames)) as advance:
            pairs = find_in_cache(cache, frames, advance=advance)
        groups = group_frames(frames, [(pair.first_id, pair.second_id) for pair in pairs])
        chosen = [f for f in frames if f.label in IN_SCOPE] if test_counts else frames
        make_splits(chosen, groups, seed=seed, folds=folds or None, test_counts=test_counts).save(
            path
        )
    splits = Splits.load(path)
    n_groups = len(set(splits.groups.values()))
    console.stderr().print(f"{path}: {n_groups:,} groups in {len(splits.parts)} parts")
    return splits


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
