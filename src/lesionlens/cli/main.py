"""The ``lesionlens`` command: gathers the verbs and turns errors into exit codes."""

from __future__ import annotations

import errno
import io
import os
import sys
from contextlib import suppress
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from lesionlens import __version__
from lesionlens.cli import app as app_module
from lesionlens.cli import (
    audit_model,
    data_audit,
    data_fetch,
    data_import,
    data_normals,
    data_prepare,
    data_split,
    demo,
    doctor,
    evaluate,
    export,
    predict,
    reproduce,
    screen,
    serve,
    train,
)
from lesionlens.errors import LesionLensError


class _Group(TyperGroup):
    """Tells Typer that an absent ``--help`` is False.

    Typer sends None through pydantic, whose import takes 60 ms: a quarter of what
    ``predict --help`` takes altogether (python -X importtime).
    """

    def get_help_option(self, ctx: Any) -> Any:
        option = super().get_help_option(ctx)
        if option is not None:
            option.default = False
        return option


class _Root(_Group):
    """Turns what a verb raises into one line on stderr and an exit code.

    It happens here, below Typer's own handling, which would end a Ctrl-C without a word.
    """

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except LesionLensError as error:
            typer.echo(f"lesionlens: {error}", err=True)
            raise typer.Exit(2) from error
        except OSError as error:
            if error.errno == errno.EPIPE:  # `| head` has seen enough: Typer ends in silence
                raise
            where = error.filename or "standard output"
            typer.echo(f"lesionlens: {where}: {error.strerror or error}", err=True)
            _give_up_stdout()
            raise typer.Exit(2) from error
        except KeyboardInterrupt as error:
            typer.echo("lesionlens: stopped; run the same command again to go on", err=True)
            raise typer.Exit(130) from error


def _give_up_stdout() -> None:
    """Keep Python from failing once more at its end, over output that could not be written."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


app = typer.Typer(
    name="lesionlens",
    cls=_Root,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="Screen dermoscopic images for BCC, SCC or healthy skin, train and judge the model "
    "that does it.\n\nDecision support for research and education. **Not a diagnosis.**",
    epilog="Try: `lesionlens predict lesion.jpg` · `lesionlens doctor` · "
    "`lesionlens reproduce path/to/isic-folder`",
)
data_app = typer.Typer(
    cls=_Group, no_args_is_help=True, help="Get, check, split and decode an archive."
)
app.command("predict")(predict.predict)
app.command("screen")(screen.screen)
app.command("serve")(serve.serve)
app.command("demo")(demo.demo)
app.command("app")(app_module.app)
app.command("doctor")(doctor.doctor)
app.command("train")(train.train)
app.command("export")(export.export)
app.command("evaluate")(evaluate.evaluate)
app.command("audit-model")(audit_model.audit_model)
app.command("reproduce")(reproduce.reproduce)
app.add_typer(data_app, name="data")
data_app.command("fetch")(data_fetch.data_fetch)
data_app.command("import")(data_import.data_import)
data_app.command("prepare")(data_prepare.data_prepare)
data_app.command("normals")(data_normals.data_normals)
data_app.command("split")(data_split.data_split)
data_app.command("audit")(data_audit.data_audit)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"lesionlens {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Hold the options that belong to no verb."""


def main() -> None:
    """Run the command line; 0 done, 1 some items failed, 2 bad usage or bad input, 130 Ctrl-C."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A name or a symbol that the terminal's encoding lacks is spelled out.
            stream.reconfigure(errors="backslashreplace")
    app()


if __name__ == "__main__":
    main()
