"""Would this command run? The steps of `execute`, in its order and by its own functions, with their refusals collected.

How it works: each step that `execute` would end at is gone on from, as far as that makes sense and the actor may know. A row that
is missing, or that the actor may not know of, ends it: both give the same answer, to the byte. Who may not act gets to know that,
and what else anybody could tell who may read the row, its version and its state; the guards are not asked for them. What fails
beyond the first refusal is left out: `execute` would not have come to it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from usecasecore.context import ExecutionContext
from usecasecore.errors import AggregateNotFound, DomainError, Forbidden, InvalidCommand, Refusal, Rejected
from usecasecore.lifecycle.examination import examine, sources_of
from usecasecore.messages import Command
from usecasecore.runtime.call import Asked, Call, check_by_use_case, well_formed
from usecasecore.runtime.changes import Changes
from usecasecore.runtime.execute import authorize, check_version, chosen_trigger, replay
from usecasecore.runtime.explanation import Explanation
from usecasecore.runtime.faults import is_read_only
from usecasecore.runtime.load import Loaded
from usecasecore.runtime.plan import Plan
from usecasecore.runtime.reading import ReadingSession, read_only
from usecasecore.runtime.retry import Retry
from usecasecore.runtime.shell import Shell, note_version
from usecasecore.steps import Step

__all__ = ["WouldItRun"]

_BESIDE = ("idempotency_key", "expected_version", "request_id", "correlation_id", "causation_id")


class WouldItRun:
    """The question about one command.

    Attributes:
        known: The answer where it needs no database: nothing can be looked at for such a command. None otherwise.
    """

    def __init__(self, shell: Shell, command: Command[Any], asked: Asked) -> None:
        """Check the command.

        Raises:
            Undeclared: If the use case's `validate` refuses with an error that it doesn't declare.
            Exception: Whatever else `validate` raises.
        """
        self.known: Explanation | None = None
        self._refusals: list[Refusal] = []
        try:
            self._plan = shell.plan_for(type(command))
        except InvalidCommand as error:
            self.known = Explanation(use_case="", refusals=(error.refusal,))
            return
        call = self._well_formed(shell, command, asked)
        if call is None:
            self.known = Explanation(use_case=self._plan.name, refusals=tuple(self._refusals))
            return
        self._call = call
        self.retry = Retry(self._plan.name, call.key, shell.limits)
        self.sensitive = self._plan.sensitive
        try:
            check_by_use_case(self._plan, command)
        except DomainError as error:
            self._refusals.append(error.refusal)

    def _well_formed(self, shell: Shell, command: Command[Any], asked: Asked) -> Call | None:
        now = shell.clock()
        try:
            return well_formed(self._plan, command, asked, now, shell.limits)
        except InvalidCommand as error:
            self._refusals.append(error.refusal)
            repaired = _without_faults(asked, error)
        if repaired is None:
            return None
        try:
            return well_formed(self._plan, command, repaired, now, shell.limits)
        except InvalidCommand as error:
            self._refusals.append(error.refusal)
            return None

    def ask(self, session: ReadingSession) -> Explanation:
        """Return the answer."""
        session.begin_reading()
        with session.about(self._plan.name):
            return _Explaining(self._plan, self._call, session, list(self._refusals)).explanation()


def _without_faults(asked: Asked, error: InvalidCommand) -> Asked | None:
    """Return what goes with the command without what is wrong with it; None where the fault is in the command or the actor."""
    if any(fault["type"] != "invalid_call" for fault in error.errors):
        return None
    faulty = {fault["loc"][0] for fault in error.errors}
    if not faulty <= {*_BESIDE, "reason"}:
        return None
    nothing: dict[str, Any] = dict.fromkeys(faulty - {"reason"})
    repaired = asked._replace(**nothing)
    return repaired._replace(reason="-") if "reason" in faulty else repaired


@dataclass(slots=True)
class _Explaining:
    plan: Plan
    call: Call
    session: ReadingSession
    refusals: list[Refusal]
    found: dict[str, Any] = field(default_factory=dict)

    def explanation(self) -> Explanation:
        replays = self._steps()
        return Explanation(use_case=self.plan.name, refusals=tuple(self.refusals), replays=replays, **self.found)

    def _steps(self) -> bool:
        stored = self.plan.reader.stored(self.session, self.call)
        if stored is not None:
            try:
                replay(self.plan, self.call, stored)
            except Rejected as error:
                self._collect(error)
            else:
                return not self.refusals
        try:
            loaded = self.plan.reader.read(self.session, self.call)
        except AggregateNotFound as error:
            self._collect(error)
        else:
            self._decide(loaded)
        return False

    def _decide(self, loaded: Loaded) -> None:
        changes = Changes(self.plan, self.call, self.session)
        context = read_only(changes.context(), self.session)
        in_hand = changes.take_in_hand(loaded)
        try:
            self._ask_about(loaded, context)
        finally:
            self.session.in_hand = in_hand

    def _ask_about(self, loaded: Loaded, context: ExecutionContext) -> None:
        version = None
        if loaded.subject is not None:
            version = getattr(loaded.subject, self.plan.plan_of(type(loaded.subject)).version)
        forbidden = False
        self.session.seen_version = version
        try:
            authorize(self.plan, self.call, self.session, loaded, context)
        except AggregateNotFound as error:
            self.session.require_no_write()
            self._collect(error)
            return
        except Forbidden as error:
            self.session.require_no_write()
            self._collect(error)
            forbidden = True
        self.found["version"] = version
        try:
            check_version(self.plan, self.call, version)
        except Rejected as error:
            self._collect(error)
        if self.plan.triggers:
            self._fire(loaded, context, forbidden)

    def _fire(self, loaded: Loaded, context: ExecutionContext, forbidden: bool) -> None:
        if forbidden and self.plan.trigger is None:
            return  # only `choose_trigger` knows what would be fired, and it is not asked on behalf of this actor
        self.session.enter(Step.FIRE)
        refused = bool(self.refusals)
        try:
            trigger = chosen_trigger(self.plan, self.call.command, loaded.state, context)
            self._examine(loaded.subject, trigger, context, forbidden)
        except Rejected as error:  # user code may refuse there too
            self._collect(error)
        except Exception as error:
            # Beyond a refusal `execute` would not have come to it.
            if not refused or is_read_only(error):
                raise

    def _examine(self, subject: Any, trigger: str, context: ExecutionContext, forbidden: bool) -> None:
        lifecycle = self.plan.lifecycle_of(subject)
        self.found |= {"trigger": trigger, "possible_from": sources_of(lifecycle, trigger), "state": lifecycle.state_of(subject)}
        if forbidden and self.found["state"] in self.found["possible_from"]:
            return
        seen = examine(lifecycle, subject, trigger, {"command": self.call.command, "context": context})
        self.found |= {"state": seen.state, "guards": seen.answers}
        if seen.refusal is not None:
            self._collect(seen.refusal)
        else:
            self.found["destination"] = seen.destinations[0]

    def _collect(self, error: Rejected) -> None:
        note_version(error, self.session.seen_version)
        self.refusals.append(error.refusal)
