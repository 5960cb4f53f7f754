"""Splits that do not leak: what belongs together stays together, and every class is everywhere.

A split gives whole groups (see ``groups``) to parts. scikit-learn's StratifiedGroupKFold does
that for equal folds and one label per row; here parts may be of any size, a group may hold
several classes, and the sources (institutions) of a class are to be spread too, because a model
that never saw a camera in training, or sees it in the test only, tells less about lesions. So
groups are dealt out here, the largest first, each to the part where it brings the shares of
every class and of every source within a class closest to what they should be.
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lesionlens.data.groups import group_frames  # noqa: F401 - callers find it beside make_splits
from lesionlens.data.manifest import archive_hash
from lesionlens.errors import DataError, LeakageError
from lesionlens.files import read_json, write_json
from lesionlens.labels import Label
from lesionlens.records import Frame

FORMAT = 1
#: Names of the parts of a holdout split, in the order of ``fractions``.
PARTS = ("train", "validation", "test")
#: Shares of the frames, in the order of ``PARTS``.
FRACTIONS = (0.7, 0.15, 0.15)
#: The test set of the paper whose recipe the ``paper`` preset follows.
PAPER_TEST_COUNTS: dict[Label, int] = {Label.BCC: 36, Label.SCC: 36, Label.NORMAL: 24}

#: How much the spread of sources within a class counts against the spread of the class.
_SOURCE_WEIGHT = 0.25


@dataclass(frozen=True)
class Splits:
    """Who is in which part; ``splits.json`` in memory."""

    kind: str  # "holdout" or "folds"
    seed: int
    input_sha256: str  # archive_hash of the frames that were split
    groups: Mapping[str, str]  # image_id -> group_id
    parts: Mapping[str, tuple[str, ...]]  # part -> image_ids, sorted
    counts: Mapping[str, Mapping[str, int]]  # part -> label -> number of frames

    def part_of(self) -> dict[str, str]:
        """Return the part of every image_id."""
        return {image_id: part for part, ids in self.parts.items() for image_id in ids}

    def n_groups(self) -> dict[str, int]:
        """Return the number of groups in every part."""
        return {
            part: len({self.groups[image_id] for image_id in ids})
            for part, ids in self.parts.items()
        }

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write ``splits.json``, atomically; equal splits give equal bytes."""
        write_json(
            path,
            {
                "format": FORMAT,
                "kind": self.kind,
                "seed": self.seed,
                "input_sha256": self.input_sha256,
                "n_groups": self.n_groups(),
                "counts": {part: dict(counts) for part, counts in self.counts.items()},
                "parts": {part: list(ids) for part, ids in self.parts.items()},
                "groups": dict(self.groups),
            },
        )

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Splits:
        """Read ``splits.json``; that it does not leak is for ``check_splits`` to say.

        Raises:
            DataError: missing, not JSON, not splits, or of a format this code does not know.
        """
        value = read_json(path)
        if not isinstance(value, dict) or value.get("format") != FORMAT:
            raise DataError(f"{path}: is not a splits file of format {FORMAT}")
        try:
            splits = cls(
                kind=str(value["kind"]),
                seed=int(value["seed"]),
                input_sha256=str(value["input_sha256"]),
                groups={str(key): str(group) for key, group in value["groups"].items()},
                parts={str(part): tuple(map(str, ids)) for part, ids in value["parts"].items()},
                counts=value["counts"],
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(f"{path}: is not a whole splits file ({error!r})") from error
        lost = [i for ids in splits.parts.values() for i in ids if i not in splits.groups]
        if lost:
            raise DataError(f"{path}: {lost[0]} and {len(lost) - 1} more have no group")
        return splits


@dataclass(frozen=True)
class Leak:
    """Something that stands on both sides of a split."""

    kind: str  # "image", "lesion", "patient", "parent", "near-duplicate" or "group"
    key: str  # the lesion, patient, parent, group, or the pair
    parts: Mapping[str, tuple[str, ...]]  # part -> the image_ids there

    def __str__(self) -> str:
        """Return one line for a person."""
        where = "; ".join(f"{part}: {_some(ids)}" for part, ids in self.parts.items())
        return f"{self.kind} {self.key} is in {where}"


def make_splits(
    frames: Sequence[Frame],
    groups: Mapping[str, str],
    *,
    seed: int,
    fractions: tuple[float, float, float] = FRACTIONS,
    folds: int | None = None,
    test_counts: Mapping[Label, int] | None = None,
) -> Splits:
    """Deal whole groups out to parts, every class and source spread evenly.

    Args:
        frames: what to split.
        groups: image_id -> group_id, from ``group_frames``.
        seed: the same seed and frames give the same splits, whatever the order of the frames.
        fractions: shares of train, validation and test; sum to 1. Validation or test may be 0.
        folds: give the number of folds (2 or more) to have equal folds in place of the three.
        test_counts: take these numbers of frames for the test part, in whole groups, as near
            as possible from below; ``fractions`` then divides the rest between train and
            validation.

    Returns:
        The splits, with every class in every part.

    Raises:
        DataError: bad options, a frame without a group, or a class with fewer groups than
            there are parts; names the class, its groups, and how many are needed.
    """
    frames = sorted(frames, key=lambda frame: frame.image_id)
    if ungrouped := [frame.image_id for frame in frames if frame.image_id not in groups]:
        raise DataError(f"{_some(ungrouped)}: no group given; group_frames gives every frame one")
    shares = _shares(fractions, folds)
    rng = np.random.default_rng(seed)
    photos = [frame for frame in frames if frame.label is Label.NOT_SKIN]
    table = _GroupTable([frame for frame in frames if frame.label is not Label.NOT_SKIN], groups)
    part_of_group: dict[int, str] = {}
    if test_counts is not None:
        if folds is not None:
            raise DataError("test counts and folds exclude each other: give one of the two")
        part_of_group = dict.fromkeys(_pick(table, test_counts, rng), "test")
        rest = 1 - shares.pop("test", 0.0)
        shares = {part: share / rest for part, share in shares.items()}
    part_of_group |= _deal(table, shares, set(part_of_group), rng)
    part_of = {table.names[group]: part for group, part in part_of_group.items()}
    # Dealt apart: whoever adds photos of other things keeps the parts of his lesions.
    apart = _GroupTable(
        [frame for frame in photos if groups[frame.image_id] not in part_of], groups
    )
    part_of |= {apart.names[g]: part for g, part in _deal(apart, shares, set(), rng).items()}

    members: dict[str, list[str]] = {part: [] for part in shares}
    if test_counts is not None:
        members["test"] = []
    for frame in frames:
        members[part_of[groups[frame.image_id]]].append(frame.image_id)
    label_of = {frame.image_id: frame.label for frame in frames}
    return Splits(
        kind="holdout" if folds is None else "folds",
        seed=seed,
        input_sha256=archive_hash(frames),
        groups={frame.image_id: groups[frame.image_id] for frame in frames},
        parts={part: tuple(ids) for part, ids in members.items()},
        counts={part: count_labels(label_of[i] for i in ids) for part, ids in members.items()},
    )


def find_leaks(
    splits: Splits,
    frames: Sequence[Frame],
    *,
    groups: Mapping[str, str] | None = None,
    duplicates: Iterable[tuple[str, str]] = (),
) -> tuple[Leak, ...]:
    """Return everything that stands in more than one part.

    Args:
        splits: what to look at; its own groups are checked too.
        frames: the archive; lesions, patients and parents are read from here, not from the
            splits, so that an edited file cannot hide them.
        groups: grouping made anew, to check against as well.
        duplicates: pairs of image_ids that show the same picture.
    """
    where: dict[tuple[str, str], dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    parts_of: dict[str, list[str]] = defaultdict(list)
    for part, ids in splits.parts.items():
        for image_id in ids:
            parts_of[image_id].append(part)

    def note(kind: str, key: str, image_id: str) -> None:
        for part in parts_of.get(image_id, ()):
            where[kind, key][part].append(image_id)

    for image_id, parts in parts_of.items():
        if len(parts) > 1:
            note("image", image_id, image_id)
        note("group", splits.groups[image_id], image_id)
    for frame in frames:
        if frame.lesion_id:
            note("lesion", frame.lesion_id, frame.image_id)
        if frame.patient_id:
            note("patient", frame.patient_id, frame.image_id)
        if frame.parent_id:
            note("parent", frame.parent_id, frame.image_id)
            note("parent", frame.parent_id, frame.parent_id)
        if groups is not None and frame.image_id in groups:
            note("group", groups[frame.image_id], frame.image_id)
    for first, second in duplicates:
        for image_id in (first, second):
            note("near-duplicate", f"{first} = {second}", image_id)
    return tuple(
        Leak(kind, key, {part: tuple(sorted(set(ids))) for part, ids in sorted(parts.items())})
        for (kind, key), parts in where.items()
        if len(parts) > 1
    )


def check_splits(
    splits: Splits,
    frames: Sequence[Frame],
    groups: Mapping[str, str] | None = None,
) -> None:
    """Raise unless the splits fit the archive and no group stands in two parts.

    Args:
        splits: what to check, before every training.
        frames: the archive as it is now.
        groups: grouping made anew (with near-duplicates), if at hand.

    Raises:
        LeakageError: a lesion, patient, parent, group or image is in two parts; names some.
        DataError: images of the splits are gone from the archive, or their labels, lesions,
            patients or parents changed since it was split.
    """
    leaks = find_leaks(splits, frames, groups=groups)
    if leaks:
        shown = "\n  ".join(str(leak) for leak in leaks[:5])
        raise LeakageError(
            f"{len(leaks)} things stand on both sides of the split:\n  {shown}\n"
            "make it anew with `lesionlens data split`"
        )
    known = splits.part_of()
    used = [frame for frame in frames if frame.image_id in known]
    if len(used) < len(known):
        missing = sorted(known.keys() - {frame.image_id for frame in used})
        raise DataError(
            f"the splits name {len(missing)} images that the archive does not have: "
            f"{_some(missing)}; make them anew with `lesionlens data split`"
        )
    if archive_hash(used) != splits.input_sha256:
        raise DataError(
            "labels, lesions, patients or parents of the archive changed since it was split; "
            "make the splits anew with `lesionlens data split`"
        )


def count_labels(labels: Iterable[Label]) -> dict[str, int]:
    """Return how often each label occurs, in the order of ``Label``; absent ones are left out."""
    counts = Counter(labels)
    return {label.value: counts[label] for label in Label if counts[label]}


class _GroupTable:
    """Frames counted per group and stratum, as arrays.

    Strata are the classes, then each source within a class where there is more than one.
    """

    def __init__(self, frames: Sequence[Frame], groups: Mapping[str, str]) -> None:
        self.labels = [label for label in Label if any(f.label == label for f in frames)]
        sources = sorted({(frame.label, frame.source) for frame in frames})
        per_label = Counter(label for label, _ in sources)
        self.strata: list[tuple[Label, str | None]] = [(label, None) for label in self.labels]
        self.strata += [(label, source) for label, source in sources if per_label[label] > 1]
        column = {stratum: i for i, stratum in enumerate(self.strata)}
        self.names = sorted({groups[frame.image_id] for frame in frames})
        row_of = {name: row for row, name in enumerate(self.names)}
        self.counts = np.zeros((len(self.names), len(self.strata)), dtype=np.int64)
        for frame in frames:
            group = row_of[groups[frame.image_id]]
            self.counts[group, column[frame.label, None]] += 1
            if (frame.label, frame.source) in column:
                self.counts[group, column[frame.label, frame.source]] += 1
        self.n_labels = len(self.labels)


def _deal(
    table: _GroupTable,
    shares: Mapping[str, float],
    taken: set[int],
    rng: np.random.Generator,
) -> dict[int, str]:
    """Give every group that is not ``taken`` to a part."""
    parts = list(shares)
    wanted = np.array([shares[part] for part in parts])
    free = np.array([g for g in range(len(table.counts)) if g not in taken], dtype=np.int64)
    free = rng.permutation(free)
    total = np.maximum(table.counts[free].sum(axis=0), 1)
    weight = np.array([1.0 if source is None else _SOURCE_WEIGHT for _, source in table.strata])
    relative = table.counts / total  # each group's share of each stratum
    share = np.zeros((len(parts), len(table.strata)))
    chosen: dict[int, int] = {}

    def give(group: int, part: int) -> None:
        chosen[group] = part
        share[part] += relative[group]

    # First a small group of every class for every part, the rarest class first.
    n_groups = (table.counts[free, : table.n_labels] > 0).sum(axis=0)
    for column in np.argsort(n_groups, kind="stable").tolist():
        label = table.labels[column]
        for part in np.argsort(wanted, kind="stable").tolist():
            if share[part, column] > 0:
                continue
            having = [g for g in free.tolist() if g not in chosen and table.counts[g, column]]
            if not having:
                raise DataError(
                    f"{label.value}: has {n_groups[column]} groups (lesions, patients or "
                    f"single images), too few to have one in each of {len(parts)} parts "
                    f"({', '.join(parts)}); at least {max(len(parts), n_groups[column] + 1)} "
                    f"are needed. Get more {label.value} "
                    "images, use fewer parts, or leave the class out"
                )
            give(min(having, key=lambda g: table.counts[g].sum()), part)
    # Then the others, those that weigh most in any class first, each where it helps most.
    for group in sorted(free.tolist(), key=lambda g: -relative[g].max()):
        if group in chosen:
            continue
        step = relative[group]
        change = (weight * step * (2 * (share - wanted[:, None]) + step)).sum(axis=1) / wanted
        give(group, int(np.argmin(change)))
    return {group: parts[part] for group, part in chosen.items()}


def _pick(
    table: _GroupTable, test_counts: Mapping[Label, int], rng: np.random.Generator
) -> list[int]:
    """Return groups that hold the wanted numbers of frames, never more of a class than that."""
    columns = {label: column for column, label in enumerate(table.labels)}
    for label, count in test_counts.items():
        available = 0 if label not in columns else int(table.counts[:, columns[label]].sum())
        if count < 1 or available <= count:
            raise DataError(
                f"{label.value}: a test set of {count} was asked for, the archive has "
                f"{available}; it must have more, as the other parts need some too"
            )
    order = rng.permutation(len(table.counts)).tolist()
    asked = [columns[label] for label in test_counts]
    left = np.zeros(table.n_labels, dtype=np.int64)
    left[asked] = list(test_counts.values())
    # How many of each source of a class: in proportion, rounded up; the class total decides.
    quota = np.full(len(table.strata), np.iinfo(np.int64).max)
    for column, (label, source) in enumerate(table.strata):
        if source is not None and label in test_counts:
            of_label = table.counts[:, columns[label]].sum()
            share = table.counts[:, column].sum() / of_label
            quota[column] = np.ceil(share * test_counts[label])
    picked: list[int] = []
    for by_source in (True, False):
        for group in order:
            counts = table.counts[group]
            of_asked = counts[asked]
            if group in picked or not of_asked.any() or (of_asked > left[asked]).any():
                continue
            if by_source and (counts > quota).any():
                continue
            picked.append(group)
            left[asked] -= of_asked
            quota -= counts
    return picked


def _shares(fractions: Sequence[float], folds: int | None) -> dict[str, float]:
    if folds is not None:
        if folds < 2:
            raise DataError(f"{folds} folds: at least 2 are needed")
        return {f"fold{i}": 1 / folds for i in range(folds)}
    if len(fractions) != len(PARTS) or min(fractions) < 0 or abs(sum(fractions) - 1) > 1e-6:
        raise DataError(
            f"fractions {tuple(fractions)}: three numbers of 0 or more that sum to 1 are needed "
            f"({', '.join(PARTS)})"
        )
    if fractions[0] == 0:
        raise DataError("fractions: train must have a share above 0")
    return {part: share for part, share in zip(PARTS, fractions, strict=True) if share > 0}


def _some(ids: Sequence[Any]) -> str:
    more = f" and {len(ids) - 3} more" if len(ids) > 3 else ""
    return ", ".join(map(str, ids[:3])) + more
