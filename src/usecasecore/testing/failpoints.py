"""Let a command fail at a named point of the shell: before or after any step.

A failpoint costs nothing while none is set; see `usecasecore.steps`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, TypeAlias

from usecasecore.steps import Moment, Step, When, watch

__all__ = ["Crashed", "Failpoint", "crash_after", "crash_before", "fail", "failpoints"]

Failure: TypeAlias = BaseException | Callable[[Moment], Any]
_ALSO_CALLED = {"write_audit": Step.AUDIT}


class Crashed(BaseException):
    """Stands for the end of the process: no `except Exception` of user code gets to see it.

    Attributes:
        step: Where it happened.
        when: Before or after that step.
    """

    def __init__(self, step: Step, when: When) -> None:
        self.step, self.when = step, when
        super().__init__(f"crashed {when} '{step}'")

    def __reduce__(self) -> tuple[Any, ...]:
        return Crashed, (self.step, self.when)


@dataclass(slots=True)
class Failpoint:
    """A point at which commands fail.

    Attributes:
        step: Of the shell.
        when: Before or after it.
        failure: What is raised, or is called with the moment: it may raise, kill the process, wait or do nothing.
        use_case: Whose commands; None for all.
        times: How many commands it hits; None for all that come by.
        hits: How many it has hit.
    """

    step: Step
    when: When
    failure: Failure
    use_case: str | None = None
    times: int | None = 1
    hits: int = 0
    _taking: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def __call__(self, moment: Moment) -> None:
        """Fail, if this is the moment."""
        if moment.step is self.step and moment.when is self.when and self._takes(moment):
            if isinstance(self.failure, BaseException):
                raise self.failure
            self.failure(moment)

    def _takes(self, moment: Moment) -> bool:
        if self.use_case not in (None, moment.use_case):
            return False
        with self._taking:
            if self.times is not None and self.hits >= self.times:
                return False
            self.hits += 1
            return True


def failpoints() -> tuple[tuple[Step, When], ...]:
    """Return every point at which a command can be made to fail, in the order of its run.

    A test that goes through all of them goes through those of later versions too. Not every command comes by each: a use case
    without a trigger has no `fire`, and what is committed isn't rolled back.
    """
    return tuple((step, when) for step in Step for when in (When.BEFORE, When.AFTER))


@contextmanager
def fail(
    step: Step | str, when: When | str, failure: Failure, *, use_case: str | None = None, times: int | None = 1
) -> Iterator[Failpoint]:
    """Have commands fail at a point, while the block runs; yield the failpoint, which counts its hits.

    Args:
        step: A `Step`, or its name; `write_audit` is `audit`.
        when: `before` or `after`.
        failure: An exception to raise, or a function to call with the moment, in the thread (and greenlet) of the command.
        use_case: Name of the use case whose commands are to fail; by default of all.
        times: How many commands are hit, the first ones; None for all.

    Raises:
        ValueError: If there is no such step, or no such place.
    """
    point = Failpoint(_member(Step, step, "step"), _place(when), failure, use_case, times)
    with watch(point):
        yield point


@contextmanager
def crash_before(step: Step | str, *, use_case: str | None = None) -> Iterator[Failpoint]:
    """Have the next command crash before a step; see `fail`. The crash is swallowed, its consequences are what a test looks at."""
    with _crash(step, When.BEFORE, use_case) as point:
        yield point


@contextmanager
def crash_after(step: Step | str, *, use_case: str | None = None) -> Iterator[Failpoint]:
    """Have the next command crash after a step; see `fail`.

    The crash is swallowed at the end of the block, and it is an error if no command came by. What a test looks at follows:

        with crash_after("audit"):
            runtime.execute(Submit(order_id=order_id), actor=ada, idempotency_key="k")
        # nothing of it is in the database, and the same key goes through now
        runtime.execute(Submit(order_id=order_id), actor=ada, idempotency_key="k")

    Raises:
        AssertionError: If no command came by the point.
    """
    with _crash(step, When.AFTER, use_case) as point:
        yield point


@contextmanager
def _crash(step: Step | str, when: When, use_case: str | None) -> Iterator[Failpoint]:
    place: Step = _member(Step, step, "step")
    crash = Crashed(place, when)
    with fail(place, when, crash, use_case=use_case) as point:
        try:
            yield point
        except Crashed as crashed:
            if crashed is not crash:
                raise
    if not point.hits:
        raise AssertionError(f"no command came by: {when} '{place}'" + (f" of {use_case}" if use_case else ""))


def _place(when: When | str) -> When:
    place: When = _member(When, when, "place")
    if place is When.DURING:
        raise ValueError("a command fails before or after a step; 'during' only carries facts")
    return place


def _member(kind: Any, name: str, word: str) -> Any:
    try:
        return kind(_ALSO_CALLED.get(name, name))
    except ValueError:
        near = get_close_matches(name, list(kind), 1)
        hint = f"; did you mean '{near[0]}'?" if near else ""
        raise ValueError(f"there is no {word} {name!r}{hint} ({word}s: {', '.join(kind)})") from None
