"""The ways through a lifecycle: to each state, along each edge, and along all of them.

How it works: edges are declared between states of any depth, but an aggregate is only ever found in a resting state. So
each edge is first resolved to steps from one resting state to another: a composite source stands for the resting states
inside, a composite destination for the state in which entering it ends. A step that an earlier candidate of the same
trigger always takes instead is no step, nor is one whose guards exclude each other (see `guard_table`). What guards say
otherwise is known at run time only.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from usecasecore.analysis.guard_table import is_possible_after
from usecasecore.lifecycle import Edge, LifecycleGraph, StateNode

__all__ = ["Step", "Walk", "candidates", "shortest_to_edges", "shortest_to_states", "simple_paths", "steps", "tour"]


@dataclass(frozen=True, slots=True)
class Step:
    """A transition that an aggregate can make.

    Attributes:
        edge: The declaration that it comes from.
        source: Full name of the resting state before.
        dest: Full name of the resting state after; the same as `source` for an internal transition.
    """

    edge: Edge
    source: str
    dest: str

    @property
    def trigger(self) -> str:
        """What fires it."""
        return self.edge.trigger

    def __str__(self) -> str:
        return f"{self.source} -{self.trigger}-> {self.dest}"


@dataclass(frozen=True, slots=True)
class Walk:
    """Steps from creation, each from where the one before it ended.

    Attributes:
        start: The resting state in which an aggregate starts.
        steps: In order; none for an aggregate that has just been created.
    """

    start: str
    steps: tuple[Step, ...] = ()

    @property
    def end(self) -> str:
        """The resting state in which it ends."""
        return self.steps[-1].dest if self.steps else self.start

    @property
    def triggers(self) -> tuple[str, ...]:
        """What to fire, in order."""
        return tuple(step.trigger for step in self.steps)

    @property
    def states(self) -> tuple[str, ...]:
        """The resting states on the way: one more than there are steps."""
        return (self.start, *(step.dest for step in self.steps))

    def then(self, *more: Step) -> Walk:
        """Return the walk that goes on with these steps."""
        return Walk(self.start, (*self.steps, *more))

    def __str__(self) -> str:
        return self.start + "".join(f" -{step.trigger}-> {step.dest}" for step in self.steps)


def candidates(graph: LifecycleGraph) -> dict[tuple[str, str], tuple[Step, ...]]:
    """Return (resting state, trigger) -> the transitions that may be made then, in the order in which they are tried.

    The order is that of the machine: what is declared inside of a state comes before what is declared outside, a state
    before the states around it, otherwise the order declared. The first whose guards agree is made.
    """
    nodes = {node.name: node for node in graph.states}
    around = {name: _around(nodes, name) for name in nodes}
    found: dict[tuple[str, str], list[Step]] = {}
    for node in graph.states:
        if not node.resting:
            continue
        own = [edge for edge in graph.edges if edge.source in around[node.name]]
        for edge in sorted(own, key=lambda edge: (-_depth(around, edge.scope), -_depth(around, edge.source))):
            dest = node.name if edge.dest is None else _landing(nodes, edge.dest)
            found.setdefault((node.name, edge.trigger), []).append(Step(edge, node.name, dest))
    return {key: tuple(some) for key, some in found.items()}


def steps(graph: LifecycleGraph) -> tuple[Step, ...]:
    """Return every step that can be taken if its guards agree, by resting state and then in the order tried."""
    return tuple(step for some in candidates(graph).values() for step in _takeable(some))


def shortest_to_states(graph: LifecycleGraph) -> dict[str, Walk]:
    """Return each state that can be reached -> a shortest walk to it, the nearest states first.

    The walk to a resting state ends in it. A state that isn't rested in is reached with the first state inside of it.
    Where several walks are equally short, it is the one whose steps were declared first.
    """
    nodes = {node.name: node for node in graph.states}
    found: dict[str, Walk] = {}
    for walk in _breadth_first(graph, graph.initial).values():
        for name in reversed(_around(nodes, walk.end)):
            if name == walk.end or not nodes[name].resting:
                found.setdefault(name, walk)
    return found


def shortest_to_edges(graph: LifecycleGraph) -> dict[Edge, Walk]:
    """Return each edge that can be taken -> a shortest walk that ends with it, in the order declared."""
    found: dict[Edge, Walk] = {}
    to = _breadth_first(graph, graph.initial)
    for step in steps(graph):
        before = to.get(step.source)
        if before is not None and (step.edge not in found or len(before.steps) + 1 < len(found[step.edge].steps)):
            found[step.edge] = before.then(step)
    return {edge: found[edge] for edge in graph.edges if edge in found}


def simple_paths(graph: LifecycleGraph, *, to: Collection[str] | None = None, limit: int | None = None) -> Iterator[Walk]:
    """Yield every walk from creation that is in no state twice, a walk before those that go on from it.

    There may be exponentially many; they are made one by one, as they are asked for.

    Args:
        to: Only those that end in one of these resting states; by default in any.
        limit: The greatest number of steps of one walk.
    """
    leaving = _leaving(steps(graph))
    waiting = [Walk(graph.initial)]
    while waiting:
        walk = waiting.pop()
        if to is None or walk.end in to:
            yield walk
        if limit is None or len(walk.steps) < limit:
            onward = [step for step in leaving.get(walk.end, ()) if step.dest not in walk.states]
            waiting += [walk.then(step) for step in reversed(onward)]


def tour(graph: LifecycleGraph, *, each_source: bool = True) -> tuple[Walk, ...]:
    """Return walks from creation that together take every step that can be taken, in few steps and few walks.

    Each walk goes on to the nearest step that none has taken, until there is none ahead of it: a greedy approximation of
    the route inspection problem. With no step at all it is one walk, the creation.

    Args:
        each_source: Whether an edge counts once for each resting state that it can be taken from; else once.
    """
    every = steps(graph)
    missing: set[object] = {_goal(step, each_source) for step in every}
    leaving = _leaving(every)
    walks: list[Walk] = []
    while not walks or missing:
        walk = Walk(graph.initial)
        while more := _nearest(leaving, walk.end, missing, each_source):
            walk = walk.then(*more)
            missing -= {_goal(step, each_source) for step in more}
        if walks and not walk.steps:  # what is still missing can't be reached
            break
        walks.append(walk)
    return tuple(walks)


def _goal(step: Step, each_source: bool) -> object:
    return step if each_source else step.edge


def _nearest(leaving: dict[str, list[Step]], start: str, missing: set[object], each_source: bool) -> list[Step]:
    """Return the shortest steps from a state that end with a missing one; none if no such is ahead."""
    seen, waiting = {start}, deque[tuple[str, list[Step]]]([(start, [])])
    while waiting:
        state, so_far = waiting.popleft()
        onward = leaving.get(state, ())
        # One that comes back to where it started keeps everything ahead: take it before one that leaves.
        for step in sorted(onward, key=lambda step: step.dest != step.source):
            if _goal(step, each_source) in missing:
                return [*so_far, step]
        for step in onward:
            if step.dest not in seen:
                seen.add(step.dest)
                waiting.append((step.dest, [*so_far, step]))
    return []


def _breadth_first(graph: LifecycleGraph, start: str) -> dict[str, Walk]:
    """Return each resting state that can be reached -> a shortest walk to it, the nearest first."""
    leaving = _leaving(steps(graph))
    found, waiting = {start: Walk(start)}, deque([start])
    while waiting:
        walk = found[waiting.popleft()]
        for step in leaving.get(walk.end, ()):
            if step.dest not in found:
                found[step.dest] = walk.then(step)
                waiting.append(step.dest)
    return found


def _leaving(every: Iterable[Step]) -> dict[str, list[Step]]:
    found: dict[str, list[Step]] = {}
    for step in every:
        found.setdefault(step.source, []).append(step)
    return found


def _takeable(some: tuple[Step, ...]) -> Iterator[Step]:
    """Yield the candidates that the ones before them leave something over for."""
    for place, step in enumerate(some):
        if is_possible_after(step.edge, (before.edge for before in some[:place])):
            yield step


def _around(nodes: dict[str, StateNode], name: str) -> tuple[str, ...]:
    """Return the state itself and those around it, the innermost first."""
    found = [name]
    while (parent := nodes[found[-1]].parent) is not None:
        found.append(parent)
    return tuple(found)


def _depth(around: dict[str, tuple[str, ...]], name: str | None) -> int:
    return 0 if name is None else len(around[name])


def _landing(nodes: dict[str, StateNode], name: str) -> str:
    """Return the state in which entering this one ends."""
    while (child := nodes[name].initial_child) is not None:
        name = child
    return name
