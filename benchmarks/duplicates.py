"""Score the near-duplicate search against a reference grouping of the same archive.

    python benchmarks/duplicates.py ARCHIVE REFERENCE.csv [--cache cache]

REFERENCE.csv has columns ``file`` (its stem is the image_id) and ``group_id``. A pair is right
if the reference has both images in one group. A merge of the reference is a group whose images
share no lesion and no patient by the metadata: only pixels can tell that they belong together.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from itertools import combinations
from pathlib import Path

from lesionlens.data.duplicates import MIN_CORRELATION, find_near_duplicates
from lesionlens.data.manifest import load_archive
from lesionlens.data.prepare import load_cache, prepare_cache
from lesionlens.files import read_csv


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("archive", type=Path)
    parser.add_argument("reference", type=Path)
    parser.add_argument("--cache", type=Path, default=Path("cache"))
    arguments = parser.parse_args()
    reference = {
        Path(row["file"]).stem: row["group_id"]
        for row in read_csv(arguments.reference, required=("file", "group_id"))
    }
    frames = [f for f in load_archive(arguments.archive).frames if f.image_id in reference]
    prepare_cache(frames, arguments.cache)
    cache = load_cache(arguments.cache)
    images = [cache.images[cache.row_of[frame.image_id]] for frame in frames]
    start = time.perf_counter()
    # Below the threshold too, to see how far the nearest wrong pair is from it.
    pairs = find_near_duplicates(images, [f.image_id for f in frames], min_correlation=0.4)
    seconds = time.perf_counter() - start

    members = defaultdict(list)
    for frame in frames:
        members[reference[frame.image_id]].append(frame)
    merges = {
        frozenset((one.image_id, other.image_id))
        for group in members.values()
        for one, other in combinations(group, 2)
        if (one.lesion_id or one.patient_id or one.image_id)
        != (other.lesion_id or other.patient_id or other.image_id)
    }
    print(f"{len(frames)} images, {seconds:.1f} s")
    print(f"{'correlation':>12}{'pairs':>8}{'right':>8}{'precision':>11}{'merges found':>14}")
    for least in sorted({0.5, 0.6, 0.65, MIN_CORRELATION, 0.8, 0.9}):
        chosen = [pair for pair in pairs if pair.correlation >= least]
        right = sum(reference[pair.first_id] == reference[pair.second_id] for pair in chosen)
        found = merges & {frozenset((pair.first_id, pair.second_id)) for pair in chosen}
        print(
            f"{least:>12.2f}{len(chosen):>8}{right:>8}{right / max(len(chosen), 1):>11.1%}"
            f"{len(found):>8} of {len(merges)}"
        )
    wrong = [p.correlation for p in pairs if reference[p.first_id] != reference[p.second_id]]
    print(f"highest correlation of a wrong pair: {max(wrong, default=0):.3f}")


if __name__ == "__main__":
    main()
