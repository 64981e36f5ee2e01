"""The lines that Mermaid and PlantUML share: both write states and arrows alike, and differ in how a text is written."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from usecasecore.diagrams.ends import Ends, StandIn, ends_of
from usecasecore.diagrams.labels import edge_label
from usecasecore.diagrams.marking import mark_lines, mark_of, remarks
from usecasecore.diagrams.model import Diagram, Edge, EdgeKind, Node
from usecasecore.diagrams.overlay import Overlay
from usecasecore.diagrams.text import wrapped

__all__ = ["Notation", "state_lines"]

_POINT = "[*]"
_INDENT = "  "
_ANY, _UNBOUND, _OVERLAY = "any_state", "unbound", "overlay"


@dataclass(frozen=True, slots=True)
class Notation:
    """How one of the languages writes what both of them have.

    Attributes:
        escape: Takes a name; returns it as a text that means nothing else.
        line_break: Between the lines of a text.
        unbound_arrow: The arrow that no use case goes along.
        composite_note: The line that describes a composite state, from its id and the text.
    """

    escape: Callable[[str], str]
    line_break: str
    unbound_arrow: str
    composite_note: Callable[[str, str], str]


def state_lines(diagram: Diagram, notation: Notation, overlay: Overlay | None = None) -> Iterator[str]:
    """Yield the states, the arrows, what stands out, and what the overlay says about each, in lines."""
    return _Writer(diagram, notation, overlay).lines()


class _Writer:
    def __init__(self, diagram: Diagram, notation: Notation, overlay: Overlay | None) -> None:
        self._diagram, self._notation, self._overlay = diagram, notation, overlay
        self._nodes = {node.name: node for node in diagram.nodes}
        self._ends = ends_of(diagram)
        self._internal: dict[str, list[Edge]] = {}
        for edge in diagram.edges:
            if edge.internal and edge.source is not None and not self._nodes[edge.source].composite:
                self._internal.setdefault(edge.source, []).append(edge)
        self._stand_ins: dict[str, list[StandIn]] = {}
        points = [end for ends in self._ends.values() for end in (ends.tail, ends.head) if isinstance(end, StandIn)]
        for point in dict.fromkeys(points):
            self._stand_ins.setdefault(point.inside, []).append(point)

    def lines(self) -> Iterator[str]:
        yield from self._states(self._diagram.roots)
        if any(edge.kind is EdgeKind.DELETION and edge.source is None for edge in self._diagram.edges):
            yield f'state "any state" as {_ANY}'
        for edge in self._diagram.edges:
            if not (edge.internal and isinstance(self._ends[edge.id].tail, Node)):
                yield self._arrow(edge, self._ends[edge.id])
        if self._diagram.unbound_use_cases:
            yield f'state "use cases that fire nothing" as {_UNBOUND}'
        for binding in self._diagram.unbound_use_cases:
            yield f"{_UNBOUND} : {self._text(binding.use_case)}"
        if self._overlay is not None:
            yield f'state "{self._text(self._overlay.title)}" as {_OVERLAY}'
            yield from (f"{_OVERLAY} : {self._text(remark)}" for remark in remarks(self._overlay))

    def _states(self, nodes: Iterable[Node]) -> Iterator[str]:
        for node in nodes:
            opened = f'state "{self._text(node.label)}" as {_id(node)}'
            described = [self._text(text) for text in (node.description, *mark_lines(mark_of(self._overlay, node))) if text]
            if node.composite:
                yield f"{opened} {{"
                yield from (_INDENT + line for line in self._inside(node))
                yield "}"
                if described:
                    yield self._notation.composite_note(_id(node), self._notation.line_break.join(described))
                continue
            yield opened
            yield from (f"{_id(node)} : {text}" for text in described)
            # Here, inside of the state around it: further out Mermaid would take it for a state there.
            yield from (f"{_id(node)} : {self._said(edge)}" for edge in self._internal.get(node.name, ()))
            if node.final:
                yield f"{_id(node)} --> {_POINT}"

    def _inside(self, node: Node) -> Iterator[str]:
        yield from self._states(self._nodes[name] for name in node.children)
        if node.initial_child:
            yield f"{_POINT} --> {_id(self._nodes[node.initial_child])}"
        for point in self._stand_ins.get(node.name, ()):
            yield f'state "{point.label}" as {_id(point)}'

    def _arrow(self, edge: Edge, ends: Ends) -> str:
        said = self._said(edge)
        tail = _id(ends.tail) if ends.tail else _POINT if edge.kind is EdgeKind.CREATION else _ANY
        head = _id(ends.head) if ends.head else _POINT
        arrow = self._notation.unbound_arrow if edge.unbound else "-->"
        return f"{tail} {arrow} {head} : {said}" if said else f"{tail} {arrow} {head}"

    def _said(self, edge: Edge) -> str:
        label = edge_label(edge)
        first = " ".join(filter(None, (self._text(label.action), self._guards(edge), "(stays)" if edge.internal else "")))
        use_cases = self._text(label.use_cases)
        marked = map(self._text, mark_lines(mark_of(self._overlay, edge)))
        lines = (first, f"({use_cases})" if edge.unbound else use_cases, self._text(label.events), *marked)
        return self._notation.line_break.join(filter(None, lines))

    def _guards(self, edge: Edge) -> str:
        if not edge.guards:
            return ""
        asked = (f"{'' if guard.wanted else '!'}{self._text(guard.name)}" for guard in edge.guards)
        return f"[{self._notation.escape(' & ').join(asked)}]"

    def _text(self, text: str) -> str:
        return self._notation.line_break.join(map(self._notation.escape, wrapped(text, 60)))


def _id(end: Node | StandIn) -> str:
    # Neither language takes hyphens in ids.
    return end.id.replace("-", "_")
