"""From a lifecycle, and the application around it, to its diagram."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from usecasecore.application import Application
from usecasecore.diagrams.identifiers import identifier
from usecasecore.diagrams.model import Binding, Detail, Diagram, Edge, EdgeKind, Guard, Node
from usecasecore.lifecycle import Edge as DeclaredEdge
from usecasecore.lifecycle import Lifecycle, StateNode
from usecasecore.registration import Registration

__all__ = ["diagram_of", "node_id", "numbered", "reduced"]


def diagram_of(lifecycle: Lifecycle, application: Application | None = None, detail: Detail = Detail.FULL) -> Diagram:
    """Return the diagram of a lifecycle, with the use cases of an application.

    Without an application no use cases are shown, and nothing is called unbound.

    Raises:
        DefinitionError: If the lifecycle isn't mapped.
    """
    graph = lifecycle.graph
    registrations = application.registrations if application else ()
    known = application is not None
    diagram = Diagram(
        name=graph.name,
        title=lifecycle.aggregate.__name__ + ("" if lifecycle.attribute == "lifecycle" else f".{lifecycle.attribute}"),
        detail=Detail.FULL,
        nodes=tuple(map(_node, graph.states)),
        edges=(
            _creation(lifecycle, registrations, known=known),
            *_transitions(lifecycle, registrations, known=known),
            *_deletions(lifecycle, registrations),
        ),
        application=application.name if application else None,
        unbound_use_cases=tuple(_binding(one) for one in registrations if _idle(one, lifecycle)),
        separator=graph.separator,
        description=graph.description,
    )
    return reduced(diagram, detail)


def reduced(diagram: Diagram, detail: Detail) -> Diagram:
    """Return the diagram without what a lower level of detail leaves out; edges that can't be told apart then become one.

    A level that is higher than the diagram's own adds nothing.
    """
    levels = list(Detail)
    if levels.index(detail) >= levels.index(diagram.detail):
        return diagram
    edges = dict.fromkeys(_plain(edge, detail) for edge in diagram.edges if _stays(edge, detail))
    return replace(diagram, detail=detail, edges=tuple(numbered(edges)), application=None, unbound_use_cases=())


def _stays(edge: Edge, detail: Detail) -> bool:
    # An arrow from a state to itself has nothing to say without its trigger.
    return edge.kind is not EdgeKind.DELETION and not (edge.internal and detail is Detail.STATES)


def node_id(name: str) -> str:
    """Return the id of the state of that full name."""
    return f"state-{identifier(name)}"


def numbered(edges: Iterable[Edge]) -> Iterator[Edge]:
    """Give each edge its id, but deletions, whose id names their use case."""
    seen: Counter[str] = Counter()
    for edge in edges:
        if edge.kind is not EdgeKind.TRANSITION:
            yield edge
            continue
        parts = [edge.source, edge.trigger, edge.dest]
        own = "-".join([edge.kind.value, *(identifier(part) for part in parts if part)])
        seen[own] += 1
        yield replace(edge, id=own if seen[own] == 1 else f"{own}-{seen[own]}")


def _plain(edge: Edge, detail: Detail) -> Edge:
    kept = Edge("" if edge.kind is EdgeKind.TRANSITION else edge.id, edge.kind, edge.source, edge.dest)
    return kept if detail is Detail.STATES else replace(kept, trigger=edge.trigger)


def _node(state: StateNode) -> Node:
    return Node(
        id=node_id(state.name),
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


def _creation(lifecycle: Lifecycle, registrations: Iterable[Registration], *, known: bool) -> Edge:
    bindings = tuple(_binding(one) for one in registrations if _creates(one, lifecycle))
    unbound = known and not bindings
    return Edge(EdgeKind.CREATION.value, EdgeKind.CREATION, None, lifecycle.initial, bindings=bindings, unbound=unbound)


def _transitions(lifecycle: Lifecycle, registrations: Iterable[Registration], *, known: bool) -> Iterator[Edge]:
    firing: dict[str, list[Binding]] = {}
    for one in registrations:
        for trigger in _fired(one, lifecycle):
            firing.setdefault(trigger, []).append(_binding(one))
    guards = _guards(lifecycle)
    edges = [
        Edge(
            id="",
            kind=EdgeKind.TRANSITION,
            source=edge.source,
            dest=edge.dest,
            trigger=edge.trigger,
            guards=guards.get(edge.index, _unasked(edge)),
            bindings=tuple(firing.get(edge.trigger, ())),
            unbound=known and edge.trigger not in firing,
            description=edge.description,
        )
        for edge in lifecycle.graph.edges
    ]
    return numbered(edges)


def _deletions(lifecycle: Lifecycle, registrations: Iterable[Registration]) -> Iterator[Edge]:
    """Yield the deletions: after a trigger was fired from where it leads, else from any state."""
    for one in registrations:
        if not issubclass(lifecycle.aggregate, one.deletes):
            continue
        fired = _fired(one, lifecycle)
        reached = (edge.dest or edge.source for edge in lifecycle.graph.edges if edge.trigger in fired)
        for source in dict.fromkeys(reached) or (None,):
            parts = [EdgeKind.DELETION.value, *(identifier(name) for name in (one.name, source) if name is not None)]
            yield Edge("-".join(parts), EdgeKind.DELETION, source, None, bindings=(_binding(one),))


def _guards(lifecycle: Lifecycle) -> dict[int, tuple[Guard, ...]]:
    """Return the guards of each declared edge that an aggregate can take, with their reasons, by its index."""
    paths: list[Any] = lifecycle.machine.get_transitions()
    return {path.edge.index: tuple(_guard(condition.func) for condition in path.conditions) for path in paths}


def _guard(asked: Any) -> Guard:
    return Guard(asked.name, asked.wanted, asked.reason)


def _unasked(edge: DeclaredEdge) -> tuple[Guard, ...]:
    return (*(Guard(name) for name in edge.conditions), *(Guard(name, wanted=False) for name in edge.unless))


def _binding(registration: Registration) -> Binding:
    use_case = registration.use_case
    return Binding(
        use_case=registration.name,
        events=tuple(one.message_name for one in use_case.emits),
        jobs=tuple(one.message_name for one in use_case.enqueues),
        description=inspect.cleandoc(type(use_case).__doc__ or "").partition("\n")[0],
    )


def _fired(registration: Registration, lifecycle: Lifecycle) -> tuple[str, ...]:
    # A use case of a base class also handles the rows of its subclasses, each by a lifecycle of its own.
    fired = (
        trigger
        for one, triggers in registration.fires.items()
        if one.attribute == lifecycle.attribute and issubclass(lifecycle.aggregate, one.aggregate)
        for trigger in triggers
    )
    return tuple(dict.fromkeys(fired))


def _creates(registration: Registration, lifecycle: Lifecycle) -> bool:
    missing = (slot.aggregate for slot in registration.slots if slot.missing == "create")
    return issubclass(lifecycle.aggregate, (*registration.creates, *missing))


def _idle(registration: Registration, lifecycle: Lifecycle) -> bool:
    """Whether a use case loads the aggregate of a lifecycle, and leaves all of its lifecycles alone."""
    aggregate = lifecycle.aggregate
    if not issubclass(aggregate, registration.loads) or _creates(registration, lifecycle):
        return False
    if issubclass(aggregate, registration.deletes):
        return False
    return not any(issubclass(aggregate, one.aggregate) for one in registration.fires)
