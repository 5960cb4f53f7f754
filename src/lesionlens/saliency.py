"""Where an answer came from: Grad-CAM in closed form, without gradients on the device.

Grad-CAM (Selvaraju and others 2017, https://arxiv.org/abs/1610.02391) weighs each channel of
the last feature map by the derivative of a class's logit by that channel, averaged over its
places. Here the features are the mean of the map, and dense layers make the logits of them:
the derivative is a product of their weights, less the hidden units that are off. That is
exact, takes microseconds, and works for any class or for the difference of two.

An answer is made of the mean logits of its views, and the derivative of a mean is the mean of
the derivatives: the map of each view is turned back to how the image lies, then averaged.

What such a map does not say stands in docs/explain.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lesionlens.errors import LesionLensError
from lesionlens.labels import Label
from lesionlens.records import Prediction
from lesionlens.runtime import Head, Outputs
from lesionlens.views import turn_back, view_plan
from lesionlens.zooms import ZOOMS

#: Side of a map. The network tells 7 x 7 places of a view apart, no more.
MAP_PX = 112


@dataclass(frozen=True)
class Explanation:
    """Where in an image the evidence for a class was, as far as Grad-CAM can tell."""

    map: np.ndarray  # float32, (MAP_PX, MAP_PX), 0..1 = its peak; 0 everywhere: nowhere
    label: Label  # the class asked about
    against: Label | None  # the class it was weighed against; None: taken by itself
    peak: float  # how much the strongest of the places adds to the logit, to first order
    prediction: Prediction  # the answer for the same image and views

    @property
    def is_empty(self) -> bool:
        """Whether nothing in the image spoke for the class."""
        return not self.peak > 0


def explain_outputs(
    outputs: Outputs,
    head: Head,
    labels: Sequence[Label],
    prediction: Prediction,
    *,
    label: Label | str | None = None,
    against: Label | str | None = None,
    zooms: Sequence[float] = ZOOMS,
) -> Explanation:
    """Explain an answer by what the network gave for its views.

    Args:
        outputs: of the image's views in the order of ``views.make_views``, with feature map.
        head: of the same model.
        labels: the K labels of the outputs, in order.
        prediction: the answer.
        label: the class to explain, any of ``labels``; None takes the answered one.
        against: show what spoke for ``label`` rather than for this class.
        zooms: as the views were made with.

    Raises:
        LesionLensError: the model knows no such class, or both are the same.
    """
    wanted = _known(prediction.label if label is None else label, labels)
    other = None if against is None else _known(against, labels)
    if wanted is other:
        raise LesionLensError(f"{wanted}: cannot be weighed against itself; name another class")
    direction = np.zeros(len(labels), np.float32)
    direction[list(labels).index(wanted)] = 1
    if other is not None:
        direction[list(labels).index(other)] = -1
    scaled, peak = rectify(merge_views(evidence_maps(outputs, head, direction), zooms))
    return Explanation(scaled, wanted, other, peak, prediction)


def feature_gradient(head: Head, features: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """Return the derivative of ``logits . direction`` by the pooled features.

    Args:
        head: of the model.
        features: (N, C).
        direction: (K,): 1 at a class for its logit; -1 at a second one for their difference.

    Returns:
        (N, C), float32.
    """
    values, is_on = features, []
    for weights, bias in zip(head.weights[:-1], head.biases[:-1], strict=True):
        values = np.maximum(_row_by_row(values, weights.T) + bias, 0)
        is_on.append(values > 0)
    gradient = np.tile(direction @ head.weights[-1], (len(features), 1))
    for weights, on in zip(reversed(head.weights[:-1]), reversed(is_on), strict=True):
        gradient = _row_by_row(gradient * on, weights)
    return np.asarray(gradient, np.float32)


def evidence_maps(outputs: Outputs, head: Head, direction: np.ndarray) -> np.ndarray:
    """Return Grad-CAM of each input, before what speaks against the class is cut off.

    Args:
        outputs: of N inputs, with feature map.
        head: of the same model.
        direction: as for ``feature_gradient``.

    Returns:
        (N, rows, columns), float32: what each place adds to the logit, to first order; they
        sum to ``gradient . features``.
    """
    if outputs.feature_map is None:
        raise ValueError("the outputs have no feature map; run the model with feature_map=True")
    gradient = feature_gradient(head, outputs.features, direction)
    n, rows, columns, channels = outputs.feature_map.shape
    places = outputs.feature_map.reshape(n, rows * columns, channels)
    maps = places @ gradient[:, :, np.newaxis] / (rows * columns)
    return np.asarray(maps, np.float32).reshape(n, rows, columns)


def merge_views(maps: np.ndarray, zooms: Sequence[float] = ZOOMS) -> np.ndarray:
    """Average the maps of an image's views, each turned back to how the image lies.

    The map of a view that was zoomed in is put where that view looked. A place is averaged over
    the views that saw it; towards its border, within one of its places, a zoomed view counts
    less and less, so that no edge is drawn that is not in the image.

    Args:
        maps: (V, side, side), in the order of ``views.make_views``, 1 <= V <= 10.
        zooms: as the views were made with.

    Returns:
        (MAP_PX, MAP_PX), float32, enlarged bilinearly; 0 where no view looked.
    """
    total = np.zeros((MAP_PX, MAP_PX), np.float32)
    weights = np.zeros_like(total)
    for view, (symmetry, zoom) in zip(maps, view_plan(len(maps), zooms), strict=True):
        sampling, weight = _placing(zoom, len(view))
        weight_here = weight[:, np.newaxis] * weight
        total += weight_here * (sampling @ turn_back(view, symmetry) @ sampling.T)
        weights += weight_here
    return np.divide(total, weights, out=np.zeros_like(total), where=weights > 0)


def rectify(merged: np.ndarray) -> tuple[np.ndarray, float]:
    """Cut off what speaks against the class, and scale the rest to 0..1.

    Returns:
        ``(map, peak)``: the map in 0..1, and what its 1 stands for; all 0 and a peak of 0
        where nothing speaks for the class.
    """
    peak = max(float(merged.max()), 0.0)
    if peak == 0:
        return np.zeros_like(merged, np.float32), 0.0
    return np.asarray(np.maximum(merged, 0) / peak, np.float32), peak


def _row_by_row(rows: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Return ``rows @ matrix``, as N small products.

    One large product wakes OpenBLAS's threads; on a busy machine that took 40 to 80 ms, this 0.05.
    """
    return (rows[:, np.newaxis] @ matrix)[:, 0]


def _placing(zoom: float, n_places: int) -> tuple[np.ndarray, np.ndarray]:
    """Return how a row of a view's places lies on a row of the map.

    Returns:
        ``(sampling, weight)``: (MAP_PX, n_places), what each pixel takes of each place,
        bilinearly; (MAP_PX,), how much the view counts there, 0 where it did not look.
    """
    centre = (np.arange(MAP_PX) + 0.5) / MAP_PX  # of each pixel, in shares of the image's side
    place = (centre - (1 - zoom) / 2) / zoom * n_places - 0.5  # in places of the view
    distance = np.abs(np.clip(place, 0, n_places - 1)[:, np.newaxis] - np.arange(n_places))
    sampling = np.maximum(1 - distance, 0).astype(np.float32)
    if zoom == 1:
        return sampling, np.ones(MAP_PX, np.float32)
    from_border = np.minimum(place, n_places - 1 - place) + 0.5
    return sampling, np.clip(from_border, 0, 1).astype(np.float32)


def _known(label: Label | str, labels: Sequence[Label]) -> Label:
    if label not in labels:
        raise LesionLensError(f"{label}: is no output of this model; it knows {', '.join(labels)}")
    return Label(label)
