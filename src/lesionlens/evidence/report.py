"""The audit written down: audit.json, figures, and audit.html, one file that carries all of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from lesionlens import __version__, reporting
from lesionlens.evidence import plots
from lesionlens.evidence.cohort import Cohort
from lesionlens.evidence.failures import Gallery, thumbnail
from lesionlens.evidence.sections import Section
from lesionlens.files import atomic_write, write_json
from lesionlens.labels import Label

JSON_FILE, PAGE_FILE = "audit.json", "audit.html"
#: Version of audit.json.
FORMAT = 1


@dataclass(frozen=True)
class Heading:
    """What the report is of."""

    title: str
    n_bootstrap: int
    seed: int
    elapsed_s: float  # the whole audit, or what of it had to be done


def write_audit(
    cohort: Cohort,
    sections: Sequence[Section],
    galleries: Sequence[Gallery],
    directory: Path,
    heading: Heading,
) -> Path:
    """Write ``audit.json``, ``figures/*.png`` and ``audit.html``; existing ones are replaced.

    The page holds pictures of the archive (its failures); the other files hold none.

    Returns:
        The path of the page.

    Raises:
        LesionLensError: the folder cannot be written.
    """
    counts = {label: n for label in Label if (n := len(cohort.rows(label)))}
    write_json(
        directory / JSON_FILE,
        {
            "format": FORMAT,
            "title": heading.title,
            "lesionlens": __version__,
            "models": [examinee.sha256 for examinee in cohort.examinees],
            "labels": [label.value for label in cohort.labels],
            "views": cohort.views,
            "policy": cohort.policy,
            "images": {label.value: n for label, n in counts.items()},
            "n_groups": len({case.group for case in cohort.cases}),
            "n_bootstrap": heading.n_bootstrap,
            "seed": heading.seed,
            "remarks": list(cohort.remarks),
            "sections": {section.key: section.to_json() for section in sections},
        },
    )
    embedded: dict[str, dict[str, str]] = {}
    for section in sections:
        embedded[section.key] = {}
        for name, figure in plots.draw_section(section).items():
            with atomic_write(directory / "figures" / f"{name}.png", "wb") as file:
                file.write(reporting.render(figure, "png", dpi=reporting.FIGURE_DPI))
            embedded[section.key][name] = reporting.data_uri(figure, is_photo=False)
    page = reporting.make_template("audit.html.j2").render(
        heading=heading,
        title=heading.title,
        cohort=cohort,
        counts=counts,
        sections=sections,
        figures=embedded,
        captions=plots.CAPTIONS,
        galleries=[gallery for gallery in galleries if gallery.n_asked],
        pictures=_pictures(cohort, galleries),
        version=__version__,
        written=_today(),
    )
    path = directory / PAGE_FILE
    with atomic_write(path) as file:
        file.write(page)
    return path


def _pictures(cohort: Cohort, galleries: Sequence[Gallery]) -> Mapping[int, str]:
    rows = {failure.row for gallery in galleries for failure in gallery.failures}
    return {row: thumbnail(cohort.pixels(row)) for row in sorted(rows)}


def _today() -> str:
    today = datetime.now(UTC)
    return f"{today.day} {today:%B %Y}"
