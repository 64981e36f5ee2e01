"""A batch: many commands of one use case in one transaction, each decided by the whole shell.

How it works. Rows are locked and keys are looked up for all, then each command is decided in the order given, as a single one is:
policy, version, trigger, guards, `apply`. What was changed is written at once at the end, and everything that the ledger gets too:
see `gathering`, or by a flush where that can't be. Two things could make that differ from one command after the other, and both are
noticed:

- User code that asks the database would not see what the commands before it did, as that is not flushed yet. At its first
  statement the batch is given up, and from then on each command gets a transaction of its own.
- A refused command may have changed something. Its own aggregate leaves the session, so that nothing of it is flushed. If
  anything else may be changed too, the batch starts anew without that command, which is then decided alone.

Whatever goes wrong for one row (a constraint, a lock that somebody keeps) is likewise decided for each command alone.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NoReturn, TypeAlias

from sqlalchemy import event
from sqlalchemy.exc import InvalidRequestError, StatementError
from sqlalchemy.orm.attributes import instance_state

from usecasecore import steps
from usecasecore.context import Outcome
from usecasecore.errors import AggregateBusy, Conflict, IdempotencyKeyReused, Rejected, ReplayIncompatible, UseCaseError
from usecasecore.ledger.entries import Attempt, Entries, StoredResult
from usecasecore.messages import Result
from usecasecore.runtime.call import Call
from usecasecore.runtime.changes import Changes, Joined
from usecasecore.runtime.execute import decide, replay
from usecasecore.runtime.faults import Fault, fault_of
from usecasecore.runtime.gathering import Gathering
from usecasecore.runtime.load import Loaded
from usecasecore.runtime.locked_rows import Key, Locked, LockedRows, Token, token_of
from usecasecore.runtime.plan import Plan
from usecasecore.runtime.retry import Retry
from usecasecore.runtime.session import CommandSession
from usecasecore.runtime.shell import Shell, note_version
from usecasecore.runtime.work import OneCommand
from usecasecore.steps import Step

__all__ = ["Batch", "Decided", "Manner"]

_made = tuple.__new__  # what a named tuple's own `__new__` calls

Decided: TypeAlias = Outcome[Any] | Rejected | Conflict
"""What became of one command of many."""


@dataclass(slots=True)
class Manner:
    """How the batches of one run are worked off.

    Attributes:
        skip_locked: Whether rows that somebody else has locked are left out at once.
        together: Whether commands share a transaction; no longer once user code has asked the database.
        gathers: Whether what they write is gathered instead of flushed; no longer once there was something that must be flushed.
    """

    skip_locked: bool
    together: bool
    gathers: bool = True


class _Anew(Exception):
    """The batch has to start from the beginning, in the manner that is now noted."""


class _BatchRetry(Retry):
    """Decides for a batch: what one row is to blame for sends its commands into transactions of their own.

    It doesn't keep the batch: a circle of the two would keep thousands of objects until the garbage collector finds it.
    """

    batch: weakref.ref[Batch]

    def _gives_way(self, fault: Fault, step: Step | None) -> bool:
        batch = self.batch()
        return batch is not None and batch.gives_way(fault, step)

    def after(self, error: BaseException, step: Step | None, commit_sent_at: float | None = None) -> float | UseCaseError | None:
        """See `Retry.after`."""
        if isinstance(error, _Anew):
            return 0.0
        if isinstance(error, StatementError) and self._gives_way(fault_of(error), step):
            return 0.0
        if isinstance(error, OverflowError) and step is Step.LOAD and self._gives_way(Fault.VALUE, step):
            return 0.0
        return Retry.after(self, error, step, commit_sent_at)


@dataclass(slots=True)
class _One:
    """A command of the batch."""

    place: int
    call: Call
    row: Key
    token: Token
    alone: bool = False


@dataclass(slots=True)
class _Accepted:
    """A command that `apply` has accepted; nothing of it is flushed yet."""

    one: _One
    changes: Changes
    aggregate: Any
    result: Result
    version: int | None
    detail: dict[str, Any]
    values: dict[str, Any]


@dataclass(slots=True)
class _Attempt:
    """What one run of the batch has come to."""

    began: datetime | None = None
    decided: dict[int, Decided] = field(default_factory=dict)
    accepted: list[_Accepted] = field(default_factory=list)
    gathering: Gathering | None = None
    gathered: int = 0
    left: int = 0
    refused: list[Attempt] = field(default_factory=list)
    join: Joined | None = None


class Batch:
    """Commands of one use case on different aggregates, under different keys.

    Attributes:
        results: What became of each, in the order given; None while it is not decided.
    """

    recorded = True

    def __init__(self, shell: Shell, plan: Plan, rows: LockedRows | None, manner: Manner) -> None:
        self.results: list[Decided | None] = []
        self._shell, self._plan, self._rows, self._manner = shell, plan, rows, manner
        self._pending: list[_One] = []
        self._keys: set[str] = set()
        self._seen: set[Token] = set()
        self._skip_locked = manner.skip_locked
        self._spoke = False
        self._current: _One | None = None
        self._commit_timeout = shell.limits.commit_timeout.total_seconds()
        retry = _BatchRetry(plan.name, "", shell.limits)
        retry.batch = weakref.ref(self)
        self.retry: Retry = retry

    def add(self, call: Call) -> bool:
        """Add a command; say whether it could be: none under its key, or on its aggregate, is in the batch yet."""
        row = () if self._rows is None else self._rows.key_of(call)
        token = token_of(row)
        key, seen = call.key, len(self._seen)
        if key in self._keys:
            return False
        if row:
            self._seen.add(token)
            if len(self._seen) == seen:  # it was there; to ask for it first would hash it twice
                return False
        self._keys.add(key)
        self._pending.append(_One(len(self.results), call, row, token))
        self.results.append(None)
        return True

    def add_refused(self, error: Rejected) -> None:
        """Add a command that is refused already."""
        self.results.append(error)

    @property
    def together(self) -> bool:
        """Whether any of its commands are to share a transaction; where none are, there is nothing to run."""
        return self._rows is not None and self._manner.together and any(not one.alone for one in self._pending)

    @property
    def last(self) -> tuple[Plan, Call] | None:
        """The command that was decided last: where user code fails, the one that it failed for."""
        return None if self._current is None else (self._plan, self._current.call)

    def run(self, session: CommandSession) -> None:
        """Decide all commands that may be decided together, and commit; the others stay for `alone`."""
        self._current, self._spoke = None, False
        if self._rows is None or not self.together:
            return
        attempt = _Attempt()
        try:
            self._attempt(session, self._rows, attempt, [one for one in self._pending if not one.alone])
        finally:
            if attempt.gathering is not None:
                attempt.gathering.close()
        if attempt.accepted or attempt.gathered or attempt.refused:
            session.finish(self._commit_timeout)
        for place, decided in attempt.decided.items():
            self.results[place] = decided

    def alone(self) -> Iterator[tuple[int, OneCommand]]:
        """Return place and work of each command that has to be run in a transaction of its own."""
        for one in self._pending:
            if self.results[one.place] is None:
                yield one.place, OneCommand(self._shell, self._plan, one.call)

    def ask_the_key(self) -> None:
        """See `Work.ask_the_key`."""
        for one in self._pending:
            one.call = one.call._replace(fresh=False)

    def gives_way(self, fault: Fault, step: Step | None) -> bool:
        """Say whether the batch starts anew because of a failure that not all of it is to blame for."""
        if fault is Fault.BUSY and step is Step.LOAD and not self._skip_locked:
            self._skip_locked = True  # it has waited long enough: what is still locked now is busy
            return True
        if fault in (Fault.CONSTRAINT, Fault.VALUE) or (fault is Fault.BUSY and step not in (None, Step.BEGIN, Step.COMMIT)):
            self._all_alone()
            return True
        return False

    def _all_alone(self) -> None:
        for one in self._pending:
            one.alone = True

    def _attempt(self, session: CommandSession, rows: LockedRows, attempt: _Attempt, together: Sequence[_One]) -> None:
        session.application, session.running = self._shell.application, (self._plan.name, None)
        session.enter(Step.BEGIN)
        attempt.began = rows.begin(session, self._shell.lock_timeout)
        session.enter(Step.LOAD)
        asked = together[0].call.asked
        found = rows.lock(session, [one.row for one in together], asked.actor, skip_locked=self._skip_locked)
        session.enter(Step.IDEMPOTENCY)
        stored = self._stored(session, together, found)
        self._miss(session, rows, attempt, [one for one in together if one.token not in found], stored)
        session.leave()
        if self._manner.gathers:
            attempt.gathering = Gathering.of(self._plan, session, asked, attempt.began)
        attempt.left, anew = len(together), False
        attempt.join = self._nested  # one for all commands
        with self._listening(session):
            for one in together:
                attempt.left -= 1
                if one.alone or one.place in attempt.decided:
                    continue
                self._current = one
                aggregate = self._taken(found, one)
                self._decide_one(session, attempt, one, aggregate, stored.get(one.call.key) if stored else None)
                anew = anew or one.alone
        if anew:
            raise _Anew
        self._current = None
        self._record(session, attempt)

    def _taken(self, found: Locked, one: _One) -> Any:
        try:
            return found.take(one.token)
        except InvalidRequestError:  # a command before this one put it into the session
            self._fall_apart()

    def _stored(self, session: CommandSession, together: Sequence[_One], found: Locked) -> dict[str, StoredResult]:
        # After the rows are locked: whoever ran the same command has committed by now, and a new statement sees it.
        keys, any_call = [one.call.key for one in together if not one.call.fresh], together[0].call
        return self._plan.store.look_up_many(session.connection(), any_call.scoped_key, keys, found.prepare) if keys else {}

    def _miss(
        self,
        session: CommandSession,
        rows: LockedRows,
        attempt: _Attempt,
        missed: Sequence[_One],
        stored: dict[str, StoredResult],
    ) -> None:
        """Decide what to do about commands whose row was not locked."""
        there: set[Token] = set()
        if missed and self._skip_locked:
            there = rows.there(session, [one.row for one in missed], missed[0].call.asked.actor)
        for one in missed:
            if one.token in there and one.call.key not in stored:
                attempt.decided[one.place] = self._busy(one)
            else:
                one.alone = True

    def _busy(self, one: _One) -> AggregateBusy:
        waited = 0.0 if self._manner.skip_locked else self._shell.limits.lock_timeout.total_seconds()
        error = AggregateBusy(use_case=self._plan.name, waited=waited)
        error.command_id = one.call.command_id
        return error

    def _decide_one(
        self, session: CommandSession, attempt: _Attempt, one: _One, aggregate: Any, stored: StoredResult | None
    ) -> None:
        plan, call = self._plan, one.call
        session.start(plan.name, call.command_id)
        session.seen_version = None
        if stored is not None:
            if steps.Replay in steps.wanted:
                session.step = Step.IDEMPOTENCY
                session.tell(steps.Replay(stored.command_id))
                session.step = None
            try:
                attempt.decided[one.place] = replay(plan, call, stored)
            except (IdempotencyKeyReused, ReplayIncompatible):
                one.alone = True  # the single command says so, and writes it down
            return
        if instance_state(aggregate).modified:  # by a command before this one, on another aggregate
            self._fall_apart()
        try:
            self._accept(session, attempt, one, aggregate)
        except Rejected as refusal:
            if self._spoke:
                self._fall_apart()
            self._refuse(session, attempt, one, aggregate, refusal)
        else:
            if self._spoke:
                self._fall_apart()

    def _accept(self, session: CommandSession, attempt: _Attempt, one: _One, aggregate: Any) -> None:
        plan, call = self._plan, one.call
        changes = Changes(plan, call, session, attempt.join)
        context = changes.context()
        found = _made(Loaded, (aggregate, (aggregate,), (), aggregate, attempt.began, False))
        result = decide(plan, call, session, changes, context, found)
        version = changes.raise_versions()
        detail = dict(plan.audit(call.command, aggregate, context)) if plan.audit else {}
        session.leave()
        if attempt.gathering is None:
            attempt.accepted.append(_Accepted(one, changes, aggregate, result, version, detail, self._values(aggregate)))
            return
        taken = attempt.gathering.take(changes, aggregate, result, version, detail)
        self._current = None  # what goes wrong from here on may be any command's
        if self._spoke or not taken or not attempt.gathering.send_ahead(attempt.left):
            self._not_gathered(attempt.gathering)
        attempt.gathered += 1
        attempt.decided[one.place] = Outcome(result, call.key, False, version, call.command_id)

    def _refuse(self, session: CommandSession, attempt: _Attempt, one: _One, aggregate: Any, refusal: Rejected) -> None:
        session.expunge(aggregate)
        # Who watches transitions takes those of this transaction for committed: of a refused command there must be none.
        watched = session.step is Step.APPLY and steps.Firing in steps.wanted
        if watched or session.new or session.deleted or self._others_changed(session, attempt):
            one.alone = True
            return
        note_version(refusal, session.seen_version)
        refusal.command_id = one.call.command_id
        attempt.decided[one.place] = refusal
        if self._shell.is_recorded(refusal):
            attempt.refused.append(self._shell.attempt((self._plan, one.call), refusal, session.seen_version))

    def _others_changed(self, session: CommandSession, attempt: _Attempt) -> bool:
        known = {id(accepted.aggregate) for accepted in attempt.accepted}
        return any(id(other) not in known for other in session.dirty)

    def _nested(self, *_arguments: Any) -> NoReturn:
        self._spoke = True  # a command inside of another one asks the database
        raise _Anew

    def _not_gathered(self, gathering: Gathering) -> NoReturn:
        if self._spoke or gathering.is_changed_again():
            self._fall_apart()
        self._manner.gathers = False
        raise _Anew

    def _fall_apart(self) -> NoReturn:
        self._manner.together = False
        raise _Anew

    @contextmanager
    def _listening(self, session: CommandSession) -> Iterator[None]:
        """Take note of each statement that is sent while user code runs."""
        connection = session.connection()

        def spoken(*_arguments: Any) -> None:
            self._spoke = True

        event.listen(connection, "before_cursor_execute", spoken)
        try:
            yield
        except Exception:
            if self._spoke:
                self._fall_apart()
            raise
        finally:
            event.remove(connection, "before_cursor_execute", spoken)

    def _values(self, aggregate: Any) -> dict[str, Any]:
        values = aggregate.__dict__
        return {name: values[name] for name in self._plan.plan_of(type(aggregate)).tracked if name in values}

    def _record(self, session: CommandSession, attempt: _Attempt) -> None:
        session.running = (self._plan.name, None)
        if attempt.gathering is None:
            self._flush(session, attempt)
        elif not attempt.gathering.send():
            self._not_gathered(attempt.gathering)
        if attempt.refused:
            self._plan.store.write_attempts(session.connection(), attempt.refused)
        session.leave()

    def _flush(self, session: CommandSession, attempt: _Attempt) -> None:
        for accepted in attempt.accepted:
            if self._values(accepted.aggregate) != accepted.values:  # a later command changed it too
                self._fall_apart()
        session.enter(Step.FLUSH)
        session.flush()
        session.enter(Step.AUDIT)
        if attempt.accepted:
            entries = self._entries(session, attempt)
            self._plan.store.write_many(session.connection(), entries, began=attempt.began, enter=session.enter)
        for accepted in attempt.accepted:
            call = accepted.one.call
            attempt.decided[accepted.one.place] = Outcome(accepted.result, call.key, False, accepted.version, call.command_id)

    def _entries(self, session: CommandSession, attempt: _Attempt) -> list[Entries]:
        made = []
        for accepted in attempt.accepted:
            self._current = accepted.one
            made.append(accepted.changes.entries(accepted.result, accepted.version, accepted.detail))
            if steps.Record in steps.wanted:
                session.tell(steps.Record(made[-1]))
        self._current = None
        return made
