"""From an item to what ``imaging.load_pixels`` reads, and the hash of it: one read, no second.

>>> from lesionlens.screening.items import Item
>>> read_item(Item("lesion.jpg", "/photos/lesion.jpg")).sha256  # doctest: +SKIP
'2f1c...'
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass

import numpy as np

from lesionlens.errors import ImageError
from lesionlens.screening.items import Item


@dataclass(frozen=True)
class Reading:
    """What was read of an item."""

    source: bytes | np.ndarray  # for imaging.load_pixels: encoded bytes, or pixels
    sha256: str  # of the encoded file, or of a DICOM frame's pixel data


def read_item(item: Item) -> Reading:
    """Read an item's bytes, once.

    Raises:
        ImageError: it cannot be read; ``reason`` is one of ``items.REASONS``.
    """
    try:
        with open(os.fsencode(item.location), "rb") as file:
            content = file.read()
    except FileNotFoundError as error:
        raise ImageError(f"{item.name}: no such file", reason="not_found") from error
    except PermissionError as error:
        raise ImageError(
            f"{item.name}: may not be read by this user; grant it, or run as one who may",
            reason="no_permission",
        ) from error
    except OSError as error:
        raise ImageError(f"{item.name}: cannot be read ({error.strerror or error})") from error
    return Reading(content, hashlib.sha256(content).hexdigest())
