"""The states of one lifecycle as a tree, and the ways to refer to them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from usecasecore.lifecycle.wording import nearest

__all__ = ["DeclaredState", "StateTree", "shown"]


@dataclass(slots=True, eq=False)
class DeclaredState:
    """One state as declared.

    Attributes:
        path: The names from the outermost state down to this one.
        name: The path joined by the separator.
        origin: What stands in the declaration: a member, a string, or a pytransitions `State`.
        spellings: Every full name that means it: by the members' names and by their values.
        initial: The child to enter, as declared; resolved to `initial_child`.
        transitions: Transitions declared inside of it, with names relative to it.
        remap: Names of states inside that are left out -> the state outside that transitions to them lead to instead.
    """

    path: tuple[str, ...]
    name: str
    origin: object
    spellings: frozenset[str]
    on_enter: tuple[object, ...] = ()
    on_exit: tuple[object, ...] = ()
    on_final: tuple[object, ...] = ()
    final: bool = False
    initial: object = None
    transitions: tuple[object, ...] = ()
    description: str = ""
    remap: Mapping[str, object] = field(default_factory=dict)
    children: list[DeclaredState] = field(default_factory=list)
    initial_child: DeclaredState | None = None

    @property
    def member(self) -> Enum | None:
        """The enum member that it was declared by."""
        return self.origin if isinstance(self.origin, Enum) else None

    @property
    def resting(self) -> bool:
        """Whether an aggregate can be found in it."""
        return self.initial_child is None

    def landing(self) -> Iterator[DeclaredState]:
        """Yield the states that are entered after this one, by way of the initial children."""
        inner = self.initial_child
        while inner is not None:
            yield inner
            inner = inner.initial_child


class StateTree:
    """Every state of one lifecycle, and the ways to refer to it.

    Attributes:
        states: By full name, parents before their children, otherwise in the order declared.
        nested: Whether any state has children.
        separator: What joins the parts of a full name.
    """

    def __init__(self, separator: str) -> None:
        self.states: dict[str, DeclaredState] = {}
        self.nested = False
        self.separator = separator

    def value(self, state: DeclaredState) -> Any:
        """Return what the column stores: a member's value, or the full name where states are nested."""
        return state.member.value if state.member is not None and not self.nested else state.name

    def within(self, scope: tuple[str, ...]) -> list[DeclaredState]:
        """Return the states directly inside `scope`."""
        return [state for state in self.states.values() if state.path[:-1] == scope]

    def below(self, scope: tuple[str, ...]) -> list[DeclaredState]:
        """Return the states inside `scope` at any depth."""
        depth = len(scope)
        return [state for state in self.states.values() if len(state.path) > depth and state.path[:depth] == scope]

    def find(self, reference: object, scope: tuple[str, ...] = ()) -> DeclaredState:
        """Return the state meant by a member, name, value or `State` object, relative to `scope`.

        Raises:
            LookupError: If there is none, or more than one; the message is the rest of a sentence about it.
        """
        found = list(self._matches(reference, scope))
        if len(found) == 1:
            return found[0]
        if found:
            raise LookupError(f"{shown(reference)} is in {' and in '.join(state.name for state in found)}; write the full name")
        depth = len(scope)
        known = (self.separator.join(state.path[depth:]) for state in self.below(scope))
        inside = f" inside {self.separator.join(scope)!r}" if scope else ""
        raise LookupError(f"there is no state {shown(reference)}{inside}{nearest(_plain(reference), known)}")

    def _matches(self, reference: object, scope: tuple[str, ...]) -> Iterable[DeclaredState]:
        candidates = self.below(scope)
        # Two texts that are equal may be one object or two: only a member or a `State` is told by being the same.
        same = [state for state in candidates if state.origin is reference and type(reference) is not str]
        if same:
            return same
        if isinstance(reference, Enum):
            reference = reference.value if isinstance(reference.value, (str, int)) else reference.name
        elif not isinstance(reference, (str, int)):
            reference = getattr(reference, "name", None)
        if isinstance(reference, str):
            full = self.separator.join((*scope, reference))
            exact = [state for state in candidates if state.name == full]
            return exact or [state for state in candidates if full in state.spellings]
        return [state for state in candidates if state.member is not None and state.member.value == reference]


def _plain(reference: object) -> object:
    return reference.value if isinstance(reference, Enum) else reference


def shown(reference: object) -> str:
    """Return how messages call what a declaration refers to a state by."""
    return str(reference) if isinstance(reference, Enum) and not isinstance(reference.value, str) else repr(_plain(reference))
