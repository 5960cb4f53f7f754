"""The vocabulary of what is said about an answer: verdicts, and the policies they follow.

The rule stands in ``confidence.judge``, its price in docs/verdicts.md.
"""

from __future__ import annotations

#: Sure enough; do not rely on it; like none of the three; take another photo.
VERDICTS: tuple[str, ...] = ("confident", "uncertain", "out_of_scope", "poor_image")
CONFIDENT, UNCERTAIN, OUT_OF_SCOPE, POOR_IMAGE = VERDICTS

#: How cautiously an answer is judged, and the share of the images of each class whose prediction
#: set is to hold the class. ``sensitive`` sends more away as uncertain, to lose fewer cancers.
COVERAGE: dict[str, float] = {"balanced": 0.90, "sensitive": 0.95}
#: The same of the wider sets that have to be empty, too, before an image is called out of scope:
#: a cancer sent away is worse than a nevus called uncertain.
SCOPE_COVERAGE: dict[str, float] = {"balanced": 0.95, "sensitive": 0.975}
POLICIES: tuple[str, ...] = tuple(COVERAGE)
DEFAULT_POLICY = "balanced"

#: Stands under every table and beside every answer that leaves by the network.
DISCLAIMER = "Decision support for research and education. Not a diagnosis."
