"""The legend below a drawing: what its signs mean, as far as they are in it, and what else must be known."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from usecasecore.diagrams.blocks import ICON, Line, Span, text_lines
from usecasecore.diagrams.lettering import fold, text_width
from usecasecore.diagrams.markup import Markup
from usecasecore.diagrams.model import Diagram
from usecasecore.diagrams.overlay import Overlay, Status
from usecasecore.diagrams.signs import draw_icon, draw_status
from usecasecore.diagrams.style import Letters
from usecasecore.diagrams.writing import write_lines

__all__ = ["Legend", "legend_of"]

_ROW = 20
_GAP = 18
_SAMPLE = 26


@dataclass(frozen=True, slots=True)
class Entry:
    """A sign and what it means.

    Attributes:
        text: What it means.
        icon: Name of the sign, or
        status: whose sign it is, or
        sample: which sort of border or line: `final`, `unbound` or `weight`.
    """

    text: str
    icon: str = ""
    status: Status | None = None
    sample: str = ""

    @property
    def width(self) -> float:
        """With its sign."""
        return (_SAMPLE if self.sample else ICON + 3) + text_width(self.text, Letters.NOTE.size)


@dataclass(frozen=True, slots=True)
class Legend:
    """Rows of entries, and sentences below them, broken for a certain width."""

    rows: tuple[tuple[Entry, ...], ...]
    notes: tuple[Line, ...]

    @property
    def height(self) -> float:
        """Of all of it."""
        return len(self.rows) * _ROW + sum(line.height for line in self.notes) + (6 if self.notes else 0)

    def draw(self, markup: Markup, x: float, y: float) -> None:
        """Draw it downward from the point."""
        if not self.height:
            return
        with markup.inside("g", class_="uc-legend", role="group", aria_label="Legend"):
            for row in self.rows:
                left = x
                for entry in row:
                    _draw(markup, entry, left, y + _ROW / 2)
                    left += entry.width + _GAP
                y += _ROW
            write_lines(markup, self.notes, x, y + 6)


def legend_of(diagram: Diagram, overlay: Overlay | None, room: float) -> Legend:
    """Return the legend of a drawing that is so wide."""
    rows: list[list[Entry]] = []
    left = room + 1
    for entry in _entries(diagram, overlay):
        if left + entry.width > room:
            rows.append([])
            left = 0
        rows[-1].append(entry)
        left += entry.width + _GAP
    notes = [line for note in _notes(diagram, overlay) for line in _note_lines(note, room)]
    return Legend(tuple(map(tuple, rows)), tuple(notes))


def _entries(diagram: Diagram, overlay: Overlay | None) -> Iterator[Entry]:
    edges = diagram.edges
    if any(edge.use_cases for edge in edges):
        yield Entry("use case", icon="use-case")
    if any(edge.events for edge in edges):
        yield Entry("event emitted", icon="event")
    if any(edge.internal for edge in edges):
        yield Entry("nothing is left or entered", icon="internal")
    if any(edge.unbound for edge in edges):
        yield Entry("no use case", sample="unbound")
    if any(node.final for node in diagram.nodes):
        yield Entry("final", sample="final")
    for item in overlay.legend if overlay else ():
        yield Entry(item.text, status=item.status, sample="" if item.status else "weight")


def _notes(diagram: Diagram, overlay: Overlay | None) -> Iterator[tuple[str, Letters, str]]:
    if diagram.unbound_use_cases:
        names = ", ".join(binding.use_case for binding in diagram.unbound_use_cases)
        yield f"Use cases that fire nothing here: {names}", Letters.NOTE, "warning"
    for note in overlay.notes if overlay else ():
        yield note, Letters.NOTE, ""


def _note_lines(note: tuple[str, Letters, str], room: float) -> Iterable[Line]:
    text, letters, icon = note
    return text_lines(fold(text), letters, room, 6, icon)


def _draw(markup: Markup, entry: Entry, x: float, middle: float) -> None:
    if entry.sample == "final":
        with markup.inside("g", class_="uc-final"):
            markup.element("rect", class_="uc-box", x=x, y=middle - 6, width=20, height=12, rx=4)
            markup.element("rect", class_="uc-inner", x=x + 2.5, y=middle - 3.5, width=15, height=7, rx=2)
    elif entry.sample == "unbound":
        with markup.inside("g", class_="uc-unbound uc-plain"):
            markup.element("path", class_="uc-line", d=f"M{x:g} {middle:g}h20")
    elif entry.sample == "weight":
        with markup.inside("g", class_="uc-plain"):
            markup.element("path", class_="uc-line uc-weight-6", d=f"M{x:g} {middle:g}h20")
    elif entry.status is not None:
        draw_status(markup, entry.status, x, middle)
    else:
        draw_icon(markup, entry.icon, x, middle)
    text = Line((Span(entry.text, Letters.NOTE),))
    write_lines(markup, [text], x + (_SAMPLE if entry.sample else ICON + 3), middle - text.height / 2)
