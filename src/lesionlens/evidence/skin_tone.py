"""How light the skin in a picture is: the individual typology angle (ITA).

ITA = arctan((L* - 50) / b*) in degrees, of skin in CIE L*a*b* (Chardon, Cretois and Hourseau
1991, https://doi.org/10.1111/j.1467-2494.1991.tb00561.x). It was made for skin under a
calibrated instrument. A dermatoscope is none: its light, white balance and gel move the angle,
flushed skin lowers it, and nothing here is measured on a person. What is found is how light the
skin *looks in the picture*, which is what a model sees, and no ethnicity or Fitzpatrick type.

The package derm-ita computes the same angle over a whole image or patches of it; here the
lesion, hair, ink and dark corners are left out first.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image

from lesionlens.data.segment import WORK_PX, segment_lesion

#: Lower ends of the classes in degrees, the lightest first, as in Del Bino, Duval and Bernerd
#: 2018, https://doi.org/10.3390/ijms19092668.
CLASSES: tuple[tuple[str, float], ...] = (
    ("very light", 55.0),
    ("light", 41.0),
    ("intermediate", 28.0),
    ("tan", 10.0),
    ("brown", -30.0),
    ("dark", -90.0),
)
#: Fewest pixels of skin, of WORK_PX squared, that an angle is taken of: 2 % of the frame.
MIN_SKIN_PX = round(0.02 * WORK_PX**2)


@dataclass(frozen=True)
class SkinColour:
    """The median colour of the skin in a picture, of CIE L*a*b* under D65."""

    lightness: float  # L*, 0..100
    yellow: float  # b*

    @property
    def angle(self) -> float | None:
        """The typology angle in degrees, -90..90; None where b* is not above 0.

        There is yellow in all skin: where a picture has none of it left, its light was not
        white, and the angle says nothing.
        """
        if self.yellow <= 0:
            return None
        return math.degrees(math.atan((self.lightness - 50) / self.yellow))


def tone_class(angle: float) -> str:
    """Return the name of the class that an angle in degrees belongs to, of ``CLASSES``."""
    return next((name for name, low in CLASSES if angle > low), CLASSES[-1][0])


def estimate_skin(rgb: np.ndarray, *, lesion: np.ndarray | None = None) -> SkinColour | None:
    """Return the colour of the skin around a lesion.

    Args:
        rgb: uint8, (side, side, 3).
        lesion: bool, (side, side), where the lesion is; all False where there is none; None
            lets ``data.segment`` look for it.

    Returns:
        The median of L* and of b*, so that a few glints and hairs do not matter; None where too
        little skin is left to tell.
    """
    from skimage.color import rgb2lab

    small = np.asarray(Image.fromarray(rgb).resize((WORK_PX, WORK_PX), Image.Resampling.BOX))
    mask = None
    if lesion is not None:
        squashed = Image.fromarray(lesion.astype(np.uint8) * 255).resize((WORK_PX, WORK_PX))
        mask = np.asarray(squashed) > 127
    found = segment_lesion(small, mask=mask)
    skin = ~(found.forbidden | found.marks)
    if skin.sum() < MIN_SKIN_PX:
        return None
    lightness, _, yellow = np.median(rgb2lab(small[skin][np.newaxis] / 255)[0], axis=0)
    return SkinColour(float(lightness), float(yellow))
