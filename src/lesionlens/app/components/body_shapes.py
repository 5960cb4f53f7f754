"""The figure of the body map: outlines drawn in code, in logical pixels, of no one in particular.

Two views of one figure on a grid 320 wide: from the front with palms turned forward, and from
behind, where the soles are drawn below the feet. The head is larger than a person's, and places
to tap reach beyond what is drawn, so that each of them is at least 48 by 48 and none lies on
another. Everything is given for the viewer's left and mirrored: from the front that is the
person's right.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from lesionlens.body_sites import BACK_SITES, FRONT_SITES

WIDTH_PX = 320
HEIGHT_PX = {"front": 720, "back": 768}
SITES = {"front": FRONT_SITES, "back": BACK_SITES}
VIEWS = ("front", "back")

Point = tuple[float, float]


@dataclass(frozen=True)
class Region:
    """One place of the map in one view."""

    site: str  # of lesionlens.body_sites.BODY_SITES
    outline: tuple[Point, ...]  # closed; what is drawn
    box: tuple[float, float, float, float]  # left, top, right, bottom of what can be tapped

    @property
    def middle(self) -> Point:
        """The middle of what is drawn."""
        across, down = zip(*self.outline, strict=True)
        return (min(across) + max(across)) / 2, (min(down) + max(down)) / 2


def _rounded(*corners: Point) -> tuple[Point, ...]:
    """Cut the corners of a polygon three times (Chaikin 1974): straight sides, round corners."""
    points = list(corners)
    for _ in range(3):
        cut: list[Point] = []
        for (x, y), (next_x, next_y) in zip(points, [*points[1:], points[0]], strict=True):
            cut.append((0.8 * x + 0.2 * next_x, 0.8 * y + 0.2 * next_y))
            cut.append((0.2 * x + 0.8 * next_x, 0.2 * y + 0.8 * next_y))
        points = cut
    return tuple(points)


def _oval(
    x: float, y: float, half_width: float, half_height: float, *, start: int = 0, end: int = 360
) -> tuple[Point, ...]:
    """Return an ellipse, or the part of it between two angles in degrees, clockwise from right."""
    return tuple(
        (
            x + half_width * math.cos(math.radians(degrees)),
            y + half_height * math.sin(math.radians(degrees)),
        )
        for degrees in range(start, end + 1, 6)
    )


_HEAD = (160, 82, 50, 66)  # middle, half width, half height
_NECK = _rounded((139, 136), (181, 136), (184, 172), (206, 190), (114, 190), (136, 172))
_TRUNK_ABOVE = _rounded(
    (124, 187), (196, 187), (212, 212), (222, 250), (216, 284), (104, 284), (98, 250), (108, 212)
)
_TRUNK_BELOW = _rounded((124, 284), (196, 284), (193, 330), (197, 380), (123, 380), (127, 330))

#: In the middle, from the front: what is drawn, what can be tapped. Later ones lie on top.
_FRONT_MIDDLE = {
    "neck_front": (_NECK, (112, 152, 208, 200)),
    "chest": (_TRUNK_ABOVE, (112, 200, 208, 284)),
    "abdomen": (_TRUNK_BELOW, (134, 284, 186, 378)),
    "genital": (_rounded((134, 380), (186, 380), (166, 428), (154, 428)), (136, 378, 184, 426)),
    "face": (_oval(*_HEAD, start=-24, end=204), (112, 52, 208, 104)),
    "scalp": (_oval(*_HEAD, start=204, end=336), (112, 0, 208, 52)),
    "mouth": (_oval(160, 122, 17, 6), (130, 104, 190, 152)),
}
_BACK_MIDDLE = {
    "neck_back": (_NECK, (112, 140, 208, 188)),
    "upper_back": (_TRUNK_ABOVE, (112, 188, 208, 284)),
    "lower_back": (_TRUNK_BELOW, (134, 284, 186, 378)),
    "scalp": (_oval(*_HEAD), (112, 16, 208, 140)),
}

_HAND = _rounded((49, 418), (73, 418), (80, 438), (78, 462), (66, 490), (46, 488), (39, 450))
#: At the viewer's left; mirrored for the right.
_EITHER_SIDE = {
    "ear": (_oval(106, 86, 9, 16), (64, 60, 112, 108)),
    "shoulder": (
        _rounded((122, 188), (94, 192), (70, 206), (60, 232), (62, 248), (97, 250), (107, 212)),
        (56, 188, 112, 242),
    ),
    "upper_arm": (_rounded((61, 246), (96, 250), (84, 330), (54, 330)), (38, 242, 86, 330)),
    "flank": (
        _rounded((104, 284), (124, 284), (127, 330), (123, 380), (97, 380), (106, 330)),
        (86, 284, 134, 378),
    ),
    "forearm": (_rounded((54, 330), (84, 330), (73, 418), (49, 418)), (34, 330, 84, 418)),
    "knee": (_rounded((106, 508), (146, 508), (143, 556), (110, 556)), (96, 506, 158, 556)),
    "lower_leg": (
        _rounded((110, 556), (143, 556), (147, 590), (138, 662), (117, 662), (106, 592)),
        (96, 556, 158, 656),
    ),
}
_FRONT_SIDE = {
    "palm": (_HAND, (32, 418, 88, 490)),
    "thigh": (
        _rounded((97, 380), (134, 380), (154, 430), (156, 446), (146, 508), (106, 508), (92, 434)),
        (90, 426, 158, 506),
    ),
    "foot": (
        _rounded((117, 662), (138, 662), (144, 694), (142, 714), (104, 714), (104, 696)),
        (96, 656, 158, 716),
    ),
}
_BACK_SIDE = {
    "hand": (_HAND, (32, 418, 88, 490)),
    "buttock": (
        _rounded((97, 380), (159, 380), (159, 438), (94, 438), (92, 420)),
        (96, 378, 160, 436),
    ),
    "thigh": (
        _rounded((94, 438), (157, 438), (156, 452), (146, 508), (106, 508)),
        (90, 436, 158, 506),
    ),
    "foot": (
        _rounded((117, 662), (138, 662), (144, 688), (138, 702), (114, 702), (110, 688)),
        (96, 656, 158, 704),
    ),
    "sole": (
        _rounded(
            (112, 716), (134, 712), (144, 724), (140, 742), (138, 764), (118, 764), (112, 742)
        ),
        (96, 710, 158, 766),
    ),
}


def _mirrored(outline: tuple[Point, ...]) -> tuple[Point, ...]:
    return tuple((WIDTH_PX - x, y) for x, y in outline)


def regions(view: str) -> list[Region]:
    """Return the places of a view in the order in which they are drawn.

    Args:
        view: ``front`` or ``back``.
    """
    is_front = view == "front"
    found = []
    for name, (outline, (left, top, right, bottom)) in {
        **_EITHER_SIDE,
        **(_FRONT_SIDE if is_front else _BACK_SIDE),
    }.items():
        here, there = ("right", "left") if is_front else ("left", "right")
        found.append(Region(f"{here}_{name}", outline, (left, top, right, bottom)))
        mirrored = (WIDTH_PX - right, top, WIDTH_PX - left, bottom)
        found.append(Region(f"{there}_{name}", _mirrored(outline), mirrored))
    for name, (outline, box) in (_FRONT_MIDDLE if is_front else _BACK_MIDDLE).items():
        found.append(Region(name, outline, box))
    return found
