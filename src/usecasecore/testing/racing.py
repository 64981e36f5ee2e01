"""Two commands that meet at a lock."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, text

from usecasecore.context import Outcome
from usecasecore.errors import UseCaseError
from usecasecore.steps import Moment, Step, When, watch

__all__ = ["Race", "meet"]

_PATIENCE = 10.0
"""How long either may take to get where it is waited for, in seconds."""
_SETTLED = 0.1
"""How long a command on SQLite must stand at its begin to be taken for waiting: nothing there tells who waits."""

_LATER = (Step.IDEMPOTENCY, Step.LOAD, Step.POLICY, Step.FIRE, Step.APPLY, Step.FLUSH, Step.AUDIT, Step.COMMIT)


@dataclass(frozen=True, slots=True)
class Race:
    """What came of two commands that met.

    Attributes:
        won: The outcome of the one that was accepted.
        lost: What the other was answered.
    """

    won: Outcome[Any]
    lost: UseCaseError


class _Runner:
    """One of the two, in a thread of its own."""

    def __init__(self, act: Callable[[], Any]) -> None:
        self.result: Any = None
        self.done = False
        self.begun_at: float | None = None
        self.passed_begin = False
        self.backend: int | None = None
        self.standing = threading.Event()
        self.go = threading.Event()
        self.thread = threading.Thread(target=self._run, args=(act,), daemon=True)

    def _run(self, act: Callable[[], Any]) -> None:
        try:
            self.result = act()
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is what came of it
            self.result = error
        self.done = True
        self.standing.set()


def meet(first: Callable[[], Outcome[Any]], second: Callable[[], Outcome[Any]], engine: Engine) -> Race:
    """Have the first command hold its locks, just before its commit, until the second waits for them; return what came of both.

    Args:
        first: Runs the one, in a thread of its own.
        second: Runs the other, likewise.
        engine: Of the runtime, to see who waits.

    Raises:
        AssertionError: If they don't meet, or not exactly one of them is accepted.
    """
    one, other = _Runner(first), _Runner(second)
    with watch(lambda moment: _stops(moment, one, other)):
        one.thread.start()
        try:
            _check_standing(one)
            other.thread.start()
            _wait_until_waiting(other, engine)
        finally:
            one.go.set()
            one.thread.join(_PATIENCE)
            if other.thread.ident is not None:
                other.thread.join(_PATIENCE)
    return _decided(one, other)


def _stops(moment: Moment, one: _Runner, other: _Runner) -> None:
    thread = threading.current_thread()
    if thread is one.thread and moment.step is Step.COMMIT and moment.when is When.BEFORE:
        one.standing.set()
        one.go.wait(3 * _PATIENCE)
    elif thread is other.thread and moment.when is When.BEFORE:
        if moment.step is Step.BEGIN:
            other.begun_at = time.monotonic()
            other.backend = _backend(moment.session)
        elif moment.step in _LATER:
            other.passed_begin = True
        if moment.step is Step.COMMIT:
            other.standing.set()


def _backend(session: Any) -> int | None:
    # Before its begin, as that may wait for a scope; on SQLite asking for the connection would be the wait.
    if session.get_bind().dialect.name != "postgresql":
        return None
    connection = session.connection()
    return int(connection.exec_driver_sql("select pg_backend_pid()").scalar_one())


def _check_standing(one: _Runner) -> None:
    if not one.standing.wait(_PATIENCE):
        raise AssertionError(f"the first command did not come to its commit within {_PATIENCE:g} s")
    if one.done:
        raise AssertionError(f"the first command did not come to its commit, so they never met: {_told(one.result)}") from (
            one.result if isinstance(one.result, BaseException) else None
        )


def _wait_until_waiting(other: _Runner, engine: Engine) -> None:
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        if other.standing.wait(0.01):
            how = _told(other.result) if other.done else "it came to its commit"
            raise AssertionError(f"they don't meet: the second command waits for nothing that the first one holds; {how}")
        if _waits(other, engine):
            return
    raise AssertionError(f"the second command neither ended nor waited for a lock within {_PATIENCE:g} s")


def _waits(other: _Runner, engine: Engine) -> bool:
    if engine.dialect.name == "sqlite":
        begun = other.begun_at
        return begun is not None and not other.passed_begin and time.monotonic() - begun > _SETTLED
    if other.backend is None:
        return False
    query = text("select wait_event_type = 'Lock' from pg_stat_activity where pid = :pid")
    with engine.connect() as connection:
        return connection.execute(query, {"pid": other.backend}).scalar() is True


def _decided(one: _Runner, other: _Runner) -> Race:
    if not (one.done and other.done):
        raise AssertionError(f"a command did not end within {_PATIENCE:g} s")
    results = (one.result, other.result)
    accepted = [result for result in results if isinstance(result, Outcome)]
    answered = [result for result in results if isinstance(result, UseCaseError)]
    for result in results:
        if not isinstance(result, Outcome | UseCaseError):
            raise AssertionError(f"a command failed with no error of usecasecore's: {_told(result)}") from result
    if len(accepted) == 2:
        replayed = any(result.replayed for result in accepted)
        why = "; the second is a replay of the first: they have the same key" if replayed else ""
        raise AssertionError(f"both were accepted: {_told(accepted[0])} and {_told(accepted[1])}{why}")
    if not accepted:
        raise AssertionError(f"none was accepted: {_told(answered[0])} and {_told(answered[1])}")
    return Race(accepted[0], answered[0])


def _told(result: Any) -> str:
    if isinstance(result, Outcome):
        return repr(result.result)
    return f"{type(result).__name__}: {result}"
