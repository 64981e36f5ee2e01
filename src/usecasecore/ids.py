"""Time-ordered identifiers."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from uuid import UUID, SafeUUID

__all__ = ["HexIds", "supplied_by", "uuid7"]

_VERSION_AND_VARIANT = (0x7 << 76) | (0b10 << 62)
_RANDOM_BITS = (1 << 62) - 1
_VARIANTS = {f"{digit:x}": "89ab"[digit & 3] for digit in range(16)}
_DRAWN = 300
"""For how many ids random bits are drawn at once."""

_supplier: Callable[[], UUID] | None = None
_changing = threading.Lock()


def uuid7() -> UUID:
    """Return a new version 7 UUID: 48 bits of Unix milliseconds, then 74 random bits (RFC 9562, section 5.7).

    Ids of different milliseconds sort by time, which keeps B-tree inserts at the right edge of an index. Ids of one
    millisecond come in no particular order: never derive an order of events from them.
    """
    if _supplier is not None:
        return _supplier()
    random = _random()
    milliseconds = time.time_ns() // 1_000_000
    # What UUID(int=...) does, without asking which of its six arguments was given: that takes three times as long as the rest.
    made = object.__new__(UUID)
    number = (milliseconds << 80) | _VERSION_AND_VARIANT | ((random >> 6) & 0xFFF) << 64 | (random & _RANDOM_BITS)
    object.__setattr__(made, "int", number)
    object.__setattr__(made, "is_safe", SafeUUID.unknown)
    return made


def _random() -> int:
    """Return 80 random bits. They are drawn for many ids at once, which are taken from the end of a list: safe for threads."""
    try:
        return _drawn.pop()
    except IndexError:
        drawn = os.urandom(10 * _DRAWN)
    _drawn.extend(int.from_bytes(drawn[at : at + 10], "big") for at in range(10, len(drawn), 10))
    return int.from_bytes(drawn[:10], "big")


_drawn: list[int] = []
if hasattr(os, "register_at_fork"):  # not on Windows, where no process is forked
    os.register_at_fork(after_in_child=_drawn.clear)


class HexIds:
    """Makes new version 7 UUIDs, each as its 32 hexadecimal digits: for rows by the thousand, which need no objects.

    Their random bits are drawn for many at once. Of one thread and one process.
    """

    def __init__(self) -> None:
        self._random, self._at = "", 0
        self._milliseconds, self._begin = -1, ""

    def take(self, number: int) -> list[str]:
        """Return so many."""
        if _supplier is not None:
            return [_supplier().hex for _ in range(number)]
        first, end = self._at, self._at + 20 * number
        if end > len(self._random):
            self._random, first, end = os.urandom(10 * max(number, _DRAWN)).hex(), 0, 20 * number
        self._at = end
        milliseconds = time.time_ns() // 1_000_000
        if milliseconds != self._milliseconds:
            self._milliseconds, self._begin = milliseconds, f"{milliseconds:012x}7"
        random, begin = self._random, self._begin
        return [
            f"{begin}{random[at : at + 3]}{_VARIANTS[random[at + 3]]}{random[at + 4 : at + 19]}" for at in range(first, end, 20)
        ]


@contextmanager
def supplied_by(supplier: Callable[[], UUID]) -> Iterator[None]:
    """Have all ids of this process made by a function, while the block runs: for tests that want the same ones each time.

    It is called from whatever thread wants an id.
    """
    global _supplier  # noqa: PLW0603 - mapped classes hold `uuid7` itself as the default of their keys
    with _changing:
        before, _supplier = _supplier, supplier
    try:
        yield
    finally:
        with _changing:
            _supplier = before
