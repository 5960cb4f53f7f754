"""Split an archive so that nothing leaks, prove it, then make a leak and see it found.

    python examples/audit_a_split.py            # in an archive of drawn images
    python examples/audit_a_split.py archive    # in your own

Nothing of the archive is changed; the cache of decoded images goes to a temporary folder.
"""

from __future__ import annotations

import dataclasses
import sys
import tempfile
from pathlib import Path

import numpy as np

from lesionlens import phantoms
from lesionlens.data.audit import audit
from lesionlens.data.duplicates import find_in_cache
from lesionlens.data.groups import group_frames
from lesionlens.data.manifest import load_archive
from lesionlens.data.prepare import load_cache, prepare_cache
from lesionlens.data.splits import Splits, make_splits


def main(archive_folder: str | None, work: Path) -> None:
    """Split, audit, leak, audit again."""
    if archive_folder is None:
        archive_folder = str(phantoms.write_archive(work / "drawn", 12, np.random.default_rng(4)))
        print("The images are drawn, not photographed.")
    archive = load_archive(Path(archive_folder))
    prepare_cache(archive.frames, work / "cache")
    cache = load_cache(work / "cache")
    duplicates = find_in_cache(cache, archive.frames)
    groups = group_frames(archive.frames, [(d.first_id, d.second_id) for d in duplicates])
    print(f"{len(archive.frames)} images, {len(set(groups.values()))} groups")

    splits = make_splits(archive.frames, groups, seed=0)
    for part, counts in splits.counts.items():
        print(f"  {part}: {dict(counts)}")
    report = audit(archive, cache, duplicates=duplicates, splits=splits)
    print(f"honest: {report.is_honest}, leaks: {len(report.leaks)}")

    leaky = with_a_leak(splits)
    report = audit(archive, cache, duplicates=duplicates, splits=leaky)
    print(f"after one image was moved: honest: {report.is_honest}, leaks: {len(report.leaks)}")
    for leak in report.leaks:
        print(f"  {leak}")


def with_a_leak(splits: Splits) -> Splits:
    """Move one image, whose group has others in training, to the test part."""
    train = list(splits.parts["train"])
    groups = [splits.groups[image_id] for image_id in train]
    moved = next(i for i, group in zip(train, groups, strict=True) if groups.count(group) > 1)
    train.remove(moved)
    test = (*splits.parts["test"], moved)
    return dataclasses.replace(splits, parts={**splits.parts, "train": tuple(train), "test": test})


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        main(sys.argv[1] if len(sys.argv) > 1 else None, Path(folder))
