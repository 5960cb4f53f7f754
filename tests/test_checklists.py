"""The reporting checklists are whole: every item is there, says something, and points somewhere."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent.parent / "docs" / "reporting"
OVERVIEW = FOLDER / "README.md"
STATUSES = ("yes", "partly", "no", "not applicable")


def numbered(n_items: int, **letters: str) -> list[str]:
    """Item numbers 1..n, those named ``i<number>`` split into their letters."""
    return [
        f"{number}{letter}"
        for number in range(1, n_items + 1)
        for letter in letters.get(f"i{number}", "") or [""]
    ]


#: Rows of each page, as published; CLEAR Derm's names are ours.
ITEMS = {
    "claim-2024.md": numbered(44),
    "stard-ai.md": numbered(40, i15="abcd", i16="abc", i17="ab", i26="ab", i40="ab"),
    "tripod-ai.md": numbered(
        27, i3="abc", i5="ab", i6="abc", i8="abc", i9="abc", i12="abcdefg", i18="abcdef",
        i20="abc", i23="ab", i27="abc",
    ),
    "clear-derm.md": [
        *(f"D{i}" for i in range(1, 16)),
        *(f"{part}{i}" for part in "TA" for i in range(1, 5)),
        "U1",
        "U2",
    ],
}  # fmt: skip


def rows(page: Path) -> list[list[str]]:
    """The cells of a page's first table, less its head and lines that only part it."""
    lines = re.findall(r"^\|(.*)\|$", page.read_text(encoding="utf-8"), re.MULTILINE)
    cells = [[cell.strip() for cell in line.split("|")] for line in lines[2:]]
    return [row for row in cells if row[0]]


def status(row: list[str]) -> str:
    found = re.match(rf"({'|'.join(reversed(STATUSES))})(?=$|[:;])", row[-1])
    assert found, f"{row[0]}: {row[-1]!r} begins with none of {STATUSES}"
    return found.group(1)


def anchors(page: Path) -> set[str]:
    """What the headings of a page are called in links to them, as on GitHub."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.lower()).strip().replace(" ", "-") for h in headings}


def test_the_numbers_of_rows_are_the_published_ones() -> None:
    assert {page: len(items) for page, items in ITEMS.items()} == {
        "claim-2024.md": 44,
        "stard-ai.md": 48,
        "tripod-ai.md": 52,
        "clear-derm.md": 25,
    }


@pytest.mark.parametrize("name", ITEMS)
def test_every_item_is_there_once_and_in_order(name: str) -> None:
    assert [row[0] for row in rows(FOLDER / name)] == ITEMS[name]


@pytest.mark.parametrize("name", ITEMS)
def test_an_answer_points_somewhere_and_a_gap_says_why(name: str) -> None:
    for row in rows(FOLDER / name):
        assert len(row) == 4, row
        if status(row) in ("yes", "partly"):
            assert "](" in row[2], f"{name} {row[0]}: nowhere to look it up"
        if status(row) in ("partly", "not applicable"):
            assert len(row[3]) > len(status(row)) + 5, f"{name} {row[0]}: what is missing?"


@pytest.mark.parametrize("page", sorted(FOLDER.glob("*.md")), ids=lambda page: page.name)
def test_links_lead_to_files_and_headings_that_exist(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", page.read_text(encoding="utf-8")):
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{page.name}: {target} is not there"
        if anchor:
            assert anchor in anchors(file), f"{page.name}: {file.name} has no heading #{anchor}"


def test_the_overview_counts_what_the_pages_say() -> None:
    text = OVERVIEW.read_text(encoding="utf-8")
    for name, items in ITEMS.items():
        counts = Counter(status(row) for row in rows(FOLDER / name))
        line = " | ".join(str(n) for n in (len(items), *(counts[s] for s in STATUSES)))
        found = re.search(rf"^\| \[[^]]+\]\({re.escape(name)}\) \|[^|]*\| (.*) \|$", text, re.M)
        assert found, f"{name} is not in the overview"
        assert found.group(1) == line, name
