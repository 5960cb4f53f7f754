"""``lesionlens data import``: a folder that one already has, made into an archive."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from lesionlens.cli import console


def data_import(
    folder: Annotated[
        Path,
        typer.Argument(help="Folder with images and metadata, or class folders; only read."),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Archive folder to write.")],
    metadata: Annotated[
        Path | None,
        typer.Option(help="The table to use, where the folder has several kinds or none."),
    ] = None,
    link: Annotated[
        bool, typer.Option("--link", help="Hard-link images instead of copying them.")
    ] = False,
) -> None:
    """Make an archive of images that you have: ISIC, HAM10000, ISIC 2019 or class folders.

    Labels come from a metadata CSV anywhere in the folder, with the columns of the ISIC
    archive's export (isic_id, diagnosis_1, ...), of HAM10000 (image_id, dx, ...) or of a
    one-hot ground truth (image, MEL, NV, BCC, ...); else from folders named after classes
    (BCC, SCC, Normal, nevus, ...). Lesion and patient ids are kept. What cannot be used is
    listed in unmapped.csv and makes the exit code 1. Running it again copies nothing twice.

    **Examples**

        lesionlens data import ~/HAM10000 -o archive

        lesionlens data import ~/ISIC_2019 -o archive --link

        lesionlens data import my-photos -o archive    # my-photos/BCC/*.jpg, my-photos/SCC/*.jpg
    """
    from lesionlens.data.imports import import_archive

    talk = console.stderr()
    result = import_archive(
        folder,
        output,
        metadata=metadata,
        link=link,
        progress=lambda total: console.progress("Importing", total),
    )
    _print_table(
        {label.value: n for label, n in result.counts.items()},
        f"{result.n_images:,} images from {result.kind}",
        "label",
    )
    for note in result.notes:
        talk.print(f"Note: {note}.", style="yellow", markup=False)
    talk.print(
        f"{output}: {result.n_copied:,} {'linked' if link else 'copied'}, "
        f"{result.n_images - result.n_copied:,} were there",
        markup=False,
        soft_wrap=True,
    )
    typer.echo(output / "metadata.csv")
    if result.unmapped:
        reasons = dict(Counter(row.reason for row in result.unmapped).most_common(10))
        _print_table(reasons, f"{len(result.unmapped):,} not used", "reason")
        talk.print(f"All of them: {output / 'unmapped.csv'}", markup=False, soft_wrap=True)
        raise typer.Exit(1)


def _print_table(counts: Mapping[str, int], title: str, first_column: str) -> None:
    from rich.markup import escape
    from rich.table import Table

    console.stderr().print(title, markup=False)
    table = Table()
    table.add_column(first_column)
    table.add_column("images", justify="right")
    for name, count in counts.items():
        table.add_row(escape(str(name)), f"{count:,}")
    console.stderr().print(table)
