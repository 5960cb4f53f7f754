"""What goes in and out, in Pydantic's words: the OpenAPI document is made of these."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from lesionlens.labels import IN_SCOPE
from lesionlens.service.bodies import FIELD, FORM_TYPE, IMAGE_TYPES
from lesionlens.service.limits import Limits
from lesionlens.service.problems import PROBLEMS
from lesionlens.verdicts import DEFAULT_POLICY, POLICIES, VERDICTS
from lesionlens.zooms import MAX_VIEWS

_LABELS: list[Any] = [label.value for label in IN_SCOPE]


class Asked(BaseModel):
    """How images are to be judged; a parameter of another name is refused, not ignored."""

    model_config = ConfigDict(extra="forbid")

    views: Annotated[
        int | None,
        Field(
            ge=1,
            le=MAX_VIEWS,
            description="Views averaged per image: 1 is fastest, 10 steadiest; without it what "
            "the model advises.",
        ),
    ] = None
    policy: Annotated[
        str,
        Field(
            pattern=f"^({'|'.join(POLICIES)})$",
            json_schema_extra={"enum": list(POLICIES)},
            description="How cautiously to judge.",
        ),
    ] = DEFAULT_POLICY


class Nothing(BaseModel):
    """No parameters."""

    model_config = ConfigDict(extra="forbid")


class ModelName(BaseModel):
    """Which model answered."""

    name: str
    version: str
    sha256: str = Field(description="Of its file: what answers depend on.")
    lesionlens: str = Field(description="Version of the program.")


class FindingDocument(BaseModel):
    """One thing that is wrong with a photo."""

    name: str
    value: float = Field(description="As measured.")
    threshold: float
    unit: str = Field(description="What value and threshold are in.")
    advice: str = Field(description="What to do about it.")


class QualityDocument(BaseModel):
    """Whether a photo is good enough to be judged."""

    is_good: bool
    findings: list[FindingDocument]
    measures: dict[str, float]


class Answer(BaseModel):
    """The answer for an image, as `lesionlens predict --format json` has it."""

    file: str = Field(description="As the form named it; - for a raw body.")
    label: str = Field(
        json_schema_extra={"enum": _LABELS},
        description="The likeliest of the three; read the verdict first.",
    )
    probabilities: dict[str, float] = Field(
        description="Calibrated, given that the image shows one of the three; sum to 1."
    )
    scope: float | None = Field(
        description="Probability that it shows one of the three; null: the model cannot say."
    )
    verdict: str = Field(json_schema_extra={"enum": list(VERDICTS)})
    prediction_set: list[str] = Field(description="Which of the three it may be.")
    quality: QualityDocument
    policy: str
    views: int
    elapsed_ms: float = Field(description="To decode and judge it, without the time in line.")


class Failed(BaseModel):
    """An image that could not be judged."""

    file: str
    error: str = Field(description="What is wrong with it and what is accepted.")
    reason: str = Field(description="The same for a program: `truncated`, `too_small`...")


class Answers(BaseModel):
    """What became of the images of a request, in their order."""

    model: ModelName
    notice: str
    predictions: list[Answer | Failed]


class ModelDocument(BaseModel):
    """The model, as its `model.json` has it, without the scores of held-out images."""

    model_config = ConfigDict(extra="allow")

    name: str
    version: str
    sha256: str
    lesionlens: str = Field(description="Version of the program.")
    notice: str
    labels: list[str] = Field(description="What the network tells apart.")
    precision: str
    views: int = Field(description="Views averaged unless asked for another number.")
    policies: dict[str, Any]
    licence: str
    training: dict[str, Any]
    metrics: dict[str, Any]


class State(BaseModel):
    """How the server is."""

    status: Literal["ok"]


class ProblemDocument(BaseModel):
    """What went wrong, as RFC 9457 has it."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(description="Where it is explained.")
    title: str
    status: int
    detail: str = Field(description="What is wrong with this request, and what to do.")
    reason: str = Field(json_schema_extra={"enum": list(PROBLEMS)})


EXAMPLE: dict[str, Any] = {
    "model": {
        "name": "lens",
        "version": "0.2.0",
        "sha256": "9f2c2d0c6b7c1f6f3a4c5d8e7b6a59483726150493827160a1b2c3d4e5f60718",
        "lesionlens": "0.2.0",
    },
    "notice": "Decision support for research and education. Not a diagnosis.",
    "predictions": [
        {
            "file": "lesion.jpg",
            "label": "BCC",
            "probabilities": {"BCC": 0.94, "SCC": 0.05, "Normal": 0.01},
            "scope": 0.91,
            "verdict": "confident",
            "prediction_set": ["BCC"],
            "quality": {"is_good": True, "findings": [], "measures": {"sharpness": 0.42}},
            "policy": "balanced",
            "views": 10,
            "elapsed_ms": 21.4,
        },
        {
            "file": "half.jpg",
            "error": "half.jpg: is truncated (the file ends before the image does) and was not "
            "used; copy or download it again",
            "reason": "truncated",
        },
    ],
}


def problem_answers(*reasons: str) -> dict[int | str, dict[str, Any]]:
    """Return how OpenAPI tells problems: by status."""
    by_status: dict[int | str, list[str]] = {}
    for reason in reasons:
        by_status.setdefault(PROBLEMS[reason][0], []).append(reason)
    return {
        status: {
            "description": "; ".join(f"{PROBLEMS[reason][1]} (`{reason}`)" for reason in several),
            "content": {
                "application/problem+json": {
                    "schema": ProblemDocument.model_json_schema(
                        ref_template="#/components/schemas/{model}"
                    )
                }
            },
        }
        for status, several in by_status.items()
    }


def request_body(limits: Limits) -> dict[str, Any]:
    """Return how OpenAPI tells the body that `bodies` reads."""
    image = {"type": "string", "format": "binary"}
    files = {
        "type": "object",
        "required": [FIELD],
        "additionalProperties": False,
        "properties": {
            FIELD: {
                "type": "array",
                "items": image,
                "minItems": 1,
                "maxItems": limits.max_files,
                "description": "JPEG, PNG, WebP, TIFF or BMP, each a part of its own.",
            }
        },
    }
    return {
        "required": True,
        "content": {
            FORM_TYPE: {"schema": files},
            **{kind: {"schema": image} for kind in IMAGE_TYPES},
        },
    }
