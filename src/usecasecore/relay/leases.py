"""Leases: who may deliver which rows of the outbox, and what became of them. Each method is one short transaction.

How it works. Events of one aggregate go out in the order of (version, ordinal). The *head* of an aggregate is its first event
that isn't delivered; only heads are claimed, and behind a head, in the same transaction, the events that follow it without a
gap. So whoever holds an aggregate's events holds the head, and while it isn't delivered nobody else can claim a later one.
Two relays pass by each other by SKIP LOCKED on PostgreSQL; on SQLite BEGIN IMMEDIATE lets in one at a time.

A claim is a lease: an owner and an end. Each change of a row says "and the owner is still me" (the fence), so that a relay
that was away for longer than its lease changes nothing. An owner is an id for one claim, not for one relay.

An event that is dead (set aside) holds up its aggregate. Jobs have no order.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    FromClause,
    Text,
    and_,
    cast,
    exists,
    func,
    not_,
    or_,
    select,
    tuple_,
    update,
)

from usecasecore.ledger import ledger_tables
from usecasecore.relay.message import OutgoingMessage
from usecasecore.runtime.database import check_database

__all__ = ["Failed", "Leases", "Term"]


@dataclass(frozen=True, slots=True)
class Term:
    """Who takes rows, when, and for how long.

    Attributes:
        due: Rows that become available later than this are not taken.
        now: Leases that end later than this are respected.
    """

    owner: UUID
    due: datetime
    now: datetime
    until: datetime


@dataclass(frozen=True, slots=True)
class Failed:
    """What is written down about a delivery that failed.

    Attributes:
        attempts: How many failed so far, this one included where it counts.
        available_at: When to try again; None to leave it.
        dead_at: When it was set aside; None where it is to be tried again.
    """

    error: str
    attempts: int
    available_at: datetime | None = None
    dead_at: datetime | None = None


class Leases:
    """The outbox in one database."""

    def __init__(self, engine: Engine, schema: str | None) -> None:
        """Take an engine whose transactions write, see `command_engine`."""
        self._engine = engine
        self._schema = schema
        self._outbox = ledger_tables(schema).outbox

    def check(self) -> None:
        """Make sure that the ledger is there, and that transactions are transactions.

        Raises:
            LedgerOutdated: If the ledger is missing, or of another revision.
            UnsafeDatabase: If the engine commits each statement, so that two relays would claim the same rows.
        """
        with self._engine.begin() as connection:
            # A commit that a crash undoes is nothing but a redelivery.
            check_database(connection, self._schema, asynchronous_commit=True)

    def claim_events(self, term: Term, limit: int) -> list[OutgoingMessage]:
        """Claim the heads of as many aggregates as the limit allows, and what follows them up to it.

        Returns:
            The events, those of one aggregate together and in order.
        """
        with self._engine.begin() as connection:
            heads = [row.id for row in connection.execute(self._heads(term, limit))]
            followers = self._followers(connection, term, heads, limit - len(heads)) if heads else []
            return _by_stream(self._take(connection, term, [*heads, *followers]))

    def claim_jobs(self, term: Term, limit: int, types: frozenset[str] | None) -> list[OutgoingMessage]:
        """Claim jobs of the types; of all where types is None."""
        row = self._outbox.c
        wanted = [] if types is None else [row.type.in_(sorted(types))]
        statement = select(row.id).where(row.kind == "job", _free(self._outbox, term), *wanted)
        statement = statement.order_by(row.available_at, row.id).limit(limit).with_for_update(skip_locked=True)
        with self._engine.begin() as connection:
            return self._take(connection, term, list(connection.scalars(statement)))

    def renew(self, owner: UUID, ids: Collection[UUID], until: datetime) -> set[UUID]:
        """Prolong the lease; return the rows of which it still is the owner's."""
        row = self._outbox.c
        held = and_(row.id.in_(ids), row.lease_owner == owner)
        with self._engine.begin() as connection:
            connection.execute(update(self._outbox).where(held).values(lease_until=until))
            return set(connection.scalars(select(row.id).where(held)))

    def acknowledge(self, owner: UUID, message_id: UUID, now: datetime) -> bool:
        """Mark the row as delivered; False where the lease is lost."""
        return self._let_go(owner, [message_id], delivered_at=now) == 1

    def put_off(self, owner: UUID, message_id: UUID, failed: Failed) -> bool:
        """Write the failure down; False where the lease is lost."""
        values: dict[str, Any] = {"last_error": failed.error, "attempts": failed.attempts, "dead_at": failed.dead_at}
        if failed.available_at is not None:
            values["available_at"] = failed.available_at
        return self._let_go(owner, [message_id], **values) == 1

    def give_back(self, owner: UUID, ids: Collection[UUID]) -> None:
        """End the lease of rows that were not tried."""
        if ids:
            self._let_go(owner, ids)

    def count_left(self) -> int:
        """Return how many rows are neither delivered nor dead."""
        with self._engine.begin() as connection:
            statement = select(func.count()).select_from(self._outbox).where(_pending(self._outbox))
            return connection.scalar(statement) or 0

    def _heads(self, term: Term, limit: int) -> Any:
        row = self._outbox.c
        statement = select(row.id).where(row.kind == "event", _free(self._outbox, term), self._is_head())
        return statement.order_by(row.available_at, row.id).limit(limit).with_for_update(skip_locked=True)

    def _is_head(self) -> ColumnElement[bool]:
        row, earlier, dead = self._outbox.c, self._outbox.alias("earlier"), self._outbox.alias("dead")
        # Asked apart from the dead ones: like this, the index on pending rows answers it.
        before = exists().where(
            earlier.c.kind == "event",
            _same_stream(earlier, self._outbox),
            _pending(earlier),
            _place(earlier) < _place(self._outbox),
        )
        blocked = select(dead.c.aggregate, dead.c.aggregate_id).where(
            dead.c.kind == "event",
            dead.c.dead_at.is_not(None),
            dead.c.delivered_at.is_(None),
            dead.c.aggregate.is_not(None),
            dead.c.aggregate_id.is_not(None),
        )
        unordered = or_(row.aggregate.is_(None), row.aggregate_id.is_(None))
        return or_(unordered, and_(not_(before), tuple_(row.aggregate, row.aggregate_id).not_in(blocked)))

    def _followers(self, connection: Connection, term: Term, heads: list[UUID], room: int) -> list[UUID]:
        if room < 1:
            return []
        row, head = self._outbox.c, self._outbox.alias("head")
        statement = (
            select(row.id, row.aggregate, row.aggregate_id, _free(self._outbox, term).label("free"))
            .select_from(self._outbox.join(head, _same_stream(self._outbox, head)))
            .where(head.c.id.in_(heads), row.kind == "event", _pending(self._outbox), _place(self._outbox) > _place(head))
            .order_by(row.aggregate, row.aggregate_id, row.version, row.ordinal)
            .limit(room)
        )
        listed = connection.execute(statement).all()
        candidates = _without_gaps(listed, {each.id for each in listed if each.free})
        # Never wait for a row, which might end in a deadlock: what is locked ends its aggregate's run.
        lock = select(row.id).where(row.id.in_(candidates), _free(self._outbox, term)).with_for_update(skip_locked=True)
        return _without_gaps(listed, set(connection.scalars(lock)))

    def _take(self, connection: Connection, term: Term, ids: list[UUID]) -> list[OutgoingMessage]:
        if not ids:
            return []
        row = self._outbox.c
        change = update(self._outbox).where(row.id.in_(ids))
        connection.execute(change.values(lease_owner=term.owner, lease_until=term.until))
        columns = [row[name] for name in _PLAIN_COLUMNS]
        statement = select(*columns, cast(row.payload, Text).label("payload_text"), row.headers).where(row.id.in_(ids))
        found = {one["id"]: OutgoingMessage(**one) for one in connection.execute(statement).mappings()}
        return [found[each] for each in ids]

    def _let_go(self, owner: UUID, ids: Collection[UUID], **values: Any) -> int:
        row = self._outbox.c
        change = update(self._outbox).where(row.id.in_(ids), row.lease_owner == owner)
        with self._engine.begin() as connection:
            return connection.execute(change.values(lease_owner=None, lease_until=None, **values)).rowcount


_PLAIN_COLUMNS = (
    "id",
    "kind",
    "type",
    "type_version",
    "aggregate",
    "aggregate_id",
    "version",
    "ordinal",
    "tenant",
    "occurred_at",
    "attempts",
)


def _pending(rows: FromClause) -> ColumnElement[bool]:
    return and_(rows.c.delivered_at.is_(None), rows.c.dead_at.is_(None))


def _free(rows: FromClause, term: Term) -> ColumnElement[bool]:
    unleased = or_(rows.c.lease_until.is_(None), rows.c.lease_until <= term.now)
    return and_(_pending(rows), rows.c.available_at <= term.due, unleased)


def _same_stream(one: FromClause, other: FromClause) -> ColumnElement[bool]:
    return and_(one.c.aggregate == other.c.aggregate, one.c.aggregate_id == other.c.aggregate_id)


def _place(rows: FromClause) -> Any:
    return tuple_(rows.c.version, rows.c.ordinal)


def _without_gaps(listed: Sequence[Any], wanted: set[UUID]) -> list[UUID]:
    """Return of each aggregate's rows those up to the first that isn't wanted."""
    kept, ended = [], set()
    for row in listed:
        stream = (row.aggregate, row.aggregate_id)
        if row.id not in wanted:
            ended.add(stream)
        elif stream not in ended:
            kept.append(row.id)
    return kept


def _by_stream(messages: Iterable[OutgoingMessage]) -> list[OutgoingMessage]:
    # Heads come first and followers in order, so that a stable grouping keeps the order of each aggregate.
    groups: dict[object, list[OutgoingMessage]] = {}
    for message in messages:
        groups.setdefault(message.stream or message.id, []).append(message)
    return [message for group in groups.values() for message in group]
