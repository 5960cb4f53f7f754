"""What a person adds to scans: notes, the place on the body, which spot it is of.

What is typed is shown at once and saved when typing pauses, when the field is left, and at the
latest when the screen is.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from lesionlens.app.browsing import HISTORY, Opened, OpenLesion, OpenScan
from lesionlens.app.handling import guarded
from lesionlens.app.keeping import in_thread
from lesionlens.history.records import MAX_TEXT
from lesionlens.history.store import History

if TYPE_CHECKING:
    from lesionlens.app.session import Session

#: How long typing has to pause before what was typed is saved.
SAVE_DELAY_S = 1.0
#: Longest notes and names that the fields take.
MAX_NOTES, MAX_NAME = MAX_TEXT, 80


class Annotating:
    """Changes what may be changed of a scan and of a lesion."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self._typed = 0  # the latest letter saves

    # --- typing ----------------------------------------------------------------------------

    @guarded
    async def type_notes(self, scan_id: int, text: str) -> None:
        """Take over what is typed as a scan's notes."""
        self._change_scan(scan_id, notes=text)
        if await self._pauses():
            if self.session.state.opened.scans.get(scan_id) is None:  # left in the middle of a word
                await in_thread(self.session, lambda it: it.update(scan_id, notes=text))
            await self.save_typed()

    @guarded
    async def type_lesion(self, lesion_id: int, **typed: str) -> None:
        """Take over what is typed as a lesion's ``name`` or ``notes``."""
        self._change_lesion(lesion_id, **typed)
        if await self._pauses():
            await self.save_typed()

    @guarded
    async def leave_field(self) -> None:
        """Save what was typed, now that the field is left."""
        await self.save_typed()

    async def _pauses(self) -> bool:
        """Wait a little; whether nothing else was typed meanwhile."""
        self._typed += 1
        mine = self._typed
        await asyncio.sleep(SAVE_DELAY_S)
        return mine == self._typed

    async def save_typed(self) -> None:
        """Save whatever was typed and is not saved yet.

        Raises:
            HistoryError: it cannot be saved, in the person's words; it stays in the field.
        """
        opened = self.session.state.opened
        for scan in opened.scans.values():
            if scan is not None and scan.notes != scan.scan.notes:
                await self._update_scan(scan.scan.id, notes=scan.notes)
        for lesion in opened.lesions.values():
            if lesion is not None:
                changes = _typed_changes(lesion)
                if changes:
                    await self._update_lesion(lesion.lesion.id, **changes)

    def forget_typing(self) -> None:
        """Let go of what would be saved when typing pauses: what it is of was deleted."""
        self._typed += 1

    def save_typed_now(self) -> None:
        """Save the same without a thread: the window is closing."""
        opened = self.session.state.opened
        history: History = self.session.history
        for scan in opened.scans.values():
            if scan is not None and scan.notes != scan.scan.notes:
                history.update(scan.scan.id, notes=scan.notes)
        for lesion in opened.lesions.values():
            if lesion is not None and _typed_changes(lesion):
                history.update_lesion(lesion.lesion.id, **_typed_changes(lesion))

    # --- a scan ----------------------------------------------------------------------------

    def show_overlay(self, scan_id: int, opacity: float) -> None:
        """Lay the heat map over a scan's picture."""
        self._change_scan(scan_id, overlay_opacity=min(1.0, max(0.0, opacity)))

    def choose_site(self, scan_id: int, chooses: bool) -> None:
        """Open or close the body map of a scan."""
        self._change_scan(scan_id, chooses_site=chooses)

    @guarded
    async def set_site(self, scan_id: int, site: str | None) -> None:
        """Say where on the body a scan was taken."""
        await self._update_scan(scan_id, body_site=site)
        self._change_scan(scan_id, chooses_site=False)
        await self.session.keeping.reload()

    @guarded
    async def assign(self, scan_id: int, lesion_id: int | None) -> None:
        """Say which lesion a scan is of; None: of none."""
        await self._update_scan(scan_id, lesion_id=lesion_id)
        self.name_lesion(scan_id, None)
        await self.session.keeping.reload()

    def name_lesion(self, scan_id: int, name: str | None) -> None:
        """Take over what is typed as the name of a new lesion; None: there is to be none."""
        if name is None:
            self.session.keeping.fields.drop(f"new-lesion-{scan_id}")
        self._change_scan(scan_id, new_lesion=name)

    @guarded
    async def follow(self, scan_id: int) -> None:
        """Make the lesion that was named, at the scan's place, and give it the scan."""
        scan = self.session.state.opened.scans.get(scan_id)
        if scan is None or not (scan.new_lesion or "").strip():
            return
        name, site = str(scan.new_lesion).strip(), scan.scan.body_site

        def make(history: History) -> int:
            return history.add_lesion(name, body_site=site).id

        lesion_id = await in_thread(self.session, make)
        await self.assign(scan_id, lesion_id)

    def ask_delete_scan(self, scan_id: int) -> None:
        """Ask whether to delete the scan that is looked at."""
        texts = self.session.texts

        async def confirmed() -> None:
            await self.session.keeping.delete(scan_id)

        self.session.ask(
            texts("history.delete_scans", count=1),
            texts("history.delete_for_good"),
            texts("common.delete"),
            confirmed,
            is_destructive=True,
        )

    # --- a lesion --------------------------------------------------------------------------

    def choose_lesion_site(self, lesion_id: int, chooses: bool) -> None:
        """Open or close the body map of a lesion."""
        self._change_lesion(lesion_id, chooses_site=chooses)

    @guarded
    async def set_lesion_site(self, lesion_id: int, site: str | None) -> None:
        """Say where on the body a lesion is."""
        await self._update_lesion(lesion_id, body_site=site)
        self._change_lesion(lesion_id, chooses_site=False)
        await self.session.keeping.reload()

    def begin_choosing(self, lesion_id: int) -> None:
        """Let two scans be chosen to compare; the first and the last are to begin with."""
        lesion = self.session.state.opened.lesions.get(lesion_id)
        if lesion is not None and lesion.tiles:
            ends = (lesion.tiles[-1].scan.id, lesion.tiles[0].scan.id)
            self._change_lesion(lesion_id, chosen=ends)

    def choose(self, lesion_id: int, scan_id: int) -> None:
        """Choose a scan to compare, or not any more; the older choice gives way to a third."""
        lesion = self.session.state.opened.lesions.get(lesion_id)
        if lesion is None:
            return
        chosen = lesion.chosen or ()
        if scan_id in chosen:
            chosen = tuple(it for it in chosen if it != scan_id)
        else:
            chosen = (*chosen, scan_id)[-2:]
        self._change_lesion(lesion_id, chosen=chosen)

    def stop_choosing(self, lesion_id: int) -> None:
        """Choose nothing any more."""
        self._change_lesion(lesion_id, chosen=None)

    def compare(self, lesion_id: int) -> None:
        """Open the two that were chosen side by side."""
        lesion = self.session.state.opened.lesions.get(lesion_id)
        if lesion is not None and lesion.chosen is not None and len(lesion.chosen) == 2:
            first, second = lesion.chosen
            self._change_lesion(lesion_id, chosen=None)
            self.session.navigation.go(f"{HISTORY}/compare/{first}/{second}")

    def ask_delete_lesion(self, lesion_id: int, *, with_scans: bool) -> None:
        """Ask whether to delete a lesion, with its scans or without."""
        lesion = self.session.state.opened.lesions.get(lesion_id)
        if lesion is None:
            return
        texts = self.session.texts
        n_scans = len(lesion.tiles)

        async def confirmed() -> None:
            await self._delete_lesion(lesion_id, with_scans=with_scans)

        if with_scans:
            self.session.ask(
                texts("history.delete_spot_with_scans"),
                texts("history.delete_spot_with_scans_text", count=n_scans),
                texts("common.delete"),
                confirmed,
                is_destructive=True,
            )
        else:
            self.session.ask(
                texts("history.stop_following"),
                texts("history.stop_following_text"),
                texts("history.stop_following"),
                confirmed,
            )

    @guarded
    async def _delete_lesion(self, lesion_id: int, *, with_scans: bool) -> None:
        self.forget_typing()  # it may pause while this takes
        await in_thread(self.session, lambda it: it.delete_lesion(lesion_id, with_scans=with_scans))
        self.forget_typing()  # letters that came meanwhile
        self.session.state.opened = Opened()  # what was typed goes, too
        self.session.navigation.back()
        await self.session.keeping.reload()
        self.session.say(self.session.texts("history.spot_deleted"))

    # --- within ----------------------------------------------------------------------------

    async def _update_scan(self, scan_id: int, **changes: Any) -> None:
        scan = await in_thread(self.session, lambda it: it.update(scan_id, **changes))
        self._change_scan(scan_id, scan=scan)

    async def _update_lesion(self, lesion_id: int, **changes: Any) -> None:
        lesion = await in_thread(self.session, lambda it: it.update_lesion(lesion_id, **changes))
        self._change_lesion(lesion_id, lesion=lesion)

    def _change_scan(self, scan_id: int, **changes: Any) -> None:
        state = self.session.state
        known: OpenScan | None = state.opened.scans.get(scan_id)
        if known is not None:
            scans = {**state.opened.scans, scan_id: replace(known, **changes)}
            state.opened = replace(state.opened, scans=scans)

    def _change_lesion(self, lesion_id: int, **changes: Any) -> None:
        state = self.session.state
        known: OpenLesion | None = state.opened.lesions.get(lesion_id)
        if known is not None:
            lesions = {**state.opened.lesions, lesion_id: replace(known, **changes)}
            state.opened = replace(state.opened, lesions=lesions)


def _typed_changes(lesion: OpenLesion) -> dict[str, str]:
    """Return what was typed and differs from what is saved; an empty name is not taken."""
    name = lesion.name.strip()
    changes = {}
    if name and name != lesion.lesion.name:
        changes["name"] = name
    if lesion.notes != lesion.lesion.notes:
        changes["notes"] = lesion.notes
    return changes
