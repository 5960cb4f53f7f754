"""What the report is made of: tables of metrics, and sections of tables.

Every part of the audit ends in these, so that one page, one JSON file and one printer serve
them all. A figure without its number of images and its interval cannot be said in them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lesionlens.intervals import Metric


@dataclass(frozen=True)
class Row:
    """One line of a table."""

    name: str  # what a person reads: "middle half, as near as a skin crop"
    metrics: Mapping[str, Metric]  # by the keys of the table's columns, and perhaps more
    n: int  # images
    n_groups: int  # lesions or patients
    block: str = ""  # rows of one block stand together under this heading
    strength: float | None = None  # where the row is a point of a curve


@dataclass(frozen=True)
class Column:
    """What a metric is called, and how it is to be read."""

    heading: str
    is_difference: bool = False  # shown with its sign
    unit: str = ""  # "ms"; empty for shares and scores


@dataclass(frozen=True)
class Table:
    """Rows that are measured alike."""

    key: str  # unique within its section
    caption: str
    columns: Mapping[str, Column]  # metric key -> heading, in order
    rows: tuple[Row, ...]

    def row(self, name: str, block: str = "") -> Row:
        """Return the row of that name.

        Raises:
            KeyError: there is none.
        """
        for row in self.rows:
            if (row.name, row.block) == (name, block):
                return row
        raise KeyError(f"{self.key}: {block} {name}".strip())

    def blocks(self) -> dict[str, list[Row]]:
        """Return the rows by block, in order."""
        found: dict[str, list[Row]] = {}
        for row in self.rows:
            found.setdefault(row.block, []).append(row)
        return found

    def to_json(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "caption": self.caption,
            "rows": [
                {
                    **({"block": row.block} if row.block else {}),
                    "name": row.name,
                    **({} if row.strength is None else {"strength": row.strength}),
                    "n_images": row.n,
                    "n_groups": row.n_groups,
                    "metrics": {key: metric.to_json() for key, metric in row.metrics.items()},
                }
                for row in self.rows
            ],
        }


@dataclass(frozen=True)
class Section:
    """One part of the audit."""

    key: str  # as ``--only`` names it
    title: str
    question: str  # what it asks, in a sentence or two
    tables: tuple[Table, ...] = ()
    findings: tuple[str, ...] = ()  # what came out, in plain words
    remarks: tuple[str, ...] = ()  # what a reader must know to read it rightly
    extra: Mapping[str, Any] = field(default_factory=dict)  # further plain values for JSON

    def table(self, key: str) -> Table | None:
        """Return the table of that key, or None."""
        return next((table for table in self.tables if table.key == key), None)

    def to_json(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "title": self.title,
            "findings": list(self.findings),
            "remarks": list(self.remarks),
            "tables": {table.key: table.to_json() for table in self.tables},
            **self.extra,
        }
