"""Checks of what is declared and never used."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

from usecasecore.analysis.finding import Finding
from usecasecore.analysis.guard_table import excluded
from usecasecore.analysis.source import fired_triggers, returned_texts
from usecasecore.analysis.subject import Subject, lifecycle_of, location_of
from usecasecore.application import Application
from usecasecore.lifecycle import Edge, given_reason, lifecycles_of
from usecasecore.registration import Registration

__all__ = ["never_run", "unbound", "unfired", "unused_callbacks"]

_CONVENTIONS = ("on_enter_", "on_exit_", "on_final_")


def unused_callbacks(subject: Subject) -> Iterator[Finding]:
    """UCC109: a guard of the class, or a method that is named like a callback of a state, that no lifecycle of it uses."""
    cls = subject.lifecycle.aggregate
    if subject.lifecycle is not lifecycles_of(cls)[0]:
        return  # told once for each class
    used = _used_names(cls)
    for name in dir(cls):
        found = inspect.getattr_static(cls, name, None)
        function: Any = getattr(found, "fget", None) or getattr(found, "__func__", found)
        if given_reason(found) is not None and name not in used and id(function) not in used:
            yield subject.finding(
                "UCC109",
                location_of(function),
                f"The guard {name!r} is named by no transition.",
                "Name it in the `conditions` or `unless` of the transition that it is for, or leave it out.",
            )
        elif name.startswith(_CONVENTIONS) and inspect.isfunction(found) and name not in used:
            yield subject.finding(
                "UCC109",
                location_of(function),
                f"{name!r} reads like a callback of a state, but there is no such state, and nothing names it.",
                f"Name it in the `{name[: name.index('_', 3)]}` of the state that it is for, or give it another name.",
            )


def _used_names(cls: type) -> set[str | int]:
    """Return the names of all callbacks that the lifecycles of a class and its bases call, and the ids of the functions."""
    used: set[str | int] = set()
    for lifecycle in (one for base in cls.__mro__ for one in lifecycles_of(base)):
        used |= set(lifecycle.callbacks)
        machine: Any = lifecycle.machine
        for path in machine.get_transitions():
            used |= {id(condition.func.function) for condition in path.conditions}
    return used


def unbound(subject: Subject) -> Iterator[Finding]:
    """UCC110: a trigger that no use case fires."""
    for trigger, use_cases in subject.firing.items():
        if not use_cases:
            edge = next(edge for edge in subject.graph.edges if edge.trigger == trigger)
            yield subject.finding(
                "UCC110",
                edge.location,
                f"No use case fires {trigger!r}.",
                f"Write `trigger = {trigger!r}` in the use case that is to fire it, or leave its transitions out.",
            )


def never_run(subject: Subject) -> Iterator[Finding]:
    """UCC111: a use case none of whose triggers can ever be fired."""
    for one in subject.application.registrations:
        if one.lifecycle is not subject.lifecycle or not one.triggers:
            continue
        if any(step.trigger in one.triggers and step.source in subject.reached for step in subject.steps):
            continue
        edges = [edge for edge in subject.graph.edges if edge.trigger in one.triggers]
        reasons = dict.fromkeys(_why_never(subject, edge) for edge in edges)
        yield subject.finding(
            "UCC111",
            location_of(type(one.use_case)),
            f"The use case {one.name} can never run: {'; '.join(reasons)}.",
            "Make a way to where it starts, or leave the use case out.",
        )


def _why_never(subject: Subject, edge: Edge) -> str:
    if names := excluded(edge):
        return f"for {edge.trigger!r} from {edge.source!r} {' and '.join(map(repr, names))} would have to be true and not true"
    if not subject.edge_steps[edge]:
        return f"{edge.trigger!r} from {edge.source!r} is never made, another one comes first"
    return f"{edge.trigger!r} starts in {edge.source!r}, which can't be reached"


def unfired(application: Application) -> Iterator[Finding]:
    """UCC113: a trigger that a use case declares and, as its source shows, never fires or chooses."""
    for one in application.registrations:
        fired = fired_triggers(one.use_case)
        if fired is not None:
            declared = [(cls, trigger) for cls, triggers in one.use_case.also_fires.items() for trigger in triggers]
            for cls, trigger in declared:
                if trigger not in fired and trigger.rpartition(".")[2] not in fired:
                    yield _unfired(one, trigger, f"`also_fires` for {cls.__name__}", "`apply` never fires it")
        chosen = returned_texts(type(one.use_case).choose_trigger) if one.use_case.triggers else None
        if chosen is not None:
            for trigger in set(one.use_case.triggers) - chosen:
                yield _unfired(one, trigger, "`triggers`", "`choose_trigger` never chooses it")


def _unfired(one: Registration, trigger: str, where: str, why: str) -> Finding:
    return Finding(
        "UCC113",
        lifecycle_of(one),
        location_of(type(one.use_case)),
        f"The use case {one.name} declares {trigger!r} in {where}, but {why}.",
        "Fire it, or leave it out of the declaration.",
    )
