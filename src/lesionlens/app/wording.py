"""What an answer says, in a person's words: the same on the screen, in the history, on paper.

The verdict comes first and decides what may be said at all (docs/verdicts.md): a name is given
only where the verdict lets one be given, and what to do next follows from both.
"""

from __future__ import annotations

from lesionlens.app.texts import Texts
from lesionlens.labels import Label
from lesionlens.records import Prediction, Quality
from lesionlens.verdicts import CONFIDENT, UNCERTAIN

_CANCERS = (Label.BCC, Label.SCC)


def headline(prediction: Prediction, texts: Texts) -> str:
    """Return the verdict in one line, naming what it may name."""
    if prediction.verdict == CONFIDENT:
        return texts("verdict.confident", label=_inside(prediction.label, texts))
    if prediction.verdict == UNCERTAIN:
        members = [_inside(label, texts) for label in prediction.prediction_set]
        if not members:
            return texts("verdict.uncertain.open")
        return texts("verdict.uncertain", set=texts.any_of(members))
    return texts(f"verdict.{prediction.verdict}")


def meaning(prediction: Prediction, texts: Texts) -> str:
    """Return what the verdict says of how far to rely on the answer."""
    return texts(f"verdict.{prediction.verdict}.means")


def next_step(prediction: Prediction, texts: Texts) -> str:
    """Return what the person should do now; no answer is an all-clear."""
    if prediction.verdict == CONFIDENT:
        return texts(f"verdict.next.{prediction.label}")
    if prediction.verdict == UNCERTAIN:
        candidates = {prediction.label, *prediction.prediction_set}
        if candidates.intersection(_CANCERS):
            return texts("verdict.next.uncertain.cancer")
    return texts(f"verdict.next.{prediction.verdict}")


def findings(prediction: Prediction, texts: Texts) -> list[tuple[str, str]]:
    """Return what is wrong with the photo and what to do about it, a pair for each finding."""
    return advice(prediction.quality, texts)


def advice(quality: Quality, texts: Texts) -> list[tuple[str, str]]:
    """Return the same for a photo, or a part of one, that was measured and not judged (yet)."""
    return [
        (texts(f"quality.{finding.name}"), texts(f"quality.{finding.name}.advice"))
        for finding in quality.findings
    ]


def _inside(label: Label, texts: Texts) -> str:
    return texts(f"label.{label}.inside")
