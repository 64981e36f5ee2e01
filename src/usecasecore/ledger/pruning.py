"""Deletes what is no longer needed, and leaves a note that it did: so that `verify` can tell pruned from lost."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, delete, func, insert, select

from usecasecore.ids import uuid7
from usecasecore.ledger.tables import ledger_tables

__all__ = ["prune_outbox"]


def prune_outbox(connection: Connection, until: datetime, *, schema: str | None = None, batch: int = 10_000) -> int:
    """Delete the delivered messages of commands that came before an instant; return how many.

    The caller owns the transaction. What is not delivered, or was set aside, stays.

    Args:
        connection: For writing.
        until: Aware; by the runtime's clock, as messages have it in `occurred_at`.
        schema: Where the ledger lives.
        batch: How many are deleted by one statement.
    """
    tables = ledger_tables(schema)
    outbox, pruning = tables.outbox, tables.pruning
    old = select(outbox.c.id).where(outbox.c.delivered_at.is_not(None), outbox.c.occurred_at < until)
    deleted = 0
    while count := connection.execute(delete(outbox).where(outbox.c.id.in_(old.limit(batch)))).rowcount:
        deleted += count
    note = {"id": uuid7(), "table_name": outbox.name, "until": until, "rows": deleted}
    if deleted or not connection.scalar(select(func.count()).select_from(pruning).where(pruning.c.until >= until)):
        connection.execute(insert(pruning), note)
    return deleted
