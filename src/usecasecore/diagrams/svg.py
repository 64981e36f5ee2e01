"""A diagram as SVG, in our own style: for documentation, test reports and pages that put it between other things.

Graphviz says where things stand, nothing more. Each state and each edge is a `<g>` with a stable id, classes, data
attributes, a `<title>` with everything that there was no room for, and a place in the order of the Tab key: a state, then
what leads out of it, then the next state. There are no scripts, and nothing is loaded from elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator

from usecasecore.diagrams.blocks import Line, text_lines
from usecasecore.diagrams.clearing import cleared
from usecasecore.diagrams.figure import LABEL_INSET, METER, PADDING, RULE, Figure, Link
from usecasecore.diagrams.layout import Curve, Layout, Rect, place
from usecasecore.diagrams.legend import Legend, legend_of
from usecasecore.diagrams.lettering import fold, printable
from usecasecore.diagrams.markup import Markup, Value, number
from usecasecore.diagrams.model import Diagram, Edge, Node
from usecasecore.diagrams.overlay import Mark, Overlay
from usecasecore.diagrams.rendering import render
from usecasecore.diagrams.stamp import svg_metadata
from usecasecore.diagrams.style import WEIGHTS, Letters, style_sheet
from usecasecore.diagrams.wording import edge_words, state_words, summary
from usecasecore.diagrams.writing import write_lines

__all__ = ["to_svg"]

ROOT = "usecasecore-diagram"
"""The class of each drawing's outermost element; every rule of its style sheet begins with it."""

_MARGIN = 20
_NARROWEST = 300
_HEADING_ROOM = 620
_RADIUS = 9


def to_svg(diagram: Diagram, overlay: Overlay | None = None, *, prefix: str | None = None, styled: bool = True) -> str:
    """Return the diagram as an SVG document; the same text for the same diagram and overlay and the same Graphviz.

    Args:
        diagram: What to draw.
        overlay: What is known beside it. A drawing with an overlay carries no digest: it is no export to check against.
        prefix: Stands before every id, by default the diagram's own id; another one where a page shows a diagram twice.
        styled: Whether the style sheet is in it; a page that has `style_sheet("usecasecore-diagram")` itself, as one
            under a strict Content Security Policy must, needs it only once.

    Raises:
        GraphvizMissing: If there is no Graphviz.
        GraphvizFailed: If it can't lay the diagram out.
    """
    figure = Figure(diagram, overlay)
    layout = cleared(place(figure.plan(), lambda dot: render(dot, "json0").decode()))
    return str(_Drawing(figure, layout, diagram.id if prefix is None else prefix).drawn(styled=styled))


class _Drawing:
    """One drawing while it is made."""

    def __init__(self, figure: Figure, layout: Layout, prefix: str) -> None:
        self.figure, self.layout, self.prefix = figure, layout, prefix
        self.diagram, self.overlay = figure.diagram, figure.overlay
        self.markup = Markup()
        self.heading = tuple(_heading(self.diagram, self.overlay, max(layout.width, _HEADING_ROOM)))
        room = max(layout.width, _NARROWEST, *(line.width for line in self.heading))
        self.legend: Legend = legend_of(self.diagram, self.overlay, room)
        self.width = room + 2 * _MARGIN
        self.left = _MARGIN + (room - layout.width) / 2
        self.top = _MARGIN + sum(line.height for line in self.heading) + 12
        self.foot = self.top + layout.height + 16
        self.height = self.foot + self.legend.height + (8 if self.legend.height else 0)

    def drawn(self, *, styled: bool) -> Markup:
        markup = self.markup
        title, description = self._id("title"), self._id("description")
        with markup.inside(
            "svg",
            xmlns="http://www.w3.org/2000/svg",
            id=self._id("diagram"),
            class_=ROOT,
            width=self.width,
            height=self.height,
            viewBox=f"0 0 {number(self.width)} {number(self.height)}",
            role="graphics-document document",
            aria_roledescription="state diagram",
            aria_labelledby=title,
            aria_describedby=description,
            data_lifecycle=self.diagram.name,
            data_detail=self.diagram.detail,
            data_overlay=self.overlay.name if self.overlay else None,
        ):
            markup.text("title", printable(" ".join(filter(None, self._titles()))), id=title)
            markup.text("desc", summary(self.diagram), id=description)
            if self.overlay is None:
                markup.raw(svg_metadata(self.diagram))
            if styled:
                markup.text("style", style_sheet(ROOT))
            markup.element("rect", class_="uc-canvas", width=self.width, height=self.height, rx=12)
            write_lines(markup, self.heading, _MARGIN, _MARGIN)
            with markup.inside("g", transform=f"translate({number(self.left)} {number(self.top)})"):
                self._body()
            self.legend.draw(markup, _MARGIN, self.foot)
        return markup

    def _titles(self) -> Iterator[str]:
        yield f"Lifecycle of {self.diagram.title}"
        if self.overlay is not None:
            yield f"({self.overlay.title})"

    def _id(self, local: str) -> str:
        return f"{self.prefix}-{local}" if self.prefix else local

    def _body(self) -> None:
        figure = self.figure
        for node in self.diagram.nodes:
            if node.composite:
                self._composite(node)
        leading: dict[str | None, list[int]] = {}
        for index, link in enumerate(figure.links):
            if link.edge is None:
                self._entry(self.layout.curves[index])
            else:
                leading.setdefault(link.edge.source, []).append(index)
        self._points()
        for name in (None, *figure.nodes):
            with self.markup.inside("g"):
                if name is not None and not figure.nodes[name].composite:
                    self._state(figure.nodes[name])
                for index in leading.get(name, ()):
                    self._edge(figure.links[index], self.layout.curves[index])

    def _points(self) -> None:
        for index in self.figure.dots.values():
            box = self.layout.boxes[index]
            x, y = box.centre
            self.markup.element("circle", class_="uc-dot", cx=x, cy=y, r=box.width / 2)
        for index in self.figure.pills.values():
            box = self.layout.boxes[index]
            x, y = box.centre
            self.markup.element("rect", class_="uc-pill", **_rect(box), rx=box.height / 2)
            self.markup.text("text", "any state", class_="uc-note uc-middle", x=x, y=y + 3.8)
        if self.figure.end is not None:
            box = self.layout.boxes[self.figure.end]
            x, y = box.centre
            self.markup.element("circle", class_="uc-ring", cx=x, cy=y, r=box.width / 2 - 1)
            self.markup.element("path", class_="uc-ring", d=f"M{number(x - 4)} {number(y - 4)}l8 8m0 -8l-8 8")

    def _composite(self, node: Node) -> None:
        group = self.figure.groups[node.name]
        rect, heading = self.layout.groups[group], self.layout.headings[group]
        with self.markup.inside("g", **self._node(node, "group")):
            self._told(node)
            self.markup.element("rect", class_="uc-frame", **_rect(rect), rx=_RADIUS + 3)
            self._content(node, Rect(rect.x, heading.y, rect.width, heading.height), centred=False)

    def _state(self, node: Node) -> None:
        rect = self.layout.boxes[self.figure.states[node.name]]
        with self.markup.inside("g", **self._node(node, "img")):
            self._told(node)
            self.markup.element("rect", class_="uc-box", **_rect(rect), rx=_RADIUS)
            if node.final:
                self.markup.element("rect", class_="uc-inner", **_rect(_inset(rect, 3.5)), rx=_RADIUS - 3)
            self._content(node, rect, centred=True)

    def _node(self, node: Node, role: str) -> dict[str, Value]:
        mark = self.overlay.states.get(node.name) if self.overlay else None
        signs = [name for name in ("initial", "final", "composite") if getattr(node, name)]
        return {
            "id": self._id(node.id),
            "class_": " ".join(["uc-state", *(f"uc-{sign}" for sign in signs), *_classes(mark)]),
            "role": role,
            "tabindex": "0",
            "aria_labelledby": self._id(f"{node.id}-title"),
            "data_state": node.name,
            "data_value": str(node.value),
            "data_kind": " ".join(signs) or "state",
            **_data(mark),
        }

    def _told(self, node: Node) -> None:
        mark = self.overlay.states.get(node.name) if self.overlay else None
        self.markup.text("title", "\n".join(state_words(node, mark)), id=self._id(f"{node.id}-title"))

    def _content(self, node: Node, rect: Rect, *, centred: bool) -> None:
        content = self.figure.contents[node.name]
        mark = self.overlay.states.get(node.name) if self.overlay else None
        left, (middle, _) = rect.x + PADDING, rect.centre
        inside = content.inside
        y = rect.y + (rect.height - inside) / 2
        write_lines(self.markup, content.block.lines, middle if centred else left, y, centred=centred)
        y += content.block.height
        if mark is not None and mark.share is not None:
            self._meter(mark.share, rect, y + 4)
            y += METER
        if content.internals:
            line = y + RULE / 2
            self.markup.element("path", class_="uc-rule", d=f"M{number(rect.x + 1)} {number(line)}h{number(rect.width - 2)}")
            y += RULE
        for edge, block in content.internals:
            with self.markup.inside("g", **self._named(edge, self.figure.hues[edge.trigger])):
                self._edge_told(edge)
                self.markup.element(
                    "rect", class_="uc-row", x=rect.x + 4, y=y - 1, width=rect.width - 8, height=block.height + 2, rx=4
                )
                write_lines(self.markup, block.lines, left, y)
            y += block.height

    def _meter(self, share: float, rect: Rect, y: float) -> None:
        width = min(rect.width - 2 * PADDING, 120)
        x = rect.centre[0] - width / 2
        self.markup.element("rect", class_="uc-meter-ground", x=x, y=y, width=width, height=4, rx=2)
        if share > 0:
            self.markup.element("rect", class_="uc-meter", x=x, y=y, width=max(width * min(share, 1), 2), height=4, rx=2)

    def _entry(self, curve: Curve) -> None:
        with self.markup.inside("g", class_="uc-entry uc-plain", aria_hidden="true"):
            self._line(curve, 0)

    def _edge(self, link: Link, curve: Curve) -> None:
        edge = link.edge
        assert edge is not None
        with self.markup.inside("g", **self._named(edge, link.hue)):
            self._edge_told(edge)
            mark = self.overlay.edges.get(edge.id) if self.overlay else None
            self._line(curve, _weight(mark))
            if curve.label is not None:
                framed = " uc-framed" if any(group.contains(curve.label) for group in self.layout.groups) else ""
                x, y = curve.label.x + LABEL_INSET[0], curve.label.y + LABEL_INSET[1]
                write_lines(self.markup, link.block.lines, x, y, css=f"uc-label{framed}")

    def _named(self, edge: Edge, hue: int) -> dict[str, Value]:
        mark = self.overlay.edges.get(edge.id) if self.overlay else None
        signs = [edge.kind, *(["internal"] if edge.internal else ()), *(["unbound"] if edge.unbound else ())]
        return {
            "id": self._id(edge.id),
            "class_": " ".join(["uc-edge", f"uc-hue-{hue}", *(f"uc-{sign}" for sign in signs), *_classes(mark)]),
            "role": "img",
            "tabindex": "0",
            "aria_labelledby": self._id(f"{edge.id}-title"),
            "data_edge": edge.id,
            "data_kind": edge.kind,
            "data_source": edge.source,
            "data_dest": edge.dest,
            "data_trigger": edge.trigger or None,
            "data_use_cases": " ".join(edge.use_cases) or None,
            **_data(mark),
        }

    def _edge_told(self, edge: Edge) -> None:
        mark = self.overlay.edges.get(edge.id) if self.overlay else None
        self.markup.text("title", "\n".join(edge_words(edge, mark)), id=self._id(f"{edge.id}-title"))

    def _line(self, curve: Curve, weight: int) -> None:
        start, *rest = curve.points
        path = f"M{_point(start)}C{' '.join(map(_point, rest))}"
        css = f"uc-line uc-weight-{weight}" if weight else "uc-line"
        self.markup.element("path", class_="uc-hit", d=path)
        self.markup.element("path", class_=css, d=path)
        self.markup.element("path", class_="uc-head", d=_head(curve, 3.6 + 0.55 * weight))


def _heading(diagram: Diagram, overlay: Overlay | None, room: float) -> Iterator[Line]:
    title = f"{diagram.title}: {overlay.title}" if overlay else diagram.title
    yield from text_lines(fold(title), Letters.TITLE, room, 2)
    yield from text_lines(fold(diagram.description), Letters.SUBTITLE, room, 4)


def _classes(mark: Mark | None) -> list[str]:
    return [f"uc-status-{mark.status}"] if mark is not None and mark.status is not None else []


def _data(mark: Mark | None) -> dict[str, Value]:
    if mark is None:
        return {}
    status = {"data_status": mark.status} if mark.status is not None else {}
    return {**status, **{f"data_{name.replace('-', '_')}": value for name, value in mark.data}}


def _weight(mark: Mark | None) -> int:
    """Return how thick a line is, from 1; 0 where nothing is said."""
    return 0 if mark is None or mark.share is None else 1 + round((WEIGHTS - 1) * min(max(mark.share, 0.0), 1.0))


def _rect(rect: Rect) -> dict[str, Value]:
    return {"x": rect.x, "y": rect.y, "width": rect.width, "height": rect.height}


def _inset(rect: Rect, by: float) -> Rect:
    return Rect(rect.x + by, rect.y + by, rect.width - 2 * by, rect.height - 2 * by)


def _head(curve: Curve, half: float) -> str:
    (x, y), (tip_x, tip_y) = curve.points[-1], curve.tip
    along_x, along_y = tip_x - x, tip_y - y
    length = (along_x**2 + along_y**2) ** 0.5 or 1.0
    aside = -along_y / length * half, along_x / length * half
    back = (x + aside[0], y + aside[1]), (x - aside[0], y - aside[1])
    return f"M{_point(curve.tip)}L{_point(back[0])} {_point(back[1])}Z"


def _point(point: tuple[float, float]) -> str:
    return f"{number(point[0])} {number(point[1])}"
