"""How fast the app is on this device: what a run of scans measured, in numbers and as a file.

Plain values and arithmetic; ``timing`` makes the run, docs/performance.md says what is measured
and what each field of the files is.
"""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from importlib.resources import files as package_files
from pathlib import Path
from typing import Any

import numpy as np

#: Of the JSON file.
FORMAT = 1
#: How many scans a run may have; the middle one unless told.
LENGTHS: tuple[int, ...] = (10, 30, 100)
DEFAULT_LENGTH = 30
#: What is timed of each scan, in the order of work. ``total`` is from the tap to the answer:
#: ``decode`` to ``pictures``. Before it a photo is opened, after it the overlay is drawn.
STAGES: tuple[str, ...] = (
    "open", "decode", "views", "model", "judge", "explain", "pictures", "overlay", "total",
)  # fmt: skip
_OF_TOTAL: tuple[str, ...] = ("decode", "views", "model", "judge", "pictures")
_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


@dataclass(frozen=True)
class Memory:
    """Memory that the process holds; None where the system does not say."""

    now_bytes: int | None
    peak_bytes: int | None  # the most since the process began, or since ``forget_peak``


@dataclass(frozen=True)
class ScanTime:
    """What was measured of one scan."""

    photo: int  # which of the photos, from 0
    milliseconds: dict[str, float]  # by STAGES
    memory_bytes: int | None  # held after it; None where the system does not say


@dataclass(frozen=True)
class Spread:
    """Where the values of a run lie."""

    low: float
    p50: float
    p95: float
    high: float


@dataclass(frozen=True)
class PhotoFacts:
    """A photo that is scanned in a run."""

    name: str
    width_px: int
    height_px: int
    size_bytes: int


@dataclass(frozen=True)
class Setting:
    """What ran where: all that a comparison of two runs has to know."""

    app_version: str
    model_name: str
    model_version: str
    model_sha256: str
    model_precision: str
    model_bytes: int
    views: int
    policy: str
    threads: int
    cores: int
    runtime: str  # distribution of the interpreter
    python: str
    system: str
    system_version: str
    device_model: str  # empty where it is not known
    machine: str  # architecture
    source: str  # drawn or given
    photos: tuple[PhotoFacts, ...]
    started_at: datetime
    peak_is_of_run: bool  # whether ``forget_peak`` worked before it


@dataclass(frozen=True)
class Trial:
    """A run as far as it is: chosen, going on, or over."""

    n: int = DEFAULT_LENGTH
    status: str = "ready"  # ready, preparing, running, done, stopped
    setting: Setting | None = None  # from ``running`` on
    scans: tuple[ScanTime, ...] = ()
    peak_bytes: int | None = None
    recent_ms: tuple[float, ...] | None = None  # of scans in the history, if read

    @property
    def is_going_on(self) -> bool:
        """Whether it can be stopped."""
        return self.status in ("preparing", "running")

    @property
    def growth_bytes(self) -> int | None:
        """Memory held after the last scan, less that after the first."""
        held = [scan.memory_bytes for scan in self.scans]
        if len(held) < 2 or held[0] is None or held[-1] is None:
            return None
        return held[-1] - held[0]

    def spread(self, stage: str) -> Spread:
        """Return where the times of a stage lie, in milliseconds.

        Raises:
            ValueError: nothing was scanned.
        """
        return spread_of([scan.milliseconds[stage] for scan in self.scans])


def spread_of(values: Sequence[float]) -> Spread:
    """Return where values lie; between two neighbours, percentiles are interpolated.

    Raises:
        ValueError: there are none.
    """
    if not values:
        raise ValueError("nothing was measured: there is no spread of no values")
    low, p50, p95, high = np.percentile(values, [0, 50, 95, 100])
    return Spread(float(low), float(p50), float(p95), float(high))


def time_scan(
    photo: int,
    answered: Mapping[str, float],
    *,
    open_ms: float,
    overlay_ms: float,
    memory_bytes: int | None,
) -> ScanTime:
    """Return what was measured of a scan.

    Args:
        photo: which of the photos, from 0.
        answered: ``Answer.milliseconds`` of the engine. What it does not name of its total is the
            explanation: where in the picture the answer came from.
        open_ms: of reading the photo for the screen, before a part of it is chosen.
        overlay_ms: of drawing the explanation over the picture, after the answer.
        memory_bytes: held after it.
    """
    named = {stage: float(answered[stage]) for stage in _OF_TOTAL}
    total = float(answered["total"])
    measured = named | {
        "open": open_ms,
        "explain": max(0.0, total - sum(named.values())),
        "overlay": overlay_ms,
        "total": total,
    }
    return ScanTime(photo, {stage: measured[stage] for stage in STAGES}, memory_bytes)


def read_memory() -> Memory:
    """Return what memory this process holds; Linux and Android say all, macOS the peak alone."""
    if _STATUS.is_file():
        lines = dict(line.split(":", 1) for line in _STATUS.read_text().splitlines() if ":" in line)
        return Memory(_kilobytes(lines.get("VmRSS")), _kilobytes(lines.get("VmHWM")))
    try:
        import resource
    except ImportError:  # Windows
        return Memory(None, None)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return Memory(None, peak if sys.platform == "darwin" else peak * 1024)


def _kilobytes(words: str | None) -> int | None:
    """``"  123 kB"`` -> 125952."""
    return int(words.split()[0]) * 1024 if words else None


def forget_peak() -> bool:
    """Let the peak begin anew; returns whether the system could (proc_pid_clear_refs(5))."""
    try:
        _CLEAR.write_text("5")
    except OSError:
        return False
    return True


def paper_ms() -> float:
    """Return what the classifier paper says of its phone app, milliseconds an image."""
    path = package_files("lesionlens") / "references" / "paper.json"
    seconds: float = json.loads(path.read_text(encoding="utf-8"))["seconds_per_image_on_a_phone"]
    return seconds * 1000


def as_json(trial: Trial) -> str:
    """Return a run as JSON, schema ``FORMAT`` of docs/performance.md.

    Raises:
        ValueError: nothing was scanned.
    """
    setting = _setting_of(trial)
    held = [scan.memory_bytes for scan in trial.scans]
    content: dict[str, Any] = {
        "format": FORMAT,
        "kind": "lesionlens.performance",
        "started_at": setting.started_at.isoformat(timespec="seconds"),
        "is_complete": trial.status == "done",
        "app": {"version": setting.app_version},
        "model": {
            "name": setting.model_name,
            "version": setting.model_version,
            "sha256": setting.model_sha256,
            "precision": setting.model_precision,
            "size_bytes": setting.model_bytes,
        },
        "device": {
            "system": setting.system,
            "version": setting.system_version,
            "model": setting.device_model,
            "machine": setting.machine,
            "cores": setting.cores,
        },
        "runtime": {
            "python": setting.python,
            "interpreter": setting.runtime,
            "threads": setting.threads,
        },
        "run": {
            "n": len(trial.scans),
            "views": setting.views,
            "policy": setting.policy,
            "source": setting.source,
            "photos": [asdict(photo) for photo in setting.photos],
        },
        "milliseconds": {stage: asdict(trial.spread(stage)) for stage in STAGES},
        "memory_bytes": {
            "first": held[0],
            "last": held[-1],
            "growth": trial.growth_bytes,
            "peak": trial.peak_bytes,
            "peak_is_of_run": setting.peak_is_of_run,
        },
        "scans": [
            {
                "photo": scan.photo,
                "milliseconds": {
                    name: round(value, 3) for name, value in scan.milliseconds.items()
                },
                "memory_bytes": scan.memory_bytes,
            }
            for scan in trial.scans
        ],
    }
    return json.dumps(content, indent=2) + "\n"


def as_csv(trial: Trial) -> str:
    """Return a run as CSV, a row for each scan; columns as docs/performance.md says.

    Raises:
        ValueError: nothing was scanned.
    """
    setting = _setting_of(trial)
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    stages = [f"{stage}_ms" for stage in STAGES]
    writer.writerow(["scan", "photo", "width_px", "height_px", *stages, "memory_bytes"])
    for number, scan in enumerate(trial.scans, 1):
        photo = setting.photos[scan.photo]
        times = [f"{scan.milliseconds[stage]:.3f}" for stage in STAGES]
        held = "" if scan.memory_bytes is None else scan.memory_bytes
        writer.writerow([number, scan.photo, photo.width_px, photo.height_px, *times, held])
    return stream.getvalue()


def file_name(trial: Trial, suffix: str) -> str:
    """Return a name for a file of a run: ``lesionlens-performance-2026-11-26-1432.json``."""
    return f"lesionlens-performance-{_setting_of(trial).started_at:%Y-%m-%d-%H%M}.{suffix}"


def _setting_of(trial: Trial) -> Setting:
    if trial.setting is None or not trial.scans:
        raise ValueError("nothing was measured yet: start a run first")
    return trial.setting
