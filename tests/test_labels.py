"""Other people's words become labels, and none that they do not mean."""

from __future__ import annotations

import pytest

from lesionlens.labels import FULL_NAMES, HAM10000_DX, IN_SCOPE, OUT_OF_SCOPE, Label, from_folder
from lesionlens.labels import from_isic as of


@pytest.mark.parametrize(
    ("levels", "label"),
    [
        (("Malignant", "", "Basal cell carcinoma"), Label.BCC),
        (("Malignant", "", "basal cell carcinoma, Nodular "), Label.BCC),
        (("Malignant", "", "Squamous cell carcinoma in situ"), Label.SCC),
        (("Malignant", "", "Squamous cell carcinoma, NOS"), Label.SCC),
        (("Malignant", "Malignant melanocytic proliferations (Melanoma)", ""), Label.MEL),
        (("Malignant", "", "Melanoma Invasive"), Label.MEL),
        (("Benign", "Benign melanocytic proliferations", "Nevus"), Label.NV),
        (("Benign", "", "Seborrheic keratosis"), Label.BKL),
        (("Benign", "", "Solar lentigo"), Label.BKL),
        (("Indeterminate", "", "Solar or actinic keratosis"), Label.AK),
        (("Benign", "", "Dermatofibroma"), Label.DF),
        (("Benign", "Benign soft tissue proliferations - Vascular", ""), Label.VASC),
        (("Benign", "", "Hemangioma"), Label.VASC),
    ],
)
def test_the_archives_words_become_labels(levels: tuple[str, str, str], label: Label) -> None:
    assert of(*levels) is label


def test_a_benign_lesion_that_nobody_named_is_unknown() -> None:
    assert of("Benign", "", "") is Label.UNK
    assert of(" benign ", "Something new", "") is Label.UNK


@pytest.mark.parametrize(
    "levels",
    [
        ("", "", ""),
        ("Malignant", "", ""),
        ("Indeterminate", "", ""),
        ("Malignant", "", "Merkel cell carcinoma"),
        ("Benign", "", "Wart"),  # named, and none of ours: not an unnamed benign lesion
        ("Benign", "Benign melanocytic proliferations", "Nevus sebaceus"),  # a hamartoma
        ("Benign", "", "Nevus comedonicus"),
        ("", "", "Normal"),  # no archive labels healthy skin
    ],
)
def test_what_is_none_of_the_classes_gets_no_label(levels: tuple[str, str, str]) -> None:
    assert of(*levels) is None


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("BCC", Label.BCC),
        ("basal_cell_carcinoma", Label.BCC),
        ("Squamous-Cell-Carcinoma", Label.SCC),
        (" normal ", Label.NORMAL),
        ("healthy skin", Label.NORMAL),
        ("nevi", Label.NV),
        ("akiec", Label.AK),
        ("vasc", Label.VASC),
        ("images", None),
        ("", None),
        ("cancer", None),
    ],
)
def test_folders_are_named_after_classes_in_many_ways(name: str, label: Label | None) -> None:
    assert from_folder(name) is label


def test_every_label_has_a_name_and_its_own_folder() -> None:
    assert set(FULL_NAMES) == set(Label)
    for label in Label:
        assert from_folder(label.value) is label
        assert from_folder(FULL_NAMES[label]) is label


def test_scope_is_divided_without_overlap() -> None:
    assert IN_SCOPE == (Label.BCC, Label.SCC, Label.NORMAL)
    assert not set(IN_SCOPE) & set(OUT_OF_SCOPE)
    assert set(IN_SCOPE) | set(OUT_OF_SCOPE) | {Label.UNK, Label.NOT_SKIN} == set(Label)


def test_akiec_is_not_taken_for_scc() -> None:
    assert HAM10000_DX["akiec"] is Label.AK
