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

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from lesionlens.errors import LesionLensError
from lesionlens.labels import Label
from lesionlens.records import Prediction
from lesionlens.runtime import Head, Outputs
from lesionlens.views import ZOOMS, check_views

#: Side of a map. The network tells 7 x 7 places apart; on this grid both zooms end on whole
#: pixels.
MAP_PX = 112
# LEAD, to engineer C: views.py has changed. Use view_plan(n, zooms) -> [(symmetry, zoom)] and
# turn_back(square, symmetry) from it (zooms = spec.zooms of the bundle); 5 zooms, 1.0 .. 0.5, are
# taken in turn. Zoomed views cover the centre only: average each place over the views that see it.
#: Undo the first eight views of ``views.make_views``, in their order.
_TURNS_BACK: tuple[Callable[[np.ndarray], np.ndarray], ...] = (
    lambda view: view,
    lambda view: view[:, ::-1],
    lambda view: view[::-1],
    lambda view: view[::-1, ::-1],
    lambda view: view.T,
    lambda view: view[:, ::-1].T,
    lambda view: view[::-1].T,
    lambda view: view[::-1, ::-1].T,
)


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
) -> Explanation:
    """Explain an answer by what the network gave for its views.

    Args:
        outputs: of the image's views in the order of ``views.make_views``, with feature map.
        head: of the same model.
        labels: the K labels of the outputs, in order.
        prediction: the answer.
        label: the class to explain, any of ``labels``; None takes the answered one.
        against: show what spoke for ``label`` rather than for this class.

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
    scaled, peak = rectify(merge_views(evidence_maps(outputs, head, direction)))
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
        values = np.maximum(values @ weights.T + bias, 0)
        is_on.append(values > 0)
    gradient = np.tile(direction @ head.weights[-1], (len(features), 1))
    for weights, on in zip(reversed(head.weights[:-1]), reversed(is_on), strict=True):
        gradient = (gradient * on) @ weights
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


def merge_views(maps: np.ndarray) -> np.ndarray:
    """Average the maps of an image's views, each turned back to how the image lies.

    The maps of the two zooms are put where the zooms looked; a place is averaged over the
    views that saw it.

    Args:
        maps: (V, side, side), in the order of ``views.make_views``, 1 <= V <= 10.

    Returns:
        (MAP_PX, MAP_PX), float32, enlarged bilinearly.
    """
    check_views(len(maps))
    upright = [back(view) for back, view in zip(_TURNS_BACK, maps, strict=False)]
    total = _enlarged(np.mean(upright, axis=0), MAP_PX) * len(upright)
    n_seen = np.full((MAP_PX, MAP_PX), len(upright), np.float32)
    for share, view in zip(ZOOMS, maps[len(_TURNS_BACK) :], strict=False):
        margin = round(MAP_PX * (1 - share) / 2)
        inside = (slice(margin, MAP_PX - margin),) * 2
        total[inside] += _enlarged(view, MAP_PX - 2 * margin)
        n_seen[inside] += 1
    return np.asarray(total / n_seen, np.float32)


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


def _enlarged(values: np.ndarray, side: int) -> np.ndarray:
    image = Image.fromarray(np.ascontiguousarray(values, np.float32))
    return np.array(image.resize((side, side), Image.Resampling.BILINEAR), np.float32)


def _known(label: Label | str, labels: Sequence[Label]) -> Label:
    if label not in labels:
        raise LesionLensError(f"{label}: is no output of this model; it knows {', '.join(labels)}")
    return Label(label)
