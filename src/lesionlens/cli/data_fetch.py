"""``lesionlens data fetch``: images and metadata from the ISIC archive."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from lesionlens.cli import console


def data_fetch(
    *,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Archive folder to write or to go on with.")
    ],
    diagnosis: Annotated[
        list[str] | None,
        typer.Option(
            "--diagnosis",
            "-d",
            help="BCC, SCC, NV, MEL, BKL, AK, DF, VASC, or the archive's own words. Repeatable.",
        ),
    ] = None,
    query: Annotated[
        str, typer.Option(help="Raw query in the archive's language, beside the diagnoses.")
    ] = "",
    preset: Annotated[
        str,
        typer.Option(help="'paper': 500 BCC, 500 SCC, 2,000 benign to cut 500 Normal from."),
    ] = "",
    license_: Annotated[
        list[str] | None,
        typer.Option("--license", help="Only CC-0, CC-BY or CC-BY-NC. Repeatable."),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(min=1, help="At most this many per diagnosis, in the archive's order."),
    ] = None,
    workers: Annotated[int, typer.Option(min=1, max=32, help="Images at the same time.")] = 8,
    base_url: Annotated[
        str, typer.Option(envvar="LESIONLENS_ISIC_URL", help="Where the archive's API answers.")
    ] = "https://api.isic-archive.com/api/v2/",
    refresh: Annotated[
        bool, typer.Option("--refresh", help="Search anew instead of going on with stored pages.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would come, as CSV on stdout.")
    ] = False,
) -> None:
    """Fetch dermoscopy from the ISIC archive, with its metadata, licences and attribution.

    Writes `images/`, `metadata.csv`, `attribution.txt` and `licenses/`. Stop it whenever you
    like: the same command goes on where it was, to the byte. An image counts only when it is
    whole and decodes; those that cannot be had are listed in `errors.csv` and the exit code
    is 1. Another command into the same folder adds to it.

    **Examples**

        lesionlens data fetch --preset paper -o archive

        lesionlens data fetch -d BCC -d SCC --license CC-0 --limit 200 -o archive

        lesionlens data fetch --query 'diagnosis_1:"Benign" AND patient_id:*' --dry-run -o archive
    """
    console.require("data fetch", "data", "httpx", "isic_metadata")
    from lesionlens.data.downloads import Connection
    from lesionlens.data.isic import discard_pages, fetch, make_plan
    from lesionlens.data.queries import build_selections

    selections = build_selections(
        diagnoses=diagnosis or (),
        query=query,
        preset=preset,
        licenses=license_ or (),
        limit=limit,
    )
    if refresh and not dry_run:
        discard_pages(output)
    # Paths and addresses are not to be read as markup, nor broken where a line ends.
    say = partial(console.stderr().print, markup=False, soft_wrap=True)
    with Connection(report=lambda line: say(line, style="dim")) as connection:
        say("Searching the archive ...")
        store = None if dry_run else output
        plan = make_plan(connection, selections, base_url=base_url, store=store)
        if dry_run:
            typer.echo("selection,images,megabytes")
            for selection, n_images, n_bytes in plan.selections:
                typer.echo(f"{selection.name},{n_images},{n_bytes / 1e6:.1f}")
            typer.echo(f"total,{len(plan.images)},{plan.size_bytes / 1e6:.1f}")
            return
        for selection, n_images, n_bytes in plan.selections:
            say(f"  {selection.name}: {n_images:,} images, {n_bytes / 1e6:,.1f} MB")
            if selection.limit is not None and n_images < selection.limit:
                say(f"    (the archive has fewer than the {selection.limit:,} asked for)")
        with console.progress("Fetching", len(plan.images)) as advance:
            result = fetch(
                connection, plan, output, base_url=base_url, workers=workers, advance=advance
            )
    say(
        f"{result.n_fetched:,} fetched, {result.n_present:,} there already, "
        f"{len(result.failures):,} failed; {output} now has {result.n_archive:,} images"
    )
    if result.n_archive:
        typer.echo(output / "metadata.csv")
    if result.failures:
        for failure in result.failures[:5]:
            say(f"  {failure.isic_id}: {failure.error}", style="red")
        say(f"All of them: {output / 'errors.csv'}. Run the same command to try again.")
        raise typer.Exit(1)
