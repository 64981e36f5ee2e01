"""What users write: a transition, and the arguments of a lifecycle, as they stand in the source."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Protocol, TypeAlias

from usecasecore.lifecycle.location import Location

__all__ = ["Callbacks", "Declaration", "NamedState", "StateRef", "States", "Transition", "Transitions"]


class NamedState(Protocol):
    """A pytransitions `State` object."""

    @property
    def name(self) -> str:
        """Its name, relative to the state around it."""
        ...


Callback: TypeAlias = "str | Callable[..., Any] | property"
Callbacks: TypeAlias = "Callback | Sequence[Callback] | None"
StateRef: TypeAlias = "str | int | Enum | NamedState"
States: TypeAlias = "type[Enum] | Sequence[str | Enum | Mapping[str, Any] | NamedState]"


@dataclass(frozen=True, slots=True)
class Transition:
    """One way from a state to another, with pytransitions' arguments in pytransitions' order.

    Unlike the list and dict forms it knows its own line, which reports and diagrams then show.

    Attributes:
        trigger: The name that fires it; an identifier.
        source: A state by member, name or value; a sequence of them, or an Enum class; `"*"` for every state.
        dest: A state; `"="` for the source itself; None for an internal transition, which leaves and enters nothing.
        conditions: Guards that must all say yes: names on the aggregate, callables, or dotted paths.
        unless: Guards that must all say no.
        before: Called once the guards agree, still in the old state.
        after: Called in the new state.
        prepare: Called before the guards are asked, and so also if they refuse.
        description: For people; shown in diagrams and reports.
        location: Where it is declared.
    """

    trigger: str
    source: StateRef | Sequence[StateRef] | type[Enum]
    dest: StateRef | None
    conditions: Callbacks = None
    unless: Callbacks = None
    before: Callbacks = None
    after: Callbacks = None
    prepare: Callbacks = None
    description: str = field(default="", kw_only=True)
    location: Location = field(init=False, compare=False, default_factory=Location.of_caller)


Transitions: TypeAlias = "Sequence[Transition | Sequence[Any] | Mapping[str, Any]]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Declaration:
    """The arguments of one `Lifecycle(...)`, unread.

    Attributes:
        location: The line of the `Lifecycle` call; the place of everything in it that has no own.
    """

    states: States
    transitions: Transitions
    initial: StateRef
    column: str | None
    name: str | None
    separator: str
    description: str
    enforce: str
    location: Location
    final: StateRef | Sequence[StateRef] = ()
    ignore: Mapping[str, str] = field(default_factory=dict)
