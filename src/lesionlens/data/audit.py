"""What is in an archive, what is wrong with it, and whether its splits are honest.

``audit`` looks afresh: lesions, patients and parents are read from the archive's metadata and
near-duplicates from its pixels, never from the splits file that is being judged.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from lesionlens.data.duplicates import NearDuplicate
from lesionlens.data.groups import group_frames
from lesionlens.data.manifest import Archive
from lesionlens.data.prepare import Cache, ImageFailure
from lesionlens.data.splits import Leak, Splits, check_splits, find_leaks
from lesionlens.errors import DataError, LeakageError
from lesionlens.labels import Label
from lesionlens.records import Frame

#: How the row of frames that are in no part is called.
NO_PART = "(no part)"


@dataclass(frozen=True)
class LabelConflict:
    """One lesion, or one picture, that goes by two labels."""

    kind: str  # "lesion" or "near-duplicate"
    key: str  # the lesion_id, or the pair of image_ids
    labels: Mapping[str, tuple[str, ...]]  # label -> image_ids


@dataclass(frozen=True)
class ClassBalance:
    """How much there is of a class in a part."""

    part: str
    label: str
    n_frames: int
    n_groups: int


@dataclass(frozen=True)
class Audit:
    """All findings about an archive and, where given, its splits."""

    n_frames: int
    n_groups: int
    unmapped: Mapping[str, int]  # reason -> rows of the metadata that give no frame
    unreadable: tuple[ImageFailure, ...]
    duplicates: tuple[NearDuplicate, ...]
    conflicts: tuple[LabelConflict, ...]
    balance: tuple[ClassBalance, ...]  # the whole archive is part "archive"
    sizes: Mapping[str, Mapping[str, int]]  # label -> "width x height" in pixels -> frames
    sources: Mapping[str, Mapping[str, int]]  # label -> source -> frames
    leaks: tuple[Leak, ...]
    problem: str  # why the splits do not fit the archive; empty if they do

    @property
    def is_honest(self) -> bool:
        """Whether nothing leaks and the splits fit the archive."""
        return not self.leaks and not self.problem

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values, for JSON."""
        value = asdict(self)
        value["unreadable"] = [
            {"path": str(failure.path), "error": failure.error} for failure in self.unreadable
        ]
        return {"format": 1, "is_honest": self.is_honest, **value}


def audit(
    archive: Archive,
    cache: Cache,
    *,
    duplicates: Sequence[NearDuplicate],
    unreadable: Sequence[ImageFailure] = (),
    splits: Splits | None = None,
) -> Audit:
    """Judge an archive and its splits.

    Args:
        archive: what ``load_archive`` read.
        cache: its decoded images, for their sizes.
        duplicates: from ``duplicates.find_in_cache``.
        unreadable: from ``prepare_cache``.
        splits: what to check for leaks; None looks at the archive alone.
    """
    frames = archive.frames
    pairs = [(pair.first_id, pair.second_id) for pair in duplicates]
    groups = group_frames(frames, pairs)
    leaks: tuple[Leak, ...] = ()
    problem = ""
    if splits is not None:
        leaks = find_leaks(splits, frames, groups=groups, duplicates=pairs)
        try:
            check_splits(splits, frames)
        except LeakageError:
            pass  # the leaks are listed one by one
        except DataError as error:
            problem = str(error)
    return Audit(
        n_frames=len(frames),
        n_groups=len(set(groups.values())),
        unmapped=archive.reasons(),
        unreadable=tuple(unreadable),
        duplicates=tuple(duplicates),
        conflicts=_conflicts(frames, pairs),
        balance=_balance(frames, groups, splits),
        sizes=_sizes(frames, cache),
        sources=_table((frame.label, frame.source or "(not given)") for frame in frames),
        leaks=leaks,
        problem=problem,
    )


def _conflicts(
    frames: Sequence[Frame], pairs: Sequence[tuple[str, str]]
) -> tuple[LabelConflict, ...]:
    # A patient may have several diagnoses, and a crop is not its parent's lesion: only one
    # lesion or one picture with two names is a contradiction.
    together: dict[tuple[str, str], list[Frame]] = defaultdict(list)
    by_id = {frame.image_id: frame for frame in frames}
    for frame in frames:
        if frame.lesion_id and not frame.parent_id:
            together["lesion", frame.lesion_id].append(frame)
    for first, second in pairs:
        together["near-duplicate", f"{first} = {second}"] = [by_id[first], by_id[second]]
    found = []
    for (kind, key), members in together.items():
        labels: dict[str, list[str]] = defaultdict(list)
        for frame in members:
            labels[frame.label.value].append(frame.image_id)
        if len(labels) > 1:
            found.append(
                LabelConflict(kind, key, {label: tuple(ids) for label, ids in labels.items()})
            )
    return tuple(found)


def _balance(
    frames: Sequence[Frame], groups: Mapping[str, str], splits: Splits | None
) -> tuple[ClassBalance, ...]:
    members: dict[str, list[Frame]] = {"archive": list(frames)}
    if splits is not None:
        part_of = splits.part_of()
        members |= {part: [] for part in splits.parts}
        for frame in frames:
            members.setdefault(part_of.get(frame.image_id, NO_PART), []).append(frame)
    return tuple(
        ClassBalance(
            part,
            label.value,
            n_frames=sum(frame.label == label for frame in inside),
            n_groups=len({groups[frame.image_id] for frame in inside if frame.label == label}),
        )
        for part, inside in members.items()
        for label in Label
        if any(frame.label == label for frame in frames)
    )


def _sizes(frames: Sequence[Frame], cache: Cache) -> dict[str, dict[str, int]]:
    return _table(
        (frame.label, "{} x {}".format(*cache.sizes_px[cache.row_of[frame.image_id]].tolist()))
        for frame in frames
        if frame.image_id in cache.row_of
    )


def _table(pairs: Any) -> dict[str, dict[str, int]]:
    counts: dict[Label, Counter[str]] = defaultdict(Counter)
    for label, value in pairs:
        counts[label][value] += 1
    return {label.value: dict(counts[label].most_common()) for label in Label if label in counts}
