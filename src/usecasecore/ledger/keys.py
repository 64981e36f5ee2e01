"""How many idempotency keys are remembered, and forgetting those that have expired."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, case, delete, func, select, tuple_

from usecasecore.ledger.tables import ledger_tables

__all__ = ["KeyStatus", "UseCaseKeys", "expired_keys", "key_status", "prune_keys"]


@dataclass(frozen=True, slots=True)
class UseCaseKeys:
    """The keys of one use case.

    Attributes:
        use_case: Its name.
        keys: How many are remembered, the expired ones included.
        expired: How many of them may be forgotten.
        oldest_at: When the oldest one came.
    """

    use_case: str
    keys: int
    expired: int
    oldest_at: datetime


@dataclass(frozen=True, slots=True)
class KeyStatus:
    """What is remembered, by use case, sorted by name."""

    use_cases: tuple[UseCaseKeys, ...]

    @property
    def keys(self) -> int:
        """How many keys are remembered."""
        return sum(each.keys for each in self.use_cases)

    @property
    def expired(self) -> int:
        """How many of them may be forgotten."""
        return sum(each.expired for each in self.use_cases)

    @property
    def oldest_at(self) -> datetime | None:
        """When the oldest one came; None where there is none."""
        return min((each.oldest_at for each in self.use_cases), default=None)


def key_status(connection: Connection, schema: str | None = None, *, now: datetime) -> KeyStatus:
    """Return what is remembered; it reads the whole table.

    Args:
        connection: To read on.
        schema: Where the ledger lives.
        now: Keys that expire later than this count as alive.
    """
    row = ledger_tables(schema).idempotency.c
    expired = func.count(case((row.expires_at <= now, 1)))
    statement = (
        select(row.use_case, func.count(), expired, func.min(row.created_at)).group_by(row.use_case).order_by(row.use_case)
    )
    return KeyStatus(tuple(UseCaseKeys(*found) for found in connection.execute(statement)))


def expired_keys(connection: Connection, schema: str | None = None, *, now: datetime) -> int:
    """Return how many keys have expired."""
    table = ledger_tables(schema).idempotency
    return connection.scalar(select(func.count()).select_from(table).where(table.c.expires_at <= now)) or 0


def prune_keys(connection: Connection, schema: str | None = None, *, now: datetime, limit: int) -> int:
    """Forget the keys that expired first; return how many. The same command under such a key is then executed anew.

    Make each call a transaction of its own, and call it until it returns 0. It waits for nobody: on PostgreSQL rows that others
    have locked are passed over. A command that claims one of these very keys waits for the end of this transaction. The key of a
    command that is running can't be seen yet, and so can't be pruned.

    Args:
        connection: In a transaction; the caller commits.
        schema: Where the ledger lives.
        now: Keys that expire later than this stay.
        limit: How many at most.
    """
    table = ledger_tables(schema).idempotency
    key = list(table.primary_key.columns)
    oldest = select(*key).where(table.c.expires_at <= now).order_by(table.c.expires_at).limit(limit)
    if connection.dialect.name == "postgresql":
        # In a CTE, because a subquery that locks and skips may be run more than once, and then finds other rows each time.
        oldest = select(*oldest.with_for_update(skip_locked=True).cte("doomed").c)
    return max(0, connection.execute(delete(table).where(tuple_(*key).in_(oldest))).rowcount)
