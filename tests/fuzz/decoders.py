"""Damaged files through everything that decodes: no crash, no hang, no memory, no surprise.

    python tests/fuzz/decoders.py [--n 200000] [--first 0] [--seed 0] [--keep DIR] [--json FILE]

Input number i of a seed is always the same bytes, whoever asks for it: a finding is told by its
number and looked at again with ``--first i --n 1``. Each goes the way that a bulk run reads it
(screening.reading, screening.dicom, imaging), in a process of its own that takes the next one until
it dies. What may come of it is pixels of the right shape or an ImageError with a known reason.

Findings are: ``crashed`` (a signal), ``hung`` (two seconds of processor time), ``memory`` (over
512 MB at the peak of one process), ``wrong`` (another exception, another shape, an unknown reason).
The exit code is 1 where there are any.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import IO, Any

import numpy as np
from mutations import mutate
from seeds import make_seeds

from lesionlens.children import die_with
from lesionlens.errors import ImageError
from lesionlens.imaging import load_picture, load_pixels
from lesionlens.quality import assess
from lesionlens.screening.dicom import frames_of
from lesionlens.screening.items import REASONS, Item
from lesionlens.screening.places import HEAD_BYTES, kind_of_bytes
from lesionlens.screening.reading import read_item

MOST_MB = 512.0
MOST_CPU_S = 2.0
#: A process that waits for something, rather than works, is ended after this.
_MOST_WALL_S = 120
#: No machine is to be taken down by what this looks for.
_MOST_ADDRESS_SPACE = 3 << 30
_FRAMES = 3  # of a DICOM file that are looked at
#: Where notes have what.
_AT, _PEAK_MB, _SLOWEST_MS, _COUNTS = range(4)
_OUTCOMES = (*REASONS, "answered", "wrong", "hung")  # of reasons one is "crashed"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=200_000)
    parser.add_argument("--first", type=int, default=0, help="number of the first input")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="folder for the inputs that were found wanting")
    parser.add_argument("--json", type=Path, help="file for the outcome")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.child:
        work(Path(options.child), options.seed, options.first, options.first + options.n)
        return 0
    outcome = fuzz(options.seed, options.first, options.n, keep=options.keep)
    text = json.dumps(outcome, indent=1)
    print(text)
    if options.json:
        options.json.write_text(text + "\n", encoding="utf-8")
    return 1 if outcome["findings"] else 0


def fuzz(seed: int, first: int, n: int, *, keep: Path | None = None) -> dict[str, Any]:
    """Look at ``n`` inputs from number ``first`` on.

    Returns:
        ``n``, ``seconds``, ``peak_mb``, ``slowest_ms`` of one input, ``outcomes``: how often which;
        ``findings``: number, what and more in words of each.
    """
    began = perf_counter()
    findings: list[dict[str, Any]] = []
    end = first + n
    with tempfile.TemporaryDirectory(prefix="fuzz-") as name:
        folder = Path(name)
        notes = _Notes(folder)
        place = first
        while place < end:
            command = [sys.executable, __file__, "--child", name, "--seed", str(seed)]
            child = subprocess.Popen(
                [*command, "--first", str(place), "--n", str(end - place)], stdout=subprocess.PIPE
            )
            assert child.stdout is not None
            findings += map(json.loads, child.stdout)
            code = child.wait()
            at = int(notes.values[_AT])
            if code > 0:
                raise SystemExit(f"the process that looks failed at input {at} (code {code})")
            if code < 0:
                is_slow = -code in (signal.SIGPROF, signal.SIGALRM)
                what = "hung" if is_slow else "crashed"
                findings.append({"input": at, "what": what, "how": signal.Signals(-code).name})
                notes.count(what)
            place = at + 1
            print(f"{place - first:,} of {n:,}", file=sys.stderr)
        if keep and findings:
            keep.mkdir(parents=True, exist_ok=True)
            seeds = list(make_seeds(folder).values())
            for finding in findings:
                content = input_of(seeds, seed, finding["input"])
                (keep / f"{finding['what']}-{seed}-{finding['input']}").write_bytes(content)
    return {
        "n": n,
        "seconds": round(perf_counter() - began, 1),
        "peak_mb": round(float(notes.values[_PEAK_MB])),
        "slowest_ms": round(float(notes.values[_SLOWEST_MS])),
        "outcomes": notes.outcomes(),
        "findings": findings,
    }


def input_of(seeds: list[bytes], seed: int, number: int) -> bytes:
    return mutate(seeds, np.random.default_rng([seed, number]))


# ---------------------------------------------------------------- the process that looks


def work(folder: Path, seed: int, first: int, end: int) -> None:
    """Look at inputs, tell standard output; die of what kills."""
    import resource

    die_with(os.getppid())
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (_MOST_ADDRESS_SPACE, hard))
    tell = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 2)  # libtiff and libjpeg say what they think of it
    seeds = list(make_seeds(folder).values())
    path = folder / "input"
    notes = _Notes(folder)
    with Path("/proc/self/status").open("rb", buffering=0) as status:
        for number in range(first, end):
            notes.values[_AT] = number
            content = input_of(seeds, seed, number)
            path.write_bytes(content)
            began = perf_counter()
            signal.setitimer(signal.ITIMER_PROF, MOST_CPU_S)  # deadly, as nothing handles it
            signal.alarm(_MOST_WALL_S)
            what, how = look(path, content)
            signal.setitimer(signal.ITIMER_PROF, 0)
            signal.alarm(0)
            notes.count(what)
            notes.note(_SLOWEST_MS, (perf_counter() - began) * 1e3)
            peak_mb = _peak_mb(status)
            notes.note(_PEAK_MB, peak_mb)
            if what == "wrong":
                _tell(tell, {"input": number, "what": what, "how": how})
            if peak_mb > MOST_MB:
                _tell(tell, {"input": number, "what": "memory", "how": f"{peak_mb:.0f} MB"})
                return  # the peak of a process never falls: a fresh one goes on


class _Notes:
    """What outlives the process that looks: where it is, extremes, counts; in a file of both."""

    def __init__(self, folder: Path) -> None:
        path = folder / "notes"
        if not path.exists():
            path.write_bytes(bytes(8 * (_COUNTS + len(_OUTCOMES))))
        self.values = np.memmap(path, np.float64, "r+")

    def note(self, place: int, value: float) -> None:
        self.values[place] = max(value, self.values[place])

    def count(self, outcome: str) -> None:
        self.values[_COUNTS + _OUTCOMES.index(outcome)] += 1

    def outcomes(self) -> dict[str, int]:
        """How often what happened, the most common first."""
        counts = dict(zip(_OUTCOMES, map(int, self.values[_COUNTS:]), strict=True))
        return {name: n for name, n in Counter(counts).most_common() if n}


def look(path: Path, content: bytes) -> tuple[str, str]:
    """Return what came of an input, and more in words where that is wrong."""
    item = Item("input", str(path))
    outcome = "answered"
    try:
        items = [item]
        if kind_of_bytes(content[:HEAD_BYTES]) == "dicom":
            frames = frames_of(replace(item, kind="dicom"))
            items = [frame for _, frame in zip(range(_FRAMES), frames, strict=False)]
        for one in items:
            pixels = load_pixels(read_item(one).source)
            if pixels.rgb.shape != (224, 224, 3) or pixels.rgb.dtype != np.uint8:
                return "wrong", f"pixels of {pixels.rgb.dtype} {pixels.rgb.shape}"
        if len(content) % 8 == 0 and items:  # what else reads a photo, now and then
            assess(pixels)
            load_pixels(read_item(items[0]).source, box=(0.1, 0.0, 0.9, 0.95))
            if load_picture(read_item(items[0]).source, max_side_px=64).mode != "RGB":
                return "wrong", "a picture that is not RGB"
    except ImageError as error:
        outcome = error.reason
        if outcome not in REASONS:
            return "wrong", f"reason {outcome!r}: {error}"
    except Exception as error:
        return "wrong", f"{type(error).__name__}: {error}"
    return outcome, ""


def _peak_mb(status: io.FileIO) -> float:
    status.seek(0)
    words = status.read(4096).split()
    return int(words[words.index(b"VmHWM:") + 1]) / 1e3


def _tell(tell: IO[str], message: dict[str, Any]) -> None:
    print(json.dumps(message), file=tell, flush=True)


if __name__ == "__main__":
    sys.exit(main())
