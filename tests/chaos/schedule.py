"""Two commands, each in a thread of its own, that go on only when they are told to."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from sqlalchemy import Engine, text

from usecasecore.steps import Moment, When

__all__ = ["Runner", "is_waiting_for_a_lock"]

Place = tuple[str, str]


class Runner:
    """Runs a command in a thread, and stops it at each point of the shell.

    Attributes:
        at: Where it stands, as (step, when); None while it runs.
        result: What the command returned or raised, once `done`.
    """

    def __init__(self, act: Callable[[], Any]) -> None:
        self.at: Place | None = None
        self.done = False
        self.result: Any = None
        self._free = False
        self._turn = threading.Condition()
        self._thread = threading.Thread(target=self._run, args=(act,), daemon=True)

    def watch(self, moment: Moment) -> None:
        """Stop here; told of every moment of every command, it takes those of its own thread."""
        if threading.current_thread() is not self._thread or moment.when is When.DURING:
            return
        with self._turn:
            if self._free:
                return
            self.at = (moment.step, moment.when)
            self._turn.notify_all()
            self._turn.wait_for(lambda: self._free or self.at is None, timeout=30)

    def start(self) -> None:
        """Begin, up to the first point."""
        self._thread.start()
        self.settle()

    def advance(self, points: int, blocked: Callable[[], bool] = lambda: False) -> bool:
        """Go on over so many points, or to the end, or up to a lock that somebody else holds; return whether it got so far."""
        for _ in range(points):
            if self.done:
                return False
            self.step()
            if not self.settle(blocked):
                return False
        return not self.done

    def step(self) -> None:
        """Go on to the next point."""
        with self._turn:
            self.at = None
            self._turn.notify_all()

    def settle(self, blocked: Callable[[], bool] = lambda: False) -> bool:
        """Wait until it stands at a point, is done, or waits for a lock; return whether it stands or is done."""
        deadline = time.monotonic() + 10
        while True:
            with self._turn:
                if self._turn.wait_for(lambda: self.at is not None or self.done, timeout=0.02):
                    return True
            if blocked():
                return False
            assert time.monotonic() < deadline, "it neither goes on nor waits for a lock"

    def let_go(self) -> None:
        """Let it run to its end without stopping any more."""
        with self._turn:
            self._free, self.at = True, None
            self._turn.notify_all()

    def join(self) -> Any:
        """Wait for the end; return what came of it."""
        self._thread.join(20)
        assert self.done
        return self.result

    def _run(self, act: Callable[[], Any]) -> None:
        try:
            self.result = act()
        except Exception as error:  # noqa: BLE001 - it is what came of it
            self.result = error
        with self._turn:
            self.done = True
            self._turn.notify_all()


def is_waiting_for_a_lock(engine: Engine) -> bool:
    """Say whether some backend of the database waits for a lock of another one."""
    query = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
    with engine.connect() as connection:
        return bool(connection.execute(text(query)).scalar_one())
