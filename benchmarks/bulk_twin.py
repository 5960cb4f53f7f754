"""The shipped network as a Keras model: the weights of model.tflite put back where they came from.

The bundle has no Keras file. What a plain loop is to be measured with must give the same answers,
so the network is built as training builds it and filled from the TFLite file, whose convolutions
and dense layers stand in the order of Keras's. BatchNorm was folded into those by the converter:
here each adds the bias and nothing else.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from lesionlens.bundle import Bundle

if TYPE_CHECKING:
    import keras

#: A hard sigmoid is relu6(x + 3) / 6, and the converter added the 3 to the bias before it.
_BEFORE_HARD_SIGMOID = "squeeze_excite_conv_1"
_OPERATIONS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")


def keras_twin(bundle: Bundle) -> keras.Model:
    """Return a Keras model (n, 224, 224, 3) RGB 0..255 -> (n, K) logits as the bundle's model."""
    from lesionlens.train.config import LENS
    from lesionlens.train.network import build_network, import_tensorflow

    import_tensorflow()
    import keras

    network = build_network(replace(LENS, labels=bundle.spec.labels), weights=None)
    layers = keras.layers
    weights = iter(_weights(bundle.tflite))
    bias: np.ndarray | None = None  # of the layer before, for its BatchNorm
    for layer in network.layers:
        if isinstance(layer, layers.Conv2D | layers.DepthwiseConv2D | layers.Dense):
            assert bias is None, f"{layer.name}: the layer before has found no place for its bias"
            kernel, bias = next(weights)
            kernel = kernel.T if kernel.ndim == 2 else kernel.transpose(1, 2, 3, 0)
            if layer.name.endswith(_BEFORE_HARD_SIGMOID):
                bias = bias - 3.0
            layer.set_weights([kernel, bias] if layer.use_bias else [kernel])
            bias = None if layer.use_bias else bias
        elif isinstance(layer, layers.BatchNormalization):
            n = layer.gamma.shape[0]
            beta = np.zeros(n, np.float32) if bias is None else bias
            ones = np.ones(n, np.float32)
            layer.set_weights([ones, beta, np.zeros(n, np.float32), ones - layer.epsilon])
            bias = None
    assert next(weights, None) is None, "the file has more layers than the network"
    return network


def _weights(content: bytes) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return kernel and bias of every layer of a TFLite file, in its order, as float32."""
    import tensorflow as tf

    interpreter = tf.lite.Interpreter(
        model_content=content,
        experimental_preserve_all_tensors=True,
        experimental_op_resolver_type=(
            tf.lite.experimental.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        ),
    )
    interpreter.allocate_tensors()
    operations: list[dict[str, Any]] = interpreter._get_ops_details()
    packed = {  # float16 constants are unpacked by an operation of their own
        int(operation["outputs"][0]): int(operation["inputs"][0])
        for operation in operations
        if operation["op_name"] == "DEQUANTIZE"
    }

    def constant(index: int) -> np.ndarray:
        return interpreter.get_tensor(packed.get(index, index)).astype(np.float32)

    return [
        (constant(int(operation["inputs"][1])), constant(int(operation["inputs"][2])))
        for operation in operations
        if operation["op_name"] in _OPERATIONS
    ]
