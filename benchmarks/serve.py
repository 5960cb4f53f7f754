"""Load ``lesionlens serve`` from 16 clients and compare every answer with predict's.

    python benchmarks/serve.py [--requests 20000] [--clients 16] [--workers 2]

Starts a server, and a process of its own that sends: first as fast as 16 clients get answers,
which is the peak; then at 70 % of it, requests beginning at times fixed beforehand, so that a
server that stalls is not spared the requests it would have had (open loop; times count from when a
request was due). Photos are drawn, 600 x 450 to 1024 x 768, and every answer is compared with
that of ``Classifier.predict``, number by number. Prints rows of a Markdown table; exits 1 where an
answer is wrong or lost.

``--threads`` measures the other way to build it: workers as threads of the server's process.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from multiprocessing import get_context
from pathlib import Path
from time import perf_counter
from typing import Any

import httpx
import numpy as np
import psutil

SIZES_PX = ((600, 450), (1024, 768), (800, 600))


@dataclass
class Load:
    """What came of a load."""

    seconds: float = 0.0
    times_ms: list[float] = field(default_factory=list)
    n_right: int = 0
    n_wrong: int = 0
    statuses: Counter[str] = field(default_factory=Counter)  # of what was no answer

    @property
    def n_lost(self) -> int:
        """Requests without an answer."""
        return sum(self.statuses.values())


def draw_photos(folder: Path, n_photos: int) -> None:
    """Draw photos of all kinds and sizes into a folder, with predict's answers beside them."""
    from lesionlens import Classifier
    from lesionlens.phantoms import KINDS, draw

    classifier = Classifier()
    answers = {}
    for number in range(n_photos):
        image = draw(
            KINDS[number % len(KINDS)],
            size_px=SIZES_PX[number % len(SIZES_PX)],
            rng=np.random.default_rng(number),
        )
        stream = io.BytesIO()
        image.save(stream, "JPEG", quality=90)
        name = f"{number}.jpg"
        (folder / name).write_bytes(stream.getvalue())
        answers[name] = untimed(classifier.predict(stream.getvalue()).as_json())
    (folder / "answers.json").write_text(json.dumps(answers), encoding="utf-8")


def untimed(record: dict[str, Any]) -> dict[str, Any]:
    """Return what of an answer must be the same each time."""
    return {key: value for key, value in record.items() if key not in ("elapsed_ms", "file")}


async def send_all(
    url: str, folder: Path, n_requests: int, n_clients: int, rate_per_s: float
) -> Load:
    """Send requests from some clients; 0 a second: as fast as they are answered."""
    answers = json.loads((folder / "answers.json").read_text(encoding="utf-8"))
    photos = [((folder / name).read_bytes(), answers[name]) for name in sorted(answers)]
    load, numbers = Load(), iter(range(n_requests))
    began = perf_counter()

    async def client() -> None:
        async with httpx.AsyncClient(timeout=60, trust_env=False) as http:
            for number in numbers:
                due = perf_counter()
                if rate_per_s:
                    due = began + number / rate_per_s
                    await asyncio.sleep(max(0.0, due - perf_counter()))
                content, expected = photos[number % len(photos)]
                try:
                    answer = await http.post(
                        f"{url}/v1/predictions",
                        content=content,
                        headers={"Content-Type": "image/jpeg"},
                    )
                except httpx.HTTPError as error:
                    load.statuses[type(error).__name__] += 1
                    continue
                load.times_ms.append((perf_counter() - due) * 1e3)
                if answer.status_code != 200:
                    load.statuses[str(answer.status_code)] += 1
                elif untimed(answer.json()["predictions"][0]) == expected:
                    load.n_right += 1
                else:
                    load.n_wrong += 1

    # In the open loop, a client that waits for an answer begins the next request late, and that
    # counts: of those there are as many as the server is promised to serve.
    await asyncio.gather(*(client() for _ in range(n_clients)))
    load.seconds = perf_counter() - began
    return load


def run_load(
    url: str, folder: Path, *, n_requests: int, n_clients: int, rate_per_s: float = 0.0
) -> Load:
    """Send requests from a process of their own; returns what came of them."""
    job = json.dumps([url, str(folder), n_requests, n_clients, rate_per_s])
    done = subprocess.run(
        [sys.executable, __file__, "--send", job], stdout=subprocess.PIPE, text=True, check=True
    )
    content = json.loads(done.stdout)
    return Load(**{**content, "statuses": Counter(content["statuses"])})


def start_server(n_workers: int) -> tuple[subprocess.Popen[str], str]:
    """Start a server; returns it and its address."""
    server = subprocess.Popen(
        [sys.executable, "-m", "lesionlens", "serve", "--workers", str(n_workers), "--rate", "0",
         "--no-access-log"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert server.stdout is not None
    return server, server.stdout.readline().strip()


def processor_seconds(server: subprocess.Popen[str]) -> tuple[float, float]:
    """Return what the process that speaks HTTP has used so far, and what its workers have."""
    process = psutil.Process(server.pid)
    times = [one.cpu_times() for one in (process, *process.children())]
    used = [one.user + one.system for one in times]
    return used[0], sum(used[1:])


def row(what: str, seen: str, target: str = "") -> None:
    """Print a row of the table."""
    print(f"| {what} | {seen} | {target} |", flush=True)


# ---------------------------------------------------------------- threads or processes

_classifier: Any = None


def load_classifier() -> None:
    """Load this process's classifier, for all of its threads."""
    global _classifier  # noqa: PLW0603 - a worker's, set once
    from lesionlens import Classifier

    _classifier = Classifier(threads=1)


def judge(content: bytes) -> str:
    """Judge an image with this process's classifier."""
    return str(_classifier.predict(content).verdict)


def compare_threads(folder: Path, n_workers: int, n_rounds: int = 7) -> None:
    """Time the same images through threads and through processes, by turns."""
    contents = [path.read_bytes() for path in sorted(folder.glob("*.jpg"))] * 4
    load_classifier()
    rates: dict[str, list[float]] = {"threads": [], "processes": []}
    with (
        ThreadPoolExecutor(n_workers) as threads,
        ProcessPoolExecutor(
            n_workers, mp_context=get_context("spawn"), initializer=load_classifier
        ) as processes,
    ):
        for turn in range(n_rounds + 1):
            for name, executor in (("threads", threads), ("processes", processes)):
                began = perf_counter()
                list(executor.map(judge, contents))
                if turn:  # the first loads what is loaded once
                    rates[name].append(len(contents) / (perf_counter() - began))
    for name, seen in rates.items():
        row(f"{n_workers} {name}, without HTTP", f"{np.median(seen):.1f} images/s")
    ratios = np.array(rates["processes"]) / np.array(rates["threads"])
    row("processes to threads, median of ratios", f"{np.median(ratios):.2f}")


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=20_000, help="at 70 %% of the peak")
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--peak", type=int, default=1500, help="requests that the peak is taken of")
    parser.add_argument("--photos", type=int, default=48, help="different ones")
    parser.add_argument("--threads", action="store_true", help="compare threads and processes")
    parser.add_argument("--send", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.send:
        url, folder, *rest = json.loads(options.send)
        print(json.dumps(asdict(asyncio.run(send_all(url, Path(folder), *rest)))))
        return 0
    print("| what | seen | target |\n| --- | --- | --- |")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        draw_photos(folder, options.photos)
        if options.threads:
            compare_threads(folder, options.workers)
            return 0
        server, url = start_server(options.workers)
        try:
            clients = options.clients
            run_load(url, folder, n_requests=10 * clients, n_clients=clients)
            peak = run_load(url, folder, n_requests=options.peak, n_clients=clients)
            peak_per_s = len(peak.times_ms) / peak.seconds
            p50, p99 = np.percentile(peak.times_ms, [50, 99])
            row(f"peak, {clients} clients", f"{peak_per_s:.1f} requests/s")
            row("at the peak", f"p50 {p50:.0f} ms, p99 {p99:.0f} ms")
            rate = 0.7 * peak_per_s
            before = processor_seconds(server)
            steady = run_load(
                url, folder, n_requests=options.requests, n_clients=clients, rate_per_s=rate
            )
            after = processor_seconds(server)
            http, judging = (
                (late - early) / options.requests * 1e3
                for early, late in zip(before, after, strict=True)
            )
            p50, p99 = np.percentile(steady.times_ms, [50, 99])
            seen = len(steady.times_ms) / steady.seconds
            row(f"at {rate:.1f} a second", f"{seen:.1f} requests/s")
            row("70 % of the peak", f"p50 {p50:.0f} ms, p99 {p99:.0f} ms", "p99 under 250 ms")
            row("processor time of a request", f"HTTP {http:.1f} ms, judging {judging:.1f} ms")
            bad = steady.n_wrong + steady.n_lost + peak.n_wrong + peak.n_lost
            n_all = options.requests + options.peak
            row(f"wrong or lost of {n_all:,}", f"{bad} {dict(steady.statuses) or ''}", "0")
        finally:
            server.terminate()
            row("exit code after SIGTERM", str(server.wait(60)), "0")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
