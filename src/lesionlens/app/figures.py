"""Figures that the app tells: of the model at hand, as its bundle says them, and of its settings.

What a bundle's ``metrics`` hold is taken from there. What one view or the careful policy would come
to is not in it: that stands here, as docs/evidence.md and docs/verdicts.md have it (a test reads
both), and is told of the model it was measured on and of no other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lesionlens.bundle import ModelSpec

#: Name and version of the model that the figures below are of.
MEASURED = ("lens", "0.2.0")


@dataclass(frozen=True)
class Figure:
    """A share of 0..1 and its 95 % interval."""

    value: float
    low: float
    high: float

    @property
    def of_hundred(self) -> dict[str, int]:
        """``n``, ``low`` and ``high`` of a hundred, for a sentence."""
        return of_hundred({"value": self.value, "low": self.low, "high": self.high})


@dataclass(frozen=True)
class ViewsFigures:
    """What an answer of some number of views comes to (docs/evidence.md, Views)."""

    right: Figure  # images of the three that are named rightly
    milliseconds: float  # of processor time an image, on the machine that measured it


@dataclass(frozen=True)
class PolicyFigures:
    """What a policy comes to (docs/verdicts.md, the two policies beside each other)."""

    kept: Figure  # BCC and SCC whose label is right or whose set holds it
    clear: Figure  # images of the three that get a confident answer


VIEWS: dict[int, ViewsFigures] = {
    1: ViewsFigures(Figure(0.883, 0.86, 0.90), 1.1),
    10: ViewsFigures(Figure(0.911, 0.89, 0.93), 11.9),
}
POLICY: dict[str, PolicyFigures] = {
    "balanced": PolicyFigures(Figure(0.908, 0.884, 0.927), Figure(0.693, 0.654, 0.733)),
    "sensitive": PolicyFigures(Figure(0.944, 0.925, 0.959), Figure(0.595, 0.554, 0.637)),
}


def are_of(spec: ModelSpec) -> bool:
    """Whether ``VIEWS`` and ``POLICY`` were measured on a model."""
    return (spec.name, spec.version) == MEASURED


def of_hundred(metric: Mapping[str, Any]) -> dict[str, int]:
    """Return a share and its interval as whole numbers of a hundred: ``n``, ``low``, ``high``.

    Never 0 or 100 of what is not quite that.
    """
    return {
        "n": _whole(metric["value"]),
        "low": _whole(metric["low"]),
        "high": _whole(metric["high"]),
    }


def _whole(share: float) -> int:
    rounded = round(100 * share)
    if rounded == 0 < share:
        return 1
    return 99 if rounded == 100 and share < 1 else rounded
