"""Float16 weights where there are many, float32 where there are few.

TensorFlow Lite's float16 conversion rounds every weight. In MobileNetV3 that moves
probabilities by up to 0.02, nearly all of it through the first depthwise filters: nine numbers
that all but cancel, applied to large inputs. The small tensors, in which those are, hold 10 %
of the weights, so they are put back as they were in the float32 conversion of the same model.
"""

from __future__ import annotations

#: Tensors of at most this many numbers stay float32. Together they add 0.2 MB.
SMALL = 8192


def keep_small_tensors(float16: bytes, float32: bytes) -> bytes:
    """Return the float16 model with its small weight tensors in float32.

    Args:
        float16: ``.tflite`` bytes; weights are float16 constants, each behind a DEQUANTIZE.
        float32: ``.tflite`` bytes of the same network, where the constants have the same names.

    Returns:
        ``.tflite`` bytes in which the DEQUANTIZE of each small constant has given way to the
        float32 constant itself. A constant that the other file does not have stays as it was;
        the parity check of the export judges the result.
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
    # A filter and its bias go together: with one of them in each precision, the XNNPACK delegate
    # leaves the operator to a kernel that takes twice as long.
    stays = set()
    for operator in graph.operators:
        weights = [i for i in operator.inputs if i in dequantized]
        if any(np.prod(dequantized[i].shape) > SMALL for i in weights):
            stays.update(weights)
    kept = []
    for operator in graph.operators:
        kept.append(operator)
        if not is_dequantize[operator.opcodeIndex] or operator.outputs[0] in stays:
            continue
        source, result = dequantized[operator.outputs[0]], graph.tensors[operator.outputs[0]]
        rounded = np.frombuffer(bytes(model.buffers[source.buffer].data), np.float16)
        for name in (source.name, result.name):
            data = exact_data.get(name)
            if data is None or len(data) != 4 * rounded.size:
                continue
            # By name and by value: names of scalars are numbered anew in each conversion.
            if np.allclose(np.frombuffer(bytes(data), np.float32), rounded, rtol=2e-3, atol=1e-6):
                # The rounded copy has no reader any more: its buffer takes the exact numbers.
                model.buffers[source.buffer].data = data
                result.buffer, source.buffer = source.buffer, 0
                kept.pop()
                break
    graph.operators = kept
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))
