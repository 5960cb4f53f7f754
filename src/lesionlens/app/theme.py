"""How the app looks: a calm clinical scheme, and a colour, icon and shape for each verdict.

Colours come from Material 3's roles (``ft.Colors.PRIMARY`` ...), made from one seed, so that light
and dark both have the contrast that roles promise. Verdicts have colours of their own, checked
against their grounds (4.5:1) in a test, and never colour alone: icon and words go with it.
Text sizes are roles, too (``ft.TextThemeStyle``), so that one factor scales them all.
"""

from __future__ import annotations

from dataclasses import dataclass

import flet as ft

from lesionlens.labels import Label
from lesionlens.records import Prediction
from lesionlens.verdicts import CONFIDENT, OUT_OF_SCOPE, POOR_IMAGE

SEED = "#00696D"  # teal
#: Distances in logical pixels.
GAP, HALF_GAP, WIDE_GAP = 16, 8, 24
#: Corners of cards.
RADIUS = 16
#: Nothing to tap is smaller than this (Material, WCAG 2.5.5).
TOUCH_PX = 48


@dataclass(frozen=True)
class Look:
    """How a verdict looks on light and on dark ground."""

    name: str  # cancer, normal, uncertain, out_of_scope, poor_image
    icon: ft.IconData  # whose shape tells it apart without colour
    light: tuple[str, str]  # ink, ground
    dark: tuple[str, str]

    def ink(self, is_dark: bool) -> str:
        """Return the colour of icon and words on ``ground``."""
        return (self.dark if is_dark else self.light)[0]

    def ground(self, is_dark: bool) -> str:
        """Return the colour behind them."""
        return (self.dark if is_dark else self.light)[1]


CANCER = Look("cancer", ft.Icons.HEXAGON, ("#8C1D18", "#FBE3E0"), ("#FFB4AB", "#4A1512"))
NORMAL = Look("normal", ft.Icons.CIRCLE, ("#1B5E3B", "#DDF1E4"), ("#9FD8B4", "#123A26"))
UNCERTAIN = Look(
    "uncertain", ft.Icons.CHANGE_HISTORY, ("#6B4700", "#FDEBCB"), ("#F6C877", "#3E2B00")
)
ELSEWHERE = Look(
    "out_of_scope", ft.Icons.CROP_SQUARE, ("#3D4A5C", "#E3E9F2"), ("#C2CDDD", "#29323F")
)
POOR = Look("poor_image", ft.Icons.NO_PHOTOGRAPHY, ("#4A4458", "#EAE5F1"), ("#D3CBE3", "#332E40"))


def look_of(prediction: Prediction) -> Look:
    """Return how an answer looks."""
    return look_for(prediction.verdict, prediction.label)


def look_for(verdict: str, label: Label | None) -> Look:
    """Return how a verdict looks; ``label`` is the likeliest class."""
    if verdict == POOR_IMAGE:
        return POOR
    if verdict == OUT_OF_SCOPE:
        return ELSEWHERE
    if verdict == CONFIDENT:
        return NORMAL if label is Label.NORMAL else CANCER
    return UNCERTAIN


#: Sizes in logical pixels of Material 3's roles, at scale 1: size, weight, line height.
_SIZES: dict[str, tuple[float, ft.FontWeight, float]] = {
    "display_small": (32, ft.FontWeight.W_500, 1.2),
    "headline_large": (28, ft.FontWeight.W_600, 1.25),
    "headline_medium": (25, ft.FontWeight.W_600, 1.25),
    "headline_small": (22, ft.FontWeight.W_600, 1.3),
    "title_large": (20, ft.FontWeight.W_600, 1.3),
    "title_medium": (17, ft.FontWeight.W_600, 1.35),
    "title_small": (15, ft.FontWeight.W_600, 1.35),
    "body_large": (17, ft.FontWeight.W_400, 1.5),
    "body_medium": (15, ft.FontWeight.W_400, 1.45),
    "body_small": (13, ft.FontWeight.W_400, 1.4),
    "label_large": (15, ft.FontWeight.W_600, 1.3),
    "label_medium": (13, ft.FontWeight.W_600, 1.3),
    "label_small": (12, ft.FontWeight.W_600, 1.3),
}


def make_theme(text_scale: float = 1.0) -> ft.Theme:
    """Return the theme with its texts scaled."""
    styles = {
        name: ft.TextStyle(size=size * text_scale, weight=weight, height=height)
        for name, (size, weight, height) in _SIZES.items()
    }
    return ft.Theme(
        color_scheme_seed=SEED,
        use_material3=True,
        text_theme=ft.TextTheme(**styles),
        visual_density=ft.VisualDensity.STANDARD,
    )
