"""Coverage as an overlay of a diagram, and the diagram of a lifecycle as it was when the tests ran."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from usecasecore.coverage.criteria import Criterion, Item, Level, measure
from usecasecore.coverage.data import Recorded
from usecasecore.coverage.declared import Declared, edge_keys
from usecasecore.diagrams.identifiers import identifier
from usecasecore.diagrams.model import Binding, Detail, Diagram, Edge, EdgeKind, Guard, Node
from usecasecore.diagrams.overlay import LegendItem, Mark, Overlay, Status
from usecasecore.lifecycle import Edge as DeclaredEdge

__all__ = ["OtherDeclaration", "diagram_of_declared", "recorded_overlay"]

_LEGEND = (
    LegendItem("committed by a test", Status.GOOD),
    LegendItem("fired, but never committed", Status.PARTIAL),
    LegendItem("never fired", Status.BAD),
)
_FEW = 12
"""How many tests a title lists."""


class OtherDeclaration(ValueError):
    """What was recorded is of another declaration than the one that is drawn."""


def recorded_overlay(recorded: Recorded, diagram: Diagram, *, row: str = "") -> Overlay:
    """Return what was recorded of a lifecycle as an overlay of its diagram.

    Args:
        recorded: What was recorded.
        diagram: Of the same lifecycle, in full detail.
        row: Where a page has a row for each transition, what its id begins with; the drawing's elements name it as `data-item`.

    Raises:
        OtherDeclaration: If the lifecycle's transitions are no longer those of when the tests ran.
    """
    transitions = measure(recorded, Criterion.TRANSITION).items
    by_key = {item.key: (number, item) for number, item in enumerate(transitions)}
    keys = edge_keys(recorded.declared.graph)
    drawn = [edge for edge in diagram.edges if edge.kind is EdgeKind.TRANSITION]
    if [(edge.trigger, edge.source, edge.dest) for edge in drawn] != [
        (edge.trigger, edge.source, edge.dest) for edge in recorded.declared.graph.edges
    ]:
        raise OtherDeclaration(f"{diagram.name}: its transitions have changed since the tests ran")
    marks = {}
    for edge, key in zip(drawn, keys, strict=True):
        if key in by_key:
            number, item = by_key[key]
            marks[edge.id] = _mark(item, (("item", f"{row}{number}"),) if row else ())
        else:
            marks[edge.id] = Mark("left out", title=f"{key} is left out")
    states = {item.key: _mark(item, ()) for item in measure(recorded, Criterion.STATE).items}
    return Overlay("coverage", "transition coverage", states, marks, _LEGEND)


def diagram_of_declared(declared: Declared) -> Diagram:
    """Return the diagram of a lifecycle as it was declared when the tests ran."""
    bindings = {one.name: Binding(one.name) for one in declared.use_cases}
    creators = tuple(bindings[one.name] for one in declared.use_cases if one.creates)
    known = bool(declared.use_cases)
    creation = Edge(
        "creation", EdgeKind.CREATION, None, declared.graph.initial, bindings=creators, unbound=known and not creators
    )
    return Diagram(
        name=declared.name,
        title=declared.name,
        detail=Detail.FULL,
        nodes=tuple(_nodes(declared)),
        edges=(creation, *_edges(declared, bindings)),
        separator=declared.graph.separator,
        description=declared.graph.description,
    )


def _mark(item: Item, data: tuple[tuple[str, str], ...]) -> Mark:
    if item.covered:
        status, text = Status.GOOD, _times(len(item.tests), "test") if item.tests else _times(item.count, "time")
    elif item.level is Level.DECLARED:
        status, text = Status.BAD, "no test"
    else:
        status, text = Status.PARTIAL, str(item.level)
    listed = "".join(f"\n{test}" for test in item.tests[:_FEW])
    more = f"\nand {len(item.tests) - _FEW} more" if len(item.tests) > _FEW else ""
    return Mark(text, status=status, title=f"{item.key}: {item.level}{listed}{more}", data=data)


def _times(count: int, word: str) -> str:
    return f"{count} {word}{'' if count == 1 else 's'}"


def _nodes(declared: Declared) -> Iterator[Node]:
    for state in declared.graph.states:
        yield Node(
            id=f"state-{identifier(state.name)}",
            name=state.name,
            label=state.label,
            value=state.value,
            parent=state.parent,
            children=state.children,
            initial=state.initial,
            initial_child=state.initial_child,
            final=state.final,
            resting=state.resting,
            description=state.description,
        )


def _edges(declared: Declared, bindings: dict[str, Binding]) -> Iterator[Edge]:
    seen: Counter[str] = Counter()
    for edge in declared.graph.edges:
        own = "-".join(["transition", *(identifier(part) for part in (edge.source, edge.trigger, edge.dest) if part)])
        seen[own] += 1
        firing = tuple(bindings[one.name] for one in declared.use_cases if edge.trigger in one.triggers)
        yield Edge(
            id=own if seen[own] == 1 else f"{own}-{seen[own]}",
            kind=EdgeKind.TRANSITION,
            source=edge.source,
            dest=edge.dest,
            trigger=edge.trigger,
            guards=_guards(edge),
            bindings=firing,
            unbound=bool(declared.use_cases) and not firing,
            description=edge.description,
        )


def _guards(edge: DeclaredEdge) -> tuple[Guard, ...]:
    return (*(Guard(name) for name in edge.conditions), *(Guard(name, wanted=False) for name in edge.unless))
