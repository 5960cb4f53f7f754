"""Do the maps of --explain lie on the lesion, and on what the answer hangs on?

    python benchmarks/saliency.py runs/lens ARCHIVE --cache cache --splits folds.json

BCC and SCC that have a lesion mask (``ARCHIVE/masks/<image_id>_segmentation.png``, 255 = lesion),
each shown to the fold's model that never saw it, explained for the class it answered with. Prints
the Markdown tables of docs/explain.md: how much of the map lies inside the mask and whether its
peak does; deletion and insertion curves (Petsiuk and others 2018, https://arxiv.org/abs/1806.07421);
and whether the map changes with the class and with the head's weights (Adebayo and others 2018,
https://arxiv.org/abs/1810.03292). Each beside maps that know nothing of the image. Intervals draw
whole lesions. ``--into docs/explain.md`` puts the tables there. Needs no TensorFlow; 300 images
take a minute and a half of one core.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from folds import put_into
from lesionlens.confidence import softmax
from lesionlens.data.manifest import load_archive
from lesionlens.data.prepare import Cache, load_cache
from lesionlens.data.splits import Splits
from lesionlens.files import read_json
from lesionlens.intervals import Metric, Scores, bootstrap
from lesionlens.labels import IN_SCOPE, Label
from lesionlens.records import Frame
from lesionlens.reporting import format_metric
from lesionlens.runtime import Head, Model
from lesionlens.saliency import MAP_PX, evidence_maps, merge_views, rectify
from lesionlens.views import make_views

OURS, ONE_VIEW = "map", "map of one view"
OTHERS, CENTRE, BLOBS, EVERYWHERE = "another image's map", "centre", "random blobs", "everywhere"
#: What competes inside the mask, and what orders the pixels of the curves.
INSIDE = (OURS, ONE_VIEW, OTHERS, CENTRE, EVERYWHERE)
ORDERS = (OURS, ONE_VIEW, OTHERS, CENTRE, BLOBS)
#: Steps of a curve: each deletes or restores this share of the image.
N_STEPS = 12
#: Standard deviation of the centre's bell, and of the blur that deletes, in shares of the side.
CENTRE_SPREAD, BLUR = 0.25, 0.1
N_BOOTSTRAP = 2000
#: Marks in a page that the tables stand between.
BEGIN = "<!-- benchmarks/saliency.py -->"


@dataclass(frozen=True)
class Case:
    """An image, its mask, and what the model that never saw it made of it."""

    frame: Frame
    rgb: np.ndarray  # uint8, (224, 224, 3)
    mask: np.ndarray  # bool, (MAP_PX, MAP_PX)
    model: Model
    answer: int  # column of the answered class
    is_right: bool
    maps: Mapping[str, np.ndarray]  # OURS, ONE_VIEW, and for the table of sanity: (MAP_PX, MAP_PX)


@dataclass(frozen=True)
class Material:
    """Where pixels, parts and masks come from."""

    splits: Splits
    cache: Cache
    masks: Path  # folder

    def mask_of(self, frame: Frame) -> Path:
        return self.masks / f"{frame.image_id}_segmentation.png"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="folder of a cross-validated run")
    parser.add_argument("archive", type=Path)
    parser.add_argument("--cache", type=Path, default=Path("cache"))
    parser.add_argument("--splits", type=Path, default=Path("splits.json"))
    parser.add_argument("--masks", type=Path, help="folder of masks, if not ARCHIVE/masks")
    parser.add_argument("--images", type=int, default=300, help="at most, half of each class")
    parser.add_argument("--views", type=int, default=5, help="averaged in an answer")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--into", type=Path, help="page whose tables between marks to replace")
    args = parser.parse_args()
    rng = np.random.default_rng(args.seed)
    material = Material(
        Splits.load(args.splits), load_cache(args.cache), args.masks or args.archive / "masks"
    )
    frames = choose(load_archive(args.archive).frames, material, args.images, rng)
    cases = list(explain(frames, material, args.run, args.views, rng))
    names = [material.splits.groups[case.frame.image_id] for case in cases]
    groups = np.unique(names, return_inverse=True)[1]
    text = io.StringIO()
    with redirect_stdout(text):
        print(
            f"{len(cases)} images of {groups.max() + 1} lesions or patients, {args.views} views.\n"
        )
        print_inside(cases, groups, rng)
        print_curves(cases, groups, rng)
        print_sanity(cases, groups, rng)
    print(text.getvalue())
    if args.into is not None:
        put_into(args.into, BEGIN, text.getvalue())


def choose(
    frames: Sequence[Frame],
    material: Material,
    n: int,
    rng: np.random.Generator,
) -> list[Frame]:
    """Draw BCC and SCC that have a mask, at most half of ``n`` each."""
    chosen: list[Frame] = []
    part_of = material.splits.part_of()
    for label in (Label.BCC, Label.SCC):
        usable = [
            frame
            for frame in frames
            if frame.label is label
            and frame.image_id in material.cache.row_of
            and frame.image_id in part_of
            and material.mask_of(frame).is_file()
        ]
        order = rng.permutation(len(usable))[: n // 2]
        chosen += [usable[index] for index in sorted(order)]
    if not chosen:
        raise SystemExit(
            f"{material.masks}: no BCC or SCC of the cache and the splits has a mask there"
        )
    return chosen


def explain(
    frames: Sequence[Frame],
    material: Material,
    run: Path,
    n_views: int,
    rng: np.random.Generator,
) -> Iterator[Case]:
    """Answer and explain each image by the model of its fold."""
    part_of, cache = material.splits.part_of(), material.cache
    for part in sorted(material.splits.parts):
        model = Model(run / part / "model.tflite", num_threads=1)
        labels = [Label(name) for name in read_json(run / part / "config.json")["labels"]]
        head = model.head()
        columns = [labels.index(label) for label in IN_SCOPE]
        for frame in frames:
            if part_of[frame.image_id] != part:
                continue
            rgb = np.array(cache.images[cache.row_of[frame.image_id]])
            outputs = model.run(make_views(rgb, n_views), feature_map=True)
            logits = outputs.logits.mean(axis=0)
            first, second = sorted(columns, key=lambda column: -logits[column])[:2]
            one = np.eye(len(labels), dtype=np.float32)
            maps = evidence_maps(outputs, head, one[first])
            with Image.open(material.mask_of(frame)) as image:
                mask = np.asarray(image.convert("L").resize((MAP_PX, MAP_PX))) >= 128
            yield Case(
                frame,
                rgb,
                mask,
                model,
                first,
                labels[first] is frame.label,
                {
                    OURS: merge_views(maps),
                    ONE_VIEW: merge_views(maps[:1]),
                    "runner-up": merge_views(evidence_maps(outputs, head, one[second])),
                    "last layer": merge_views(
                        evidence_maps(outputs, shuffled(head, 1, rng), one[first])
                    ),
                    "both layers": merge_views(
                        evidence_maps(outputs, shuffled(head, 2, rng), one[first])
                    ),
                },
            )


def shuffled(head: Head, n_layers: int, rng: np.random.Generator) -> Head:
    """Return the head with the weights of its last layers shuffled: as large, and meaningless."""
    kept = len(head.weights) - n_layers
    weights = [
        values if layer < kept else rng.permutation(values.ravel()).reshape(values.shape)
        for layer, values in enumerate(head.weights)
    ]
    return Head(tuple(weights), head.biases)


def competitors(cases: list[Case], rng: np.random.Generator) -> dict[str, list[np.ndarray]]:
    """Return every map that is compared, 0..1, an image each."""
    ours = [rectify(case.maps[OURS])[0] for case in cases]
    place = (np.arange(MAP_PX) + 0.5) / MAP_PX - 0.5
    bell = np.exp(-(place**2 + place[:, np.newaxis] ** 2) / (2 * CENTRE_SPREAD**2))
    # One full turn of a shuffled round: nobody keeps the own map.
    round_trip = rng.permutation(len(cases))
    donor = np.empty(len(cases), int)
    donor[round_trip] = np.roll(round_trip, 1)
    return {
        OURS: ours,
        ONE_VIEW: [rectify(case.maps[ONE_VIEW])[0] for case in cases],
        OTHERS: [ours[index] for index in donor],
        CENTRE: [bell] * len(cases),
        BLOBS: [merge_views(rng.random((1, 7, 7), np.float32)) for _ in cases],
        EVERYWHERE: [np.ones((MAP_PX, MAP_PX))] * len(cases),
    }


# ---------------------------------------------------------------- inside the mask


def print_inside(cases: list[Case], groups: np.ndarray, rng: np.random.Generator) -> None:
    maps = competitors(cases, rng)
    energy = {name: np.array([share(m, c.mask) for m, c in zip(maps[name], cases, strict=True)])
              for name in INSIDE}  # fmt: skip
    pointing = {name: np.array([hit(m, c.mask) for m, c in zip(maps[name], cases, strict=True)])
                for name in INSIDE}  # fmt: skip
    rows = {
        "all": np.ones(len(cases), bool),
        **{str(label): np.array([case.frame.label is label for case in cases])
           for label in (Label.BCC, Label.SCC)},
        "answered rightly": np.array([case.is_right for case in cases]),
        "answered wrongly": np.array([not case.is_right for case in cases]),
    }  # fmt: skip
    for title, values in (
        ("Share of the map inside the lesion's mask", energy),
        ("Peak inside the lesion's mask (pointing game)", pointing),
    ):
        print(f"{title}:\n\n| | n | {' | '.join(INSIDE)} | map less centre |")
        print(f"| --- | --- |{' --- |' * (len(INSIDE) + 1)}")
        for name, is_in in rows.items():
            if not is_in.any():
                continue
            some = {key: column[is_in] for key, column in values.items()}
            some["difference"] = some[OURS] - some[CENTRE]
            found = means(some, groups[is_in], rng)
            print(f"| {name} | {is_in.sum()} | {' | '.join(map(format_metric, found.values()))} |")
        print()


def share(values: np.ndarray, mask: np.ndarray) -> float:
    """Return how much of a map lies inside the mask; NaN of a map that is empty."""
    return float(values[mask].sum() / values.sum()) if values.any() else np.nan


def hit(values: np.ndarray, mask: np.ndarray) -> float:
    """Return the share of a map's highest pixels that are inside the mask."""
    return float(mask[values == values.max()].mean()) if values.any() else np.nan


# ---------------------------------------------------------------- deletion and insertion


def print_curves(cases: list[Case], groups: np.ndarray, rng: np.random.Generator) -> None:
    maps = competitors(cases, rng)
    areas: dict[str, dict[str, np.ndarray]] = {"deletion": {}, "insertion": {}}
    for name in ORDERS:
        found = [curves(case, maps[name][index]) for index, case in enumerate(cases)]
        areas["deletion"][name], areas["insertion"][name] = np.array(found).T
    print("Area under the curve of the answered class's probability:\n")
    print("| order | deletion (lower is better) | insertion (higher is better) |")
    print("| --- | --- | --- |")
    of = {test: means(values, groups, rng) for test, values in areas.items()}
    for name in ORDERS:
        print(f"| {name} | {' | '.join(format_metric(of[test][name]) for test in areas)} |")
    for name in ORDERS[1:]:
        cells = [
            format_metric(means({"": values[OURS] - values[name]}, groups, rng)[""])
            for values in areas.values()
        ]
        print(f"| map less {name} | {' | '.join(cells)} |")
    print()


def curves(case: Case, values: np.ndarray) -> tuple[float, float]:
    """Return the areas under the deletion and the insertion curve, hottest pixels first."""
    side = len(case.rgb)
    blurred = np.asarray(
        Image.fromarray(case.rgb).filter(ImageFilter.GaussianBlur(BLUR * side)), np.uint8
    )
    # Rank of each pixel, 0 the hottest; ties (where a map is 0) stay as they lie.
    rank = np.empty(values.size, int)
    rank[np.argsort(-values.ravel(), kind="stable")] = np.arange(values.size)
    scale = side // MAP_PX
    rank = rank.reshape(values.shape).repeat(scale, axis=0).repeat(scale, axis=1)[..., np.newaxis]
    shown = [
        np.where(rank < values.size * step / N_STEPS, *pair)
        for pair in ((blurred, case.rgb), (case.rgb, blurred))
        for step in range(N_STEPS + 1)
    ]
    # The two curves end where the other begins.
    once = np.stack(shown[: N_STEPS + 1] + shown[N_STEPS + 2 : -1])
    probability = softmax(case.model.run(once).logits)[:, case.answer]
    deletion = probability[: N_STEPS + 1]
    insertion = np.concatenate([deletion[-1:], probability[N_STEPS + 1 :], deletion[:1]])
    return tuple(float(np.trapezoid(curve, dx=1 / N_STEPS)) for curve in (deletion, insertion))  # type: ignore[return-value]


# ---------------------------------------------------------------- sanity


def print_sanity(cases: list[Case], groups: np.ndarray, rng: np.random.Generator) -> None:
    print("Rank correlation of the map with:\n\n| | Spearman's rho |\n| --- | --- |")
    place = (np.arange(MAP_PX) + 0.5) / MAP_PX - 0.5
    bell = -(place**2 + place[:, np.newaxis] ** 2)
    rows = {
        "the map of the runner-up among the three": [case.maps["runner-up"] for case in cases],
        "itself, weights of the last layer shuffled": [case.maps["last layer"] for case in cases],
        "itself, weights of both dense layers shuffled": [
            case.maps["both layers"] for case in cases
        ],
        "nearness to the centre": [bell] * len(cases),
    }
    values = {
        name: np.array(
            [rank_correlation(case.maps[OURS], m) for case, m in zip(cases, maps, strict=True)]
        )
        for name, maps in rows.items()
    }
    for name, metric in means(values, groups, rng).items():
        print(f"| {name} | {format_metric(metric)} |")


def rank_correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Return Spearman's rho over every fourth pixel each way: more than the network tells apart."""
    ranks = [np.argsort(np.argsort(values[2::4, 2::4].ravel())) for values in (one, other)]
    return float(np.corrcoef(*ranks)[0, 1])


def means(
    values: Mapping[str, np.ndarray], groups: np.ndarray, rng: np.random.Generator
) -> dict[str, Metric]:
    """Return the mean of each column, empty maps left out, with intervals by group."""
    group_of = np.unique(groups, return_inverse=True)[1]

    def scores(weights: np.ndarray) -> Scores:
        return {
            name: (weights @ np.nan_to_num(column)) / (weights @ ~np.isnan(column))
            for name, column in values.items()
        }

    return bootstrap(scores, group_of, N_BOOTSTRAP, rng)


if __name__ == "__main__":
    main()
