"""Lanes: the lines on the right of a drawing on a terminal, one for each state that is led to from elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from usecasecore.diagrams.glyphs import Glyphs
from usecasecore.diagrams.segments import Role, Segment, Text, text_columns

__all__ = ["Row", "with_lanes"]

_GAP = 3
_SPACING = 2
# Below this many columns for what is written, lanes would cost more than they tell.
_LEAST_ROOM = 44
# One long row would push all lanes far away from the others.
_MOST_ROOM = 80


@dataclass(frozen=True, slots=True)
class Row:
    """A line before the lanes are drawn.

    Attributes:
        text: What is written.
        lead: Full name of the state that is led to from its end.
        entry: Full name of the state at which a lane ends here.
    """

    text: Text
    lead: str | None = None
    entry: str | None = None


@dataclass(frozen=True, slots=True)
class _Lane:
    """Where one runs.

    Attributes:
        column: Its place among the lanes, from the left.
        top: Index of its first row.
        bottom: Index of its last row.
    """

    column: int
    top: int
    bottom: int


def with_lanes(make: Callable[[int], list[Row]], width: int, glyphs: Glyphs) -> tuple[Text, ...]:
    """Return the rows with lanes if there is room for them, and else without.

    Args:
        make: Makes rows of at most so many columns.
        width: How many columns there are in all.
        glyphs: What to draw with.
    """
    room = min(width, _MOST_ROOM)
    rows = make(room)
    lanes = _lanes(rows)
    # Rows that are narrower may be more, and more rows may need more lanes; never fewer columns than the last time.
    while lanes and (wanted := width - _needed(lanes)) < room and wanted >= _LEAST_ROOM:
        if max(text_columns(row.text) for row in rows) <= wanted:
            break
        room = wanted
        rows = make(room)
        lanes = _lanes(rows)
    start = max(text_columns(row.text) for row in rows) + _GAP
    if not lanes or start + _needed(lanes) - _GAP > width or width - _needed(lanes) < _LEAST_ROOM:
        return tuple(row.text for row in make(width))
    return tuple(_drawn(index, row, lanes, start, glyphs) for index, row in enumerate(rows))


def _needed(lanes: dict[str, _Lane]) -> int:
    return _GAP + _SPACING * max(lane.column + 1 for lane in lanes.values())


def _lanes(rows: Sequence[Row]) -> dict[str, _Lane]:
    entries = {row.entry: index for index, row in enumerate(rows) if row.entry is not None}
    spans: dict[str, tuple[int, int]] = {}
    for index, row in enumerate(rows):
        if row.lead is not None:
            top, bottom = spans.get(row.lead, (entries[row.lead],) * 2)
            spans[row.lead] = min(top, index), max(bottom, index)
    lanes: dict[str, _Lane] = {}
    taken: list[list[tuple[int, int]]] = []
    # The short ones first: they stay near what is written.
    for name, (top, bottom) in sorted(spans.items(), key=lambda item: (item[1][1] - item[1][0], item[1])):
        column = next((place for place, others in enumerate(taken) if all(bottom < a or b < top for a, b in others)), len(taken))
        if column == len(taken):
            taken.append([])
        taken[column].append((top, bottom))
        lanes[name] = _Lane(column, top, bottom)
    return lanes


def _drawn(index: int, row: Row, lanes: dict[str, _Lane], start: int, glyphs: Glyphs) -> Text:
    marks = {lane.column: glyphs.single.side for lane in lanes.values() if lane.top <= index <= lane.bottom}
    own = lanes.get(row.lead or row.entry or "")
    end = -1
    if own is not None:
        end = own.column
        for column in marks:
            if column < end:
                marks[column] = glyphs.cross
        marks[end] = _turn(index, own, glyphs)
    if not marks:
        return row.text
    written = text_columns(row.text)
    across = glyphs.single.across
    gap = start - written
    lead = " " * gap if own is None else (glyphs.into if row.entry else " ") + across * (gap - 1)
    cells = [lead]
    for column in range(max(marks) + 1):
        fill = across if column < end else " "
        cells.append(marks.get(column, fill))
        cells.append(fill * (_SPACING - 1))
    return (*row.text, Segment("".join(cells).rstrip(), Role.LANE))


def _turn(index: int, lane: _Lane, glyphs: Glyphs) -> str:
    if index == lane.top:
        return glyphs.single.corner_right
    return glyphs.single.foot_right if index == lane.bottom else glyphs.join
