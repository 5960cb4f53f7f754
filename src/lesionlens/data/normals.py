"""Healthy skin: lesion-free squares cut out of frames of benign lesions.

No archive labels healthy skin. Around most benign lesions there is some, photographed with the
same cameras. Squares are cut from there, of random size and place, so that magnification and
position vary; a mask drawn by a person is used where there is one, else the frame is segmented
(``segment``) and given up at the least doubt. Each crop remembers its parent: it belongs to
the parent's group and stands in the parent's part of a split.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from lesionlens.data.manifest import DERMOSCOPIC, NORMAL_COLUMNS, archive_hash
from lesionlens.data.prepare import ImageFailure
from lesionlens.data.segment import WORK_PX, Segmentation, segment_lesion
from lesionlens.data.splits import Splits, count_labels
from lesionlens.errors import DataError, ImageError
from lesionlens.files import atomic_write, check_free_space, read_csv, write_csv, write_json
from lesionlens.imaging import load_picture, load_pixels
from lesionlens.labels import Label
from lesionlens.parallel import map_ahead
from lesionlens.records import Frame

_MASK_NAMES = ("{}_segmentation.png", "{}_Segmentation.png", "{}_mask.png", "{}.png")
_MAX_MARKS = 0.04  # share of a crop that may be hair or ruler
_ATTEMPTS = 12  # sizes tried per crop before the frame is given up
_CROP_BYTES = 200_000  # for the disk preflight
_QUALITY = 95  # of the JPEGs: their compression should not tell crops from frames


@dataclass(frozen=True)
class CropOptions:
    """How healthy skin is cut."""

    count: int = 500  # crops to make; fewer if the frames give no more
    size_fraction: tuple[float, float] = (0.25, 0.5)  # crop side, of the frame's shorter side
    per_frame: int = 1  # at most, from one frame
    per_group: int = 2  # at most, from one lesion or patient
    min_side_px: int = 48  # of a crop, in pixels of the frame's file
    seed: int = 0


@dataclass(frozen=True)
class Crop:
    """A square of healthy skin."""

    image_id: str
    parent: Frame
    x_px: int  # left edge, in pixels of the upright parent
    y_px: int  # top edge
    size_px: int  # side
    parent_width_px: int
    parent_height_px: int

    def frame(self, directory: Path) -> Frame:
        """Return the crop as a frame of the archive."""
        return replace(
            self.parent,
            image_id=self.image_id,
            path=crop_path(directory, self.image_id),
            label=Label.NORMAL,
            parent_id=self.parent.image_id,
            is_benign=False,
        )

    def row(self) -> dict[str, str | int]:
        """Return the crop's line of ``metadata.csv``."""
        return {
            "image_id": self.image_id,
            "parent_isic_id": self.parent.image_id,
            "lesion_id": self.parent.lesion_id,
            "patient_id": self.parent.patient_id,
            "crop_x_px": self.x_px,
            "crop_y_px": self.y_px,
            "crop_size_px": self.size_px,
            "parent_size": f"{self.parent_width_px}x{self.parent_height_px}",
            "source": self.parent.source,
            "image_type": DERMOSCOPIC,
        }


@dataclass(frozen=True)
class NormalsReport:
    """What ``cut_normals`` made."""

    crops: tuple[Crop, ...]
    n_frames: int  # frames looked at
    n_masked: int  # of them, those with a mask
    refused: dict[str, int]  # why frames gave no crop -> how many
    errors: tuple[ImageFailure, ...]  # frames or masks that could not be read
    removed: tuple[str, ...]  # image_ids of an earlier run's crops that are no more


def cut_normals(
    frames: Sequence[Frame],
    directory: str | os.PathLike[str],
    options: CropOptions | None = None,
    *,
    masks: Path | None = None,
    splits: Splits | None = None,
    workers: int | None = None,
    advance: Callable[..., None] | None = None,
) -> NormalsReport:
    """Cut squares of healthy skin into ``directory``: ``images/`` and ``metadata.csv``.

    The same frames and options give the same crops. Crops of an earlier run are replaced.

    Args:
        frames: the archive; only whole frames of benign lesions are cut.
        directory: where to; must be empty, new, or made by this function.
        options: sizes and numbers.
        masks: folder of lesion masks (``<image_id>_segmentation.png``, white is lesion, of any
            size); frames without one are segmented.
        splits: cut only frames that are in a part of these.
        workers: threads; None takes one per core.
        advance: called after each crop, for a progress bar.

    Raises:
        DataError: bad options, no benign frame, or the folder holds something else.
        LesionLensError: the disk is full or cannot be written.
    """
    options = options or CropOptions()
    folder = Path(directory)
    _check_options(options)
    old = _check_folder(folder)
    check_free_space(folder, options.count * _CROP_BYTES)
    candidates = _candidates(frames, splits, options.seed)
    if not candidates:
        raise DataError(
            "no whole frame of a benign lesion (diagnosis_1 is Benign) to cut healthy skin from"
        )
    write_json(folder / "normals.json", {"format": 1, **asdict(options)})
    # No moment may show new crops under the old boxes; a run that is killed is run again.
    (folder / "metadata.csv").unlink(missing_ok=True)

    crops: list[Crop] = []
    refused: Counter[str] = Counter()
    errors: list[ImageFailure] = []
    per_group: Counter[str] = Counter()
    n_frames = n_masked = 0
    n_workers = workers or os.cpu_count() or 1
    for frame, found in map_ahead(
        lambda frame: _cut(frame, options, masks),
        candidates,
        workers=n_workers,
        ahead=4 * n_workers,
    ):
        n_frames += 1
        if isinstance(found, ImageError):
            errors.append(ImageFailure(frame.path, str(found)))
            continue
        n_masked += found.is_masked
        if not found.crops:
            refused[found.refusal] += 1
        group = frame.lesion_id or frame.patient_id or frame.image_id
        for crop, pixels in found.crops:
            if per_group[group] >= options.per_group or len(crops) >= options.count:
                break
            per_group[group] += 1
            with atomic_write(crop_path(folder, crop.image_id), "wb") as file:
                pixels.save(file, "JPEG", quality=_QUALITY, subsampling=0)
            crops.append(crop)
            if advance is not None:
                advance(1)
        if len(crops) >= options.count:
            break
    crops.sort(key=lambda crop: crop.image_id)
    write_csv(folder / "metadata.csv", NORMAL_COLUMNS, (crop.row() for crop in crops))
    removed = sorted(old - {crop.image_id for crop in crops})
    for image_id in removed:
        crop_path(folder, image_id).unlink(missing_ok=True)
    return NormalsReport(
        tuple(crops), n_frames, n_masked, dict(refused), tuple(errors), tuple(removed)
    )


def add_to_splits(
    splits: Splits,
    frames: Sequence[Frame],
    crops: Sequence[Frame],
    *,
    removed: Sequence[str] = (),
) -> Splits:
    """Return splits in which every crop stands in its parent's part and group.

    Args:
        splits: made before the crops were.
        frames: the frames of the archive, without these crops.
        crops: ``Crop.frame`` of each; ids that the splits know already are moved, not doubled.
        removed: ``NormalsReport.removed``; they leave the splits.

    Raises:
        DataError: a crop's parent is in no part.
    """
    ids = {crop.image_id for crop in crops} | set(removed)
    parts = {part: {i for i in members if i not in ids} for part, members in splits.parts.items()}
    part_of = {image_id: part for part, members in parts.items() for image_id in members}
    groups = {image_id: group for image_id, group in splits.groups.items() if image_id not in ids}
    for crop in crops:
        if crop.parent_id not in part_of:
            raise DataError(
                f"{crop.image_id}: its parent {crop.parent_id} is in no part of the splits"
            )
        parts[part_of[crop.parent_id]].add(crop.image_id)
        groups[crop.image_id] = groups[crop.parent_id]
    known = {frame.image_id: frame for frame in (*frames, *crops)}
    return replace(
        splits,
        input_sha256=archive_hash([frame for i, frame in known.items() if i in groups]),
        groups=dict(sorted(groups.items())),
        parts={part: tuple(sorted(members)) for part, members in parts.items()},
        counts={
            part: count_labels(known[i].label for i in members if i in known)
            for part, members in parts.items()
        },
    )


def crop_path(directory: Path, image_id: str) -> Path:
    """Return where a crop's image lies in the folder of crops."""
    return directory / "images" / f"{image_id}.jpg"


def find_squares(
    segmentation: Segmentation,
    size_px: tuple[int, int],
    options: CropOptions,
    rng: np.random.Generator,
) -> list[tuple[int, int, int]]:
    """Return up to ``options.per_frame`` squares that touch nothing forbidden nor each other.

    Args:
        segmentation: of the frame squashed to ``WORK_PX``.
        size_px: width and height of the upright frame.
        options: sizes and numbers.
        rng: draws sizes and places.

    Returns:
        (left, top, side) in pixels of the frame.
    """
    width, height = size_px
    forbidden = segmentation.forbidden.copy()
    squares: list[tuple[int, int, int]] = []
    for _ in range(_ATTEMPTS * options.per_frame):
        side = round(rng.uniform(*options.size_fraction) * min(width, height))
        if side < options.min_side_px:
            continue
        # In the squashed frame the square is a rectangle; rounded up, never down.
        columns = int(np.ceil(side * WORK_PX / width)) + 1
        rows = int(np.ceil(side * WORK_PX / height)) + 1
        n_forbidden = _window_sums(forbidden, rows, columns)
        n_marks = _window_sums(segmentation.marks, rows, columns)
        places = np.argwhere((n_forbidden == 0) & (n_marks <= _MAX_MARKS * rows * columns))
        if len(places) == 0:
            continue
        row, column = places[rng.integers(len(places))].tolist()
        left = min(int(np.ceil(column * width / WORK_PX)), width - side)
        top = min(int(np.ceil(row * height / WORK_PX)), height - side)
        squares.append((left, top, side))
        if len(squares) == options.per_frame:
            break
        forbidden[row : row + rows, column : column + columns] = True
    return squares


@dataclass(frozen=True)
class _Found:
    """What a worker found in a frame."""

    crops: tuple[tuple[Crop, Image.Image], ...]
    is_masked: bool
    refusal: str


def _cut(frame: Frame, options: CropOptions, masks: Path | None) -> _Found | ImageError:
    try:
        picture = load_picture(frame.path, max_side_px=1_000_000)
        mask = _load_mask(frame.image_id, masks)
    except ImageError as error:
        return error
    if mask is not None and not mask.any():
        return _Found((), True, "mask is empty")
    squashed = load_pixels(picture, size_px=WORK_PX).rgb
    segmentation = segment_lesion(squashed, mask=mask)
    if segmentation.doubt:
        return _Found((), False, segmentation.doubt)
    rng = np.random.default_rng([options.seed, _number(frame.image_id)])
    crops = []
    for i, (left, top, side) in enumerate(find_squares(segmentation, picture.size, options, rng)):
        suffix = "_skin" if i == 0 else f"_skin{i + 1}"
        crop = Crop(frame.image_id + suffix, frame, left, top, side, *picture.size)
        crops.append((crop, picture.crop((left, top, left + side, top + side))))
    return _Found(tuple(crops), mask is not None, "no room beside the lesion")


def _load_mask(image_id: str, masks: Path | None) -> np.ndarray | None:
    """Return a frame's mask squashed to ``WORK_PX``, any pixel with lesion in it counted."""
    if masks is None:
        return None
    for name in _MASK_NAMES:
        path = masks / name.format(image_id)
        if path.is_file():
            return load_pixels(path, size_px=WORK_PX).rgb[..., 0] > 25
    return None


def _candidates(frames: Sequence[Frame], splits: Splits | None, seed: int) -> list[Frame]:
    """Return the frames to cut in random order, the sources taking turns.

    Skin of every camera there is, in equal numbers: else the commonest camera means healthy.
    """
    known = None if splits is None else splits.part_of()
    by_source: dict[str, list[Frame]] = defaultdict(list)
    for frame in sorted(frames, key=lambda frame: frame.image_id):
        if frame.is_benign and not frame.parent_id and (known is None or frame.image_id in known):
            by_source[frame.source].append(frame)
    rng = np.random.default_rng(seed)
    queues = [
        [members[i] for i in rng.permutation(len(members))]
        for _, members in sorted(by_source.items())
    ]
    longest = max(map(len, queues), default=0)
    return [queue[i] for i in range(longest) for queue in queues if i < len(queue)]


def _window_sums(values: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Return the sum over every window of ``rows`` x ``columns`` that lies inside."""
    total = np.pad(values.astype(np.int64).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    return (
        total[rows:, columns:]
        - total[:-rows, columns:]
        - total[rows:, :-columns]
        + total[:-rows, :-columns]
    )


def _number(image_id: str) -> int:
    return int.from_bytes(hashlib.sha256(image_id.encode()).digest()[:8], "big")


def _check_options(options: CropOptions) -> None:
    low, high = options.size_fraction
    if not 0.05 <= low <= high <= 0.9:
        raise DataError(f"size fraction {low}..{high}: must rise and lie within 0.05 to 0.9")
    if min(options.count, options.per_frame, options.per_group) < 1:
        raise DataError("count, crops per frame and crops per group must be at least 1")
    if options.seed < 0:
        raise DataError(f"seed {options.seed}: must be 0 or more")


def _check_folder(folder: Path) -> set[str]:
    """Return the ids of the crops of an earlier run; raise if the folder is not ours."""
    if not folder.exists() or not any(folder.iterdir()):
        return set()
    if not (folder / "normals.json").is_file():
        raise DataError(
            f"{folder}: holds files that were not cut by this command; name an empty or new folder"
        )
    if not (folder / "metadata.csv").is_file():
        return {path.stem for path in (folder / "images").glob("*_skin*.jpg")}
    return {row["image_id"] for row in read_csv(folder / "metadata.csv", required=["image_id"])}
