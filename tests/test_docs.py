"""The README and its neighbours say what is true: commands exist, examples run, links resolve."""

from __future__ import annotations

import importlib.util
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer.main

import lesionlens
from lesionlens.bundle import default_directory
from lesionlens.cli.main import app

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
PROGRAMS = {  # those of our programs beside the verbs that take options, and their text
    path: text
    for path in (*sorted((ROOT / "benchmarks").glob("*.py")), ROOT / "tests/fuzz/decoders.py")
    if "ArgumentParser(" in (text := path.read_text(encoding="utf-8"))
}
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(page: Path, *languages: str) -> list[str]:
    return [text for kind, text in FENCE.findall(page.read_text()) if kind in languages]


def commands(page: Path, program: str) -> list[list[str]]:
    """Every call of ``program`` in a page's shell blocks and inline code, as words."""
    text = page.read_text(encoding="utf-8")
    lines = "".join(blocks(page, "sh", "bash", "console")).replace("\\\n", " ").splitlines()
    lines += [code.replace("\n", " ") for code in re.findall(r"(?<!`)`([^`]+)`(?!`)", text)]
    found = []
    for line in lines:
        words = shlex.split(line.removeprefix("$ "), comments=True)
        while words and re.fullmatch(r"[A-Z_]+=\S*", words[0]):  # variables set before it
            words.pop(0)
        if words and words[0] == program:
            found.append(words[1:])
    return found


def check_words(words: list[str]) -> None:
    """Fail unless the verb exists and has every option that the words give it."""
    command = typer.main.get_command(app)
    path = ["lesionlens"]
    words = list(words)
    while hasattr(command, "commands") and words and not words[0].startswith("-"):
        name = words.pop(0)
        assert name in command.commands, f"{' '.join(path)} has no verb {name!r}"
        command = command.commands[name]
        path.append(name)
    options = {name for option in command.params for name in (*option.opts, *option.secondary_opts)}
    for word in words:
        if word.startswith("-") and word != "-":
            name = word.split("=", 1)[0]
            assert name in options | {"--help"}, f"{' '.join(path)} has no option {name}"


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_commands_in_the_docs_exist(page: Path) -> None:
    for words in commands(page, "lesionlens"):
        check_words(words)


def test_the_check_itself_finds_what_does_not_exist() -> None:
    for words, missing in (
        (["foretell", "x.jpg"], "foretell"),
        (["predict", "--magic"], "--magic"),
    ):
        with pytest.raises(AssertionError, match=missing):
            check_words(words)
    assert ["predict", "lesion.jpg"] in commands(ROOT / "README.md", "lesionlens")


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.name)
def test_a_benchmark_helps_and_has_the_options_that_the_docs_give_it(path: Path) -> None:
    command = [sys.executable, str(path), "--help"]
    helped = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert helped.returncode == 0, helped.stderr
    options = set(re.findall(r"(?<!\S)--?[a-z][a-z-]*", helped.stdout))
    name = path.relative_to(ROOT).as_posix()
    said = [line.split() for line in re.findall(r"^ +python (.*)", PROGRAMS[path], re.MULTILINE)]
    for page in PAGES:
        said += commands(page, "python")
    for words in said:
        if words[:1] == [name]:
            given = {word.strip("[]") for word in words if word.strip("[").startswith("-")}
            assert given <= options, f"{name} has no {given - options}"


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_make_targets_in_the_docs_exist(page: Path) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for words in commands(page, "make"):
        for target in (word for word in words if "=" not in word):
            assert re.search(rf"^{re.escape(target)}:", makefile, re.MULTILINE), f"make {target}"


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_links_between_the_docs_resolve(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:|#|mailto:)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), f"{page.name}: {target} is not there"


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_python_examples_compile(page: Path) -> None:
    for block in blocks(page, "python"):
        compile(block, page.name, "exec")


@pytest.mark.skipif(
    not (default_directory() / "model.tflite").is_file(),
    reason="no shipped model here; export one, or name a bundle in LESIONLENS_MODEL",
)
def test_the_python_example_of_the_readme_runs(
    phantom_jpeg: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    phantom_jpeg.rename(phantom_jpeg.with_name("lesion.jpg"))
    monkeypatch.chdir(phantom_jpeg.parent)
    (example,) = blocks(ROOT / "README.md", "python")
    exec(compile(example, "README.md", "exec"), {})
    said, members = capsys.readouterr().out.split(" may be")
    label, probability, verdict = said.split()
    assert label in ("BCC", "SCC", "Normal")
    assert 1 / 3 <= float(probability) <= 1
    assert verdict in ("confident", "uncertain", "out_of_scope", "poor_image")
    assert set(members.split()) <= {"BCC", "SCC", "Normal"}


def test_every_verb_teaches_with_an_example() -> None:
    def verbs(command: Any, path: tuple[str, ...]) -> list[tuple[str, Any]]:
        if hasattr(command, "commands"):
            return [
                verb
                for name, inner in command.commands.items()
                for verb in verbs(inner, (*path, name))
            ]
        return [(" ".join(path), command)]

    n_checked = 0
    for name, command in verbs(typer.main.get_command(app), ("lesionlens",)):
        text = command.help or ""
        assert re.search(rf"{name}(?= |$|`)", text, re.MULTILINE), f"{name} --help has no example"
        for line in text.replace("\\\n", " ").splitlines():
            example = re.search(r"(?:^ {4}\S?.*?|`)(lesionlens [^`#|<]*)", line)
            if example:
                check_words(shlex.split(example.group(1))[1:])
                n_checked += 1
    assert n_checked >= 10  # the pattern still finds them


def test_the_page_of_the_verbs_is_what_the_code_says() -> None:
    spec = importlib.util.spec_from_file_location("make_cli", ROOT / "docs" / "make_cli.py")
    assert spec is not None
    assert spec.loader is not None
    make_cli = importlib.util.module_from_spec(spec)
    sys.modules["make_cli"] = make_cli  # its dataclass looks its own module up
    spec.loader.exec_module(make_cli)
    written = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    assert written == make_cli.page(), "docs/cli.md is out of date: make docs"
    options = re.findall(r"(?<![\w-])--[a-z][a-z-]+", written)
    for words in ("lesionlens data split", "lesionlens predict", "lesionlens reproduce"):
        assert f"\n## {words}\n" in written
    command = typer.main.get_command(app)
    for verb in (command.commands["predict"], command.commands["data"].commands["fetch"]):
        for option in verb.params:
            assert not [o for o in option.opts if o.startswith("--") and o not in options]


def test_every_module_has_its_place_in_the_design() -> None:
    layout = next(
        block for block in blocks(ROOT / "docs" / "design.md", "") if block.startswith("labels.py")
    )
    places: dict[str, set[str]] = {"": set()}
    folder = ""
    for line in layout.splitlines():
        found = re.match(r"(\w+(?:/\w+)?)/ ", line)
        folder = found.group(1) if found else folder
        places.setdefault(folder, set()).update(re.findall(r"\b\w+\.py\b", line))
    package = Path(lesionlens.__file__).parent
    folders = (
        "", "history", "data", "train", "evidence", "app", "app/components", "screening", "service",
        "cli",
    )  # fmt: skip
    for folder in folders:
        modules = {path.name for path in (package / folder).glob("[!_]*.py")}
        assert places[folder] == modules, f"docs/design.md, layout of {folder or 'the package'}"


def test_the_changelog_opens_with_this_version() -> None:
    first = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert first is not None
    assert first.group(1) == lesionlens.__version__


def test_the_licence_is_apache_2() -> None:
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in text
    assert "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text
