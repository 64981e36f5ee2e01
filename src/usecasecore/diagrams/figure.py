"""Figure: a diagram taken apart into boxes, frames and arrows with measured texts, ready to be laid out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

from usecasecore.diagrams.blocks import Block, edge_block, state_block
from usecasecore.diagrams.layout import Arrow, Box, Group, Plan
from usecasecore.diagrams.model import Diagram, Edge, EdgeKind, Node
from usecasecore.diagrams.overlay import Overlay
from usecasecore.diagrams.style import HUES

__all__ = ["LABEL_INSET", "METER", "PADDING", "RULE", "Content", "Figure", "Link"]

PADDING = 14
"""From a box's border to what stands in it, left and right."""

RULE = 11
"""Between what stands in a state and its internal transitions, the line between them in the middle."""

METER = 9
"""What a meter takes at the bottom of a state."""

LABEL_INSET = (8, 3)
"""From an arrow to its label, and above and below it."""

_TOP = 10
_HEADING = 4
_LEAST = (92, 42)
_DOT = 14
_PILL = (64, 24)
_END = 20


@dataclass(frozen=True, slots=True)
class Content:
    """What stands in a state.

    Attributes:
        block: Its name, description and mark.
        internals: Each internal transition, and what is written about it.
        meter: Whether a meter stands at the bottom.
    """

    block: Block
    internals: tuple[tuple[Edge, Block], ...] = ()
    meter: bool = False

    @property
    def width(self) -> float:
        """With the padding."""
        widest = max([self.block.width, *(block.width for _, block in self.internals)])
        return max(_LEAST[0], round(widest + 2 * PADDING))

    @property
    def inside(self) -> float:
        """Its height without the padding."""
        rows = sum(block.height for _, block in self.internals) + (RULE if self.internals else 0)
        return self.block.height + rows + (METER if self.meter else 0)

    @property
    def height(self) -> float:
        """With the padding."""
        return max(_LEAST[1], round(self.inside + 2 * _TOP))


@dataclass(frozen=True, slots=True)
class Link:
    """An arrow, and what it stands for.

    Attributes:
        edge: The edge; None for the way from a composite state's initial point.
        block: Its label.
        hue: Number of its colour.
    """

    edge: Edge | None
    block: Block
    hue: int


@dataclass
class Figure:
    """A diagram's parts; positions in its lists are what `plan` and the layout made of it count by.

    Attributes:
        diagram: What is drawn.
        overlay: What is known beside it.
        boxes: All boxes: leaf states, dots, pills and the end, in no order to rely on.
        states: Full name of a leaf state -> index of its box.
        groups: Full name of a composite state -> index of its group.
        dots: Full name of a composite state, None for the whole -> index of its initial point.
        pills: Likewise of the box that stands for any state inside.
        end: Index of the point where deleted aggregates go.
        links: What each arrow stands for.
        contents: Full name of a state -> what stands in it.
    """

    diagram: Diagram
    overlay: Overlay | None = None
    boxes: list[Box] = field(default_factory=list)
    frames: list[Group] = field(default_factory=list)
    arrows: list[Arrow] = field(default_factory=list)
    states: dict[str, int] = field(default_factory=dict)
    groups: dict[str, int] = field(default_factory=dict)
    dots: dict[str | None, int] = field(default_factory=dict)
    pills: dict[str | None, int] = field(default_factory=dict)
    end: int | None = None
    links: list[Link] = field(default_factory=list)
    contents: dict[str, Content] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.dots[None] = self._add(Box(_DOT, _DOT, round=True))
        for node in self.diagram.nodes:
            self._add_state(node)
        for edge in self.diagram.edges:
            if not edge.internal:
                self._add_edge(edge)
        for node in self.diagram.nodes:
            if node.initial_child is not None:
                self._connect(None, self.dots[node.name], *self._entered(node.initial_child), Block(()), 0)

    def plan(self, *, sideways: bool = False) -> Plan:
        """Return what is to be laid out."""
        return Plan(tuple(self.boxes), tuple(self.frames), tuple(self.arrows), sideways)

    @cached_property
    def nodes(self) -> dict[str, Node]:
        """Each state by its full name."""
        return {node.name: node for node in self.diagram.nodes}

    @cached_property
    def leading(self) -> dict[str | None, list[Edge]]:
        """Full name of a state, None for the edges without one -> the edges that lead out of it."""
        found: dict[str | None, list[Edge]] = {}
        for edge in self.diagram.edges:
            found.setdefault(edge.source, []).append(edge)
        return found

    @cached_property
    def hues(self) -> dict[str, int]:
        """Trigger -> number of its colour: triggers that meet at a state differ, as far as the colours go."""
        meeting: dict[str, list[str]] = {}
        for edge in self.diagram.edges:
            for name in {edge.source, edge.dest} - {None}:
                meeting.setdefault(str(name), []).append(edge.trigger)
        near: dict[str, set[str]] = {}
        for triggers in meeting.values():
            for trigger in triggers:
                near.setdefault(trigger, set()).update(triggers)
        found: dict[str, int] = {}
        used = [0] * HUES
        for trigger in dict.fromkeys(edge.trigger for edge in self.diagram.edges):
            taken = [found[each] for each in near.get(trigger, ()) if each in found]
            hue = min(range(HUES), key=lambda hue: (taken.count(hue), used[hue], hue))
            found[trigger], used[hue] = hue, used[hue] + 1
        return found

    def inside(self, name: str) -> Iterator[str]:
        """Yield the state and all states around it, from the inside outward."""
        current: str | None = name
        while current is not None:
            yield current
            current = self.nodes[current].parent

    def _add(self, box: Box) -> int:
        self.boxes.append(box)
        return len(self.boxes) - 1

    def _add_state(self, node: Node) -> None:
        mark = self.overlay.states.get(node.name) if self.overlay else None
        internals = tuple(
            (edge, edge_block(edge, self.overlay.edges.get(edge.id) if self.overlay else None))
            for edge in self.leading.get(node.name, ())
            if edge.internal
        )
        content = Content(state_block(node, mark), internals, meter=mark is not None and mark.share is not None)
        self.contents[node.name] = content
        group = self.groups[node.parent] if node.parent is not None else None
        if not node.composite:
            self.states[node.name] = self._add(Box(content.width, content.height, group))
            return
        self.frames.append(Group(content.width, round(content.inside) + _HEADING, group))
        self.groups[node.name] = len(self.frames) - 1
        if node.initial_child is not None:
            self.dots[node.name] = self._add(Box(_DOT, _DOT, self.groups[node.name], round=True))

    def _add_edge(self, edge: Edge) -> None:
        mark = self.overlay.edges.get(edge.id) if self.overlay else None
        tail, tail_group = self._left(edge)
        head, head_group = self._reached(edge)
        hue = self.hues[edge.trigger] if edge.kind is EdgeKind.TRANSITION else 0
        self._connect(edge, tail, head, head_group, edge_block(edge, mark), hue, tail_group)

    def _connect(
        self,
        edge: Edge | None,
        tail: int,
        head: int,
        head_group: int | None,
        block: Block,
        hue: int,
        tail_group: int | None = None,
    ) -> None:
        width, height = (block.width + LABEL_INSET[0] + 4, block.height + 2 * LABEL_INSET[1]) if block.lines else (0, 0)
        weight = 1 if edge is not None and edge.kind is EdgeKind.TRANSITION else 3
        self.links.append(Link(edge, block, hue))
        self.arrows.append(Arrow(tail, head, width, height, tail_group, head_group, weight))

    def _left(self, edge: Edge) -> tuple[int, int | None]:
        """Return the box that an edge leaves, and the group on whose frame it starts."""
        if edge.kind is EdgeKind.CREATION:
            return self.dots[None], None
        if edge.source is None:
            return self._pill(None), None
        if edge.source in self.states:
            return self.states[edge.source], None
        if edge.dest is not None and edge.source in self.inside(edge.dest):
            return self._pill(edge.source), None
        return self.states[self._leaf(edge.source, -1)], self.groups[edge.source]

    def _reached(self, edge: Edge) -> tuple[int, int | None]:
        if edge.dest is None:
            if self.end is None:
                self.end = self._add(Box(_END, _END, round=True))
            return self.end, None
        if edge.dest in self.groups and edge.source is not None and edge.dest in self.inside(edge.source):
            dot = self.dots.get(edge.dest)
            return (self._pill(edge.dest) if dot is None else dot), None
        return self._entered(edge.dest)

    def _entered(self, name: str) -> tuple[int, int | None]:
        if name in self.states:
            return self.states[name], None
        dot = self.dots.get(name)
        return (self.states[self._leaf(name, 0)] if dot is None else dot), self.groups[name]

    def _pill(self, group: str | None) -> int:
        if group not in self.pills:
            self.pills[group] = self._add(Box(*_PILL, self.groups[group] if group is not None else None))
        return self.pills[group]

    def _leaf(self, name: str, place: int) -> str:
        while self.nodes[name].children:
            name = self.nodes[name].children[place]
        return name
