"""Guards: yes/no questions about an aggregate, and the reasons they give for a no."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from usecasecore.errors import DefinitionError
from usecasecore.lifecycle.callbacks import Call, Callback

__all__ = ["Guard", "given_reason", "guard", "refuse_awaitable"]

_F = TypeVar("_F")
_REASON = "__usecasecore_reason__"


def guard(reason: str, /) -> Callable[[_F], _F]:
    """Give a guard the reason that a refusal carries: what is true when the guard refuses.

    For methods, functions, static methods, and on top of `@property`. A guard without it is refused with the first
    line of its docstring, or with its name.

    Raises:
        DefinitionError: If the reason is empty, or if what is decorated is not a function.

    Example:
        >>> @guard("an order must be worth something before it is submitted")
        ... def has_value(order): ...
    """
    given: object = reason
    if not isinstance(given, str) or not given.strip():
        raise DefinitionError('a guard needs its reason: @guard("an order must be worth something")')

    def give_reason(function: _F) -> _F:
        target = getattr(function, "fget", None) or getattr(function, "__func__", function)
        try:
            setattr(target, _REASON, reason)
        except AttributeError:
            raise DefinitionError(f"@guard({reason!r}) is for functions and properties, not for {function!r}") from None
        return function

    return give_reason


def given_reason(function: object) -> str | None:
    """Return the reason that a function, or what wraps one, was given by `@guard`; None if it was given none."""
    target = getattr(function, "fget", None) or getattr(function, "__func__", function)
    given = getattr(target, _REASON, None)
    return given if isinstance(given, str) else None


class Guard:
    """A resolved guard in the role it has for one transition.

    Attributes:
        name: As declared.
        reason: What a refusal by it says.
        takes_event: Whether it gets to see more than the aggregate.
        wanted: The answer that lets the transition through: True under `conditions`, False under `unless`.
        function: What is asked; None for a mapped attribute.
        ask: Asks it, and returns its answer as it is.
    """

    __slots__ = ("ask", "function", "name", "reason", "takes_event", "wanted")

    def __init__(self, callback: Callback, *, wanted: bool) -> None:
        self.name, self.wanted, self.function = callback.name, wanted, callback.function
        self.reason = _reason_of(callback) or f"{callback.name!r} is {'not true' if wanted else 'true'}"
        self.takes_event = callback.takes_event
        self.ask: Call = callback.call

    def __call__(self, event: Any) -> bool:
        """Return whether the transition may go on.

        Raises:
            TypeError: If the guard returned something to be awaited.
        """
        return self.passes(self.ask(event))

    def passes(self, answer: Any) -> bool:
        """Return whether the transition may go on after an answer.

        Raises:
            TypeError: If it is something to be awaited.
        """
        if answer is True or answer is False:
            return answer is self.wanted
        refuse_awaitable(self.name, answer)
        return bool(answer) is self.wanted

    def __repr__(self) -> str:
        return self.name


def refuse_awaitable(name: str, answer: Any) -> None:
    """Stop an async function that hides behind a plain one: nobody would await it, and as a guard it would say yes.

    Raises:
        TypeError: If `answer` is awaitable.
    """
    if inspect.isawaitable(answer):
        if inspect.iscoroutine(answer):
            answer.close()
        raise TypeError(
            f"{name!r} returned {type(answer).__name__!r}, which must be awaited; guards and callbacks are plain functions"
        )


def _reason_of(callback: Callback) -> str:
    function = callback.function
    given = given_reason(function)
    if given is not None:
        return given
    return (inspect.getdoc(function) or "").strip().partition("\n")[0] if inspect.isroutine(function) else ""
