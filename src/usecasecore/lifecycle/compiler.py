"""From the declared states and transitions of a class to its graph and its machine."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from usecasecore.lifecycle import callbacks
from usecasecore.lifecycle.callbacks import Call, Callback
from usecasecore.lifecycle.edges import DeclaredEdge
from usecasecore.lifecycle.graph import Edge, LifecycleGraph, StateNode
from usecasecore.lifecycle.guards import Guard, refuse_awaitable
from usecasecore.lifecycle.location import Location
from usecasecore.lifecycle.machine import Calls, Path, Place, SharedMachine
from usecasecore.lifecycle.state_tree import DeclaredState, StateTree
from usecasecore.lifecycle.wording import Problems

__all__ = ["Compiler", "Plan"]


@dataclass(frozen=True, slots=True)
class Plan:
    """The candidates of each resting state and trigger, in the order in which they are tried.

    Attributes:
        paths: (trigger, path) pairs.
        readings: What an attribute may hold for each state: the member, the name or the value, to the state's name.
    """

    places: Mapping[str, Place]
    readings: Mapping[Any, str]
    paths: tuple[tuple[str, Path], ...]

    def machine(self, name: str, initial: str, attribute: str, write: Callable[[object, str, Any], None]) -> SharedMachine:
        """Return a new machine that keeps its models' state in `attribute`."""
        machine = SharedMachine(name, self.places, self.readings, initial, attribute, write)
        for trigger, path in self.paths:
            machine.add_path(trigger, path)
        return machine


class Compiler:
    """Resolves every callback of one lifecycle for one class; what can't be resolved goes to `problems`."""

    def __init__(
        self,
        cls: type,
        tree: StateTree,
        edges: list[DeclaredEdge],
        initial: DeclaredState,
        location: Location,
        problems: Problems,
    ) -> None:
        self._cls, self._tree, self._edges, self._initial = cls, tree, edges, initial
        self._problems = problems
        self._named: set[str] = set()
        self._candidates = {state.name: _candidates(state, edges) for state in tree.states.values() if state.resting}
        self._entering, self._leaving, self._finishing = (
            {
                state.name: self._effects(f"{role} of {state.name!r}", self._of_state(state, role), location)
                for state in tree.states.values()
            }
            for role in ("on_enter", "on_exit", "on_final")
        )
        self._calls = [self._calls_of(edge) for edge in edges]

    @property
    def callbacks(self) -> frozenset[str]:
        """Names of all guards and callbacks that are called."""
        return frozenset(self._named)

    def graph(self, name: str, description: str) -> LifecycleGraph:
        """Return the read-only view."""
        declared = zip(self._edges, self._calls, strict=True)
        separator = self._tree.separator
        edges = tuple(_edge(index, edge, calls.guards, separator) for index, (edge, calls) in enumerate(declared))
        nodes = tuple(self._node(state) for state in self._tree.states.values())
        return LifecycleGraph(name, nodes, edges, self._initial.name, self._tree.separator, description)

    def plan(self, graph: LifecycleGraph, held: Callable[[DeclaredState], Any]) -> Plan:
        """Return what the machine is made of; `held` says what the attribute holds in a state."""
        resting = [state for state in self._tree.states.values() if state.resting]
        places = {state.name: Place(state.name, held(state), graph.state(state.name).final) for state in resting}
        index = {edge: number for number, edge in enumerate(self._edges)}
        paths = tuple(
            (edge.trigger, self._path(state, edge, self._calls[index[edge]], graph.edges[index[edge]]))
            for state in resting
            for edge in self._candidates[state.name]
        )
        return Plan(places, self._readings(resting, places), paths)

    def _readings(self, resting: list[DeclaredState], places: Mapping[str, Place]) -> dict[Any, str]:
        # The surest meaning is written last: one state's value may be another one's Python name.
        readings: dict[Any, str] = {spelling: state.name for state in resting for spelling in state.spellings}
        readings |= {state.member: state.name for state in resting if state.member is not None}
        readings |= {state.name: state.name for state in resting}
        readings |= {self._tree.value(state): state.name for state in resting}
        return readings | {place.held: place.name for place in places.values()}

    def _node(self, state: DeclaredState) -> StateNode:
        return StateNode(
            name=state.name,
            value=self._tree.value(state),
            label=state.path[-1],
            parent=self._tree.separator.join(state.path[:-1]) or None,
            children=tuple(child.name for child in state.children),
            initial=state is self._initial,
            initial_child=state.initial_child.name if state.initial_child else None,
            resting=state.resting,
            final=state.final or (state.resting and not self._candidates[state.name]),
            description=state.description,
            declared_final=state.final,
        )

    def _path(self, source: DeclaredState, edge: DeclaredEdge, calls: Calls, drawn: Edge) -> Path:
        """Return the way from a resting state along an edge: what is left, and what is entered."""
        if edge.dest is None:
            return Path(source.name, None, drawn, calls)
        shared = _shared_depth(source.path, edge)
        left = self._upward(source, shared)
        entered = [*reversed(self._upward(edge.dest, shared)), *edge.dest.landing()]
        finished = self._upward(entered[-1], 0) if entered[-1].final else []
        leaves = tuple(call for state in left for call in self._leaving[state.name])
        enters = tuple(call for state in entered for call in self._entering[state.name])
        finishes = tuple(call for state in finished for call in self._finishing[state.name])
        return Path(source.name, entered[-1].name, drawn, calls, leaves=leaves, enters=enters + finishes)

    def _upward(self, state: DeclaredState, depth: int) -> list[DeclaredState]:
        """Return the state and those around it, the innermost first, that are deeper than `depth`."""
        lengths = range(len(state.path), depth, -1)
        return [self._tree.states[self._tree.separator.join(state.path[:length])] for length in lengths]

    def _calls_of(self, edge: DeclaredEdge) -> Calls:
        where = f"transition {edge.trigger!r}"
        conditions = self._resolved(f"{where}: conditions", edge.conditions, edge.location)
        unless = self._resolved(f"{where}: unless", edge.unless, edge.location)
        return Calls(
            guards=(
                *(Guard(each, wanted=True) for each in conditions),
                *(Guard(each, wanted=False) for each in unless),
            ),
            before=self._effects(f"{where}: before", edge.before, edge.location),
            after=self._effects(f"{where}: after", edge.after, edge.location),
            prepare=self._effects(f"{where}: prepare", edge.prepare, edge.location),
        )

    def _of_state(self, state: DeclaredState, role: str) -> tuple[object, ...]:
        """Return the callbacks of a state: those declared, then, as in pytransitions, the method that is called after it."""
        declared: tuple[object, ...] = getattr(state, role)
        names = sorted({f"{role}_{spelling}" for spelling in (state.name, *state.spellings)} - set(map(str, declared)))
        return (*declared, *(name for name in names if inspect.isfunction(inspect.getattr_static(self._cls, name, None))))

    def _effects(self, where: str, declared: Iterable[object], location: Location) -> tuple[Call, ...]:
        return tuple(_effect(callback) for callback in self._resolved(where, declared, location))

    def _resolved(self, where: str, declared: Iterable[object], location: Location) -> list[Callback]:
        resolved = []
        for each in declared:
            try:
                resolved.append(callbacks.resolve(self._cls, each))
                self._named.add(resolved[-1].name)
            except LookupError as error:
                self._problems.add(location, f"{where}: {error.args[0]}")
        return resolved


def _candidates(state: DeclaredState, edges: list[DeclaredEdge]) -> list[DeclaredEdge]:
    """Return the edges that a resting state can take, in HierarchicalMachine's order.

    What is declared inside a state comes before what is declared outside, and a state before the states around it.
    """
    own = [edge for edge in edges if state.path[: len(edge.source.path)] == edge.source.path]
    return sorted(own, key=lambda edge: (-len(edge.scope), -len(edge.source.path)))


def _shared_depth(source: tuple[str, ...], edge: DeclaredEdge) -> int:
    """Return how many outer states are neither left nor entered.

    The algorithm of pytransitions' `NestedTransition`: a transition to a state that is active leaves and enters that
    state; one that is declared inside of a state leaves everything up to that state.
    """
    assert edge.dest is not None
    dest = edge.dest.path
    if edge.scope:
        return len(edge.scope)
    shared = 0
    while shared < min(len(source), len(dest)) and source[shared] == dest[shared]:
        shared += 1
    return shared - 1 if shared == len(dest) else shared


def _edge(index: int, edge: DeclaredEdge, guards: tuple[Guard, ...], separator: str) -> Edge:
    return Edge(
        index=index,
        trigger=edge.trigger,
        source=edge.source.name,
        dest=edge.dest.name if edge.dest else None,
        conditions=tuple(each.name for each in guards if each.wanted),
        unless=tuple(each.name for each in guards if not each.wanted),
        location=edge.location,
        description=edge.description,
        scope=separator.join(edge.scope) or None,
    )


def _effect(callback: Callback) -> Call:
    def run(event: Any) -> None:
        answer = callback.call(event)
        if answer is not None:
            refuse_awaitable(callback.name, answer)

    return run
