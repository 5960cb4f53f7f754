"""``lesionlens data audit``: prove that an archive is in order and its splits do not leak."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lesionlens.cli import console
from lesionlens.cli.options import DEFAULT_CACHE, ArchiveArgument, NormalsOption
from lesionlens.cli.tables import print_table

if TYPE_CHECKING:
    from lesionlens.data.audit import Audit

_SHOWN = 10


def data_audit(
    archive: ArchiveArgument,
    *,
    splits: Annotated[
        Path | None, typer.Option(help="A splits file to check for leaks.", show_default=False)
    ] = None,
    json: Annotated[
        Path | None, typer.Option(help="Write every finding here as JSON.", show_default=False)
    ] = None,
    normals: NormalsOption = None,
    cache: Annotated[
        Path, typer.Option(help="Decoded images, to compare them; made or completed if need be.")
    ] = DEFAULT_CACHE,
) -> None:
    """Show what is in an archive, and exit 1 if its splits leak.

    A lesion, a patient, a crop's parent or a near-duplicate in two parts is a leak. They are
    looked for afresh in the metadata and the pixels, so that an edited splits file is found
    out. Also shown: class balance per part, image sizes, sources, near-duplicates, one lesion
    under two diagnoses, unreadable files.

    **Examples**

        lesionlens data audit archive

        lesionlens data audit archive --splits splits.json --json audit.json
    """
    from lesionlens.data.audit import audit
    from lesionlens.data.duplicates import find_in_cache
    from lesionlens.data.manifest import load_archive
    from lesionlens.data.prepare import load_cache, prepare_cache
    from lesionlens.data.splits import Splits
    from lesionlens.files import write_json

    loaded_splits = Splits.load(splits) if splits is not None else None
    loaded = load_archive(archive, normals=normals)
    with console.progress("decoding", len(loaded.frames)) as advance:
        report = prepare_cache(loaded.frames, cache, advance=advance)
    opened = load_cache(cache)
    with console.progress("comparing", len(loaded.frames)) as advance:
        duplicates = find_in_cache(opened, loaded.frames, advance=advance)
    result = audit(
        loaded, opened, duplicates=duplicates, unreadable=report.errors, splits=loaded_splits
    )
    _show(result)
    if json is not None:
        write_json(json, result.to_dict())
    _tell(result, splits)
    if not result.is_honest:
        raise typer.Exit(1)


def _show(result: Audit) -> None:
    parts = list(dict.fromkeys(row.part for row in result.balance))
    labels = list(dict.fromkeys(row.label for row in result.balance))
    cells = {(row.part, row.label): row for row in result.balance}
    print_table(
        ["part", *labels, "all"],
        [
            [
                part,
                *(cells[part, x].n_frames for x in labels),
                sum(cells[part, x].n_frames for x in labels),
            ]
            for part in parts
        ],
        title="Images per class",
    )
    print_table(
        ["part", *labels],
        [[part, *(cells[part, label].n_groups for label in labels)] for part in parts],
        title="Groups per class (lesion, patient, parent and near-duplicates kept together)",
    )
    for title, table in (("Sources", result.sources), ("Sizes, in pixels", result.sizes)):
        names = sorted(
            {name for row in table.values() for name in row},
            key=lambda name: -sum(row.get(name, 0) for row in table.values()),
        )
        rows = [[name, *(table[label].get(name, 0) for label in table)] for name in names[:_SHOWN]]
        if len(names) > _SHOWN:
            others = names[_SHOWN:]
            rows.append(
                [
                    f"({len(others)} others)",
                    *(sum(table[label].get(name, 0) for name in others) for label in table),
                ]
            )
        print_table(["", *table], rows, title=title)
    findings = [
        ["near-duplicate pairs", len(result.duplicates)],
        ["lesions or pictures with two labels", len(result.conflicts)],
        ["unreadable files", len(result.unreadable)],
        ["metadata rows without a usable image", sum(result.unmapped.values())],
        ["leaks", len(result.leaks)],
    ]
    print_table(["finding", "number"], findings, title="Findings")


def _tell(result: Audit, splits: Path | None) -> None:
    """Say on stderr what the numbers mean, the first few of each kind by name."""
    for heading, lines in (
        ("unreadable", [failure.error for failure in result.unreadable]),
        ("not usable", [f"{n:,} rows: {reason}" for reason, n in result.unmapped.items()]),
        (
            "two labels",
            [
                f"{x.kind} {x.key}: "
                + ", ".join(f"{label} ({len(ids)})" for label, ids in x.labels.items())
                for x in result.conflicts
            ],
        ),
        ("leak", [str(leak) for leak in result.leaks]),
    ):
        for line in lines[:_SHOWN]:
            typer.echo(f"{heading}: {line}", err=True)
        if len(lines) > _SHOWN:
            typer.echo(f"{heading}: and {len(lines) - _SHOWN:,} more", err=True)
    if splits is None:
        return
    if result.problem:
        typer.echo(f"{splits}: {result.problem}", err=True)
    if result.leaks:
        typer.secho(
            f"{splits}: {len(result.leaks):,} leaks; no figure from these splits is to be "
            "trusted. Make them anew with `lesionlens data split`",
            fg="red",
            err=True,
        )
    if result.is_honest:
        typer.secho(f"{splits}: nothing stands on both sides", fg="green", err=True)
