"""UseCase: one business action, declared."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from difflib import get_close_matches
from functools import wraps
from types import new_class
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, TypeVar, get_args, get_origin, get_type_hints, overload

from usecasecore.context import ExecutionContext
from usecasecore.errors import DefinitionError, DomainError
from usecasecore.messages import Command, DomainEvent, Job, Result

__all__ = ["Load", "Scope", "UseCase", "type_arguments", "use_case"]

if TYPE_CHECKING:
    from sqlalchemy import Select

C = TypeVar("C", bound=Command[Any])
S = TypeVar("S")
R = TypeVar("R", bound=Result)


@dataclass(frozen=True, slots=True, init=False)
class Load:
    """Say how a field of a state class is loaded: `source: Annotated[Balance, Load(sku="sku", location="source")]`.

    Attributes:
        keys: Attribute of the aggregate's primary key -> field of the command.
        missing: What a missing row means: `refuse`, `create` or `none`.
    """

    keys: Mapping[str, str]
    missing: Literal["refuse", "create", "none"]

    def __init__(self, **keys: str) -> None:
        """Refuse the command where there is no such row."""
        object.__setattr__(self, "keys", keys)
        object.__setattr__(self, "missing", "refuse")

    @classmethod
    def or_create(cls, **keys: str) -> Load:
        """Create the row where there is none: by the class called with its key, in its initial state, at version 1."""
        return cls._with("create", keys)

    @classmethod
    def or_none(cls, **keys: str) -> Load:
        """Hand the use case None where there is no such row."""
        return cls._with("none", keys)

    @classmethod
    def _with(cls, missing: str, keys: Mapping[str, str]) -> Load:
        made = cls(**keys)
        object.__setattr__(made, "missing", missing)
        return made


@dataclass(frozen=True, slots=True, init=False)
class Scope:
    """What commands may decide on only one after the other, though they change different rows: `Scope("roster", "team_id")`.

    A row lock keeps a row as it was looked at, and nothing else: two doctors who each see that the other one is still on call may
    both go off call, for each of them changes a row of their own. Whoever names the same scope with the same values waits.

    Attributes:
        name: Of the scope, the same in all use cases that must exclude each other.
        fields: The fields of the command whose values tell one such scope from another; none for a single one.
    """

    name: str
    fields: tuple[str, ...]

    def __init__(self, name: str, *fields: str) -> None:
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "fields", fields)


class UseCase(ABC, Generic[C, S, R]):
    """One business action: `UseCase[command, what is loaded, result]`.

    What is loaded is a mapped class, whose row the command's `Key` fields name; or a frozen class of several, each field
    marked with `Load(...)`, locked in one order whatever the order written; or None. The runtime validates, loads and
    locks, asks the policy, fires the trigger, calls `apply`, writes the ledger and commits. The hooks below add to these
    steps and can't replace one. One instance serves all threads: keep what belongs to a command out of `self`.

    Attributes:
        name: Under which it is known: in the ledger, to policies, on the command line. By default the class name; choose
            it with care, as idempotency keys and audit entries refer to it.
        trigger: The trigger to fire, of a lifecycle of the loaded class.
        triggers: Where `choose_trigger` decides: all that it may choose from.
        lifecycle: The lifecycle's attribute on the class; needed only where several of them know the trigger.
        also_fires: Mapped class -> triggers that `apply` may fire by `context.fire`: on further loaded aggregates, or of further
            lifecycles of the same; `shipping.cancel` where several lifecycles of the class have the trigger.
        guards: The scopes that are locked before anything is loaded, for rules that are about more than the locked rows.
        creates: The mapped class of which `apply` creates at least one, through the context; or several such classes.
        deletes: The loaded class of which `apply` deletes at least one, through the context; or several such classes.
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
    also_fires: ClassVar[Mapping[type, tuple[str, ...]]] = {}
    guards: ClassVar[Sequence[Scope]] = ()
    creates: ClassVar[type | tuple[type, ...] | None] = None
    deletes: ClassVar[type | tuple[type, ...] | None] = None
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

    def select(self, command: C, /) -> Select[Any]:
        """Return the query that finds the row, where the command's fields don't hold its key. It is locked as it is read.

        Only for a single loaded class; no row is `AggregateNotFound`, several are a `WrongResult`.
        """
        raise NotImplementedError

    def choose_trigger(self, command: C, state: S, context: ExecutionContext, /) -> str:
        """Return which of `triggers` to fire, from the command and the locked aggregate. Asked after the policy."""
        raise NotImplementedError(f"{type(self).__name__} declares `triggers`: write `choose_trigger` too")

    def audit(self, command: C, state: S, context: ExecutionContext, /) -> Mapping[str, Any]:
        """Return further detail for the audit entry, as JSON values. Asked after `apply`."""
        return {}


@overload
def use_case(state: type[S], /, **declared: Any) -> Callable[[Callable[[C, S, ExecutionContext], R]], type[UseCase[C, S, R]]]: ...
@overload
def use_case(
    state: None = None, /, **declared: Any
) -> Callable[[Callable[[C, None, ExecutionContext], R]], type[UseCase[C, None, R]]]: ...
def use_case(state: Any = None, /, **declared: Any) -> Any:
    """Make a use case of a function, which becomes its `apply`: `@use_case(Order, trigger="submit")`.

    The command and the result are read from the function's annotations, the name is the function's.

    Args:
        state: What is loaded: a mapped class, a class of `Load` fields, or None.
        declared: What a `UseCase` declares: `trigger`, `emits`, `refuses`, ..., and `name`.

    Raises:
        DefinitionError: If an annotation is missing or can't be read, or a name is none that a `UseCase` declares.
    """
    known = {name for name in UseCase.__annotations__ if not name.startswith("_")}
    for name in declared:
        if name not in known:
            near = get_close_matches(name, sorted(known), 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise DefinitionError(f"use_case(): a use case declares no {name!r}{hint} (known: {', '.join(sorted(known))})")

    def decorate(function: Callable[..., Any]) -> type[UseCase[Any, Any, Any]]:
        command, result = _annotated(function)

        @wraps(function)
        def apply(self: Any, command: Any, state: Any, context: ExecutionContext, /) -> Any:
            return function(command, state, context)

        body = {
            "name": function.__name__,
            **declared,
            "apply": apply,
            "__doc__": function.__doc__,
            "__module__": function.__module__,
        }
        generic: Any = UseCase
        base = generic[command, state, result]
        made: type[UseCase[Any, Any, Any]] = new_class(function.__name__, (base,), {}, lambda one: one.update(body))
        return made

    return decorate


def _annotated(function: Callable[..., Any]) -> tuple[Any, Any]:
    try:
        hints = get_type_hints(function)
    except NameError as error:
        raise DefinitionError(f"{function.__name__}: its annotations can't be read: {error}") from error
    parameters = list(inspect.signature(function).parameters)
    if len(parameters) != 3:
        raise DefinitionError(
            f"{function.__name__} takes {len(parameters)} arguments; (command, what is loaded, context) are given"
        )
    if parameters[0] not in hints or "return" not in hints:
        raise DefinitionError(f"{function.__name__}: annotate its command and its result; they say what it takes and returns")
    return hints[parameters[0]], hints["return"]


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
