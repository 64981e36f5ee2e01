"""Cuts a connection whose COMMIT is not answered in time: a driver that waits for the answer can't be interrupted otherwise.

How it works: one thread for the process, started with the first COMMIT to PostgreSQL, that sleeps while nothing is committed.
What is registered is the descriptor of the connection's socket, for as long as the COMMIT is under way; both sides of that
are done under one lock, so a descriptor that was closed and given out again is never cut. The driver then fails as it does
when the network breaks, and the runtime asks the key what became of the commit.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from contextlib import suppress
from typing import Any

from sqlalchemy import Connection

__all__ = ["CommitWatch", "commit_watch"]

_TICK = 0.05


class CommitWatch:
    """The COMMITs that are under way, and until when they may be."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._due: dict[int, float] = {}
        self._work = threading.Event()
        self._thread: threading.Thread | None = None

    def begin(self, connection: Connection, seconds: float) -> int | None:
        """Cut the connection in so many seconds, unless `end` is called before with what this returns. Where there is no socket, never."""
        descriptor = _socket_of(connection)
        if descriptor is not None:
            with self._lock:
                self._due[descriptor] = time.monotonic() + seconds
                self._ensure_thread()
            if not self._work.is_set():
                self._work.set()
        return descriptor

    def end(self, descriptor: int | None) -> None:
        """Leave the connection alone."""
        if descriptor is not None:
            with self._lock:
                self._due.pop(descriptor, None)

    def _ensure_thread(self) -> None:
        # A forked child inherits the object and not the thread.
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._run, name="usecasecore-commit-watch", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while True:
            self._work.wait()
            time.sleep(_TICK)
            with self._lock:
                if not self._due:
                    self._work.clear()
                now = time.monotonic()
                for descriptor in [one for one, due in self._due.items() if due <= now]:
                    del self._due[descriptor]
                    _cut(descriptor)


commit_watch = CommitWatch()
"""The one of this process."""


def _socket_of(connection: Connection) -> int | None:
    driver: Any = connection.connection.driver_connection
    if hasattr(driver, "pgconn"):  # psycopg, both forms
        return int(driver.fileno())
    transport = getattr(driver, "_transport", None)  # asyncpg
    return None if transport is None else int(transport.get_extra_info("socket").fileno())


def _cut(descriptor: int) -> None:
    with suppress(OSError), socket.socket(fileno=os.dup(descriptor)) as duplicate:
        duplicate.shutdown(socket.SHUT_RDWR)
