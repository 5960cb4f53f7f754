"""The model runtime: the only module that imports LiteRT.

On a desktop that is ``ai-edge-litert``; in a phone build it is ``tflite-runtime``, which
has the same interpreter. Neither interpreter may be shared between threads (it raises
"There is at least 1 reference to internal data"), so a ``Model`` keeps one per thread and
is itself safe to share.

Views go through one at a time: batching does not pay on a CPU (1.03 ms a view alone,
0.99 ms in a batch of ten, benchmarks/predict.py) and one shape keeps one allocation.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from lesionlens.errors import BundleError, LesionLensError
from lesionlens.quiet import without_lines

#: Packages that bring the interpreter, tried in this order: (distribution, module).
RUNTIMES: tuple[tuple[str, str], ...] = (
    ("ai-edge-litert", "ai_edge_litert.interpreter"),
    ("tflite-runtime", "tflite_runtime.interpreter"),
)
#: More threads than this do not help a network of 1 ms.
MAX_DEFAULT_THREADS = 4
#: A head read out of a model must give its logits again to this, absolute. On 600 real images
#: those of three models, float16 and float32, differed by 6e-6 at most.
HEAD_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Outputs:
    """What the network gives for N inputs."""

    logits: np.ndarray  # float32, (N, K): before softmax, one column per label of the bundle
    features: np.ndarray  # float32, (N, C): last feature map averaged over its positions
    feature_map: np.ndarray | None  # float32, (N, rows, columns, C); None unless asked for


@dataclass(frozen=True)
class Head:
    """The dense layers that make logits of the pooled features, with ReLU between them.

    Read out of the model file, so that no second copy of the weights travels. The converter
    folds the batch normalisation in front into the first layer; dropout is gone.
    """

    weights: tuple[np.ndarray, ...]  # float32, (outputs, inputs) each, features' side first
    biases: tuple[np.ndarray, ...]  # float32, (outputs,) each

    def logits(self, features: np.ndarray) -> np.ndarray:
        """Return the logits (N, K) of pooled features (N, C)."""
        values = features
        for layer, (weights, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            values = (np.maximum(values, 0) if layer else values) @ weights.T + bias
        return values


@dataclass(frozen=True)
class _Worker:
    """An interpreter of one thread, and the numbers of its tensors."""

    interpreter: Any
    input_index: int
    logits: int
    features: int
    feature_map: int | None


class Model:
    """A converted network, loaded once and safe to share between threads.

    Args:
        tflite: the ``.tflite`` bytes, or the path of such a file.
        num_threads: threads that one pass may use; None takes the cores this process may
            run on, at most 4.
        name: what to call the model in messages; the path, where one is given.

    Raises:
        BundleError: not a TFLite model, or its input and outputs are not those that the
            bundle contract describes (docs/design.md).
        LesionLensError: no runtime is installed.
    """

    def __init__(
        self,
        tflite: bytes | str | os.PathLike[str],
        *,
        num_threads: int | None = None,
        name: str | None = None,
    ) -> None:
        if isinstance(tflite, bytes):
            self._content = tflite
            self.name = name or "model"
        else:
            self.name = name or os.fspath(tflite)
            try:
                self._content = Path(tflite).read_bytes()
            except OSError as error:
                raise BundleError(
                    f"{self.name}: cannot be read ({error.strerror or error})"
                ) from error
        self.num_threads = default_threads() if num_threads is None else num_threads
        if self.num_threads < 1:
            raise LesionLensError(f"threads: must be 1 or more, not {num_threads}")
        self._per_thread = threading.local()
        # The first interpreter is made here, so that a bad file is reported on loading.
        worker = self._worker()
        details = worker.interpreter.get_tensor_details()
        shapes = {detail["index"]: detail["shape"] for detail in details}
        #: (height_px, width_px, channels) of the input.
        self.input_shape: tuple[int, ...] = tuple(int(n) for n in shapes[worker.input_index][1:])
        #: K, the number of logits.
        self.n_outputs: int = int(shapes[worker.logits][-1])
        self._head: Head | None = None

    def run(self, batch: np.ndarray, *, feature_map: bool = False) -> Outputs:
        """Run the network on N images, one after the other.

        Args:
            batch: (N, height, width, 3), RGB 0..255, uint8 or float32; the graph does the
                rescaling.
            feature_map: also return the last feature map, where the model gives it.

        Returns:
            Outputs with N rows, in the order of ``batch``.

        Raises:
            LesionLensError: ``batch`` has another shape or type.
        """
        if batch.ndim != 4 or batch.shape[1:] != self.input_shape:
            raise LesionLensError(
                f"{self.name}: takes images of shape (N, {', '.join(map(str, self.input_shape))}), "
                f"not {batch.shape}"
            )
        if batch.dtype not in (np.uint8, np.float32):
            raise LesionLensError(f"{self.name}: takes uint8 or float32 0..255, not {batch.dtype}")
        worker = self._worker()
        interpreter = worker.interpreter
        wanted = [worker.logits, worker.features]
        if feature_map and worker.feature_map is not None:
            wanted.append(worker.feature_map)
        shapes = [tuple(interpreter.get_tensor(index).shape[1:]) for index in wanted]
        results = [np.empty((len(batch), *shape), np.float32) for shape in shapes]
        for row, image in enumerate(batch):
            # Straight into its memory; set_tensor wants a float copy first. No name may hold on
            # to the array: an interpreter does not run while one is out.
            interpreter.tensor(worker.input_index)()[0] = image
            interpreter.invoke()
            for index, result in zip(wanted, results, strict=True):
                result[row] = interpreter.get_tensor(index)[0]
        return Outputs(results[0], results[1], results[2] if len(results) > 2 else None)

    def head(self) -> Head:
        """Return the layers between pooled features and logits, read out of the model itself.

        They are looked for among the constants by their shapes, and believed only when they
        give the logits of a few drawn images again, so that this needs no private interface
        of the runtime. Done once; some 10 ms.

        Raises:
            BundleError: the model gives no feature map, its features are not the mean of
                that, or no one or two float layers of it make its logits of them (an int8
                model has none).
        """
        if self._head is None:
            self._head = self._find_head()
        return self._head

    def _find_head(self) -> Head:
        probes = _drawn_probes(self.input_shape)
        outputs = self.run(probes, feature_map=True)
        cure = "its answers are not affected; fp16 and fp32 exports can be explained, int8 cannot"
        if outputs.feature_map is None:
            raise BundleError(
                f"{self.name}: cannot be explained: it does not give its last feature map; {cure}"
            )
        pooled = outputs.feature_map.mean(axis=(1, 2))
        if not np.allclose(pooled, outputs.features, rtol=1e-3, atol=1e-3):
            raise BundleError(
                f"{self.name}: cannot be explained: its features are not the mean of its feature "
                f"map; {cure}"
            )
        constants = _float_constants(self._worker().interpreter)
        for head in _heads_among(constants, outputs.features.shape[1], self.n_outputs):
            found = head.logits(outputs.features)
            if np.allclose(found, outputs.logits, rtol=1e-4, atol=HEAD_TOLERANCE):
                return head
        raise BundleError(
            f"{self.name}: cannot be explained: no one or two dense layers in it make its "
            f"{self.n_outputs} logits of its {outputs.features.shape[1]} features; {cure}"
        )

    def _worker(self) -> _Worker:
        worker = getattr(self._per_thread, "worker", None)
        if worker is None:
            worker = _make_worker(self._content, self.num_threads, self.name)
            self._per_thread.worker = worker
        return worker


def usable_cores() -> int:
    """Return how many cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def default_threads() -> int:
    """Return how many threads a model uses unless told: the usable cores, at most 4."""
    return min(MAX_DEFAULT_THREADS, usable_cores())


def load_interpreter_class() -> tuple[type[Any], str]:
    """Return the interpreter class and the distribution it came from.

    Raises:
        LesionLensError: neither runtime can be imported; says why for each.
    """
    reasons = []
    for distribution, module in RUNTIMES:
        try:
            return import_module(module).Interpreter, distribution
        except ImportError as error:
            reasons.append(f"{distribution}: {error}")
    raise LesionLensError(
        f"no model runtime can be imported ({'; '.join(reasons)}): pip install ai-edge-litert"
    )


def _make_interpreter(content: bytes, num_threads: int) -> Any:
    """Return an interpreter with its tensors allocated.

    With the XNNPACK delegate where that takes the model, else with the plain kernels: the
    delegate of ai-edge-litert 2.1 fails on some int8 models that it accepts at first.
    """
    interpreter_class, distribution = load_interpreter_class()
    resolvers = import_module(dict(RUNTIMES)[distribution]).OpResolverType

    def make(resolver: Any) -> Any:
        interpreter = interpreter_class(
            model_content=content, num_threads=num_threads, experimental_op_resolver_type=resolver
        )
        interpreter.allocate_tensors()
        return interpreter

    try:
        with without_lines([b"INFO:"]):
            return make(resolvers.AUTO)
    except RuntimeError as error:
        if "XNNPACK" not in str(error):
            raise
    with without_lines([b"INFO:"]):
        return make(resolvers.BUILTIN_WITHOUT_DEFAULT_DELEGATES)


def _make_worker(content: bytes, num_threads: int, name: str) -> _Worker:
    try:
        interpreter = _make_interpreter(content, num_threads)
    except (ValueError, RuntimeError) as error:
        raise BundleError(
            f"{name}: is not a TFLite model that this runtime can load ({error}); export it again"
        ) from error
    inputs = interpreter.get_input_details()
    if len(inputs) != 1 or len(inputs[0]["shape"]) != 4 or inputs[0]["dtype"] != np.float32:
        described = ", ".join(f"{i['dtype'].__name__} {i['shape'].tolist()}" for i in inputs)
        raise BundleError(f"{name}: takes {described}; one float32 (1, H, W, 3) input is needed")
    outputs = _find_outputs(interpreter)
    if "logits" not in outputs or "features" not in outputs:
        described = ", ".join(str(o["shape"].tolist()) for o in interpreter.get_output_details())
        raise BundleError(
            f"{name}: gives outputs of shape {described}; logits (1, K) and features (1, C) "
            "are needed"
        )
    return _Worker(
        interpreter,
        input_index=int(inputs[0]["index"]),
        logits=outputs["logits"],
        features=outputs["features"],
        feature_map=outputs.get("feature_map"),
    )


def _find_outputs(interpreter: Any) -> dict[str, int]:
    """Return tensor numbers by output name: from the signature, else told apart by shape."""
    if len(interpreter.get_signature_list()) == 1:
        details = interpreter.get_signature_runner().get_output_details()
        if "logits" in details and "features" in details:
            return {name: int(detail["index"]) for name, detail in details.items()}
    found: dict[str, int] = {}
    outputs = interpreter.get_output_details()
    flat = sorted((o for o in outputs if len(o["shape"]) == 2), key=lambda o: int(o["shape"][-1]))
    maps = [o for o in outputs if len(o["shape"]) == 4]
    if len(maps) == 1:
        found["feature_map"] = int(maps[0]["index"])
    widths = [int(o["shape"][-1]) for o in flat]
    if len(flat) == 2 and widths[0] < widths[1]:  # there are fewer labels than features (576)
        found["logits"], found["features"] = (int(o["index"]) for o in flat)
    return found


def _drawn_probes(shape: tuple[int, ...]) -> np.ndarray:
    """Return a few images (4, H, W, 3) uint8 unlike each other: dark, light, coarse, fine."""
    height, width, channels = shape
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (-(-height // 32), -(-width // 32), channels), dtype=np.uint8)
    return np.stack(
        [
            np.full(shape, 20, np.uint8),
            np.full(shape, 235, np.uint8),
            coarse.repeat(32, axis=0).repeat(32, axis=1)[:height, :width],
            rng.integers(0, 256, shape, dtype=np.uint8),
        ]
    )


def _float_constants(interpreter: Any) -> list[np.ndarray]:
    """Return the model's float vectors and matrices as float32; float16 ones, too."""
    found = []
    for detail in interpreter.get_tensor_details():
        if detail["dtype"] in (np.float32, np.float16) and len(detail["shape"]) in (1, 2):
            try:
                values = interpreter.get_tensor(detail["index"])
            except ValueError:  # no constant: what has no value between two passes
                continue
            found.append(values.astype(np.float32))
    return found


def _heads_among(constants: list[np.ndarray], n_features: int, n_outputs: int) -> Iterator[Head]:
    """Yield every chain of one or two dense layers that fits by its shapes."""
    matrices = [values for values in constants if values.ndim == 2]

    def biases(n: int) -> list[np.ndarray]:
        # A layer without a bias, or whose bias the converter dropped as zero, comes last.
        return [values for values in constants if values.shape == (n,)] + [np.zeros(n, np.float32)]

    for first in matrices:
        if first.shape == (n_outputs, n_features):
            yield from (Head((first,), (bias,)) for bias in biases(n_outputs))
        if first.shape[1] != n_features:
            continue
        for last in matrices:
            if last.shape == (n_outputs, first.shape[0]):
                for pair in product(biases(first.shape[0]), biases(n_outputs)):
                    yield Head((first, last), pair)
