"""The history, as its screens show it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lesionlens.app.session import Session


class Keeping:
    """The history, as its screens show it."""

    def __init__(self, session: Session) -> None:
        self.session = session
