"""The network: MobileNetV3Small with a small head that gives logits.

Rescaling is in the graph (``include_preprocessing=True``): the model takes RGB 0..255.
The BatchNorm layers of the base are held by ``trainable = False`` on each of them. Calling
the base with ``training=False`` does not hold them: under Keras 3.15 the functional graph
hands ``training=True`` on to every layer during training, and fine-tuning then wrecks the
features (tests/test_train.py asserts that their statistics do not move).
"""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

from lesionlens.errors import TrainingError
from lesionlens.imaging import INPUT_PX
from lesionlens.quiet import without_lines
from lesionlens.train.config import TrainConfig

if TYPE_CHECKING:
    import keras

#: Names of the tensors that the exported model gives; runtime.py finds them by these.
LOGITS, FEATURES, FEATURE_MAP = "logits", "features", "feature_map"
_HEAD_PREFIX = "head_"


def import_tensorflow() -> None:
    """Import TensorFlow without its start-up notes on the terminal."""
    import os

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with without_lines([b"WARNING: All log messages before absl", b"I0000 "]):
        import tensorflow  # noqa: F401  (for its side effect)


def build_network(config: TrainConfig, weights: str | Path | None) -> keras.Model:
    """Build the network with a freshly drawn head.

    Args:
        config: the outputs, the head's size and rates, the seed.
        weights: a ``.weights.h5`` file for the base; ``"imagenet"`` lets Keras download its
            own; None draws the base at random (tests only: nothing useful comes of it).

    Returns:
        A functional model (n, 224, 224, 3) RGB 0..255 -> (n, K) logits.

    Raises:
        TrainingError: the weights cannot be read or downloaded.
    """
    import keras

    try:
        with redirect_stdout(sys.stderr):  # where Keras would show its download
            base = keras.applications.MobileNetV3Small(
                input_shape=(INPUT_PX, INPUT_PX, 3),
                include_top=False,
                include_preprocessing=True,
                weights=None if weights is None else str(weights),
            )
    except Exception as error:  # Keras raises a plain Exception for a failed download
        raise TrainingError(
            f"the base's weights ({weights}) cannot be loaded: {error}. Give a local "
            "mobilenet_v3_small .weights.h5 without top by --weights, or connect to the internet "
            "so that Keras can download its own"
        ) from error

    def dense(units: int, name: str, seed: int, **options: object) -> keras.layers.Dense:
        start = keras.initializers.GlorotUniform(seed=seed)
        return keras.layers.Dense(units, name=name, kernel_initializer=start, **options)

    x = keras.layers.GlobalAveragePooling2D(name=FEATURES)(base.output)
    x = keras.layers.BatchNormalization(name=_HEAD_PREFIX + "norm")(x)
    x = keras.layers.Dropout(config.dropout[0], seed=config.seed, name=_HEAD_PREFIX + "drop_1")(x)
    regularizer = keras.regularizers.L2(config.hidden_l2) if config.hidden_l2 else None
    x = dense(
        config.hidden_units,
        _HEAD_PREFIX + "hidden",
        config.seed + 1,
        activation="relu",
        kernel_regularizer=regularizer,
    )(x)
    x = keras.layers.Dropout(config.dropout[1], seed=config.seed + 2, name=_HEAD_PREFIX + "drop_2")(
        x
    )
    x = dense(len(config.labels), LOGITS, config.seed + 3)(x)
    return keras.Model(base.input, x, name=f"lesionlens_{config.preset}")


def free_layers(model: keras.Model, n_free: int, *, base_statistics_learn: bool = False) -> None:
    """Let the head and the top ``n_free`` layers of the base learn, and hold the rest.

    Args:
        model: from ``build_network``.
        n_free: layers of the base counted from its top; 0 none, -1 all.
        base_statistics_learn: whether BatchNorm layers of the freed part learn and use batch
            statistics; otherwise they stay in inference mode.
    """
    import keras

    head_start = [layer.name for layer in model.layers].index(FEATURES)
    base = model.layers[:head_start]
    first_free = 0 if n_free < 0 else len(base) - min(n_free, len(base))
    for place, layer in enumerate(base):
        is_norm = isinstance(layer, keras.layers.BatchNormalization)
        layer.trainable = place >= first_free and (base_statistics_learn or not is_norm)
    for layer in model.layers[head_start:]:
        layer.trainable = True


def with_inner_outputs(model: keras.Model) -> keras.Model:
    """Return the model with its pooled features and last feature map as outputs too.

    Returns:
        A model giving a dict: ``logits`` (n, K), ``features`` (n, 576) and ``feature_map``
        (n, 7, 7, 576), sharing the layers of ``model``.
    """
    import keras

    pool = model.get_layer(FEATURES)
    outputs = {LOGITS: model.output, FEATURES: pool.output, FEATURE_MAP: pool.input}
    return keras.Model(model.input, outputs, name=model.name)
