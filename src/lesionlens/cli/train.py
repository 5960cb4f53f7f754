"""``lesionlens train``: fit MobileNetV3Small on a prepared, split archive."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lesionlens.cli import console
from lesionlens.cli.training_view import training_view
from lesionlens.errors import LesionLensError
from lesionlens.train.config import PRESETS, TrainConfig

if TYPE_CHECKING:
    from lesionlens.train.runs import Material

IMAGENET = "imagenet"
PresetOption = Annotated[
    str,
    typer.Option(
        help="`lens`, ours: other lesions learned as classes of their own, magnification matched, "
        "weights averaged. `paper`: the 2026 paper's recipe."
    ),
]
WeightsOption = Annotated[
    str,
    typer.Option(
        help="Weights of the base: a mobilenet_v3_small .weights.h5 file without top, or "
        "`imagenet` to let Keras download its own once.",
        envvar="LESIONLENS_WEIGHTS",
    ),
]
SeedOption = Annotated[int, typer.Option(min=0, help="Same seed, same model.")]
EpochsOption = Annotated[
    str | None,
    typer.Option(
        help="Epochs of each stage instead of the preset's, such as `2,6`: for a quick try.",
        show_default=False,
    ),
]


def make_config(preset: str, seed: int, epochs: str | None) -> TrainConfig:
    """Return the preset with what the command line changes."""
    if preset not in PRESETS:
        raise LesionLensError(f"--preset {preset}: is not one of {', '.join(PRESETS)}")
    config = dataclasses.replace(PRESETS[preset], seed=seed)
    if epochs is None:
        return config
    counts = epochs.split(",")
    if len(counts) != len(config.stages) or not all(count.strip().isdigit() for count in counts):
        raise LesionLensError(
            f"--epochs {epochs}: give {len(config.stages)} whole numbers with commas between, "
            f"one for each of {', '.join(stage.name for stage in config.stages)}"
        )
    stages = zip(config.stages, counts, strict=True)
    return dataclasses.replace(
        config, stages=tuple(dataclasses.replace(stage, epochs=int(n)) for stage, n in stages)
    )


def load_material(archive: Path, normals: Path | None, cache: Path, splits: Path) -> Material:
    """Load what training and export need."""
    from lesionlens.data.manifest import load_archive
    from lesionlens.data.prepare import load_cache
    from lesionlens.data.splits import Splits
    from lesionlens.train.runs import Material

    frames = {frame.image_id: frame for frame in load_archive(archive, normals=normals).frames}
    return Material(frames, load_cache(cache), Splits.load(splits))


def train(
    archive: Annotated[
        Path, typer.Argument(help="Archive folder: metadata.csv and images/.", show_default=False)
    ],
    *,
    cache: Annotated[Path, typer.Option(help="Cache folder that `data prepare` wrote.")] = Path(
        "cache"
    ),
    splits: Annotated[
        Path,
        typer.Option(help="File that `data split` wrote; folds give a cross-validated run."),
    ] = Path("splits.json"),
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="Folder of the run [default: runs/PRESET-SEED].",
            show_default=False,
        ),
    ] = None,
    preset: PresetOption = "lens",
    weights: WeightsOption = IMAGENET,
    seed: SeedOption = 0,
    epochs: EpochsOption = None,
    normals: Annotated[
        Path | None, typer.Option(help="Folder of healthy-skin crops, if not ARCHIVE/normal.")
    ] = None,
) -> None:
    """Train the network in two stages and predict what it has not seen.

    The run's folder gets config.json (everything, in full), log.csv, curves.png, best.keras and
    prediction tables to evaluate. Stop it at any time: the same command goes on after the last
    finished epoch. With folds, every image is predicted once by a model that never saw it, and a
    final model is fitted on all of them.

    **Examples**

        lesionlens train archive

        lesionlens train archive --preset paper --weights mobilenet_v3_small.weights.h5

        lesionlens evaluate runs/lens-0/predictions-out-of-fold.csv
    """
    console.require("train", "train", "tensorflow", "keras", "cv2", "matplotlib")
    from lesionlens.train.network import import_tensorflow

    import_tensorflow()
    config = make_config(preset, seed, epochs)
    directory = output or Path("runs") / f"{preset}-{seed}"
    material = load_material(archive, normals, cache, splits)

    from lesionlens.train.runs import train_run

    with training_view(sum(stage.epochs for stage in config.stages)) as hooks:
        table = train_run(config, material, directory, weights=weights, hooks=hooks)
    talk = console.stderr()
    talk.print(f"{directory}: done. Next:")
    talk.print(f"  lesionlens evaluate {table} -o {directory / 'report'}", soft_wrap=True)
    talk.print(f"  lesionlens export {directory} {archive} --cache {cache} --splits {splits}")
