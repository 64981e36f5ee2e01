"""Checks of what goes in and out: commands, events and jobs."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any, get_args

from usecasecore.analysis.finding import Finding
from usecasecore.analysis.source import sent_names
from usecasecore.analysis.subject import lifecycle_of, location_of
from usecasecore.application import Application
from usecasecore.context import Actor
from usecasecore.messages import DomainEvent, Job, key_fields
from usecasecore.registration import Registration

__all__ = ["actors_in_commands", "unsent"]

_WHO = ("actor", "user", "principal", "caller", "tenant", "impersonator", "initiator", "performer", "operator", "executor")
_ACTORS = frozenset(
    {
        f"{kind}{who}{ending}"
        for who in _WHO
        for kind in ("", "current_", "acting_", "calling_")
        for ending in ("", "_id", "_name")
    }
    | {"on_behalf_of", "acting_as", "performed_by", "executed_by", "requested_by", "triggered_by", "initiated_by"}
    | {"created_by", "updated_by", "changed_by", "modified_by", "deleted_by", "submitted_by", "approved_by", "cancelled_by"}
)


def actors_in_commands(application: Application) -> Iterator[Finding]:
    """UCC117: a field of a command by which a caller could say who it is. A field that is a key names an aggregate."""
    for one in application.registrations:
        keys = set(key_fields(one.command)) | set(one.keys.values())
        keys |= {field for slot in one.slots for field in slot.keys.values()}
        for name, info in one.command.model_fields.items():
            if name not in keys and (name in _ACTORS or _mentions_actor(info.annotation)):
                yield Finding(
                    "UCC117",
                    lifecycle_of(one),
                    location_of(one.command),
                    f"The field {name!r} of {one.command.__name__} looks like the actor, whom a caller must not be able to choose.",
                    "Take it from `context.actor`; a field that means somebody else wants a name that says so.",
                )


def _mentions_actor(annotation: Any) -> bool:
    return annotation is Actor or any(_mentions_actor(inner) for inner in get_args(annotation))


def unsent(application: Application) -> Iterator[Finding]:
    """UCC112: an event or a job that stands beside the use cases, and that none of them sends."""
    registrations = application.registrations
    declared = {message for one in registrations for message in one.messages}
    for message in sorted(_known(application) | declared, key=lambda message: (message.__module__, message.__qualname__)):
        declaring = [one for one in registrations if message in one.messages]
        if any(_may_send(one, message) for one in declaring):
            continue
        kind, verb = ("event", "emits") if issubclass(message, DomainEvent) else ("job", "enqueues")
        if declaring:
            names = " and ".join(one.name for one in declaring)
            cause = f"The {kind} {message.__name__} is declared by {names}, whose `apply` never {verb} it."
        else:
            cause = f"No use case {verb} the {kind} {message.__name__}."
        yield Finding(
            "UCC112",
            lifecycle_of(declaring[0]) if declaring else None,
            location_of(message),
            cause,
            f"Send it by `context.{'emit' if kind == 'event' else 'enqueue'}`, and list it in `{verb}`; or leave it out.",
        )


def _may_send(one: Registration, message: type) -> bool:
    names = sent_names(one.use_case)
    return names is None or message.__name__ in names


def _known(application: Application) -> set[Any]:
    """Return the events and jobs in the modules of the application, and in the packages of its use cases."""
    modules, packages = set(), set()
    for one in application.registrations:
        own = type(one.use_case).__module__
        modules |= {own, one.command.__module__, one.result.__module__, *(message.__module__ for message in one.messages)}
        modules |= {cls.__module__ for cls in one.aggregates}
        if package := own.rpartition(".")[0]:
            packages.add(f"{package}.")
    bases: tuple[type, ...] = (DomainEvent, Job)
    every = {kind for base in bases for kind in _leaves(base) if _is_current(kind)}
    return {kind for kind in every if kind.__module__ in modules or kind.__module__.startswith(tuple(packages))}


def _is_current(kind: type) -> bool:
    """Return whether the module still has it: not one from before a reload, nor one made inside of a function."""
    return getattr(sys.modules.get(kind.__module__), kind.__name__, None) is kind


def _leaves(base: Any) -> Iterator[Any]:
    """Yield the subclasses that nothing is derived from: the others are there to be derived from."""
    for kind in base.__subclasses__():
        if kind.__subclasses__():
            yield from _leaves(kind)
        else:
            yield kind
