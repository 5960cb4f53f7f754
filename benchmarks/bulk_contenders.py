"""The pipelines that a bulk run is measured against, each in a process of its own.

    python benchmarks/bulk_contenders.py NAME        (started by bulk.py)

A process loads its model, warms up, then reads lines from standard input: ``{"files": [...],
"workers": 2}``; it judges them all and answers a line: ``{"seconds": ..., "cpu_seconds": ...,
"answers": [[verdict, label], ...]}``, the roofline ``{"stages": ...}``. All give the answers of
ten views and go through the same gate and the same judging; they differ in who decodes, who runs
the network, and how the two are put together.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np
from PIL import Image

from lesionlens.bundle import load_bundle
from lesionlens.classifier import TOGETHER, Classifier, _Clock
from lesionlens.imaging import Pixels, load_pixels
from lesionlens.runtime import Model, usable_cores
from lesionlens.views import make_views, view_plan

BATCH = 32
SIDE = 224
Answers = list[tuple[str, str]]
Judge = Callable[[list[str]], Answers]

bundle = load_bundle()
classifier = Classifier(bundle, threads=1)


def judged(pixels: Pixels, logits: np.ndarray) -> tuple[str, str]:
    """Return verdict and label of an image by the logits of its views."""
    answer = classifier._answer("-", pixels, logits, _Clock())
    return answer.verdict, answer.label.value


# ---------------------------------------------------------------- the plain loop


def plain() -> Judge:
    """Pillow decodes whole, ``keras.Model.predict`` in batches of 32: what one writes first."""
    from bulk_twin import keras_twin

    network = keras_twin(bundle)
    network.compile(jit_compile=False)

    def views_of(image: Image.Image) -> list[np.ndarray]:
        found = []
        for symmetry, zoom in view_plan(classifier.views, bundle.spec.zooms):
            margin = SIDE * (1 - zoom) / 2
            box = (margin, margin, SIDE - margin, SIDE - margin)
            view = image if zoom == 1 else image.resize((SIDE, SIDE), Image.BILINEAR, box=box)
            rgb = np.asarray(view)
            rgb = rgb.swapaxes(0, 1) if symmetry & 4 else rgb
            rgb = rgb[:, ::-1] if symmetry & 1 else rgb
            found.append(rgb[::-1] if symmetry & 2 else rgb)
        return found

    def judge(files: list[str]) -> Answers:
        answers: Answers = []
        for start in range(0, len(files), BATCH):
            images, views = [], []
            for path in files[start : start + BATCH]:
                with Image.open(path) as image:
                    small = image.convert("RGB").resize((SIDE, SIDE), Image.BILINEAR)
                    images.append(Pixels(np.asarray(small), *image.size))
                views += views_of(small)
            logits = network.predict(np.asarray(views, np.float32), batch_size=BATCH, verbose=0)
            by_image = logits.reshape(len(images), classifier.views, -1)
            answers += map(judged, images, by_image)
        return answers

    return judge


# ---------------------------------------------------------------- tf.data


def tf_data() -> Judge:
    """tf.data decodes in parallel and prefetches, Keras predicts: as TensorFlow's guide advises.

    https://www.tensorflow.org/guide/data_performance
    """
    from bulk_twin import keras_twin

    network = keras_twin(bundle)
    network.compile(jit_compile=False)
    import tensorflow as tf

    plan = view_plan(classifier.views, bundle.spec.zooms)

    def read(path: Any) -> tuple[Any, Any]:
        image = tf.io.decode_jpeg(tf.io.read_file(path), channels=3)
        size = tf.shape(image)[:2]
        small = tf.image.resize(image, (SIDE, SIDE), method="bilinear", antialias=True)
        views = []
        for symmetry, zoom in plan:
            view = small
            if zoom != 1:
                view = tf.image.resize(tf.image.central_crop(small, zoom), (SIDE, SIDE))
            view = tf.image.transpose(view) if symmetry & 4 else view
            view = tf.image.flip_left_right(view) if symmetry & 1 else view
            views.append(tf.image.flip_up_down(view) if symmetry & 2 else view)
        return tf.stack(views), size

    def judge(files: list[str]) -> Answers:
        batches = (
            tf.data.Dataset.from_tensor_slices(files)
            .map(read, num_parallel_calls=tf.data.AUTOTUNE)
            .batch(BATCH // classifier.views + 1)  # images: their views make a batch of 40
            .prefetch(tf.data.AUTOTUNE)
        )
        answers: Answers = []
        for views, sizes in batches:
            flat = tf.reshape(views, (-1, SIDE, SIDE, 3))
            logits = network.predict_on_batch(flat).reshape(len(sizes), classifier.views, -1)
            images = np.clip(np.rint(views[:, 0].numpy()), 0, 255).astype(np.uint8)
            for rgb, (height, width), each in zip(images, sizes.numpy(), logits, strict=True):
                answers.append(judged(Pixels(rgb, int(width), int(height)), each))
        return answers

    return judge


# ---------------------------------------------------------------- other engines, our pixels


def openvino(precision: str = "f32") -> Judge:
    """OpenVINO reads the TFLite file; its throughput hint and a queue of asynchronous requests.

    https://docs.openvino.ai/2025/openvino-workflow/running-inference/optimize-inference.html

    Args:
        precision: "f32"; or "bf16", which it takes by itself on processors that have it, and
            which changes answers.
    """
    import openvino as ov

    core = ov.Core()
    model = core.read_model(bundle.directory / "model.tflite")
    model.reshape([classifier.views, SIDE, SIDE, 3])
    compiled = core.compile_model(
        model, "CPU", {"PERFORMANCE_HINT": "THROUGHPUT", "INFERENCE_PRECISION_HINT": precision}
    )
    place = next(
        n for n, output in enumerate(compiled.outputs)
        if output.partial_shape.rank.get_length() == 2
        and output.partial_shape[1].get_length() == len(bundle.spec.labels)
    )  # fmt: skip

    def judge(files: list[str]) -> Answers:
        answers: list[tuple[str, str]] = [("", "")] * len(files)

        def done(request: Any, told: tuple[int, Pixels]) -> None:
            number, pixels = told
            answers[number] = judged(pixels, request.get_output_tensor(place).data.copy())

        queue = ov.AsyncInferQueue(compiled)
        queue.set_callback(done)
        with ThreadPoolExecutor(usable_cores()) as pool:
            for number, (pixels, views) in enumerate(ahead(pool, files)):
                queue.start_async({0: views.astype(np.float32)}, (number, pixels))
        queue.wait_all()
        return answers

    return judge


def onnxruntime() -> Judge:
    """ONNX Runtime on the file that tf2onnx makes of ours; a thread an image, one thread a run.

    https://onnxruntime.ai/docs/performance/tune-performance/threading.html
    """
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        _to_onnx(path)
        session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    wanted = next(
        output.name for output in session.get_outputs()
        if len(output.shape) == 2 and output.shape[1] == len(bundle.spec.labels)
    )  # fmt: skip

    def one(path: str) -> tuple[str, str]:
        pixels, views = _views(path)
        logits = [
            session.run([wanted], {name: view[np.newaxis].astype(np.float32)})[0][0]
            for view in views
        ]
        return judged(pixels, np.stack(logits))

    def judge(files: list[str]) -> Answers:
        with ThreadPoolExecutor(usable_cores()) as pool:
            return list(pool.map(one, files))

    return judge


def _to_onnx(path: Path) -> None:
    import subprocess

    tflite = str(bundle.directory / "model.tflite")
    command = [sys.executable, "-m", "tf2onnx.convert", "--tflite", tflite, "--opset", "17"]
    subprocess.run([*command, "--output", str(path)], check=True, capture_output=True)


def _views(path: str) -> tuple[Pixels, np.ndarray]:
    pixels = load_pixels(path)
    return pixels, make_views(pixels.rgb, classifier.views, bundle.spec.zooms)


def ahead(pool: ThreadPoolExecutor, files: Sequence[str]) -> Any:
    """Yield pixels and views of each file, a few decoded ahead."""
    waiting: list[Any] = []
    for path in files:
        waiting.append(pool.submit(_views, path))
        if len(waiting) > 2 * usable_cores():
            yield waiting.pop(0).result()
    for future in waiting:
        yield future.result()


# ---------------------------------------------------------------- the roofline


def roofline() -> Judge:
    """Decoding alone and the network alone, half of the files in each of as many processes."""
    return lambda files: []


def decode_alone(files: Sequence[str]) -> float:
    began = perf_counter()
    for path in files:
        load_pixels(path)
    return perf_counter() - began


def model_alone(n: int) -> float:
    model = Model(bundle.tflite, num_threads=1)
    views = make_views(np.full((SIDE, SIDE, 3), 128, np.uint8), classifier.views)
    model.run(views)
    began = perf_counter()
    for _ in range(n):
        model.run(views)
    return perf_counter() - began


def views_alone(n: int) -> float:
    rgb = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    began = perf_counter()
    for _ in range(n):
        make_views(rgb, classifier.views)
    return perf_counter() - began


def judging_alone(files: Sequence[str]) -> float:
    pixels = [load_pixels(path) for path in files[:16]]
    logits = classifier.logits(pixels[0])
    began = perf_counter()
    for number in range(len(files)):
        judged(pixels[number % len(pixels)], logits)
    return perf_counter() - began


def stages(files: list[str]) -> dict[str, float]:
    """Return the milliseconds of an image in each stage, all cores at that stage alone.

    And in the two that the roofline is made of on one core, for what the machine gives a second.
    """
    from multiprocessing import get_context

    parts = [files[k :: usable_cores()] for k in range(usable_cores())]
    numbers = [len(part) for part in parts]
    found = {}
    with get_context("spawn").Pool(len(parts)) as pool:
        for name, call, arguments in (
            ("decode", decode_alone, parts),
            ("model", model_alone, numbers),
            ("views", views_alone, numbers),
            ("judge", judging_alone, parts),
            ("decode on one core", decode_alone, parts[:1]),
            ("model on one core", model_alone, numbers[:1]),
        ):
            pool.map(call, arguments, chunksize=1)  # warm
            seconds = pool.map(call, arguments, chunksize=1)
            rate = sum(n / s for n, s in zip(numbers, seconds, strict=False))
            found[name] = 1e3 / rate
    return found


# ---------------------------------------------------------------- ours


def threads() -> Judge:
    """What our workers do, in threads of one process: nothing is written, nobody is watched."""
    from lesionlens.screening.items import Item, Row
    from lesionlens.screening.worker import judge_items

    def few(paths: list[str]) -> Answers:
        rows = judge_items([Item(path, path) for path in paths], classifier)
        assert all(isinstance(row, Row) for row in rows), rows
        return [(row.verdict, row.label) for row in rows if isinstance(row, Row)]

    def judge(files: list[str]) -> Answers:
        parts = [files[start : start + TOGETHER] for start in range(0, len(files), TOGETHER)]
        with ThreadPoolExecutor(usable_cores()) as pool:
            return [answer for answers in pool.map(few, parts) for answer in answers]

    return judge


def ours(files: list[str], workers: int) -> dict[str, Any]:
    """The local engine on the files, from when all workers are at work to the last answer."""
    import pyarrow.parquet as pq

    from lesionlens.screening.progress import Snapshot, Stop
    from lesionlens.screening.running import Plan, run
    from lesionlens.screening.settings import make_settings
    from lesionlens.screening.sources import ImageSource

    with tempfile.TemporaryDirectory() as name:
        listed = Path(name) / "files.txt"
        listed.write_text("".join(f"{path}\n" for path in files), encoding="utf-8")
        out = Path(name) / "run"
        settings = make_settings(bundle, [str(listed)], policy="balanced")
        marks: list[tuple[float, int]] = []
        cpu_at: dict[int, float] = {}

        def listen(snapshot: Snapshot) -> None:
            marks.append((perf_counter(), snapshot.n_done))
            if not cpu_at and snapshot.n_done >= 4 * workers:  # once: it takes its time
                cpu_at[len(marks) - 1] = _cpu_of_children()

        cpu_before = _cpu_of_ended_children()
        began = perf_counter()
        run(
            Plan(out, settings, bundle, workers),
            ImageSource([str(listed)]),
            stop=Stop(),
            listener=listen,
            note=lambda words: None,
        )
        whole = perf_counter() - began
        rows = pq.read_table(out / "results.parquet", columns=["uri", "verdict", "label"])
    [(at, cpu_start)] = cpu_at.items()
    start, first = marks[at]
    # A worker counts a few images when they are all done: the others are half-way then.
    first += TOGETHER // 2 * (workers - 1)
    end, last = next(mark for mark in marks if mark[1] == marks[-1][1])
    share = len(files) / (last - first)
    found = {
        Path(uri).name: (verdict, label)
        for uri, verdict, label in zip(*(column.to_pylist() for column in rows), strict=True)
    }
    return {
        "seconds": (end - start) * share,
        "cpu_seconds": (_cpu_of_ended_children() - cpu_before - cpu_start) * share,
        "whole": whole,
        "answers": [found[Path(path).name] for path in files],
    }


def _cpu_of_children() -> float:
    import psutil

    times = [child.cpu_times() for child in psutil.Process().children()]
    return sum(each.user + each.system for each in times)


def _cpu_of_ended_children() -> float:
    found = resource.getrusage(resource.RUSAGE_CHILDREN)
    return found.ru_utime + found.ru_stime


CONTENDERS: dict[str, Callable[[], Judge]] = {
    "plain": plain,
    "tf_data": tf_data,
    "openvino": openvino,
    "openvino_bf16": partial(openvino, "bf16"),
    "onnxruntime": onnxruntime,
    "threads": threads,
    "roofline": roofline,
}


def main() -> None:
    name = sys.argv[1]
    told = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print is no answer
    judge = CONTENDERS[name]() if name != "ours" else None
    print(json.dumps({"ready": name}), file=told, flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        files = asked["files"]
        answer: dict[str, Any]
        if name == "ours":
            answer = ours(files, asked["workers"])
        elif name == "roofline":
            answer = {"stages": stages(files)}
        else:
            assert judge is not None
            judge(files[:BATCH])  # warm
            began, cpu_began = perf_counter(), process_time()
            answers = judge(files)
            seconds, cpu_seconds = perf_counter() - began, process_time() - cpu_began
            answer = {"seconds": seconds, "cpu_seconds": cpu_seconds, "answers": answers}
        print(json.dumps(answer), file=told, flush=True)


if __name__ == "__main__":
    main()
