"""StepTimer: how long each step of the shell takes, and which function of the user's is slow.

    with StepTimer() as timer:
        serve()
    print(timer.table())

How it works: a watcher of `usecasecore.steps`, so that nothing is paid while none is open. A step's time runs from the moment
before it to the moment after it; what the steps tell in between (a policy's answer, a firing) parts it further. Steps that fail have no
end and are not counted. On PostgreSQL `result` is the time of the whole statement that writes, because `audit` and `messages`
travel in it.
"""

from __future__ import annotations

import statistics
import threading
import time
from collections import deque
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from usecasecore import steps
from usecasecore.steps import Answer, Firing, Moment, Serialised, Step, When

__all__ = ["StepTime", "StepTimer"]

KEPT = 10_000
"""Of how many runs of a step the times are kept: the last ones."""


@dataclass(frozen=True, slots=True)
class StepTime:
    """How long a step, or the user's function in it, took.

    Attributes:
        use_case: Name of the use case.
        step: The step.
        function: What of the user's ran in it, as `AnswerTicket.apply`, `policy.permitted`, `guards of answer: has_budget` or
            `TicketAnswered as JSON` (an event, a job or the result); empty for the step as a whole where nothing of the user's did.
        runs: How often.
        median: In seconds.
        longest: In seconds.
    """

    use_case: str
    step: Step
    function: str
    runs: int
    median: float
    longest: float


@dataclass(slots=True)
class _Open:
    step: Step
    started: float
    told: float


@dataclass(slots=True)
class StepTimer:
    """Measures the steps of every command in this process while it is open; usable once."""

    _seen: dict[tuple[str, Step, str], deque[float]] = field(default_factory=dict)
    _open: dict[int, list[_Open]] = field(default_factory=dict)
    _watching: AbstractContextManager[None] | None = None

    def __enter__(self) -> Self:
        self._watching = steps.watch(self._note)
        self._watching.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        if self._watching is not None:
            self._watching.__exit__(kind, error, traceback)

    def times(self) -> tuple[StepTime, ...]:
        """Return what was seen: by use case, then in the order of the steps."""
        order = list(Step)
        known = sorted(dict(self._seen).items(), key=lambda one: (one[0][0], order.index(one[0][1]), one[0][2]))
        return tuple(StepTime(*key, len(taken), statistics.median(taken), max(taken)) for key, taken in known)

    def slowest(self) -> StepTime | None:
        """Return the function of the user's whose median is the longest; None where none ran."""
        return max((one for one in self.times() if one.function), key=lambda one: one.median, default=None)

    def table(self) -> str:
        """Return what was seen as a table, medians and longest in microseconds, and which function of the user's is the slowest."""
        rows = [("use case", "step", "function", "runs", "median us", "longest us")]
        rows += [
            (one.use_case, one.step, one.function, str(one.runs), f"{one.median * 1e6:.0f}", f"{one.longest * 1e6:.0f}")
            for one in self.times()
        ]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            "  ".join(
                cell.ljust(width) if place < 3 else cell.rjust(width)
                for place, (cell, width) in enumerate(zip(row, widths, strict=True))
            )
            for row in rows
        ]
        if slow := self.slowest():
            lines.append(f"slowest of your own: {slow.function} in {slow.use_case}, {slow.median * 1e6:.0f} us")
        return "\n".join(lines)

    def _note(self, moment: Moment) -> None:
        now = time.perf_counter()
        # A session is one attempt, which one thread or task runs; before there is one, the thread runs nothing else.
        key = threading.get_ident() if moment.session is None else id(moment.session)
        if moment.when is When.BEFORE:
            if moment.step is Step.ROLLBACK:
                self._open.pop(key, None)
            self._open.setdefault(key, []).append(_Open(moment.step, now, now))
            return
        running = self._open.get(key)
        if not running or running[-1].step is not moment.step:
            return
        if moment.when is When.DURING:
            # Where others watch too, facts are told that nobody here asked for.
            if isinstance(moment.fact, Answer | Firing):
                self._keep(moment.use_case, moment.step, _told(moment.fact), now - running[-1].told)
                running[-1].told = time.perf_counter()
            elif isinstance(moment.fact, Serialised):
                self._keep(moment.use_case, moment.step, f"{type(moment.fact.message).__name__} as JSON", moment.fact.seconds)
            return
        one = running.pop()
        if not running:
            del self._open[key]
        self._keep(
            moment.use_case, moment.step, f"{moment.use_case}.apply" if moment.step is Step.APPLY else "", now - one.started
        )

    def _keep(self, use_case: str, step: Step, function: str, seconds: float) -> None:
        self._seen.setdefault((use_case, step, function), deque(maxlen=KEPT)).append(seconds)


def _told(fact: Answer | Firing) -> str:
    if isinstance(fact, Answer):
        return f"policy.{fact.question}"
    guards = ", ".join(verdict.guard for verdict in fact.verdicts)
    return f"guards of {fact.trigger}: {guards}" if guards else f"{fact.trigger} (no guards)"
