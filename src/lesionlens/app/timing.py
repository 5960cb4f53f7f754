"""The performance run."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lesionlens.app.session import Session


class Timing:
    """The performance run."""

    def __init__(self, session: Session) -> None:
        self.session = session
