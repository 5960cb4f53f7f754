"""The history, as its screens show it: found, narrowed down, opened, selected, deleted.

What is open is read anew whenever the person comes to one of the history's screens (``refresh``,
called with each new route), so that whoever changes the history need not tell anybody.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from lesionlens.app.browsing import (
    HISTORY,
    PAGE,
    Browse,
    Filter,
    Opened,
    OpenLesion,
    OpenScan,
    keep_equal,
    kind_of,
    next_visit,
    read_browse,
    read_lesion,
    read_scan,
    read_tiles,
    trouble_of,
)
from lesionlens.app.components.retained import Retained
from lesionlens.app.handling import guarded
from lesionlens.app.texts import Texts
from lesionlens.errors import HistoryError
from lesionlens.history.store import History

if TYPE_CHECKING:
    from lesionlens.app.session import Session

#: How long to wait for the next letter before looking for what was typed.
SEARCH_DELAY_S = 0.25

T = TypeVar("T")

_SCAN = re.compile(rf"{HISTORY}/scans/(\d+)")
_LESION = re.compile(rf"{HISTORY}/lesions/(\d+)")
_COMPARE = re.compile(rf"{HISTORY}/compare/(\d+)/(\d+)")


def in_words(error: HistoryError, texts: Texts) -> str:
    """Return what went wrong in the person's language."""
    return texts(f"history.error_{kind_of(error)}")


async def in_thread(session: Session, work: Callable[[History], T]) -> T:
    """Do something with the history in a thread of its own.

    Raises:
        HistoryError: in the person's words. A damaged history is asked about, too
            (``state.trouble``).
    """
    try:
        return await asyncio.to_thread(work, session.history)
    except HistoryError as error:
        if kind_of(error) == "damaged":
            session.state.trouble = trouble_of(error)
        raise HistoryError(in_words(error, session.texts)) from error


class Keeping:
    """The history's list, and what is open of the history."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.retained = Retained()  # tiles as they were drawn last
        self.fields = Retained()  # what is typed into
        self._searches = 0  # the latest wins
        self._one_at_a_time = asyncio.Lock()

    # --- reading ---------------------------------------------------------------------------

    @guarded
    async def refresh(self) -> None:
        """Read anew what the screen on top shows, and let go of what no screen shows."""
        await self.session.annotating.save_typed()
        await self.reload()

    async def reload(self) -> None:
        """Read anew what is on top of the stack.

        Raises:
            HistoryError: the history cannot be read, in the person's words.
        """
        async with self._one_at_a_time:
            state = self.session.state
            if state.trouble is not None:
                return
            if HISTORY not in state.stack:
                state.browse = None
                self.retained.clear()
            elif state.route == HISTORY or state.browse is None:
                await self._read_list()
            await self._read_opened()

    async def _read_list(self) -> None:
        state = self.session.state
        old = state.browse or Browse()
        n_tiles = max(PAGE, len(old.tiles))
        new = await in_thread(self.session, lambda it: read_browse(it, old.filter, n_tiles))
        if (state.browse or old) is not old:
            old = state.browse or old  # tapped in between
        there = None if old.selected is None else {tile.scan.id for tile in new.tiles}
        state.browse = replace(
            keep_equal(old, new),
            filter=old.filter,
            selected=None if old.selected is None else old.selected & frozenset(there or ()),
            shows_lesions=old.shows_lesions and bool(new.lesions),
            summary=old.summary,
            visit=old.visit,
        )

    async def _read_opened(self) -> None:
        state = self.session.state
        scans: dict[int, OpenScan | None] = {}
        lesions: dict[int, OpenLesion | None] = {}
        for route in state.stack:
            is_top = route == state.route
            for scan_id in _ids(_SCAN, route) + _ids(_COMPARE, route):
                scans[scan_id] = await self._scan(scan_id, is_top=is_top)
            for lesion_id in _ids(_LESION, route):
                lesions[lesion_id] = await self._lesion(lesion_id, is_top=is_top)
        opened = Opened(scans, lesions)
        if opened != state.opened:
            state.opened = opened

    async def _scan(self, scan_id: int, *, is_top: bool) -> OpenScan | None:
        known = self.session.state.opened.scans.get(scan_id)
        if known is not None and not is_top:
            return known
        new = await in_thread(self.session, lambda it: read_scan(it, scan_id))
        known = self.session.state.opened.scans.get(scan_id)
        if new is None or known is None:
            return new
        return replace(
            known,  # whose pictures never change, and what is typed and chosen on the screen
            scan=new.scan,
            lesions=new.lesions,
            sites=new.sites,
            notes=new.notes if known.notes == known.scan.notes else known.notes,
        )

    async def _lesion(self, lesion_id: int, *, is_top: bool) -> OpenLesion | None:
        known = self.session.state.opened.lesions.get(lesion_id)
        if known is not None and not is_top:
            return known
        new = await in_thread(self.session, lambda it: read_lesion(it, lesion_id))
        known = self.session.state.opened.lesions.get(lesion_id)
        if new is None or known is None:
            return new
        there = {tile.scan.id for tile in new.tiles}
        chosen = known.chosen and tuple(it for it in known.chosen if it in there)
        return replace(
            new,
            name=new.name if known.name == known.lesion.name else known.name,
            notes=new.notes if known.notes == known.lesion.notes else known.notes,
            chooses_site=known.chooses_site,
            chosen=chosen,
            visit=known.visit,
        )

    # --- finding ---------------------------------------------------------------------------

    @guarded
    async def search(self, text: str) -> None:
        """Narrow the list to scans that have all of these words; the latest search wins."""
        browse = self._browse
        self._browse = replace(browse, filter=replace(browse.filter, search=text))
        self._searches += 1
        mine = self._searches
        await asyncio.sleep(SEARCH_DELAY_S)
        if mine == self._searches:
            await self._find()

    @guarded
    async def narrow_kind(self, kind: str | None) -> None:
        """Narrow the list to one of ``browsing.KINDS``; None: to all of them."""
        browse = self._browse
        self._browse = replace(browse, filter=replace(browse.filter, kind=kind))
        await self._find()

    @guarded
    async def narrow_site(self, body_site: str | None) -> None:
        """Narrow the list to a part of the body; None: to the whole of it."""
        browse = self._browse
        self._browse = replace(browse, filter=replace(browse.filter, body_site=body_site))
        await self._find()

    @guarded
    async def clear_search(self) -> None:
        """Empty the field for words."""
        browse = self._browse
        cleared = replace(browse.filter, search="")
        self._browse = replace(browse, filter=cleared, visit=next_visit())
        await self._find()

    @guarded
    async def clear_filter(self) -> None:
        """Show all scans again."""
        self._browse = replace(self._browse, filter=Filter(), visit=next_visit())
        await self._find()

    async def _find(self) -> None:
        browse = self._browse
        # From the top, and nothing selected that may be out of sight.
        self._browse = replace(
            browse,
            tiles=browse.tiles[:PAGE],
            selected=None if browse.selected is None else frozenset(),
        )
        await self.reload()

    @guarded
    async def more(self) -> None:
        """Load the next scans of the list."""
        browse = self._browse
        wanted, offset = browse.filter, len(browse.tiles)
        added = await in_thread(
            self.session, lambda it: read_tiles(it, wanted, limit=PAGE, offset=offset)
        )
        if self._browse.tiles == browse.tiles:  # the list is still that one
            self._browse = replace(self._browse, tiles=browse.tiles + added)

    def show_lesions(self, shows_lesions: bool) -> None:
        """Show lesions that are followed, or scans."""
        self._browse = replace(self._browse, shows_lesions=shows_lesions, selected=None)

    def put_away_summary(self) -> None:
        """Close what is said about an import."""
        self._browse = replace(self._browse, summary=None)

    # --- selecting and deleting ------------------------------------------------------------

    def select(self, *scan_ids: int) -> None:
        """Begin to select scans, with these."""
        self._browse = replace(self._browse, selected=frozenset(scan_ids))

    def toggle(self, scan_id: int) -> None:
        """Add a scan to what is selected, or take it out."""
        self._browse = replace(
            self._browse, selected=(self._browse.selected or frozenset()) ^ {scan_id}
        )

    def select_shown(self) -> None:
        """Select all scans of the list as far as it is loaded; again: none."""
        shown = frozenset(tile.scan.id for tile in self._browse.tiles)
        is_all = self._browse.selected == shown
        self._browse = replace(self._browse, selected=frozenset() if is_all else shown)

    def stop_selecting(self) -> None:
        """Select nothing any more."""
        self._browse = replace(self._browse, selected=None)

    def ask_delete_selected(self) -> None:
        """Ask whether to delete what is selected."""
        scan_ids = tuple(sorted(self._browse.selected or ()))
        if not scan_ids:
            return
        texts = self.session.texts

        async def confirmed() -> None:
            await self.delete(*scan_ids)

        self.session.ask(
            texts("history.delete_scans", count=len(scan_ids)),
            texts("history.delete_for_good"),
            texts("common.delete"),
            confirmed,
            is_destructive=True,
        )

    @guarded
    async def delete(self, *scan_ids: int) -> None:
        """Delete scans for good, and close those that are open."""
        texts = self.session.texts
        self.session.state.busy = texts("history.deleting")
        self.session.annotating.forget_typing()  # it may pause while this takes
        await in_thread(self.session, lambda it: it.delete(*scan_ids))
        opened = self.session.state.opened
        left = {number: it for number, it in opened.scans.items() if number not in scan_ids}
        self.session.state.opened = replace(opened, scans=left)
        self.session.annotating.forget_typing()  # letters that came meanwhile
        if self._is_open(scan_ids):
            self.session.navigation.back()
        if self.session.state.browse is not None:
            self.stop_selecting()
        await self.reload()
        self.session.say(texts("history.deleted", count=len(scan_ids)))

    def ask_delete_all(self) -> None:
        """Ask whether to delete the whole history."""
        texts = self.session.texts
        self.session.ask(
            texts("history.delete_all_title"),
            texts("history.delete_all_text", count=self._browse.n_all),
            texts("history.delete_all"),
            self._delete_all,
            is_destructive=True,
        )

    @guarded
    async def _delete_all(self) -> None:
        texts = self.session.texts
        self.session.state.busy = texts("history.deleting")
        await in_thread(self.session, lambda it: it.delete_all())
        self._browse = Browse()
        await self.reload()
        self.session.say(texts("history.all_deleted"))

    def _is_open(self, scan_ids: tuple[int, ...]) -> bool:
        shown = _ids(_SCAN, self.session.state.route)
        return bool(set(shown) & set(scan_ids))

    # --- a history that cannot be used -----------------------------------------------------

    @guarded
    async def try_again(self) -> None:
        """Open the history once more: the disk may have room now, another program be closed."""
        await self._reopen(sets_aside=False)

    @guarded
    async def begin_anew(self) -> None:
        """Put the file that cannot be used aside, where it stays, and begin an empty history."""
        await self._reopen(sets_aside=True)

    async def _reopen(self, *, sets_aside: bool) -> None:
        session = self.session
        path = session.history_path

        def reopen() -> History:
            session.history.close()
            if sets_aside and path is not None:
                History.set_aside(path)
            return History(path)

        try:
            session.history = await asyncio.to_thread(reopen)
        except HistoryError as error:
            session.history = History(None)
            session.state.trouble = trouble_of(error)
            session.say(session.texts("history.trouble_still"), is_error=True)
            return
        await self._start_over()

    @guarded
    async def go_on_without(self) -> None:
        """Keep scans in memory only, until the app is closed."""
        self.session.history.close()
        self.session.history = History(None)
        await self._start_over()

    async def _start_over(self) -> None:
        state = self.session.state
        state.trouble = state.message = state.browse = None
        state.opened = Opened()
        self.retained.clear()
        await self.reload()

    # --- within ----------------------------------------------------------------------------

    @property
    def _browse(self) -> Browse:
        return self.session.state.browse or Browse()

    @_browse.setter
    def _browse(self, browse: Browse) -> None:
        self.session.state.browse = browse


def _ids(pattern: re.Pattern[str], route: str) -> list[int]:
    found = pattern.fullmatch(route)
    return [int(part) for part in found.groups()] if found else []
