"""Writes down the stories of transactions while they happen: a watcher of the steps, and of the statements that they send.

How it works: a story belongs to a session, which lives as long as one attempt. Statements are seen by an event on the session's own
connection, from its first step to the end of its transaction; what is sent between steps is somebody else's. Nothing is kept of the
values that a statement is sent with.
"""

from __future__ import annotations

import json
import re
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, event, inspect

from usecasecore import steps
from usecasecore.ledger.entries import AuditEntry, Entries
from usecasecore.runtime.session import CommandSession
from usecasecore.runtime.story import Ending, Fact, FactKind, Story, StoryStep
from usecasecore.steps import Moment, Step, When

__all__ = ["Storyteller", "one_line"]

_MOST_FACTS = 300
_MOST_COMMANDS = 200
_WIDEST = 110


@dataclass(slots=True)
class _Chapter:
    """A step that is being told."""

    use_case: str
    step: Step
    facts: list[Fact] = field(default_factory=list)
    done: bool = False


@dataclass(slots=True)
class _Draft:
    """A story that is being told."""

    use_case: str
    command_id: UUID | None = None
    command: str = ""
    actor: str = ""
    chapters: list[_Chapter] = field(default_factory=list)
    ending: Ending = "open"
    facts: int = 0
    trips: int = 0
    left_out: int = 0
    connection: Connection | None = None
    hook: Any = None
    writes: list[int] = field(default_factory=list)

    def begin(self, use_case: str, step: Step) -> None:
        self.chapters.append(_Chapter(use_case, step))

    def end(self, step: Step) -> None:
        for chapter in reversed(self.chapters):
            if chapter.step is step:
                chapter.done = True
                return

    def add(self, kind: FactKind, text: str, trip: int | None = None) -> None:
        if self.facts >= _MOST_FACTS or not self.chapters:
            self.left_out += 1
            return
        self.facts += 1
        self.chapters[-1].facts.append(Fact(kind, text, trip))

    def story(self) -> Story:
        told = tuple(StoryStep(one.use_case, one.step, tuple(one.facts), one.done) for one in self.chapters)
        return Story(
            use_case=self.use_case,
            command=self.command,
            actor=self.actor,
            command_id=self.command_id,
            ending=self.ending,
            steps=told,
            left_out=self.left_out,
        )


class Storyteller:
    """Keeps the last stories that it saw."""

    def __init__(self, last: int = 5, *, only: UUID | None = None) -> None:
        """Keep so many.

        Args:
            last: How many.
            only: Of the transactions that begin with this execution; by default of all in the process.
        """
        self._only = only
        self._lock = threading.RLock()
        self._drafts: deque[_Draft] = deque(maxlen=last)
        self._open: dict[Any, _Draft] = {}
        self._given: dict[UUID, _Draft] = {}
        self._validating: dict[int, _Draft] = {}

    @property
    def stories(self) -> tuple[Story, ...]:
        """What was seen so far, the oldest first."""
        with self._lock:
            return tuple(draft.story() for draft in (*self._drafts, *self._validating.values()))

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Write down what happens while the block runs."""
        try:
            with steps.watch(self._told):
                yield
        finally:
            with self._lock:
                for draft in [*self._open.values()]:
                    self._unhook(draft)
                self._open.clear()

    def _told(self, moment: Moment) -> None:
        with self._lock:
            if moment.step is Step.VALIDATE:
                self._validated(moment)
            elif isinstance(moment.session, CommandSession):
                self._stepped(moment, moment.session)

    def _validated(self, moment: Moment) -> None:
        if self._only is not None:
            return
        thread = threading.get_ident()
        if moment.when is When.BEFORE:
            if (failed := self._validating.pop(thread, None)) is not None:
                self._drafts.append(failed)
            draft = self._validating[thread] = _Draft(moment.use_case, ending="not valid")
            draft.begin(moment.use_case, Step.VALIDATE)
        elif isinstance(moment.fact, steps.Request):
            draft = self._validating[thread]
            draft.command, draft.actor = _cut(repr(moment.fact.command)), str(moment.fact.actor)
        elif moment.when is When.AFTER and moment.command_id is not None:
            draft = self._validating.pop(thread)
            draft.end(Step.VALIDATE)
            self._given[moment.command_id] = draft
            while len(self._given) > _MOST_COMMANDS:
                del self._given[next(iter(self._given))]

    def _stepped(self, moment: Moment, session: CommandSession) -> None:
        draft = self._open.get(session)
        if draft is None:
            if moment.step is not Step.BEGIN or (self._only is not None and moment.command_id != self._only):
                return
            draft = self._first(moment, session)
        if moment.when is When.BEFORE:
            draft.begin(moment.use_case, moment.step)
            if moment.step is Step.ROLLBACK:
                for kind, text in _undone(draft, session):
                    draft.add(kind, text)
        elif moment.when is When.AFTER:
            if moment.step is Step.BEGIN and session.get_bind().dialect.name == "sqlite":
                draft.add("lock", "the database's write lock")
            draft.end(moment.step)
        else:
            for kind, text in _facts(moment.fact):
                draft.add(kind, text)
        if moment.when is When.AFTER and moment.step in (Step.COMMIT, Step.ROLLBACK):
            draft.ending = "committed" if moment.step is Step.COMMIT else "rolled back"
            self._unhook(self._open.pop(session))

    def _first(self, moment: Moment, session: CommandSession) -> _Draft:
        draft = _Draft(moment.use_case, moment.command_id)
        given = None if moment.command_id is None else self._given.get(moment.command_id)
        if given is not None:
            draft.command, draft.actor = given.command, given.actor
        draft.ending = "handed over" if session.caller is not None else "open"
        self._open[session] = draft
        self._drafts.append(draft)

        def sent(_connection: Any, _cursor: Any, statement: str, _values: Any, _context: Any, executemany: bool) -> None:
            if session.step is not None:
                self._sent(draft, statement, executemany)

        def began(_session: Any, _transaction: Any, connection: Connection) -> None:
            if draft.connection is None and self._open.get(session) is draft:
                draft.connection, draft.hook = connection, sent
                event.listen(connection, "before_cursor_execute", sent)

        if session.in_transaction():
            began(None, None, session.connection())
        else:
            event.listen(session, "after_begin", began)
        return draft

    def _sent(self, draft: _Draft, statement: str, several: bool) -> None:
        with self._lock:
            draft.trips += 1
            text = one_line(statement)
            draft.add("sql", f"{text} (several rows)" if several else text, draft.trips)
            if (lock := _LOCKS.search(statement)) is not None:
                draft.add("lock", f"taken by sql {draft.trips} ({' '.join(lock[0].split())})")
            if _WRITES.search(statement):
                draft.writes.append(draft.trips)

    def _unhook(self, draft: _Draft) -> None:
        if draft.connection is not None:
            event.remove(draft.connection, "before_cursor_execute", draft.hook)
            draft.connection = draft.hook = None


_LOCKS = re.compile(r"\bfor\s+(no\s+key\s+)?update\b|\bfor\s+(key\s+)?share\b|\bpg_advisory_xact_lock\w*", re.IGNORECASE)
_WRITES = re.compile(r"\binsert\s+into\b|\bupdate\s+\S+\s+set\b|\bdelete\s+from\b", re.IGNORECASE)
_COLUMNS = re.compile(r"^(select) .{40,}? (from) ", re.IGNORECASE)
_INSERTED = re.compile(r"\b(insert into \S+) \([^()]*\)( values) .*", re.IGNORECASE)


def one_line(statement: str) -> str:
    """Return a statement on one line, long ones without their list of columns and cut off."""
    line = " ".join(statement.split())
    if len(line) > _WIDEST:
        line = _INSERTED.sub(r"\1 (...)\2 (...)", _COLUMNS.sub(r"\1 ... \2 ", line))
    return _cut(line)


def _cut(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _WIDEST else f"{line[: _WIDEST - 4]} ..."


def _facts(fact: Any) -> Iterator[tuple[FactKind, str]]:
    if isinstance(fact, steps.Answer):
        yield "policy", f"{fact.question}: {_yes(fact.yes)}" + (f" ({fact.reason})" if fact.reason else "")
    elif isinstance(fact, steps.Replay):
        yield "replay", f"the key has the result of execution {fact.command_id}"
    elif isinstance(fact, steps.Creation):
        name = type(fact.aggregate).__name__
        yield "created", f"a {name}, {fact.lifecycle.name} {fact.lifecycle.state_of(fact.aggregate)}"
    elif isinstance(fact, steps.Firing):
        yield from _fired(fact)
    elif isinstance(fact, steps.Record):
        yield from _recorded(fact.entries)


def _fired(firing: steps.Firing) -> Iterator[tuple[FactKind, str]]:
    for verdict in firing.verdicts:
        yield "guard", f"{verdict.guard}: {_yes(verdict.passed)}" + ("" if verdict.passed else f" ({verdict.reason})")
    what = f"{firing.trigger} on {type(firing.aggregate).__name__}"
    if firing.dest is not None:
        yield "fired", f"{what}: {firing.state} -> {firing.dest}"
    elif not firing.declared:
        yield "refused", f"{what}: not declared for {firing.state}"
    else:
        why = "its guards said no" if firing.verdicts else "a callback raised"
        yield "refused", f"{what}: still {firing.state}, {why}"


def _recorded(entries: Entries) -> Iterator[tuple[FactKind, str]]:
    for entry in entries.audit:
        yield entry.kind, _entry(entry)
        for name, (before, after) in json.loads(entry.changes).items():
            yield "set", f"{name}: {_cut(json.dumps(before))} -> {_cut(json.dumps(after))}"
    for message in entries.outbox:
        yield ("job" if message.kind == "job" else "event"), message.type


def _entry(entry: AuditEntry) -> str:
    if entry.aggregate is None:
        return "no aggregate"
    moved = f", {entry.from_state or 'new'} -> {entry.to_state or 'gone'}" if entry.lifecycle else ""
    return f"{entry.aggregate} {entry.aggregate_id}, version {entry.version}{moved}"


def _undone(draft: _Draft, session: CommandSession) -> Iterator[tuple[FactKind, str]]:
    # Names only: what has not come as far as the audit entry was not redacted either.
    for one in session.new:
        yield "unsaved", f"a new {type(one).__name__}"
    for one in session.deleted:
        yield "unsaved", f"the deletion of a {type(one).__name__}"
    for one in session.dirty:
        names = [attribute.key for attribute in inspect(one).attrs if attribute.history.has_changes()]
        if names:
            yield "unsaved", f"{type(one).__name__}: {', '.join(names)}"
    if draft.writes:
        yield "undone", f"what was written by sql {', '.join(map(str, draft.writes))}"


def _yes(answer: bool) -> str:
    return "yes" if answer else "no"
