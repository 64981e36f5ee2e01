"""Checks of names: those that mean two things, and those that don't fit where they are stored."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator
from typing import Any

from sqlalchemy import inspect as sa_inspect

from usecasecore.analysis.finding import Finding
from usecasecore.analysis.subject import Subject, lifecycle_of, location_of, subjects_of
from usecasecore.application import Application
from usecasecore.errors import Rejected, UseCaseError
from usecasecore.ledger import ledger_tables
from usecasecore.lifecycle import StateType
from usecasecore.messages import DomainEvent
from usecasecore.naming import snake_case

__all__ = ["clashes", "hidden_attributes", "misfits"]

_INTEGERS = range(-(2**31), 2**31)


def clashes(application: Application) -> Iterator[Finding]:
    """UCC114: two things under one name, where the ledger, the events or the callers could not tell them apart."""
    yield from _same_lifecycle_names(application)
    yield from _same_aggregate_names(application)
    yield from _same_codes(application)
    yield from _same_command_names(application)
    yield from _names_of_automatic_events(application)


def _clash(lifecycle: str | None, thing: Any, cause: str, cure: str) -> Finding:
    return Finding("UCC114", lifecycle, location_of(thing), cause, cure)


def _same_lifecycle_names(application: Application) -> Iterator[Finding]:
    for name, first, second in _pairs((one.lifecycle.name, one.lifecycle) for one in subjects_of(application)):
        # Two classes of one name have lifecycles of one name: that is told of the classes.
        if first.aggregate_name != second.aggregate_name:
            yield Finding(
                "UCC114",
                name,
                second.location,
                f"{first.aggregate.__name__} and {second.aggregate.__name__} both have a lifecycle named {name!r}.",
                "Give one of them another `name`.",
            )


def _same_aggregate_names(application: Application) -> Iterator[Finding]:
    classes = dict.fromkeys(cls for one in application.registrations for cls in one.aggregates)
    lifecycles = {one.lifecycle.aggregate: one.lifecycle.name for one in subjects_of(application)}
    for name, first, second in _pairs((snake_case(cls.__name__), cls) for cls in classes):
        yield _clash(
            lifecycles.get(second),
            second,
            f"{first.__module__}.{first.__qualname__} and {second.__module__}.{second.__qualname__} are both the aggregate {name!r}: "
            "their audit trails would run into one.",
            "Rename one of the classes.",
        )


def _same_codes(application: Application) -> Iterator[Finding]:
    refusals = dict.fromkeys(refusal for one in application.registrations for refusal in one.use_case.refuses)
    for code, first, second in _pairs((refusal.code, refusal) for refusal in (*_library_errors(UseCaseError), *refusals)):
        yield _clash(
            None,
            second,
            f"{first.__name__} and {second.__name__} both have the code {code!r}: a caller can't tell them apart.",
            "Give one of them another `code`.",
        )


def _library_errors(kind: type[UseCaseError]) -> Iterator[type[UseCaseError]]:
    for one in kind.__subclasses__():
        if one.__module__ == UseCaseError.__module__:
            if issubclass(one, Rejected):
                yield one
            yield from _library_errors(one)


def _same_command_names(application: Application) -> Iterator[Finding]:
    for name, first, second in _pairs((one.command.__name__, one.command) for one in application.registrations):
        registration = application.for_command(second)
        yield _clash(
            lifecycle_of(registration) if registration else None,
            second,
            f"{first.__module__} and {second.__module__} both have a command named {name!r}: one schema would hide the other.",
            "Rename one of them.",
        )


def _names_of_automatic_events(application: Application) -> Iterator[Finding]:
    automatic = {f"{snake_case(cls.__name__)}.created" for one in application.registrations for cls in one.aggregates}
    for one in subjects_of(application):
        automatic |= {f"{one.lifecycle.aggregate_name}.transition.{trigger}" for trigger in one.lifecycle.triggers}
    for event in dict.fromkeys(event for one in application.registrations for event in one.messages):
        if issubclass(event, DomainEvent) and event.message_name in automatic:
            declaring = next(one for one in application.registrations if event in one.messages)
            yield _clash(
                lifecycle_of(declaring),
                event,
                f"{event.__name__} has the name {event.message_name!r}, under which the runtime sends an event of its own.",
                "Give it another `name`.",
            )


def _pairs(named: Iterable[tuple[str, Any]]) -> Iterator[tuple[str, Any, Any]]:
    """Yield name, first and later thing, for each thing whose name another one has already."""
    first: dict[str, Any] = {}
    for name, thing in named:
        if first.setdefault(name, thing) is not thing:
            yield name, first[name], thing


def misfits(subject: Subject) -> Iterator[Finding]:
    """UCC115: a state whose value is longer or larger than the column, or than the audit entry, that is to hold it."""
    mapper: Any = sa_inspect(subject.lifecycle.aggregate)
    column: Any = mapper.columns.get(subject.lifecycle.column)
    kind: object = getattr(column, "type", None)
    if not isinstance(kind, StateType):
        return
    room = ledger_tables().audit.c.to_state.type.length  # type: ignore[attr-defined]  # it is a String
    for node in subject.graph.states:
        if not node.resting:
            continue
        cure = "Shorten its name, or give `state_column` a greater `length`."
        if isinstance(node.value, int):
            if node.value in _INTEGERS:
                continue
            held, cure = "an INTEGER, from -2147483648 to 2147483647", "Give it a smaller number."
        elif not kind.stores_integers and len(node.value) > kind.length:
            held = f"{kind.length} characters"
        elif len(node.name) > room:
            held, cure = f"the audit entry's {room} characters", "Shorten its name."
        else:
            continue
        yield subject.finding(
            "UCC115",
            subject.lifecycle.location,
            f"The state {node.name!r} does not fit its column {subject.lifecycle.column!r}, which holds {held}.",
            cure,
        )


def hidden_attributes(subject: Subject) -> Iterator[Finding]:
    """UCC116: a trigger that is called like something else of the class."""
    cls = subject.lifecycle.aggregate
    for trigger in subject.lifecycle.triggers:
        if inspect.getattr_static(cls, trigger, None) is None:
            continue
        edge = next(edge for edge in subject.graph.edges if edge.trigger == trigger)
        yield subject.finding(
            "UCC116",
            edge.location,
            f"The trigger {trigger!r} has the name of an attribute of {cls.__name__}: "
            f"who reads `{trigger}` can't know which of the two is meant.",
            "Rename the trigger or the attribute.",
        )
