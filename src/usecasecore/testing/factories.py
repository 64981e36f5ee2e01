"""Commands for tests: by the test's own factories, else made up from the types of their fields."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeAlias, Union, get_args, get_origin
from uuid import UUID

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from usecasecore.ids import uuid7
from usecasecore.messages import Command
from usecasecore.registration import Registration

__all__ = ["Factories", "NoFactory", "make_commands"]

Factories: TypeAlias = Mapping[Any, Callable[..., Any]]
"""A command's class, or its use case's name -> what makes the command of its key fields, given as keyword arguments.

It returns the command, or a dict of its fields, or a list of commands of which this one is the last: what has to be done before.
"""

_count = itertools.count(1)


class NoFactory(LookupError):
    """A command can't be made up: its factory is missing.

    Attributes:
        command: Name of its class.
        field: The field that no value is known for; None where it is none in particular.
    """

    def __init__(self, command: str, field: str | None, why: str, keys: Iterable[str]) -> None:
        self.command, self.field = command, field
        self._said = (command, field, why, tuple(keys))
        arguments = ", ".join(keys)
        what = f"its field {field!r} {why}" if field else why
        example = f"{{{command}: lambda {arguments}: {command}({''.join(f'{one}={one}, ' for one in keys)}...)}}"
        super().__init__(
            f"{command} can't be made up: {what}; give a factory for it, in the fixture `usecasecore_factories`: "
            f"{example.replace('lambda :', 'lambda:')}"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return NoFactory, self._said


class _Unknown(Exception):
    """No value is known for a type."""


def make_commands(
    registration: Registration, factories: Factories, keys: Mapping[str, Any], given: Mapping[str, Any] | None = None
) -> tuple[Command[Any], ...]:
    """Return a command of a use case, after those that its factory wants to be run before it.

    Args:
        registration: Of the use case.
        factories: Those of the test.
        keys: The fields that name the aggregate, with their values.
        given: Further fields that the test has set; they win.

    Raises:
        NoFactory: If a required field has no value that could be made up, or what was made up is not valid.
        TypeError: If a factory returns something else.
    """
    command = registration.command
    more = dict(given or {})
    factory = factories.get(command, factories.get(registration.name))
    if factory is None:
        return (_made_up(command, {**keys, **more}, tuple(keys)),)
    made = factory(**keys)
    if isinstance(made, Mapping):
        return (_made_up(command, {**made, **keys, **more}, tuple(keys)),)
    before: list[Command[Any]] = []
    if isinstance(made, list | tuple) and made and all(isinstance(one, Command) for one in made):
        *before, made = made
    if not isinstance(made, command):
        raise TypeError(
            f"the factory for {command.__name__} returned {made!r}; a {command.__name__}, or a dict of its fields, is wanted"
        )
    if more:
        made = command(**{**{name: getattr(made, name) for name in made.model_fields_set}, **more})
    return (*before, made)


def _made_up(command: type[Command[Any]], known: Mapping[str, Any], keys: tuple[str, ...]) -> Command[Any]:
    values = dict(known)
    for name, info in command.model_fields.items():
        if name in values or not info.is_required():
            continue
        try:
            values[name] = _value(info.annotation, name, _limits(info))
        except _Unknown as unknown:
            raise NoFactory(command.__name__, name, f"is {unknown}", keys) from None
    try:
        return command.model_validate(values, by_name=True)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        field = str(first["loc"][0]) if first["loc"] else None
        raise NoFactory(command.__name__, field, f"is refused as it was made up ({first['msg']})", keys) from None


def _limits(info: FieldInfo) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for mark in info.metadata:
        for name in ("min_length", "max_length", "ge", "gt", "le", "lt", "pattern"):
            if (value := getattr(mark, name, None)) is not None:
                found[name] = value
    return found


def _value(annotation: Any, name: str, limits: Mapping[str, Any]) -> Any:
    origin = get_origin(annotation)
    if origin is Annotated:
        inner, *marks = get_args(annotation)
        return _value(inner, name, {**limits, **_limits(FieldInfo.from_annotation(annotation))} if marks else limits)
    if origin is Literal:
        return get_args(annotation)[0]
    if origin in (Union, UnionType):
        return None if NoneType in get_args(annotation) else _value(get_args(annotation)[0], name, limits)
    kind = origin or annotation
    if not isinstance(kind, type):
        raise _Unknown(f"of type {annotation}, which no value is known of")
    if issubclass(kind, Enum):
        return next(iter(kind))
    if issubclass(kind, BaseModel):
        return kind(
            **{one: _value(info.annotation, one, _limits(info)) for one, info in kind.model_fields.items() if info.is_required()}
        )
    return _of_class(kind, name, limits)


def _of_class(kind: type, name: str, limits: Mapping[str, Any]) -> Any:
    if issubclass(kind, bool):
        return True
    if issubclass(kind, int | float | Decimal):
        return kind(_number(limits, kind))
    if issubclass(kind, str):
        return _text(name, limits)
    if issubclass(kind, datetime):
        return datetime(2030, 1, 1, 12, tzinfo=UTC)
    simple: dict[type, Callable[[], Any]] = {
        UUID: uuid7,
        date: lambda: date(2030, 1, 1),
        time: lambda: time(12),
        timedelta: lambda: timedelta(hours=1),
        bytes: lambda: b"",
        dict: dict,
        Mapping: dict,
    }
    if kind in simple:
        return simple[kind]()
    if kind in (list, tuple, set, frozenset) and not limits.get("min_length"):
        return kind()
    raise _Unknown(f"of type {kind.__name__}, which no value is known of")


def _number(limits: Mapping[str, Any], kind: type) -> Any:
    step = 1 if issubclass(kind, int) else Decimal("0.01") if issubclass(kind, Decimal) else 0.01
    if "ge" in limits:
        return limits["ge"] if limits["ge"] > 0 or "le" in limits or "lt" in limits else 1
    if "gt" in limits:
        above = limits["gt"] + 1
        fits = above <= limits.get("le", above) and ("lt" not in limits or above < limits["lt"])
        return above if fits else limits["gt"] + step
    if "le" in limits:
        return min(1, limits["le"])
    if "lt" in limits:
        return min(1, limits["lt"] - 1)
    return 1


def _text(name: str, limits: Mapping[str, Any]) -> str:
    if "pattern" in limits:
        raise _Unknown(f"a text of the pattern {limits['pattern']!r}, which is not made up")
    # Numbered: a column may be unique.
    number = str(next(_count))
    longest = limits.get("max_length")
    text = (
        f"{name} {number}" if longest is None or len(name) + 1 + len(number) <= longest else number[-longest:] if longest else ""
    )
    return text.ljust(limits.get("min_length", 0), "x")
