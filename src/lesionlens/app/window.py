"""The app in a window of its own: Flet's desktop client, where there is one.

The package ``flet-desktop`` holds no client (13 kB): it fetches one from github.com the first
time and keeps it in ``~/.flet``. LesionLens reaches out for nothing that was not asked for, so
that package is an extra of its own, ``lesionlens[desktop]``, and without it the app is shown in
a browser. Flet itself would install it with pip, in the middle of a start.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lesionlens.errors import LesionLensError

if TYPE_CHECKING:
    import flet as ft

_ASSETS = Path(__file__).parent / "assets"


class NoWindowError(LesionLensError):
    """A window cannot be opened here; the message says why, to be followed by what is done."""


def run_window(main: Callable[[ft.Page], Any]) -> None:
    """Show the app in a window, until it is closed.

    Args:
        main: Called with the page of the window.

    Raises:
        NoWindowError: There is no display, no client, or the client ended before it showed
            anything.
    """
    check_window()
    import flet as ft

    if not os.environ.get("FLET_VIEW_PATH"):  # a client of one's own, already here
        import flet_desktop

        try:
            with redirect_stdout(sys.stderr):  # tells that it fetches, and how far it is
                flet_desktop.ensure_client_cached()
        except OSError as error:
            raise NoWindowError(
                f"Flet's desktop client could not be fetched ({error}), which is needed once"
            ) from error
    shown: list[ft.Page] = []

    async def show(page: ft.Page) -> None:
        shown.append(page)
        await main(page)

    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        ft.run(show, view=ft.AppView.FLET_APP, assets_dir=str(_ASSETS))
    except OSError as error:
        raise NoWindowError(f"Flet's desktop client cannot be started ({error})") from error
    finally:  # Flet leaves its own behind, which wake an event loop that is closed by now
        for number, handler in handlers.items():
            signal.signal(number, handler)
    if not shown:
        raise NoWindowError(
            "Flet's desktop client ended before it showed anything"
            + (" (on Debian and Ubuntu it needs libgtk-3-0)" if sys.platform == "linux" else "")
        )


def check_window() -> None:
    """Raise NoWindowError where a window cannot be opened, without trying."""
    from flet.utils import get_bool_env_var, is_linux_server

    if is_linux_server():
        raise NoWindowError("there is no display here")
    if get_bool_env_var("FLET_FORCE_WEB_SERVER"):
        raise NoWindowError("FLET_FORCE_WEB_SERVER is set")
    try:
        client, flet = version("flet-desktop"), version("flet")
    except PackageNotFoundError as error:
        raise NoWindowError(
            "a window needs flet-desktop, which is not installed: "
            "pip install 'lesionlens[desktop]' (which fetches Flet's client once)"
        ) from error
    if client != flet:
        raise NoWindowError(
            f"flet-desktop {client} does not fit flet {flet}: pip install 'lesionlens[desktop]'"
        )
