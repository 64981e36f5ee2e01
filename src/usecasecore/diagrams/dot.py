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
from usecasecore.diagrams.marking import heading, mark_lines, mark_of, remarks
from usecasecore.diagrams.model import Diagram, Edge, EdgeKind, Node
from usecasecore.diagrams.overlay import Mark, Overlay, Status
from usecasecore.diagrams.rendering import bounds
from usecasecore.diagrams.style import LIGHT
from usecasecore.diagrams.text import flat, shown, wrapped

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
_STATUSES = {
    Status.GOOD: (LIGHT["good"], LIGHT["good-fill"]),
    Status.PARTIAL: (LIGHT["partial"], LIGHT["partial-fill"]),
    Status.BAD: (LIGHT["bad"], LIGHT["bad-fill"]),
    Status.CURRENT: (LIGHT["accent"], LIGHT["accent-fill"]),
    Status.TAKEN: (LIGHT["accent"], LIGHT["surface"]),
    Status.UNTAKEN: (LIGHT["border"], LIGHT["surface"]),
}
_ANYWHERE = {"shape": "plain", "style": "", "fillcolor": "none", "margin": "0.05"}


def to_dot(diagram: Diagram, overlay: Overlay | None = None) -> str:
    """Return the diagram as DOT, with the stamp in comments; with an overlay there is none."""
    return _Drawing(diagram, overlay).source()


class _Drawing:
    def __init__(self, diagram: Diagram, overlay: Overlay | None) -> None:
        self._diagram, self._overlay = diagram, overlay
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
        if self._overlay is not None:
            self._tell(self._overlay)
        above, below = stamp.comments(self._diagram, "//", overlay=self._overlay)
        return f"{above}{self._graph.source}{below}"

    def _states(self, graph: Digraph, nodes: Iterable[Node]) -> None:
        for node in nodes:
            if node.composite:
                self._cluster(graph, node)
            else:
                style = _state_style(mark_of(self._overlay, node))
                graph.node(node.id, label=self._label(node), id=node.id, peripheries="2" if node.final else "1", **style)

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
        mark = mark_of(self._overlay, edge)
        label = _markup(_padded(_edge_markup(edge, mark)))
        style = {**({"style": "dashed", "color": _ALERT} if edge.unbound else {}), **_edge_style(mark)}
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
        parts = [*map(_text, wrapped(node.label, 32)), _small(wrapped(node.description)), _marked(mark_of(self._overlay, node))]
        own = "<BR/>".join(filter(None, parts))
        internal = self._internal.get(node.name)
        if not internal:
            return _markup(own)
        # As in UML: what happens without leaving the state stands in a compartment below its name.
        said = (_edge_markup(edge, mark_of(self._overlay, edge)) for edge in internal)
        rows = "".join(f"<TR><TD>{each}</TD></TR>" for each in said)
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

    def _tell(self, overlay: Overlay) -> None:
        title = f'<FONT POINT-SIZE="13"><B>{_text(flat(heading(self._diagram, overlay)))}</B></FONT>'
        lines = [line for remark in remarks(overlay, drawn=True) for line in wrapped(remark, 100)]
        # Set last: the clusters before have labels of their own, and those after would take it over.
        self._graph.attr(label=_markup("<BR/>".join([title, *_painted(lines, italic=False)])), labelloc="b", fontsize="10")


def _cut(key: str, end: Node | StandIn | None) -> dict[str, str]:
    return {key: f"cluster_{end.id}"} if isinstance(end, Node) and end.composite else {}


def _state_style(mark: Mark | None) -> dict[str, str]:
    if mark is None or mark.status is None:
        return {}
    line, fill = _STATUSES[mark.status]
    style = {"color": line, "fillcolor": fill, "class": f"uc-status-{mark.status}"}
    if mark.status is Status.UNTAKEN:
        style["style"] = "rounded,filled,dotted"
    return {**style, "penwidth": "2.5"} if mark.status is Status.CURRENT else style


def _edge_style(mark: Mark | None) -> dict[str, str]:
    style = {}
    if mark is not None and mark.share is not None:
        style["penwidth"] = f"{1 + 4 * min(max(mark.share, 0), 1):.2f}"
    if mark is not None and mark.status is not None:
        style |= {"color": _STATUSES[mark.status][0], "class": f"uc-status-{mark.status}"}
    if mark is not None and mark.status is Status.UNTAKEN:
        style["style"] = "dotted"
    return style


def _marked(mark: Mark | None) -> str:
    lines = [line for text in mark_lines(mark) for line in wrapped(text)]
    return "<BR/>".join(f'<FONT POINT-SIZE="11"><B>{_text(line)}</B></FONT>' for line in lines)


def _edge_markup(edge: Edge, mark: Mark | None) -> str:
    label = edge_label(edge)
    first = [f'<FONT POINT-SIZE="10"><B>{_text(line)}</B></FONT>' for line in wrapped(label.action)]
    lines = [*first, *(f'<FONT POINT-SIZE="10">{_text(line)}</FONT>' for line in wrapped(label.guards))]
    if edge.unbound:
        lines.append(f'<FONT COLOR="{_ALERT}"><B>{_text(label.use_cases)}</B></FONT>')
    elif label.use_cases:
        lines.append(_small(wrapped(label.use_cases)))
    if label.events:
        lines.append(_small(wrapped(label.events), italic=True))
    return "<BR/>".join(filter(None, (*lines, _marked(mark))))


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
