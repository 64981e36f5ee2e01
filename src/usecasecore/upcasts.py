"""Upcasts: how a result that an earlier deploy stored becomes one of today's.

How it works. Each stored result carries the name and the version of its type. Of today's name and version it is read as it is:
a field that is gone is skipped, a new one takes its default. Any other is brought to today's version by a chain of declared
functions from JSON to JSON, and then read. What no chain leads from is not guessed at, with one exception: a class that was
only renamed or moved. Its result is read where today's program would store the very same text.

A version is raised for a change after which the one form must not be read as the other. So a version of the future, left by a
deploy that was rolled back, is never read, even where it would fit.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import to_json

__all__ = ["Unreadable", "Upcast", "problems_of", "read", "stored_name"]

M = TypeVar("M", bound=BaseModel)
Stored: TypeAlias = dict[str, Any]
_Source: TypeAlias = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Upcast:
    """Brings a result of one stored version to a later one: `Upcast(1, add_currency)` leads from 1 to 2.

    Attributes:
        version: The version that was stored, or that an earlier upcast of the class leads to.
        change: Takes the stored JSON object and returns it as the later version has it. It may change the one it gets. None
            leaves it as it is.
        of: Full name of the type that was stored, `module.Class`, where that isn't the class itself: its name before it was renamed
            or moved, or the type that the use case returned before.
        to: The version of the class that it becomes; by default the next one, and the same one where there is no change.
    """

    version: int
    change: Callable[[Stored], Stored] | None = None
    of: str = ""
    to: int | None = None

    @property
    def target(self) -> int:
        """The version of the class that it leads to."""
        return self.to if self.to is not None else self.version if self.change is None else self.version + 1


class Unreadable(Exception):
    """A stored result can't become one of today's; the text says why, and quotes nothing of it."""


def stored_name(model: type[BaseModel]) -> str:
    """Return the name under which results of a type are stored: `module.Class`."""
    return f"{model.__module__}.{model.__qualname__}"


def read(model: type[M], version: int, upcasts: tuple[Upcast, ...], stored: _Source, text: str) -> M:
    """Return a stored result as one of today's type.

    Args:
        model: Today's type.
        version: Its version.
        upcasts: What is declared for it, without problems.
        stored: Name and version of the type that was stored.
        text: The stored JSON.

    Raises:
        Unreadable: If it can't become one.
    """
    own = stored_name(model)
    if stored == (own, version):
        return _parsed(model, text)
    by_source = _by_source(own, upcasts)
    if stored in by_source:
        return _parsed(model, _upcast(by_source, own, version, stored, text))
    if stored[0] != own and stored[1] == version:
        return _renamed(model, text)
    if stored[0] == own and stored[1] > version:
        raise Unreadable(f"it is newer than this program, which knows version {version}")
    raise Unreadable(f"no upcast leads from there to {own} version {version}")


def problems_of(model: type[BaseModel], version: int, upcasts: Any) -> Iterator[str]:
    """Yield what is wrong with the upcasts of a type: sources that meet, targets that don't exist, gaps."""
    name, own = model.__name__, stored_name(model)
    if not isinstance(upcasts, tuple | list) or not all(isinstance(one, Upcast) for one in upcasts):
        yield f"`upcasts` of {name} is {upcasts!r}; a tuple of Upcast is wanted"
        return
    sources: set[_Source] = set()
    for one in upcasts:
        source = (one.of or own, one.version)
        if source in sources:
            yield f"{name} has two upcasts of {_shown(source, own)}"
        sources.add(source)
        yield from _problems_of_one(one, name, own, version)
    lowest = min((number for kind, number in sources if kind == own), default=version)
    targets = {one.target for one in upcasts}
    # Where the class got its name with this version, the one before may be another type's.
    last = [] if version in targets or version == 1 else [version - 1]
    for number in sorted({*range(lowest, version), *targets, *last}):
        if (own, number) not in sources and 1 <= number < version:
            yield f"{name} is at version {version}, but nothing leads on from version {number}; add `Upcast({number}, ...)`"


def _problems_of_one(one: Upcast, name: str, own: str, version: int) -> Iterator[str]:
    shown = _shown((one.of or own, one.version), own)
    if one.version < 1:
        yield f"{name}: an upcast of {shown}; versions begin with 1"
    if one.of and "." not in one.of:
        yield f"{name}: an upcast of {one.of!r}; types are stored by their full names, `module.Class`"
    if not 1 <= one.target <= version:
        yield f"{name}: the upcast of {shown} leads to version {one.target}, which doesn't exist; {name} is at version {version}"
    elif one.of in ("", own) and one.target <= one.version:
        yield f"{name}: the upcast of {shown} leads to version {one.target}, which isn't later"
    if one.change is not None and not _takes_one(one.change):
        yield f"{name}: the upcast of {shown} is {one.change!r}; a function of one argument, the stored object, is wanted"


def _shown(source: _Source, own: str) -> str:
    kind, version = source
    return f"version {version}" if kind == own else f"{kind} version {version}"


def _takes_one(change: Any) -> bool:
    try:
        inspect.signature(change).bind({})
    except (TypeError, ValueError):
        return False
    return True


def _by_source(own: str, upcasts: tuple[Upcast, ...]) -> Mapping[_Source, Upcast]:
    return {(one.of or own, one.version): one for one in upcasts}


def _upcast(by_source: Mapping[_Source, Upcast], own: str, version: int, stored: _Source, text: str) -> str | bytes:
    value = _object(text)
    source = stored
    while source != (own, version):
        step = by_source[source]
        value = _changed(step, value, _shown(source, own))
        source = (own, step.target)
    try:
        return to_json(value)
    except Exception as error:
        raise Unreadable(f"what its upcast returned has no JSON form ({type(error).__name__})") from error


def _object(text: str) -> Stored:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Unreadable("it is no JSON") from error
    if not isinstance(value, dict):
        raise Unreadable("it is no JSON object")
    return value


def _changed(step: Upcast, value: Stored, shown: str) -> Stored:
    if step.change is None:
        return value
    try:
        changed: object = step.change(value)
    except Exception as error:
        # Of what user code says only the type: it may quote the result.
        raise Unreadable(f"its upcast from {shown} failed ({type(error).__name__})") from error
    if not isinstance(changed, dict):
        raise Unreadable(f"its upcast from {shown} returned a {type(changed).__name__}, not an object")
    return changed


def _parsed(model: type[M], text: str | bytes) -> M:
    try:
        # Stored by the fields' names, which aliases would hide.
        return model.model_validate_json(text, by_alias=True, by_name=True)
    except ValidationError as error:
        listed = error.errors(include_url=False, include_context=False, include_input=False)
        faults = ", ".join(f"{'.'.join(map(str, one['loc'])) or 'it'} ({one['type']})" for one in listed[:5])
        more = f", and {len(listed) - 5} more" if len(listed) > 5 else ""
    except Exception as error:
        raise Unreadable(f"a validator of {model.__name__} failed ({type(error).__name__})") from error
    # Outside of the handler: pydantic's error holds the result.
    raise Unreadable(f"it doesn't fit {model.__name__}: {faults}{more}")


def _renamed(model: type[M], text: str) -> M:
    found = _parsed(model, text)
    if found.model_dump_json() != text:
        raise Unreadable(f"it is of another type, and not as {model.__name__} would be stored; add an upcast of it")
    return found
