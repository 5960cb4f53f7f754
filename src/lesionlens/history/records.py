"""What the history holds: a judged picture, the lesion it belongs to, and both as JSON.

Whatever comes in, from the app or out of somebody's export, passes the same checks here.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from lesionlens.body_sites import ISIC_SITES
from lesionlens.errors import HistoryError
from lesionlens.labels import FULL_NAMES, IN_SCOPE, Label
from lesionlens.records import Finding, Prediction, Quality
from lesionlens.verdicts import CONFIDENT, UNCERTAIN, VERDICTS

#: A photo of 1024 px is about 200 kB; what is larger than this is not one of ours.
MAX_PICTURE_BYTES = 8 * 2**20
MAX_TEXT = 20_000  # characters of a note
JPEG = b"\xff\xd8\xff"
PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Lesion:
    """One place of the skin that is looked at again and again."""

    id: int  # in this history
    uuid: str  # 32 hexadecimal digits, the same in every export
    name: str
    body_site: str | None  # one of lesionlens.body_sites.BODY_SITES
    notes: str
    created_at: datetime  # UTC
    n_scans: int = 0
    last_scan_id: int | None = None  # of its newest scan
    last_taken_at: datetime | None = None  # UTC, of its newest scan


@dataclass(frozen=True)
class Scan:
    """One judged picture, as it was judged; the pictures themselves are asked for by ``id``."""

    id: int  # in this history, never used again
    uuid: str  # 32 hexadecimal digits, the same in every export
    taken_at: datetime  # UTC
    prediction: Prediction  # as it was, to the last digit
    joint: dict[str, float]  # output -> joint probability; the three only, unless more were told
    milliseconds: dict[str, float]  # step -> how long it took
    model: str  # name and version
    model_sha256: str  # of model.tflite
    used_anyway: bool  # the person was told that the photo is poor, and went on
    body_site: str | None  # one of lesionlens.body_sites.BODY_SITES
    notes: str
    lesion_id: int | None

    @property
    def verdict(self) -> str:
        """One of ``lesionlens.verdicts.VERDICTS``."""
        return self.prediction.verdict

    @property
    def label(self) -> Label | None:
        """What was answered; None where nothing was: out of scope, or a poor photo."""
        is_answered = self.verdict in (CONFIDENT, UNCERTAIN)
        return self.prediction.label if is_answered else None

    @property
    def confidence(self) -> float:
        """Calibrated probability in 0..1 of the likeliest class, given that it is one of them."""
        return self.prediction.probability

    @property
    def probabilities(self) -> dict[Label, float]:
        """Of the three classes, summing to 1."""
        return self.prediction.probabilities

    @property
    def prediction_set(self) -> tuple[Label, ...]:
        """Which of the three it may be."""
        return self.prediction.prediction_set

    @property
    def scope(self) -> float | None:
        """Probability in 0..1 that it is one of the three at all."""
        return self.prediction.scope

    @property
    def quality(self) -> Quality:
        """Of the photo."""
        return self.prediction.quality

    @property
    def policy(self) -> str:
        """How cautiously it was judged."""
        return self.prediction.policy

    @property
    def views(self) -> int:
        """How many views were averaged."""
        return self.prediction.views


@dataclass(frozen=True)
class Pictures:
    """The encoded pictures of a scan."""

    photo: bytes  # JPEG, the square crop that was judged
    thumbnail: bytes  # JPEG
    overlay: bytes | None = None  # JPEG or PNG: where the evidence was


@dataclass(frozen=True)
class Rejected:
    """A row of an export that was not taken."""

    row: str  # its uuid, or where it stands
    reason: str


@dataclass(frozen=True)
class ImportSummary:
    """What came of an import."""

    added: int  # scans
    already_there: int  # scans
    rejected: tuple[Rejected, ...]  # scans and lesions


def joint_of(prediction: Prediction) -> dict[str, float]:
    """Return the joint probabilities of the three: conditional ones times ``scope``."""
    scope = 1.0 if prediction.scope is None else prediction.scope
    return {label.value: p * scope for label, p in prediction.probabilities.items()}


def fold(text: str) -> str:
    """Return text as it is searched: lower case, without accents ("Melanóma" -> "melanoma")."""
    parts = unicodedata.normalize("NFKD", text.casefold())
    return "".join(part for part in parts if not unicodedata.combining(part))


def search_text(*, notes: str, body_site: str | None, verdict: str, label: str | None) -> str:
    """Return what a scan is found by, folded: notes, place, verdict and what was answered."""
    words = [notes, verdict]
    if body_site is not None:
        words += [body_site, ISIC_SITES[body_site]]
    if label is not None:
        words += [label, FULL_NAMES[Label(label)]]
    return fold(" ".join(words).replace("_", " "))


# --- checks ------------------------------------------------------------------------------


def check_text(what: str, value: object) -> str:
    """Return ``value`` if it is text that can be stored.

    Raises:
        HistoryError: no text, too long, or with characters that no file can hold.
    """
    if not isinstance(value, str):
        raise HistoryError(f"{what}: is {type(value).__name__}, text is needed")
    if len(value) > MAX_TEXT:
        raise HistoryError(f"{what}: has {len(value):,} characters, at most {MAX_TEXT:,} are kept")
    if "\x00" in value or any("\ud800" <= character <= "\udfff" for character in value):
        raise HistoryError(f"{what}: holds characters that are no text (NUL or half of a pair)")
    return value


def check_name(value: object) -> str:
    """Return a lesion's name without space around it; HistoryError if nothing is left."""
    name = check_text("lesion", value).strip()
    if not name:
        raise HistoryError("lesion: needs a name, such as 'left cheek'")
    return name


def check_body_site(value: object) -> str | None:
    """Return ``value`` if it is a place of the body map or None; else HistoryError."""
    if value is None or (isinstance(value, str) and value in ISIC_SITES):
        return value
    raise HistoryError(f"body site {value!r}: is not one of {', '.join(ISIC_SITES)}")


def check_scan(scan: Scan) -> Scan:
    """Return ``scan`` if every field is what is kept; HistoryError names the one that is not."""
    check_uuid(scan.uuid)
    as_utc(scan.taken_at)
    prediction_from_json(prediction_as_json(scan.prediction))
    check_numbers("joint", scan.joint)
    check_numbers("milliseconds", scan.milliseconds)
    check_text("model", scan.model)
    if not re.fullmatch("[0-9a-f]{64}", check_text("model_sha256", scan.model_sha256)):
        raise HistoryError(f"model_sha256 {scan.model_sha256!r}: is not 64 hexadecimal digits")
    check_body_site(scan.body_site)
    check_text("notes", scan.notes)
    return scan


def check_lesion(lesion: Lesion) -> Lesion:
    """Return ``lesion`` if every field is what is kept; HistoryError names the one that is not."""
    check_uuid(lesion.uuid)
    check_name(lesion.name)
    check_body_site(lesion.body_site)
    check_text("notes", lesion.notes)
    as_utc(lesion.created_at)
    return lesion


def check_uuid(value: object) -> str:
    """Return ``value`` if it names a scan or a lesion for good; else HistoryError."""
    if not isinstance(value, str) or not re.fullmatch("[0-9a-f]{32}", value):
        raise HistoryError(f"uuid {value!r}: is not 32 hexadecimal digits")
    return value


def check_pictures(pictures: Pictures) -> Pictures:
    """Return ``pictures`` if they are what is kept; HistoryError names the one that is not."""
    kinds: dict[str, tuple[bytes, ...]] = {
        "photo": (JPEG,),
        "thumbnail": (JPEG,),
        "overlay": (JPEG, PNG),
    }
    for name, starts in kinds.items():
        data = getattr(pictures, name)
        if data is None and name == "overlay":
            continue
        accepted = "a JPEG" if len(starts) == 1 else "a JPEG or PNG"
        if not isinstance(data, bytes) or not data.startswith(starts):
            raise HistoryError(f"{name}: is not {accepted}; the bytes of {accepted} are needed")
        if len(data) > MAX_PICTURE_BYTES:
            raise HistoryError(
                f"{name}: has {len(data) / 1e6:.1f} MB, at most {MAX_PICTURE_BYTES / 1e6:.1f} MB "
                "are kept; make it smaller"
            )
    return pictures


def check_numbers(what: str, value: object) -> dict[str, float]:
    """Return a mapping of names to finite numbers as a plain dict; else HistoryError."""
    if not isinstance(value, Mapping):
        raise HistoryError(f"{what}: is {type(value).__name__}, names with numbers are needed")
    return {check_text(what, name): _number(what, number) for name, number in value.items()}


def as_utc(moment: datetime) -> datetime:
    """Return a moment in UTC; HistoryError where it does not say its time zone."""
    if moment.tzinfo is None:
        raise HistoryError(f"{moment}: has no time zone; pass datetime.now(UTC) or another aware")
    return moment.astimezone(UTC)


def as_text(moment: datetime) -> str:
    """Return a moment as it is stored: ISO 8601 in UTC, to the microsecond, sorting by time."""
    return as_utc(moment).isoformat(timespec="microseconds")


def _number(what: str, value: object, low: float = -math.inf, high: float = math.inf) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high:
        try:
            if math.isfinite(value):
                return float(value)
        except OverflowError:  # an integer beyond any float
            pass
    bounds = f" in {low:g}..{high:g}" if math.isfinite(low) else ""
    raise HistoryError(f"{what}: is {str(value)[:40]}, a finite number{bounds} is needed")


# --- JSON --------------------------------------------------------------------------------


def prediction_as_json(prediction: Prediction) -> dict[str, Any]:
    """Return an answer as JSON holds it, nothing rounded."""
    return {
        "file": prediction.file,
        "label": prediction.label.value,
        "probabilities": {label.value: p for label, p in prediction.probabilities.items()},
        "scope": prediction.scope,
        "prediction_set": [label.value for label in prediction.prediction_set],
        "verdict": prediction.verdict,
        "quality": {
            "findings": [asdict(finding) for finding in prediction.quality.findings],
            "measures": prediction.quality.measures,
        },
        "policy": prediction.policy,
        "views": prediction.views,
        "elapsed_ms": prediction.elapsed_ms,
        "stage_ms": prediction.stage_ms,
    }


def prediction_from_json(value: Any) -> Prediction:
    """Return the answer that ``prediction_as_json`` wrote.

    Raises:
        HistoryError: it is none; says what is missing or wrong.
    """
    try:
        prediction = _prediction(value)
    except KeyError as error:
        raise HistoryError(f"prediction: has no {error}") from error
    except (TypeError, ValueError, AttributeError) as error:
        raise HistoryError(f"prediction: is not as it is written here ({error})") from error
    probabilities = prediction.probabilities
    if set(probabilities) != set(IN_SCOPE) or not math.isclose(
        sum(probabilities.values()), 1.0, abs_tol=1e-3
    ):
        raise HistoryError(
            f"prediction: probabilities of {', '.join(IN_SCOPE)} that sum to 1 are needed, "
            f"not {value['probabilities']}"
        )
    if prediction.label not in probabilities or not probabilities.keys() >= set(
        prediction.prediction_set
    ):
        raise HistoryError(f"prediction: answers with {prediction.label}, not one of the three")
    if prediction.verdict not in VERDICTS:
        raise HistoryError(
            f"prediction: verdict {prediction.verdict!r} is not one of {', '.join(VERDICTS)}"
        )
    return prediction


def _prediction(value: Any) -> Prediction:
    scope, views = value["scope"], value["views"]
    if not isinstance(views, int) or isinstance(views, bool) or views < 1:
        raise HistoryError(f"prediction: views is {views!r}, a count from 1 is needed")
    quality = value["quality"]
    if not isinstance(value["file"], str):
        raise HistoryError(f"prediction: file is {value['file']!r}, a name is needed")
    return Prediction(
        file=value["file"],
        label=Label(value["label"]),
        probabilities={
            Label(name): _number(f"probability of {name}", p, 0.0, 1.0)
            for name, p in value["probabilities"].items()
        },
        scope=None if scope is None else _number("scope", scope, 0.0, 1.0 + 1e-9),
        prediction_set=tuple(Label(name) for name in value["prediction_set"]),
        verdict=value["verdict"],
        quality=Quality(
            findings=tuple(
                Finding(
                    name=check_text("finding", finding["name"]),
                    value=_number("finding", finding["value"]),
                    threshold=_number("finding", finding["threshold"]),
                    unit=check_text("finding", finding["unit"]),
                    advice=check_text("finding", finding["advice"]),
                )
                for finding in quality["findings"]
            ),
            measures=check_numbers("measures", quality["measures"]),
        ),
        policy=check_text("policy", value["policy"]),
        views=views,
        elapsed_ms=_number("elapsed_ms", value["elapsed_ms"]),
        stage_ms=check_numbers("stage_ms", value["stage_ms"]),
    )
