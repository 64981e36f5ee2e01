"""UseCase: one business action, declared."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, ClassVar, Generic, TypeVar, get_args, get_origin

from usecasecore.context import ExecutionContext
from usecasecore.errors import DomainError
from usecasecore.messages import Command, DomainEvent, Job, Result

__all__ = ["UseCase", "type_arguments"]

C = TypeVar("C", bound=Command[Any])
S = TypeVar("S")
R = TypeVar("R", bound=Result)


class UseCase(ABC, Generic[C, S, R]):
    """One business action: `UseCase[command, what is loaded, result]`.

    What is loaded is a mapped class, whose row the command's `Key` fields name, or None. The runtime validates, loads and
    locks, asks the policy, fires the trigger, calls `apply`, writes the ledger and commits. The hooks below add to these
    steps and can't replace one. One instance serves all threads: keep what belongs to a command out of `self`.

    Attributes:
        name: Under which it is known: in the ledger, to policies, on the command line. By default the class name; choose
            it with care, as idempotency keys and audit entries refer to it.
        trigger: The trigger to fire, of a lifecycle of the loaded class.
        triggers: Where `choose_trigger` decides: all that it may choose from.
        lifecycle: The lifecycle's attribute on the class; needed only where several of them know the trigger.
        creates: The mapped class of which `apply` creates at least one, through the context.
        emits: The events that `apply` may emit.
        enqueues: The jobs that `apply` may enqueue.
        refuses: The domain errors that `apply` and `validate` may raise.
        permission: What the policy is asked for; by default the name.
        reason_required: Whether the caller has to say why.
        keep_results: How long the result is replayed to the same idempotency key.
    """

    name: ClassVar[str] = ""
    trigger: ClassVar[str | None] = None
    triggers: ClassVar[tuple[str, ...]] = ()
    lifecycle: ClassVar[str | None] = None
    creates: ClassVar[type | None] = None
    emits: ClassVar[tuple[type[DomainEvent], ...]] = ()
    enqueues: ClassVar[tuple[type[Job], ...]] = ()
    refuses: ClassVar[tuple[type[DomainError], ...]] = ()
    permission: ClassVar[str] = ""
    reason_required: ClassVar[bool] = False
    keep_results: ClassVar[timedelta] = timedelta(hours=72)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "name" not in cls.__dict__:
            cls.name = cls.__name__

    @abstractmethod
    def apply(self, command: C, state: S, context: ExecutionContext, /) -> R:
        """Change what was loaded, and say what came of it.

        Runs in the transaction, after the trigger was fired, with autoflush off. It may be run again from the start after
        a deadlock, so it does no input or output of its own: that belongs in jobs. Whatever it raises, nothing is kept.
        """

    def validate(self, command: C, /) -> None:
        """Refuse what the command's own fields give away, before any trip to the database.

        Raises:
            DomainError: One of `refuses`.
        """

    def choose_trigger(self, command: C, state: S, context: ExecutionContext, /) -> str:
        """Return which of `triggers` to fire, from the command and the locked aggregate. Asked after the policy."""
        raise NotImplementedError(f"{type(self).__name__} declares `triggers`: write `choose_trigger` too")

    def audit(self, command: C, state: S, context: ExecutionContext, /) -> Mapping[str, Any]:
        """Return further detail for the audit entry, as JSON values. Asked after `apply`."""
        return {}


def type_arguments(use_case: type[UseCase[Any, Any, Any]]) -> tuple[Any, Any, Any] | None:
    """Return the (C, S, R) that a class gives to `UseCase`, through generic bases in between; None where it gives none."""
    return _arguments(use_case, {})


def _arguments(cls: type, known: dict[Any, Any]) -> tuple[Any, Any, Any] | None:
    for base in getattr(cls, "__orig_bases__", ()):
        origin = get_origin(base)
        if not (isinstance(origin, type) and issubclass(origin, UseCase)):
            continue
        given = tuple(known.get(argument, argument) for argument in get_args(base))
        if origin is UseCase:
            command, state, result = given
            return command, state, result
        names: tuple[Any, ...] = getattr(origin, "__parameters__", ())
        return _arguments(origin, dict(zip(names, given, strict=True)))
    for base in cls.__bases__:
        if base is not UseCase and issubclass(base, UseCase) and (found := _arguments(base, known)):
            return found
    return None
