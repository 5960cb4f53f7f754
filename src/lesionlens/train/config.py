"""What a training run does, in full: presets as frozen dataclasses, written to config.json.

Importing this module is cheap; it knows nothing of TensorFlow.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from lesionlens.errors import TrainingError
from lesionlens.labels import IN_SCOPE, OUT_OF_SCOPE, Label
from lesionlens.zooms import ZOOMS

#: Increased whenever a change of code changes what the same configuration trains.
CONFIG_FORMAT = 2


@dataclass(frozen=True)
class Stage:
    """One stretch of training with the same layers free."""

    name: str
    epochs: int
    learning_rate: float  # the peak, for a cosine schedule
    free_layers: int  # how many layers at the top of the base learn; 0 frozen, -1 all
    schedule: str = "constant"  # or "cosine": linear rise over warmup_share, then a half cosine
    warmup_share: float = 0.05  # of the stage's steps


@dataclass(frozen=True)
class Augmentation:
    """How far a training image is moved and coloured at random."""

    rotation_degrees: float = 0.0  # uniform in +-
    shift: float = 0.0  # of the side, uniform in +-
    window: tuple[float, float] = (1.0, 1.0)  # side of the square looked at / side; < 1 zooms in
    window_normal: tuple[float, float] | None = None  # the same for healthy skin; None: as window
    window_photo: tuple[float, float] | None = None  # the same for what is not skin
    stretch: float = 0.0  # width against height, uniform in log +-
    shear_degrees: float = 0.0  # uniform in +-
    horizontal_flip: bool = False
    vertical_flip: bool = False
    transpose: bool = False
    brightness: float = 0.0  # factor uniform in 1 +-
    contrast: float = 0.0  # factor uniform in 1 +-
    saturation: float = 0.0  # factor uniform in 1 +-
    hue_degrees: float = 0.0  # rotation about the grey axis, uniform in +-
    channel_gain: float = 0.0  # factor of each channel, normal with this deviation (white balance)
    blur_share: float = 0.0  # of the images that are blurred
    blur_sigma_px: tuple[float, float] = (0.5, 1.5)
    border: str = "nearest"  # what lies outside the frame: "nearest" or "reflect"


@dataclass(frozen=True)
class TrainConfig:
    """A training run written out in full."""

    preset: str
    labels: tuple[Label, ...]  # the outputs, in order
    stages: tuple[Stage, ...]
    augmentation: Augmentation
    seed: int = 0
    batch_size: int = 32
    # Share of each class in an epoch; empty: every image once, weighted by class in the loss.
    mixture: dict[Label, float] = field(default_factory=dict)
    epoch_size: int = 0  # images an epoch where there is a mixture
    # Share of the NotSkin images of an epoch that are made on the fly (decoys.py); all of them
    # where the archive has no photos of other things.
    decoy_share: float = 0.0
    hidden_units: int = 256
    hidden_l2: float = 1e-4
    dropout: tuple[float, float] = (0.3, 0.4)  # before and after the hidden layer
    label_smoothing: float = 0.0
    mixup_alpha: float = 0.0  # Beta(alpha, alpha); 0: none. https://arxiv.org/abs/1710.09412
    weight_decay: float = 0.0  # decoupled, per step, times the rate (AdamW)
    gradient_clip: float = 0.0  # global norm; 0: none
    average_decay: float = 0.0  # exponential moving average of the weights; 0: none
    base_statistics_learn: bool = False  # let the base's BatchNorm layers learn
    validation_share: float = 0.12  # of the groups, cut from the training part of a fold
    views: int = 10  # test-time augmentation
    zooms: tuple[float, ...] = ZOOMS  # of the views, in turn

    def to_json(self) -> dict[str, Any]:
        """Return plain values that ``from_json`` reads back."""
        return {"format": CONFIG_FORMAT, **dataclasses.asdict(self)}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> TrainConfig:
        """Read back what ``to_json`` gave.

        Raises:
            TrainingError: another format, or fields that this version does not know.
        """
        values = dict(values)
        if values.pop("format", None) != CONFIG_FORMAT:
            raise TrainingError(f"config.json: its format is not {CONFIG_FORMAT}; train anew")
        try:
            values["labels"] = tuple(Label(label) for label in values["labels"])
            values["stages"] = tuple(Stage(**stage) for stage in values["stages"])
            values["mixture"] = {Label(k): v for k, v in values["mixture"].items()}
            values["dropout"] = tuple(values["dropout"])
            values["zooms"] = tuple(values["zooms"])
            augmentation = dict(values["augmentation"])
            for name in ("window", "window_normal", "window_photo", "blur_sigma_px"):
                if augmentation[name] is not None:
                    augmentation[name] = tuple(augmentation[name])
            values["augmentation"] = Augmentation(**augmentation)
            return cls(**values)
        except (KeyError, TypeError, ValueError) as error:
            raise TrainingError(
                f"config.json: is not a training configuration ({error})"
            ) from error


# The 2026 paper's recipe. It names the kinds of augmentation but not all of their ranges; those
# here are the usual ones of Keras' ImageDataGenerator tutorials, and the rates are Keras' own
# default and a tenth of it.
PAPER = TrainConfig(
    preset="paper",
    labels=IN_SCOPE,
    stages=(
        Stage("frozen", epochs=15, learning_rate=1e-3, free_layers=0),
        Stage("fine-tune", epochs=25, learning_rate=1e-4, free_layers=60),
    ),
    augmentation=Augmentation(
        rotation_degrees=20,
        shift=0.1,
        window=(0.9, 1.1),
        shear_degrees=5.7,  # 0.1 radians
        horizontal_flip=True,
        brightness=0.2,
    ),
    # It has seen lesions from no nearer than nine tenths of the frame.
    zooms=(1.0,) * 8 + (0.875, 0.75),
)

# Ours. Each difference from PAPER is ablated in docs/training.md.
LENS = TrainConfig(
    preset="lens",
    labels=(*IN_SCOPE, *OUT_OF_SCOPE, Label.NOT_SKIN),
    stages=(
        Stage("frozen", epochs=2, learning_rate=1e-3, free_layers=0),
        Stage(
            "fine-tune",
            epochs=16,
            learning_rate=3e-4,
            free_layers=60,
            schedule="cosine",
            warmup_share=0.08,
        ),
    ),
    augmentation=Augmentation(
        rotation_degrees=45,
        shift=0.08,
        # Lesions are also looked at from as near as the healthy-skin crops are, and those from
        # as far as lesions are, so that magnification does not give the answer away.
        window=(0.45, 1.1),
        window_normal=(0.7, 2.0),
        window_photo=(0.3, 1.1),  # a part of a photo is no more skin than the whole
        stretch=0.2,
        shear_degrees=5,
        horizontal_flip=True,
        vertical_flip=True,
        transpose=True,
        brightness=0.25,
        contrast=0.2,
        saturation=0.25,
        hue_degrees=8,
        channel_gain=0.06,
        blur_share=0.3,
        border="reflect",
    ),
    mixture={
        Label.BCC: 0.18,
        Label.SCC: 0.15,
        Label.NORMAL: 0.12,
        Label.NV: 0.12,
        Label.MEL: 0.12,
        Label.BKL: 0.11,
        Label.AK: 0.05,
        Label.DF: 0.035,
        Label.VASC: 0.035,
        Label.UNK: 0.03,
        Label.NOT_SKIN: 0.05,
    },
    epoch_size=4352,
    decoy_share=0.5,
    label_smoothing=0.05,
    mixup_alpha=0.2,
    weight_decay=1e-2,
    gradient_clip=1.0,
    average_decay=0.998,
)

PRESETS = {preset.preset: preset for preset in (LENS, PAPER)}
