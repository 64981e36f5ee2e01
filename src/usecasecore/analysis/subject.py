"""Subject: one lifecycle with everything that the checks ask about it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from usecasecore.analysis.finding import Finding
from usecasecore.analysis.paths import Step, candidates, shortest_to_states, steps
from usecasecore.application import Application
from usecasecore.lifecycle import Edge, Lifecycle, LifecycleGraph, Location, lifecycles_of
from usecasecore.registration import Registration

__all__ = ["Subject", "lifecycle_of", "location_of", "subjects_of"]


@dataclass(frozen=True, eq=False)
class Subject:
    """One lifecycle of an application.

    Attributes:
        candidates: (resting state, trigger) -> what is tried then, in order.
        steps: Every step that can be taken.
        reached: The resting states that can be reached.
        firing: Each trigger -> the use cases that may fire it.
        edge_steps: Each edge -> the steps along it that can be taken.
        deleted: The resting states from which a use case deletes: it ends there, whatever leads on.
    """

    application: Application
    lifecycle: Lifecycle
    graph: LifecycleGraph
    candidates: Mapping[tuple[str, str], tuple[Step, ...]]
    steps: tuple[Step, ...]
    reached: frozenset[str]
    firing: Mapping[str, tuple[Registration, ...]]
    edge_steps: Mapping[Edge, tuple[Step, ...]]
    deleted: frozenset[str]

    def finding(self, code: str, location: Location | None, cause: str, cure: str) -> Finding:
        """Return a finding about this lifecycle."""
        return Finding(code, self.lifecycle.name, location, cause, cure)

    def exits(self, state: str) -> tuple[Step, ...]:
        """Return the steps that lead from a resting state to another."""
        return tuple(step for step in self.steps if step.source == state and step.dest != state)


def subjects_of(application: Application) -> Iterator[Subject]:
    """Yield the lifecycles of all aggregates, two of the same name too."""
    seen: set[type] = set()
    for registration in application.registrations:
        for cls in registration.aggregates:
            if cls not in seen:
                seen.add(cls)
                yield from (_subject(application, lifecycle) for lifecycle in lifecycles_of(cls))


def _subject(application: Application, lifecycle: Lifecycle) -> Subject:
    graph = lifecycle.graph
    every = steps(graph)
    resting = set(graph.resting)
    return Subject(
        application=application,
        lifecycle=lifecycle,
        graph=graph,
        candidates=candidates(graph),
        steps=every,
        reached=frozenset(resting & shortest_to_states(graph).keys()),
        firing=_firing(application, lifecycle),
        edge_steps={edge: tuple(step for step in every if step.edge == edge) for edge in graph.edges},
        deleted=frozenset(_deleted(application, lifecycle, every)),
    )


def _deleted(application: Application, lifecycle: Lifecycle, every: tuple[Step, ...]) -> Iterator[str]:
    for one in application.registrations:
        if not any(_related(lifecycle.aggregate, cls) for cls in one.deletes):
            continue
        moved = one.lifecycle
        if moved is not None and moved.attribute == lifecycle.attribute and _related(lifecycle.aggregate, moved.aggregate):
            # It fires first, and deletes in the state that this leads to.
            yield from (step.dest for step in every if step.trigger in one.triggers)
        else:
            yield from lifecycle.graph.resting


def _related(one: type, other: type) -> bool:
    # A use case of a base class also handles instances of its subclasses, and one of a subclass some of the base's.
    return issubclass(one, other) or issubclass(other, one)


def _firing(application: Application, lifecycle: Lifecycle) -> dict[str, tuple[Registration, ...]]:
    found: dict[str, list[Registration]] = {trigger: [] for trigger in lifecycle.triggers}
    for one in application.registrations:
        for moved, triggers in one.fires.items():
            if moved.attribute == lifecycle.attribute and _related(lifecycle.aggregate, moved.aggregate):
                for trigger in triggers:
                    found.get(trigger, []).append(one)
    return {trigger: tuple(some) for trigger, some in found.items()}


def lifecycle_of(registration: Registration) -> str | None:
    """Return the name of the lifecycle that a use case is most about; None where it has to do with none."""
    if registration.lifecycle is not None:
        return registration.lifecycle.name
    return next((one.name for cls in registration.aggregates for one in lifecycles_of(cls)), None)


def location_of(thing: type | Callable[..., Any]) -> Location | None:
    """Return where a class or a function stands in the source; None where that can't be said."""
    code = getattr(inspect.unwrap(thing), "__code__", None)
    if code is not None:
        return Location(code.co_filename, code.co_firstlineno)
    try:
        file = inspect.getsourcefile(thing)
        return None if file is None else Location(file, inspect.getsourcelines(thing)[1])
    except (OSError, TypeError):
        apply: Any = getattr(thing, "apply", None)  # a use case in the function form has no class statement
        return location_of(apply) if apply is not None else None
