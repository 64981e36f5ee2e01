"""The tables that are printed, kept as JSON, and shown in the documentation."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.measurement import Ratio

__all__ = ["Results", "Row", "Table", "Value"]

Value = Ratio | float | str | None
"""What is in a cell: seconds, bytes and counts as they are, and None where nothing is known."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line; `values` are by the title of the column, and a column without one is empty."""

    name: str
    values: Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class Table:
    """What one section has found.

    Attributes:
        section: Which.
        title: What is compared, on what, and how often.
        rows: In the order in which they are shown; of the same columns.
        notes: What a reader has to know beside.
    """

    section: str
    title: str
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()

    def text(self) -> str:
        """Return it aligned, for a terminal."""
        cells = self._cells()
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines = (
            "  ".join([first.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True))])
            for first, *others in cells
        )
        return "\n".join([f"[{self.section}] {self.title}", *lines, *(f"  {note}" for note in self.notes)])

    def markdown(self) -> str:
        """Return it for a page."""
        head, *rows = ("| " + " | ".join(cells) + " |" for cells in self._cells())
        rule = "|---" + "|---:" * len(self._columns()) + "|"
        notes = [f"- {note}" for note in self.notes]
        return "\n".join([f"**{self.section}.** {self.title}.", "", head, rule, *rows, *([""] if notes else []), *notes])

    def _columns(self) -> list[str]:
        return list(dict.fromkeys(title for row in self.rows for title in row.values))

    def _cells(self) -> list[list[str]]:
        columns = self._columns()
        return [["", *columns], *([row.name, *(_shown(title, row.values.get(title)) for title in columns)] for row in self.rows)]


@dataclass(frozen=True, slots=True)
class Results:
    """A run: what it ran on, and its tables."""

    machine: tuple[str, ...]
    tables: tuple[Table, ...]

    def json(self) -> str:
        """Return it as JSON; times are in seconds, sizes in bytes."""
        return json.dumps(asdict(self), indent=2)

    @classmethod
    def from_json(cls, text: str) -> Results:
        """Return what `json` has written."""
        read = json.loads(text)
        return cls(tuple(read["machine"]), tuple(_table(one) for one in read["tables"]))

    def markdown(self) -> str:
        """Return it for a page."""
        return "\n\n".join([*self.machine, *(table.markdown() for table in self.tables)]) + "\n"


def _table(read: Mapping[str, Any]) -> Table:
    rows = tuple(Row(row["name"], {title: _value(value) for title, value in row["values"].items()}) for row in read["rows"])
    return Table(read["section"], read["title"], rows, tuple(read["notes"]))


def _value(read: Any) -> Value:
    return Ratio(**read) if isinstance(read, dict) else read


def _shown(title: str, value: Value) -> str:
    """Show a number in the unit that the column's title ends with."""
    if value is None:
        return "-"
    if isinstance(value, str):
        return value
    if isinstance(value, Ratio):
        return f"{value.median:.2f} ({value.low:.2f}-{value.high:.2f})"
    for unit, scale, digits in _UNITS:
        if title.endswith(unit):
            return f"{value * scale:.{digits}f}"
    return f"{value:.{0 if float(value).is_integer() else 2}f}"


_UNITS = ((" us", 1e6, 0), (" ms", 1e3, 1), (" kB", 1e-3, 0), (" B", 1, 0), ("/s", 1, 0), ("records", 1, 1))
