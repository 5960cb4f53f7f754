"""Which score tells BCC, SCC and healthy skin from everything else, taught or never seen?

    python benchmarks/scope.py RUN ARCHIVE --cache cache --splits folds.json --out scope
    python benchmarks/scope.py RUN ARCHIVE ... --weights imagenet --epochs 2,6 --folds 1

Without ``--weights`` only the models of RUN are asked, each about the fold it never saw. With
it, a network is trained on four folds without one diagnosis, its output and all of its images,
and then asked about the fifth fold's in-scope images and about every image of that diagnosis;
so for each diagnosis in turn. Stop it at any time: it goes on where it was. Prints Markdown.

Set OPENBLAS_NUM_THREADS=1 for times of one core.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from ablation import shortened
from lesionlens.data.manifest import load_archive
from lesionlens.data.prepare import load_cache
from lesionlens.data.splits import Splits
from lesionlens.files import atomic_write, read_json
from lesionlens.imaging import load_pixels
from lesionlens.labels import IN_SCOPE, Label
from lesionlens.records import Frame
from lesionlens.runtime import Model, usable_cores
from lesionlens.train.config import LENS, TrainConfig
from lesionlens.train.export import convert, spread
from lesionlens.train.inputs import UNNAMED_BENIGN, release_pages
from lesionlens.train.network import import_tensorflow
from lesionlens.train.runs import MODEL, Material, cut_validation
from lesionlens.train.stages import STATE, load_best, train_network
from lesionlens.views import make_views
from lesionlens.zooms import ZOOMS
from scope_scores import (
    N_BANK_PER_CLASS,
    N_DIRECTIONS,
    Answers,
    Combination,
    ConformalP,
    Gated,
    Mahalanobis,
    MahalanobisDifference,
    Neighbours,
    NeighboursDifference,
    RelativeMahalanobis,
    Score,
    Worse,
    energy_in_scope,
    energy_of_all,
    explicit,
    largest_joint,
    largest_softmax,
)
from scope_tables import (
    PARTS,
    TARGETS,
    Fit,
    compare,
    print_costs,
    print_tables,
    print_verdicts,
)

#: Images of a class that distances are fitted on, and that combinations are, at most.
KNOWN_PER_CLASS, VALIDATION_PER_CLASS = 600, 100
#: Nothing is left out: what the same short training gives for diagnoses it does see.
NOTHING = "nothing"
#: Photos of things are left out, and what is not skin is learned from decoys made on the fly alone.
PHOTOS = "photos"
#: The score whose gate is put in front of the verdicts.
GATED = "explicit, gated by small bank"


# ---------------------------------------------------------------- networks and their answers


def config_without(left_out: str, epochs: tuple[int, int], epoch_size: int) -> TrainConfig:
    """Return ``lens``, shortened, without the output and the images of a class."""
    config = dataclasses.replace(shortened(epochs, epoch_size), views=1)
    return dataclasses.replace(
        config,
        labels=tuple(label for label in config.labels if label != left_out),
        mixture={label: n for label, n in config.mixture.items() if label != left_out},
        # Decoys are things that are not skin, too.
        decoy_share=0.0 if left_out == Label.NOT_SKIN else config.decoy_share,
    )


def material_without(left_out: str, material: Material) -> Material:
    """Leave out images that no missing output leaves out.

    With nevi or keratoses go the benign lesions that nobody named, which are mostly that.
    """
    gone = Label.NOT_SKIN if left_out == PHOTOS else Label.UNK
    if gone is Label.UNK and left_out not in UNNAMED_BENIGN:
        return material
    parts = {
        part: tuple(i for i in image_ids if material.frames[i].label is not gone)
        for part, image_ids in material.splits.parts.items()
    }
    return dataclasses.replace(material, splits=dataclasses.replace(material.splits, parts=parts))


def ask(
    folder: Path,
    fold: str,
    material: Material,
    config: TrainConfig,
    path: Path,
    *,
    views: int,
    never: Collection[Label] = (),
) -> Fit:
    """Ask a trained network about all that is needed, once, and keep the answers in ``path``.

    Args:
        folder: of the network, with model.tflite.
        fold: that it was not trained on.
        material: what it was trained with, and what it was not.
        config: of its training; seed and validation share say what it was fitted on.
        path: the npz.
        views: whose logits and features are averaged.
        never: outputs whose images it was not taught, all the same.
    """
    seen = frozenset(config.labels) - frozenset(never)
    if not path.is_file():
        model = Model(folder / MODEL, num_threads=1)
        parts = _frames_of(fold, material, config, seen)
        frames = [frame for name in PARTS for frame in parts[name]]
        logits, features = _run(model, frames, material, views, config.zooms)
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path, "wb") as file:
            np.savez(
                file,
                logits=logits,
                features=features,
                ids=np.array([frame.image_id for frame in frames]),
                labels=np.array([frame.label.value for frame in frames]),
                parts=np.array([name for name in PARTS for _ in parts[name]]),
            )
        print(f"{folder}: {len(frames)} images asked about", flush=True)
    with np.load(path) as kept:
        labels = np.array([Label(text) for text in kept["labels"]], dtype=object)
        everything = Answers(kept["logits"], kept["features"], labels)
        rows = {name: np.flatnonzero(kept["parts"] == name) for name in PARTS}
        ids = kept["ids"]
    return Fit(
        fold,
        {name: everything[chosen] for name, chosen in rows.items()},
        {name: ids[chosen] for name, chosen in rows.items()},
        config.labels,
        seen,
    )


def _frames_of(
    fold: str, material: Material, config: TrainConfig, seen: frozenset[Label]
) -> dict[str, list[Frame]]:
    train, validation = _parts_without(fold, material, config)
    return {
        "known": _some(train, material, config, KNOWN_PER_CLASS),
        "validation": _some(validation, material, config, VALIDATION_PER_CLASS),
        "test": [
            frame
            for frame in material.usable(material.splits.parts[fold])
            if frame.label in {*IN_SCOPE, *seen}
        ],
        "never seen": [
            frame
            for frame in material.frames.values()
            if frame.label in TARGETS and frame.label not in seen
        ],
    }


def _parts_without(
    fold: str, material: Material, config: TrainConfig
) -> tuple[list[str], list[str]]:
    """Return what a network that is asked about ``fold`` learns from and is chosen on."""
    parts = material.splits.parts
    rest = [image_id for other in sorted(parts) if other != fold for image_id in parts[other]]
    return cut_validation(rest, material, config)


def _some(image_ids: Sequence[str], material: Material, config: TrainConfig, n: int) -> list[Frame]:
    of_label = defaultdict(list)
    for frame in material.usable(image_ids):
        if frame.label in config.labels:
            of_label[frame.label].append(frame)
    return [frame for label in config.labels for frame in spread(of_label[label], n)]


def _run(
    model: Model, frames: Sequence[Frame], material: Material, views: int, zooms: Sequence[float]
) -> tuple[np.ndarray, np.ndarray]:
    """Return mean logits and mean features of each image's views."""
    cache = material.cache

    def of_frame(frame: Frame) -> tuple[np.ndarray, np.ndarray]:
        row = cache.row_of.get(frame.image_id)
        rgb = load_pixels(frame.path).rgb if row is None else cache.images[row]
        outputs = model.run(make_views(rgb, views, zooms))
        return outputs.logits.mean(axis=0), outputs.features.mean(axis=0)

    found: list[tuple[np.ndarray, np.ndarray]] = []
    with ThreadPoolExecutor(usable_cores()) as pool:
        for start in range(0, len(frames), 1000):
            found += pool.map(of_frame, frames[start : start + 1000])
            release_pages(cache.images)
    return np.stack([logits for logits, _ in found]), np.stack([row for _, row in found])


# ---------------------------------------------------------------- answers to scores


def fit_all(known: Answers, validation: Answers) -> dict[str, Score]:
    """Fit every score by name.

    Args:
        known: images the network was trained on, or evenly spaced ones of them.
        validation: images it was not trained on; none of a diagnosis that is left out.

    Returns:
        Name -> score. Scores that need other outputs are missing where the network has none.
    """
    mahalanobis, reduced = Mahalanobis.fit(known), Mahalanobis.fit(known, N_DIRECTIONS)
    neighbours, small = Neighbours.fit(known), Neighbours.fit(known, N_BANK_PER_CLASS)
    few = f"{N_DIRECTIONS} directions"
    scores: dict[str, Score] = {
        "largest softmax of the three": largest_softmax,
        "energy of the three": energy_in_scope,
        "Mahalanobis": mahalanobis,
        f"Mahalanobis, {few}": reduced,
        "neighbours": neighbours,
        "neighbours, small bank": small,
    }
    if known.is_in_scope.all():
        return scores
    return {
        "explicit mass of the three": explicit,
        "explicit, largest of the three": largest_joint,
        "explicit, largest p-value": ConformalP.fit(validation),
        **scores,
        "energy of all": energy_of_all,
        "relative Mahalanobis": RelativeMahalanobis.fit(known),
        f"relative Mahalanobis, {few}": RelativeMahalanobis.fit(known, N_DIRECTIONS),
        "Mahalanobis against others": MahalanobisDifference.fit(known),
        "neighbours against others": NeighboursDifference.fit(known),
        "logistic: explicit, Mahalanobis": Combination.fit((explicit, reduced), validation),
        "logistic: explicit, neighbours": Combination.fit((explicit, neighbours), validation),
        "logistic: explicit, small bank": Combination.fit((explicit, small), validation),
        "worse of explicit, neighbours": Worse.fit((explicit, neighbours), validation),
        "explicit, gated by Mahalanobis": Gated.fit(reduced, validation),
        "explicit, gated by neighbours": Gated.fit(neighbours, validation),
        GATED: Gated.fit(small, validation),
    }


# ---------------------------------------------------------------- all of it


def fits_of_run(run: Path, material: Material, out: Path, views: int) -> Iterator[Fit]:
    """Ask each fold's model of a finished run."""
    for fold in sorted(material.splits.parts):
        found = read_json(run / fold / "config.json")
        config = dataclasses.replace(
            LENS,
            labels=tuple(Label(text) for text in found["labels"]),
            seed=found["seed"],
            validation_share=found["validation_share"],
            zooms=tuple(found.get("zooms", ZOOMS)),
        )
        yield ask(run / fold, fold, material, config, out / "run" / f"{fold}.npz", views=views)


def fits_without(
    left_out: str, material: Material, args: argparse.Namespace, epochs: tuple[int, int]
) -> Iterator[Fit]:
    """Train without a class on all folds but one, and ask about that one and the class."""
    config = config_without(left_out, epochs, args.epoch_size)
    reduced = material_without(left_out, material)
    for fold in sorted(material.splits.parts)[: args.folds]:
        folder = args.out / f"without-{left_out}" / fold
        if not (folder / MODEL).is_file():
            train(config, reduced, fold, folder, args.weights)
        path, never = folder / "answers.npz", [Label.NOT_SKIN] if left_out == PHOTOS else []
        yield ask(folder, fold, reduced, config, path, views=args.views, never=never)


def train(
    config: TrainConfig, material: Material, fold: str, folder: Path, weights: str | Path
) -> None:
    """Train on all folds but one, or go on where that stopped, and convert the best epoch."""
    import_tensorflow()
    learned, validation = _parts_without(fold, material, config)
    chosen_on = _some(validation, material, config, VALIDATION_PER_CLASS)
    train_network(
        config,
        material.cache.images,
        material.examples(learned, config.labels),
        material.examples([frame.image_id for frame in chosen_on], config.labels),
        folder,
        weights=weights,
        on_epoch=lambda row: print(f"{folder}: epoch {row.epoch}, {row.seconds:.0f} s", flush=True),
    )
    with atomic_write(folder / MODEL, "wb") as file:
        file.write(convert(load_best(folder), "fp32"))
    (folder / STATE).unlink()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="folder of a cross-validated run")
    parser.add_argument("archive", type=Path)
    parser.add_argument("--cache", type=Path, default=Path("cache"))
    parser.add_argument("--splits", type=Path, default=Path("splits.json"), help="with folds")
    parser.add_argument("--weights", help="of the base: train without each diagnosis, too")
    parser.add_argument("--out", type=Path, default=Path("scope"))
    parser.add_argument("--only", default=",".join(TARGETS), help="diagnoses, with commas")
    parser.add_argument("--epochs", default="2,6")
    parser.add_argument("--epoch-size", type=int, default=2048)
    parser.add_argument("--folds", type=int, default=1, help="to leave diagnoses out on")
    parser.add_argument("--views", type=int, default=5, help="averaged, of logits and features")
    parser.add_argument("--bootstrap", type=int, default=1000)
    args = parser.parse_args()
    only = [Label(text) for text in args.only.split(",")]
    frames = {frame.image_id: frame for frame in load_archive(args.archive).frames}
    material = Material(frames, load_cache(args.cache), Splits.load(args.splits))

    def report(title: str, fits: Sequence[Fit], *, taught: bool) -> None:
        scores = [fit_all(fit.answers["known"], fit.answers["validation"]) for fit in fits]
        compared = compare(fits, scores, material.splits.groups, taught=taught, only=only)
        if compared.cases:
            print_tables(title, compared, args.bootstrap)
            gates = [found.get(GATED) for found in scores]
            part = "test" if taught else "never seen"
            print_verdicts(title, fits, gates, material.frames, part=part)

    run = list(fits_of_run(args.run, material, args.out, args.views))
    report(f"{args.run.name}, taught, all folds", run, taught=True)
    report(f"{args.run.name}, never taught, all folds", run, taught=False)
    if args.weights is not None:
        first, second = (int(n) for n in args.epochs.split(","))

        def trained(*names: str) -> list[Fit]:
            found = [fits_without(name, material, args, (first, second)) for name in names]
            return [fit for fits in found for fit in fits]

        report("short training, left out", trained(*only), taught=False)
        report("short training, nothing left out", trained(NOTHING), taught=True)
        report("short training, photos left out, decoys kept", trained(PHOTOS), taught=False)
    known, validation, test, _ = (run[0].answers[part] for part in PARTS)
    print_costs(fit_all(known, validation), test)


if __name__ == "__main__":
    main()
