"""A command that is run as `execute` runs it, in a transaction that is rolled back where that one would be committed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from usecasecore import steps
from usecasecore.context import Outcome
from usecasecore.errors import Rejected
from usecasecore.lifecycle.examination import GuardAnswer, sources_of
from usecasecore.messages import Command
from usecasecore.runtime.call import Asked, Call
from usecasecore.runtime.explanation import Explanation
from usecasecore.runtime.plan import Plan
from usecasecore.runtime.retry import Retry
from usecasecore.runtime.session import CommandSession
from usecasecore.runtime.shell import Shell
from usecasecore.runtime.story import Story
from usecasecore.runtime.storyteller import Storyteller
from usecasecore.steps import Firing, Moment, Step, When

__all__ = ["Rehearsal"]


class Rehearsal:
    """A `Work` that is never committed and leaves no attempt. The front door's `discard` rolls it back."""

    recorded = False

    def __init__(self, shell: Shell, plan: Plan, call: Call) -> None:
        self.retry = Retry(plan.name, call.key, shell.limits)
        self._shell, self._plan, self._call = shell, plan, call
        self._teller = Storyteller(1, only=call.command_id)
        self._fired: Firing | None = None
        self._version: int | None = None

    @classmethod
    def of(cls, shell: Shell, command: Command[Any], asked: Asked) -> Rehearsal | Explanation:
        """Return the rehearsal of a command, or the answer where it is not valid.

        Raises:
            ContractViolation: If the use case's `validate` refuses with an error that it doesn't declare.
            Exception: Whatever else `validate` raises.
        """
        try:
            plan, call = shell.call(command, asked)
        except Rejected as error:
            known = {one.command: one.name for one in shell.application.registrations}
            return Explanation(use_case=known.get(type(command), ""), refusals=(error.refusal,))
        return cls(shell, plan, call)

    @property
    def last(self) -> tuple[Plan, Call]:
        """The command."""
        return self._plan, self._call

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Write down what it does."""
        with steps.watch(self._looked_at, only=(Firing,)), self._teller.listening():
            yield

    def run(self, session: CommandSession) -> Outcome[Any]:
        """Run it, without the commit."""
        self._fired = self._version = None
        try:
            return self._shell.run(self._plan, self._call, session)
        finally:
            self._version = session.seen_version

    def ask_the_key(self) -> None:
        """Nothing was committed whose answer could be lost."""

    def accepted(self, outcome: Outcome[Any]) -> Explanation:
        """Return the answer for a command that came through."""
        return self._answer(replays=outcome.replayed)

    def refused(self, error: Exception) -> Explanation:
        """Return the answer for a command that was refused.

        Raises:
            Exception: The error, where it is no refusal; the story is a note of it.
        """
        if not isinstance(error, Rejected):
            error.add_note(str(self._story()))
            raise error
        return self._answer(refusals=(error.refusal,))

    def _answer(self, **said: Any) -> Explanation:
        told: dict[str, Any] = {"use_case": self._plan.name, "version": self._version, "story": self._story()}
        if (fired := self._fired) is not None:
            answers = tuple(GuardAnswer(one.guard, one.reason, one.passed, one.edge) for one in fired.verdicts)
            told |= {"state": fired.state, "trigger": fired.trigger, "destination": fired.dest, "guards": answers}
            told["possible_from"] = sources_of(fired.lifecycle, fired.trigger)
        return Explanation(**told, **said)

    def _story(self) -> Story:
        stories = self._teller.stories
        story = stories[-1] if stories else Story(use_case=self._plan.name)
        return replace(story, command=repr(self._call.command), actor=str(self._call.asked.actor))

    def _looked_at(self, moment: Moment) -> None:
        if moment.step is Step.FIRE and moment.when is When.DURING and moment.command_id == self._call.command_id:
            self._fired = moment.fact if isinstance(moment.fact, Firing) else self._fired
