"""Items judged: the function that every engine calls, so that all give the same rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING

from lesionlens.errors import ImageError
from lesionlens.imaging import Pixels, load_pixels
from lesionlens.labels import IN_SCOPE, Label
from lesionlens.screening.items import Failure, Item, Record, Row
from lesionlens.screening.reading import Reading, read_item

if TYPE_CHECKING:
    from lesionlens.classifier import Classifier
    from lesionlens.records import Prediction

#: Reads an item; raises ImageError with a reason.
Reader = Callable[[Item], Reading]


@dataclass(frozen=True)
class _Opened:
    """An item that was read and decoded."""

    item: Item
    pixels: Pixels
    sha256: str
    read_ms: float
    decode_ms: float


def judge_items(
    items: Sequence[Item],
    classifier: Classifier,
    *,
    read: Reader = read_item,
    tell: Callable[[], None] = lambda: None,
) -> list[Record]:
    """Read and judge a few items, each stage for all of them before the next.

    Args:
        items: the images; their pixels, 0.15 MB each, are in memory together.
        classifier: loaded once a worker, with ``threads=1``.
        read: what gets at an item's bytes.
        tell: called before each is read, and before they are judged.

    Returns:
        A record an item, in order: a Row; a Failure where the image cannot be read or is not
        accepted, or where something happens that should not: one bad item never ends a run.
    """
    records: list[Record | _Opened] = []
    for item in items:
        tell()
        records.append(_open(item, classifier, read))
    opened = [record for record in records if isinstance(record, _Opened)]
    tell()
    answers = iter(_judge(opened, classifier))
    return [next(answers) if isinstance(record, _Opened) else record for record in records]


def _open(item: Item, classifier: Classifier, read: Reader) -> _Opened | Failure:
    began = perf_counter()
    try:
        reading = read(item)
        decoded = perf_counter()
        pixels = load_pixels(reading.source, size_px=classifier.spec.input_px)
        read_ms, decode_ms = (decoded - began) * 1e3, (perf_counter() - decoded) * 1e3
        return _Opened(item, pixels, reading.sha256, read_ms, decode_ms)
    except Exception as error:
        return _as_failure(item, error)


def _judge(opened: Sequence[_Opened], classifier: Classifier) -> list[Record]:
    sha256 = classifier.spec.sha256
    try:
        answers = classifier.predict([one.pixels for one in opened])
        return [_as_row(one, answer, sha256) for one, answer in zip(opened, answers, strict=True)]
    except Exception as error:
        if len(opened) == 1:
            return [_as_failure(opened[0].item, error)]
        return [record for one in opened for record in _judge([one], classifier)]  # whose it is


def _as_row(opened: _Opened, answer: Prediction, model_sha256: str) -> Row:
    stages = answer.stage_ms
    probabilities = answer.probabilities
    cancer = probabilities[Label.BCC] + probabilities[Label.SCC]
    return Row(
        uri=opened.item.name,
        sha256=opened.sha256,
        verdict=answer.verdict,
        label=answer.label.value,
        **{f"probability_{label.value}": float(probabilities[label]) for label in IN_SCOPE},
        scope=None if answer.scope is None else float(answer.scope),
        risk=float(cancer if answer.scope is None else answer.scope * cancer),
        prediction_set="|".join(answer.prediction_set),
        quality="|".join(finding.name for finding in answer.quality.findings),
        width_px=opened.pixels.width_px,
        height_px=opened.pixels.height_px,
        policy=answer.policy,
        views=answer.views,
        read_ms=opened.read_ms,
        decode_ms=opened.decode_ms,
        model_ms=stages["views"] + stages["model"],
        judge_ms=stages["judge"],
        elapsed_ms=opened.read_ms + opened.decode_ms + answer.elapsed_ms,
        model_sha256=model_sha256,
        extra=opened.item.extra,
    )


def _as_failure(item: Item, error: Exception) -> Failure:
    if isinstance(error, MemoryError) or isinstance(error.__cause__, MemoryError):
        words = "needs more memory than a worker may take; scale it down, or screen it by predict"
        return Failure(item.name, "out_of_memory", f"{item.name}: {words}", item.extra)
    if not isinstance(error, ImageError):
        words = f"{type(error).__name__}: {error}; this is a fault of lesionlens, please report it"
        return Failure(item.name, "unexpected", _text(f"{item.name}: {words}"), item.extra)
    # Bytes and arrays have no name of their own: imaging calls them "-".
    words = str(error)
    words = f"{item.name}{words[1:]}" if words.startswith("-: ") else words
    return Failure(item.name, error.reason, _text(words), item.extra)


def _text(words: str) -> str:
    """Return words that may quote a name as valid text."""
    return words.encode("utf-8", "backslashreplace").decode("utf-8")
