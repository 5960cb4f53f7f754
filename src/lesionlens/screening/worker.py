"""One item judged: the function that every engine calls, so that all give the same rows."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import TYPE_CHECKING

from lesionlens.errors import ImageError
from lesionlens.imaging import load_pixels
from lesionlens.labels import IN_SCOPE, Label
from lesionlens.screening.items import Failure, Item, Record, Row
from lesionlens.screening.reading import Reading, read_item

if TYPE_CHECKING:
    from lesionlens.classifier import Classifier

#: Reads an item; raises ImageError with a reason.
Reader = Callable[[Item], Reading]


def judge_item(item: Item, classifier: Classifier, *, read: Reader = read_item) -> Record:
    """Read and judge one item.

    Args:
        item: the image.
        classifier: loaded once a worker, with ``threads=1``.
        read: what gets at its bytes.

    Returns:
        A Row; a Failure where the image cannot be read or is not accepted, or where something
        happens that should not: one bad item never ends a run.
    """
    began = perf_counter()
    try:
        reading = read(item)
        read_ms = (perf_counter() - began) * 1e3
        decoded = perf_counter()
        pixels = load_pixels(reading.source, size_px=classifier.spec.input_px)
        decode_ms = (perf_counter() - decoded) * 1e3
        answer = classifier.predict(pixels)
    except (ImageError, MemoryError) as error:
        return _as_failure(item, error)
    except Exception as error:
        words = f"{type(error).__name__}: {error}; this is a fault of lesionlens, please report it"
        return Failure(item.name, "unexpected", _text(f"{item.name}: {words}"), item.extra)
    stages = answer.stage_ms
    probabilities = answer.probabilities
    cancer = probabilities[Label.BCC] + probabilities[Label.SCC]
    return Row(
        uri=item.name,
        sha256=reading.sha256,
        verdict=answer.verdict,
        label=answer.label.value,
        **{f"probability_{label.value}": float(probabilities[label]) for label in IN_SCOPE},
        scope=None if answer.scope is None else float(answer.scope),
        risk=float(cancer if answer.scope is None else answer.scope * cancer),
        prediction_set="|".join(answer.prediction_set),
        quality="|".join(finding.name for finding in answer.quality.findings),
        width_px=pixels.width_px,
        height_px=pixels.height_px,
        policy=answer.policy,
        views=answer.views,
        read_ms=read_ms,
        decode_ms=decode_ms,
        model_ms=stages["views"] + stages["model"],
        judge_ms=stages["judge"],
        elapsed_ms=(perf_counter() - began) * 1e3,
        model_sha256=classifier.spec.sha256,
        extra=item.extra,
    )


def _as_failure(item: Item, error: ImageError | MemoryError) -> Failure:
    if isinstance(error, MemoryError) or isinstance(error.__cause__, MemoryError):
        words = "needs more memory than a worker may take; scale it down, or screen it by predict"
        return Failure(item.name, "out_of_memory", f"{item.name}: {words}", item.extra)
    # Bytes and arrays have no name of their own: imaging calls them "-".
    words = str(error)
    words = f"{item.name}{words[1:]}" if words.startswith("-: ") else words
    return Failure(item.name, error.reason, _text(words), item.extra)


def _text(words: str) -> str:
    """Return words that may quote a name as valid text."""
    return words.encode("utf-8", "backslashreplace").decode("utf-8")
