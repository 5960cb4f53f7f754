"""From a photo to an answer: camera, gallery, crop, judge."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lesionlens.app.session import Session


class Scanning:
    """From a photo to an answer: camera, gallery, crop, judge."""

    def __init__(self, session: Session) -> None:
        self.session = session

    async def resume(self) -> None:
        """Take up what was unfinished when the app was killed."""

    async def lifecycle(self, state: str) -> None:
        """Follow the app into the background and back."""
