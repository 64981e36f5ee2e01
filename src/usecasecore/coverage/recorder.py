"""Recorder: watches the shell and counts what it does to lifecycles.

How it works: a firing is known when it is made, but what it is worth only when its transaction ends. Until then it waits
with its session: the runtime's own commit makes it committed, wherever a fixture keeps that commit; for a command in the
caller's transaction it is the commit of the caller's session, and what was done inside of a savepoint that is rolled back
is rolled back with it. A commit whose answer was lost counts once the same command is found to have been executed.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeAlias
from uuid import UUID
from weakref import WeakKeyDictionary

from usecasecore.coverage.facts import Fact, Kind
from usecasecore.steps import Creation, Firing, Moment, Replay, Step, Wanted, When, watch

__all__ = ["Recorder"]

Hits: TypeAlias = "Counter[tuple[Any, Fact, str]]"
"""(lifecycle, fact, test) -> how often."""


@dataclass(slots=True)
class _Made:
    """Something that counts for nothing before it is committed."""

    lifecycle: Any
    aggregate: Any
    fact: Fact
    test: str


@dataclass(slots=True)
class _Waiting:
    """What one attempt, or one transaction of a caller's, has made so far."""

    made: list[_Made] = field(default_factory=list)
    commands: set[UUID] = field(default_factory=set)
    committing: bool = False


class Recorder:
    """Counts facts about the lifecycles of this process; one for all threads and tasks. Itself a watcher.

    Attributes:
        test: Id of the test that runs; what happens now is counted for it.
        hits: How often each fact was seen for each lifecycle and test.
        applications: Every application that ran a command.
        on_news: Called when a fact is seen that was not seen before for this lifecycle and test.
        muted: True in a forked child, where another one has taken over.
    """

    WANTED: ClassVar[tuple[Wanted, ...]] = (Firing, Creation, Replay, Step.COMMIT, Step.ROLLBACK)

    def __init__(self, on_news: Callable[[], None] | None = None) -> None:
        self.test = ""
        self.hits: Hits = Counter()
        self.applications: dict[int, Any] = {}
        self.on_news = on_news
        self.muted = False
        self._keys: dict[Any, tuple[str, ...]] = {}
        self._waiting: dict[Any, _Waiting] = {}
        self._unknown: dict[UUID, _Waiting] = {}
        self._last: dict[tuple[Any, Any], tuple[str, str]] = {}
        self._callers: WeakKeyDictionary[Any, dict[Any, _Waiting]] = WeakKeyDictionary()
        self._lock = threading.RLock()

    def watching(self) -> AbstractContextManager[None]:
        """Return what records while it is entered."""
        return watch(self, self.WANTED)

    def begin_test(self, test: str) -> None:
        """Count for another test from now on. Two transitions are in a row only within one."""
        with self._lock:
            if test != self.test:
                self.test = test
                self._last.clear()

    def __call__(self, moment: Moment) -> None:
        """Take note of a moment of a command."""
        fact = moment.fact
        if fact is None and moment.step is not Step.COMMIT and moment.step is not Step.ROLLBACK:
            return
        if self.muted:
            return
        if fact is None:
            self._ended(moment)
            return
        if isinstance(fact, Firing):
            self._fired(moment, fact)
        elif isinstance(fact, Creation):
            self._note_application(moment.session)
            created = Fact(Kind.CREATED, moment.use_case, source=fact.lifecycle.initial)
            self._wait(moment, _Made(fact.lifecycle, fact.aggregate, created, self.test))
        elif isinstance(fact, Replay):
            self._replayed(fact)

    def _fired(self, moment: Moment, firing: Firing) -> None:
        self._note_application(moment.session)
        lifecycle, name = firing.lifecycle, moment.use_case
        said = (name, firing.trigger, firing.state)
        self._count(lifecycle, Fact(Kind.ATTEMPTED, *said))
        if not firing.declared:
            self._count(lifecycle, Fact(Kind.REFUSED, *said))
            return
        keys = self._keys_of(lifecycle)
        for verdict in firing.verdicts:
            if not verdict.passed:
                self._count(lifecycle, Fact(Kind.STOPPED, *said, edge=keys[verdict.edge.index], guard=verdict.guard))
        if firing.edge is not None:
            fact = Fact(Kind.COMMITTED, *said, dest=firing.dest or "", edge=keys[firing.edge.index])
            self._wait(moment, _Made(lifecycle, firing.aggregate, fact, self.test))

    def _note_application(self, session: Any) -> None:
        application = getattr(session, "application", None)
        if application is not None and id(application) not in self.applications:
            self.applications[id(application)] = application

    def _keys_of(self, lifecycle: Any) -> tuple[str, ...]:
        keys = self._keys.get(lifecycle)
        if keys is None:
            from usecasecore.coverage.declared import edge_keys

            keys = self._keys[lifecycle] = edge_keys(lifecycle.graph)
        return keys

    def _count(self, lifecycle: Any, fact: Fact, test: str | None = None) -> None:
        hit = lifecycle, fact, self.test if test is None else test
        with self._lock:
            is_news = hit not in self.hits
            self.hits[hit] += 1
        if is_news and self.on_news is not None:
            self.on_news()

    # What waits for the end of its transaction

    def _wait(self, moment: Moment, made: _Made) -> None:
        session = moment.session
        if session is None:  # fired by hand, outside of any command: nobody will say that it was committed
            return
        caller = getattr(session, "caller", None)
        with self._lock:
            if caller is not None:
                self._wait_for_caller(caller, made)
                return
            waiting = self._waiting.setdefault(session, _Waiting())
            waiting.made.append(made)
            if moment.command_id is not None:
                waiting.commands.add(moment.command_id)

    def _ended(self, moment: Moment) -> None:
        with self._lock:
            waiting = self._waiting.get(moment.session)
            if waiting is None:
                return
            if moment.step is Step.COMMIT and moment.when is When.BEFORE:
                waiting.committing = True
                return
            if moment.step is Step.ROLLBACK and moment.when is When.BEFORE:
                return
            del self._waiting[moment.session]
            if moment.step is Step.COMMIT:
                self._commit(waiting)
            elif waiting.committing:
                self._unknown.update(dict.fromkeys(waiting.commands, waiting))
            else:
                self._roll_back(waiting)

    def _replayed(self, replay: Replay) -> None:
        with self._lock:
            waiting = self._unknown.get(replay.command_id)
            if waiting is not None:
                self._unknown = {one: other for one, other in self._unknown.items() if other is not waiting}
                self._commit(waiting)

    def settle(self) -> None:
        """Take what is still undecided for rolled back: nobody will say any more that it was committed."""
        with self._lock:
            undecided = {id(one): one for one in (*self._unknown.values(), *self._waiting.values())}
            self._unknown, self._waiting = {}, {}
            for waiting in undecided.values():
                self._roll_back(waiting)

    def _commit(self, waiting: _Waiting) -> None:
        for one in waiting.made:
            self._count(one.lifecycle, one.fact, one.test)
            if one.fact.kind is Kind.COMMITTED:
                self._follow(one)
        waiting.made.clear()

    def _roll_back(self, waiting: _Waiting) -> None:
        for one in waiting.made:
            if one.fact.kind is Kind.COMMITTED:
                self._count(one.lifecycle, one.fact._replace(kind=Kind.ROLLED_BACK), one.test)
        waiting.made.clear()

    def _follow(self, one: _Made) -> None:
        if one.test != self.test:
            return
        row = one.lifecycle, _identity(one.aggregate)
        before = self._last.get(row)
        self._last[row] = one.fact.edge, one.fact.dest
        # A database that began anew within the test may give a key out again: the states tell.
        if before is not None and before[1] == one.fact.source:
            self._count(one.lifecycle, Fact(Kind.FOLLOWED, edge=one.fact.edge, before=before[0]), one.test)

    # Transactions of the caller's

    def _wait_for_caller(self, caller: Any, made: _Made) -> None:
        if caller not in self._callers:
            self._callers[caller] = {}
            self._listen(caller)
        transaction = caller.get_nested_transaction() or caller.get_transaction()
        self._callers[caller].setdefault(transaction, _Waiting()).made.append(made)

    def _listen(self, caller: Any) -> None:
        from sqlalchemy import event

        event.listen(caller, "after_commit", self._caller_committed)
        event.listen(caller, "after_transaction_end", self._caller_ended)

    def _caller_committed(self, caller: Any) -> None:
        nested = caller.get_nested_transaction()
        with self._lock:
            waiting = self._callers[caller].pop(nested or caller.get_transaction(), None)
            if waiting is None:
                return
            if nested is None:
                self._commit(waiting)
            else:
                outer = nested.parent
                self._callers[caller].setdefault(outer, _Waiting()).made.extend(waiting.made)

    def _caller_ended(self, caller: Any, transaction: Any) -> None:
        with self._lock:
            waiting = self._callers[caller].pop(transaction, None)
            if waiting is not None:
                self._roll_back(waiting)


def _identity(aggregate: Any) -> Any:
    state = getattr(aggregate, "_sa_instance_state", None)  # what `inspect` returns, at a tenth of its price
    return getattr(state, "key", None) or id(aggregate)
