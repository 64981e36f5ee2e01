"""What would happen if a trigger were fired, found out without firing it.

How it works: the candidates are gone through as `fire` would, in the same order, up to the first that may be taken: its
`prepare` callbacks are called, then its guards are asked, up to the first no. They may look at anything and set what they like
on the aggregate, which is therefore a private copy. No other callback is called and the state stays as it is. Where nothing may
be taken, the guards that `fire` would not have come to are asked as well, so that all reasons are known at once; as nobody
relies on these being asked, one that fails then is left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from usecasecore.errors import DefinitionError, GuardRejected, TransitionNotAllowed
from usecasecore.lifecycle.absent import UNKNOWN, Absent, Unknown
from usecasecore.lifecycle.graph import Edge
from usecasecore.lifecycle.guards import Guard
from usecasecore.lifecycle.lifecycle import Lifecycle
from usecasecore.lifecycle.machine import Path

__all__ = ["Examination", "GuardAnswer", "examine", "sources_of"]


@dataclass(frozen=True, slots=True)
class GuardAnswer:
    """What a guard says of one transition.

    Attributes:
        guard: Its name.
        reason: What a refusal by it says.
        passed: Whether the transition may be made as far as it goes; None where that can't be told without the command.
        edge: The transition.
    """

    guard: str
    reason: str
    passed: bool | None
    edge: Edge


@dataclass(frozen=True, slots=True)
class Examination:
    """What would happen if a trigger were fired.

    Attributes:
        state: Name of the state that the aggregate is in.
        refusal: What `fire` would raise; None where it would not refuse, or where that can't be told without the command.
        certain: False where that can't be told.
        destinations: Names of the states in which it may end, in the order of the candidates: one where all is certain.
        answers: Each guard that was asked, in the order of the candidates.
    """

    state: str
    refusal: TransitionNotAllowed | GuardRejected | None
    certain: bool
    destinations: tuple[str, ...]
    answers: tuple[GuardAnswer, ...]

    @property
    def undecided(self) -> tuple[str, ...]:
        """Names of the guards that need the command."""
        return tuple(dict.fromkeys(answer.guard for answer in self.answers if answer.passed is None))


def examine(
    lifecycle: Lifecycle,
    aggregate: object,
    trigger: str,
    said: dict[str, Any],
    *,
    absent: Absent | None = None,
    every: bool = True,
) -> Examination:
    """Find out what `fire` would do.

    Args:
        lifecycle: Of the aggregate's own class.
        aggregate: A private copy, to be thrown away: `prepare` callbacks may leave something on it.
        trigger: What would be fired.
        said: What guards find as `event.kwargs`.
        absent: What is absent from `said`; None where all of it is there.
        every: Whether the guards are asked too that a refusal would not have come to.

    Raises:
        UndeclaredState: If the aggregate is in none of the states.
        DefinitionError: If there is no such trigger.
        Exception: Whatever a guard raises that `fire` would have asked.
    """
    state = lifecycle.state_of(aggregate)
    paths = lifecycle.machine.candidates(state, trigger)
    if not paths:
        if trigger not in lifecycle.triggers:
            raise DefinitionError(f"{lifecycle.location}: lifecycle {lifecycle.name!r}: there is no trigger {trigger!r}")
        wrong = TransitionNotAllowed(lifecycle=lifecycle.name, trigger=trigger, state=state, allowed=lifecycle.allowed(state))
        return Examination(state, wrong, True, (), ())
    walk = _Walk(lifecycle, aggregate, trigger, state, said, absent)
    return walk.examination(paths, every)


def sources_of(lifecycle: Lifecycle, trigger: str) -> tuple[str, ...]:
    """Return the states in which an aggregate can be found and for which a trigger is declared."""
    return tuple(state for state in lifecycle.states if trigger in lifecycle.allowed(state))


class _Walk:
    def __init__(
        self, lifecycle: Lifecycle, aggregate: object, trigger: str, state: str, said: dict[str, Any], absent: Absent | None
    ) -> None:
        self._lifecycle, self._trigger, self._state = lifecycle, trigger, state
        self._absent = absent
        self._event = lifecycle.machine.question(state, trigger, aggregate, said)
        self._answers: dict[tuple[int, int], GuardAnswer] = {}
        self._sure = True  # that `fire` would come this far

    def examination(self, paths: tuple[Path, ...], every: bool) -> Examination:
        possible: list[Path] = []
        taken: bool | Unknown = False  # the answer of the last candidate that was looked at
        for place, path in enumerate(paths):
            taken = self._may_take(place, path)
            if taken is not False:
                possible.append(path)
                self._sure = False
            if taken is True:
                break
        destinations = tuple(dict.fromkeys(path.dest or self._state for path in possible))
        refusal = None if possible else self._refusal()
        if refusal is not None and every:
            self._ask_the_others(paths)
        answers = tuple(answer for _, answer in sorted(self._answers.items(), key=lambda item: item[0]))
        return Examination(self._state, refusal, taken is True or not possible, destinations, answers)

    def _may_take(self, place: int, path: Path) -> bool | Unknown:
        self._event.transition = path
        prepared = self._prepared(path)
        answer: bool | Unknown = True if prepared else UNKNOWN
        for number, guard in enumerate(path.guards):
            passed = self._asked(guard, sure=self._sure and answer is True) if prepared else UNKNOWN
            self._note(place, number, guard, path, passed)
            if passed is False:
                return False
            answer = UNKNOWN if passed is UNKNOWN else answer
        return answer

    def _prepared(self, path: Path) -> bool:
        """Call the `prepare` callbacks; say whether the guards can rely on what they left."""
        return all(self._ask(call, sure=self._sure) is not UNKNOWN for call in path.prepare)

    def _asked(self, guard: Guard, *, sure: bool) -> bool | Unknown:
        answer: bool | Unknown = self._ask(guard, sure=sure)
        return answer

    def _ask(self, question: Any, *, sure: bool) -> Any:
        try:
            return question(self._event) if self._absent is None else self._absent.ask(question, self._event)
        except Exception:
            if sure:
                raise
            return UNKNOWN

    def _note(self, place: int, number: int, guard: Guard, path: Path, passed: bool | Unknown) -> None:
        known = None if passed is UNKNOWN else passed
        self._answers[place, number] = GuardAnswer(guard.name, guard.reason, known, path.edge)

    def _refusal(self) -> GuardRejected:
        return GuardRejected(
            lifecycle=self._lifecycle.name,
            trigger=self._trigger,
            state=self._state,
            failures=self._failures(),
            allowed=self._lifecycle.allowed(self._state),
        )

    def _failures(self) -> Iterator[tuple[str, str]]:
        return ((answer.guard, answer.reason) for answer in self._answers.values() if answer.passed is False)

    def _ask_the_others(self, paths: tuple[Path, ...]) -> None:
        for place, path in enumerate(paths):
            self._event.transition = path
            for number, guard in enumerate(path.guards):
                if (place, number) not in self._answers:
                    passed = self._asked(guard, sure=False)
                    if passed is not UNKNOWN:
                        self._note(place, number, guard, path, passed)
