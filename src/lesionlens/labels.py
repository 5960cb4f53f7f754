"""The vocabulary: which classes there are and what other people call them.

Codes are those of the ISIC 2019 challenge (MEL, NV, BCC, AK, BKL, DF, VASC, SCC,
UNK; https://challenge.isic-archive.com/landing/2019/) plus ``Normal`` for healthy
skin, which no archive labels, and ``NotSkin`` for whatever else a camera may be pointed at.
"""

from __future__ import annotations

from enum import StrEnum


class Label(StrEnum):
    """A class of the world of dermoscopy, in scope or not."""

    BCC = "BCC"
    SCC = "SCC"
    NORMAL = "Normal"
    NV = "NV"
    MEL = "MEL"
    BKL = "BKL"
    AK = "AK"
    DF = "DF"
    VASC = "VASC"
    UNK = "UNK"
    NOT_SKIN = "NotSkin"


#: The three classes LesionLens answers with, in the order of every table.
IN_SCOPE: tuple[Label, ...] = (Label.BCC, Label.SCC, Label.NORMAL)

#: Lesions that are none of the three, learned so that the model knows what BCC and SCC are not.
OUT_OF_SCOPE: tuple[Label, ...] = (
    Label.NV,
    Label.MEL,
    Label.BKL,
    Label.AK,
    Label.DF,
    Label.VASC,
)

#: Names to show to a person.
FULL_NAMES: dict[Label, str] = {
    Label.BCC: "Basal cell carcinoma",
    Label.SCC: "Squamous cell carcinoma",
    Label.NORMAL: "Healthy skin",
    Label.NV: "Nevus",
    Label.MEL: "Melanoma",
    Label.BKL: "Benign keratosis",
    Label.AK: "Actinic keratosis",
    Label.DF: "Dermatofibroma",
    Label.VASC: "Vascular lesion",
    Label.UNK: "Benign lesion without a diagnosis",
    Label.NOT_SKIN: "Not a dermoscopic image of skin",
}

# The archive's own words (diagnosis_3, else diagnosis_2, of the ISIC metadata export),
# lower case, matched by how they begin: "Melanoma Invasive" and "Melanoma, NOS" are both MEL.
_ISIC_DIAGNOSIS_3: tuple[tuple[str, Label], ...] = (
    ("basal cell carcinoma", Label.BCC),
    ("squamous cell carcinoma", Label.SCC),
    ("nevus", Label.NV),
    ("melanoma", Label.MEL),
    ("pigmented benign keratosis", Label.BKL),
    ("seborrheic keratosis", Label.BKL),
    ("solar lentigo", Label.BKL),
    ("lichen planus like keratosis", Label.BKL),
    ("solar or actinic keratosis", Label.AK),
    ("actinic keratosis", Label.AK),
    ("dermatofibroma", Label.DF),
    ("hemangioma", Label.VASC),
    ("angiokeratoma", Label.VASC),
    ("pyogenic granuloma", Label.VASC),
)
# Begin like a class and are another thing: hamartomas and vascular marks, not melanocytic nevi.
_ISIC_OTHERS = ("nevus sebaceus", "nevus comedonicus", "nevus anemicus")
_ISIC_DIAGNOSIS_2: tuple[tuple[str, Label], ...] = (
    ("benign soft tissue proliferations - vascular", Label.VASC),
    ("malignant melanocytic proliferations", Label.MEL),
    ("benign melanocytic proliferations", Label.NV),
)

#: HAM10000's ``dx`` (https://doi.org/10.1038/sdata.2018.161). ``akiec`` mixes actinic
#: keratosis with Bowen's disease (SCC in situ); the table alone cannot tell them apart.
HAM10000_DX: dict[str, Label] = {
    "bcc": Label.BCC,
    "akiec": Label.AK,
    "bkl": Label.BKL,
    "df": Label.DF,
    "mel": Label.MEL,
    "nv": Label.NV,
    "vasc": Label.VASC,
}

#: Words that name a class when they name a folder.
FOLDER_NAMES: dict[str, Label] = {
    **{label.value.lower(): label for label in Label},
    **{name.lower(): label for label, name in FULL_NAMES.items()},
    **HAM10000_DX,
    "scc": Label.SCC,
    "skin": Label.NORMAL,
    "healthy": Label.NORMAL,
    "normal skin": Label.NORMAL,
    "nevi": Label.NV,
    "seborrheic keratosis": Label.BKL,
    "pigmented benign keratosis": Label.BKL,
    "vascular": Label.VASC,
    "unknown": Label.UNK,
    "not skin": Label.NOT_SKIN,
    "nonskin": Label.NOT_SKIN,
}


def from_isic(diagnosis_1: str, diagnosis_2: str, diagnosis_3: str) -> Label | None:
    """Return the label of a row of the ISIC archive's metadata export.

    Args:
        diagnosis_1: ``Benign``, ``Malignant``, ``Indeterminate`` or empty.
        diagnosis_2: the archive's second level, may be empty.
        diagnosis_3: the archive's third level, may be empty.

    Returns:
        The label; ``Label.UNK`` for a benign lesion that nobody named; None where the words
        map to no class (a malignant or indeterminate lesion of another kind).
    """
    if diagnosis_3.strip().lower().startswith(_ISIC_OTHERS):
        return None
    for words, table in ((diagnosis_3, _ISIC_DIAGNOSIS_3), (diagnosis_2, _ISIC_DIAGNOSIS_2)):
        lowered = words.strip().lower()
        for start, label in table:
            if lowered.startswith(start):
                return label
    if diagnosis_1.strip().lower() == "benign" and not diagnosis_3.strip():
        return Label.UNK
    return None


def from_folder(name: str) -> Label | None:
    """Return the label that a folder called ``name`` stands for, or None."""
    return FOLDER_NAMES.get(name.strip().lower().replace("_", " ").replace("-", " "))
