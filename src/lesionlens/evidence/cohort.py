"""Who is asked: the images of an audit, each with a model that never saw it.

In a cross-validated run that is the model of the fold which the image was held out of; in a
hold-out run the run's own, on the test part; for a bundle it is the bundle's, on an archive that
it was not trained on. Models answer through ``runtime.Model``: no TensorFlow.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias, TypeVar

import numpy as np

from lesionlens.bundle import MODEL_FILE, SPEC_FILE, load_bundle
from lesionlens.data.groups import group_frames
from lesionlens.data.manifest import archive_hash
from lesionlens.data.prepare import Cache
from lesionlens.data.splits import Splits, check_splits
from lesionlens.errors import DataError, ImageError, LeakageError
from lesionlens.evidence.judges import (
    Judge,
    judge_of_bundle,
    judge_of_holdout,
    judges_of_folds,
)
from lesionlens.files import read_csv, read_json
from lesionlens.imaging import load_pixels
from lesionlens.labels import IN_SCOPE, Label
from lesionlens.parallel import map_ahead
from lesionlens.prediction_table import PredictionTable
from lesionlens.records import Frame
from lesionlens.runtime import Model, usable_cores
from lesionlens.verdicts import DEFAULT_POLICY
from lesionlens.views import check_views, make_views
from lesionlens.zooms import ZOOMS

#: Changes the pixels of an image: (rgb uint8 (side, side, 3), row of the cohort) -> the same shape.
Change = Callable[[np.ndarray, int], np.ndarray]
#: Called as images are done, for a progress bar.
Advance = Callable[[int], None]
#: Numbers of cases.
Rows: TypeAlias = Sequence[int] | np.ndarray
Result = TypeVar("Result")

_CONFIG, _TEST_TABLE = "config.json", "predictions-test.csv"
_AHEAD = 32  # images begun before the first of them is asked for


@dataclass(frozen=True, eq=False)
class Examinee:
    """A model, and how its logits become an answer."""

    model: Model
    judge: Judge
    sha256: str  # of the model's file


@dataclass(frozen=True)
class Case:
    """An image, and which model is asked about it."""

    frame: Frame
    group: str  # lesion or patient; what a bootstrap draws whole
    examinee: int  # index into the cohort's examinees


@dataclass(frozen=True, eq=False)
class Cohort:
    """The images of an audit and who answers for them."""

    title: str
    cases: tuple[Case, ...]  # N
    examinees: tuple[Examinee, ...]
    labels: tuple[Label, ...]  # K outputs of every model
    views: int  # how many views an answer averages unless told
    zooms: tuple[float, ...] = ZOOMS  # of the views, in turn
    policy: str = DEFAULT_POLICY  # how cautiously answers are judged
    cache: Cache | None = field(repr=False, default=None)
    remarks: tuple[str, ...] = ()  # what a reader must know of how they were chosen

    def __len__(self) -> int:
        return len(self.cases)

    @property
    def is_in_scope(self) -> np.ndarray:
        """(N,) bool: the truth is BCC, SCC or Normal."""
        return np.array([case.frame.label in IN_SCOPE for case in self.cases], dtype=bool)

    @property
    def is_other_lesion(self) -> np.ndarray:
        """(N,) bool: the truth is a lesion that is none of the three."""
        known = (*IN_SCOPE, Label.NOT_SKIN)
        return np.array([case.frame.label not in known for case in self.cases], dtype=bool)

    @property
    def can_decline(self) -> bool:
        """Whether the models can say "none of the three"."""
        return any(label not in IN_SCOPE for label in self.labels)

    def rows(self, *labels: Label) -> np.ndarray:
        """Return the rows whose truth is one of ``labels``, (n,) int."""
        return np.flatnonzero([case.frame.label in labels for case in self.cases])

    def pixels(self, row: int) -> np.ndarray:
        """Return an image as the model sees it, (side, side, 3) uint8, a copy of its own."""
        frame = self.cases[row].frame
        if self.cache is not None and frame.image_id in self.cache.row_of:
            return np.array(self.cache.images[self.cache.row_of[frame.image_id]])
        return load_pixels(frame.path).rgb

    def size_px(self, row: int) -> tuple[int, int]:
        """Return width and height of an image's file, upright."""
        frame = self.cases[row].frame
        if self.cache is not None and frame.image_id in self.cache.row_of:
            width, height = self.cache.sizes_px[self.cache.row_of[frame.image_id]]
            return int(width), int(height)
        pixels = load_pixels(frame.path)
        return pixels.width_px, pixels.height_px

    def map(
        self,
        function: Callable[[int, np.ndarray], Result],
        rows: Iterable[int],
        advance: Advance | None = None,
    ) -> list[Result]:
        """Return ``function(row, pixels)`` of each row, in order; runs in a thread per core."""

        def of_row(row: int) -> Result:
            return function(row, self.pixels(row))

        done = []
        numbers = [int(row) for row in rows]
        for _, result in map_ahead(of_row, numbers, workers=usable_cores(), ahead=_AHEAD):
            done.append(result)
            if advance is not None:
                advance(1)
        return done

    def ask(
        self, changes: Sequence[Change], rows: Rows, advance: Advance | None = None
    ) -> np.ndarray:
        """Return the logits of each image under each change, one view each.

        Args:
            changes: what is done to the pixels; a list of C.
            rows: which images; n.
            advance: called with 1 after each image.

        Returns:
            (C, n, K) float32.
        """

        def of_image(row: int, rgb: np.ndarray) -> np.ndarray:
            shown = np.stack([change(rgb, row) for change in changes])
            return self.examinees[self.cases[row].examinee].model.run(shown).logits

        logits = self.map(of_image, rows, advance)
        empty = np.empty((len(changes), 0, len(self.labels)), np.float32)
        return np.stack(logits, axis=1) if logits else empty

    def ask_views(self, views: int, rows: Rows, advance: Advance | None = None) -> np.ndarray:
        """Return the logits of each of the first ``views`` views of each image, (n, views, K)."""

        def of_image(row: int, rgb: np.ndarray) -> np.ndarray:
            model = self.examinees[self.cases[row].examinee].model
            return model.run(make_views(rgb, views, self.zooms)).logits

        logits = self.map(of_image, rows, advance)
        return np.stack(logits) if logits else np.empty((0, views, len(self.labels)), np.float32)

    def table(self, logits: np.ndarray, rows: Rows, *, views: int) -> PredictionTable:
        """Return answers as a prediction table, verdicts with it.

        Args:
            logits: (n, K), averaged over ``views`` views.
            rows: the n images they are of; at least one.
            views: decides on the temperature.
        """
        joint = np.empty(logits.shape, dtype=np.float64)
        sets = np.empty((len(rows), len(IN_SCOPE)), dtype=bool)
        verdicts = np.empty(len(rows), dtype=object)
        asked = np.array([self.cases[row].examinee for row in rows])
        for number, examinee in enumerate(self.examinees):
            mine = asked == number
            if mine.any():
                judged = examinee.judge.judge(logits[mine], views)
                joint[mine], sets[mine], verdicts[mine] = judged.joint, judged.sets, judged.verdicts
        cases = [self.cases[row] for row in rows]
        return PredictionTable(
            image_ids=tuple(case.frame.image_id for case in cases),
            groups=tuple(case.group for case in cases),
            sources=tuple(case.frame.source for case in cases),
            y_true=tuple(case.frame.label for case in cases),
            labels=self.labels,
            joint=joint,
            verdicts=tuple(verdicts),
            sets=sets,
        )

    def fingerprint(self) -> str:
        """Return a hash over the images asked about, in order, and the models asked."""
        digest = hashlib.sha256()
        for examinee in self.examinees:
            digest.update(examinee.sha256.encode())
        for case in self.cases:
            pixels = ""
            if self.cache is not None and case.frame.image_id in self.cache.row_of:
                pixels = self.cache.sha256s[self.cache.row_of[case.frame.image_id]]
            words = (case.frame.image_id, case.frame.label, case.group, case.examinee, pixels)
            digest.update(repr(words).encode())
        return digest.hexdigest()


def load_run_cohort(
    run: Path,
    frames: Sequence[Frame],
    cache: Cache | None,
    splits: Splits,
    *,
    n_others: int,
    seed: int,
    policy: str = DEFAULT_POLICY,
) -> Cohort:
    """Take the images that a run held out, each with the model it was held out from.

    Args:
        run: folder of a finished cross-validated or hold-out run.
        frames: the archive that it was trained on.
        cache: where the pixels are; None decodes the files. An image that the cache lacks is
            decoded, too.
        splits: what it was trained with.
        n_others: how many images of other lesions, and of things that are not skin, are drawn
            (as many of each at most); all of BCC, SCC and Normal are taken.
        seed: of that draw.
        policy: how cautiously answers are judged, one of ``verdicts.POLICIES``.

    Raises:
        DataError: not a run, not finished, or it does not go with the splits.
        LeakageError: a model was tested on other images than the splits hold out from it.
    """
    run = Path(run)
    check_splits(splits, list(frames))
    held_out = _held_out(run, splits)
    by_id = {frame.image_id: frame for frame in frames}
    # Photos added to an archive since it was split have been seen by no model of the run.
    known = splits.part_of()
    late = [f for f in frames if f.label is Label.NOT_SKIN and f.image_id not in known]
    labels: tuple[Label, ...] = ()
    views, zooms = 1, ZOOMS
    cases = []
    for number, (folder, image_ids) in enumerate(held_out):
        config = read_json(folder / _CONFIG)
        found = _labels_of(folder / _CONFIG, config)
        if labels and found != labels:
            raise DataError(f"{folder / _CONFIG}: its outputs are not those of the other folds")
        labels, views = found, check_views(config.get("views", 1))
        zooms = tuple(config.get("zooms", ZOOMS))
        _check_same_images(folder, image_ids)
        cases += [Case(by_id[image_id], splits.groups[image_id], number) for image_id in image_ids]
    folders = [folder for folder, _ in held_out]
    judges = (
        [judge_of_holdout(run, labels, policy)]
        if splits.kind == "holdout"
        else judges_of_folds(folders, by_id, labels, policy)
    )
    examinees = [_examinee(f, labels, judge) for f, judge in zip(folders, judges, strict=True)]
    cases += [
        Case(frame, f"image:{frame.image_id}", number % len(examinees))
        for number, frame in enumerate(late)
    ]
    chosen, remarks = _choose(cases, n_others, seed)
    readable, lost = _readable(chosen, cache)
    return Cohort(
        title=run.resolve().name,
        cases=tuple(readable),
        examinees=tuple(examinees),
        labels=labels,
        views=views,
        zooms=zooms,
        policy=policy,
        cache=cache,
        remarks=remarks + lost,
    )


def load_bundle_cohort(
    directory: Path | None,
    frames: Sequence[Frame],
    cache: Cache | None = None,
    *,
    groups: Mapping[str, str] | None = None,
    n_others: int,
    seed: int,
    policy: str = DEFAULT_POLICY,
) -> Cohort:
    """Take the images of an archive that a bundle's model has not seen.

    Args:
        directory: the bundle; None takes the default one.
        frames: the archive.
        cache: where the pixels are; None decodes the files.
        groups: group of each image; None tells them by lesion, patient and parent.
        n_others: as for ``load_run_cohort``.
        seed: of that draw.
        policy: how cautiously answers are judged.

    Raises:
        BundleError: the bundle is damaged.
        LeakageError: the bundle says that it was trained on this very archive.
    """
    bundle = load_bundle(directory)
    trained_on = bundle.spec.training.get("archive_sha256")
    if trained_on and trained_on == archive_hash(frames):
        raise LeakageError(
            f"{bundle.directory}: was trained on this very archive, so that nothing could be "
            "learned from asking it about it; audit the run it came from "
            "(lesionlens audit-model RUN ARCHIVE), or give another archive"
        )
    groups = group_frames(frames) if groups is None else groups
    judge = judge_of_bundle(bundle.spec, policy)
    model = Model(bundle.tflite, num_threads=1, name=str(bundle.directory))
    cases = [Case(frame, groups.get(frame.image_id, frame.image_id), 0) for frame in frames]
    chosen, remarks = _choose(cases, n_others, seed)
    readable, lost = _readable(chosen, cache)
    return Cohort(
        title=bundle.spec.name,
        cases=tuple(readable),
        examinees=(Examinee(model, judge, bundle.spec.sha256),),
        labels=bundle.spec.labels,
        views=bundle.spec.views,
        zooms=bundle.spec.zooms,
        policy=policy,
        cache=cache,
        remarks=remarks + lost,
    )


def _held_out(run: Path, splits: Splits) -> list[tuple[Path, tuple[str, ...]]]:
    """Return the folder of each model of a run, and the images held out from it."""
    if not run.is_dir():
        raise DataError(f"{run}: no such folder; the folder of a run is needed")
    if (run / SPEC_FILE).is_file():
        raise DataError(f"{run}: is a bundle, not a run; give it as --model {run}")
    names = sorted(splits.parts)
    if splits.kind == "holdout":
        if (run / "fold0").is_dir():
            raise DataError(f"{run}: is a cross-validated run, the splits are of a hold-out one")
        return [(run, splits.parts["test"])]
    if not any((run / name).is_dir() for name in names):
        raise DataError(f"{run}: has no {names[0]}: it is not a run of these splits")
    return [(run / name, splits.parts[name]) for name in names]


def _labels_of(path: Path, config: Mapping[str, object]) -> tuple[Label, ...]:
    try:
        labels = tuple(Label(label) for label in config["labels"])  # type: ignore[attr-defined]
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path}: names no outputs that are known ({error})") from error
    missing = [label.value for label in IN_SCOPE if label not in labels]
    if missing:
        raise DataError(f"{path}: the model has no output for {', '.join(missing)}")
    return labels


def _check_same_images(folder: Path, image_ids: Sequence[str]) -> None:
    """Raise unless a model was tested on images that the splits hold out from it."""
    path = folder / _TEST_TABLE
    if not path.is_file():
        raise DataError(
            f"{folder}: is not a finished run (it has no {_TEST_TABLE}); lesionlens train goes on"
        )
    tested = {row["image_id"] for row in read_csv(path, required=("image_id",))}
    strange = sorted(tested - set(image_ids))
    if strange:
        raise LeakageError(
            f"{folder}: held out {strange[0]} and {len(strange) - 1} more that these splits do "
            "not hold out from it, so it may have seen others; give the splits that it was "
            "trained with"
        )


def _examinee(folder: Path, labels: Sequence[Label], judge: Judge) -> Examinee:
    path = folder / MODEL_FILE
    if not path.is_file():
        raise DataError(
            f"{path}: is missing; lesionlens train writes it when the run is scored: delete "
            f"{folder / _TEST_TABLE} and run it again"
        )
    content = path.read_bytes()
    model = Model(content, num_threads=1, name=str(path))
    if model.n_outputs != len(labels):
        raise DataError(
            f"{path}: has {model.n_outputs} outputs, {folder / _CONFIG} names {len(labels)}"
        )
    return Examinee(model, judge, hashlib.sha256(content).hexdigest())


def _choose(cases: Sequence[Case], n_others: int, seed: int) -> tuple[list[Case], tuple[str, ...]]:
    """Take all images of the three classes, and draw some of the others."""
    rng = np.random.default_rng(seed)
    kept = [case for case in cases if case.frame.label in IN_SCOPE]
    remarks = []
    for words, belongs in (
        ("other lesions", lambda label: label not in (*IN_SCOPE, Label.NOT_SKIN)),
        ("things that are not skin", lambda label: label is Label.NOT_SKIN),
    ):
        pool = sorted(
            (case for case in cases if belongs(case.frame.label)),
            key=lambda case: case.frame.image_id,
        )
        drawn = sorted(rng.choice(len(pool), min(n_others, len(pool)), replace=False).tolist())
        kept += [pool[index] for index in drawn]
        if len(drawn) < len(pool):
            remarks.append(f"of {len(pool):,} images of {words}, {len(drawn):,} were drawn by lot")
    return kept, tuple(remarks)


def _readable(cases: Sequence[Case], cache: Cache | None) -> tuple[list[Case], tuple[str, ...]]:
    """Leave out images that are in no cache and cannot be decoded."""

    def is_readable(case: Case) -> bool:
        if cache is not None and case.frame.image_id in cache.row_of:
            return True
        try:
            load_pixels(case.frame.path)
        except ImageError:
            return False
        return True

    tried = map_ahead(is_readable, cases, workers=usable_cores(), ahead=_AHEAD)
    kept = [case for case, found in tried if found]
    if not kept:
        raise DataError("no image to ask about: the archive, or its held-out part, has none")
    n_lost = len(cases) - len(kept)
    return kept, ((f"{n_lost:,} images could not be read and were left out",) if n_lost else ())
