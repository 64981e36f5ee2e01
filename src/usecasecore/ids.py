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
_RANDOM = (1 << 80) - 1 ^ (0xF << 76 | 0b11 << 62)
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
    milliseconds, drawn = time.time_ns() // 1_000_000, _random()
    return _uuid(milliseconds << 80 | drawn & _RANDOM | _VERSION_AND_VARIANT)


def _uuid(number: int) -> UUID:
    # What UUID(int=...) does, without asking which of its six arguments was given: that takes three times as long as the rest.
    made = object.__new__(UUID)
    _set_int(made, number)
    _set_is_safe(made, _UNKNOWN)
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

_set_int, _set_is_safe, _UNKNOWN = vars(UUID)["int"].__set__, vars(UUID)["is_safe"].__set__, SafeUUID.unknown


class HexIds:
    """Makes new version 7 UUIDs, each as its 32 hexadecimal digits: for rows by the thousand, which need no objects.

    Their random bits are drawn for many at once. Of one thread and one process.
    """

    def __init__(self) -> None:
        self._ends: list[str] = []
        self._milliseconds, self._begin, self._begin_text = -1, "", ""

    def take(self, number: int) -> list[str]:
        """Return so many."""
        if _supplier is not None:
            return [_supplier().hex for _ in range(number)]
        ends = self._drawn(number)
        begin, first = self._begin, len(ends) - number
        taken = ends[first:]
        del ends[first:]
        return [begin + end for end in taken]

    def with_text(self) -> tuple[UUID, str]:
        """Return one as an object, and its text."""
        if _supplier is not None:
            made = _supplier()
            return made, str(made)
        end = self._drawn(1).pop()
        return _uuid(int(self._begin + end, 16)), f"{self._begin_text}{end[:4]}-{end[4:8]}-{end[8:]}"

    def _drawn(self, number: int) -> list[str]:
        """Return the ends of at least so many ids, which begin with what is `_begin` now."""
        ends = self._ends
        while len(ends) < number:
            ends += _ends()
        milliseconds = time.time_ns() // 1_000_000
        if milliseconds != self._milliseconds:
            begin = f"{milliseconds:012x}"
            self._milliseconds, self._begin, self._begin_text = milliseconds, begin, f"{begin[:8]}-{begin[8:]}-"
        return ends


def _ends() -> list[str]:
    """Return what follows the milliseconds in `_DRAWN` ids: version, variant and random bits, as 20 hexadecimal digits each."""
    # All at once, in one large number: 10 bytes for each.
    drawn = int.from_bytes(os.urandom(10 * _DRAWN), "big") & _ALL_RANDOM | _ALL_FIXED
    return drawn.to_bytes(10 * _DRAWN, "big").hex("-", 10).split("-")


_ALL_FIXED = int.from_bytes(_VERSION_AND_VARIANT.to_bytes(10, "big") * _DRAWN, "big")
_ALL_RANDOM = int.from_bytes(_RANDOM.to_bytes(10, "big") * _DRAWN, "big")


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
