"""A session: one person in front of one screen, and all that a screen function is given."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from lesionlens.app import preferences as stored
from lesionlens.app.annotating import Annotating
from lesionlens.app.browsing import trouble_of
from lesionlens.app.choosing import Choosing
from lesionlens.app.device import Device
from lesionlens.app.engine import Engine
from lesionlens.app.keeping import Keeping
from lesionlens.app.navigation import Navigation
from lesionlens.app.preferences import Preferences
from lesionlens.app.routes import is_route
from lesionlens.app.scanning import Scanning
from lesionlens.app.state import AppState, Message, Question
from lesionlens.app.texts import LANGUAGES, Texts, language_of
from lesionlens.app.timing import Timing
from lesionlens.app.transfers import Transfers
from lesionlens.errors import HistoryError, LesionLensError
from lesionlens.history.store import History

#: What a browser keeps the preferences under.
_PREFERENCES = "preferences"


class Session:
    """What a screen shows (``state``), says (``texts``) and can ask for (the controllers).

    Args:
        engine: shared by all sessions of the process.
        device: of this session.
        folder: where preferences, history and an unfinished scan are kept; None keeps all in
            memory, as for a browser, whose person may not own this machine; preferences are then
            left with the browser (``Device.remember``).
        locale: of the device, e.g. ``pt_BR``; where no language was chosen.
        tell_route: called with each new route (``Navigation``).
        history: to use instead of the one in ``folder``.

    Where the history in ``folder`` cannot be opened, ``state.trouble`` says so, and what the person
    decides about it is done by ``keeping``; until then there is an empty one in memory.
    """

    def __init__(
        self,
        engine: Engine,
        device: Device,
        *,
        folder: Path | None = None,
        locale: str = "",
        tell_route: Callable[[str], None] = lambda _route: None,
        history: History | None = None,
    ) -> None:
        self.engine = engine
        self.device = device
        self.folder = folder
        self._locale = locale
        kept = Preferences() if folder is None else stored.load(folder / "preferences.json")
        self.state = AppState(preferences=kept)
        self.history_path = None if folder is None else folder / "history.db"
        self.history = history or self._open_history()
        self.texts = self._texts_for(kept)
        self.navigation = Navigation(
            self.state, tell=tell_route, is_route=lambda route: is_route(route, self.state)
        )
        self.scanning = Scanning(self)
        self.keeping = Keeping(self)
        self.annotating = Annotating(self)
        self.transfers = Transfers(self)
        self.timing = Timing(self)
        self.choosing = Choosing(self)

    def set_preferences(self, **changes: Any) -> None:
        """Change some of the preferences, and keep them."""
        changed = replace(self.state.preferences, **changes)
        self.texts = self._texts_for(changed)
        self.state.preferences = changed
        if self.folder is None:
            self.device.remember(_PREFERENCES, stored.as_json(changed))
        else:
            try:
                stored.save(changed, self.folder / "preferences.json")
            except LesionLensError as error:
                self.say(str(error), is_error=True)

    async def recall(self) -> None:
        """Take up the preferences that a browser has kept from an earlier visit."""
        if self.folder is None:
            kept = await self.device.recall(_PREFERENCES)
            if kept is not None:
                preferences = stored.from_json(kept)
                self.texts = self._texts_for(preferences)
                self.state.preferences = preferences

    def say(self, text: str, *, is_error: bool = False) -> None:
        """Show a line at the bottom of the screen."""
        self.state.message = Message(text, is_error=is_error)

    def ask(
        self,
        title: str,
        text: str,
        confirm_text: str,
        on_confirm: Callable[[], Awaitable[None]],
        *,
        is_destructive: bool = False,
    ) -> None:
        """Ask before something is done."""
        self.state.question = Question(title, text, confirm_text, on_confirm, is_destructive)

    async def answer(self, is_confirmed: bool) -> None:
        """Close the question, and do what it was about if it was confirmed."""
        question, self.state.question = self.state.question, None
        if question is not None and is_confirmed:
            await question.on_confirm()

    def back(self) -> None:
        """Close the screen on top, having asked where something would be lost."""
        if not self.scanning.holds_back():
            self.navigation.back()

    async def escape(self) -> None:
        """Do what the key says: take back a question, a line at the bottom, the screen on top."""
        if self.state.question is not None:
            await self.answer(False)
        elif self.state.message is not None:
            self.state.message = None
        elif len(self.state.stack) > 1:
            self.back()

    def close(self) -> None:
        """Let go of what the session holds; the engine stays, others may use it."""
        with suppress(HistoryError):  # nobody is there any more to be told
            self.annotating.save_typed_now()
        self.history.close()

    def _open_history(self) -> History:
        try:
            return History(self.history_path)
        except HistoryError as error:
            self.state.trouble = trouble_of(error)
            return History(None)

    def _texts_for(self, preferences: Preferences) -> Texts:
        language = preferences.language or language_of(self._locale)
        return Texts(language if language in LANGUAGES else "en")
