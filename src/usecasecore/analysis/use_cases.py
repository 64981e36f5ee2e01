"""Which use cases of an application move a lifecycle."""

from __future__ import annotations

from usecasecore.analysis.paths import Walk
from usecasecore.application import Application
from usecasecore.lifecycle import Lifecycle

__all__ = ["creators", "firing", "told"]


def creators(application: Application, lifecycle: Lifecycle) -> tuple[str, ...]:
    """Return the names of the use cases that create aggregates of the lifecycle, those by `Load.or_create` included."""
    found = []
    for one in application.registrations:
        made = (*one.creates, *(slot.aggregate for slot in one.slots if slot.missing == "create"))
        if any(issubclass(lifecycle.aggregate, cls) for cls in made):
            found.append(one.name)
    return tuple(found)


def firing(application: Application, lifecycle: Lifecycle) -> dict[str, tuple[str, ...]]:
    """Return each trigger of the lifecycle -> the names of the use cases that may fire it, in the order given."""
    found: dict[str, list[str]] = {trigger: [] for trigger in lifecycle.triggers}
    for one in application.registrations:
        for moved, triggers in one.fires.items():
            # A use case of a base class also handles instances of its subclasses.
            if moved.attribute == lifecycle.attribute and issubclass(lifecycle.aggregate, moved.aggregate):
                for trigger in triggers:
                    if trigger in found:
                        found[trigger].append(one.name)
    return {trigger: tuple(names) for trigger, names in found.items()}


def told(walk: Walk, application: Application, lifecycle: Lifecycle) -> tuple[tuple[str, ...], ...]:
    """Return a walk as use cases: those that create, and then for each step those that may fire it; empty where there is none."""
    by_trigger = firing(application, lifecycle)
    return (creators(application, lifecycle), *(by_trigger[step.trigger] for step in walk.steps))
