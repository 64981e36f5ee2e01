"""What is to be covered: the declarations of lifecycles and use cases, in a form that a file can hold."""

from __future__ import annotations

import linecache
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from usecasecore.application import Application
from usecasecore.lifecycle import Edge, Lifecycle, LifecycleGraph, Location, StateNode
from usecasecore.registration import Registration

__all__ = ["Declared", "DeclaredUseCase", "Field", "declared_of", "edge_keys", "shown_edge"]

_PRAGMA = re.compile(r"#\s*pragma:\s*no[ -]transition[ -]cov\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a command that must be given.

    Attributes:
        is_key: Whether it names the aggregate.
    """

    name: str
    type: str
    is_key: bool


@dataclass(frozen=True, slots=True)
class DeclaredUseCase:
    """A use case that fires triggers of a lifecycle, or that creates its aggregates.

    Attributes:
        module: Where its command is defined.
        command: Name of the command.
        required: The fields that a caller must give.
        triggers: What it may fire on this lifecycle; none for one that only creates.
        creates: Whether it creates aggregates of this lifecycle.
    """

    name: str
    module: str
    command: str
    required: tuple[Field, ...]
    triggers: tuple[str, ...]
    creates: bool


@dataclass(frozen=True, slots=True)
class Declared:
    """One lifecycle, as it was declared when the tests ran. Files are relative to the project where they are inside of it.

    Attributes:
        name: The lifecycle's name.
        aggregate: The mapped class as `module.Class`; lifecycles of one name are told apart by it.
        location: Where the lifecycle is declared.
        excluded: Indexes of the edges that a pragma on their line leaves out.
    """

    name: str
    aggregate: str
    location: Location
    graph: LifecycleGraph
    use_cases: tuple[DeclaredUseCase, ...]
    excluded: frozenset[int] = frozenset()

    @property
    def key(self) -> tuple[str, str]:
        """What identifies it in a file."""
        return self.name, self.aggregate

    @property
    def shape(self) -> object:
        """What two runs must agree on for their counts to be added up: the states and transitions, not where they stand."""
        states = tuple((node.name, node.resting, node.parent) for node in self.graph.states)
        edges = tuple((edge.trigger, edge.source, edge.dest, edge.conditions, edge.unless) for edge in self.graph.edges)
        return states, edges, self.graph.initial

    def without(self, left_out: Callable[[str], bool]) -> Declared:
        """Return it with the transitions of further triggers left out."""
        further = {edge.index for edge in self.graph.edges if left_out(edge.trigger)}
        return replace(self, excluded=self.excluded | further) if further else self

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "name": self.name,
            "aggregate": self.aggregate,
            "location": _values(self.location),
            "initial": self.graph.initial,
            "separator": self.graph.separator,
            "description": self.graph.description,
            "states": [_values(node) for node in self.graph.states],
            "transitions": [{**_values(edge), "location": _values(edge.location)} for edge in self.graph.edges],
            "use_cases": [{**_values(one), "required": [_values(field) for field in one.required]} for one in self.use_cases],
            "excluded": sorted(self.excluded),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Declared:
        """Return what `as_json` was made of.

        Raises:
            KeyError: If something is missing.
            TypeError: If something is of another type.
        """
        graph = LifecycleGraph(
            name=value["name"],
            states=tuple(_made(StateNode, one) for one in value["states"]),
            edges=tuple(_made(Edge, {**one, "location": Location(**one["location"])}) for one in value["transitions"]),
            initial=value["initial"],
            separator=value["separator"],
            description=value["description"],
        )
        use_cases = tuple(
            _made(DeclaredUseCase, {**one, "required": tuple(_made(Field, field) for field in one["required"])})
            for one in value["use_cases"]
        )
        location = Location(**value["location"])
        return cls(value["name"], value["aggregate"], location, graph, use_cases, frozenset(value["excluded"]))


def declared_of(lifecycle: Lifecycle, applications: Iterable[Application], root: Path) -> Declared | None:
    """Return a lifecycle's declaration, with the use cases of the applications that know it.

    Args:
        lifecycle: A bound one.
        applications: Where to look for use cases.
        root: The project's directory.

    Returns:
        The declaration; None where a pragma on the line of the lifecycle leaves it out.
    """
    if _has_pragma(lifecycle.location):
        return None
    cls = lifecycle.aggregate
    edges = tuple(replace(edge, location=_relative(edge.location, root)) for edge in lifecycle.graph.edges)
    own_line = lifecycle.location
    excluded = frozenset(edge.index for edge in lifecycle.graph.edges if edge.location != own_line and _has_pragma(edge.location))
    use_cases: dict[str, DeclaredUseCase] = {}
    for application in applications:
        for registration in application.registrations:
            if (one := _use_case(registration, lifecycle)) is not None:
                use_cases.setdefault(one.name, one)
    return Declared(
        name=lifecycle.name,
        aggregate=f"{cls.__module__}.{cls.__qualname__}",
        location=_relative(lifecycle.location, root),
        graph=replace(lifecycle.graph, edges=edges),
        use_cases=tuple(use_cases.values()),
        excluded=excluded,
    )


def edge_keys(graph: LifecycleGraph) -> tuple[str, ...]:
    """Return a key for each edge, in their order: stable between runs, processes and versions of the source.

    It is the sentence `source --trigger--> dest`; of several alike, which only guards tell apart, the later ones get ` (2)`, ` (3)`.
    """
    seen: Counter[str] = Counter()
    keys = []
    for edge in graph.edges:
        text = shown_edge(edge)
        seen[text] += 1
        keys.append(text if seen[text] == 1 else f"{text} ({seen[text]})")
    return tuple(keys)


def shown_edge(edge: Edge) -> str:
    """Return an edge in one line."""
    return f"{edge.source} --{edge.trigger}--> {edge.dest or '(stays)'}"


def _use_case(registration: Registration, lifecycle: Lifecycle) -> DeclaredUseCase | None:
    # A use case of a base class also handles instances of its subclasses.
    triggers = tuple(
        trigger
        for moved, some in registration.fires.items()
        if moved.attribute == lifecycle.attribute and issubclass(lifecycle.aggregate, moved.aggregate)
        for trigger in some
    )
    made = (*registration.creates, *(slot.aggregate for slot in registration.slots if slot.missing == "create"))
    creates = any(issubclass(lifecycle.aggregate, cls) for cls in made)
    if not triggers and not creates:
        return None
    command = registration.command
    keys = {*registration.keys.values(), *(field for slot in registration.slots for field in slot.keys.values())}
    required = tuple(
        Field(name, _type_text(info.annotation), name in keys)
        for name, info in command.model_fields.items()
        if info.is_required()
    )
    return DeclaredUseCase(registration.name, command.__module__, command.__qualname__, required, triggers, creates)


def _type_text(annotation: Any) -> str:
    return getattr(annotation, "__name__", None) or str(annotation)


def _has_pragma(location: Location) -> bool:
    return _PRAGMA.search(linecache.getline(location.file, location.line)) is not None


def _relative(location: Location, root: Path) -> Location:
    path = Path(location.file)
    return Location(path.relative_to(root).as_posix(), location.line) if path.is_relative_to(root) else location


def _values(value: Any) -> dict[str, Any]:
    every = {one.name: getattr(value, one.name) for one in fields(value)}
    return {name: list(one) if isinstance(one, tuple) else one for name, one in every.items()}


def _made(cls: Any, value: Mapping[str, Any]) -> Any:
    # A file of another version of the library may know more, or less, of what a declaration holds.
    known = {one.name for one in fields(cls)}
    return cls(**{name: tuple(one) if isinstance(one, list) else one for name, one in value.items() if name in known})
