"""The records that cross module borders: a frame of an archive, a photo's quality, an answer.

All are frozen dataclasses of plain values, so that they travel between processes,
into CSV and into JSON without a special case.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lesionlens.labels import IN_SCOPE, Label


@dataclass(frozen=True)
class Frame:
    """One labelled image of an archive."""

    image_id: str  # unique in the archive, e.g. "ISIC_0024306"
    path: Path  # where the image file is
    label: Label
    lesion_id: str = ""  # empty where the archive does not say
    patient_id: str = ""  # empty where the archive does not say
    parent_id: str = ""  # image_id of the frame this one was cut out of, empty for a whole frame
    source: str = ""  # institution or collection, as the archive attributes it
    age_approx: float | None = None  # years
    sex: str = ""
    anatom_site: str = ""  # anatom_site_general of the archive
    is_benign: bool = False  # diagnosis_1 is Benign: healthy skin may be cut out of it


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong with a photo."""

    name: str  # "blur", "too_dark", ... (lesionlens.quality)
    value: float  # as measured
    threshold: float  # of the gate
    unit: str  # what value and threshold are in, in a short phrase
    advice: str  # what the person should do, in a short sentence


@dataclass(frozen=True)
class Quality:
    """Whether a photo is good enough to be answered."""

    findings: tuple[Finding, ...]  # empty: good enough
    measures: dict[str, float]  # every measure by name, found wanting or not

    @property
    def is_good(self) -> bool:
        """Whether nothing was found wanting."""
        return not self.findings


@dataclass(frozen=True)
class Prediction:
    """The answer for one image."""

    file: str  # as the caller named it, "-" for bytes without a name
    label: Label  # the likeliest of the three classes
    probabilities: dict[Label, float]  # BCC, SCC, Normal, calibrated; sum to 1, given it is one
    scope: float | None  # probability in 0..1 that it is one of the three; None: model cannot say
    prediction_set: tuple[Label, ...]  # which of the three it may be; empty: like none of them
    verdict: str  # one of lesionlens.verdicts.VERDICTS
    quality: Quality  # of the photo
    policy: str  # one of lesionlens.verdicts.POLICIES
    views: int  # how many deterministic views were averaged
    elapsed_ms: float  # decoding, views and model together
    #: The same apart, by stage: decode (0 for pixels decoded before), views, model, judge.
    stage_ms: dict[str, float] = field(default_factory=dict, compare=False)

    @property
    def probability(self) -> float:
        """Probability in 0..1 of ``label``, given that the image is one of the three."""
        return self.probabilities[self.label]

    def as_json(self) -> dict[str, Any]:
        """Return the answer as JSON has it; probabilities unrounded, milliseconds to 0.001."""
        return {
            "file": self.file,
            "label": self.label.value,
            "probabilities": {label.value: self.probabilities[label] for label in IN_SCOPE},
            "scope": self.scope,
            "verdict": self.verdict,
            "prediction_set": [label.value for label in self.prediction_set],
            "quality": {
                "is_good": self.quality.is_good,
                "findings": [asdict(finding) for finding in self.quality.findings],
                "measures": self.quality.measures,
            },
            "policy": self.policy,
            "views": self.views,
            "elapsed_ms": round(self.elapsed_ms, 3),
        }
