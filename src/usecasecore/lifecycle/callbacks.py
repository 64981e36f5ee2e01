"""Guards and callbacks, resolved and adapted once, when their class is mapped.

How it works: pytransitions looks a name up at each call, first on the model, then as an import path, and passes its
event. Here all of that is settled beforehand, so that a wrong name is found at import and a call costs one function.
What a callback takes decides what it gets: a method `()` or `(event)`; anything else `()`, `(aggregate)`,
`(aggregate, event)`, or `(event)` if its only parameter is called `event` or `event_data` or is annotated as EventData.
"""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from inspect import Parameter
from types import FunctionType
from typing import Any, TypeAlias

from usecasecore.lifecycle.wording import nearest

__all__ = ["Call", "Callback", "resolve"]

# Takes pytransitions' EventData, which only `machine` knows.
Call: TypeAlias = "Callable[[Any], Any]"

_POSITIONAL = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
_EVENT_NAMES = ("event", "event_data", "_event", "_event_data")


@dataclass(frozen=True, slots=True)
class Callback:
    """A callback that is ready to be called with pytransitions' event.

    Attributes:
        name: As declared; a callable's own name.
        call: Takes the event; returns what the callback returns.
        takes_event: Whether the callback gets to see the event; others are called with its `model` at most.
        function: What carries the reason and the docstring; None for a mapped attribute.
    """

    name: str
    call: Call
    takes_event: bool
    function: object = None


def resolve(cls: type, declared: object) -> Callback:
    """Return the callback that a name, a dotted path or a callable means for instances of `cls`.

    Raises:
        LookupError: If there is no such thing, or if it can't be called here; the message says what is wrong.
    """
    if isinstance(declared, str):
        return _named(cls, declared)
    function = _unwrapped(declared)
    if not callable(function):
        raise LookupError(f"{declared!r} is neither a name nor callable")
    name = getattr(function, "__name__", type(function).__name__)
    return Callback(name, *_free_call(name, function), function)


def _named(cls: type, name: str) -> Callback:
    try:
        found = inspect.getattr_static(cls, name)
    except AttributeError:
        if "." not in name:
            known = (each for each in dir(cls) if not each.startswith("_"))
            raise LookupError(f"{cls.__name__} has no {name!r}{nearest(name, known)}") from None
        function = _imported(name)
        return Callback(name, *_free_call(name, function), function)
    if isinstance(found, staticmethod):
        return Callback(name, *_free_call(name, found.__func__), found.__func__)
    if isinstance(found, FunctionType):
        return Callback(name, *_method_call(name, found, skip=1), found)
    bound = getattr(cls, name, None)
    if callable(bound) and hasattr(found, "__get__"):
        return Callback(name, *_method_call(name, bound, skip=0), _unwrapped(found))
    if callable(found):
        return Callback(name, *_free_call(name, found), found)
    return Callback(name, _attribute_call(name), False, _unwrapped(found))


def _unwrapped(declared: Any) -> Any:
    """Return the function inside a property, a static method or a hybrid: the thing that carries the docstring."""
    if isinstance(declared, functools.partial):
        return declared
    for attribute in ("fget", "func", "__func__"):
        inner = getattr(declared, attribute, None)
        if isinstance(inner, FunctionType):
            return inner
    return declared


def _imported(path: str) -> Any:
    parts = path.split(".")
    for cut in range(len(parts) - 1, 0, -1):
        module = ".".join(parts[:cut])
        try:
            found: Any = importlib.import_module(module)
        except ModuleNotFoundError as error:
            if error.name is not None and (module == error.name or module.startswith(f"{error.name}.")):
                continue
            raise LookupError(f"{path!r} can't be imported: {error}") from error
        except ImportError as error:
            raise LookupError(f"{path!r} can't be imported: {error}") from error
        for part in parts[cut:]:
            if not hasattr(found, part):
                raise LookupError(f"{module!r} has no {part!r}{nearest(part, vars(found))}")
            found = getattr(found, part)
        if not callable(found):
            raise LookupError(f"{path!r} is not callable")
        return found
    raise LookupError(f"there is no module {parts[0]!r} to import {path!r} from")


def _attribute_call(name: str) -> Call:
    return lambda event: getattr(event.model, name)


def _method_call(name: str, function: Callable[..., Any], *, skip: int) -> tuple[Call, bool]:
    required, optional = _parameters(name, function, skip)
    if len(required) > 1:
        raise LookupError(f"{name!r} takes {len(required)} arguments; a method gets at most the event")
    if required or _wants_event(optional[:1]):
        return (lambda event: getattr(event.model, name)(event)), True
    return (lambda event: getattr(event.model, name)()), False


def _free_call(name: str, function: Callable[..., Any]) -> tuple[Call, bool]:
    required, optional = _parameters(name, function, 0)
    taken = required + optional
    if len(required) > 2:
        raise LookupError(f"{name!r} takes {len(required)} arguments; it gets at most the aggregate and the event")
    if len(required) == 2 or (taken and not _wants_event(taken[:1]) and _wants_event(taken[1:2])):
        return (lambda event: function(event.model, event)), True
    if _wants_event(taken[:1]):
        return (lambda event: function(event)), True
    if required or _is_open(taken):
        return (lambda event: function(event.model)), False
    return (lambda event: function()), False


def _parameters(name: str, function: Callable[..., Any], skip: int) -> tuple[list[Parameter], list[Parameter]]:
    """Return the parameters that must and those that may be given by position."""
    if _is_coroutine(function):
        raise LookupError(
            f"{name!r} is a coroutine function; guards and callbacks are plain functions, for they run inside the transaction"
        )
    try:
        parameters = list(inspect.signature(function).parameters.values())[skip:]
    except ValueError:  # some builtins have no signature: take them for functions of the aggregate
        return [Parameter("aggregate", Parameter.POSITIONAL_ONLY)], []
    unfilled = [each.name for each in parameters if each.kind is Parameter.KEYWORD_ONLY and each.default is Parameter.empty]
    if unfilled:
        raise LookupError(f"{name!r} needs the keyword {', '.join(unfilled)}, which nobody gives")
    required = [each for each in parameters if each.kind in _POSITIONAL and each.default is Parameter.empty]
    optional = [each for each in parameters if each not in required and each.kind in (*_POSITIONAL, Parameter.VAR_POSITIONAL)]
    return required, optional


def _is_coroutine(function: Any) -> bool:
    is_plain = inspect.isroutine(function) or isinstance(function, functools.partial)
    called = function if is_plain else type(function).__call__
    return inspect.iscoroutinefunction(called) or inspect.isasyncgenfunction(called)


def _wants_event(parameters: Iterable[Parameter]) -> bool:
    return any(_means_event(each) for each in parameters)


def _means_event(parameter: Parameter) -> bool:
    annotation = parameter.annotation
    annotated = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", "")
    return parameter.name in _EVENT_NAMES or annotated.rpartition(".")[2] == "EventData"


def _is_open(parameters: list[Parameter]) -> bool:
    return bool(parameters) and parameters[0].kind is Parameter.VAR_POSITIONAL
