"""The read-only view of a lifecycle: what checks, diagrams, coverage and documentation are made from."""

from __future__ import annotations

from dataclasses import dataclass

from usecasecore.lifecycle.location import Location

__all__ = ["Edge", "LifecycleGraph", "StateNode"]


@dataclass(frozen=True, slots=True)
class StateNode:
    """A state.

    Attributes:
        name: The full name: what errors, audit entries and edges say.
        value: What the column stores.
        label: The last part of the name; the whole name of a state that isn't nested.
        parent: Full name of the state around it.
        children: Full names of the states directly inside, in the order declared.
        initial: True for the one state in which an aggregate starts.
        initial_child: Full name of the child that is entered with it.
        resting: True if an aggregate can be found in it: all but the composite states that have an initial child.
        final: True if it is declared final, or if nothing leads out of it.
        description: For people.
        declared_final: True if it is declared final.
    """

    name: str
    value: str | int
    label: str
    parent: str | None
    children: tuple[str, ...]
    initial: bool
    initial_child: str | None
    resting: bool
    final: bool
    description: str
    declared_final: bool = False


@dataclass(frozen=True, slots=True)
class Edge:
    """A declared transition from one source; a declaration with several sources makes several edges.

    Attributes:
        index: Its place in the graph's `edges`; unique in the graph.
        trigger: What fires it.
        source: Full name of the state it is declared for; a composite state stands for all the states inside.
        dest: Full name of the state it leads to, None for an internal transition.
        conditions: Names of the guards that must say yes, in the order asked.
        unless: Names of the guards that must say no, asked after `conditions`.
        location: Where it is declared.
        description: For people.
        scope: Full name of the state inside of which it is declared; None for most. It is tried before what is declared outside.
    """

    index: int
    trigger: str
    source: str
    dest: str | None
    conditions: tuple[str, ...]
    unless: tuple[str, ...]
    location: Location
    description: str
    scope: str | None = None


@dataclass(frozen=True, slots=True)
class LifecycleGraph:
    """The states and edges of one lifecycle.

    Attributes:
        name: The lifecycle's name.
        states: Every state, parents before their children, otherwise in the order declared.
        edges: Every edge, in the order declared.
        initial: Full name of the state in which an aggregate starts.
        separator: What joins the parts of a nested state's name.
        description: The lifecycle's.
    """

    name: str
    states: tuple[StateNode, ...]
    edges: tuple[Edge, ...]
    initial: str
    separator: str
    description: str

    @property
    def resting(self) -> tuple[str, ...]:
        """Names of the states in which an aggregate can be found."""
        return tuple(node.name for node in self.states if node.resting)

    @property
    def triggers(self) -> tuple[str, ...]:
        """Every trigger, once, in the order declared."""
        return tuple(dict.fromkeys(edge.trigger for edge in self.edges))

    def state(self, name: str) -> StateNode:
        """Return the state of that full name.

        Raises:
            KeyError: If there is none.
        """
        for node in self.states:
            if node.name == name:
                return node
        raise KeyError(name)
