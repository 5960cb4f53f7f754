"""The classifier: an image in, an honest answer out.

>>> from lesionlens import Classifier
>>> classifier = Classifier()  # loads once; use it for many images, from many threads
>>> answer = classifier.predict("lesion.jpg")  # doctest: +SKIP
>>> answer.label, round(answer.probability, 2), answer.verdict  # doctest: +SKIP
(<Label.BCC: 'BCC'>, 0.97, 'confident')
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from time import perf_counter
from typing import TYPE_CHECKING, overload

import numpy as np

from lesionlens.bundle import Bundle, ModelSpec, load_bundle
from lesionlens.confidence import combine, judge, split_scope
from lesionlens.conformal import check_coverage
from lesionlens.errors import BundleError, ImageError
from lesionlens.imaging import ImageSource, Pixels, load_pixels, name_of
from lesionlens.labels import IN_SCOPE, Label
from lesionlens.quality import assess
from lesionlens.records import Prediction
from lesionlens.runtime import Model
from lesionlens.verdicts import DEFAULT_POLICY, POOR_IMAGE
from lesionlens.views import check_views, make_views

if TYPE_CHECKING:
    from lesionlens.saliency import Explanation

#: So many images of a list go through a stage before the next begins, whose code and data then
#: stay in the processor's caches: 3 to 4 % less time at 1024 x 768, 0 to 2 % at 12
#: megapixels (benchmarks/predict.py).
TOGETHER = 8


class Classifier:
    """Answers BCC, SCC or Normal for dermoscopic images, with calibrated probabilities.

    Safe to share between threads. Decision support for research and education; not a
    diagnosis.

    Args:
        bundle: a loaded bundle, or the folder of one; None takes ``$LESIONLENS_MODEL`` where
            it is set, else the shipped model.
        views: views to average per image, 1..10; None takes the bundle's own number.
        threads: threads that one image may use; None takes the usable cores, at most 4.
        policy: how cautiously answers are judged, ``"balanced"`` or ``"sensitive"``
            (docs/verdicts.md).
        coverage: of the prediction sets, of each class, 0..1; None takes the policy's.
        gate: whether a poor photo is told so instead of being judged by what the model says; its
            quality is reported either way.

    Raises:
        BundleError: the bundle is missing, damaged, or does not fit this code.
        LesionLensError: ``views``, ``threads``, ``policy`` or ``coverage`` is not one that can
            be had, or no runtime is installed.
    """

    def __init__(
        self,
        bundle: Bundle | str | os.PathLike[str] | None = None,
        *,
        views: int | None = None,
        threads: int | None = None,
        policy: str = DEFAULT_POLICY,
        coverage: float | None = None,
        gate: bool = True,
    ) -> None:
        self._bundle = bundle if isinstance(bundle, Bundle) else load_bundle(bundle)
        self._views = check_views(self.spec.views if views is None else views)
        self._policy_name, self._policy = policy, self.spec.policy(policy)
        self._coverage = check_coverage(self._policy.coverage if coverage is None else coverage)
        self._gate = gate
        name = os.fspath(self._bundle.directory)
        self._model = Model(self._bundle.tflite, num_threads=threads, name=name)
        side = self.spec.input_px
        if self._model.input_shape != (side, side, 3):
            raise BundleError(
                f"{name}: the model takes {self._model.input_shape}, its model.json says "
                f"{(side, side, 3)}; export it again"
            )
        if self._model.n_outputs != len(self.spec.labels):
            raise BundleError(
                f"{name}: the model gives {self._model.n_outputs} logits, its model.json names "
                f"{len(self.spec.labels)} labels; export it again"
            )

    @property
    def spec(self) -> ModelSpec:
        """What the bundle says about its model."""
        return self._bundle.spec

    @property
    def views(self) -> int:
        """Views averaged per image unless a call says otherwise."""
        return self._views

    @overload
    def predict(  # type: ignore[overload-overlap]  # a str is also a sequence of str
        self, image: ImageSource | Pixels, *, views: int | None = None
    ) -> Prediction: ...
    @overload
    def predict(
        self, image: Sequence[ImageSource | Pixels], *, views: int | None = None
    ) -> list[Prediction]: ...
    def predict(
        self,
        image: ImageSource | Pixels | Sequence[ImageSource | Pixels],
        *,
        views: int | None = None,
    ) -> Prediction | list[Prediction]:
        """Answer for an image, or for each image of a list or tuple.

        Args:
            image: path, encoded bytes, binary file object, PIL image or array of pixels (see
                ``imaging.load_pixels``), or the ``Pixels`` that it made of one; or a list or
                tuple of those.
            views: views to average, 1..10; None takes the classifier's own number.

        Returns:
            A Prediction for one image, a list of them in order for a list or tuple.

        Raises:
            ImageError: an image that cannot be read or is not accepted; names it.
        """
        if isinstance(image, list | tuple):
            return [
                answer
                for start in range(0, len(image), TOGETHER)
                for answer in self._predict_together(image[start : start + TOGETHER], views)
            ]
        return self._predict_together([image], views)[0]  # type: ignore[list-item]

    def logits(self, image: ImageSource | Pixels, *, views: int | None = None) -> np.ndarray:
        """Return the network's logits for each view of an image.

        For evaluation and calibration; ``confidence.combine`` makes probabilities of them.

        Args:
            image: as for ``predict``, one image.
            views: 1..10; None takes the classifier's own number.

        Returns:
            (views, K), float32, columns in the order of ``spec.labels``.

        Raises:
            ImageError: the image cannot be read or is not accepted.
        """
        return self._model.run(self._make_views(self._load(image), views)).logits

    def joint(self, image: ImageSource | Pixels, *, views: int | None = None) -> np.ndarray:
        """Return the calibrated joint probabilities of one image over all outputs.

        Args:
            image: as for ``predict``, one image.
            views: 1..10; None takes the classifier's own number.

        Returns:
            (K,), float64, summing to 1, in the order of ``spec.labels``.

        Raises:
            ImageError: the image cannot be read or is not accepted.
        """
        logits = self.logits(image, views=views)
        return combine(logits, self.spec.temperature_for(len(logits)))

    def explain(
        self,
        image: ImageSource | Pixels,
        *,
        label: Label | str | None = None,
        against: Label | str | None = None,
        views: int | None = None,
    ) -> Explanation:
        """Answer for an image, and show where in it the evidence for a class was.

        Grad-CAM, averaged over the views that the answer is averaged over, each turned back
        (lesionlens.saliency). ``render.draw_explanation`` makes a picture of it.

        Args:
            image: as for ``predict``, one image.
            label: the class to explain, any of ``spec.labels``; None takes the answered one.
            against: show what spoke for ``label`` rather than for this class.
            views: views to average, 1..10; None takes the classifier's own number.

        Raises:
            ImageError: the image cannot be read or is not accepted.
            BundleError: the model has no head that can be explained (``runtime.Model.head``).
            LesionLensError: the model knows no such class, or both are the same.
        """
        from lesionlens.saliency import explain_outputs

        head = self._model.head()
        clock = _Clock()
        pixels = self._load(image)
        clock.note("decode")
        batch = self._make_views(pixels, views)
        clock.note("views")
        outputs = self._model.run(batch, feature_map=True)
        clock.note("model")
        prediction = self._answer(name_of(image), pixels, outputs.logits, clock)
        spec = self.spec
        return explain_outputs(
            outputs, head, spec.labels, prediction, label=label, against=against, zooms=spec.zooms
        )

    def check_explains(self) -> None:
        """Raise BundleError, saying why, if answers of this model cannot be explained."""
        self._model.head()

    def _predict_together(
        self, images: Sequence[ImageSource | Pixels], views: int | None
    ) -> list[Prediction]:
        opened = []
        for image in images:
            clock = _Clock()
            pixels = self._load(image)
            clock.note("decode")
            opened.append((name_of(image), pixels, clock))
        logits = []
        for _, pixels, clock in opened:
            clock.go_on()
            batch = self._make_views(pixels, views)
            clock.note("views")
            logits.append(self._model.run(batch).logits)
            clock.note("model")
        answers = []
        for (name, pixels, clock), of_views in zip(opened, logits, strict=True):
            clock.go_on()
            answers.append(self._answer(name, pixels, of_views, clock))
        return answers

    def _load(self, image: ImageSource | Pixels) -> Pixels:
        if isinstance(image, Pixels):
            side = self.spec.input_px
            if image.rgb.shape != (side, side, 3) or image.rgb.dtype != np.uint8:
                raise ImageError(
                    f"pixels of shape {image.rgb.shape}, {image.rgb.dtype}, are not what the model "
                    f"takes, {(side, side, 3)} uint8; make them with imaging.load_pixels"
                )
            return image
        _check_source(image)
        return load_pixels(image, size_px=self.spec.input_px)

    def _make_views(self, pixels: Pixels, views: int | None) -> np.ndarray:
        return make_views(pixels.rgb, self._views if views is None else views, self.spec.zooms)

    def _answer(self, name: str, pixels: Pixels, logits: np.ndarray, clock: _Clock) -> Prediction:
        spec, n_views = self.spec, len(logits)
        joint = combine(logits, spec.temperature_for(n_views))
        probabilities, scope = split_scope(joint, spec.labels)
        in_scope = joint[[spec.labels.index(label) for label in IN_SCOPE]]
        conformal = spec.conformal_for(n_views)
        members = conformal.sets(in_scope, self._coverage)
        wider = conformal.sets(in_scope, self._policy.scope_coverage)
        confident_at = self._policy.confident_at_for(n_views)
        quality = assess(pixels)
        verdict = judge(joint[None], spec.labels, members[None], wider[None], confident_at)[0]
        clock.note("judge")
        return Prediction(
            file=name,
            label=max(probabilities, key=probabilities.__getitem__),
            probabilities=probabilities,
            scope=scope,
            prediction_set=tuple(
                label for label, member in zip(IN_SCOPE, members, strict=True) if member
            ),
            verdict=verdict if quality.is_good or not self._gate else POOR_IMAGE,
            quality=quality,
            policy=self._policy_name,
            views=n_views,
            elapsed_ms=sum(clock.stage_ms.values()),
            stage_ms=clock.stage_ms,
        )


class _Clock:
    """Says how long each stage of an answer took."""

    def __init__(self) -> None:
        self.stage_ms: dict[str, float] = {}
        self.go_on()

    def go_on(self) -> None:
        """Leave out what passed since the last note."""
        self._since = perf_counter()

    def note(self, stage: str) -> None:
        """Take what passed since the last note, or the start, for ``stage``; milliseconds."""
        now = perf_counter()
        self.stage_ms[stage] = (now - self._since) * 1e3
        self._since = now


def _check_source(image: object) -> None:
    """Raise ImageError for what ``load_pixels`` has no branch for, such as None or a generator."""
    kinds = (str, os.PathLike, bytes, bytearray, memoryview, np.ndarray)
    if isinstance(image, kinds) or hasattr(image, "read") or hasattr(image, "getexif"):
        return
    raise ImageError(
        f"{type(image).__name__} is not an image; a path, bytes, a binary file object, a PIL "
        "image or an array is accepted, or a list or tuple of those"
    )
