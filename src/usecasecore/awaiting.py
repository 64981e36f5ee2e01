"""Waits for the answers of an asynchronous connection of psycopg's, with less of the event loop than psycopg itself.

How it works. What psycopg waits by is a generator that yields whenever it would block. Where an answer is to come, which is nearly
always, the loop watches the socket and wakes whoever waits, without a timer for each time. Anything else is handed to psycopg in
the middle of the generator: a full buffer, or an interruption, after which it has the server cancel the statement.
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from typing import Any

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
        self._answer: asyncio.Future[None] | None = None
        self._watched_by: asyncio.AbstractEventLoop | None = None

    def __call__(self, trip: Generator[Any, Any, None]) -> None:
        """Wait until the generator has come to its end.

        Raises:
            psycopg.Error: From the generator, or where the connection is lost.
        """
        util.await_only(self._wait(trip))

    async def _wait(self, trip: Generator[Any, Any, None]) -> None:
        loop, socket = asyncio.get_running_loop(), self._driver.pgconn.socket
        self._watch(loop)
        try:
            wanted = next(trip)
            while wanted is self._parts.wait_for_answer:
                self._answer = loop.create_future()
                loop.add_reader(socket, self._wake)
                try:
                    await self._answer
                finally:
                    self._answer = None
                    loop.remove_reader(socket)
                wanted = trip.send(_READABLE)
        except StopIteration:
            return
        except OSError as error:
            raise self._parts.lost("the connection's socket is closed") from error
        except (asyncio.CancelledError, KeyboardInterrupt, SystemExit) as error:
            await self._driver.wait(_Interrupted(trip, error))  # has the server cancel it, and raises
            raise
        await self._driver.wait(trip)  # the buffer is full

    def _wake(self) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(None)

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        # Nobody hears of a socket that another task has closed: so whoever waits looks again from time to time.
        if self._watched_by is not loop:
            self._watched_by = loop
            loop.call_later(_LOOK_AGAIN, self._look_again, loop)

    def _look_again(self, loop: asyncio.AbstractEventLoop) -> None:
        self._watched_by = None
        if self._answer is not None:
            self._watch(loop)
            self._wake()


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
