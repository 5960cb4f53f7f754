"""From a decoded cache to training batches, fast enough that the network never waits.

An epoch's images, their order and their augmentation depend on the seed, the stage and the
epoch alone, so a run that was killed and resumed sees what an uninterrupted one would.
"""

from __future__ import annotations

import mmap
import queue
import threading
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lesionlens.errors import TrainingError
from lesionlens.imaging import INPUT_PX
from lesionlens.labels import IN_SCOPE, Label
from lesionlens.records import Frame
from lesionlens.train import augment
from lesionlens.train.config import TrainConfig
from lesionlens.train.decoys import make_decoy

#: What a benign lesion without a diagnosis is likely to be. Of the benign lesions of the ISIC 2020
#: challenge that do have a diagnosis 5,193 are nevi and 223 keratoses or lentigines
#: (https://doi.org/10.1038/s41597-021-00815-z).
UNNAMED_BENIGN: dict[Label, float] = {Label.NV: 0.96, Label.BKL: 0.04}

_PREFETCH = 4  # batches; 19 MB each at batch 32


@dataclass(frozen=True)
class Examples:
    """The frames of one part that a configuration can learn from or be scored on."""

    frames: tuple[Frame, ...]
    rows: np.ndarray  # (N,) intp: row of each frame in the cache
    targets: np.ndarray  # (N, K) float32: share of each output label, rows sum to 1

    def __len__(self) -> int:
        return len(self.frames)


def target_of(label: Label, labels: Sequence[Label]) -> np.ndarray | None:
    """Return the target over ``labels`` for an image of class ``label``, None if it has none."""
    target = np.zeros(len(labels), np.float32)
    if label in labels:
        target[list(labels).index(label)] = 1
    elif label is Label.UNK:
        for name, share in UNNAMED_BENIGN.items():
            if name in labels:
                target[list(labels).index(name)] = share
        if target.sum():
            target /= target.sum()
    return target if target.any() else None


def select_examples(
    frames: Sequence[Frame], row_of: Mapping[str, int], labels: Sequence[Label]
) -> Examples:
    """Return those of ``frames`` that are in the cache and that ``labels`` can express."""
    chosen, rows, targets = [], [], []
    for frame in frames:
        target = target_of(frame.label, labels)
        if target is not None and frame.image_id in row_of:
            chosen.append(frame)
            rows.append(row_of[frame.image_id])
            targets.append(target)
    return Examples(
        tuple(chosen),
        np.array(rows, np.intp),
        np.array(targets, np.float32).reshape(len(chosen), len(labels)),
    )


def class_weights(examples: Examples, config: TrainConfig) -> np.ndarray:
    """Return the loss weight of each example: balanced by class without a mixture, else 1.

    Balanced as in King and Zeng (2001), n / (n_classes * n_of_class).
    """
    if config.mixture:
        return np.ones(len(examples), np.float32)
    counts = examples.targets.sum(0)
    weights = len(examples) / (np.count_nonzero(counts) * np.maximum(counts, 1))
    return (examples.targets @ weights).astype(np.float32)


def plan_epoch(examples: Examples, config: TrainConfig, rng: np.random.Generator) -> np.ndarray:
    """Return which examples an epoch shows, in order: (n,) indices into ``examples``.

    With a mixture each class gets its share of the epoch; a class with fewer images than its
    share shows them over and over, each as often as any other, one with more shows a random
    choice. Without one every example is shown once. ``~index`` (negative) stands for a decoy
    made out of the frame at ``index``: they take their share of what is shown as not skin, and
    all of it where there are no photos of other things.

    Raises:
        TrainingError: one of the three classes has no example.
    """
    labels = np.array([frame.label for frame in examples.frames], dtype=object)
    for label in IN_SCOPE:
        if not (labels == label).any():
            raise TrainingError(
                f"there is no {label} image to train on; all of {IN_SCOPE} need some"
            )
    if not config.mixture:
        return rng.permutation(len(examples))
    has_decoys = config.decoy_share > 0
    members_of = {label: np.flatnonzero(labels == label) for label in config.mixture}
    present = {
        label: share
        for label, share in config.mixture.items()
        if len(members_of[label]) or (label is Label.NOT_SKIN and has_decoys)
    }
    total = sum(present.values())
    order = []
    for label, share in present.items():
        members = members_of[label]
        n = round(config.epoch_size * share / total)
        if label is Label.NOT_SKIN and has_decoys:
            n_decoys = round(n * config.decoy_share) if len(members) else n
            order.append(~rng.choice(np.flatnonzero(labels != label), n_decoys))
            n -= n_decoys
        if n:
            rounds = -(-n // len(members))
            order.append(np.concatenate([rng.permutation(members) for _ in range(rounds)])[:n])
    return rng.permutation(np.concatenate(order))


def epoch_batches(
    images: np.ndarray, examples: Examples, config: TrainConfig, *, stage: int, epoch: int
) -> Generator[tuple[np.ndarray, np.ndarray, np.ndarray], None, None]:
    """Yield the batches of one epoch, augmented in a background thread.

    Args:
        images: (rows, 224, 224, 3) uint8, usually a memory map.
        examples: what to train on.
        config: batch size, augmentation, mixture, smoothing, mixup, seed.
        stage: index of the stage.
        epoch: index of the epoch in its stage.

    Yields:
        (n, 224, 224, 3) float32 0..255, (n, K) float32 targets, (n,) float32 loss weights.
    """
    rng = np.random.default_rng([config.seed, stage, epoch])
    order = plan_epoch(examples, config, rng)
    weights = class_weights(examples, config)
    ready: queue.Queue = queue.Queue(_PREFETCH)
    stopped = threading.Event()

    def put(item: object) -> None:
        while not stopped.is_set():
            try:
                return ready.put(item, timeout=0.2)
            except queue.Full:
                continue

    def work() -> None:
        try:
            for start in range(0, len(order), config.batch_size):
                if stopped.is_set():
                    return
                chosen = order[start : start + config.batch_size]
                put(_make_batch(images, examples, weights, chosen, config=config, rng=rng))
            put(None)
        except Exception as error:
            put(error)

    thread = threading.Thread(target=work, name="lesionlens-augment", daemon=True)
    thread.start()
    try:
        while (item := ready.get()) is not None:
            if isinstance(item, Exception):
                raise item
            yield item
    finally:
        stopped.set()
        thread.join()
        release_pages(images)


def release_pages(images: np.ndarray) -> None:
    """Give back the memory that reading a memory-mapped cache has gathered.

    Pages of the file count as the process's own until then, and an archive of 11,000 images
    has 1.7 GB of them; they stay in the system's file cache and cost nothing to read again.
    """
    mapped = getattr(images, "_mmap", None)
    if mapped is not None and hasattr(mmap, "MADV_DONTNEED"):
        mapped.madvise(mmap.MADV_DONTNEED)


def _make_batch(
    images: np.ndarray,
    examples: Examples,
    weights: np.ndarray,
    chosen: np.ndarray,
    *,
    config: TrainConfig,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    import cv2

    options = config.augmentation
    pictures = []
    targets, batch_weights = examples.targets[chosen], weights[chosen]
    for place, index in enumerate(chosen):
        if index < 0:
            label, picture = Label.NOT_SKIN, make_decoy(images[examples.rows[~index]], rng)
            targets[place], batch_weights[place] = target_of(label, config.labels), 1
        else:
            label, picture = examples.frames[index].label, images[examples.rows[index]]
        drawn = augment.draw(rng, options, label)
        pictures.append(augment.apply(picture, drawn, border=options.border))
    if config.label_smoothing:
        targets = targets * (1 - config.label_smoothing) + config.label_smoothing / targets.shape[1]
    if config.mixup_alpha:
        share = rng.beta(config.mixup_alpha, config.mixup_alpha, len(chosen)).astype(np.float32)
        share = np.maximum(share, 1 - share)
        other = rng.permutation(len(chosen))
        # On uint8 pixels: eight times as fast as on float32, and half a grey level apart.
        pictures = [
            cv2.addWeighted(picture, float(part), pictures[partner], float(1 - part), 0)
            for picture, part, partner in zip(pictures, share, other, strict=True)
        ]
        targets = targets * share[:, None] + targets[other] * (1 - share)[:, None]
        batch_weights = batch_weights * share + batch_weights[other] * (1 - share)
    batch = np.empty((len(chosen), INPUT_PX, INPUT_PX, 3), np.float32)
    for place, picture in enumerate(pictures):
        batch[place] = picture
    return batch, targets.astype(np.float32), batch_weights
