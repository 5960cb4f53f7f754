"""What to ask the ISIC archive for: diagnoses, licences and counts as queries of its own.

The query language is the archive's (``field:"value"``, ``AND``, ``OR``, parentheses, ``*`` at
either end of a value or alone for any); diagnoses are looked up in isic-metadata, the
archive's vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from lesionlens.data.manifest import DERMOSCOPIC
from lesionlens.data.notices import LICENSES
from lesionlens.errors import FetchError
from lesionlens.labels import Label, from_isic

#: Benign frames to fetch for 500 crops of healthy skin: of 256 benign HAM10000 frames with a
#: mask, 74 (29 %) have room for a lesion-free square of 3/7 of the frame's side.
N_BENIGN_FOR_PAPER = 2000


@dataclass(frozen=True)
class Selection:
    """One search of the archive."""

    name: str  # what to call it in tables
    query: str  # in the archive's query language
    limit: int | None = None  # at most this many images, in the archive's order; None: all


def diagnosis_query(diagnosis: str) -> str:
    """Return the query for a diagnosis.

    Args:
        diagnosis: a label of ours (``BCC``, ``NV``, ...), meaning everything that
            ``labels.from_isic`` maps to it, or the archive's own words at any level of its
            taxonomy (``Benign``, ``Basal cell carcinoma, Nodular``); case does not matter.

    Raises:
        FetchError: neither; names what comes close.
    """
    from isic_metadata.fields import DiagnosisEnum

    wanted = diagnosis.strip().lower()
    names: dict[str, tuple[str, str]] = {}  # lower case -> (field, the archive's words)
    terms: dict[str, list[str]] = {}  # label, lower case -> terms of its query
    # The upper levels first: a term for a level covers everything below it.
    for member in sorted(DiagnosisEnum, key=lambda member: member.value.count(":")):
        levels = [level or "" for level in DiagnosisEnum.levels(member.value)]
        for number, level in enumerate(levels, start=1):
            names.setdefault(level.lower(), (f"diagnosis_{number}", level))
        label = from_isic(levels[0], levels[1], levels[2])
        if label in (None, Label.UNK):
            continue
        of_label = terms.setdefault(label.value.lower(), [])
        above, here = _term("diagnosis_2", levels[1]), _term("diagnosis_3", levels[2])
        if above not in of_label and here not in of_label:
            of_label.append(here if levels[2] else above)
    names.pop("", None)
    if wanted in terms:
        return " OR ".join(terms[wanted])
    if wanted in names:
        return _term(*names[wanted])
    close = get_close_matches(wanted, names, n=3, cutoff=0.5)
    hint = f"; perhaps {', '.join(names[name][1] for name in close)}?" if close else "."
    if wanted == Label.NORMAL.value.lower():
        hint = ": it labels no healthy skin; fetch benign frames and run `lesionlens data normals`."
    labels = ", ".join(label.value for label in Label if label.value.lower() in terms)
    raise FetchError(
        f"{diagnosis!r} is not a diagnosis of the ISIC archive{hint} "
        f"Accepted: {labels}, or the archive's words (https://www.isic-archive.com/data-dictionary)"
    )


def build_selections(
    *,
    diagnoses: Sequence[str] = (),
    query: str = "",
    preset: str = "",
    licenses: Sequence[str] = (),
    limit: int | None = None,
) -> tuple[Selection, ...]:
    """Return the searches that these wishes come to.

    Args:
        diagnoses: one selection each, of dermoscopic images, see :func:`diagnosis_query`.
        query: one more selection in the archive's query language, as it stands.
        preset: ``paper``: 500 BCC, 500 SCC and benign frames enough to cut 500 squares of
            healthy skin from.
        licenses: keep to these (keys of ``notices.LICENSES``); none: any.
        limit: at most this many images per selection.

    Raises:
        FetchError: nothing was wished for, or a diagnosis, licence or preset is unknown.
    """
    wishes: list[tuple[str, str, int | None]] = []
    if preset == "paper":
        wishes += [
            ("BCC", _dermoscopic(diagnosis_query("BCC")), 500),
            ("SCC", _dermoscopic(diagnosis_query("SCC")), 500),
            ("benign", _dermoscopic(_term("diagnosis_1", "Benign")), N_BENIGN_FOR_PAPER),
        ]
    elif preset:
        raise FetchError(f"{preset!r} is not a preset; accepted: paper")
    wishes += [(name, _dermoscopic(diagnosis_query(name)), None) for name in diagnoses]
    if query.strip():
        wishes.append(("query", query.strip(), None))
    if not wishes:
        raise FetchError(
            "nothing to fetch: name a --diagnosis, a --query or a --preset "
            "(the whole archive is at https://www.isic-archive.com as one download)"
        )
    unknown = [name for name in licenses if name not in LICENSES]
    if unknown:
        raise FetchError(f"{unknown[0]!r} is not a licence; accepted: {', '.join(LICENSES)}")
    allowed = " OR ".join(_term("copyright_license", name) for name in licenses)
    return tuple(
        Selection(
            name=name,
            query=f"({text}) AND ({allowed})" if allowed else text,
            limit=min((n for n in (most, limit) if n is not None), default=None),
        )
        for name, text, most in wishes
    )


def _term(field: str, value: str) -> str:
    return f'{field}:"{value}"'


def _dermoscopic(query: str) -> str:
    return f"({query}) AND {_term('image_type', DERMOSCOPIC)}"
