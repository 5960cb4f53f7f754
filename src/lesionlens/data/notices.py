"""Whose images these are and what may be done with them: attribution and licences.

Every archive carries ``attribution.txt`` and ``licenses/<licence>.txt``, so that a copy of the
folder keeps what the images' authors ask for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from lesionlens.files import atomic_write


@dataclass(frozen=True)
class License:
    """A licence that the ISIC archive gives images under."""

    name: str
    url: str  # of the legal text
    summary: str  # one sentence for a person; the legal text decides


#: Licences by what the archive's ``copyright_license`` says.
LICENSES: dict[str, License] = {
    "CC-0": License(
        "CC0 1.0 Universal",
        "https://creativecommons.org/publicdomain/zero/1.0/",
        "In the public domain: any use, no attribution required.",
    ),
    "CC-BY": License(
        "Creative Commons Attribution 4.0 International",
        "https://creativecommons.org/licenses/by/4.0/",
        "Any use, with credit to the creator (attribution.txt) and changes indicated.",
    ),
    "CC-BY-NC": License(
        "Creative Commons Attribution-NonCommercial 4.0 International",
        "https://creativecommons.org/licenses/by-nc/4.0/",
        "Non-commercial use only, with credit to the creator (attribution.txt) and changes"
        " indicated.",
    ),
}


def write_notices(root: Path, rows: Iterable[Mapping[str, str]]) -> None:
    """Write ``attribution.txt`` and ``licenses/`` for the images in ``rows``.

    Args:
        root: the archive folder.
        rows: metadata with ``attribution`` and ``copyright_license``, either may be empty.
    """
    counts = Counter((row.get("attribution", ""), row.get("copyright_license", "")) for row in rows)
    # The largest contributor first; those who wish to stay unnamed last.
    ordered = sorted(counts, key=lambda key: (key[0] in ("", "Anonymous"), -counts[key], key))
    with atomic_write(root / "attribution.txt") as file:
        file.write("Images in this folder, by whom to credit and under which licence.\n")
        for attribution, licence in ordered:
            file.write(
                f"\n{attribution or 'No attribution given'}\n"
                f"    {counts[attribution, licence]} images, "
                f"licence: {licence or 'not given'}\n"
            )
    for licence in sorted({licence for _, licence in counts if licence}):
        with atomic_write(root / "licenses" / f"{_file_name(licence)}.txt") as file:
            file.write(_notice(licence))


def _notice(licence: str) -> str:
    known = LICENSES.get(licence)
    if known is None:
        return (
            f"{licence}\n\nThe archive names this licence without a text that LesionLens knows.\n"
            "Ask at https://www.isic-archive.com before you use these images.\n"
        )
    return f"{known.name} ({licence})\n\n{known.summary}\nLegal text: {known.url}\n"


def _file_name(licence: str) -> str:
    return "".join(c if c.isalnum() or c in "-._" else "_" for c in licence)
