"""The answers to "could I?": what a command would meet, and what can be done with an aggregate."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from usecasecore.errors import Refusal
from usecasecore.lifecycle.examination import GuardAnswer
from usecasecore.runtime.story import Story

__all__ = ["Action", "Actions", "Explanation", "Possibility"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """What `execute` would do with a command, as things are now.

    Attributes:
        use_case: Name of the use case; empty where no use case takes the command.
        refusals: Why it would be refused, in the order in which `execute` would meet it: the first is the refusal that it would
            raise, the same value. Empty where it would come as far as `apply`.
        replays: Whether it would return the stored result of an earlier run under the same key, and do nothing.
        state: Name of the state that the aggregate is in; None where nothing with a trigger was loaded.
        version: The aggregate's version; None likewise.
        trigger: What would be fired.
        destination: Name of the state that it would lead to; None where it would be refused before, or stays out of it.
        possible_from: The states for which the trigger is declared, in the order declared.
        guards: What each guard says, of each candidate in order; empty where it isn't the actor's to know.
        story: What it did, where it was rehearsed; then `refusals` has at most one, and `apply`'s own is among them.
    """

    use_case: str
    refusals: tuple[Refusal, ...] = ()
    replays: bool = False
    state: str | None = None
    version: int | None = None
    trigger: str | None = None
    destination: str | None = None
    possible_from: tuple[str, ...] = ()
    guards: tuple[GuardAnswer, ...] = ()
    story: Story | None = None

    @property
    def would_run(self) -> bool:
        """Whether `execute` would not refuse it before `apply`, whose own refusals nobody can foresee."""
        return not self.refusals

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        name = self.use_case or "this command"
        if self.replays:
            yield f"{name} would return the stored result of its key"
        elif self.would_run:
            yield f"{name} would run" + (f": {self.trigger}, {self.state} to {self.destination}" if self.trigger else "")
        else:
            yield f"{name} would not run"
        for number, refusal in enumerate(self.refusals, 1):
            yield f"  {number}. {refusal.message}"
        if any(refusal.code == "transition_not_allowed" for refusal in self.refusals):
            yield f"  {self.trigger!r} is possible from: {', '.join(self.possible_from) or 'no state'}"
        known = {failure for refusal in self.refusals for failure in refusal.params.get("failures", ())}
        for answer in self.guards:
            if answer.passed is False and (answer.guard, answer.reason) not in known:
                yield f"  also: {answer.reason} (guard {answer.guard!r})"
        if self.story is not None:
            yield str(self.story)


class Possibility(StrEnum):
    """Whether something can be done.

    `YES`: any valid command would come as far as `apply`. `NO`: every one would be refused. `DEPENDS`: on the command.
    """

    YES = "yes"
    NO = "no"
    DEPENDS = "depends"


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """What can be said of one use case before there is a command.

    Attributes:
        use_case: Its name.
        answer: Whether it would run.
        refusals: Why not, each what `execute` would raise; empty unless the answer is no.
        depends_on: What needs the command, in the order in which it would be asked: `policy`, `choose_trigger`, `aggregates` (what
            else it loads), `prepare`, or `guard NAME`. Empty unless the answer depends.
        triggers: What it may fire; empty where it fires nothing.
        destinations: Names of the states it may lead to from here; empty where the answer is no, or nothing is fired.
        reason_required: Whether the caller has to say why.
        command: Name of the command's type.
        schema: The command's JSON schema; None where a field has none. Not to be changed.
    """

    use_case: str
    answer: Possibility
    refusals: tuple[Refusal, ...] = ()
    depends_on: tuple[str, ...] = ()
    triggers: tuple[str, ...] = ()
    destinations: tuple[str, ...] = ()
    reason_required: bool = False
    command: str = ""
    schema: Mapping[str, Any] | None = None

    def __bool__(self) -> bool:
        """Whether it may be offered: the answer is yes, or depends."""
        return self.answer is not Possibility.NO


@dataclass(frozen=True, slots=True, kw_only=True)
class Actions:
    """What can be done with an aggregate, as it is now: an `Action` for each use case that loads it.

    Attributes:
        aggregate: Its name, as the ledger has it.
        key: Its key as text; several columns as `a|b`.
        version: Its version.
        states: Lifecycle -> name of the state it is in. Not to be changed.
        actions: In the order of the application.
    """

    aggregate: str
    key: str
    version: int
    states: Mapping[str, str]
    actions: tuple[Action, ...]

    @property
    def state(self) -> str | None:
        """The state of its first lifecycle; None where it has none."""
        return next(iter(self.states.values()), None)

    @property
    def possible(self) -> tuple[Action, ...]:
        """What may be offered."""
        return tuple(action for action in self.actions if action)

    def __iter__(self) -> Iterator[Action]:
        return iter(self.actions)

    def __getitem__(self, use_case: str) -> Action:
        for action in self.actions:
            if action.use_case == use_case:
                return action
        raise KeyError(use_case)
