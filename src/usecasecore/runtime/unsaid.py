"""What policies, `choose_trigger` and guards get to see before there is a command.

Whoever looks at what the caller has not said yet is stopped, see `lifecycle.absent`.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any
from uuid import UUID

from usecasecore.context import Actor, ExecutionContext
from usecasecore.lifecycle.absent import Absent
from usecasecore.messages import Command
from usecasecore.policy import PolicyRequest
from usecasecore.runtime.plan import Plan
from usecasecore.runtime.reading import OnlyAsked, ReadingSession

__all__ = ["UnsaidCommand", "UnsaidContext", "UnsaidRequest"]

_OF_THE_CALL = frozenset({"command_id", "key", "reason", "request_id", "correlation_id", "causation_id"})


class UnsaidCommand:
    """Stands for the command that isn't there."""

    __slots__ = ("_absent",)

    def __init__(self, absent: Absent) -> None:
        object.__setattr__(self, "_absent", absent)

    def __getattribute__(self, name: str) -> Any:
        _look(self)

    # Python looks these up on the type, past the one above.
    def __eq__(self, other: object) -> bool:
        _look(self)
        return False

    def __hash__(self) -> int:
        _look(self)
        return 0

    def __bool__(self) -> bool:
        _look(self)
        return True

    def __iter__(self) -> Iterator[Any]:
        _look(self)
        return iter(())

    def __repr__(self) -> str:
        _look(self)
        return ""


def _look(command: UnsaidCommand) -> None:
    object.__getattribute__(command, "_absent").needed()


class UnsaidContext(ExecutionContext):
    """A context that knows who asks, when and through which session, and nothing that comes with a command."""

    __slots__ = ("_absent",)

    _absent: Absent

    @classmethod
    def of(cls, plan: Plan, actor: Actor, now: datetime, session: ReadingSession, absent: Absent) -> UnsaidContext:
        """Return the context for one use case."""
        context = cls(
            actor=actor,
            use_case=plan.name,
            command_id=UUID(int=0),
            key="",
            now=now,
            session=session,
            correlation_id="",
            _doings=OnlyAsked(session, None),
        )
        context._absent = absent
        return context

    def __getattribute__(self, name: str) -> Any:
        if name in _OF_THE_CALL:
            object.__getattribute__(self, "_absent").needed()
        return object.__getattribute__(self, name)


class UnsaidRequest(PolicyRequest):
    """A request whose command isn't there, or what it loads, or both."""

    __slots__ = ("_absent", "_unsaid")

    @classmethod
    def of(
        cls, plan: Plan, command: Command[Any] | None, aggregate: Any, context: UnsaidContext, absent: Absent, *, loaded: bool
    ) -> UnsaidRequest:
        """Return the request for one use case.

        Args:
            plan: Of the use case.
            command: The command; None where it isn't there.
            aggregate: What was loaded.
            context: The context.
            absent: Is told of each look at what isn't there.
            loaded: False where the aggregate isn't all that the use case loads.
        """
        given: Any = command
        request = cls(context.actor, plan.permission, plan.name, given, aggregate, context)
        unsaid = {name for name, there in (("command", command is not None), ("aggregate", loaded)) if not there}
        object.__setattr__(request, "_absent", absent)
        object.__setattr__(request, "_unsaid", frozenset(unsaid))
        return request

    def __getattribute__(self, name: str) -> Any:
        if name in ("command", "aggregate") and name in object.__getattribute__(self, "_unsaid"):
            object.__getattribute__(self, "_absent").needed()
        return object.__getattribute__(self, name)
