"""JSON as the ledger stores it: one text for one value, and nothing that a database would refuse or change."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import orjson
from pydantic_core import to_json, to_jsonable_python

__all__ = ["NotStorable", "canonical", "canonical_of_any", "canonical_of_texts", "in_utc", "jsonable", "packed"]

_INT64 = 2**63
_SORTED = orjson.OPT_SORT_KEYS | orjson.OPT_UTC_Z
_PLAIN_JSON: frozenset[type] = frozenset({type(None), int, str})
_PLAIN = _PLAIN_JSON | {bool, datetime, UUID}
"""Types whose JSON needs no second look."""
# `json.dumps` would make one for each text.
_encoder = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False)


class NotStorable(ValueError):
    """A value that JSON text in a database can't hold.

    Attributes:
        path: Where it is: field names and indexes.
    """

    def __init__(self, path: tuple[str | int, ...], message: str) -> None:
        super().__init__(message)
        self.path = path
        self.message = message


def canonical(value: Any, *, depth: int = 32, items: int = 10_000) -> str:
    """Return JSON values as text: keys sorted, no spaces, no escapes that aren't needed.

    Args:
        value: JSON-compatible values (dicts with str keys, lists, str, int, float, bool, None).
        depth: How deep lists and objects may nest.
        items: How many members one list or object may have.

    Raises:
        NotStorable: For NUL characters, lone surrogates, numbers that aren't finite, integers beyond 64 bits, and what
            exceeds the limits; with the path of the first one found.
    """
    if type(value) is dict and depth > 1 and len(value) <= items and _is_plain(value, items):
        text = _text_of_plain(value)
        if text is not None:
            return text
    _check(value, (), depth, items)
    return _encoder.encode(value)


def jsonable(value: Any) -> Any:
    """Return any value as JSON values, losing nothing silently: what has no JSON form becomes its text."""
    return to_jsonable_python(value, inf_nan_mode="strings", bytes_mode="base64", fallback=str)


def canonical_of_any(value: dict[str, list[Any]]) -> str:
    """Return `canonical` of what `jsonable` makes of an object of lists, at once where that is plain.

    Raises:
        NotStorable: As `canonical`, without limits that a value of ours could reach.
    """
    if _hold_plain(value.values(), _PLAIN):
        text = _text_of_plain(value)
        if text is not None:
            return text
    return canonical(jsonable(value), depth=100, items=1_000_000)


def canonical_of_texts(value: dict[str, str]) -> str:
    """Return `canonical` of an object of texts.

    Raises:
        NotStorable: As `canonical`.
    """
    text = _text_of_plain(value)
    return canonical(value) if text is None else text


def packed(value: Any) -> str:
    """Return values as the JSON that carries them to the database in a statement, which is no text that anything keeps.

    Args:
        value: Instants in it are in UTC; see `in_utc`.

    Raises:
        ValueError: For a lone surrogate.
    """
    try:
        return orjson.dumps(value).decode()
    except TypeError:  # a large integer, a type that is like a known one
        return to_json(value).decode()


def in_utc(at: datetime) -> datetime:
    """Return the instant in UTC: JSON's offsets are whole minutes, and others would be rounded."""
    return at if at.tzinfo is UTC else at.astimezone(UTC)


def check_text(value: str) -> str | None:
    """Return what is wrong with a text, or None."""
    if "\x00" in value:
        return "has a NUL character, which the database can't store"
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            return "has a lone surrogate, which is no character"
    return None


def _is_plain(value: dict[Any, Any], items: int) -> bool:
    """Say of what the ledger mostly holds that it is that: names, integers, texts, and lists of them; texts are not looked into."""
    lists = []
    for name, member in value.items():
        kind = type(member)
        if kind is list and len(member) <= items:
            lists.append(member)
        elif kind not in _PLAIN_JSON or (kind is int and not -_INT64 <= member < _INT64):
            return False
        if type(name) is not str:
            return False
    return not lists or _hold_plain(lists, _PLAIN_JSON)


def _text_of_plain(value: dict[str, Any]) -> str | None:
    """Return what the encoder says of plain values, in a third of the time; None for a text that is to be looked into."""
    # The two differ in floats only, and in what they refuse.
    try:
        text = orjson.dumps(value, option=_SORTED).decode()
    except TypeError:  # a lone surrogate, whose place is told elsewhere
        return None
    return text if text.isascii() and "\\u0000" not in text else None


def _hold_plain(lists: Iterable[list[Any]], plain: frozenset[type]) -> bool:
    for many in lists:
        for one in many:
            kind = type(one)
            if kind not in plain or (kind is int and not -_INT64 <= one < _INT64):
                return False
            if kind is datetime and one.tzinfo is not None and one.tzinfo is not UTC:  # other offsets have other forms
                return False
    return True


def _check(value: Any, path: tuple[str | int, ...], depth: int, items: int) -> None:
    kind = type(value)
    if kind is str:
        if wrong := check_text(value):
            raise NotStorable(path, f"the text {wrong}")
    elif kind is int:
        if not -_INT64 <= value < _INT64:
            raise NotStorable(path, "the integer does not fit into 64 bits")
    elif kind is float:
        if not math.isfinite(value):
            raise NotStorable(path, "the number is not finite")
    elif kind is dict or kind is list:
        _check_members(value, path, depth, items)


def _check_members(value: dict[str, Any] | list[Any], path: tuple[str | int, ...], depth: int, items: int) -> None:
    if depth == 0:
        raise NotStorable(path, "the value is nested too deeply")
    if len(value) > items:
        raise NotStorable(path, f"there are {len(value)} items; {items} are accepted")
    if isinstance(value, dict):
        for name, member in value.items():
            _check(name, path, 0, 0)
            _check(member, (*path, name), depth - 1, items)
    else:
        for index, member in enumerate(value):
            _check(member, (*path, index), depth - 1, items)
