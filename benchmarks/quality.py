"""Where must the quality gate stand? Damage good frames until answers turn wrong; see what stops.

    python benchmarks/quality.py ARCHIVE --cache cache --run RUN --splits folds.json

Every frame is answered by the model of the fold that never saw it, one view. ``--masks`` (lesion
masks, <image_id>_segmentation.png) and ``--originals`` (files at their real size) add tables.
Answers are kept in ``--out`` so that thresholds can be moved without asking again. Prints the
Markdown of docs/quality.md.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np
from PIL import Image

from lesionlens.data.groups import group_frames
from lesionlens.data.manifest import load_archive
from lesionlens.data.prepare import Cache, load_cache
from lesionlens.data.splits import Splits
from lesionlens.evidence.masks import find_masks, load_mask
from lesionlens.files import atomic_write, read_json
from lesionlens.framing import find_lesion
from lesionlens.imaging import Pixels, load_pixels
from lesionlens.intervals import Metric, bootstrap, proportion
from lesionlens.labels import IN_SCOPE, Label
from lesionlens.quality import GATES, assess, find, measure
from lesionlens.records import Frame
from lesionlens.runtime import Model
from quality_damage import LADDERS, PHONE_PX, Ladder, cut_lesion, darken_skin

MEASURES = tuple(dict.fromkeys(gate.measure for gate in GATES))
#: Which ladders lead a gate's measure across its threshold, and steps of the measure to tell.
STEPS: dict[str, tuple[tuple[str, ...], tuple[float, ...]]] = {
    "short_side_px": (("small",), (32, 48, 64, 80, 112, 160)),
    "brightness": (("darker",), (40, 50, 60, 70, 80, 90, 100, 120)),
    "whiteness": (("brighter",), (180, 190, 200, 210, 218, 226, 234)),
    "haze": (("veil",), (120, 135, 150, 165, 180, 195)),
    "glare_share": (("flash", "dots"), (1e-9, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.02)),
    "edge_width_px": (("blur", "motion", "small"), (2, 2.5, 3, 3.25, 3.5, 3.75, 4, 4.5, 5, 6)),
}
CUT_SHARES = (0.0, 0.1, 0.25, 0.4, 0.5, 0.75)
ANGLES = (10, -10, -30, -45, -60)
CANCERS = (Label.BCC, Label.SCC)


@dataclass(frozen=True)
class Trial:
    """N frames under one damage."""

    answers: np.ndarray  # (N,) int: the likeliest of the three, 0..2
    measures: np.ndarray  # (N, M) float, NaN where a measure does not apply

    def findings(self) -> list[tuple[str, ...]]:
        """Return the names of what the gates find in each, as they stand today."""
        return [findings_of(row) for row in self.measures]


def findings_of(row: np.ndarray) -> tuple[str, ...]:
    known = {name: float(v) for name, v in zip(MEASURES, row, strict=True) if not np.isnan(v)}
    return tuple(finding.name for finding in find(known))


def measured(rgb: np.ndarray, size_px: Sequence[int]) -> np.ndarray:
    found = measure(Pixels(rgb, int(size_px[0]), int(size_px[1])))
    return np.array([found.get(name, np.nan) for name in MEASURES])


@dataclass(frozen=True)
class Bench:
    """Frames in scope, each with the model that never saw it."""

    frames: tuple[Frame, ...]
    cache: Cache
    models: tuple[Model, ...]
    columns: tuple[int, ...]  # of the three classes among the outputs
    fold_of: np.ndarray  # (N,) int
    truth: np.ndarray  # (N,) int, 0..2
    group_of: np.ndarray  # (N,) int
    out: Path
    trials: dict[str, Trial] = field(default_factory=dict)  # what was done in this run

    def rgb(self, index: int) -> np.ndarray:
        return np.array(self.cache.images[self.row(index)])

    def row(self, index: int) -> int:
        return self.cache.row_of[self.frames[index].image_id]

    def answer(self, index: int, rgb: np.ndarray) -> int:
        logits = self.models[self.fold_of[index]].run(rgb[np.newaxis]).logits[0]
        return int(logits[list(self.columns)].argmax())

    def trial(
        self, key: str, damage: Callable[[int, np.ndarray], np.ndarray], size: Callable[[int], int]
    ) -> Trial:
        """Damage every frame, ask and measure; answers given before are read from ``out``."""
        if key in self.trials:
            return self.trials[key]
        path = self.out / f"{key}.npz"
        kept: np.ndarray | None = None
        if path.is_file():
            with np.load(path) as arrays:
                kept = arrays["answers"]
        answers, measures = [], []
        for index in range(len(self.frames)):
            rgb = damage(index, self.rgb(index))
            answers.append(self.answer(index, rgb) if kept is None else kept[index])
            measures.append(measured(rgb, (size(index), size(index))))
        trial = Trial(np.array(answers), np.array(measures))
        if kept is None:
            self.out.mkdir(parents=True, exist_ok=True)
            with atomic_write(path, "wb") as file:
                np.savez(file, answers=trial.answers)
        self.trials[key] = trial
        return trial

    def own_size(self, index: int) -> int:
        return int(self.cache.sizes_px[self.row(index)].min())

    def untouched(self) -> Trial:
        return self.trial("untouched", lambda index, rgb: rgb, self.own_size)

    def ladder(self, ladder: Ladder, strength: float) -> Trial:
        def damage(index: int, rgb: np.ndarray) -> np.ndarray:
            return ladder.apply(rgb, strength, self.row(index))

        def size(index: int) -> int:
            return ladder.source_px(strength)

        return self.trial(f"{ladder.key}-{strength:g}", damage, size)

    def lost(self, trial: Trial, rows: np.ndarray | None = None) -> Metric:
        """Return the accuracy lost to damage, paired, in points."""
        rows = np.arange(len(self.frames)) if rows is None else rows
        before = self.untouched().answers[rows] == self.truth[rows]
        lost = before.astype(float) - (trial.answers[rows] == self.truth[rows])
        return self.mean(100 * lost, self.group_of[rows])

    def mean(self, values: np.ndarray, groups: np.ndarray) -> Metric:
        _, numbers = np.unique(groups, return_inverse=True)
        return bootstrap(
            lambda weights: {"mean": weights @ values / weights.sum(axis=1)},
            numbers,
            300,
            np.random.default_rng(0),
        )["mean"]

    def pooled_loss(self, trials: Iterable[Trial], chosen: Iterable[np.ndarray]) -> Metric:
        before = self.untouched().answers == self.truth
        lost, groups = [], []
        for trial, rows in zip(trials, chosen, strict=True):
            lost.append(before[rows].astype(float) - (trial.answers[rows] == self.truth[rows]))
            groups.append(self.group_of[rows])
        return self.mean(100 * np.concatenate(lost), np.concatenate(groups))


def open_bench(arguments: argparse.Namespace, frames: Sequence[Frame], cache: Cache) -> Bench:
    part_of = Splits.load(arguments.splits).part_of()
    parts = sorted(set(part_of.values()))
    chosen = tuple(f for f in frames if f.label in IN_SCOPE and f.image_id in part_of)
    chosen = tuple(f for f in chosen if f.image_id in cache.row_of)[: arguments.limit]
    folders = [arguments.run / part for part in parts]
    labels = read_json(folders[0] / "config.json")["labels"]
    groups = group_frames(frames)
    _, group_of = np.unique([groups[f.image_id] for f in chosen], return_inverse=True)
    return Bench(
        frames=chosen,
        cache=cache,
        models=tuple(Model(folder / "model.tflite", num_threads=1) for folder in folders),
        columns=tuple(labels.index(label.value) for label in IN_SCOPE),
        fold_of=np.array([parts.index(part_of[f.image_id]) for f in chosen]),
        truth=np.array([IN_SCOPE.index(f.label) for f in chosen]),
        group_of=group_of,
        out=arguments.out,
    )


# ---------------------------------------------------------------- tables


def points(metric: Metric) -> str:
    if metric.value is None:
        return metric.note
    if metric.low is None or metric.high is None:
        return f"{metric.value:.1f}"
    return f"{metric.value:.1f} ({metric.low:.1f} to {metric.high:.1f})"


def percent(n: int, total: int) -> str:
    return f"{100 * n / total:.1f}" if total else "-"


def print_table(title: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    print(f"\n### {title}\n\n| {' | '.join(header)} |")
    print("|---" + "|---:" * (len(header) - 1) + "|")
    for row in rows:
        print(f"| {' | '.join(row)} |", flush=True)


def print_ladders(bench: Bench) -> None:
    cancers = np.isin(bench.truth, [IN_SCOPE.index(label) for label in CANCERS])
    normal = IN_SCOPE.index(Label.NORMAL)
    header = (
        "Strength", "accuracy lost, points", "cancers called Normal, %", "stopped, %",
        "cancers called Normal behind the gate, %", "by",
    )  # fmt: skip

    def row(name: str, trial: Trial) -> list[str]:
        found = trial.findings()
        stopped = np.array([bool(names) for names in found])
        missed = cancers & (trial.answers == normal)
        by = Counter(name for names in found for name in names)
        common = [f"{gate} {percent(n, len(found))}" for gate, n in by.most_common(3)]
        return [
            name,
            points(bench.lost(trial)),
            percent(int(missed.sum()), int(cancers.sum())),
            percent(int(stopped.sum()), len(found)),
            percent(int((missed & ~stopped).sum()), int(cancers.sum())),
            ", ".join(common),
        ]

    for ladder in LADDERS:
        rows = (row(f"{s:g}", bench.ladder(ladder, s)) for s in ladder.strengths)
        print_table(f"{ladder.title} ({ladder.unit})", header, rows)


def print_steps(bench: Bench) -> None:
    for gate in GATES:
        if gate.measure not in STEPS:
            continue
        keys, steps = STEPS[gate.measure]
        trials = [
            bench.ladder(ladder, strength)
            for ladder in LADDERS
            if ladder.key in keys
            for strength in ladder.strengths
        ]
        column = MEASURES.index(gate.measure)
        values = [trial.measures[:, column] for trial in trials]
        rows = []
        for low, high in zip((-np.inf, *steps), (*steps, np.inf), strict=True):
            chosen = [np.flatnonzero((v >= low) & (v < high)) for v in values]
            n = sum(map(len, chosen))
            if n >= 50:
                name = f"{low:g} to {high:g}"
                rows.append([name, f"{n}", points(bench.pooled_loss(trials, chosen))])
        side = "below" if gate.is_floor else "above"
        title = f"`{gate.measure}` over {', '.join(keys)} (stopped {side} {gate.threshold:g})"
        print_table(title, ("Measured", "pictures", "accuracy lost, points"), rows)


def print_rejects(named: Sequence[tuple[str, Sequence[tuple[str, ...]]]], title: str) -> None:
    names = [gate.name for gate in GATES]
    rows = []
    for name, found in named:
        n_any = sum(bool(findings) for findings in found)
        metric = proportion(n_any, len(found))
        interval = f"{100 * (metric.low or 0):.1f} to {100 * (metric.high or 0):.1f}"
        counts = [str(sum(gate in findings for findings in found)) for gate in names]
        rows.append([name, str(len(found)), f"{percent(n_any, len(found))} ({interval})", *counts])
    print_table(title, ("Pictures", "n", "stopped, %", *(f"`{n}`" for n in names)), rows)


def print_untouched(frames: Sequence[Frame], cache: Cache, originals: Path | None) -> None:
    found: dict[str, tuple[str, ...]] = {}
    for frame in frames:
        row = cache.row_of[frame.image_id]
        found[frame.image_id] = findings_of(measured(cache.images[row], cache.sizes_px[row]))
    skin = [frame for frame in frames if frame.label is not Label.NOT_SKIN]

    def of(chosen: Iterable[Frame]) -> list[tuple[str, ...]]:
        return [found[frame.image_id] for frame in chosen]

    named = [("all", of(skin))]
    for label in sorted({f.label for f in skin}, key=list(Label).index):
        named.append((label.value, of(f for f in skin if f.label is label)))
    crops = [f for f in skin if f.parent_id]
    whole = [f for f in skin if not f.parent_id]
    for source, _ in Counter(f.source for f in whole).most_common():
        named.append((source, of(f for f in whole if f.source == source)))
    named.append(("crops of healthy skin", of(crops)))
    if originals is not None:
        files = [load_pixels(path) for path in sorted(originals.iterdir())]
        names = [tuple(finding.name for finding in assess(p).findings) for p in files]
        named.append(("originals, 600 x 450", names))
    print_rejects(named, "Untouched dermoscopy")
    photos = [frame for frame in frames if frame.label is Label.NOT_SKIN]
    if photos:
        print_rejects([("photos of other things", of(photos))], "Not skin")


def print_framing(bench: Bench, masks: Path) -> None:
    paths = find_masks(masks, (frame.image_id for frame in bench.frames))
    chosen = [i for i, frame in enumerate(bench.frames) if frame.image_id in paths]
    lesions = {i: load_mask(paths[bench.frames[i].image_id]) for i in chosen}
    chosen = [i for i in chosen if lesions[i].any()]
    overlaps, shares = [], []
    for i in chosen:
        small = np.asarray(Image.fromarray(lesions[i]).convert("L").reduce(4)) > 127
        found = find_lesion(Image.fromarray(bench.rgb(i))).core
        overlaps.append(2 * (small & found).sum() / max(1, small.sum() + found.sum()))
        shares.append(lesions[i].mean())
    print(
        f"\nBCC and SCC with a mask: {len(chosen)}. The lesion found agrees with it by a Dice "
        f"coefficient of {np.mean(overlaps):.3f} (mean), {np.median(overlaps):.3f} (median)."
    )
    share_of, rows = np.array(shares), np.array(chosen)
    untouched = bench.untouched()
    right = untouched.answers == bench.truth
    found_small = np.array(["lesion_small" in names for names in untouched.findings()])
    steps = (0, 0.01, 0.02, 0.04, 0.1, 0.3, 1.01)
    print_table(
        "Untouched BCC and SCC by the share of the frame that the mask fills",
        ("Share", "n", "accuracy, %", "`lesion_small`"),
        (
            [f"{low:g} to {min(1, high):g}", str(len(r)), percent(right[r].sum(), len(r)),
             str(found_small[r].sum())]
            for low, high in pairwise(steps)
            for r in [rows[(share_of >= low) & (share_of < high)]]
        ),
    )  # fmt: skip
    cut_rows = []
    for strength in CUT_SHARES:
        lost, stopped = [], []
        for i in chosen:
            rgb = cut_lesion(bench.rgb(i), lesions[i], strength, bench.row(i))
            lost.append(100.0 * (float(right[i]) - (bench.answer(i, rgb) == bench.truth[i])))
            stopped.append("lesion_cut" in findings_of(measured(rgb, (PHONE_PX, PHONE_PX))))
        metric = bench.mean(np.array(lost), bench.group_of[rows])
        cut_rows.append([f"{strength:g}", points(metric), percent(sum(stopped), len(stopped))])
    header = ("Share outside", "accuracy lost, points", "`lesion_cut`, %")
    print_table("Lesions moved over the border", header, cut_rows)


def print_tones(bench: Bench) -> None:
    rng = np.random.default_rng(5)
    chosen = rng.permutation(len(bench.frames))[:300]
    named = []
    for angle in ANGLES:
        found = [
            findings_of(measured(darken_skin(bench.rgb(i), angle), (PHONE_PX, PHONE_PX)))
            for i in chosen
        ]
        named.append((f"{angle}", found))
    print_rejects(named, "Skin darkened to a typology angle, degrees")


def print_time(bench: Bench) -> None:
    pixels = [Pixels(bench.rgb(i), PHONE_PX, PHONE_PX) for i in range(min(300, len(bench.frames)))]
    times = []
    for one in pixels:
        start = time.thread_time()
        assess(one)
        times.append(1000 * (time.thread_time() - start))
    low, middle, high = np.percentile(times, [5, 50, 95])
    print(f"\n`assess`: {middle:.1f} ms of one core (median; 5th to 95th {low:.1f} to {high:.1f}).")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("archive", type=Path)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--run", type=Path, required=True, help="cross-validated: fold0/ ...")
    parser.add_argument("--splits", type=Path, required=True)
    parser.add_argument("--masks", type=Path)
    parser.add_argument("--originals", type=Path)
    parser.add_argument("--out", type=Path, default=Path("quality"), help="keeps the answers")
    parser.add_argument("--limit", type=int, help="frames in scope, for a quick look")
    arguments = parser.parse_args()

    archive, cache = load_archive(arguments.archive), load_cache(arguments.cache)
    frames = [frame for frame in archive.frames if frame.image_id in cache.row_of]
    bench = open_bench(arguments, frames, cache)
    right = int((bench.untouched().answers == bench.truth).sum())
    share = percent(right, len(bench.frames))
    print(f"{len(bench.frames)} frames in scope, {share} % right out of fold, one view.")
    print_time(bench)
    print_untouched(frames, cache, arguments.originals)
    print_tones(bench)
    print_ladders(bench)
    print_steps(bench)
    if arguments.masks is not None:
        print_framing(bench, arguments.masks)


if __name__ == "__main__":
    main()
