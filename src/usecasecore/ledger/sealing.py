"""Chains audit entries that were written past the runtime: by an adoption, or by a version that knew no hashes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import Any

from sqlalchemy import (
    Connection,
    FromClause,
    Select,
    Text,
    TextClause,
    and_,
    bindparam,
    literal_column,
    or_,
    select,
    text,
    tuple_,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from usecasecore.ledger.chain import GENESIS, HASH_VERSION, body_sql, hash_of_body, hash_sql
from usecasecore.ledger.tables import LedgerTables, ledger_tables

__all__ = ["seal"]

_BATCH = 1_000


def seal(connection: Connection, schema: str | None = None, *, of: tuple[str, Sequence[str]] | None = None) -> int:
    """Give every audit entry that has no hash its place in its aggregate's chain; return how many got one.

    Entries are taken in the order of their versions. One that stands before others that are chained already is left alone:
    it came too late, and `verify` tells of it. Run it in the transaction that wrote the entries, while no command can touch
    their aggregates: their rows are locked, or not committed yet. Safe to repeat.

    Args:
        connection: In a transaction.
        schema: Where the ledger lives.
        of: The name of an aggregate in the ledger, and keys as text: only the entries of these.
    """
    tables = ledger_tables(schema)
    if of is None:
        return _seal(connection, tables)
    aggregate, keys = of
    if connection.dialect.name == "postgresql":
        return _seal_in_place(connection, tables, aggregate, keys)
    parts = (keys[start : start + _BATCH] for start in range(0, len(keys), _BATCH))
    return sum(_seal(connection, tables, (aggregate, part)) for part in parts)


def _seal_in_place(connection: Connection, tables: LedgerTables, aggregate: str, keys: Sequence[str]) -> int:
    """Let the database do it, the next entry of each chain at a time."""
    statement, sealed = _next_links(tables), 0
    while count := connection.scalar(statement, {"aggregate": aggregate, "keys": list(keys)}) or 0:
        sealed += count
    return sealed


@cache
def _next_links(tables: LedgerTables) -> TextClause:
    preparer = postgresql.dialect().identifier_preparer  # type: ignore[no-untyped-call]  # SQLAlchemy leaves it untyped
    audit, head = (preparer.format_table(table) for table in (tables.audit, tables.head))
    return text(
        f"""
        with next as materialized (
            select distinct on (entry.aggregate_id) entry.*, coalesce(head.hash, decode('{GENESIS.hex()}', 'hex')) as previous
            from {audit} entry
            left join {head} head on head.aggregate = entry.aggregate and head.aggregate_id = entry.aggregate_id
            where entry.aggregate = :aggregate and entry.aggregate_id = any(cast(:keys as varchar[])) and entry.hash is null
                and (head.version is null or entry.version > head.version)
            order by entry.aggregate_id, entry.version
        ), bodied as (
            select next.*, convert_to({body_sql(tables.audit, "postgresql", "next")}, 'UTF8') as body from next
        ), hashed as materialized (
            select id, aggregate, aggregate_id, version, previous, {hash_sql("previous", "body")} as hash from bodied
        ), sealed as (
            update {audit} entry set hash_version = {HASH_VERSION}, prev_hash = hashed.previous, hash = hashed.hash
            from hashed where entry.id = hashed.id
        ), headed as (
            insert into {head} (aggregate, aggregate_id, version, hash) select aggregate, aggregate_id, version, hash from hashed
            on conflict (aggregate, aggregate_id) do update set version = excluded.version, hash = excluded.hash
        )
        select count(*) from hashed
        """
    )


def _seal(connection: Connection, tables: LedgerTables, of: tuple[str, Sequence[str]] | None = None) -> int:
    entry = tables.audit.alias("entry")
    which = () if of is None else (entry.c.aggregate == of[0], entry.c.aggregate_id.in_(of[1]))
    chains = (entry.c.aggregate, entry.c.aggregate_id, entry.c.version)
    sealed = 0
    for order, chained in ((chains, entry.c.aggregate.is_not(None)), ((entry.c.id,), entry.c.aggregate.is_(None))):
        unsealed = _unsealed(tables, entry, connection.dialect.name).where(chained, *which).order_by(*order).limit(_BATCH)
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
