"""What a model, and the quality gate, say about decoded images that were held out."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from lesionlens.data.prepare import Cache
from lesionlens.imaging import Pixels
from lesionlens.quality import assess
from lesionlens.runtime import Model, usable_cores
from lesionlens.train.config import TrainConfig
from lesionlens.train.inputs import release_pages
from lesionlens.views import make_views

#: Numbers of views that temperatures, scores and thresholds are fitted for, beside the preset's.
FITTED_VIEWS = (1, 5)
_RELEASED_AFTER = 1000  # images read, 150 MB


def view_logits(
    model: Model, images: np.ndarray, rows: np.ndarray, config: TrainConfig
) -> dict[int, np.ndarray]:
    """Return, by number of views, the mean of their logits, (N, K).

    For ``FITTED_VIEWS`` and ``config.views``, as far as the latter goes.
    """

    def of_row(row: int) -> np.ndarray:
        return model.run(make_views(images[row], config.views, config.zooms)).logits

    logits: list[np.ndarray] = []
    with ThreadPoolExecutor(usable_cores()) as pool:
        for start in range(0, len(rows), _RELEASED_AFTER):
            logits += pool.map(of_row, rows[start : start + _RELEASED_AFTER])
            release_pages(images)
    stacked = np.stack(logits)
    numbers = sorted({n for n in (*FITTED_VIEWS, config.views) if n <= config.views})
    return {n: stacked[:, :n].mean(axis=1) for n in numbers}


def photos_are_good(cache: Cache, rows: np.ndarray) -> np.ndarray:
    """Return whether each image of ``rows`` passes the quality gate, (N,) bool."""

    def of_row(row: int) -> bool:
        width, height = (int(side) for side in cache.sizes_px[row])
        return assess(Pixels(np.array(cache.images[row]), width, height)).is_good

    with ThreadPoolExecutor(usable_cores()) as pool:
        return np.fromiter(pool.map(of_row, rows), bool, len(rows))
