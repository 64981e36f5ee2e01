"""Moves labels that stand on something else, or far from their arrows, to a better place along these.

Graphviz keeps labels off each other and off boxes, but lets frames and other arrows run through them; and an arrow that is cut off
at a frame leaves its label behind, inside of it. A label that is clear stays where it is. For the others the places beside, above and below points of their own arrow are tried, and the one
with the least in its way is taken. What is near is found by a grid, so that the time grows with the drawing alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace

from usecasecore.diagrams.layout import Curve, Layout, Point, Rect

__all__ = ["cleared"]

_CELL = 32
_STEP = 8
_GAP = 3
# What it costs to stand on something.
_OUTSIDE, _BOX, _LABEL, _FRAME, _OWN, _OTHER, _AWAY, _ASTRAY = 4000.0, 2000.0, 1200.0, 90.0, 14.0, 9.0, 0.06, 1.2
# As far from its arrow a label may be, without anybody asking whose it is.
_NEAR = 24
_TRIED = 24


def cleared(layout: Layout) -> Layout:
    """Return the layout with labels moved where that leaves less in their way."""
    field = _Field(layout)
    curves = list(layout.curves)
    for index, curve in enumerate(curves):
        if curve.label is None:
            continue
        best = _best(field, index, curve.label)
        field.move(index, curve.label, best)
        curves[index] = replace(curve, label=best)
    return replace(layout, curves=tuple(curves))


def _best(field: _Field, index: int, given: Rect) -> Rect:
    """Return the first of the cheapest places; what can't be cheaper, for it is too far away, is not looked at."""
    # The places that are tried are beside the arrow; only the given one may be far away.
    astray = field.astray(index, given)
    best, least = given, field.cost(index, given, given) + _ASTRAY * astray
    for place in field.places(index, (0, 12) if astray else (0,)):
        if least <= 0:
            break
        if _away(place, given) < least and (cost := field.cost(index, place, given)) < least:
            best, least = place, cost
    return best


def _away(place: Rect, given: Rect) -> float:
    return _AWAY * (abs(place.x - given.x) + abs(place.y - given.y))


class _Field:
    """What labels may stand on, by the cells of a grid."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.borders = [*layout.groups]
        self.boxes: dict[tuple[int, int], list[Rect]] = defaultdict(list)
        self.labels: dict[tuple[int, int], list[tuple[int, Rect]]] = defaultdict(list)
        # A point that an arrow goes through: its coordinates, and which arrow.
        self.traces: dict[tuple[int, int], list[tuple[float, float, int]]] = defaultdict(list)
        self.ways = [tuple(_way(curve)) for curve in layout.curves]
        for rect in (*layout.boxes, *layout.headings):
            for cell in _cells(rect):
                self.boxes[cell].append(rect)
        for index, curve in enumerate(layout.curves):
            if curve.label is not None:
                self._put(index, curve.label)
            for x, y in self.ways[index]:
                self.traces[int(x // _CELL), int(y // _CELL)].append((x, y, index))

    def places(self, index: int, offs: tuple[float, ...]) -> Iterator[Rect]:
        """Yield where the label of an arrow might stand, so far off from it."""
        label = self.layout.curves[index].label
        assert label is not None
        way = self.ways[index]
        for off in offs:
            for x, y in way[:: max(1, len(way) // _TRIED)]:
                yield replace(label, x=x + off, y=y - label.height / 2)
                yield replace(label, x=x - off - label.width - _GAP, y=y - label.height / 2)
                yield replace(label, x=x - label.width / 2, y=y - off - label.height - _GAP)
                yield replace(label, x=x - label.width / 2, y=y + off + _GAP)

    def astray(self, index: int, place: Rect) -> float:
        """Return how much too far a label is from what can be seen of its arrow."""
        nearest = min(_distance(place, point) for point in self.ways[index])
        return max(0.0, nearest - _NEAR)

    def cost(self, index: int, place: Rect, given: Rect) -> float:
        """Return how bad it is to put an arrow's label there, 0 for well."""
        inner = Rect(place.x + 4, place.y + 1, place.width - 5, place.height - 2)
        cells = tuple(_cells(place))
        found = _away(place, given) + (0 if self._bounds.contains(place) else _OUTSIDE)
        found += _BOX * len({rect for cell in cells for rect in self.boxes[cell] if rect.overlaps(place)})
        found += _LABEL * len(
            {other for cell in cells for other, rect in self.labels[cell] if other != index and rect.overlaps(place)}
        )
        found += _FRAME * sum(border.overlaps(place) and not border.contains(place) for border in self.borders)
        left, top, right, bottom = inner.x, inner.y, inner.x + inner.width, inner.y + inner.height
        for cell in cells:
            for x, y, arrow in self.traces[cell]:
                if left <= x <= right and top <= y <= bottom:
                    found += _OWN if arrow == index else _OTHER
        return found

    def move(self, index: int, before: Rect, after: Rect) -> None:
        """Take note that a label stands elsewhere."""
        for cell in _cells(before):
            self.labels[cell].remove((index, before))
        self._put(index, after)

    @property
    def _bounds(self) -> Rect:
        return Rect(-0.5, -0.5, self.layout.width + 1, self.layout.height + 1)

    def _put(self, index: int, label: Rect) -> None:
        for cell in _cells(label):
            self.labels[cell].append((index, label))


def _way(curve: Curve) -> Iterator[Point]:
    """Yield points of an arrow, about as far apart as a letter is wide."""
    start = curve.points[0]
    for index in range(1, len(curve.points) - 2, 3):
        one, two, end = curve.points[index : index + 3]
        length = sum(abs(a[0] - b[0]) + abs(a[1] - b[1]) for a, b in ((start, one), (one, two), (two, end)))
        steps = max(2, round(length / _STEP))
        (ax, ay), (bx, by), (cx, cy), (dx, dy) = start, one, two, end
        for step in range(steps):
            at = (step + 0.5) / steps
            back = 1 - at
            a, b, c, d = back**3, 3 * back**2 * at, 3 * back * at**2, at**3
            yield a * ax + b * bx + c * cx + d * dx, a * ay + b * by + c * cy + d * dy
        start = end


def _distance(rect: Rect, point: Point) -> float:
    across = max(rect.x - point[0], 0.0, point[0] - rect.x - rect.width)
    down = max(rect.y - point[1], 0.0, point[1] - rect.y - rect.height)
    return across + down


def _cell(point: Point) -> tuple[int, int]:
    return int(point[0] // _CELL), int(point[1] // _CELL)


def _cells(rect: Rect) -> Iterator[tuple[int, int]]:
    left, top = _cell((rect.x, rect.y))
    right, bottom = _cell((rect.x + rect.width, rect.y + rect.height))
    for column in range(left, right + 1):
        for row in range(top, bottom + 1):
            yield column, row
