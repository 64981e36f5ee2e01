"""A clock that stands still until the test moves it, and ids that are the same in each run."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from uuid import UUID

__all__ = ["CountedIds", "SetClock"]

_VERSION_AND_VARIANT = (0x7 << 76) | (0b10 << 62)


class SetClock:
    """A clock for `Runtime(..., clock=...)` that the test sets.

    Attributes:
        now: The instant that it tells, aware; by default noon on 1 January 2030, UTC.
    """

    def __init__(self, now: datetime = datetime(2030, 1, 1, 12, tzinfo=UTC)) -> None:
        self.set(now)

    def __call__(self) -> datetime:
        """Return the instant that was set."""
        return self.now

    def set(self, now: datetime) -> None:
        """Tell this instant from now on.

        Raises:
            ValueError: If it is naive.
        """
        if now.tzinfo is None:
            raise ValueError(
                f"{now.isoformat()} is naive; an aware instant is wanted, such as {now.replace(tzinfo=UTC).isoformat()}"
            )
        self.now = now

    def advance(self, by: timedelta) -> datetime:
        """Go on by so much; return the new instant."""
        self.set(self.now + by)
        return self.now


class CountedIds:
    """Makes version 7 UUIDs that count up, so that a test gets the same ones in each run: ...8000-000000000001 is the first.

    Their milliseconds are 0: they sort before the ids of any real row, in the order in which they were made. The ledger takes
    its ids from here too, so which one an aggregate gets depends on the commands before it.

    Attributes:
        made: Those that were given out, in order.
    """

    def __init__(self, first: int = 1) -> None:
        self.made: list[UUID] = []
        self._next = first
        self._lock = threading.Lock()

    def __call__(self) -> UUID:
        """Return the next id; safe from several threads."""
        with self._lock:
            made = UUID(int=_VERSION_AND_VARIANT | self._next)
            self._next += 1
            self.made.append(made)
            return made

    def start_at(self, number: int) -> UUID:
        """Go on with this number, from 0; return the id that comes next. Numbers that were given out must not come again."""
        with self._lock:
            self._next = number
            return UUID(int=_VERSION_AND_VARIANT | number)
