"""How the app looks: a calm clinical scheme, and a colour, icon and shape for each verdict.

Screens name Material 3's roles (``ft.Colors.PRIMARY`` ...); what colour a role has on light and on
dark ground stands here and nowhere else. Verdicts have colours of their own. Ink on its ground has
a contrast of 4.5:1 or more, icons and edges that matter 3:1 (WCAG 2.2, 1.4.3 and 1.4.11), which a
test computes; and never colour alone: icon and words go with it. Text sizes are roles, too
(``ft.TextThemeStyle``), so that one factor scales them all.
"""

from __future__ import annotations

from dataclasses import dataclass

import flet as ft

from lesionlens.labels import Label
from lesionlens.records import Prediction
from lesionlens.verdicts import CONFIDENT, OUT_OF_SCOPE, POOR_IMAGE

#: Colour of each of Material's roles on light and on dark ground. A quiet teal, greys with a
#: breath of it; tones as Material's colour utilities make them from hue and chroma, containers
#: paler than Material's, that verdicts be the only strong colours.
ROLES: dict[str, tuple[str, str]] = {
    "primary": ("#006468", "#79D5DA"),
    "on_primary": ("#FFFFFF", "#002B2D"),
    "primary_container": ("#C7ECEE", "#274A4C"),
    "on_primary_container": ("#003739", "#CAEFF1"),
    "secondary": ("#495D60", "#B5CACE"),
    "on_secondary": ("#FFFFFF", "#1B2F32"),
    "secondary_container": ("#D3E9ED", "#324549"),
    "on_secondary_container": ("#203437", "#D3E9ED"),
    "tertiary": ("#4C5B6E", "#B9C8DE"),
    "on_tertiary": ("#FFFFFF", "#1F2D3F"),
    "tertiary_container": ("#DCE9FF", "#354356"),
    "on_tertiary_container": ("#233143", "#DCE9FF"),
    "error": ("#AA2621", "#FFB4AB"),
    "on_error": ("#FFFFFF", "#600004"),
    "error_container": ("#FFE5E2", "#88090D"),
    "on_error_container": ("#690005", "#FFDEDA"),
    "surface": ("#F8FAFA", "#151819"),
    "on_surface": ("#191C1D", "#E3E6E6"),
    "on_surface_variant": ("#3F484A", "#C1CBCD"),
    "outline": ("#6A7476", "#8E989A"),
    "outline_variant": ("#C4CED0", "#444D4F"),
    "shadow": ("#000000", "#000000"),
    "scrim": ("#000000", "#000000"),
    "inverse_surface": ("#2E3132", "#E3E6E6"),
    "on_inverse_surface": ("#EFF1F2", "#292D2D"),
    "inverse_primary": ("#79D5DA", "#006468"),
    "surface_tint": ("#006468", "#79D5DA"),
    "surface_bright": ("#F8FAFA", "#363A3A"),
    "surface_dim": ("#D8DADB", "#111415"),
    "surface_container_lowest": ("#FFFFFF", "#0B0F0F"),
    "surface_container_low": ("#F2F4F4", "#1B1E1F"),
    "surface_container": ("#ECEEEF", "#1F2223"),
    "surface_container_high": ("#E6E8E9", "#272B2B"),
    "surface_container_highest": ("#E1E3E3", "#323536"),
}
#: Over a photo and the live camera, whose colours are not known: light and dark at once.
PHOTO_INK, PHOTO_GROUND = "#FFFFFF", "#000000"
#: Distances in logical pixels.
GAP, HALF_GAP, WIDE_GAP = 16, 8, 24
#: Corners of cards and of buttons.
RADIUS, BUTTON_RADIUS = 16, 14
#: Width of the rail with the main places.
RAIL_PX = 88
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


#: Bars do not grow as pages do, which leave more room: a title twice as large would be cut off.
_BAR_SCALE = 1.4
#: The largest that four words beside each other may be on the narrowest phone; each is also what
#: the screen behind it has as its title.
_TAB_PX = 14.5


def bar_title(text_scale: float) -> ft.TextStyle:
    """Return the style of a title in the bar on top."""
    size, weight, height = _SIZES["title_large"]
    return ft.TextStyle(size=size * min(text_scale, _BAR_SCALE), weight=weight, height=height)


def role(name: str, *, is_dark: bool) -> str:
    """Return the colour of a Material role as ``#RRGGBB``, e.g. of ``on_surface``."""
    return ROLES[name][is_dark]


def make_theme(text_scale: float = 1.0, *, is_dark: bool = False) -> ft.Theme:
    """Return the theme for light or for dark ground, with its texts scaled."""
    styles = {
        name: ft.TextStyle(size=size * text_scale, weight=weight, height=height)
        for name, (size, weight, height) in _SIZES.items()
    }
    # Flet reads components' colours before the scheme is ours: a role would be its own scheme's.
    ink, pale, quiet, ground, card = (
        role(name, is_dark=is_dark)
        for name in ("on_surface", "on_surface_variant", "outline_variant", "surface",
                     "surface_container_low")
    )  # fmt: skip
    rounded = ft.RoundedRectangleBorder(radius=RADIUS)
    button = ft.ButtonStyle(
        padding=ft.Padding.symmetric(horizontal=20, vertical=15),
        text_style=styles["label_large"],
        shape=ft.RoundedRectangleBorder(radius=BUTTON_RADIUS),
    )
    return ft.Theme(
        color_scheme=ft.ColorScheme(**{name: pair[is_dark] for name, pair in ROLES.items()}),
        scaffold_bgcolor=ground,
        use_material3=True,
        text_theme=ft.TextTheme(**styles),
        visual_density=ft.VisualDensity.STANDARD,
        appbar_theme=ft.AppBarTheme(
            bgcolor=ground,
            elevation=0,
            elevation_on_scroll=0,
            title_text_style=bar_title(text_scale).copy(color=ink),
            toolbar_height=max(56.0, 62 * min(text_scale, _BAR_SCALE)),
        ),
        filled_button_theme=ft.FilledButtonTheme(style=button),
        outlined_button_theme=ft.OutlinedButtonTheme(style=button),
        text_button_theme=ft.TextButtonTheme(style=button),
        icon_button_theme=ft.IconButtonTheme(  # 24 and twice this are TOUCH_PX
            style=ft.ButtonStyle(padding=ft.Padding.all(12))
        ),
        card_theme=ft.CardTheme(color=card, elevation=0, shape=rounded, margin=0),
        dialog_theme=ft.DialogTheme(
            bgcolor=card,
            shape=rounded,
            title_text_style=styles["title_large"].copy(color=ink),
            content_text_style=styles["body_large"].copy(color=pale),
        ),
        divider_theme=ft.DividerTheme(color=quiet, thickness=1, space=1),
        list_tile_theme=ft.ListTileTheme(
            title_text_style=styles["body_large"].copy(color=ink),
            subtitle_text_style=styles["body_medium"].copy(color=pale),
            icon_color=pale,
        ),
        navigation_bar_theme=ft.NavigationBarTheme(
            bgcolor=role("surface_container", is_dark=is_dark),
            elevation=0,
            label_text_style=ft.TextStyle(
                size=min(_SIZES["label_medium"][0] * text_scale, _TAB_PX),
                weight=ft.FontWeight.W_600,
                color=ink,
            ),
            height=80,
        ),
        # Hints come to a mouse that rests, not to one that is about to tap: a tap that changes the
        # page under a hint has left a browser's screen reader without the page.
        tooltip_theme=ft.TooltipTheme(wait_duration=ft.Duration(milliseconds=700)),
        navigation_rail_theme=ft.NavigationRailTheme(
            bgcolor=ground,
            selected_label_text_style=styles["label_medium"].copy(color=ink),
            unselected_label_text_style=styles["label_medium"].copy(color=pale),
            min_width=RAIL_PX * max(1.0, text_scale),
        ),
    )
