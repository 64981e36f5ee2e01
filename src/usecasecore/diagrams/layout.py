"""Where everything in a drawing stands: sizes go to Graphviz, positions come back.

How it works: Graphviz places boxes and labels whose sizes were measured before, and routes the arrows between them. It
gets no text of the diagram, only numbers: nothing in a name can reach its language, and fonts that it may or may not find
change nothing. Units are those of the SVG; the origin is above on the left.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from usecasecore.diagrams.rendering import bounds

__all__ = ["Arrow", "Box", "Curve", "Group", "Layout", "Plan", "Rect", "place"]

Point: TypeAlias = tuple[float, float]
Run: TypeAlias = Callable[[str], str]
"""Takes a graph in DOT, returns it laid out as Graphviz's `json0`."""

_INCH = 72
_GROUP_MARGIN = 14
# A frame goes around the labels of the arrows in it, and leaves no margin to them.
_LABEL_MARGIN = 18


@dataclass(frozen=True, slots=True)
class Rect:
    """A rectangle by its corner above on the left."""

    x: float
    y: float
    width: float
    height: float

    @property
    def centre(self) -> Point:
        """The point in its middle."""
        return self.x + self.width / 2, self.y + self.height / 2

    def overlaps(self, other: Rect) -> bool:
        """Whether they share more than a line."""
        return (
            self.x < other.x + other.width
            and other.x < self.x + self.width
            and self.y < other.y + other.height
            and other.y < self.y + self.height
        )

    def contains(self, other: Rect) -> bool:
        """Whether the other is inside of it."""
        return (
            self.x <= other.x
            and self.y <= other.y
            and other.x + other.width <= self.x + self.width
            and other.y + other.height <= self.y + self.height
        )


@dataclass(frozen=True, slots=True)
class Box:
    """Something to be placed.

    Attributes:
        width: Of it.
        height: Of it.
        group: Index of the group that it stands in.
        round: Whether arrows end on a circle.
    """

    width: float
    height: float
    group: int | None = None
    round: bool = False


@dataclass(frozen=True, slots=True)
class Group:
    """A frame around boxes and other groups, with room for a heading.

    Attributes:
        width: Of the heading.
        height: Of the heading.
        parent: Index of the group around it; it comes before its own.
    """

    width: float
    height: float
    parent: int | None = None


@dataclass(frozen=True, slots=True)
class Arrow:
    """A connection of two boxes, by their indices.

    Attributes:
        tail: Where it starts.
        head: Where it ends.
        width: Of its label; 0 for none.
        height: Of its label.
        tail_group: Where it starts on the frame of a group instead: the group's index; the box is in it.
        head_group: Likewise where it ends.
        weight: How much it is to be short and straight.
    """

    tail: int
    head: int
    width: float = 0
    height: float = 0
    tail_group: int | None = None
    head_group: int | None = None
    weight: int = 1


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be placed.

    Attributes:
        sideways: From left to right instead of downward.
    """

    boxes: tuple[Box, ...]
    groups: tuple[Group, ...]
    arrows: tuple[Arrow, ...]
    sideways: bool = False


@dataclass(frozen=True, slots=True)
class Curve:
    """How an arrow runs.

    Attributes:
        points: A start, then three points for each cubic Bézier curve.
        tip: Where its head points; the last of `points` is the middle of the head's back.
        label: Where its label stands.
    """

    points: tuple[Point, ...]
    tip: Point
    label: Rect | None


@dataclass(frozen=True, slots=True)
class Layout:
    """Where everything stands, in the order of the plan."""

    width: float
    height: float
    boxes: tuple[Rect, ...]
    groups: tuple[Rect, ...]
    headings: tuple[Rect, ...]
    curves: tuple[Curve, ...]


def place(plan: Plan, run: Run) -> Layout:
    """Return where everything stands.

    Raises:
        Whatever `run` raises.
    """
    if not plan.boxes:
        return Layout(0, 0, (), (), (), ())
    return _read(plan, json.loads(run("".join(f"{line}\n" for line in _dot(plan)))))


def _dot(plan: Plan) -> Iterator[str]:
    direction = "LR" if plan.sideways else "TB"
    yield "digraph {"
    yield f"graph [rankdir={direction}, compound=true, newrank=true, nodesep=0.35, ranksep=0.42, pad=0, margin=0]"
    if large := bounds(len(plan.arrows)):
        yield f"graph [{_attributes(large)}]"
    yield 'node [shape=box, fixedsize=true, label=""]'
    yield "edge [arrowsize=0.85]"
    yield from _members(plan, None)
    for index, arrow in enumerate(plan.arrows):
        yield f"b{arrow.tail} -> b{arrow.head} [{_attributes(_arrow(index, arrow, _room(plan, arrow)))}]"
    yield "}"


def _members(plan: Plan, group: int | None) -> Iterator[str]:
    for index, box in enumerate(plan.boxes):
        if box.group == group:
            shape = {"shape": "circle"} if box.round else {}
            yield f"b{index} [{_attributes({'width': _inches(box.width), 'height': _inches(box.height), **shape})}]"
    for index, inner in enumerate(plan.groups):
        if inner.parent == group:
            yield f"subgraph cluster_{index} {{"
            yield f"graph [label={_blank(inner.width, inner.height)}, labeljust=l, margin={_GROUP_MARGIN}]"
            yield from _members(plan, index)
            yield "}"


def _room(plan: Plan, arrow: Arrow) -> float:
    """Return how wide the room for an arrow's label is to be."""
    framed = plan.boxes[arrow.tail].group is not None and plan.boxes[arrow.head].group is not None
    return arrow.width + (_LABEL_MARGIN if framed else 0)


def _arrow(index: int, arrow: Arrow, room: float) -> dict[str, str]:
    found = {"id": f"a{index}", "weight": str(arrow.weight)}
    if arrow.width:
        found["label"] = _blank(room, arrow.height)
    if arrow.tail_group is not None:
        found["ltail"] = f"cluster_{arrow.tail_group}"
    if arrow.head_group is not None:
        found["lhead"] = f"cluster_{arrow.head_group}"
    return found


def _attributes(values: Mapping[str, str]) -> str:
    return ", ".join(f"{name}={value}" for name, value in values.items())


def _blank(width: float, height: float) -> str:
    size = f'FIXEDSIZE="TRUE" WIDTH="{width:.0f}" HEIGHT="{height:.0f}"'
    return f'<<TABLE BORDER="0" CELLBORDER="0" CELLSPACING="0" CELLPADDING="0" {size}><TR><TD {size}></TD></TR></TABLE>>'


def _inches(size: float) -> str:
    return f"{size / _INCH:.4f}"


def _read(plan: Plan, found: Mapping[str, Any]) -> Layout:
    left, low, right, high = _numbers(found["bb"])
    read = _Reading(left, high)
    named = {one["name"]: one for one in found.get("objects", ())}
    arrows = {one["id"]: one for one in found.get("edges", ())}
    frames = [named[f"cluster_{index}"] for index in range(len(plan.groups))]
    return Layout(
        width=right - left,
        height=high - low,
        boxes=tuple(read.around(named[f"b{index}"]["pos"], box.width, box.height) for index, box in enumerate(plan.boxes)),
        groups=tuple(read.corners(frame["bb"]) for frame in frames),
        headings=tuple(
            read.around(frame["lp"], group.width, group.height) for frame, group in zip(frames, plan.groups, strict=True)
        ),
        curves=tuple(read.curve(arrow, arrows[f"a{index}"], _room(plan, arrow)) for index, arrow in enumerate(plan.arrows)),
    )


@dataclass(frozen=True, slots=True)
class _Reading:
    """Turns Graphviz's coordinates, which rise upward, into ours."""

    left: float
    high: float

    def point(self, text: str) -> Point:
        x, y = _numbers(text)
        return x - self.left, self.high - y

    def around(self, centre: str, width: float, height: float) -> Rect:
        x, y = self.point(centre)
        return Rect(x - width / 2, y - height / 2, width, height)

    def corners(self, text: str) -> Rect:
        left, low, right, high = _numbers(text)
        return Rect(left - self.left, self.high - high, right - left, high - low)

    def curve(self, arrow: Arrow, found: Mapping[str, Any], room: float) -> Curve:
        parts = found["pos"].split()
        tips = [self.point(part[2:]) for part in parts if part.startswith("e,")]
        points = tuple(self.point(part) for part in parts if part[0] not in "es")
        label = self.label(arrow, found["lp"], room) if arrow.width else None
        return Curve(points, tips[0] if tips else points[-1], label)

    def label(self, arrow: Arrow, centre: str, room: float) -> Rect:
        given = self.around(centre, room, arrow.height)
        return Rect(given.x, given.y, arrow.width, arrow.height)


def _numbers(text: str) -> list[float]:
    return [float(each) for each in text.split(",")]
