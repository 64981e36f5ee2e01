"""Who may do what: the question that the runtime asks on the locked aggregate, before anything is fired."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

from usecasecore.context import Actor, ExecutionContext
from usecasecore.messages import Command

__all__ = ["AllowAll", "Decision", "Policy", "PolicyRequest"]


@dataclass(frozen=True, slots=True)
class Decision:
    """An answer of a policy.

    Attributes:
        allowed: The answer.
        reason: Why, for the refusal and the attempt log; never shown for what the actor may not read.
    """

    allowed: bool
    reason: str = ""

    @classmethod
    def allow(cls, reason: str = "") -> Decision:
        """Return a yes."""
        return cls(True, reason)

    @classmethod
    def deny(cls, reason: str = "") -> Decision:
        """Return a no."""
        return cls(False, reason)

    def __bool__(self) -> bool:
        return self.allowed


@dataclass(frozen=True, slots=True, init=False)
class PolicyRequest:
    """What a policy decides on.

    Attributes:
        actor: Who asks.
        permission: What the use case asks for: its `permission`, by default its name.
        use_case: Name of the use case.
        command: The validated command.
        aggregate: The loaded, locked aggregate; None for a creation or where nothing is loaded.
        context: The execution's context; its session reads roles and relationships in the same transaction.
    """

    actor: Actor
    permission: str
    use_case: str
    command: Command[Any]
    aggregate: Any
    context: ExecutionContext

    def __init__(
        self, actor: Actor, permission: str, use_case: str, command: Command[Any], aggregate: Any, context: ExecutionContext
    ) -> None:
        # As in `Outcome`.
        _set_actor(self, actor)
        _set_permission(self, permission)
        _set_use_case(self, use_case)
        _set_command(self, command)
        _set_aggregate(self, aggregate)
        _set_context(self, context)


_set_actor, _set_permission, _set_use_case, _set_command, _set_aggregate, _set_context = (
    vars(PolicyRequest)[name].__set__ for name in ("actor", "permission", "use_case", "command", "aggregate", "context")
)


class Policy(ABC):
    """Decides who may see and who may do. Deny is the default: an exception, None or anything but a yes is a no."""

    def readable(self, request: PolicyRequest, /) -> Decision | bool:
        """May the actor know that the aggregate exists? A no looks to the caller as if there were none.

        Asked first, and only where an aggregate was loaded. The default is yes: `permitted` then decides, openly.
        """
        return True

    @abstractmethod
    def permitted(self, request: PolicyRequest, /) -> Decision | bool:
        """May the actor do this, now, to the aggregate as it is?"""


class AllowAll(Policy):
    """Everybody may do everything: for demos, tests, and services that decide elsewhere."""

    def permitted(self, request: PolicyRequest, /) -> Decision:
        """Return a yes."""
        return Decision.allow()
