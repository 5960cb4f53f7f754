"""Which part of a photo is judged: all of it, or a square that is dragged and zoomed.

Boxes are shares of the upright photo (``imaging.Box``). A zoom of 1 is the largest square.
"""

from __future__ import annotations

from lesionlens.imaging import Box

#: The whole of a photo, which is what a crop starts with (docs/crop.md).
WHOLE: Box = (0.0, 0.0, 1.0, 1.0)
#: A square is no smaller than this, if the photo is not: with less, nothing is left to judge.
LEAST_PX = 128
#: Nor is it zoomed into further.
MAX_ZOOM = 8.0


def largest_zoom(width_px: int, height_px: int) -> float:
    """Return how far a photo of this size may be zoomed into, 1 or more."""
    return max(1.0, min(MAX_ZOOM, min(width_px, height_px) / LEAST_PX))


def zoom_of(box: Box, width_px: int, height_px: int) -> float:
    """Return how far a square is zoomed into; 1 for the whole photo, too."""
    side_px = min((box[2] - box[0]) * width_px, (box[3] - box[1]) * height_px)
    return max(1.0, min(width_px, height_px) / side_px)


def square(
    width_px: int, height_px: int, *, zoom: float = 1.0, centre: tuple[float, float] = (0.5, 0.5)
) -> Box:
    """Return the square about a centre, moved so that it lies inside the photo.

    Args:
        width_px: of the upright photo.
        height_px: of the upright photo.
        zoom: 1 for the largest square; what is not allowed becomes what is.
        centre: shares of width and height.
    """
    zoom = min(max(1.0, zoom), largest_zoom(width_px, height_px))
    side_px = min(width_px, height_px) / zoom
    across, down = side_px / width_px, side_px / height_px
    left = min(max(0.0, centre[0] - across / 2), 1 - across)
    top = min(max(0.0, centre[1] - down / 2), 1 - down)
    return (left, top, min(1.0, left + across), min(1.0, top + down))


def centre_of(box: Box) -> tuple[float, float]:
    """Return the middle of a box."""
    return ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)


def moved(box: Box, across: float, down: float) -> Box:
    """Return a box moved by shares of *its own* sides, as far as the photo goes."""
    width, height = box[2] - box[0], box[3] - box[1]
    left = min(max(0.0, box[0] + across * width), 1 - width)
    top = min(max(0.0, box[1] + down * height), 1 - height)
    return (left, top, min(1.0, left + width), min(1.0, top + height))
