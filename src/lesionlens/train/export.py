"""From a trained network to a bundle: converted, measured against Keras, refused if it differs.

Only ``TFLiteConverter.from_keras_model`` is used: under Keras 3 ``from_concrete_functions``
writes a file without weights that runs without an error. Every conversion is therefore
checked for its size, its operators and, on real images, its answers.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from lesionlens.bundle import PRECISIONS, Bundle, ModelSpec, write_bundle
from lesionlens.confidence import softmax
from lesionlens.errors import TrainingError
from lesionlens.files import check_free_space
from lesionlens.quiet import without_lines
from lesionlens.runtime import Model
from lesionlens.train.float16 import keep_first_layers
from lesionlens.train.network import with_inner_outputs

if TYPE_CHECKING:
    import keras

#: Largest absolute difference of a probability from Keras' that a bundle may have. int8 is
#: reported, not promised: on this network it gives other answers, and it is not what ships.
TOLERANCE: dict[str, float | None] = {"fp32": 1e-5, "fp16": 5e-3, "int8": None}
#: Bytes per weight of each precision, for the check that the weights are in the file at all.
_BYTES_PER_WEIGHT = {"fp32": 4, "fp16": 2, "int8": 1}
#: Images that int8 ranges are taken from, and the most that parity is measured on.
N_CALIBRATION, N_PARITY = 200, 300
_TIMED_PASSES = 100
#: How many weights of the first layers a float16 model keeps in float32: none, else these in
#: turn until its parity is within the tolerance. The first adds 0.2 MB; the last leaves little
#: in float16.
EXACT_WEIGHTS = (110_000, 200_000, 400_000, 800_000)

Item = TypeVar("Item")


@dataclass(frozen=True)
class Parity:
    """How a converted model's answers differ from Keras' on real images."""

    precision: str
    n_images: int
    max_difference: float  # absolute, of any probability
    mean_difference: float  # absolute, over all probabilities
    n_flips: int  # images whose likeliest class is another
    n_flips_not_ties: int  # those where Keras' two likeliest were further apart than the tolerance
    size_bytes: int
    milliseconds: float  # median of one pass, one thread

    @property
    def is_within(self) -> bool:
        """Whether a bundle with this parity may be written."""
        tolerance = TOLERANCE[self.precision]
        if tolerance is None:
            return True
        return self.max_difference <= tolerance and self.n_flips_not_ties == 0


@dataclass(frozen=True)
class Export:
    """What ``export_bundle`` did."""

    bundle: Bundle
    parities: tuple[Parity, ...]  # of every precision, the written one among them


def convert(model: keras.Model, precision: str, calibration: np.ndarray | None = None) -> bytes:
    """Convert a network, with its inner outputs, to TensorFlow Lite.

    Args:
        model: from ``network.build_network``.
        precision: ``"fp32"``, ``"fp16"`` or ``"int8"``.
        calibration: (n, 224, 224, 3) uint8 training images that int8 takes its ranges from;
            the other precisions need none.

    Returns:
        The ``.tflite`` bytes: input float32 (1, 224, 224, 3) RGB 0..255, built-in operators only.

    Raises:
        TrainingError: the conversion failed or left the weights out.
    """
    import tensorflow as tf

    if precision not in PRECISIONS:
        raise TrainingError(f"precision {precision!r} is not one of {', '.join(PRECISIONS)}")
    converter = tf.lite.TFLiteConverter.from_keras_model(with_inner_outputs(model))
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    if precision != "fp32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if precision == "fp16":
        converter.target_spec.supported_types = [tf.float16]
    if precision == "int8":
        if calibration is None:
            raise TrainingError("int8 needs training images to take its ranges from")
        converter.representative_dataset = lambda: (
            [image[None].astype(np.float32)] for image in calibration
        )
    try:
        with without_lines([b""], descriptors=(1, 2)):
            content: bytes = converter.convert()
    except (ValueError, RuntimeError) as error:
        raise TrainingError(f"the {precision} conversion failed: {error}") from error
    least = 0.9 * model.count_params() * _BYTES_PER_WEIGHT[precision]
    if len(content) < least:
        raise TrainingError(
            f"the {precision} conversion has {len(content):,} bytes, too few for "
            f"{model.count_params():,} weights; they were lost on the way"
        )
    return content


def measure_parity(
    keras_logits: np.ndarray, content: bytes, precision: str, images: np.ndarray
) -> Parity:
    """Compare a converted model with Keras on real images, and time it.

    Args:
        keras_logits: (n, K), what Keras gives for ``images``.
        content: the ``.tflite`` bytes.
        precision: of ``content``.
        images: (n, 224, 224, 3) uint8.
    """
    runtime = Model(content, num_threads=1, name=f"the {precision} conversion")
    expected, found = softmax(keras_logits), softmax(runtime.run(images).logits)
    difference = np.abs(expected - found)
    top_two = np.sort(expected, axis=1)[:, -2:]
    is_tie = top_two[:, 1] - top_two[:, 0] <= 2 * (TOLERANCE[precision] or 0.0)
    is_flip = expected.argmax(1) != found.argmax(1)
    seconds = []
    for _ in range(_TIMED_PASSES):
        start = time.perf_counter()
        runtime.run(images[:1])
        seconds.append(time.perf_counter() - start)
    return Parity(
        precision=precision,
        n_images=len(images),
        max_difference=float(difference.max()),
        mean_difference=float(difference.mean()),
        n_flips=int(is_flip.sum()),
        n_flips_not_ties=int((is_flip & ~is_tie).sum()),
        size_bytes=len(content),
        milliseconds=float(np.median(seconds) * 1e3),
    )


def export_bundle(
    model: keras.Model,
    spec: ModelSpec,
    directory: Path,
    *,
    images: np.ndarray,
    calibration: np.ndarray,
) -> Export:
    """Convert to every precision, measure each, and write the one that ``spec`` names.

    Args:
        model: the trained network.
        spec: of the bundle; ``precision`` chooses what is written. Parity goes into its
            ``training`` summary.
        directory: the bundle's folder.
        images: (n, 224, 224, 3) uint8, real images to compare on.
        calibration: (n, 224, 224, 3) uint8, training images for int8.

    Raises:
        TrainingError: the parity of the precision to be written is not within its tolerance;
            nothing is written then.
    """
    from dataclasses import replace

    from lesionlens.train.stages import predict_logits

    if not len(images) or not len(calibration):
        raise TrainingError("export needs real images to compare on; there are none in the cache")
    check_free_space(directory, 20_000_000)
    keras_logits = predict_logits(model, (images[i : i + 50] for i in range(0, len(images), 50)))
    contents = {name: convert(model, name, calibration) for name in PRECISIONS}
    parities: dict[str, Parity] = {}
    for name in PRECISIONS:
        candidates: list[Callable[[], bytes]] = [partial(bytes, contents[name])]
        if name == "fp16":
            candidates += [
                partial(keep_first_layers, contents["fp16"], contents["fp32"], n)
                for n in EXACT_WEIGHTS
            ]
        for candidate in candidates:
            content = candidate()
            contents[name] = content
            parities[name] = measure_parity(keras_logits, content, name, images)
            if parities[name].is_within:
                break
    written = parities[spec.precision]
    if not written.is_within:
        raise TrainingError(
            f"{directory}: not written: on {written.n_images} images the {spec.precision} model "
            f"differs from Keras by up to {written.max_difference:.2g} in a probability "
            f"(at most {TOLERANCE[spec.precision]:g} is accepted) and gives "
            f"{written.n_flips_not_ties} other answers that are no ties (none is accepted)"
        )
    training = {**spec.training, "parity": [asdict(parity) for parity in parities.values()]}
    bundle = write_bundle(directory, contents[spec.precision], replace(spec, training=training))
    return Export(bundle, tuple(parities.values()))


def spread(items: Sequence[Item], most: int) -> list[Item]:
    """Return at most ``most`` of ``items``, evenly spaced."""
    if len(items) <= most:
        return list(items)
    return [items[i] for i in np.linspace(0, len(items) - 1, most).round().astype(int)]
