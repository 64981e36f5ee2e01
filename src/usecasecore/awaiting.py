"""Waits for the answers of an asynchronous connection of psycopg's, with less of the event loop than psycopg itself.

How it works. What psycopg waits by is a generator that yields whenever it would block. Where an answer is to come, which is nearly
always, the task sleeps until the socket can be read, without a timer for each time; `_Sleep` wakes it in the very turn of the loop
in which that is seen, where a `Future` takes another one. Anything else is handed to psycopg in the middle of the generator: a full
buffer, or an interruption, after which it has the server cancel the statement.

An event loop is told once to watch one descriptor, an epoll of ours, for good; in there each wait is one system call, which asks to
be told of its socket once. So the loop knows nothing of the sockets: psycopg may have it watch the same one, and one that is closed is
forgotten by the kernel, while a loop that still thinks to watch it would never watch the next one of that number. Where there
is no epoll the loop watches each socket for as long as somebody waits.
"""

from __future__ import annotations

import asyncio
import select
from collections.abc import Callable, Generator
from contextvars import Context
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import util

from usecasecore.unofficial import PsycopgParts

__all__ = ["Awaiting"]

_READABLE = 1
_LOOK_AGAIN = 0.1
"""After how many seconds."""


class Awaiting:
    """Waits for one connection, as `AsyncConnection.wait` does, from inside of a greenlet of SQLAlchemy's."""

    def __init__(self, driver: Any, parts: PsycopgParts) -> None:
        self._driver, self._parts = driver, parts
        self._loop: asyncio.AbstractEventLoop | None = None
        self._sockets: _Epoll | _Readers
        self._sleep: _Sleep | None = None
        self._looks_again_in: asyncio.AbstractEventLoop | None = None

    def __call__(self, trip: Generator[Any, Any, None]) -> None:
        """Wait until the generator has come to its end.

        Raises:
            psycopg.Error: From the generator, or where the connection is lost.
        """
        try:
            wanted = next(trip)
            while wanted is self._parts.wait_for_answer:
                self._until_readable()
                wanted = trip.send(_READABLE)
        except StopIteration:
            return
        except OSError as error:
            raise self._parts.lost("the connection's socket is closed") from error
        except (asyncio.CancelledError, KeyboardInterrupt, SystemExit) as error:
            util.await_only(self._driver.wait(_Interrupted(trip, error)))  # has the server cancel it, and raises
            raise
        util.await_only(self._driver.wait(trip))  # the buffer is full

    def _until_readable(self) -> None:
        loop, socket = asyncio.get_running_loop(), self._driver.pgconn.socket
        if self._loop is not loop:
            self._loop, self._sockets = loop, _sockets_of(loop)
        if self._looks_again_in is not loop:
            self._look_again_in(loop)
        self._sleep = sleep = _Sleep(loop)
        self._sockets.begin(socket, sleep)
        try:
            util.await_only(sleep)
        finally:
            self._sleep = None
            self._sockets.end(socket, sleep)

    def _look_again_in(self, loop: asyncio.AbstractEventLoop) -> None:
        # Nobody hears of a socket that another task has closed: so whoever waits looks again from time to time.
        self._looks_again_in = loop
        loop.call_later(_LOOK_AGAIN, self._look_again, loop)

    def _look_again(self, loop: asyncio.AbstractEventLoop) -> None:
        self._looks_again_in = None
        if self._sleep is not None:
            self._look_again_in(loop)
            self._sleep.wake()


class _Sleep:
    """What a task of asyncio's waits by; its part of a `Future`, but that `wake`, called by the loop, goes on with the task at once."""

    __slots__ = ("_asyncio_future_blocking", "_context", "_interrupted", "_loop", "_resume")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._resume: Callable[[Any], object] | None = None
        self._interrupted: tuple[Any, ...] | None = None

    def wake(self) -> None:
        """Go on with the task, if it sleeps."""
        resume, self._resume = self._resume, None
        if resume is not None:
            self._context.run(resume, self)

    def __await__(self) -> Generator[Any, None, None]:
        self._asyncio_future_blocking = True  # what asyncio knows its like by
        yield self

    def get_loop(self) -> asyncio.AbstractEventLoop:
        return self._loop

    def add_done_callback(self, resume: Callable[[Any], object], /, *, context: Context) -> None:
        self._resume, self._context = resume, context

    def cancel(self, msg: Any = None) -> bool:
        resume, self._resume = self._resume, None
        if resume is None:
            return False
        self._interrupted = () if msg is None else (msg,)
        self._loop.call_soon(resume, self, context=self._context)
        return True

    def result(self) -> None:
        if self._interrupted is not None:
            raise asyncio.CancelledError(*self._interrupted)


class _Epoll:
    """Wakes those who wait in one event loop for sockets; see "How it works"."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._epoll = select.epoll()
        self._once = select.EPOLLIN | select.EPOLLONESHOT
        self._sleeps: dict[int, _Sleep] = {}
        # The loop keeps the context for good: so not that of the task which happens to be the first.
        Context().run(loop.add_reader, self._epoll.fileno(), self._wake)

    def begin(self, socket: int, sleep: _Sleep, /) -> None:
        self._sleeps[socket] = sleep
        try:
            self._epoll.modify(socket, self._once)
        except FileNotFoundError:  # the first time, or another socket of that number
            self._epoll.register(socket, self._once)

    def end(self, socket: int, sleep: _Sleep, /) -> None:
        if self._sleeps.get(socket) is sleep:  # the socket may have been closed, and its number given out again
            del self._sleeps[socket]

    def _wake(self) -> None:
        for socket, _ in self._epoll.poll(0):
            sleep = self._sleeps.get(socket)
            if sleep is not None:
                sleep.wake()


class _Readers:
    """Does the same in the loop's own way."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def begin(self, socket: int, sleep: _Sleep, /) -> None:
        self._loop.add_reader(socket, sleep.wake)

    def end(self, socket: int, _: _Sleep, /) -> None:
        self._loop.remove_reader(socket)


_epolls: WeakKeyDictionary[asyncio.AbstractEventLoop, _Epoll] = WeakKeyDictionary()


def _sockets_of(loop: asyncio.AbstractEventLoop) -> _Epoll | _Readers:
    if not hasattr(select, "epoll"):
        return _Readers(loop)
    known = _epolls.get(loop)
    if known is None:
        known = _epolls[loop] = _Epoll(loop)
    return known


class _Interrupted:
    """What is left of a generator, after an interruption that psycopg is to hear of."""

    def __init__(self, trip: Generator[Any, Any, None], error: BaseException) -> None:
        self._trip = trip
        self._error: BaseException | None = error

    def __next__(self) -> Any:
        error, self._error = self._error, None
        if error is not None:
            raise error
        return next(self._trip)

    def send(self, ready: Any) -> Any:
        return self._trip.send(ready)
