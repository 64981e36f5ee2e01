"""usecasecore: every business action is one typed command, run by one shell, in one transaction, with one typed result.

The names below are loaded when they are first used, so that the command line and the pytest plugin start without
SQLAlchemy and pydantic. Errors are in `usecasecore.errors`.
"""

from __future__ import annotations

from importlib import import_module
from os import environ
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from usecasecore.application import Application
    from usecasecore.context import Actor, Clock, ExecutionContext, Outcome
    from usecasecore.errors import Conflict, DefinitionError, DomainError, Rejected, StoreError, UseCaseError
    from usecasecore.ids import uuid7
    from usecasecore.lifecycle import Lifecycle, Transition, guard, state_column, unprotected, version_column
    from usecasecore.messages import Command, CommandBody, DomainEvent, Job, Key, Personal, Result, Sensitive
    from usecasecore.policy import AllowAll, Decision, Policy, PolicyRequest
    from usecasecore.runtime import Limits, Runtime
    from usecasecore.runtime.asynchronous import AsyncRuntime
    from usecasecore.runtime.explanation import Action, Actions, Explanation, Possibility
    from usecasecore.runtime.transaction import Transaction
    from usecasecore.tenancy import Tenancy
    from usecasecore.upcasts import Upcast
    from usecasecore.usecase import Load, Scope, UseCase, use_case

__all__ = [
    "Action",
    "Actions",
    "Actor",
    "AllowAll",
    "Application",
    "AsyncRuntime",
    "Clock",
    "Command",
    "CommandBody",
    "Conflict",
    "Decision",
    "DefinitionError",
    "DomainError",
    "DomainEvent",
    "ExecutionContext",
    "Explanation",
    "Job",
    "Key",
    "Lifecycle",
    "Limits",
    "Load",
    "Outcome",
    "Personal",
    "Policy",
    "PolicyRequest",
    "Possibility",
    "Rejected",
    "Result",
    "Runtime",
    "Scope",
    "Sensitive",
    "StoreError",
    "Tenancy",
    "Transaction",
    "Transition",
    "Upcast",
    "UseCase",
    "UseCaseError",
    "guard",
    "state_column",
    "unprotected",
    "use_case",
    "uuid7",
    "version_column",
]

_HOMES = {
    "application": ("Application",),
    "context": ("Actor", "Clock", "ExecutionContext", "Outcome"),
    "errors": ("Conflict", "DefinitionError", "DomainError", "Rejected", "StoreError", "UseCaseError"),
    "ids": ("uuid7",),
    "lifecycle": ("Lifecycle", "Transition", "guard", "state_column", "unprotected", "version_column"),
    "messages": ("Command", "CommandBody", "DomainEvent", "Job", "Key", "Personal", "Result", "Sensitive"),
    "policy": ("AllowAll", "Decision", "Policy", "PolicyRequest"),
    "runtime": ("Limits", "Runtime"),
    "runtime.asynchronous": ("AsyncRuntime",),
    "runtime.explanation": ("Action", "Actions", "Explanation", "Possibility"),
    "runtime.transaction": ("Transaction",),
    "tenancy": ("Tenancy",),
    "usecase": ("Load", "Scope", "UseCase", "use_case"),
    "upcasts": ("Upcast",),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    module = _HOME_OF.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{module}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


# A process that a test started, in a run that wants to know which transitions were taken.
if "USECASECORE_COVERAGE" in environ:
    import_module(".coverage.children", __name__).start()
