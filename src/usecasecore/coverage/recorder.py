"""Recorder: watches the shell and counts what it does to lifecycles.

How it works: a firing is known when it is made, but what it is worth only when its transaction ends. Until then it waits
with its session: the runtime's own commit makes it committed, wherever a fixture keeps that commit; for a command in the
caller's transaction it is the commit of the caller's session, and what was done inside of a savepoint that is rolled back
is rolled back with it. A commit whose answer was lost counts once the same command is found to have been executed.

A command is to pay little for it: what is counted is made once for each transition and test, and put down in a log, which is
counted when somebody asks, or it is long.
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

Hit: TypeAlias = tuple[Any, Fact, str]
"""(lifecycle, fact, test)."""
Hits: TypeAlias = "Counter[Hit]"
"""How often."""

_LONG = 4096


@dataclass(slots=True)
class _Made:
    """Something that counts for nothing before it is committed."""

    aggregate: Any
    hit: Hit


@dataclass(slots=True)
class _Waiting:
    """What one attempt, or one transaction of a caller's, has made so far."""

    made: list[_Made] = field(default_factory=list)
    commands: set[UUID] = field(default_factory=set)


class Recorder:
    """Counts facts about the lifecycles of this process; one for all threads and tasks. Itself a watcher.

    Attributes:
        test: Id of the test that runs; what happens now is counted for it.
        applications: Every application that ran a command.
        on_news: Called when a fact is seen that was not seen before for this lifecycle and test.
        muted: True in a forked child, where another one has taken over.
    """

    WANTED: ClassVar[tuple[Wanted, ...]] = (Firing, Creation, Replay, Step.COMMIT, Step.ROLLBACK)

    def __init__(self, on_news: Callable[[], None] | None = None) -> None:
        self.test = ""
        self.applications: dict[int, Any] = {}
        self.on_news = on_news
        self.muted = False
        self._hits: Hits = Counter()
        self._log: list[Hit] = []
        # Of the test that runs: by the id of an edge, which is kept so that it stays the edge's own, and the use case.
        self._transitions: dict[tuple[int, str], tuple[Any, Hit, Hit]] = {}
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
                self._read_log()
                self.test = test
                self._last.clear()
                self._transitions.clear()

    @property
    def hits(self) -> Hits:
        """How often each fact was seen for each lifecycle and test."""
        with self._lock:
            self._read_log()
            return self._hits

    def __call__(self, moment: Moment) -> None:
        """Take note of a moment of a command."""
        fact = moment.fact
        if moment.when is When.BEFORE or self.muted:
            return
        if fact is None:
            if moment.step is Step.COMMIT or moment.step is Step.ROLLBACK:
                self._ended(moment)
        elif type(fact) is Firing:
            self._fired(moment, fact)
        elif isinstance(fact, Creation):
            self._note_application(moment.session)
            created = Fact(Kind.CREATED, moment.use_case, source=fact.lifecycle.initial)
            self._wait(moment, _Made(fact.aggregate, (fact.lifecycle, created, self.test)))
        elif isinstance(fact, Replay):
            self._replayed(fact)

    def _fired(self, moment: Moment, firing: Firing) -> None:
        self._note_application(moment.session)
        if firing.edge is not None:
            _, attempted, made = self._transition(moment, firing)
            self._count(attempted)
            self._wait(moment, _Made(firing.aggregate, made))
        else:
            self._count((firing.lifecycle, Fact(Kind.ATTEMPTED, *_said(moment, firing)), self.test))
        if not firing.declared:
            self._count((firing.lifecycle, Fact(Kind.REFUSED, *_said(moment, firing)), self.test))
        for verdict in firing.verdicts:
            if not verdict.passed:
                key = self._keys_of(firing.lifecycle)[verdict.edge.index]
                stopped = Fact(Kind.STOPPED, *_said(moment, firing), edge=key, guard=verdict.guard)
                self._count((firing.lifecycle, stopped, self.test))

    def _transition(self, moment: Moment, firing: Firing) -> tuple[Any, Hit, Hit]:
        """Return what counts when a transition is attempted, and when it is committed, after the edge."""
        name = id(firing.edge), moment.use_case
        known = self._transitions.get(name)
        # A state that is a whole tree is left by one edge from several states.
        if known is None or known[1][2] != self.test or known[1][1].source != firing.state or known[2][1].dest != firing.dest:
            said = _said(moment, firing)
            key = self._keys_of(firing.lifecycle)[firing.edge.index]
            made = Fact(Kind.COMMITTED, *said, dest=firing.dest or "", edge=key)
            attempted = Fact(Kind.ATTEMPTED, *said)
            known = firing.edge, (firing.lifecycle, attempted, self.test), (firing.lifecycle, made, self.test)
            self._transitions[name] = known
        return known

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

    def _count(self, hit: Hit) -> None:
        with self._lock:
            self._log.append(hit)
            if self.on_news is None and len(self._log) < _LONG:
                return
            before = len(self._hits)
            self._read_log()
            is_news = len(self._hits) > before
        if is_news and self.on_news is not None:
            self.on_news()

    def _read_log(self) -> None:
        self._hits.update(self._log)
        self._log.clear()

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
            waiting = self._waiting.get(session)
            if waiting is None:
                waiting = self._waiting[session] = _Waiting()
            waiting.made.append(made)
            if moment.command_id is not None:
                waiting.commands.add(moment.command_id)

    def _ended(self, moment: Moment) -> None:
        with self._lock:
            waiting = self._waiting.pop(moment.session, None)
            if waiting is None:
                return
            if moment.step is Step.COMMIT:
                self._commit(waiting)
            elif getattr(moment.session, "commit_sent_at", None) is not None:  # whether it arrived isn't known
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
            self._count(one.hit)
            if one.hit[1].kind is Kind.COMMITTED:
                self._follow(one)
        waiting.made.clear()

    def _roll_back(self, waiting: _Waiting) -> None:
        for one in waiting.made:
            lifecycle, fact, test = one.hit
            if fact.kind is Kind.COMMITTED:
                self._count((lifecycle, fact._replace(kind=Kind.ROLLED_BACK), test))
        waiting.made.clear()

    def _follow(self, one: _Made) -> None:
        lifecycle, fact, test = one.hit
        if test != self.test:
            return
        row = lifecycle, _identity(one.aggregate)
        before = self._last.get(row)
        self._last[row] = fact.edge, fact.dest
        # A database that began anew within the test may give a key out again: the states tell.
        if before is not None and before[1] == fact.source:
            self._count((lifecycle, Fact(Kind.FOLLOWED, edge=fact.edge, before=before[0]), test))

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


def _said(moment: Moment, firing: Firing) -> tuple[str, str, str]:
    return moment.use_case, firing.trigger, firing.state


def _identity(aggregate: Any) -> Any:
    state = getattr(aggregate, "_sa_instance_state", None)  # what `inspect` returns, at a tenth of its price
    return getattr(state, "key", None) or id(aggregate)
