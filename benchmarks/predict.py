"""Measure how long an answer takes; prints rows of a Markdown table.

    python benchmarks/predict.py [--repeats 15] [--model BUNDLE]

Every row has a plain baseline: the same job as one would write it first, measured in turn
with ours so that a busy machine slows both. Medians; one core unless a row says otherwise.
The images are made here: a 12-megapixel JPEG of gradients and noise at quality 90, and
its 600 x 450 copy.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter

# Runs a command from a process that is small itself: on Linux a child's peak memory starts
# at its parent's, which would count this benchmark's own arrays.
LAUNCHER = """
import json, os, subprocess, sys, time
started = time.perf_counter()
child = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
_, status, usage = os.wait4(child.pid, 0)
print(json.dumps([(time.perf_counter() - started) * 1e3, usage.ru_maxrss / 1e3, status]))
"""

# The least that any program with these libraries does: import, load, decode, one pass.
PLAIN_PROCESS = """
import sys
import numpy as np
from PIL import Image
from ai_edge_litert.interpreter import Interpreter
interpreter = Interpreter(model_path=sys.argv[2])
interpreter.allocate_tensors()
rgb = np.asarray(Image.open(sys.argv[1]).convert("RGB").resize((224, 224)), np.float32)
interpreter.set_tensor(interpreter.get_input_details()[0]["index"], rgb[None])
interpreter.invoke()
print(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]).sum())
"""

FORBIDDEN = ("tensorflow", "keras", "ray", "pandas", "scipy", "matplotlib", "sklearn")


def make_jpeg(width_px: int, height_px: int) -> bytes:
    """Return a JPEG of gradients with noise, quality 90."""
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:height_px, 0:width_px].astype(np.float32)
    channels = [
        190 + 40 * np.sin(x / width_px * 5) - 20 * y / height_px,
        140 + 50 * np.cos(y / height_px * 4) * np.sin(x / width_px * 9),
        120 + 30 * (x / width_px) * (y / height_px),
    ]
    pixels = np.stack(channels, axis=-1) + rng.normal(0, 8, (height_px, width_px, 3))
    stream = io.BytesIO()
    image = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
    image.save(stream, "JPEG", quality=90)
    return stream.getvalue()


def in_turn(
    ours: Callable[[], object], plain: Callable[[], object], repeats: int
) -> tuple[float, float]:
    """Return median milliseconds of both, run alternately after a warm-up."""
    ours(), plain()
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(repeats):
        for job, spent in zip((ours, plain), times, strict=True):
            started = perf_counter()
            job()
            spent.append((perf_counter() - started) * 1e3)
    return median(times[0]), median(times[1])


def processes(commands: dict[str, list[str]], repeats: int) -> dict[str, tuple[float, float]]:
    """Return median milliseconds and peak MB of each command, run alternately."""
    seen: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
    for _ in range(repeats + 1):
        for name, command in commands.items():
            output = subprocess.run(
                [sys.executable, "-c", LAUNCHER, *command], capture_output=True, check=True
            ).stdout
            milliseconds, megabytes, status = json.loads(output)
            if status:
                raise SystemExit(f"{' '.join(command)}: failed")
            seen[name].append((milliseconds, megabytes))
    return {
        name: (median(ms for ms, _ in runs[1:]), median(mb for _, mb in runs[1:]))
        for name, runs in seen.items()
    }


def row(what: str, target: str, measured: str, baseline: str, ratio: float) -> None:
    print(f"| {what} | {target} | {measured} | {baseline} | {ratio:.2f} |", flush=True)


def measure_processes(photo: Path, model_file: Path, options: argparse.Namespace) -> None:
    script = Path(sys.executable).with_name("lesionlens")
    lesionlens = [str(script)] if script.exists() else [sys.executable, "-m", "lesionlens.cli.main"]
    model = ["--model", str(options.model)] if options.model else []
    results = processes(
        {
            "predict": [*lesionlens, "predict", str(photo), *model],
            "plain": [sys.executable, "-c", PLAIN_PROCESS, str(photo), str(model_file)],
            "help": [*lesionlens, "--help"],
            "typer": [sys.executable, "-c", "import typer, rich.console"],
            "import": [sys.executable, "-c", "import lesionlens"],
            "python": [sys.executable, "-c", "pass"],
        },
        max(5, options.repeats // 2),
    )
    (ms, mb), (plain_ms, plain_mb) = results["predict"], results["plain"]
    row(
        "`lesionlens predict one.jpg`, whole process, cold",
        "< 600 ms, < 150 MB",
        f"{ms:.0f} ms, {mb:.0f} MB",
        f"bare script, full decode, 1 view, no check: {plain_ms:.0f} ms, {plain_mb:.0f} MB",
        ms / plain_ms,
    )
    (ms, _), (plain_ms, _) = results["help"], results["typer"]
    row(
        "`lesionlens --help`",
        "< 300 ms",
        f"{ms:.0f} ms",
        f"import typer: {plain_ms:.0f} ms",
        ms / plain_ms,
    )
    (ms, _), (plain_ms, _) = results["import"], results["python"]
    row(
        "`import lesionlens`", "", f"{ms:.0f} ms", f"python alone: {plain_ms:.0f} ms", ms / plain_ms
    )
    loaded = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys, lesionlens.cli.main, lesionlens.classifier\n"
            f"print(*[name for name in {FORBIDDEN!r} if name in sys.modules])",
        ],
        capture_output=True,
        check=True,
        text=True,
    ).stdout.strip()
    print(
        f"<!-- heavy packages loaded by the command line and the classifier: {loaded or 'none'} -->"
    )


def measure_answers(options: argparse.Namespace, big: bytes, small: bytes) -> None:
    import numpy as np
    from PIL import Image

    from bulk import pictures
    from lesionlens.bundle import load_bundle
    from lesionlens.classifier import TOGETHER, Classifier
    from lesionlens.imaging import load_pixels
    from lesionlens.runtime import Model, load_interpreter_class
    from lesionlens.views import make_views

    bundle = load_bundle(options.model)
    classifier = Classifier(bundle, threads=1)
    interpreter_class, _ = load_interpreter_class()
    plain = interpreter_class(model_content=bundle.tflite, num_threads=1)
    plain.allocate_tensors()
    input_index = plain.get_input_details()[0]["index"]
    output_index = plain.get_output_details()[0]["index"]

    def plain_decode(content: bytes) -> np.ndarray:
        image = Image.open(io.BytesIO(content)).convert("RGB")
        return np.asarray(image.resize((224, 224), Image.Resampling.BILINEAR))

    def plain_answer(content: bytes, views: int) -> np.ndarray:
        rgb = plain_decode(content).astype(np.float32)
        turned = [np.rot90(rgb, k) for k in range(4)]
        batch = [*turned, *(np.fliplr(view) for view in turned), rgb, rgb][:views]
        total = np.zeros(len(bundle.spec.labels))
        for view in batch:
            plain.set_tensor(input_index, np.ascontiguousarray(view)[None])
            plain.invoke()
            total += plain.get_tensor(output_index).ravel()[: len(total)]
        return total

    repeats = options.repeats
    ours, base = in_turn(
        lambda: classifier.predict(big, views=10), lambda: plain_answer(big, 10), repeats
    )
    row(
        "12-megapixel JPEG to a 10-view answer, warm",
        "< 60 ms",
        f"{ours:.1f} ms",
        f"full decode, 10 passes: {base:.1f} ms",
        ours / base,
    )
    ours, base = in_turn(lambda: load_pixels(big).rgb, lambda: plain_decode(big), repeats)
    difference = np.abs(load_pixels(big).rgb.astype(float) - plain_decode(big).astype(float))
    row(
        f"decode + resize of that JPEG; mean difference {difference.mean():.2f} grey levels",
        "2.5x faster, < 1 grey level",
        f"{ours:.1f} ms ({base / ours:.1f}x faster)",
        f"full Pillow decode: {base:.1f} ms",
        ours / base,
    )
    for name, image in (("600 x 450 JPEG", small), ("decoded image", load_pixels(small).rgb)):
        ours, base = in_turn(
            lambda image=image: classifier.predict(image, views=10),
            lambda image=image: classifier.predict(image, views=1),
            repeats * 4,
        )
        row(
            f"10 views of a {name}",
            "< 12x one view",
            f"{ours:.1f} ms",
            f"1 view: {base:.2f} ms",
            ours / base,
        )
    for size in ((600, 450), (1024, 768), (4000, 3000)):
        several = list(pictures(size, TOGETHER))
        ours, base = in_turn(
            lambda several=several: classifier.predict(several, views=10),
            lambda several=several: [classifier.predict(one, views=10) for one in several],
            repeats,
        )
        row(
            f"an image of {size[0]} x {size[1]} in a list of {TOGETHER}, 10 views",
            "",
            f"{ours / TOGETHER:.1f} ms",
            f"one call an image: {base / TOGETHER:.1f} ms",
            ours / base,
        )
    views = make_views(load_pixels(small).rgb, 10)
    model = Model(bundle.tflite, num_threads=1)
    batched = interpreter_class(model_content=bundle.tflite, num_threads=1)
    batched.resize_tensor_input(input_index, views.shape)
    batched.allocate_tensors()

    def run_batched() -> None:
        batched.set_tensor(input_index, views.astype(np.float32))
        batched.invoke()

    ours, base = in_turn(lambda: model.run(views), run_batched, repeats * 4)
    row(
        "the model on 10 views, one by one",
        "",
        f"{ours / 10:.2f} ms a view",
        f"as one batch: {base / 10:.2f} ms a view",
        ours / base,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--model", type=Path, help="a bundle folder; else the default one")
    options = parser.parse_args()
    from lesionlens.bundle import MODEL_FILE, default_directory

    print("| what | target | median | plain baseline | ratio |\n|---|---|---|---|---|")
    small = make_jpeg(600, 450)
    with tempfile.TemporaryDirectory() as folder:
        photo = Path(folder) / "one.jpg"
        photo.write_bytes(small)
        measure_processes(photo, (options.model or default_directory()) / MODEL_FILE, options)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    measure_answers(options, make_jpeg(4000, 3000), small)


if __name__ == "__main__":
    main()
