"""Tables that PostgreSQL analysed while they were empty, and that have rows now.

A plan that was made for an empty table reads all of it, and a connection that has prepared a statement keeps its plan until the
table is analysed again. A table that was never analysed is safe: the planner guesses ten pages then.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from sqlalchemy import Connection, Table, inspect, literal, select, text
from sqlalchemy.orm import Mapper

from usecasecore.application import Application
from usecasecore.diagnosis.finding import Finding, Severity
from usecasecore.ledger import ledger_tables

__all__ = ["statistics_findings"]

_ANALYSED_EMPTY = text("select 1 from pg_class where oid = to_regclass(cast(:name as text)) and relkind = 'r' and reltuples = 0")


def statistics_findings(connection: Connection, application: Application | None, schema: str | None) -> Iterator[Finding]:
    """Yield each table of the ledger and of the aggregates that was empty when it was analysed, and isn't now."""
    if connection.dialect.name != "postgresql":
        return
    ledger = ledger_tables(schema).metadata.sorted_tables
    for table in dict.fromkeys([*ledger, *_tables(application.aggregates if application else ())]):
        name = connection.dialect.identifier_preparer.format_table(table)
        if connection.execute(_ANALYSED_EMPTY, {"name": name}).first() is None:
            continue
        if connection.execute(select(literal(1)).select_from(table).limit(1)).first() is not None:
            yield Finding(
                "UCD204",
                Severity.PROBLEM,
                f"{name} was empty when PostgreSQL analysed it, and has rows now: plans made since may read all of it.",
                f"Run `ANALYZE {name}`.",
            )


def _tables(aggregates: Iterable[type]) -> Iterator[Table]:
    for aggregate in aggregates:
        top: Mapper[object] = inspect(aggregate).base_mapper
        for mapper in top.self_and_descendants:
            yield from (table for table in mapper.tables if isinstance(table, Table))
