"""What Learn teaches: topics, their parts, pictures and sources, in order.

Words stand in ``i18n/<language>/learn.json`` under ``<topic>.<section>`` and
``figure.<name>``; pictures in ``assets/learn``, drawn by ``docs/draw_learn.py``; here is what
belongs together. What the pages say is held to the sources named here, and to this app's own
figures (MODEL_CARD.md, docs/verdicts.md) where it speaks of itself; who reviewed it stands in
docs/languages.md.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Source:
    """A work that a page rests on."""

    title: str  # who says it and what it is called, in its own language
    url: str  # stable, https


@dataclass(frozen=True)
class Section:
    """A part of a page: ``section.<name>`` is its heading, ``<topic>.<name>`` its words."""

    name: str
    figures: tuple[str, ...] = ()  # pictures below the words


@dataclass(frozen=True)
class Topic:
    """A page."""

    name: str  # also the last part of its route
    picture: str  # beside its title in the list
    sections: tuple[Section, ...]
    sources: tuple[Source, ...]  # empty: what the app says of itself


@dataclass(frozen=True)
class Block:
    """One paragraph, or one item of a list."""

    text: str
    is_item: bool


_KITTLER = Source(
    "Kittler et al. 2016, Standardization of terminology in dermoscopy/dermatoscopy",
    "https://doi.org/10.1016/j.jaad.2015.12.038",
)
_NHS = Source(
    "NHS, Non-melanoma skin cancer", "https://www.nhs.uk/conditions/non-melanoma-skin-cancer/"
)
_NICE = Source(
    "NICE, Suspected cancer: recognition and referral (NG12)",
    "https://www.nice.org.uk/guidance/ng12",
)
_CANCER_RESEARCH = Source(
    "Cancer Research UK, Skin cancer", "https://www.cancerresearchuk.org/about-cancer/skin-cancer"
)
_WHO = Source(
    "World Health Organization, Ultraviolet radiation",
    "https://www.who.int/news-room/fact-sheets/detail/ultraviolet-radiation",
)
_AAD_DARK_SKIN = Source(
    "American Academy of Dermatology, Finding skin cancer in darker skin tones",
    "https://www.aad.org/public/diseases/skin-cancer/find/skin-of-color",
)

#: Every page, in the order of the list.
TOPICS: tuple[Topic, ...] = (
    Topic(
        "other",
        "melanoma",
        (
            Section("now"),
            Section("unknown"),
            Section("melanoma", ("melanoma", "mole")),
            Section("others"),
        ),
        (
            Source(
                "American Academy of Dermatology, What to look for: ABCDEs of melanoma",
                "https://www.aad.org/public/diseases/skin-cancer/find/at-risk/abcdes",
            ),
            Source(
                "NHS, Melanoma skin cancer", "https://www.nhs.uk/conditions/melanoma-skin-cancer/"
            ),
            _AAD_DARK_SKIN,
            Source("DermNet, Actinic keratosis", "https://dermnetnz.org/topics/actinic-keratosis"),
            Source(
                "DermNet, Seborrhoeic keratosis",
                "https://dermnetnz.org/topics/seborrhoeic-keratosis",
            ),
            Source("DermNet, Dermatofibroma", "https://dermnetnz.org/topics/dermatofibroma"),
            _NICE,
        ),
    ),
    Topic(
        "bcc",
        "bcc",
        (
            Section("what"),
            Section("eye"),
            Section(
                "dermoscope",
                ("bcc", "bcc_vessels", "bcc_leaf", "bcc_nests", "bcc_ulcer", "bcc_wheel"),
            ),
            Section("risk"),
            Section("treatment"),
            Section("doctor"),
        ),
        (
            Source(
                "DermNet, Basal cell carcinoma",
                "https://dermnetnz.org/topics/basal-cell-carcinoma",
            ),
            Source(
                "American Academy of Dermatology, Basal cell carcinoma",
                "https://www.aad.org/public/diseases/skin-cancer/types/common/bcc",
            ),
            _NHS,
            _CANCER_RESEARCH,
            Source(
                "dermoscopedia, Basal cell carcinoma",
                "https://academy.dermoscopedia.org/Basal_cell_carcinoma",
            ),
            _KITTLER,
            _WHO,
        ),
    ),
    Topic(
        "scc",
        "scc",
        (
            Section("what"),
            Section("eye"),
            Section(
                "dermoscope",
                (
                    "scc",
                    "scc_keratin",
                    "scc_circles",
                    "scc_coils",
                    "scc_hairpins",
                    "scc_blood",
                ),
            ),
            Section("risk"),
            Section("treatment"),
            Section("doctor"),
        ),
        (
            Source(
                "DermNet, Cutaneous squamous cell carcinoma",
                "https://dermnetnz.org/topics/cutaneous-squamous-cell-carcinoma",
            ),
            Source(
                "DermNet, Intraepidermal squamous cell carcinoma (Bowen disease)",
                "https://dermnetnz.org/topics/intraepidermal-squamous-cell-carcinoma",
            ),
            Source(
                "American Academy of Dermatology, Squamous cell carcinoma",
                "https://www.aad.org/public/diseases/skin-cancer/types/common/scc",
            ),
            _NHS,
            _CANCER_RESEARCH,
            _NICE,
            Source(
                "dermoscopedia, Squamous cell carcinoma",
                "https://academy.dermoscopedia.org/Squamous_cell_carcinoma",
            ),
            _KITTLER,
            _WHO,
        ),
    ),
    Topic(
        "skin",
        "skin",
        (
            Section("what"),
            Section("eye"),
            Section("dermoscope", ("skin",)),
            Section("care"),
            Section("meaning"),
        ),
        (
            _WHO,
            Source(
                "IARC, Sunbeds and UV radiation",
                "https://www.iarc.who.int/media-centre-iarc-news-32/",
            ),
            _CANCER_RESEARCH,
            _AAD_DARK_SKIN,
        ),
    ),
    Topic(
        "dermoscopy",
        "dermatoscope",
        (Section("what", ("dermatoscope",)), Section("how"), Section("photo")),
        (
            Source("DermNet, Dermoscopy", "https://dermnetnz.org/topics/dermoscopy"),
            _KITTLER,
        ),
    ),
    Topic(
        "app",
        "app",
        (Section("how", ("app",)), Section("words"), Section("numbers"), Section("limits")),
        (),
    ),
)


def find_topic(name: str) -> Topic | None:
    """Return the page of that name, None where there is none."""
    return next((topic for topic in TOPICS if topic.name == name), None)


def blocks_of(text: str) -> list[Block]:
    """Split words into paragraphs and items: a line each, items begin with a dash."""
    return [Block(line.removeprefix("- "), line.startswith("- ")) for line in text.split("\n")]
