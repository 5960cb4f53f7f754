"""Write docs/cli.md: every verb with its options, taken from the code that runs them.

    python docs/make_cli.py            # or: make docs

``typer utils docs`` does the same but cuts the list of verbs short and words it otherwise from
release to release; this one reads what the verbs declare, which does not change.
"""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import typer
from typer.models import OptionInfo, ParameterInfo

from lesionlens.cli.main import app

PAGE = Path(__file__).with_name("cli.md")
_HEAD = """<!-- Written by docs/make_cli.py (make docs): change the verbs, not this page. -->

# Command line

`lesionlens --help`, and `--help` behind any verb, say the same on a terminal. Data goes to
standard output, talk and progress to standard error. A verb that was stopped goes on when the
same command is run again.

| exit code | meaning |
| --- | --- |
| 0 | done |
| 1 | some items failed (they are named), a check failed, or something is broken |
| 2 | bad usage, bad input, or a missing extra: nothing was done |
| 130 | Ctrl-C |
"""


@dataclass(frozen=True)
class Verb:
    """A command as a person types it."""

    name: str  # "lesionlens data split"
    function: Callable[..., Any]

    @property
    def summary(self) -> str:
        """The first paragraph of its help, on one line."""
        return " ".join(inspect.getdoc(self.function).split("\n\n")[0].split())  # type: ignore[union-attr]

    @property
    def anchor(self) -> str:
        """Where its heading is linked to."""
        return self.name.replace(" ", "-")


def verbs_of(application: typer.Typer, path: str) -> Iterator[Verb]:
    """Yield every verb of an application, groups after commands."""
    for command in application.registered_commands:
        if command.callback is not None:
            yield Verb(f"{path} {command.name}", command.callback)
    for group in application.registered_groups:
        yield from verbs_of(group.typer_instance, f"{path} {group.name}")  # type: ignore[arg-type]


def render(verbs: list[Verb]) -> str:
    """Return the whole page."""
    parts = [_HEAD, "| verb | what it does |\n| --- | --- |"]
    parts[-1] += "".join(
        f"\n| [`{verb.name}`](#{verb.anchor}) | {verb.summary} |" for verb in verbs
    )
    for verb in verbs:
        parts += ["", f"## {verb.name}", "", _prose(verb.function), "", *_parameters(verb.function)]
    return "\n".join(parts) + "\n"


def _prose(function: Callable[..., Any]) -> str:
    """Return a verb's help with its examples as one block of shell."""
    prose, _, examples = (inspect.getdoc(function) or "").partition("**Examples**")
    lines = [line.strip() for line in examples.splitlines() if line.strip()]
    if not lines:
        return prose.strip()
    return "\n".join([prose.strip(), "", "```sh", *lines, "```"])


def _parameters(function: Callable[..., Any]) -> Iterator[str]:
    """Yield the table of a verb's arguments and options."""
    hints = typing.get_type_hints(function, include_extras=True)
    yield "| argument or option | what it is | default |"
    yield "| --- | --- | --- |"
    for name, parameter in inspect.signature(function).parameters.items():
        kind, info = typing.get_args(hints[name])[:2]
        help_text, told = _told_default(" ".join((info.help or "").split()))
        words = [help_text, *_remarks(kind, info)]
        default = told or _default(parameter.default, info)
        cells = (_called(name, kind, info), " ".join(filter(None, words)), default)
        yield "| {} | {} | {} |".format(*(cell.replace("|", "\\|") for cell in cells))


def _called(name: str, kind: Any, info: ParameterInfo) -> str:
    if not isinstance(info, OptionInfo):
        return f"`{info.metavar or name.upper()}`"
    # In Annotated[..., typer.Option("--output", "-o")] Typer keeps the first name as a default.
    first = [info.default] if isinstance(info.default, str) else []
    names = [*first, *(info.param_decls or ())]
    if not names:
        long = f"--{name.replace('_', '-')}"
        names = [long, f"--no-{long[2:]}"] if kind is bool else [long]
    metavar = "" if kind is bool else f" {info.metavar or _type_name(kind)}"
    return ", ".join(f"`{text}`" for text in [*names[:-1], names[-1] + metavar])


def _type_name(kind: Any) -> str:
    """Return what stands for a value."""
    of = _item_type(kind)
    return "NAME" if issubclass(of, Enum) else {Path: "PATH", int: "N"}.get(of, "TEXT")


def _item_type(kind: Any) -> type:
    """Return what one value is: ``list[Label] | None`` gives ``Label``."""
    while inner := [part for part in typing.get_args(kind) if part is not type(None)]:
        kind = inner[0]
    return kind


def _remarks(kind: Any, info: ParameterInfo) -> Iterator[str]:
    """Yield what the type says beyond the help: choices, bounds, a variable that sets it."""
    of = _item_type(kind)
    if issubclass(of, Enum):
        yield f"One of {', '.join(f'`{member.value}`' for member in of)}."
    is_list = any(typing.get_origin(part) is list for part in (kind, *typing.get_args(kind)))
    is_told = any(words in str(info.help).lower() for words in ("repeat", "several times"))
    if is_list and isinstance(info, OptionInfo) and not is_told:
        yield "Repeatable."
    low, high = info.min, info.max
    if low is not None and high is not None:
        yield f"{low} to {high}."
    elif low is not None and low > 0:
        yield f"At least {low}."
    if info.envvar:
        yield f"Also read from `${info.envvar}`."


def _told_default(help_text: str) -> tuple[str, str]:
    """Take a default that the help tells in brackets out of it."""
    found = re.search(r"\s*\[default: ([^\]]+)\]", help_text)
    if found is None:
        return help_text, ""
    return help_text.replace(found.group(0), ""), found.group(1)


def _default(value: Any, info: ParameterInfo) -> str:
    if value is inspect.Parameter.empty:
        return "required"
    if value is None or value is False or value == "" or info.show_default is False:
        return ""
    if value is True:
        return "on"
    return f"`{value.value if isinstance(value, Enum) else value}`"


def page() -> str:
    """Return the page as the code has it now."""
    return render(list(verbs_of(app, "lesionlens")))


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(f"{PAGE} written")
