"""What a bulk run would take, from a few of its images: for ``--dry-run``."""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np

from lesionlens.screening.items import Failure, Item, as_table
from lesionlens.screening.progress import Pause
from lesionlens.screening.worker import judge_items

if TYPE_CHECKING:
    from lesionlens.classifier import Classifier

#: Images that are judged for an estimate.
SAMPLE = 32
#: What is written twice: in chunks, and in results.
_COPIES = 2


@dataclass(frozen=True)
class Estimate:
    """What a run would take."""

    n: int  # images to judge
    n_sample: int  # of them judged for this
    n_failed: int  # of those without an answer
    image_ms: float  # of one core, mean over the sample
    seconds: float  # altogether
    output_bytes: int


def estimate(
    items: Iterable[Item | Pause],
    classifier: Classifier,
    *,
    workers: int,
    limit: int | None = None,
) -> Estimate:
    """Go through all items, judge a few drawn at random, and say what all would take.

    Args:
        items: those to judge.
        classifier: loaded as a worker would, with ``threads=1``.
        workers: that are to run side by side, a core each.
        limit: images to judge, at most.
    """
    import pyarrow.parquet as pq

    rng = np.random.default_rng(0)
    sample: list[Item] = []
    n = 0
    for item in islice((item for item in items if isinstance(item, Item)), limit):
        n += 1
        if len(sample) < SAMPLE:
            sample.append(item)
        elif (place := int(rng.integers(n))) < SAMPLE:
            sample[place] = item
    # What is done once, loading decoders, is not the price of an image.
    judge_items(sample[:1], classifier)
    began = perf_counter()
    records = judge_items(sample, classifier)
    image_ms = (perf_counter() - began) * 1e3 / max(1, len(sample))
    file = io.BytesIO()
    pq.write_table(as_table(records, 0), file, compression="zstd")
    size = file.tell() / len(sample) if sample else 0
    return Estimate(
        n=n,
        n_sample=len(sample),
        n_failed=sum(isinstance(record, Failure) for record in records),
        image_ms=image_ms,
        seconds=n * image_ms / 1e3 / workers,
        output_bytes=round(_COPIES * size * n),
    )
