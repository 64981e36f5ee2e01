"""What is in the outbox, for people who look."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, and_, case, func, select

from usecasecore.ledger import ledger_tables

__all__ = ["OutboxStatus", "TypeStatus", "outbox_status", "overdue"]


@dataclass(frozen=True, slots=True)
class TypeStatus:
    """The rows of one type that are not delivered.

    Attributes:
        kind: `event` or `job`.
        type: Its name.
        pending: To be delivered; the leased ones included, the dead ones not.
        leased: A relay is at them.
        dead: Set aside, because they failed too often.
        oldest_at: When the oldest pending one occurred; None where none is pending.
    """

    kind: str
    type: str
    pending: int
    leased: int
    dead: int
    oldest_at: datetime | None


@dataclass(frozen=True, slots=True)
class OutboxStatus:
    """What is not delivered, by type, sorted by kind and name."""

    types: tuple[TypeStatus, ...]

    @property
    def events(self) -> int:
        """How many events are pending."""
        return sum(each.pending for each in self.types if each.kind == "event")

    @property
    def jobs(self) -> int:
        """How many jobs are pending."""
        return sum(each.pending for each in self.types if each.kind == "job")

    @property
    def leased(self) -> int:
        """How many of them a relay is at."""
        return sum(each.leased for each in self.types)

    @property
    def dead(self) -> int:
        """How many rows are set aside."""
        return sum(each.dead for each in self.types)

    @property
    def oldest_at(self) -> datetime | None:
        """When the oldest pending one occurred; None where none is pending."""
        return min((each.oldest_at for each in self.types if each.oldest_at is not None), default=None)


def outbox_status(connection: Connection, schema: str | None = None, *, now: datetime) -> OutboxStatus:
    """Return what is not delivered.

    Args:
        connection: To read on.
        schema: Where the ledger lives.
        now: Leases that end later than this count.
    """
    row = ledger_tables(schema).outbox.c
    alive = row.dead_at.is_(None)
    statement = (
        select(
            row.kind,
            row.type,
            func.count(case((alive, 1))),
            func.count(case((and_(alive, row.lease_until > now), 1))),
            func.count(row.dead_at),
            func.min(case((alive, row.occurred_at))),
        )
        .where(row.delivered_at.is_(None))
        .group_by(row.kind, row.type)
        .order_by(row.kind, row.type)
    )
    return OutboxStatus(tuple(TypeStatus(*found) for found in connection.execute(statement)))


def overdue(connection: Connection, schema: str | None = None, *, since: datetime) -> int:
    """Return how many events and jobs could have been delivered at an instant, and still aren't; not those set aside."""
    table = ledger_tables(schema).outbox
    row = table.c
    waiting = and_(row.delivered_at.is_(None), row.dead_at.is_(None), row.available_at <= since)
    return connection.scalar(select(func.count()).select_from(table).where(waiting)) or 0
