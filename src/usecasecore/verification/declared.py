"""What an application declares, as a verification needs it: aggregates by their ledger name, and the moves of lifecycles."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from sqlalchemy import inspect
from sqlalchemy.orm import Mapper

from usecasecore.application import Application
from usecasecore.lifecycle import Lifecycle, version_attribute
from usecasecore.lifecycle.graph import LifecycleGraph
from usecasecore.runtime.plan import AggregatePlan

__all__ = ["Declared"]

Move = tuple[str, str, str]


@dataclass(frozen=True)
class Declared:
    """What an application declares.

    Attributes:
        plans: Name in the ledger -> the class at the top and its subclasses.
        initial: Name of a lifecycle -> the state in which an aggregate starts.
        moves: Name of a lifecycle -> (trigger, from, to) of everything that may happen.
        keep_results: Name of a use case -> how long its keys are kept at least.
    """

    plans: dict[str, tuple[AggregatePlan, ...]] = field(default_factory=dict)
    initial: dict[str, str] = field(default_factory=dict)
    moves: dict[str, frozenset[Move]] = field(default_factory=dict)
    keep_results: dict[str, timedelta] = field(default_factory=dict)

    @classmethod
    def by(cls, application: Application | None) -> Declared:
        """Return what the application declares; nothing where there is none."""
        declared = cls()
        for registration in application.registrations if application else ():
            declared.keep_results[registration.name] = registration.use_case.keep_results
            for mapped in registration.aggregates:
                declared._add(inspect(mapped))
        return declared

    def _add(self, mapper: Mapper[Any]) -> None:
        plans = [AggregatePlan.of(each.class_) for each in mapper.base_mapper.self_and_descendants if _is_aggregate(each)]
        self.plans[AggregatePlan.of(mapper.class_).name] = tuple(plans)
        for lifecycle in (one for plan in plans for one in plan.lifecycles):
            self.initial[lifecycle.name] = lifecycle.initial
            self.moves[lifecycle.name] = self.moves.get(lifecycle.name, frozenset()) | moves_of(lifecycle)


def moves_of(lifecycle: Lifecycle) -> frozenset[Move]:
    """Return every (trigger, from, to) that the lifecycle declares, by the states in which an aggregate can be found."""
    return frozenset(_moves(lifecycle.graph))


def _moves(graph: LifecycleGraph) -> Iterator[Move]:
    for edge in graph.edges:
        for source in _inside(graph, edge.source):
            # A transition to the state itself is declared for the composite one, and made by the one inside.
            for dest in {source} if edge.dest is None else {_landing(graph, edge.dest)}:
                yield edge.trigger, source, dest


def _inside(graph: LifecycleGraph, name: str) -> Iterator[str]:
    state = graph.state(name)
    if state.resting:
        yield name
    for child in state.children:
        yield from _inside(graph, child)


def _landing(graph: LifecycleGraph, name: str) -> str:
    inner = graph.state(name).initial_child
    return name if inner is None else _landing(graph, inner)


def _is_aggregate(mapper: Mapper[Any]) -> bool:
    return version_attribute(mapper.class_) is not None
