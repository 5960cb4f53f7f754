"""``lesionlens data split``: deal an archive out to train, validation and test, or to folds."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from lesionlens.cli import console
from lesionlens.cli.options import DEFAULT_CACHE, ArchiveArgument, NormalsOption
from lesionlens.cli.tables import print_table
from lesionlens.labels import IN_SCOPE, Label

#: Where the splits go if nobody says otherwise.
DEFAULT_SPLITS = Path("splits.json")


class Preset(StrEnum):
    """Splits that have a name."""

    PAPER = "paper"


def data_split(
    archive: ArchiveArgument,
    *,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The splits file to write.")
    ] = DEFAULT_SPLITS,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same splits.")] = 0,
    fractions: Annotated[
        str, typer.Option(help="Shares of train, validation and test; they sum to 1.")
    ] = "0.7,0.15,0.15",
    folds: Annotated[
        int | None, typer.Option(min=2, help="Make this many equal folds instead of three parts.")
    ] = None,
    test_count: Annotated[
        list[str] | None,
        typer.Option(
            help="Frames of a class in the test part, as CLASS=N; repeat it. Whole groups are "
            "taken, so that it may come out a little below.",
            show_default=False,
        ),
    ] = None,
    label: Annotated[
        list[Label] | None,
        typer.Option(help="Split only this class; repeat it. All of them if not given."),
    ] = None,
    preset: Annotated[
        Preset | None,
        typer.Option(help="paper: BCC, SCC and Normal only, with 36, 36 and 24 in the test part."),
    ] = None,
    normals: NormalsOption = None,
    cache: Annotated[
        Path, typer.Option(help="Decoded images, for near-duplicates; made or completed if need be")
    ] = DEFAULT_CACHE,
    near_duplicates: Annotated[
        bool,
        typer.Option(
            help="Look for near-duplicates by their pixels. Without, no image is opened and "
            "only lesion, patient and parent keep images together."
        ),
    ] = True,
) -> None:
    """Split an archive so that nothing stands on both sides.

    Images of one lesion, of one patient, a crop and its parent, and near-duplicates (by
    perceptual hash, verified by pixel correlation) form a group; a group never stands in two
    parts. Every class, and every source within a class, is spread evenly. Images that cannot
    be read are left out. The counts are printed on standard output.

    **Examples**

        lesionlens data split archive

        lesionlens data split archive --folds 5 --seed 7 -o folds.json

        lesionlens data split archive --preset paper -o paper.json

        lesionlens data split archive --test-count BCC=50 --test-count SCC=30
    """
    from lesionlens.data.duplicates import find_in_cache
    from lesionlens.data.groups import group_frames
    from lesionlens.data.manifest import load_archive
    from lesionlens.data.prepare import load_cache, prepare_cache
    from lesionlens.data.splits import PAPER_TEST_COUNTS, make_splits

    counts = _parse_counts(test_count or [])
    chosen = set(label or Label)
    if preset is Preset.PAPER:
        counts = counts or PAPER_TEST_COUNTS
        chosen = set(label or IN_SCOPE)
    frames = load_archive(archive, normals=normals).frames
    pairs: list[tuple[str, str]] = []
    if near_duplicates:
        with console.progress("decoding", len(frames)) as advance:
            report = prepare_cache(frames, cache, advance=advance)
        if report.errors:
            typer.echo(
                f"{len(report.errors):,} unreadable images are left out: see {cache}", err=True
            )
            unreadable = {failure.path for failure in report.errors}
            frames = tuple(frame for frame in frames if frame.path not in unreadable)
        with console.progress("comparing", len(frames)) as advance:
            found = find_in_cache(load_cache(cache), frames, advance=advance)
        pairs = [(pair.first_id, pair.second_id) for pair in found]
        typer.echo(f"{len(pairs):,} pairs of near-duplicates", err=True)
    groups = group_frames(frames, pairs)
    splits = make_splits(
        [frame for frame in frames if frame.label in chosen],
        groups,
        seed=seed,
        fractions=_parse_fractions(fractions),
        folds=folds,
        test_counts=counts or None,
    )
    splits.save(output)
    labels = [name.value for name in Label if any(name in row for row in splits.counts.values())]
    n_groups = splits.n_groups()
    rows = [
        [part, *(row.get(name, 0) for name in labels), sum(row.values()), n_groups[part]]
        for part, row in splits.counts.items()
    ]
    print_table(["part", *labels, "images", "groups"], rows)
    typer.echo(f"{output} written", err=True)


def _parse_fractions(text: str) -> tuple[float, float, float]:
    try:
        train, validation, test = (float(share) for share in text.split(","))
    except ValueError as error:
        raise typer.BadParameter(
            f"{text!r}: three numbers with commas between are needed, such as 0.7,0.15,0.15",
            param_hint="--fractions",
        ) from error
    return train, validation, test


def _parse_counts(texts: list[str]) -> dict[Label, int]:
    known = {label.value.lower(): label for label in Label}
    counts: dict[Label, int] = {}
    for text in texts:
        name, _, number = text.partition("=")
        if name.strip().lower() not in known or not number.strip().isdigit():
            raise typer.BadParameter(
                f"{text!r}: CLASS=N is needed, with one of {', '.join(Label)}",
                param_hint="--test-count",
            )
        counts[known[name.strip().lower()]] = int(number)
    return counts
