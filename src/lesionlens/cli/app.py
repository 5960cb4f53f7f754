"""``lesionlens app``: the app, in a window or in a browser."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lesionlens.cli import console
from lesionlens.cli.options import ModelOption
from lesionlens.errors import LesionLensError

if TYPE_CHECKING:
    from lesionlens.app.engine import Engine


#: Where ``--web`` is found unless told otherwise.
USUAL_PORT = 8550


def app(
    *,
    web: Annotated[
        bool, typer.Option("--web", help="Show it in a browser, not in a window.")
    ] = False,
    host: Annotated[
        str,
        typer.Option(
            help="With --web: address to listen on. Others than this machine's own let other "
            "machines in; pictures then travel unencrypted."
        ),
    ] = "127.0.0.1",
    port: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=65535,
            help="With --web: port to listen on; 0 takes a free one. Without it 8550, or a free "
            "one where that is taken: a browser keeps the settings by address.",
            show_default=False,
        ),
    ] = None,
    browser: Annotated[
        bool, typer.Option(help="With --web: open the page in this machine's browser.")
    ] = True,
    language: Annotated[
        str,
        typer.Option(
            metavar="CODE",
            help="Language to start in: en, id, es, pt or fr [default: the system's].",
            show_default=False,
        ),
    ] = "",
    history: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder of the history and the settings [default: the system's place for such "
            "data]. With --web the history is in memory and ends with the page, and the browser "
            "keeps the settings.",
            show_default=False,
        ),
    ] = None,
    model: ModelOption = None,
    threads: Annotated[
        int | None,
        typer.Option(min=1, help="Cores to use; up to 4 without it.", show_default=False),
    ] = None,
) -> None:
    """Open the app: scan, look at the answer and what it rests on, keep it, learn.

    Everything happens on this machine: nothing is sent anywhere, and with --web a server answers
    to this machine's own browser alone, until Ctrl-C. The address is printed on standard output.
    The page takes pictures that are dropped on it or pasted into it. A window needs the extra
    `desktop` beside `app`; where none can be opened, the app says why and comes up in the browser.

    **Examples**

        lesionlens app

        lesionlens app --web

        lesionlens app --language id

        lesionlens app --web --host 0.0.0.0 --port 8000 --no-browser
    """
    console.require(
        "app", "app", "flet", "flet_web", "flet_camera", "flet_permission_handler", "reportlab"
    )
    from lesionlens.app.engine import Engine
    from lesionlens.app.texts import LANGUAGES

    if language and language not in LANGUAGES:
        raise LesionLensError(f"--language {language}: is not one of {', '.join(LANGUAGES)}")
    if web and history is not None:
        raise LesionLensError(
            "--history is of the window: in a browser the history is kept in memory and ends "
            "with the page; export it there to keep it"
        )
    engine = Engine(model, threads=threads)
    if not web:
        from lesionlens.app.window import NoWindowError

        try:
            _open_window(engine, language, history)
        except NoWindowError as error:
            typer.echo(
                f"lesionlens: {error}. The app comes up in the browser instead, where the "
                "history ends with the page.",
                err=True,
            )
            web = True
    if web:
        _serve(engine, language, host=host, port=port, open_browser=browser)


def _open_window(engine: Engine, language: str, folder: Path | None) -> None:
    from lesionlens.app.device import data_folder
    from lesionlens.app.main import make_main
    from lesionlens.app.window import run_window

    run_window(make_main(engine, folder=folder or data_folder(), language=language))


def _serve(
    engine: Engine, language: str, *, host: str, port: int | None, open_browser: bool
) -> None:
    from lesionlens.addresses import is_loopback
    from lesionlens.app.door import open_door
    from lesionlens.app.main import make_main
    from lesionlens.app.serving import serve

    def ready(url: str) -> None:
        if not is_loopback(host):
            typer.echo(
                f"lesionlens: --host {host} lets other machines in. Pictures travel to this "
                "machine unencrypted, and whoever reaches the port can use the app (each page has "
                "a history of its own). Browsers open the camera only on this machine itself.",
                err=True,
            )
        typer.echo("LesionLens is ready; Ctrl-C ends it.", err=True)
        typer.echo(url)

    main = make_main(
        engine,
        folder=None,
        language=language,
        on_session=lambda page, session: open_door(page, session.scanning.receive),
    )
    serve_at = partial(serve, main, host=host, open_browser=open_browser, on_ready=ready)
    if port is not None:
        serve_at(port=port)
        return
    try:
        serve_at(port=USUAL_PORT)
    except LesionLensError:  # it is taken; had we asked before, another could take it in between
        serve_at(port=0)
