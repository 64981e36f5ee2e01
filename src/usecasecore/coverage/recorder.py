"""Recorder: watches the shell and counts what it does to lifecycles.

How it works: a firing is known when it is made, but what it is worth only when its transaction ends. Until then it waits
with its session: the runtime's own commit makes it committed, wherever a fixture keeps that commit; for a command in the
caller's transaction it is the commit of the caller's session, and what was done inside of a savepoint that is rolled back
is rolled back with it. A commit whose answer was lost counts once the same command is found to have been executed.

A command is to pay little for it: it asks for the two facts that it needs, of a firing it keeps what is counted for that
transition and test, made once, and when that is committed both go into a log. The log is counted, in its order, when somebody
asks, or it is long: all the hashing is done there, in a loop. Appending to a list is atomic; the lock is for what is counted.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, ClassVar, TypeAlias
from uuid import UUID
from weakref import WeakKeyDictionary

from usecasecore.coverage.facts import Fact, Kind
from usecasecore.steps import Creation, Ended, Firing, Moment, Replay, Wanted, watch

__all__ = ["Recorder"]

Hit: TypeAlias = tuple[Any, Fact, str]
"""(lifecycle, fact, test)."""
Hits: TypeAlias = "Counter[Hit]"
"""How often."""

_LONG = 4096


class _Counted:
    """What is counted for one thing that a use case does to a lifecycle, in one test. Equal is only the same.

    Attributes:
        made: Counted when it is committed.
        attempted: Counted when it is tried; None for a creation, which is told once it is made.
        edge: The transition, kept so that its id stays its own.
        application: Whose use case it is.
    """

    __slots__ = ("application", "attempted", "edge", "made")

    def __init__(self, made: Hit, attempted: Hit | None, edge: Any, application: Any) -> None:
        self.made, self.attempted, self.edge, self.application = made, attempted, edge, application


_Made: TypeAlias = tuple[_Counted, Any, UUID | None]
"""Something that counts for nothing before it is committed: what, of which aggregate, by which execution."""
_Logged: TypeAlias = "_Counted | tuple[_Counted, Any]"
"""An attempt; or what was committed, and the identity of its aggregate."""


class Recorder:
    """Counts facts about the lifecycles of this process; one for all threads and tasks. Itself a watcher.

    Attributes:
        test: Id of the test that runs; what happens now is counted for it.
        applications: Every application that ran a command.
        on_news: Called when a fact is seen that was not seen before for this lifecycle and test.
        muted: True in a forked child, where another one has taken over.
    """

    WANTED: ClassVar[tuple[Wanted, ...]] = (Firing, Creation, Replay, Ended)

    def __init__(self, on_news: Callable[[], None] | None = None) -> None:
        self.test = ""
        self.applications: dict[int, Any] = {}
        self.on_news = on_news
        self.muted = False
        self._hits: Hits = Counter()
        self._log: list[_Logged] = []
        # Of the test that runs: by the id of an edge, the state before and the use case.
        self._counted: dict[tuple[int, str, str], _Counted] = {}
        self._keys: dict[Any, tuple[str, ...]] = {}
        self._waiting: dict[Any, list[_Made]] = {}
        self._unknown: dict[UUID, list[_Made]] = {}
        self._last: dict[tuple[Any, Any], list[Fact]] = {}
        self._callers: WeakKeyDictionary[Any, dict[Any, list[_Made]]] = WeakKeyDictionary()
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
                self._counted.clear()

    @property
    def hits(self) -> Hits:
        """How often each fact was seen for each lifecycle and test."""
        with self._lock:
            self._read_log()
            return self._hits

    def __call__(self, moment: Moment) -> None:
        """Take note of a moment of a command."""
        fact = moment.fact
        if fact is None or self.muted:
            return
        kind = type(fact)
        if kind is Firing:
            self._fired(moment, fact)
        elif kind is Ended:
            waiting = self._waiting.pop(moment.session, None)
            if waiting is not None:
                self._ended(waiting, moment.session, fact.committed)
        elif kind is Creation:
            self._created(moment, fact)
        elif kind is Replay:
            self._replayed(fact)

    def _fired(self, moment: Moment, firing: Firing) -> None:
        lifecycle, aggregate, _, state, dest, edge, declared, asked = firing
        _, _, use_case, command_id, session, _ = moment
        if edge is not None:
            counted = self._counted.get((id(edge), state, use_case))
            if (
                counted is None
                or counted.made[2] != self.test
                or counted.made[1].dest != dest
                or counted.application is not getattr(session, "application", None)
            ):
                counted = self._new(moment, firing)
            self._note(counted)
            if session is not None:  # else fired by hand, outside of any command: nobody will say that it was committed
                self._wait(session, (counted, aggregate, command_id))
        else:
            self._note_application(session)
            self._count((lifecycle, Fact(Kind.ATTEMPTED, *_said(moment, firing)), self.test))
        if not declared:
            self._count((lifecycle, Fact(Kind.REFUSED, *_said(moment, firing)), self.test))
        for stopped, guard, passed in asked:
            if not passed:
                key = self._keys_of(lifecycle)[stopped.index]
                fact = Fact(Kind.STOPPED, *_said(moment, firing), edge=key, guard=guard.name)
                self._count((lifecycle, fact, self.test))

    def _new(self, moment: Moment, firing: Firing) -> _Counted:
        self._note_application(moment.session)
        edge, said = firing.edge, _said(moment, firing)
        made = Fact(Kind.COMMITTED, *said, dest=firing.dest or "", edge=self._keys_of(firing.lifecycle)[edge.index])
        with self._lock:
            test = self.test
            hits = (firing.lifecycle, made, test), (firing.lifecycle, Fact(Kind.ATTEMPTED, *said), test)
            counted = _Counted(*hits, edge, getattr(moment.session, "application", None))
            self._counted[id(edge), firing.state, moment.use_case] = counted
        return counted

    def _created(self, moment: Moment, creation: Creation) -> None:
        session = moment.session
        self._note_application(session)
        fact = Fact(Kind.CREATED, moment.use_case, source=creation.lifecycle.initial)
        if session is not None:
            counted = _Counted((creation.lifecycle, fact, self.test), None, None, None)
            self._wait(session, (counted, creation.aggregate, moment.command_id))

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
            is_news = hit not in self._hits
            self._hits[hit] += 1
        if is_news and self.on_news is not None:
            self.on_news()

    def _note(self, logged: _Logged) -> None:
        self._log.append(logged)
        if self.on_news is None and len(self._log) < _LONG:
            return
        with self._lock:
            before = len(self._hits)
            self._read_log()
            is_news = len(self._hits) > before
        if is_news and self.on_news is not None:
            self.on_news()

    def _read_log(self) -> None:
        """Count what the log holds; it may grow meanwhile, at its end."""
        logged = self._log[:]
        del self._log[: len(logged)]
        made = [one for one in logged if isinstance(one, tuple)]
        for counted, times in Counter(one for one in logged if isinstance(one, _Counted)).items():
            if counted.attempted is not None:
                self._hits[counted.attempted] += times
        for counted, times in Counter(one for one, _ in made).items():
            self._hits[counted.made] += times
        for counted, identity in made:
            if counted.edge is not None and counted.made[2] == self.test:
                self._follow(counted.made, identity)

    def _follow(self, hit: Hit, identity: Any) -> None:
        lifecycle, fact, test = hit
        last = self._last.setdefault((lifecycle, identity), [])
        # A database that began anew within the test may give a key out again: the states tell.
        if last and last[0].dest == fact.source:
            self._hits[lifecycle, Fact(Kind.FOLLOWED, edge=fact.edge, before=last[0].edge), test] += 1
        last[:] = [fact]

    # What waits for the end of its transaction

    def _wait(self, session: Any, made: _Made) -> None:
        caller = getattr(session, "caller", None)
        if caller is not None:
            with self._lock:
                self._wait_for_caller(caller, made)
            return
        waiting = self._waiting.get(session)  # a session is in one thread's hands at a time
        if waiting is None:
            self._waiting[session] = [made]
        else:
            waiting.append(made)

    def _ended(self, waiting: list[_Made], session: Any, committed: bool) -> None:
        if committed:
            self._commit(waiting)
        elif getattr(session, "commit_sent_at", None) is not None:  # whether it arrived isn't known
            with self._lock:
                self._unknown.update(dict.fromkeys([one for _, _, one in waiting if one is not None], waiting))
        else:
            self._roll_back(waiting)

    def _replayed(self, replay: Replay) -> None:
        with self._lock:
            waiting = self._unknown.get(replay.command_id)
            if waiting is None:
                return
            self._unknown = {one: other for one, other in self._unknown.items() if other is not waiting}
        self._commit(waiting)

    def settle(self) -> None:
        """Take what is still undecided for rolled back: nobody will say any more that it was committed."""
        with self._lock:
            undecided = {id(one): one for one in (*self._unknown.values(), *self._waiting.values())}
            self._unknown, self._waiting = {}, {}
        for waiting in undecided.values():
            self._roll_back(waiting)

    def _commit(self, waiting: Sequence[_Made]) -> None:
        for counted, aggregate, _ in waiting:
            self._note((counted, _identity(aggregate)))

    def _roll_back(self, waiting: Sequence[_Made]) -> None:
        for counted, _, _ in waiting:
            lifecycle, fact, test = counted.made
            if fact.kind is Kind.COMMITTED:
                self._count((lifecycle, fact._replace(kind=Kind.ROLLED_BACK), test))

    # Transactions of the caller's

    def _wait_for_caller(self, caller: Any, made: _Made) -> None:
        if caller not in self._callers:
            self._callers[caller] = {}
            self._listen(caller)
        transaction = caller.get_nested_transaction() or caller.get_transaction()
        self._callers[caller].setdefault(transaction, []).append(made)

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
                self._callers[caller].setdefault(outer, []).extend(waiting)

    def _caller_ended(self, caller: Any, transaction: Any) -> None:
        with self._lock:
            waiting = self._callers[caller].pop(transaction, None)
            if waiting is not None:
                self._roll_back(waiting)


def _said(moment: Moment, firing: Firing) -> tuple[str, str, str]:
    return moment.use_case, firing.trigger, firing.state


def _identity(aggregate: Any) -> Any:
    from sqlalchemy.orm.attributes import instance_state  # what `inspect` returns, at a tenth of its price

    try:
        return instance_state(aggregate).key or id(aggregate)
    except AttributeError:  # it is not mapped
        return id(aggregate)
