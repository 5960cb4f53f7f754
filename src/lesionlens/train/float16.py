"""Float16 weights, and float32 where rounding hurts: in the first layers.

TensorFlow Lite's float16 conversion rounds every weight. In MobileNetV3 that moves
probabilities by up to 0.03, most of it through the first depthwise filters: nine numbers that
all but cancel, applied to large inputs. The first layers also have the fewest weights, so
they are put back as they were in the float32 conversion of the same model, as many as needed.
"""

from __future__ import annotations


def keep_first_layers(float16: bytes, float32: bytes, n_weights: int) -> bytes:
    """Return the float16 model with the weights of its first layers in float32.

    Args:
        float16: ``.tflite`` bytes; weights are float16 constants, each behind a DEQUANTIZE.
        float32: ``.tflite`` bytes of the same network, where the constants have the same names.
        n_weights: how many numbers are put back at most, counted from the input; whole layers
            only. Each adds two bytes.

    Returns:
        ``.tflite`` bytes in which the DEQUANTIZE of those constants has given way to the float32
        constant itself. A constant that the other file does not have stays as it was; the
        parity check of the export judges the result.
    """
    import numpy as np
    from tensorflow.lite.python import schema_py_generated as schema
    from tensorflow.lite.tools import flatbuffer_utils

    model = flatbuffer_utils.read_model_from_bytearray(bytearray(float16))
    exact = flatbuffer_utils.read_model_from_bytearray(bytearray(float32))
    graph, exact_graph = model.subgraphs[0], exact.subgraphs[0]
    exact_data = {tensor.name: exact.buffers[tensor.buffer].data for tensor in exact_graph.tensors}
    is_dequantize = [
        code.builtinCode == schema.BuiltinOperator.DEQUANTIZE for code in model.operatorCodes
    ]
    dequantized = {
        operator.outputs[0]: graph.tensors[operator.inputs[0]]
        for operator in graph.operators
        if is_dequantize[operator.opcodeIndex]
    }
    # Operators stand in the order of execution. A filter and its bias go together: with one of
    # them in each precision, the XNNPACK delegate leaves the operator to a slower kernel.
    left, chosen, rounded_elsewhere = n_weights, set(), set()
    for operator in graph.operators:
        weights = [i for i in operator.inputs if i in dequantized]
        size = sum(int(np.prod(dequantized[i].shape)) for i in weights if i not in chosen)
        if size <= left:
            chosen.update(weights)
            left -= size
        else:
            left = 0
            rounded_elsewhere.update(weights)
    chosen -= rounded_elsewhere
    kept = []
    for operator in graph.operators:
        kept.append(operator)
        if not is_dequantize[operator.opcodeIndex] or operator.outputs[0] not in chosen:
            continue
        source, result = dequantized[operator.outputs[0]], graph.tensors[operator.outputs[0]]
        rounded = np.frombuffer(bytes(model.buffers[source.buffer].data), np.float16)
        # By value, names first: those of scalars are numbered anew in each conversion.
        names = (source.name, result.name, *exact_data)
        for data in (exact_data[name] for name in names if name in exact_data):
            if data is None or len(data) != 4 * rounded.size:
                continue
            if np.allclose(np.frombuffer(bytes(data), np.float32), rounded, rtol=2e-3, atol=1e-6):
                # The rounded copy has no reader any more: its buffer takes the exact numbers.
                model.buffers[source.buffer].data = data
                result.buffer, source.buffer = source.buffer, 0
                kept.pop()
                break
    graph.operators = kept
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))
