"""A diagram as DOT, the language of Graphviz.

Colours have six digits: older Graphviz versions draw three-digit ones black. Every edge that ends at a composite state is
laid out to a state inside and cut off at the border, which takes `compound`; without `newrank` some of these graphs end Graphviz
with `trouble in init_rank`.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator

from graphviz import Digraph

from usecasecore.diagrams import stamp
from usecasecore.diagrams.ends import StandIn, ends_of
from usecasecore.diagrams.labels import edge_label
from usecasecore.diagrams.model import Diagram, Edge, EdgeKind, Node
from usecasecore.diagrams.rendering import bounds
from usecasecore.diagrams.text import shown, wrapped

__all__ = ["to_dot"]

_INK, _MUTED, _LINE, _FILL, _ALERT = "#1f2937", "#6b7280", "#475569", "#f8fafc", "#b45309"
_FONT = "Helvetica,Arial,sans-serif"
_GRAPH = {
    "compound": "true",
    "newrank": "true",
    "fontname": _FONT,
    "nodesep": "0.5",
    "ranksep": "0.6",
    "pad": "0.2",
    "bgcolor": "#ffffff",
}
_NODE = {
    "shape": "box",
    "style": "rounded,filled",
    "fontname": _FONT,
    "fontsize": "13",
    "fontcolor": _INK,
    "color": _LINE,
    "fillcolor": _FILL,
    "margin": "0.18,0.1",
}
_EDGE = {"fontname": _FONT, "fontsize": "10", "fontcolor": _INK, "color": _LINE, "arrowsize": "0.8"}
_POINT = {"shape": "circle", "style": "filled", "fillcolor": _INK, "color": _INK, "label": "", "width": "0.16"}
_ANYWHERE = {"shape": "plain", "style": "", "fillcolor": "none", "margin": "0.05"}


def to_dot(diagram: Diagram) -> str:
    """Return the diagram as DOT, with the stamp in comments."""
    return _Drawing(diagram).source()


class _Drawing:
    def __init__(self, diagram: Diagram) -> None:
        self._diagram = diagram
        self._nodes = {node.name: node for node in diagram.nodes}
        self._ends = ends_of(diagram)
        self._stand_ins: dict[str, list[StandIn]] = {}
        drawn = [self._ends[edge.id] for edge in diagram.edges if not edge.internal]
        points = [end for ends in drawn for end in (ends.tail, ends.head) if isinstance(end, StandIn)]
        for point in dict.fromkeys(points):
            self._stand_ins.setdefault(point.inside, []).append(point)
        self._internal: dict[str, list[Edge]] = {}
        for edge in diagram.edges:
            if edge.internal and edge.source is not None:
                self._internal.setdefault(edge.source, []).append(edge)
        self._graph = Digraph(diagram.id, graph_attr={**_GRAPH, **bounds(len(diagram.edges))}, node_attr=_NODE, edge_attr=_EDGE)

    def source(self) -> str:
        self._states(self._graph, self._diagram.roots)
        for edge in self._diagram.edges:
            if not edge.internal:
                self._edge(edge)
        self._note_unbound()
        above, below = stamp.comments(self._diagram, "//")
        return f"{above}{self._graph.source}{below}"

    def _states(self, graph: Digraph, nodes: Iterable[Node]) -> None:
        for node in nodes:
            if node.composite:
                self._cluster(graph, node)
            else:
                graph.node(node.id, label=self._label(node), id=node.id, peripheries="2" if node.final else "1")

    def _cluster(self, graph: Digraph, node: Node) -> None:
        inside = Digraph(f"cluster_{node.id}")
        inside.attr(
            label=self._label(node),
            id=node.id,
            labeljust="l",
            fontname=_FONT,
            fontsize="13",
            fontcolor=_INK,
            style="rounded,filled",
            color=_LINE,
            fillcolor="#ffffff",
            margin="14",
        )
        if node.initial_child:
            inside.node(f"initial-{node.id}", **{**_POINT, "width": "0.1"})
        self._states(inside, [self._nodes[name] for name in node.children])
        if node.initial_child:
            child = self._nodes[node.initial_child]
            inside.edge(f"initial-{node.id}", self._anchor(child), **_cut("lhead", child))
        for point in self._stand_ins.get(node.name, ()):
            inside.node(point.id, label=_markup(_small([point.label])), **_ANYWHERE)
        graph.subgraph(inside)

    def _edge(self, edge: Edge) -> None:
        ends = self._ends[edge.id]
        label = _markup(_padded(_edge_markup(edge)))
        style = {"style": "dashed", "color": _ALERT} if edge.unbound else {}
        if ends.tail is None:
            self._graph.node("initial" if edge.kind is EdgeKind.CREATION else "any", **self._start(edge))
        if ends.head is None:
            self._graph.node(f"gone-{edge.id}", label=_markup("<B>&#10005;</B>"), **_ANYWHERE)
        start = "initial" if edge.kind is EdgeKind.CREATION else "any"
        tail = self._anchor(ends.tail) if ends.tail else start
        head = self._anchor(ends.head) if ends.head else f"gone-{edge.id}"
        cut = {**_cut("ltail", ends.tail), **_cut("lhead", ends.head)}
        self._graph.edge(tail, head, label=label, id=edge.id, **style, **cut)

    @staticmethod
    def _start(edge: Edge) -> dict[str, str]:
        if edge.kind is EdgeKind.CREATION:
            return {"id": "initial", **_POINT}
        return {"label": _markup(_small(["any state"])), **_ANYWHERE}

    def _anchor(self, end: Node | StandIn) -> str:
        """Return the state to lay an edge out to: of a composite state the one that is entered with it, or the first."""
        while isinstance(end, Node) and end.composite:
            end = self._nodes[end.initial_child or end.children[0]]
        return end.id

    def _label(self, node: Node) -> str:
        # Not bold: the wheel makes the room for bold letters too narrow.
        parts = [*map(_text, wrapped(node.label, 32)), _small(wrapped(node.description))]
        own = "<BR/>".join(filter(None, parts))
        internal = self._internal.get(node.name)
        if not internal:
            return _markup(own)
        # As in UML: what happens without leaving the state stands in a compartment below its name.
        rows = "".join(f"<TR><TD>{_edge_markup(edge)}</TD></TR>" for edge in internal)
        table = '<TABLE BORDER="0" CELLBORDER="0" CELLSPACING="0" CELLPADDING="3">'
        return _markup(f"{table}<TR><TD>{own}</TD></TR><HR/>{rows}</TABLE>")

    def _note_unbound(self) -> None:
        names = [shown(binding.use_case) for binding in self._diagram.unbound_use_cases]
        if names:
            lines = [
                _text("use cases that fire nothing:"),
                *(f"<B>{_text(line)}</B>" for name in names for line in wrapped(name)),
            ]
            self._graph.node(
                "unbound",
                label=_markup("<BR/>".join(lines)),
                shape="note",
                style="dashed",
                color=_ALERT,
                fontcolor=_ALERT,
                fontsize="10",
            )


def _cut(key: str, end: Node | StandIn | None) -> dict[str, str]:
    return {key: f"cluster_{end.id}"} if isinstance(end, Node) and end.composite else {}


def _edge_markup(edge: Edge) -> str:
    label = edge_label(edge)
    first = [f'<FONT POINT-SIZE="10"><B>{_text(line)}</B></FONT>' for line in wrapped(label.action)]
    lines = [*first, *(f'<FONT POINT-SIZE="10">{_text(line)}</FONT>' for line in wrapped(label.guards))]
    if edge.unbound:
        lines.append(f'<FONT COLOR="{_ALERT}"><B>{_text(label.use_cases)}</B></FONT>')
    elif label.use_cases:
        lines.append(_small(wrapped(label.use_cases)))
    if label.events:
        lines.append(_small(wrapped(label.events), italic=True))
    return "<BR/>".join(lines)


def _padded(content: str) -> str:
    # So that no line touches an arrow.
    return "<BR/>".join(f"&#160;{line}&#160;" for line in content.split("<BR/>")) if content else ""


def _small(lines: Iterable[str], *, italic: bool = False) -> str:
    return "<BR/>".join(_painted(lines, italic=italic))


def _painted(lines: Iterable[str], *, italic: bool) -> Iterator[str]:
    for line in lines:
        text = f"<I>{_text(line)}</I>" if italic else _text(line)
        yield f'<FONT COLOR="{_MUTED}" POINT-SIZE="10">{text}</FONT>'


def _text(text: str) -> str:
    """Return a text for inside of an HTML-like label; in these, too, Graphviz takes a backslash for an escape."""
    return html.escape(text).replace("\\", "\\\\")


def _markup(content: str) -> str:
    return f"<{content}>" if content else ""
