"""Tables of counts on standard output, readable on a terminal and in a file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

#: Columns of output that is no terminal: wide enough that nothing is folded.
_FILE_WIDTH = 200


def print_table(headers: Sequence[str], rows: Sequence[Sequence[Any]], *, title: str = "") -> None:
    """Print a table; numbers are aligned to the right and thousands are separated."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title=title or None, title_justify="left")
    for column, header in enumerate(headers):
        is_number = bool(rows) and all(isinstance(row[column], int | float) for row in rows)
        table.add_column(header, justify="right" if is_number else "left")
    for row in rows:
        table.add_row(*(Text(f"{v:,}" if isinstance(v, int) else str(v)) for v in row))
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=_FILE_WIDTH)
    console.print(table)
