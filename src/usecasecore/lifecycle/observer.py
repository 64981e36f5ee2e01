"""What a lifecycle with `enforce="observe"` sees: each change that would be refused, logged and counted by its call site.

How it works. Each lifecycle of a mapped class has an observer of its own, or none where it enforces: the listeners ask for
it only where they would refuse, so that a lifecycle that enforces pays nothing. The call site is the first frame outside of
this package and SQLAlchemy; under an async session the frames go on in the greenlet that awaits.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from types import FrameType, MappingProxyType
from typing import Any, TypeAlias

from usecasecore.lifecycle.location import Location

__all__ = ["Observations", "Observer", "call_site"]

Observations: TypeAlias = Mapping[tuple[Location, str], int]
"""(call site, what was done) -> how often."""

_LOGGER = logging.getLogger("usecasecore.lifecycle")
_SKIPPED = ("usecasecore", "sqlalchemy", "sqlmodel")


class Observer:
    """Logs and counts, for one lifecycle of one mapped class, what would be refused. Safe from several threads."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[Location, str]] = Counter()
        self._lock = threading.Lock()

    def saw(self, *, lifecycle: str, column: str, what: str, source: str | None, dest: str | None) -> None:
        """Log one change on the logger `usecasecore.lifecycle`, as a warning, and count it."""
        site = call_site()
        with self._lock:
            self._counts[site, what] += 1
        change = f"{source or 'unknown'} -> {dest or 'unknown'}"
        facts = {"lifecycle": lifecycle, "column": column, "what": what, "source": source, "dest": dest, "call_site": str(site)}
        _LOGGER.warning("%s: %s past the runtime at %s (%s: %s)", lifecycle, what, site, column, change, extra=facts)

    def snapshot(self) -> Observations:
        """Return what was counted so far; it doesn't change any more."""
        with self._lock:
            return MappingProxyType(dict(self._counts))


def call_site() -> Location:
    """Return the line of user code that is calling, through SQLAlchemy or not."""
    last = None
    for frame in _frames():
        last = frame
        if frame.f_globals.get("__name__", "").partition(".")[0] not in _SKIPPED:
            return Location(frame.f_code.co_filename, frame.f_lineno)
    assert last is not None
    return Location(last.f_code.co_filename, last.f_lineno)


def _frames() -> Iterator[FrameType]:
    frame: FrameType | None = sys._getframe(1)
    greenlet = getattr(sys.modules.get("greenlet"), "getcurrent", lambda: None)()
    while frame is not None:
        yield frame
        frame = frame.f_back
        if frame is None:
            greenlet, frame = _outside(greenlet)


def _outside(greenlet: Any) -> tuple[Any, FrameType | None]:
    parent = getattr(greenlet, "parent", None)
    return parent, getattr(parent, "gr_frame", None)
