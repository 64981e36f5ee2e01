"""Runs plain functions that wait for an event loop, as SQLAlchemy does, but in greenlets that are used again.

How it works. A greenlet gets the memory for Python's frames from the operating system, page by page, with its first call, and gives it
back when it ends: to a command that costs as much as the driver's part of a statement. So a greenlet whose function has returned
waits for the next one, and holds nothing of the last. One whose function raised ends, as SQLAlchemy's does.

SQLAlchemy waits in any greenlet that carries its mark, and switches to the parent with what is to be awaited. Where it isn't known to,
the functions run by `AsyncSession.run_sync`, in a new greenlet each.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Any, TypeVar

import greenlet
from sqlalchemy.ext.asyncio import AsyncSession

from usecasecore import unofficial

__all__ = ["Greenlets"]

T = TypeVar("T")

_current: Any = greenlet.getcurrent

_MOST_IDLE = 32
"""As many as run at the same time on most pools."""


class Greenlets(threading.local):
    """Runs functions in greenlets, of which each thread has its own: a greenlet can't leave its thread."""

    def __init__(self) -> None:
        self._idle: list[Any] = []
        is_known = unofficial.is_known() and not unofficial.unknown_parts_of_greenlets()
        # Never used itself: SQLAlchemy's public way to start a greenlet.
        self._public = None if is_known else AsyncSession()

    async def run(self, function: Callable[..., T], *args: Any) -> T:
        """Return what the function returns, or raise what it raises; what it waits for by SQLAlchemy is awaited here."""
        if self._public is not None:
            return await self._public.run_sync(lambda _: function(*args))
        driver, idle = _current(), self._idle
        one = idle.pop() if idle else _started()
        one.parent, one.gr_context = driver, driver.gr_context
        returned: list[T] = []
        wanted = one.switch(returned, function, args)
        while not returned:
            try:
                value = await wanted
            except BaseException:  # noqa: BLE001 - the function waits for it
                wanted = one.throw(*sys.exc_info())
            else:
                wanted = one.switch(value)
        if len(idle) < _MOST_IDLE:
            one.gr_context = None
            idle.append(one)
        return returned[0]


def _started() -> Any:
    one: Any = unofficial.marked(greenlet.greenlet(_one_after_the_other))
    one.switch()
    return one


def _one_after_the_other() -> None:
    # A greenlet that refers to itself, or was given something with its very first switch, would hold on to that for good.
    while True:
        returned, function, args = _current().parent.switch()
        returned.append(function(*args))
        del returned, function, args
