"""A diagram drawn with characters: for a terminal, in whatever width it has. Needs no Graphviz.

How it works: the states stand below each other in the order declared, those inside of a composite one set in behind its
frame. Below each state stand its edges, each with the name of the state it leads to and an arrow that says whether that is
above or below; the edge to the very next state is the line down to it. Where the width allows it, the other edges are drawn
too: from each row to the right, into one lane for each state that is led to, and along it to an arrow at that state. What is
too long is wrapped, and never cut off; where lanes find no room there are none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from usecasecore.diagrams.glyphs import ASCII, UNICODE, Glyphs
from usecasecore.diagrams.lanes import Row, with_lanes
from usecasecore.diagrams.lettering import columns, fold, printable, wrap_columns
from usecasecore.diagrams.model import Diagram, Edge, EdgeKind, Node
from usecasecore.diagrams.overlay import Overlay
from usecasecore.diagrams.segments import Role, Segment, Text, text_columns

__all__ = ["NARROWEST", "draw"]

NARROWEST = 24
"""Columns; a terminal that is narrower gets lines of this width."""

_STEP = 3
_LEAST = 8


def draw(diagram: Diagram, width: int, *, unicode: bool = True, overlay: Overlay | None = None) -> tuple[Text, ...]:
    """Return the lines of a drawing, none wider than `width` columns; each is a row of pieces with their roles.

    Args:
        diagram: What to draw.
        width: Of the terminal, in columns.
        unicode: False for a terminal that shows ASCII only; other characters of names are then written as escapes.
        overlay: What is known beside it.
    """
    glyphs = UNICODE if unicode else ASCII
    width = max(width, NARROWEST)

    def rows(room: int) -> list[Row]:
        return list(_Sheet(diagram, overlay, glyphs, room).rows())

    return (
        *_heading(diagram, overlay, glyphs, width),
        *with_lanes(rows, width, glyphs),
        *_notes(diagram, overlay, glyphs, width),
    )


def _heading(diagram: Diagram, overlay: Overlay | None, glyphs: Glyphs, width: int) -> Iterator[Text]:
    title = f"{diagram.title}: {overlay.title}" if overlay else diagram.title
    yield from _lines(glyphs.text(fold(title)), Role.TITLE, width)
    if diagram.description:
        yield from _lines(glyphs.text(fold(diagram.description)), Role.MUTED, width)
    yield ()


def _notes(diagram: Diagram, overlay: Overlay | None, glyphs: Glyphs, width: int) -> Iterator[Text]:
    notes = list(overlay.notes) if overlay else []
    if diagram.unbound_use_cases:
        notes.append(f"! use cases that fire nothing here: {', '.join(one.use_case for one in diagram.unbound_use_cases)}")
    if notes:
        yield ()
    for note in notes:
        yield from _lines(glyphs.text(fold(note)), Role.WARNING if note.startswith("!") else Role.MUTED, width)


def _lines(text: str, role: Role, width: int) -> Iterator[Text]:
    for line in wrap_columns(text, width):
        yield (Segment(line, role),)


@dataclass
class _Sheet:
    """The rows of one drawing while they are made.

    Attributes:
        room: How many columns a row may take.
    """

    diagram: Diagram
    overlay: Overlay | None
    glyphs: Glyphs
    room: int
    nodes: dict[str, Node] = field(default_factory=dict)
    order: dict[str, int] = field(default_factory=dict)
    leading: dict[str | None, list[Edge]] = field(default_factory=dict)
    step: int = _STEP

    def __post_init__(self) -> None:
        self.nodes = {node.name: node for node in self.diagram.nodes}
        self.order = {name: place for place, name in enumerate(self._drawn(node.name for node in self.diagram.roots))}
        for edge in self.diagram.edges:
            self.leading.setdefault(edge.source, []).append(edge)
        deepest = max((self._depth(node) for node in self.diagram.nodes), default=0)
        self.step = max(1, min(_STEP, self.room // 2 // max(deepest, 1)))

    def rows(self) -> Iterator[Row]:
        """Yield all rows."""
        roots = [node.name for node in self.diagram.roots]
        creations = [edge for edge in self.leading.get(None, ()) if edge.kind is EdgeKind.CREATION]
        for edge in creations:
            yield from self._start(edge, edge.dest, roots[0], ())
        yield from self._siblings(roots, ())
        for edge in self.leading.get(None, ()):
            if edge.kind is EdgeKind.DELETION:
                yield Row(())
                yield from self._written((), (Segment("any state", Role.MUTED),), self._parts(edge, None), ())

    def _drawn(self, names: Iterable[str]) -> Iterator[str]:
        for name in names:
            yield name
            yield from self._drawn(self.nodes[name].children)

    def _depth(self, node: Node) -> int:
        return 0 if node.parent is None else 1 + self._depth(self.nodes[node.parent])

    def _start(self, edge: Edge | None, dest: str | None, first: str, before: Text) -> Iterator[Row]:
        """Yield an initial point and the way from it to `dest`; straight down if that is drawn right below."""
        straight = dest == first
        dot = (Segment(self.glyphs.dot, Role.INITIAL),)
        parts = (
            self._parts(edge, None, dest=None if straight else dest) if edge else self._led_to(None if straight else dest, None)
        )
        yield from self._written(before, dot, parts, dot, lead=None if straight else dest)
        if straight:
            yield Row((*before, Segment(self.glyphs.down, Role.INITIAL)))

    def _siblings(self, names: list[str], before: Text) -> Iterator[Row]:
        for name, following in zip(names, [*names[1:], None], strict=True):
            node = self.nodes[name]
            if node.composite:
                yield from self._frame(node, before)
            else:
                yield from self._box(node, before)
            yield from self._edges(node, following, before)

    def _box(self, node: Node, before: Text) -> Iterator[Row]:
        glyphs, role = self.glyphs, _role(node)
        inside = self._box_lines(node, self.room - text_columns(before) - 4)
        wide = max(3, *(text_columns(line) for line in inside))
        lines = glyphs.double if node.final else glyphs.single
        yield Row((*before, Segment(lines.above(wide + 2), role)))
        for index, line in enumerate(inside):
            filled = (Segment(" " * (wide - text_columns(line)), Role.PLAIN),)
            side = Segment(lines.side, role)
            space = Segment(" ", Role.PLAIN)
            yield Row((*before, side, space, *line, *filled, space, side), entry=node.name if index == 0 else None)
        open_ = bool(self.leading.get(node.name))
        yield Row((*before, Segment(lines.below(wide + 2, open_=open_), role)))

    def _box_lines(self, node: Node, room: int) -> list[Text]:
        lines: list[Text] = [
            (Segment(line, _name_role(node)),)
            for line in wrap_columns(self.glyphs.text(printable(node.label)), max(room, _LEAST - 4))
        ]
        mark = self.overlay.states.get(node.name) if self.overlay else None
        said = [mark.text, *mark.details] if mark else []
        for text in filter(None, said):
            lines += [(Segment(line, Role.MARK),) for line in wrap_columns(self.glyphs.text(fold(text)), max(room, _LEAST - 4))]
        return lines

    def _frame(self, node: Node, before: Text) -> Iterator[Row]:
        glyphs = self.glyphs
        room = self.room - text_columns(before) - 4
        first, *others = self._box_lines(node, room)
        edge = Segment(glyphs.single.corner + glyphs.single.across, Role.FRAME)
        space = Segment(" ", Role.PLAIN)
        rest = Segment(glyphs.single.across, Role.FRAME)
        yield Row((*before, edge, space, *first, space, rest), entry=node.name)
        bar = Segment(glyphs.single.side.ljust(self.step), Role.FRAME)
        for line in others:
            yield Row((*before, bar, *line))
        inner = (*before, bar)
        if node.initial_child is not None:
            yield from self._start(None, node.initial_child, node.children[0], inner)
        yield from self._siblings(list(node.children), inner)
        foot = glyphs.single.foot + glyphs.single.across
        opened = glyphs.single.tee + glyphs.single.across if self.leading.get(node.name) else glyphs.single.across * 2
        yield Row((*before, Segment(foot + opened, Role.FRAME)))

    def _edges(self, node: Node, following: str | None, before: Text) -> Iterator[Row]:
        edges = self.leading.get(node.name, [])
        straight = next((edge for edge in edges if edge.dest == following and following is not None), None)
        others = [edge for edge in edges if edge is not straight]
        pad = (*before, Segment("  ", Role.PLAIN))
        glyphs = self.glyphs
        for edge in others:
            last = straight is None and edge is others[-1]
            start = glyphs.single.foot if last else glyphs.branch
            lead = edge.dest if edge.dest != node.name else None
            start_text = (Segment(start + glyphs.single.across, Role.FRAME),)
            stem = (Segment("  " if last else glyphs.single.side + " ", Role.FRAME),)
            yield from self._written(pad, start_text, self._parts(edge, node, dest=edge.dest), stem, lead=lead)
        if straight is not None:
            stem = (Segment(glyphs.single.side, Role.FRAME),)
            yield from self._written(pad, stem, self._parts(straight, node, dest=None), stem)
            yield Row((*pad, Segment(glyphs.down, Role.FRAME)))
        elif following is not None:
            yield Row(before)

    def _parts(self, edge: Edge, node: Node | None, dest: str | None = None) -> list[Segment]:
        """Return what a row says about an edge, in the pieces between which it may be broken."""
        glyphs = self.glyphs
        parts = []
        if edge.kind is EdgeKind.DELETION:
            parts.append(Segment(f"delete {glyphs.gone}", Role.TRIGGER))
        elif edge.trigger:
            parts.append(Segment(glyphs.text(printable(edge.trigger)), Role.TRIGGER))
        if edge.guards:
            parts.append(Segment(glyphs.text(printable(f"[{' & '.join(map(str, edge.guards))}]")), Role.MUTED))
        parts += self._led_to(dest, node)
        if edge.internal:
            parts.append(Segment(f"{glyphs.again} internal", Role.MUTED))
        parts += [Segment(glyphs.text(printable(name)), Role.USE_CASE) for name in edge.use_cases]
        if edge.unbound:
            parts.append(Segment("! no use case", Role.WARNING))
        if edge.events:
            parts.append(Segment(glyphs.text(printable(f"emits {', '.join(edge.events)}")), Role.MUTED))
        mark = self.overlay.edges.get(edge.id) if self.overlay else None
        if mark is not None:
            parts += [Segment(glyphs.text(fold(text)), Role.MARK) for text in (mark.text, *mark.details) if text]
        return parts

    def _led_to(self, dest: str | None, node: Node | None) -> list[Segment]:
        if dest is None:
            return []
        if node is not None and dest == node.name:
            return [Segment(f"{self.glyphs.again} itself", Role.MUTED)]
        below = node is None or self.order[dest] > self.order[node.name]
        arrow = self.glyphs.lower if below else self.glyphs.upper
        return [Segment(f"{arrow} {self.glyphs.text(printable(dest))}", Role.DEST)]

    def _written(self, before: Text, start: Text, parts: list[Segment], stem: Text, lead: str | None = None) -> Iterator[Row]:
        """Yield parts in one row, or in as many as they need; the line to `lead` starts where its name does."""
        inset = text_columns(start) + 1
        room = max(self.room - text_columns(before) - inset, _LEAST)
        hang = (*stem, Segment(" " * (inset - text_columns(stem)), Role.PLAIN))
        head: Text = (*start, Segment(" ", Role.PLAIN)) if parts else start
        for index, line in enumerate(_filled(parts, room)):
            names = lead is not None and any(piece.role is Role.DEST for piece in line)
            yield Row((*before, *(head if index == 0 else hang), *line), lead=lead if names else None)
            lead = None if names else lead


def _filled(parts: list[Segment], room: int) -> Iterator[Text]:
    line: list[Segment] = []
    for part in parts:
        gap = 1 if line and part.role in (Role.MUTED, Role.DEST) and line[-1].role in (Role.TRIGGER, Role.MUTED) else 2
        if line and text_columns(line) + gap + columns(part.text) <= room:
            line += [Segment(" " * gap, Role.PLAIN), part]
            continue
        if line:
            yield tuple(line)
        *full, rest = wrap_columns(part.text, room)
        yield from ((Segment(each, part.role),) for each in full)
        line = [Segment(rest, part.role)]
    yield tuple(line)


def _role(node: Node) -> Role:
    return Role.INITIAL if node.initial else Role.FINAL if node.final else Role.FRAME


def _name_role(node: Node) -> Role:
    return Role.INITIAL_NAME if node.initial else Role.FINAL_NAME if node.final else Role.NAME
