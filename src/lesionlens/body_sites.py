"""Where on the body a picture was taken: the places of a body map, in the archive's words too.

Keys are stable: they are stored, exported and translated. The archive's coarser words are
``anatom_site_general`` of the ISIC metadata
(https://github.com/ImageMarkup/isic-metadata, ``fields.AnatomSiteGeneralEnum``); shoulders are
upper and buttocks lower extremity, as in its ``anatom_site_hierarchical``.
"""

from __future__ import annotations


def _both(*names: str) -> tuple[str, ...]:
    """``hand`` -> ``left_hand``, ``right_hand``: of the person, as the person calls them."""
    return tuple(f"{side}_{name}" for name in names for side in ("left", "right"))


#: Every place, and ``anatom_site_general`` of the archive for it, from head to foot.
ISIC_SITES: dict[str, str] = {
    **dict.fromkeys(
        ("scalp", "face", *_both("ear"), "neck_front", "neck_back"),
        "head/neck",
    ),
    **dict.fromkeys(("chest", "abdomen"), "anterior torso"),
    **dict.fromkeys(_both("flank"), "lateral torso"),
    **dict.fromkeys(("upper_back", "lower_back"), "posterior torso"),
    **dict.fromkeys(_both("shoulder", "upper_arm", "forearm", "hand"), "upper extremity"),
    **dict.fromkeys(_both("palm"), "palms/soles"),
    **dict.fromkeys(("mouth", "genital"), "oral/genital"),
    **dict.fromkeys(_both("buttock", "thigh", "knee", "lower_leg", "foot"), "lower extremity"),
    **dict.fromkeys(_both("sole"), "palms/soles"),
}

#: The keys alone, in that order.
BODY_SITES: tuple[str, ...] = tuple(ISIC_SITES)

_ONLY_IN_FRONT = {"face", "mouth", "neck_front", "chest", "abdomen", "genital", *_both("palm")}
_ONLY_AT_THE_BACK = {
    "neck_back", "upper_back", "lower_back", *_both("buttock", "hand", "sole"),
}  # fmt: skip

#: What a body map shows from the front, palms turned forward; limbs are on both maps.
FRONT_SITES: tuple[str, ...] = tuple(site for site in BODY_SITES if site not in _ONLY_AT_THE_BACK)
#: And from behind.
BACK_SITES: tuple[str, ...] = tuple(site for site in BODY_SITES if site not in _ONLY_IN_FRONT)
