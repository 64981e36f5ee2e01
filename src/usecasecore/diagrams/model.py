"""Diagram: what a picture of a lifecycle says, before anybody draws it. Every format is made from it, and nothing else.

The ids are unique in one diagram, stay the same as long as the names do, and hold nothing but ASCII letters, digits, `_`
and `-`: they can stand in XML, CSS and URLs as they are. Where several diagrams share a page, put `Diagram.id` before them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from usecasecore.diagrams.identifiers import identifier

__all__ = ["Binding", "Detail", "Diagram", "Edge", "EdgeKind", "Guard", "Node"]


class Detail(StrEnum):
    """How much a diagram says.

    Attributes:
        STATES: The states, and which of them lead to which.
        TRIGGERS: Each transition with its trigger.
        FULL: Guards, use cases, events and what stands out, too.
    """

    STATES = "states"
    TRIGGERS = "triggers"
    FULL = "full"


class EdgeKind(StrEnum):
    """What happens along an edge.

    Attributes:
        CREATION: An aggregate is made: from the initial point to the initial state. Each diagram has exactly one.
        TRANSITION: A trigger is fired.
        DELETION: An aggregate is deleted: from a state, or from any, to nowhere.
    """

    CREATION = "creation"
    TRANSITION = "transition"
    DELETION = "deletion"


@dataclass(frozen=True, slots=True)
class Node:
    """A state.

    Attributes:
        id: `state-` and the name as an identifier.
        name: The full name.
        label: The last part of the name; the whole name of a state that isn't nested.
        value: What the column stores.
        parent: Full name of the state around it.
        children: Full names of the states directly inside, in the order declared.
        initial: Whether an aggregate starts in it.
        initial_child: Full name of the child that is entered with it.
        final: Whether nothing leads out of it, or it is declared final.
        resting: Whether an aggregate can be found in it.
        description: For people.
    """

    id: str
    name: str
    label: str
    value: str | int
    parent: str | None = None
    children: tuple[str, ...] = ()
    initial: bool = False
    initial_child: str | None = None
    final: bool = False
    resting: bool = True
    description: str = ""

    @property
    def composite(self) -> bool:
        """Whether there are states inside."""
        return bool(self.children)


@dataclass(frozen=True, slots=True)
class Guard:
    """A question that is asked before a transition is taken.

    Attributes:
        name: As declared.
        wanted: The answer that lets the transition through.
        reason: What a refusal says.
    """

    name: str
    wanted: bool = True
    reason: str = ""

    def __str__(self) -> str:
        return self.name if self.wanted else f"!{self.name}"


@dataclass(frozen=True, slots=True)
class Binding:
    """A use case that goes along an edge.

    Attributes:
        use_case: Its name.
        events: Names of the events that it may emit, in the order declared.
        jobs: Names of the jobs that it may enqueue, in the order declared.
        description: The first line of its docstring.
    """

    use_case: str
    events: tuple[str, ...] = ()
    jobs: tuple[str, ...] = ()
    description: str = ""


@dataclass(frozen=True, slots=True)
class Edge:
    """An arrow.

    Attributes:
        id: `transition-SOURCE-TRIGGER-DEST`, without DEST if internal, numbered from 2 where several would be called the
            same; `creation`; `deletion-USECASE-SOURCE`, without SOURCE if from any state.
        kind: What happens.
        source: Full name of the state it leads out of; None for the initial point, and for a deletion from any state.
        dest: Full name of the state it leads to; None for an internal transition and for a deletion.
        trigger: What fires it; empty for creations and deletions, and where only states are shown.
        guards: In the order asked.
        bindings: The use cases, in the order of the application.
        unbound: True if the application has no use case for it.
        description: For people.
    """

    id: str
    kind: EdgeKind
    source: str | None
    dest: str | None
    trigger: str = ""
    guards: tuple[Guard, ...] = ()
    bindings: tuple[Binding, ...] = ()
    unbound: bool = False
    description: str = ""

    @property
    def internal(self) -> bool:
        """Whether it is a transition that leaves and enters nothing."""
        return self.kind is EdgeKind.TRANSITION and self.dest is None

    @property
    def use_cases(self) -> tuple[str, ...]:
        """Names of the use cases."""
        return tuple(binding.use_case for binding in self.bindings)

    @property
    def events(self) -> tuple[str, ...]:
        """Names of the events that its use cases may emit, each once."""
        return tuple(dict.fromkeys(event for binding in self.bindings for event in binding.events))


@dataclass(frozen=True, slots=True)
class Diagram:
    """The picture of one lifecycle.

    Attributes:
        name: The lifecycle's name, `order` or `order.payment`.
        title: What stands above it: `Order`, or `Order.payment`.
        detail: How much it says. What is left out is left out of the model, too.
        nodes: Every state, parents before their children, otherwise in the order declared.
        edges: The creation, then the transitions in the order declared, then the deletions.
        application: Name of the application whose use cases it shows; None if it shows none.
        unbound_use_cases: Use cases that load the aggregate, and neither fire a trigger of it nor create or delete it.
        separator: What joins the parts of a nested state's name.
        description: The lifecycle's.
    """

    name: str
    title: str
    detail: Detail
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    application: str | None = None
    unbound_use_cases: tuple[Binding, ...] = ()
    separator: str = "_"
    description: str = ""

    @property
    def id(self) -> str:
        """The name as an identifier."""
        return identifier(self.name)

    @property
    def initial(self) -> Node:
        """The state in which an aggregate starts."""
        return next(node for node in self.nodes if node.initial)

    @property
    def roots(self) -> tuple[Node, ...]:
        """The states that are not inside of another."""
        return tuple(node for node in self.nodes if node.parent is None)

    @property
    def unbound_triggers(self) -> tuple[str, ...]:
        """Triggers that no use case of the application fires, each once."""
        unbound = (edge.trigger for edge in self.edges if edge.unbound and edge.kind is EdgeKind.TRANSITION)
        return tuple(dict.fromkeys(unbound))

    def node(self, name: str) -> Node:
        """Return the state of that full name.

        Raises:
            KeyError: If there is none.
        """
        for node in self.nodes:
            if node.name == name:
                return node
        raise KeyError(name)
