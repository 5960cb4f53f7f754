"""Answers and pictures to save in a history, made up, with bytes that can be looked for."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from lesionlens.history.records import Scan
from lesionlens.history.store import History
from lesionlens.labels import Label
from lesionlens.records import Finding, Prediction, Quality

SHA256 = "ab" * 32
BEGIN = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)

#: Odd floats on purpose: nothing may be rounded on the way.
ANSWER = Prediction(
    file="camera/IMG 0001.jpg",
    label=Label.BCC,
    probabilities={Label.BCC: 0.1 + 0.6, Label.SCC: 0.2000000000000001, Label.NORMAL: 0.1},
    scope=1 / 3,
    prediction_set=(Label.BCC, Label.SCC),
    verdict="uncertain",
    quality=Quality(
        findings=(Finding("blur", 1 / 7, 0.25, "of the width", "Hold still."),),
        measures={"blur": 1 / 7, "light": 0.5},
    ),
    policy="balanced",
    views=5,
    elapsed_ms=12.345678901,
    stage_ms={"decode": 1 / 3, "model": 7.5},
)
HEALTHY = replace(
    ANSWER,
    label=Label.NORMAL,
    probabilities={Label.BCC: 0.05, Label.SCC: 0.05, Label.NORMAL: 0.9},
    prediction_set=(Label.NORMAL,),
    verdict="confident",
)
ELSEWHERE = replace(ANSWER, verdict="out_of_scope", prediction_set=(), scope=0.01)


def jpeg(seed: int, n_bytes: int = 600) -> bytes:
    """Return bytes that begin like a JPEG and occur nowhere else."""
    return b"\xff\xd8\xff\xe0" + random.Random(seed).randbytes(n_bytes)


def png(seed: int) -> bytes:
    """Return bytes that begin like a PNG and occur nowhere else."""
    return b"\x89PNG\r\n\x1a\n" + random.Random(seed).randbytes(400)


def save(history: History, number: int = 0, answer: Prediction = ANSWER, **more: Any) -> Scan:
    """Save scan ``number``: taken so many hours after the first, with pictures of its own."""
    options: dict[str, Any] = {
        "photo": jpeg(3 * number),
        "thumbnail": jpeg(3 * number + 1, 100),
        "taken_at": BEGIN + timedelta(hours=number),
        "milliseconds": {"model": 7.5, "overlay": 1 / 3},
        "model": "lens 0.1.0",
        "model_sha256": SHA256,
    }
    return history.add(answer, **(options | more))
