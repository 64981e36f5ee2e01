"""Chains audit entries that were written past the runtime: by an adoption, or by a version that knew no hashes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from sqlalchemy import Connection, FromClause, Select, Text, and_, bindparam, literal_column, or_, select, tuple_, update
from sqlalchemy.dialects import postgresql, sqlite

from usecasecore.ledger.chain import GENESIS, HASH_VERSION, body_sql, hash_of_body
from usecasecore.ledger.tables import LedgerTables, ledger_tables

__all__ = ["seal"]

_BATCH = 1_000


def seal(connection: Connection, schema: str | None = None) -> int:
    """Give every audit entry that has no hash its place in its aggregate's chain; return how many got one.

    Entries are taken in the order of their versions. One that stands before others that are chained already is left alone:
    it came too late, and `verify` reports it. Run it in the transaction that wrote the entries, while no command can touch
    their aggregates: their rows are locked, or not committed yet. Safe to repeat.

    Args:
        connection: In a transaction.
        schema: Where the ledger lives.
    """
    tables = ledger_tables(schema)
    entry = tables.audit.alias("entry")
    chains = (entry.c.aggregate, entry.c.aggregate_id, entry.c.version)
    sealed = 0
    for order, chained in ((chains, entry.c.aggregate.is_not(None)), ((entry.c.id,), entry.c.aggregate.is_(None))):
        unsealed = _unsealed(tables, entry, connection.dialect.name).where(chained).order_by(*order).limit(_BATCH)
        rows = connection.execute(unsealed).all()
        while rows:
            _write(connection, tables, list(_sealed(rows)))
            sealed += len(rows)
            last = tuple(getattr(rows[-1], column.name) for column in order)
            rows = connection.execute(unsealed.where(tuple_(*order) > last)).all()
    return sealed


def _unsealed(tables: LedgerTables, entry: FromClause, dialect: str) -> Select[Any]:
    head = tables.head
    names = [entry.c[name] for name in ("id", "aggregate", "aggregate_id", "version")]
    content = literal_column(body_sql(tables.audit, dialect, "entry"), Text()).label("body")
    same = and_(head.c.aggregate == entry.c.aggregate, head.c.aggregate_id == entry.c.aggregate_id)
    return (
        select(*names, content, head.c.hash.label("head"))
        .select_from(entry.outerjoin(head, same))
        .where(entry.c.hash.is_(None), or_(head.c.version.is_(None), entry.c.version > head.c.version))
    )


def _sealed(rows: Iterable[Any]) -> Iterator[dict[str, Any]]:
    chain, previous = None, GENESIS
    for row in rows:
        name = (row.aggregate, row.aggregate_id)
        if row.aggregate is None or name != chain:
            chain, previous = name, row.head or GENESIS
        content = hash_of_body(previous, row.body.encode())
        yield {
            "entry": row.id,
            "aggregate": row.aggregate,
            "aggregate_id": row.aggregate_id,
            "version": row.version,
            "prev_hash": previous,
            "hash": content,
        }
        previous = content


def _write(connection: Connection, tables: LedgerTables, entries: list[dict[str, Any]]) -> None:
    names = ("prev_hash", "hash")
    values: dict[str, Any] = {name: bindparam(f"new_{name}") for name in names}
    link = update(tables.audit).where(tables.audit.c.id == bindparam("entry")).values(hash_version=HASH_VERSION, **values)
    connection.execute(link, [{"entry": one["entry"], **{f"new_{name}": one[name] for name in names}} for one in entries])
    last = {(one["aggregate"], one["aggregate_id"]): one for one in entries if one["aggregate"] is not None}
    if last:
        columns = ("aggregate", "aggregate_id", "version", "hash")
        move = _DIALECTS[connection.dialect.name](tables.head)
        move = move.on_conflict_do_update(
            index_elements=["aggregate", "aggregate_id"], set_={"version": move.excluded.version, "hash": move.excluded.hash}
        )
        connection.execute(move, [{name: one[name] for name in columns} for one in last.values()])


_DIALECTS: dict[str, Any] = {"postgresql": postgresql.insert, "sqlite": sqlite.insert}
