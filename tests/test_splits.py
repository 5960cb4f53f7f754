"""Splits: nothing that belongs together is divided, and every class is in every part."""

from __future__ import annotations

import csv
import json
import os
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lesionlens.data.groups import group_frames
from lesionlens.data.manifest import load_archive
from lesionlens.data.splits import PAPER_TEST_COUNTS, Splits, check_splits, find_leaks, make_splits
from lesionlens.errors import DataError, LeakageError
from lesionlens.labels import Label
from lesionlens.records import Frame

needs_data = pytest.mark.skipif(
    "LESIONLENS_DATA" not in os.environ, reason="LESIONLENS_DATA is not set"
)


def frame(image_id: str, label: Label = Label.BCC, **fields: str) -> Frame:
    return Frame(image_id, Path(f"{image_id}.jpg"), label, **fields)  # type: ignore[arg-type]


def random_archive(n_groups: int = 300, seed: int = 0) -> list[Frame]:
    """Return frames with lesions of 1 to 5 frames, some patients with several lesions."""
    rng = np.random.default_rng(seed)
    choice = rng.choice(4, n_groups, p=[0.2, 0.1, 0.2, 0.5])
    labels = [(Label.BCC, Label.SCC, Label.NORMAL, Label.NV)[i] for i in choice]
    frames = []
    for lesion, label in enumerate(labels):
        patient = f"P{rng.integers(40)}" if rng.random() < 0.3 else ""
        source = f"hospital {rng.integers(3)}"
        frames += [
            frame(
                f"L{lesion}_{i}", label, lesion_id=f"L{lesion}", patient_id=patient, source=source
            )
            for i in range(rng.integers(1, 6))
        ]
    return frames


def shares(splits: Splits, label: Label) -> dict[str, float]:
    total = sum(counts.get(label, 0) for counts in splits.counts.values())
    return {part: counts.get(label, 0) / total for part, counts in splits.counts.items()}


def test_photos_of_other_things_are_dealt_out_and_move_no_lesion() -> None:
    lesions = random_archive()
    photos = [frame(f"photo{i}", Label.NOT_SKIN, source="nonskin") for i in range(23)]
    groups = group_frames([*lesions, *photos])
    without = make_splits(lesions, groups, seed=3, folds=4)
    having = make_splits([*photos, *lesions], groups, seed=3, folds=4)
    for part, ids in having.parts.items():
        assert tuple(i for i in ids if not i.startswith("photo")) == without.parts[part]
        assert having.counts[part]["NotSkin"] in (5, 6)


def test_lesion_patient_parent_and_near_duplicate_each_make_a_group() -> None:
    frames = [
        frame("a", lesion_id="L1"),
        frame("b", lesion_id="L1", patient_id="P1"),
        frame("c", patient_id="P1"),
        frame("d"),
        frame("d_skin", Label.NORMAL, parent_id="d"),
        frame("e"),
        frame("f"),
    ]
    groups = group_frames(frames, [("d_skin", "e")])
    assert len(set(groups.values())) == 3
    assert groups["a"] == groups["b"] == groups["c"] == "lesion:L1"
    assert groups["d"] == groups["d_skin"] == groups["e"]
    assert groups["f"] == "image:f"


def test_crops_of_one_parent_are_a_group_even_if_the_parent_is_not_in_the_archive() -> None:
    crops = [frame(f"skin{i}", Label.NORMAL, parent_id="gone") for i in range(2)]
    assert len(set(group_frames(crops).values())) == 1


def test_lesion_and_patient_of_the_same_name_are_not_one_group() -> None:
    groups = group_frames([frame("a", lesion_id="1"), frame("b", patient_id="1")])
    assert groups["a"] != groups["b"]


def test_groups_do_not_depend_on_the_order_of_frames() -> None:
    frames = random_archive()
    assert group_frames(frames) == group_frames(frames[::-1])


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("options", [{}, {"folds": 5}, {"test_counts": {Label.BCC: 20}}])
def test_no_group_is_divided_and_no_frame_is_lost(seed: int, options: dict) -> None:
    frames = random_archive(seed=seed)
    groups = group_frames(frames)
    splits = make_splits(frames, groups, seed=seed, **options)
    everyone = [image_id for ids in splits.parts.values() for image_id in ids]
    assert sorted(everyone) == sorted(f.image_id for f in frames)
    where: dict[str, set[str]] = {}
    for part, ids in splits.parts.items():
        for image_id in ids:
            where.setdefault(groups[image_id], set()).add(part)
    assert all(len(parts) == 1 for parts in where.values())
    check_splits(splits, frames, groups)


def test_every_class_and_source_has_its_share_of_every_part() -> None:
    frames = random_archive(1000)
    splits = make_splits(frames, group_frames(frames), seed=1)
    wanted = {"train": 0.7, "validation": 0.15, "test": 0.15}
    for label in {f.label for f in frames}:
        assert shares(splits, label) == pytest.approx(wanted, abs=0.02)
        for source in {f.source for f in frames}:
            ids = {f.image_id for f in frames if (f.label, f.source) == (label, source)}
            for part, share in wanted.items():
                got = len(ids.intersection(splits.parts[part])) / len(ids)
                assert got == pytest.approx(share, abs=0.06)


def test_folds_spread_classes_no_worse_than_scikit_learn() -> None:
    from sklearn.model_selection import StratifiedGroupKFold

    frames = [replace(f, source="") for f in random_archive(400, seed=5)]  # it knows of none
    groups = group_frames(frames)
    ours = make_splits(frames, groups, seed=0, folds=5)
    labels = np.array([f.label.value for f in frames])
    kfold = StratifiedGroupKFold(5, shuffle=True, random_state=0)
    theirs = [
        Counter(labels[test])
        for _, test in kfold.split(labels, labels, [groups[f.image_id] for f in frames])
    ]
    for label in sorted(set(labels)):
        our_counts = [ours.counts[f"fold{i}"].get(label, 0) for i in range(5)]
        their_counts = [counts[label] for counts in theirs]
        assert np.ptp(our_counts) <= np.ptp(their_counts) + 1


def test_same_seed_gives_the_same_file_and_another_seed_another(tmp_path: Path) -> None:
    frames = random_archive()
    groups = group_frames(frames)
    make_splits(frames, groups, seed=3).save(tmp_path / "one.json")
    make_splits(frames[::-1], groups, seed=3).save(tmp_path / "two.json")
    make_splits(frames, groups, seed=4).save(tmp_path / "three.json")
    assert (tmp_path / "one.json").read_bytes() == (tmp_path / "two.json").read_bytes()
    assert (tmp_path / "one.json").read_bytes() != (tmp_path / "three.json").read_bytes()


def test_saved_splits_come_back_as_they_were(tmp_path: Path) -> None:
    frames = random_archive()
    splits = make_splits(frames, group_frames(frames), seed=3)
    splits.save(tmp_path / "splits.json")
    assert Splits.load(tmp_path / "splits.json") == splits
    stored = json.loads((tmp_path / "splits.json").read_text())
    assert {"format", "kind", "seed", "input_sha256", "groups", "parts", "counts", "n_groups"} == (
        stored.keys()
    )


def test_test_counts_are_met_exactly_where_groups_allow_it() -> None:
    frames = [frame(f"b{i}") for i in range(100)]
    frames += [frame(f"s{i}", Label.SCC, lesion_id=f"S{i // 3}") for i in range(90)]
    frames += [frame(f"n{i}", Label.NORMAL, source=f"hospital {i % 4 == 0}") for i in range(80)]
    splits = make_splits(frames, group_frames(frames), seed=0, test_counts=PAPER_TEST_COUNTS)
    assert splits.counts["test"] == {"BCC": 36, "SCC": 36, "Normal": 24}
    of_rare = sum(f.image_id in splits.parts["test"] for f in frames if f.source.endswith("True"))
    assert of_rare == 6  # a quarter of the Normal frames, as in the archive


def test_test_counts_that_no_groups_sum_to_come_out_below() -> None:
    frames = [frame(f"b{i}", lesion_id=f"B{i // 5}") for i in range(100)]
    splits = make_splits(frames, group_frames(frames), seed=0, test_counts={Label.BCC: 12})
    assert splits.counts["test"] == {"BCC": 10}


def test_class_with_too_few_groups_is_named_with_what_it_needs() -> None:
    frames = [frame(f"b{i}") for i in range(20)]
    frames += [frame(f"s{i}", Label.SCC, lesion_id=f"S{i % 2}") for i in range(20)]
    with pytest.raises(DataError, match=r"SCC: has 2 groups.*at least 3 are needed"):
        make_splits(frames, group_frames(frames), seed=0)
    with pytest.raises(DataError, match=r"SCC: has 2 groups.*at least 5 are needed"):
        make_splits(frames, group_frames(frames), seed=0, folds=5)


def test_class_with_just_enough_groups_is_in_every_part() -> None:
    frames = [frame(f"b{i}") for i in range(50)]
    frames += [frame(f"s{i}", Label.SCC, lesion_id=f"S{i % 3}") for i in range(20)]
    splits = make_splits(frames, group_frames(frames), seed=0)
    assert all(counts["SCC"] > 0 for counts in splits.counts.values())


@pytest.mark.parametrize(
    "options",
    [
        {"fractions": (0.5, 0.5, 0.5)},
        {"fractions": (0.0, 0.5, 0.5)},
        {"fractions": (1.2, -0.1, -0.1)},
        {"folds": 1},
        {"test_counts": {Label.BCC: 10_000}},
        {"test_counts": {Label.VASC: 3}},
        {"test_counts": {Label.BCC: 3}, "folds": 5},
    ],
)
def test_impossible_options_are_refused(options: dict) -> None:
    frames = random_archive()
    with pytest.raises(DataError):
        make_splits(frames, group_frames(frames), seed=0, **options)


def test_split_without_a_test_part_is_possible() -> None:
    frames = random_archive()
    splits = make_splits(frames, group_frames(frames), seed=0, fractions=(0.8, 0.2, 0.0))
    assert list(splits.parts) == ["train", "validation"]


def moved(splits: Splits, image_id: str) -> Splits:
    """Return splits in which an image was carried over to another part by hand."""
    here = splits.part_of()[image_id]
    there = next(part for part in splits.parts if part != here)
    parts = dict(splits.parts)
    parts[here] = tuple(i for i in parts[here] if i != image_id)
    parts[there] = (*parts[there], image_id)
    return replace(splits, parts=parts)


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"lesion_id": "shared"}, "lesion"),
        ({"patient_id": "shared"}, "patient"),
        ({"parent_id": "parent"}, "parent"),
    ],
)
def test_what_was_carried_to_another_part_is_found(fields: dict[str, str], kind: str) -> None:
    frames = [*random_archive(), frame("parent"), frame("x", **fields), frame("y", **fields)]
    honest = make_splits(frames, group_frames(frames), seed=0)
    assert find_leaks(honest, frames) == ()
    edited = moved(honest, "x")
    # The groups of the file may be edited too: the archive itself is what is asked.
    edited = replace(edited, groups={image_id: image_id for image_id in edited.groups})
    assert kind in {leak.kind for leak in find_leaks(edited, frames)}
    with pytest.raises(LeakageError, match="x"):
        check_splits(edited, frames)


def test_near_duplicates_in_two_parts_are_found() -> None:
    frames = [frame(f"b{i}") for i in range(20)]
    splits = make_splits(frames, group_frames(frames), seed=0)
    pair = (splits.parts["train"][0], splits.parts["test"][0])
    leaks = find_leaks(splits, frames, duplicates=[pair])
    assert [leak.kind for leak in leaks] == ["near-duplicate"]
    with pytest.raises(LeakageError):
        check_splits(splits, frames, group_frames(frames, [pair]))


def test_image_in_two_parts_is_a_leak() -> None:
    frames = [frame(f"b{i}") for i in range(20)]
    splits = make_splits(frames, group_frames(frames), seed=0)
    parts = dict(splits.parts)
    parts["test"] = (*parts["test"], parts["train"][0])
    with pytest.raises(LeakageError, match=parts["train"][0]):
        check_splits(replace(splits, parts=parts), frames)


def test_archive_that_lost_images_or_changed_its_labels_is_refused() -> None:
    frames = random_archive()
    splits = make_splits(frames, group_frames(frames), seed=0)
    with pytest.raises(DataError, match=frames[0].image_id):
        check_splits(splits, frames[1:])
    with pytest.raises(DataError, match="changed"):
        check_splits(splits, [replace(frames[0], label=Label.MEL), *frames[1:]])
    check_splits(splits, [*frames, frame("new")])


@pytest.mark.parametrize("text", ["[]", "{}", '{"format": 1}', '{"format": 99}', "no json"])
def test_file_that_is_no_splits_file_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "splits.json"
    path.write_text(text)
    with pytest.raises(DataError, match=r"splits\.json"):
        Splits.load(path)


def reference_groups(archive: Path) -> dict[str, str]:
    with open(archive / "provenance.csv", encoding="utf-8") as file:
        return {Path(row["file"]).stem: row["group_id"] for row in csv.DictReader(file)}


@needs_data
@pytest.mark.slow
def test_no_reference_group_straddles_a_split_of_the_real_archive(tmp_path: Path) -> None:
    from lesionlens.data.duplicates import find_in_cache
    from lesionlens.data.prepare import load_cache, prepare_cache

    root = Path(os.environ["LESIONLENS_DATA"])
    frames = load_archive(root).frames
    reference = reference_groups(root)
    merged = merged_by_reference(frames, reference)
    # All frames whose group is more than a lesion or a patient, and some others to get lost in.
    chosen = [f for i, f in enumerate(frames) if f.image_id in merged or i % 8 == 0]
    prepare_cache(chosen, tmp_path / "cache")
    found = find_in_cache(load_cache(tmp_path / "cache"), chosen)
    groups = group_frames(frames, [(pair.first_id, pair.second_id) for pair in found])
    for options in ({}, {"folds": 5}, {"test_counts": PAPER_TEST_COUNTS}):
        splits = make_splits(frames, groups, seed=0, **options)
        parts: dict[str, set[str]] = {}
        for image_id, part in splits.part_of().items():
            if image_id in reference:
                parts.setdefault(reference[image_id], set()).add(part)
        assert len(parts) == len(set(reference.values()))
        assert [group for group, where in parts.items() if len(where) > 1] == []


def merged_by_reference(frames: tuple[Frame, ...], reference: dict[str, str]) -> set[str]:
    """Return images that the reference groups with others by no id of the metadata."""
    members: dict[str, list[Frame]] = {}
    for f in frames:
        if f.image_id in reference:
            members.setdefault(reference[f.image_id], []).append(f)
    return {
        f.image_id
        for group in members.values()
        if len({f.lesion_id or f.patient_id or f.image_id for f in group}) > 1
        for f in group
    }


@needs_data
def test_real_archive_is_split_by_the_papers_counts_and_evenly() -> None:
    frames = load_archive(Path(os.environ["LESIONLENS_DATA"])).frames
    groups = group_frames(frames)
    paper = make_splits(frames, groups, seed=0, test_counts=PAPER_TEST_COUNTS)
    assert {label: paper.counts["test"][label] for label in PAPER_TEST_COUNTS} == PAPER_TEST_COUNTS
    folds = make_splits(frames, groups, seed=0, folds=5)
    for label in {f.label for f in frames}:
        assert shares(folds, label) == pytest.approx({f"fold{i}": 0.2 for i in range(5)}, abs=0.01)
