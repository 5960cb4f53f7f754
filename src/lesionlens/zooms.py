"""How many views are averaged, and how near each looks: numbers that need no arrays.

Apart from ``views.py`` so that configurations and ``--help`` know them without numpy.
"""

from __future__ import annotations

#: The most views that are averaged.
MAX_VIEWS = 10
#: Share of the side that a view keeps, about the centre; taken in turn, view after view.
ZOOMS: tuple[float, ...] = (1.0, 0.6, 0.75, 0.875, 0.5)
