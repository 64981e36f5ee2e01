"""The transitions of a declaration, in whichever of pytransitions' formats, expanded to one for each source."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from usecasecore.lifecycle.declaration import Transition
from usecasecore.lifecycle.location import Location
from usecasecore.lifecycle.state_tree import DeclaredState, StateTree
from usecasecore.lifecycle.states import in_sequence
from usecasecore.lifecycle.wording import Problems, nearest

__all__ = ["DeclaredEdge", "read_edges"]

_EVERY, _SAME = "*", "="
_FIELDS = ("trigger", "source", "dest", "conditions", "unless", "before", "after", "prepare")
_KEYS = (*_FIELDS, "description")
_NOTHING: Mapping[str, object] = {}


@dataclass(frozen=True, slots=True, eq=False)
class DeclaredEdge:
    """One transition from one source.

    Attributes:
        scope: Path of the composite state inside which it is declared; empty for most.
        dest: None for an internal transition.
    """

    trigger: str
    scope: tuple[str, ...]
    source: DeclaredState
    dest: DeclaredState | None
    conditions: tuple[object, ...]
    unless: tuple[object, ...]
    before: tuple[object, ...]
    after: tuple[object, ...]
    prepare: tuple[object, ...]
    location: Location
    description: str


def read_edges(declared: object, tree: StateTree, location: Location, problems: Problems) -> list[DeclaredEdge]:
    """Return the edges in the order declared, those inside of states first; what is wrong goes to `problems`.

    What a state's `remap` turns into a transition out of it is read first, as if it were declared outside.
    """
    reader = _Reader(tree, location, problems)
    edges: list[DeclaredEdge] = []
    for state in tree.states.values():
        # As in pytransitions they are there as soon as the state is, before what is declared in the states around it.
        edges += reader.read(state.transitions, state.path, state.remap, remapped=True)
    for state in tree.states.values():
        edges += reader.read(state.transitions, state.path, state.remap)
    return edges + list(reader.read(in_sequence(declared), ()))


def _spelled(reference: object) -> str:
    """Return the name by which `remap` may know a state."""
    if isinstance(reference, Enum):
        return reference.value if isinstance(reference.value, str) else reference.name
    return str(getattr(reference, "name", reference))


class _Reader:
    def __init__(self, tree: StateTree, location: Location, problems: Problems) -> None:
        self._tree, self._location, self._problems = tree, location, problems

    def read(
        self, declared: tuple[Any, ...], scope: tuple[str, ...], remap: Mapping[str, object] = _NOTHING, *, remapped: bool = False
    ) -> Iterator[DeclaredEdge]:
        for one in declared:
            transition = self._as_transition(one)
            if transition is None:
                continue
            location = transition.location if transition is one else self._location
            trigger = self._trigger(transition.trigger, location)
            leads_out = _spelled(transition.dest) in remap
            if trigger is None or leads_out is not remapped:
                continue
            sources = tuple(each for each in in_sequence(transition.source) if _spelled(each) not in remap)
            if in_sequence(transition.source) and not sources:
                continue  # only from states that are left out
            kept = replace(transition, source=sources) if remap and transition.source != _EVERY else transition
            for edge in self._expand(kept, trigger, scope, location, remap):
                yield replace(edge, scope=scope[:-1]) if remapped else edge

    def _as_transition(self, one: object) -> Transition | None:
        if isinstance(one, Transition):
            return one
        if isinstance(one, Mapping):
            fields = dict(one)
            unknown = [key for key in fields if key not in _KEYS]
            for key in unknown:
                self._complain(f"transition {one!r} has an unknown key {key!r}{nearest(key, _KEYS)}")
        elif isinstance(one, (list, tuple)):
            fields = dict(zip(_FIELDS, one, strict=False))
            unknown = list(one[len(_FIELDS) :])
            if unknown:
                self._complain(f"transition {one!r} has more than the {len(_FIELDS)} fields {', '.join(_FIELDS)}")
        else:
            self._complain(f"{one!r} is not a transition; give a Transition, a list or a dict")
            return None
        missing = [key for key in ("trigger", "source", "dest") if key not in fields]
        if missing:
            self._complain(f"transition {one!r} lacks {', '.join(missing)}")
        return None if missing or unknown else Transition(**fields)

    def _trigger(self, trigger: object, location: Location) -> str | None:
        name = trigger.value if isinstance(trigger, Enum) else trigger
        if isinstance(name, str) and name.isidentifier():
            return str(name)
        self._complain(f"trigger {name!r} must be an identifier: letters, digits and underscores", location)
        return None

    def _expand(
        self,
        transition: Transition,
        trigger: str,
        scope: tuple[str, ...],
        location: Location,
        remap: Mapping[str, object],
    ) -> Iterator[DeclaredEdge]:
        dest = None
        if transition.dest is not None and transition.dest != _SAME:
            outside = remap.get(_spelled(transition.dest))
            wanted, inside = (transition.dest, scope) if outside is None else (outside, scope[:-1])
            dest = self._find(wanted, inside, trigger, "destination", location)
            if dest is None:
                return
        for source in self._sources(transition, trigger, scope, location):
            yield DeclaredEdge(
                trigger=trigger,
                scope=scope,
                source=source,
                dest=source if transition.dest == _SAME else dest,
                conditions=in_sequence(transition.conditions),
                unless=in_sequence(transition.unless),
                before=in_sequence(transition.before),
                after=in_sequence(transition.after),
                prepare=in_sequence(transition.prepare),
                location=location,
                description=transition.description,
            )

    def _sources(self, transition: Transition, trigger: str, scope: tuple[str, ...], location: Location) -> list[DeclaredState]:
        if transition.source == _EVERY:
            # As in pytransitions: from anywhere to itself means each nested state, to elsewhere the outermost suffice.
            return self._tree.below(scope) if transition.dest == _SAME else self._tree.within(scope)
        wanted = in_sequence(transition.source)
        if not wanted:
            self._complain(f"transition {trigger!r} has no source", location)
        found = [self._find(reference, scope, trigger, "source", location) for reference in wanted]
        return [state for state in found if state is not None]

    def _find(
        self, reference: object, scope: tuple[str, ...], trigger: str, role: str, location: Location
    ) -> DeclaredState | None:
        try:
            return self._tree.find(reference, scope)
        except LookupError as error:
            self._complain(f"transition {trigger!r}: {role}: {error.args[0]}", location)
            return None

    def _complain(self, text: str, location: Location | None = None) -> None:
        self._problems.add(location or self._location, text)
