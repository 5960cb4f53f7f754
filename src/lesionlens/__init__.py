"""LesionLens: private, honest, on-device screening of dermoscopic images.

Decision support for research and education. **Not a diagnosis.**

>>> from lesionlens import Classifier
>>> Classifier().predict("lesion.jpg").label  # doctest: +SKIP
<Label.BCC: 'BCC'>
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lesionlens.classifier import Classifier as Classifier
    from lesionlens.errors import LesionLensError as LesionLensError
    from lesionlens.labels import Label as Label
    from lesionlens.records import Prediction as Prediction

__version__ = "0.3.0"

_HOMES = {
    "Classifier": "lesionlens.classifier",
    "LesionLensError": "lesionlens.errors",
    "Label": "lesionlens.labels",
    "Prediction": "lesionlens.records",
}
__all__ = ["Classifier", "Label", "LesionLensError", "Prediction", "__version__"]


def __getattr__(name: str) -> Any:
    """Import the public names on first use, so that ``import lesionlens`` stays cheap."""
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'lesionlens' has no attribute {name!r}")
