"""A TFLite model built in code, without TensorFlow, whose answers are known beforehand.

It averages colours: red pixels speak for BCC, green ones for SCC, blue ones for Normal and
grey for nothing. Its input and outputs are those of a bundle, its file has 3 kB.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from lesionlens.bundle import Bundle, ModelSpec, Policy, write_bundle
from lesionlens.conformal import ConformalSets
from lesionlens.labels import IN_SCOPE, OUT_OF_SCOPE, Label

LABELS: tuple[Label, ...] = (*IN_SCOPE, *OUT_OF_SCOPE)
N_FEATURES = 12
#: Logit of a class for an image wholly of its colour.
STRENGTH = 6.0


def build(n_labels: int = 9, *, side: int = 224, signature: bool = True) -> bytes:
    """Return the bytes of a model with ``n_labels`` logits, with or without named outputs."""
    buffers = [schema.BufferT()]
    tensors: list[schema.TensorT] = []

    def tensor(shape: Sequence[int], values: np.ndarray | None = None) -> int:
        made = schema.TensorT()
        made.shape, made.name = list(shape), f"t{len(tensors)}".encode()
        made.type = schema.TensorType.FLOAT32
        made.buffer = 0
        if values is not None:
            if values.dtype == np.int32:
                made.type = schema.TensorType.INT32
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(values.tobytes(), np.uint8)
            made.buffer = len(buffers)
            buffers.append(buffer)
        tensors.append(made)
        return len(tensors) - 1

    def constant(values: np.ndarray) -> int:
        return tensor(values.shape, values)

    mix = np.zeros((N_FEATURES, 1, 1, 3), np.float32)
    mix[:3, 0, 0] = np.eye(3) / 255
    weights = np.zeros((n_labels, N_FEATURES), np.float32)
    weights[:3, :3] = STRENGTH * (1.5 * np.eye(3) - 0.5)
    image = tensor((1, side, side, 3))
    pooled = tensor((1, side // 32, side // 32, 3))
    feature_map = tensor((1, side // 32, side // 32, N_FEATURES))
    features = tensor((1, N_FEATURES))
    logits = tensor((1, n_labels))
    pool = schema.Pool2DOptionsT()
    pool.strideH = pool.strideW = pool.filterHeight = pool.filterWidth = 32
    pool.padding = schema.Padding.VALID
    convolution = schema.Conv2DOptionsT()
    convolution.strideH = convolution.strideW = 1
    convolution.padding = schema.Padding.VALID
    steps = [
        ("AVERAGE_POOL_2D", "Pool2DOptions", pool, [image], pooled),
        (
            "CONV_2D",
            "Conv2DOptions",
            convolution,
            [pooled, constant(mix), constant(np.zeros(N_FEATURES, np.float32))],
            feature_map,
        ),
        (
            "MEAN",
            "ReducerOptions",
            schema.ReducerOptionsT(),
            [feature_map, constant(np.array([1, 2], np.int32))],
            features,
        ),
        (
            "FULLY_CONNECTED",
            "FullyConnectedOptions",
            schema.FullyConnectedOptionsT(),
            [features, constant(weights), constant(np.zeros(n_labels, np.float32))],
            logits,
        ),
    ]
    model = schema.ModelT()
    model.version, model.buffers, model.operatorCodes = 3, buffers, []
    graph = schema.SubGraphT()
    graph.tensors, graph.operators = tensors, []
    graph.inputs, graph.outputs = [image], [feature_map, features, logits]
    for number, (operator, kind, options, inputs, output) in enumerate(steps):
        code = schema.OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = getattr(schema.BuiltinOperator, operator)
        code.version = 1
        model.operatorCodes.append(code)
        step = schema.OperatorT()
        step.opcodeIndex, step.inputs, step.outputs = number, inputs, [output]
        step.builtinOptionsType = getattr(schema.BuiltinOptions, kind)
        step.builtinOptions = options
        graph.operators.append(step)
    model.subgraphs = [graph]
    if signature:
        names = schema.SignatureDefT()
        names.signatureKey, names.subgraphIndex = b"serving_default", 0
        names.inputs = [_named("image", image)]
        names.outputs = [
            _named("logits", logits),
            _named("features", features),
            _named("feature_map", feature_map),
        ]
        model.signatureDefs = [names]
    builder = flatbuffers.Builder(4096)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def _named(name: str, tensor: int) -> schema.TensorMapT:
    made = schema.TensorMapT()
    made.name, made.tensorIndex = name.encode(), tensor
    return made


#: Sets at 90 % hold a class from a probability of 0.10 on, at 95 % from 0.05.
SETS = ConformalSets({label: tuple(i / 100 for i in range(1, 100)) for label in IN_SCOPE})


def spec(**changes: object) -> ModelSpec:
    """Return a ModelSpec that fits ``build()``, with ``changes``."""
    fields: dict[str, object] = {
        "name": "tiny",
        "version": "1.2.3",
        "labels": LABELS,
        "precision": "fp32",
        "licence": "none needed",
        "conformal": {1: SETS},
        "policies": {
            "balanced": Policy(0.9, 0.95, {1: 0.8}),
            "sensitive": Policy(0.95, 0.98, {1: 0.9}),
        },
        "temperature": {1: 1.0, 10: 0.8},
        "views": 10,
        "zooms": (1.0,),
    }
    return ModelSpec(**{**fields, **changes})  # type: ignore[arg-type]


def write(directory: Path, **changes: object) -> Bundle:
    """Write and return a bundle of the model in ``directory``."""
    return write_bundle(directory, build(), spec(**changes))


def colour(red: int, green: int, blue: int, *, side: int = 64) -> np.ndarray:
    """Return an image of one colour, (side, side, 3) uint8."""
    return np.full((side, side, 3), (red, green, blue), np.uint8)
