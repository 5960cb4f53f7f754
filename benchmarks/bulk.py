"""Measure bulk screening; prints Markdown tables.

    python benchmarks/bulk.py [--quick] [--only speed,memory,start] [--against plain,threads]
    LESIONLENS_DATA=DIR python benchmarks/bulk.py       with real images, enlarged

Speed: the local engine with two workers and with one, beside what one would write instead, on
the same files, ten views an image, all cores to each, every one in a process of its own that is
loaded and warm: a plain loop (Pillow's full decode, ``keras.Model.predict`` in batches of 32),
tf.data with Keras, OpenVINO and ONNX Runtime (bulk_contenders.py), and our own worker in threads
of one process. They run in turn, and a ratio is the median of the ratios of the turns, so that a
busy machine slows both; where it is very busy, processor time an image says more. The roofline is
the time of decoding alone and of the network alone, each with all cores, one after the other.

Memory: proportional set size of all processes of a run over 1,000 and over 20,000 images, one
view. Start: from the command to the first rows on the disk.

Needs ``lesionlens[bulk,train]`` and psutil; ``pip install openvino onnxruntime tf2onnx`` for the
others, which are left out where they are not installed. Some fifteen minutes on two idle cores.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from time import monotonic, perf_counter, sleep
from typing import Any

import numpy as np
from PIL import Image

from lesionlens.phantoms import KINDS, draw

#: Width and height, and how many of each are judged in a turn.
SIZES = {(600, 450): 384, (1024, 768): 320, (4000, 3000): 192}
NEEDED = {"tf_data": "tensorflow", "plain": "tensorflow", "openvino": "openvino",
          "openvino_bf16": "openvino", "onnxruntime": "tf2onnx",
          "threads": "lesionlens"}  # fmt: skip
NAMES = {
    "plain": "plain loop: Pillow, `keras.Model.predict`",
    "tf_data": "`tf.data` and Keras",
    "openvino": "OpenVINO, our decoding",
    "openvino_bf16": "OpenVINO in bfloat16, our decoding",
    "onnxruntime": "ONNX Runtime, our decoding",
    "threads": "our workers as threads, nothing written",
}
WORKERS = 2
MEMORY_IMAGES = (1_000, 20_000)
#: Different pictures of each size; files are copies of them.
N_PICTURES, N_QUICK = 24, 4
_HERE = Path(__file__).parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", default="speed,memory,start", help="parts, by commas")
    parser.add_argument("--against", default=",".join(NAMES), help="whom, by commas; all that are "
                        "installed unless you say")  # fmt: skip
    parser.add_argument("--quick", action="store_true", help="a few images, to see that it works")
    parser.add_argument("--json", type=Path, help="file for every single figure")
    options = parser.parse_args()
    if options.quick:
        options.repeats = 1
    kept: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="bulk-") as name:
        folder = Path(name)
        for part in options.only.split(","):
            kept[part] = PARTS[part](folder, options)
    kept["load"] = os.getloadavg()
    if options.json:
        options.json.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


def row(*cells: str) -> None:
    print(f"| {' | '.join(cells)} |", flush=True)


def header(*cells: str) -> None:
    print()
    row(*cells)
    row(*["---"] * len(cells))


# ---------------------------------------------------------------- files


def write_files(folder: Path, size_px: tuple[int, int], n: int) -> list[str]:
    """Write ``n`` JPEGs of quality 90 that differ at least in their names."""
    folder.mkdir(parents=True, exist_ok=True)
    contents = list(pictures(size_px, N_PICTURES if n >= 4 * N_PICTURES else N_QUICK))
    files = []
    for number in range(n):
        path = folder / f"{number:06d}.jpg"
        path.write_bytes(contents[number % len(contents)])
        files.append(str(path))
    return files


def pictures(size_px: tuple[int, int], n: int = N_PICTURES) -> Iterator[bytes]:
    """Yield JPEGs: real ones of $LESIONLENS_DATA brought to this size, else drawn ones."""
    rng = np.random.default_rng(0)
    archive = os.environ.get("LESIONLENS_DATA")
    real = sorted(Path(archive, "originals").glob("*.jpg")) if archive else []
    real = real[:: max(1, len(real) // n)][:n]
    for number in range(n):
        if real:
            with Image.open(real[number % len(real)]) as opened:
                image = opened.convert("RGB").resize(size_px, Image.Resampling.BICUBIC)
        else:
            image = draw(KINDS[number % len(KINDS)], size_px=size_px, rng=rng)
        stream = io.BytesIO()
        image.save(stream, "JPEG", quality=90)
        yield stream.getvalue()


# ---------------------------------------------------------------- speed


class Contender:
    """A process of bulk_contenders.py."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.process = subprocess.Popen(
            [sys.executable, str(_HERE / "bulk_contenders.py"), name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if name != "ours" else None,
            text=True,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"},
        )
        self._read()

    def ask(self, files: Sequence[str], workers: int = WORKERS) -> dict[str, Any]:
        assert self.process.stdin is not None
        print(json.dumps({"files": files, "workers": workers}), file=self.process.stdin, flush=True)
        return self._read()

    def _read(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            words = self.process.stderr.read()[-2000:] if self.process.stderr else ""
            raise SystemExit(f"{self.name} failed: {words}")
        found: dict[str, Any] = json.loads(line)
        return found

    def close(self) -> None:
        self.process.communicate()


def speed(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    names = [name for name in options.against.split(",") if find_spec(NEEDED[name])]
    contenders = {name: Contender(name) for name in ("ours", "roofline", *names)}
    kept: dict[str, Any] = {}
    try:
        for size, n in SIZES.items():
            files = write_files(folder / f"{size[0]}", size, 16 if options.quick else n)
            kept[f"{size[0]}x{size[1]}"] = [turn(contenders, files) for _ in range(options.repeats)]
            shutil.rmtree(folder / f"{size[0]}")
    finally:
        for contender in contenders.values():
            contender.close()
    tell_speed(kept, names)
    return kept


def turn(contenders: dict[str, Contender], files: list[str]) -> dict[str, Any]:
    """Return images a second of each, and on how many images they agree with us."""
    found: dict[str, Any] = {"rates": {}, "same": {}, "cpu_ms": {}}
    asked = {f"ours {workers}": ("ours", workers) for workers in range(WORKERS, 0, -1)}
    asked |= {name: (name, WORKERS) for name in contenders if name != "ours"}
    reference: list[list[str]] = []
    for key, (name, workers) in asked.items():
        answer = contenders[name].ask(files, workers)
        if name == "roofline":
            found["stages"] = answer["stages"]
            continue
        found["rates"][key] = len(files) / answer["seconds"]
        found["cpu_ms"][key] = answer["cpu_seconds"] * 1e3 / len(files)
        reference = reference or answer["answers"]
        pairs = zip(answer["answers"], reference, strict=True)
        found["same"][key] = sum(a == b for a, b in pairs) / len(files)
    return found


def tell_speed(kept: dict[str, Any], names: Sequence[str]) -> None:
    ours = f"ours {WORKERS}"

    def ratios(turns: list[dict[str, Any]], name: str, other: str) -> list[float]:
        return [turn["rates"][name] / turn["rates"][other] for turn in turns]

    header("images a second", *kept, "same verdict and label")
    for key in (ours, "ours 1", *names):
        words = NAMES.get(key, f"`screen --workers {key[-1]}`")
        rates = [f"{median(t['rates'][key] for t in turns):.1f}" for turns in kept.values()]
        same = min(turn["same"][key] for turns in kept.values() for turn in turns)
        row(words, *rates, f"{100 * same:.1f} %")
    header("processor time an image, ms", *kept)
    for key in (ours, *names):
        times = [f"{median(t['cpu_ms'][key] for t in turns):.1f}" for turns in kept.values()]
        row(NAMES.get(key, "`screen`"), *times)
    header("ratio, median of the turns (lowest to highest)", "target", *kept)
    targets = {"plain": "4x at 1024x768, 6x at 4000x3000"}
    compared = [(f"{ours[-1]} workers against 1", "over 1.8", ours, "ours 1")]
    compared += [
        (f"against {NAMES[name]}", targets.get(name, "over 1"), ours, name) for name in names
    ]
    for words, target, one, other in compared:
        found = [ratios(turns, one, other) for turns in kept.values()]
        row(words, target, *(f"{median(f):.2f} ({min(f):.2f} to {max(f):.2f})" for f in found))

    def shares(turns: list[dict[str, Any]], parts: Sequence[str]) -> list[float]:
        return [t["rates"][ours] * sum(t["stages"][p] for p in parts) / 1e3 for t in turns]

    for words, target, parts in (
        ("of the roofline: decoding and network alone", "90 %", ("decode", "model")),
        ("the same with views, gate and verdict", "", ("decode", "model", "views", "judge")),
    ):
        found = [shares(turns, parts) for turns in kept.values()]
        row(words, target, *(f"{100 * median(f):.0f} %" for f in found))
    header("what the machine gives: two cores against one, decoding and network alone", *kept)
    gains = [
        [
            (t["stages"]["decode on one core"] + t["stages"]["model on one core"])
            / (t["stages"]["decode"] + t["stages"]["model"])
            for t in turns
        ]
        for turns in kept.values()
    ]
    row("", *(f"{median(g):.2f} ({min(g):.2f} to {max(g):.2f})" for g in gains))
    header("ms an image, all cores at that stage alone", *kept)
    for part in ("decode", "views", "model", "judge"):
        row(part, *(f"{median(t['stages'][part] for t in turns):.1f}" for turns in kept.values()))


# ---------------------------------------------------------------- memory and start


def command(source: Path, out: Path, *more: str) -> list[str]:
    script = Path(sys.executable).with_name("lesionlens")
    start = [str(script)] if script.exists() else [sys.executable, "-m", "lesionlens"]
    always = ["--workers", str(WORKERS), "--quiet", "--no-review"]
    return [*start, "screen", str(source), "-o", str(out), *always, *more]


def memory(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    header("memory of a run, one view", "target", "peak of all processes", "seconds")
    kept = {}
    for n in (100, 400) if options.quick else MEMORY_IMAGES:
        write_files(folder / "many", (600, 450), n)
        began = monotonic()
        process = subprocess.Popen(command(folder / "many", folder / "run", "--views", "1"))
        peak = 0.0
        while process.poll() is None:
            peak = max(peak, family_mb(process.pid))
            sleep(0.1)
        if process.returncode:
            raise SystemExit(f"screen ended with {process.returncode}")
        kept[n] = peak
        row(f"{n:,} images", "", f"{peak:.0f} MB", f"{monotonic() - began:.0f}")
        shutil.rmtree(folder / "many")
        shutil.rmtree(folder / "run")
    few, many = kept.values()
    row("growth", "10 %, under 600 MB", f"{100 * (many / few - 1):+.1f} %", "")
    return kept


def family_mb(pid: int) -> float:
    """Return the memory of a process and its children; what they share counts once."""
    import psutil

    total = 0
    try:
        process = psutil.Process(pid)
        for one in (process, *process.children(recursive=True)):
            total += one.memory_full_info().pss
    except psutil.Error:  # one that has just ended
        return 0.0
    return total / 1e6


def start(folder: Path, options: argparse.Namespace) -> list[float]:
    files = write_files(folder / "few", (1024, 768), 400)
    seconds = []
    for _ in range(1 + 2 * options.repeats):
        out = folder / "first"
        began = perf_counter()
        process = subprocess.Popen(command(Path(files[0]).parent, out))
        while not any(out.glob("chunks/*.parquet")) and process.poll() is None:
            sleep(0.005)
        seconds.append(perf_counter() - began)
        process.kill()
        process.wait()
        shutil.rmtree(out)
    header("start", "target", "median", "lowest to highest")
    found = seconds[1:]
    row("from the command to the first rows on the disk", "2 s", f"{median(found):.2f} s",
        f"{min(found):.2f} to {max(found):.2f} s")  # fmt: skip
    return found


PARTS = {"speed": speed, "memory": memory, "start": start}


if __name__ == "__main__":
    main()
