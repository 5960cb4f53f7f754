"""``lesionlens export``: from a run to a bundle that a phone and ``predict`` can use."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lesionlens.cli import console
from lesionlens.cli.train import load_material
from lesionlens.labels import IN_SCOPE

if TYPE_CHECKING:
    import numpy as np

    from lesionlens.train.export import Export, Parity
    from lesionlens.train.runs import Material

#: The metrics that travel in model.json; those of the open set where it has been scored.
HEADLINE = (
    "accuracy",
    "balanced_accuracy",
    "macro_f1",
    *(f"{name}_{label}" for name in ("recall", "specificity", "roc_auc") for label in IN_SCOPE),
    "expected_calibration_error",
    *(f"open_roc_auc_{label}" for label in IN_SCOPE),
    "open_scope_roc_auc",
    "open_not_skin_roc_auc",
    *(f"confident_{name}" for name in ("in_scope", "other_lesions", "MEL", "NotSkin")),
    "confident_error",
    *(f"coverage_{label}" for label in IN_SCOPE),
    "mean_set_size",
    "kept_cancer",
    "sensitivity_cancer",
)


class Precision(StrEnum):
    """How the weights are stored."""

    FP16 = "fp16"
    FP32 = "fp32"
    INT8 = "int8"


DEFAULT_LICENCE = "as the training images allow; see their licences"


def export_run(
    run: Path, material: Material, output: Path, *, precision: str, name: str | None, licence: str
) -> Export:
    """Export the run's best model with what the run knows about it."""
    from lesionlens import __version__
    from lesionlens.bundle import ModelSpec
    from lesionlens.train import runs
    from lesionlens.train.calibration import Calibration
    from lesionlens.train.config import TrainConfig
    from lesionlens.train.export import N_CALIBRATION, N_PARITY, export_bundle, spread

    summary = runs.read_run(run)
    config = TrainConfig.from_json(summary.pop("config"))
    calibration = Calibration.load(run / runs.CALIBRATION)
    is_folds = summary["kind"] == "folds"
    table = run / (runs.PREDICTIONS_OUT_OF_FOLD if is_folds else runs.PREDICTIONS_TEST)
    spec = ModelSpec(
        name=name or config.preset,
        version=__version__,
        labels=config.labels,
        precision=precision,
        licence=licence,
        conformal=calibration.conformal,
        policies=calibration.policies,
        temperature=calibration.temperature,
        views=config.views,
        zooms=config.zooms,
        training={
            **summary,
            "calibrated_on": calibration.fitted_on,
            "metrics_on": "out-of-fold predictions" if is_folds else "the test part",
        },
        metrics=headline_metrics(table),
    )
    parts = material.splits.parts
    training_ids = [i for part, ids in parts.items() if is_folds or part == "train" for i in ids]
    compared_ids = training_ids if is_folds else parts["test"]

    def images_of(image_ids: Sequence[str], most: int) -> np.ndarray:
        # Sorted by class, so that an even choice of them holds every class.
        frames = sorted(material.usable(image_ids), key=lambda frame: frame.label)
        return material.cache.images[material.rows(spread(frames, most))]

    return export_bundle(
        runs.best_model(run),
        spec,
        output,
        images=images_of(compared_ids, N_PARITY),
        calibration=images_of(training_ids, N_CALIBRATION),
    )


def headline_metrics(table: Path) -> dict[str, dict[str, object]]:
    """Return the few metrics that travel in model.json, each with its interval."""
    from lesionlens.metrics import evaluate
    from lesionlens.prediction_table import load_predictions

    found = evaluate(load_predictions(table)).summary()
    return {name: found[name].to_json() for name in HEADLINE if name in found}


def print_parity(parities: tuple[Parity, ...], written: str) -> None:
    """Print the parity table on stderr."""
    from rich.table import Table

    grid = Table(title=f"Against Keras, on {parities[0].n_images} real images")
    for heading in ("", "largest difference", "mean", "other answers", "MB", "ms a pass", ""):
        grid.add_column(heading, justify="right")
    for parity in parities:
        ties = parity.n_flips - parity.n_flips_not_ties
        grid.add_row(
            parity.precision,
            f"{parity.max_difference:.1e}",
            f"{parity.mean_difference:.1e}",
            f"{parity.n_flips}" + (f" ({ties} ties)" if ties else ""),
            f"{parity.size_bytes / 1e6:.2f}",
            f"{parity.milliseconds:.2f}",
            "written" if parity.precision == written else "",
        )
    console.stderr().print(grid)


def export(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run.", show_default=False)],
    archive: Annotated[
        Path, typer.Argument(help="The archive it was trained on.", show_default=False)
    ],
    *,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="Folder of the bundle [default: RUN/bundle].", show_default=False
        ),
    ] = None,
    precision: Annotated[
        Precision,
        typer.Option(
            help="What to write: `fp16` (half the size, the same answers), `fp32`, or "
            "`int8` (smallest, but slower here and less exact)."
        ),
    ] = Precision.FP16,
    cache: Annotated[Path, typer.Option(help="Cache folder.")] = Path("cache"),
    splits: Annotated[Path, typer.Option(help="File of the split.")] = Path("splits.json"),
    name: Annotated[
        str | None,
        typer.Option(help="Name of the model [default: the preset's].", show_default=False),
    ] = None,
    licence: Annotated[
        str, typer.Option(help="Licence of the weights, in a phrase.")
    ] = DEFAULT_LICENCE,
    normals: Annotated[
        Path | None, typer.Option(help="Folder of healthy-skin crops, if not ARCHIVE/normal.")
    ] = None,
) -> None:
    """Convert a trained network to TensorFlow Lite, prove it, and write a bundle.

    All three precisions are converted and compared with Keras on real images; the table says by
    how much each differs, its size and its speed. A bundle that differs by more than it may
    (fp32 1e-5, fp16 5e-3, or any other answer that is not a tie) is not written.

    **Examples**

        lesionlens export runs/lens-0 archive

        lesionlens export runs/lens-0 archive --precision fp32 -o bundle-fp32

        lesionlens predict lesion.jpg --model runs/lens-0/bundle
    """
    console.require("export", "train", "tensorflow", "keras", "cv2")
    from lesionlens.train.network import import_tensorflow

    import_tensorflow()
    material = load_material(archive, normals, cache, splits)
    target = output or run / "bundle"
    result = export_run(
        run, material, target, precision=precision.value, name=name, licence=licence
    )
    print_parity(result.parities, precision.value)
    console.stderr().print(f"{target}: written. Try: lesionlens predict IMAGE --model {target}")
