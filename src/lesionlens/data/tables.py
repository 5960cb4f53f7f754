"""Other people's metadata, read into rows of ours: which table it is, and what its words mean.

Three tables are known by their columns: the ISIC archive's metadata export, HAM10000's, and
the one-hot ground truth of the ISIC challenges (2018 with AKIEC, 2019 with AK, SCC and UNK).
A table of ``image`` and ``lesion_id`` beside the last, as ISIC 2019 comes with, adds to it.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath

from lesionlens.data.manifest import DERMOSCOPIC, ISIC_COLUMNS, Unmapped, index_rows
from lesionlens.errors import DataError
from lesionlens.files import read_csv
from lesionlens.imaging import SUFFIXES
from lesionlens.labels import HAM10000_DX, Label, from_isic

#: What the ISIC export would say (diagnosis_1, _2, _3) of an image with this label. None says
#: Normal, and UNK is left out: "none of the others" does not mean benign.
ISIC_WORDS: dict[Label, tuple[str, str, str]] = {
    Label.BCC: (
        "Malignant",
        "Malignant adnexal epithelial proliferations - Follicular",
        "Basal cell carcinoma",
    ),
    Label.SCC: (
        "Malignant",
        "Malignant epidermal proliferations",
        "Squamous cell carcinoma, NOS",
    ),
    Label.NV: ("Benign", "Benign melanocytic proliferations", "Nevus"),
    Label.MEL: (
        "Malignant",
        "Malignant melanocytic proliferations (Melanoma)",
        "Melanoma, NOS",
    ),
    Label.BKL: ("Benign", "Benign epidermal proliferations", "Pigmented benign keratosis"),
    Label.AK: (
        "Indeterminate",
        "Indeterminate epidermal proliferations",
        "Solar or actinic keratosis",
    ),
    Label.DF: (
        "Benign",
        "Benign soft tissue proliferations - Fibro-histiocytic",
        "Dermatofibroma",
    ),
    Label.VASC: ("Benign", "Benign soft tissue proliferations - Vascular", ""),
}

#: Why AKIEC and akiec need a word of caution.
AKIEC_NOTE = (
    "mixes actinic keratosis and Bowen's disease, which is an SCC in situ; taken for AK, so "
    "this table gives no SCC. The ISIC 2019 ground truth tells the two apart"
)

# How HAM10000 was confirmed (dx_type), in the archive's words.
_HAM_CONFIRMED = {
    "histo": "histopathology",
    "follow_up": "serial imaging showing no change",
    "consensus": "single image expert consensus",
    "confocal": "confocal microscopy with consensus dermoscopy",
}
# Where HAM10000's lesions were, in the words of anatom_site_general; others stay as they are.
_HAM_SITES = {
    **dict.fromkeys(("scalp", "ear", "face", "neck"), "head/neck"),
    **dict.fromkeys(("chest", "abdomen"), "anterior torso"),
    "back": "posterior torso",
    "hand": "upper extremity",
    "foot": "lower extremity",
    "acral": "palms/soles",
    "genital": "oral/genital",
    "unknown": "",
}
_ONE_HOT: dict[str, Label] = {
    **{label.value: label for label in Label if label is not Label.NORMAL},
    "AKIEC": Label.AK,
}


@dataclass(frozen=True)
class Table:
    """A metadata file of a known kind."""

    path: Path
    kind: str  # "isic", "ham10000", "one-hot", or "lesions" for what only adds lesion_id


@dataclass(frozen=True)
class Reading:
    """What the tables say."""

    rows: dict[str, dict[str, str]]  # ISIC_COLUMNS by image id
    labels: dict[str, Label]  # by image id, the same ids
    unmapped: tuple[Unmapped, ...]
    notes: tuple[str, ...]  # what a person should know


def recognise_table(path: Path) -> Table | None:
    """Return what kind of metadata ``path`` holds, told by its header; None for no known kind."""
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            header = {name.strip() for name in next(csv.reader(file), [])}
    except (OSError, UnicodeDecodeError, csv.Error):
        return None
    if "isic_id" in header and header & {"diagnosis_1", "diagnosis_2", "diagnosis_3"}:
        return Table(path, "isic")
    if {"image_id", "dx"} <= header:
        return Table(path, "ham10000")
    if "image" in header and len(header & _ONE_HOT.keys()) >= 2:
        return Table(path, "one-hot")
    if {"image", "lesion_id"} <= header:
        return Table(path, "lesions")
    return None


def read_tables(tables: list[Table]) -> Reading:
    """Read metadata tables into rows of ours.

    Args:
        tables: of one kind that carries diagnoses, and any number of kind "lesions".

    Returns:
        A row in ISIC_COLUMNS for every image whose diagnosis is one of ours.

    Raises:
        DataError: several kinds, an id twice, or an unreadable file.
    """
    labelled = [table for table in tables if table.kind != "lesions"]
    if len({table.kind for table in labelled}) != 1:
        found = ", ".join(f"{table.path} ({table.kind})" for table in labelled)
        raise DataError(f"{found}: metadata of several kinds; say which with --metadata")
    id_column = {"isic": "isic_id", "ham10000": "image_id", "one-hot": "image"}[labelled[0].kind]
    read_row = {"isic": _isic, "ham10000": _ham10000, "one-hot": _one_hot}[labelled[0].kind]

    more: dict[str, dict[str, str]] = {}
    for table in tables:
        if table.kind == "lesions":
            more |= index_rows(read_csv(table.path), "image", table.path)
    rows: dict[str, dict[str, str]] = {}
    labels: dict[str, Label] = {}
    unmapped: list[Unmapped] = []
    n_akiec = 0
    for table in labelled:
        indexed = index_rows(read_csv(table.path), id_column, table.path)
        if twice := sorted(rows.keys() & indexed.keys()):
            raise DataError(f"{table.path}: {twice[0]} is also in another table; keep one of them")
        for image_id, row in indexed.items():
            outcome = read_row(row | more.get(image_id, {}), table.path.stem)
            name = _stem(image_id)
            if isinstance(outcome, str):
                unmapped.append(Unmapped(name, outcome))
                continue
            levels = [outcome[f"diagnosis_{level}"] for level in (1, 2, 3)]
            label = from_isic(levels[0], levels[1], levels[2])
            if label is None:
                words = " / ".join(level for level in levels if level)
                reason = f"diagnosis {words!r} is none of the classes" if words else "no diagnosis"
                unmapped.append(Unmapped(name, reason))
                continue
            rows[name] = outcome | {"isic_id": name}
            labels[name] = label
            n_akiec += row.get("dx", "").lower() == "akiec" or _is_marked(row, "AKIEC")
    notes = (f"{n_akiec} images are akiec, which {AKIEC_NOTE}",) if n_akiec else ()
    return Reading(rows=rows, labels=labels, unmapped=tuple(unmapped), notes=notes)


def row_of(label: Label, **values: str) -> dict[str, str]:
    """Return a row in ISIC_COLUMNS for an image of which little more than the label is known."""
    words = dict(zip(("diagnosis_1", "diagnosis_2", "diagnosis_3"), ISIC_WORDS[label], strict=True))
    known = {"image_type": DERMOSCOPIC, **words, **values}
    return {column: known.get(column, "") for column in ISIC_COLUMNS}


def _stem(image_id: str) -> str:
    path = PurePath(image_id)
    return path.stem if path.suffix.lower() in SUFFIXES else image_id


def _isic(row: Mapping[str, str], table: str) -> dict[str, str] | str:
    image_type = row.get("image_type", "")
    if image_type and image_type.lower() != DERMOSCOPIC:
        return f"image_type is {image_type!r}, not {DERMOSCOPIC!r}"
    return {column: row.get(column, "") for column in ISIC_COLUMNS}


def _ham10000(row: Mapping[str, str], table: str) -> dict[str, str] | str:
    label = HAM10000_DX.get(row["dx"].lower())
    if label is None:
        return f"dx {row['dx']!r} is none of the classes" if row["dx"] else "no diagnosis"
    site = row.get("localization", "")
    return row_of(
        label,
        attribution=row.get("dataset") or table,
        age_approx=row.get("age", "").removesuffix(".0"),
        anatom_site_general=_HAM_SITES.get(site.lower(), site),
        diagnosis_confirm_type=_HAM_CONFIRMED.get(row.get("dx_type", "").lower(), ""),
        lesion_id=row.get("lesion_id", ""),
        patient_id=row.get("patient_id", ""),
        sex=row.get("sex", "").replace("unknown", ""),
    )


def _one_hot(row: Mapping[str, str], table: str) -> dict[str, str] | str:
    marked = [code for code in _ONE_HOT if _is_marked(row, code)]
    if len(marked) != 1:
        return "no class is marked" if not marked else "several classes are marked"
    label = _ONE_HOT[marked[0]]
    if label not in ISIC_WORDS:
        return f"{label}: no diagnosis is given"
    return row_of(
        label,
        attribution=table,
        age_approx=row.get("age_approx", ""),
        anatom_site_general=row.get("anatom_site_general", ""),
        lesion_id=row.get("lesion_id", ""),
        patient_id=row.get("patient_id", ""),
        sex=row.get("sex", ""),
    )


def _is_marked(row: Mapping[str, str], code: str) -> bool:
    try:
        return float(row.get(code) or 0) > 0.5
    except ValueError:
        return False
