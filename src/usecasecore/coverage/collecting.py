"""From what a recorder counted to data: which lifecycles there are, and which of them are asked for."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

from usecasecore.application import Application
from usecasecore.coverage.data import CoverageData, CoverageError
from usecasecore.coverage.declared import declared_of
from usecasecore.coverage.recorder import Recorder
from usecasecore.coverage.settings import Settings
from usecasecore.lifecycle import Lifecycle

__all__ = ["applications_of", "collected"]


def applications_of(settings: Settings) -> list[Application]:
    """Import the applications that the settings name.

    Raises:
        CoverageError: If there is no such thing.
    """
    if settings.apps and str(settings.root) not in sys.path:
        sys.path.append(str(settings.root))
    return [_application(reference) for reference in settings.apps]


def collected(recorder: Recorder, settings: Settings, applications: Iterable[Application]) -> CoverageData:
    """Return what was counted, for the lifecycles that count.

    With applications these are their lifecycles, whether or not a test touched them. Without, they are those of every
    application of which a command ran, and every lifecycle on which something was fired, but for those of classes that
    were made inside of a function: a test's own, and there may be many of one name.
    """
    applications = list(applications)
    seen = list(recorder.applications.values())
    data = CoverageData(complete=bool(applications))
    chosen = _lifecycles(applications) if applications else _lifecycles(seen, recorder)
    keys: dict[Lifecycle, tuple[str, str]] = {}
    for lifecycle in chosen:
        declared = declared_of(lifecycle, [*applications, *seen], settings.root) if settings.wants(lifecycle.name) else None
        if declared is not None:
            declared = declared.without(partial(settings.leaves_out, lifecycle.name))
            data.declare(declared)
            keys[lifecycle] = declared.key
    for (lifecycle, fact, test), count in list(recorder.hits.items()):
        if lifecycle in keys:
            data.lifecycles[keys[lifecycle]].hits[fact, test] += count
    return data


def _lifecycles(applications: Iterable[Application], recorder: Recorder | None = None) -> Iterator[Lifecycle]:
    found = [lifecycle for application in applications for lifecycle in application.lifecycles.values()]
    fired = [lifecycle for lifecycle, _, _ in list(recorder.hits)] if recorder else []
    for lifecycle in dict.fromkeys([*found, *fired]):
        if recorder is None or "<locals>" not in lifecycle.aggregate.__qualname__:
            yield lifecycle


def _application(reference: str) -> Application:
    module_name, _, attribute = reference.partition(":")
    hint = "write it as module:attribute, for example shop.app:app"
    if not module_name or not attribute:
        raise CoverageError(f"{reference!r} doesn't name an application", hint=hint)
    try:
        value: Any = importlib.import_module(module_name)
        for part in attribute.split("."):
            value = getattr(value, part)
    except (ImportError, AttributeError) as error:
        raise CoverageError(f"the application {reference!r} can't be imported: {error}", hint=hint) from error
    if callable(value) and not isinstance(value, Application) and not hasattr(value, "application"):
        value = value()
    value = getattr(value, "application", value)
    if not isinstance(value, Application):
        raise CoverageError(
            f"{reference!r} is of type {type(value).__name__}, and neither an Application nor a Runtime", hint=hint
        )
    return value
