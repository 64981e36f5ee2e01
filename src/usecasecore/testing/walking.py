"""How an aggregate gets into a state by the use cases that there are."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from difflib import get_close_matches
from typing import Any

from usecasecore.analysis import Step, Walk, creators, firing, steps
from usecasecore.application import Application
from usecasecore.lifecycle import Lifecycle
from usecasecore.registration import Registration

__all__ = ["Unreachable", "creator_of", "keys_for", "lifecycle_named", "use_case_for", "way_to"]


class Unreachable(LookupError):
    """No use cases lead to a state, or from one state to the next."""


def lifecycle_named(application: Application, name: str | type) -> Lifecycle:
    """Return the lifecycle of that name, or the one of a mapped class.

    Raises:
        LookupError: If there is none.
    """
    if isinstance(name, type):
        found = [one for one in application.lifecycles.values() if one.aggregate is name]
        if found:
            return next((one for one in found if one.attribute == "lifecycle"), found[0])
        name = name.__name__
    elif name in application.lifecycles:
        return application.lifecycles[name]
    known = list(application.lifecycles)
    near = get_close_matches(name, known, 1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise LookupError(f"the application has no lifecycle {name!r}{hint} (known: {', '.join(known) or 'none'})")


def way_to(application: Application, lifecycle: Lifecycle, state: str) -> Walk:
    """Return a shortest walk from creation to a state by triggers that use cases fire.

    Raises:
        LookupError: If there is no such state.
        Unreachable: If no use cases lead there.
    """
    graph, fired = lifecycle.graph, {trigger for trigger, names in firing(application, lifecycle).items() if names}
    if state not in graph.resting:
        near = get_close_matches(state, graph.resting, 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise LookupError(f"{lifecycle.name} rests in no state {state!r}{hint} (states: {', '.join(graph.resting)})")
    start = _resting_start(lifecycle)
    found, waiting = {start: Walk(start)}, deque([start])
    while waiting and state not in found:
        walk = found[waiting.popleft()]
        for step in steps(graph):
            if step.source == walk.end and step.trigger in fired and step.dest not in found:
                found[step.dest] = walk.then(step)
                waiting.append(step.dest)
    if state in found:
        return found[state]
    idle = sorted({step.trigger for step in steps(graph) if step.trigger not in fired})
    why = f"; no use case fires: {', '.join(idle)}" if idle else ""
    raise Unreachable(f"{lifecycle.name}: no use cases lead from {start!r} to {state!r}{why}")


def creator_of(application: Application, lifecycle: Lifecycle, preferred: Collection[Any]) -> Registration:
    """Return the use case by which a new aggregate is made: one that the test has a factory for, or that loads the least.

    Raises:
        Unreachable: If there is none.
    """
    candidates = _registrations(application, creators(application, lifecycle))
    candidates = [one for one in candidates if one.creates]
    if not candidates:
        raise Unreachable(f"{lifecycle.name}: no use case creates a {lifecycle.aggregate.__name__}")
    return min(candidates, key=lambda one: (not _has_factory(one, preferred), len(one.loads), len(one.creates)))


def use_case_for(application: Application, lifecycle: Lifecycle, step: Step, preferred: Collection[Any]) -> Registration:
    """Return the use case that takes a step: one that the test has a factory for, or that fires nothing else.

    Raises:
        Unreachable: If there is none.
    """
    candidates = _registrations(application, firing(application, lifecycle)[step.trigger])
    if not candidates:
        raise Unreachable(f"{lifecycle.name}: no use case fires {step.trigger!r}")
    return min(
        candidates,
        key=lambda one: (not _has_factory(one, preferred), one.lifecycle is None, len(one.triggers), len(one.loads)),
    )


def keys_for(registration: Registration, identity: dict[str, Any], aggregate: type) -> dict[str, Any]:
    """Return the command's fields that name an aggregate, with their values; none where it is found another way.

    Args:
        registration: The use case.
        identity: Attribute of the primary key -> value.
        aggregate: The aggregate's class.
    """
    if registration.keys:
        return {field: identity[attribute] for attribute, field in registration.keys.items() if attribute in identity}
    for slot in registration.slots:
        if issubclass(aggregate, slot.aggregate):
            return {field: identity[attribute] for attribute, field in slot.keys.items() if attribute in identity}
    return {}


def _resting_start(lifecycle: Lifecycle) -> str:
    nodes = {node.name: node for node in lifecycle.graph.states}
    name = lifecycle.graph.initial
    while (child := nodes[name].initial_child) is not None:
        name = child
    return name


def _registrations(application: Application, names: tuple[str, ...]) -> list[Registration]:
    return [one for one in application.registrations if one.name in names]


def _has_factory(registration: Registration, factories: Collection[Any]) -> bool:
    return registration.command in factories or registration.name in factories
