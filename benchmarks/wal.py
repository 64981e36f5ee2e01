"""How much a PostgreSQL server has written ahead, from one moment to another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, create_engine

__all__ = ["Written", "written"]


@dataclass(slots=True)
class Written:
    """What was written in a `written` block, known at its end.

    Attributes:
        records: How many.
        bytes: Of the records, without the images of full pages: how many of those there are depends on how long ago the last
            checkpoint was.
        kinds: How many records of each kind, as `Heap/INSERT`.
    """

    records: int = 0
    bytes: int = 0
    kinds: Mapping[str, int] = field(default_factory=dict)


@contextmanager
def written(url: str) -> Iterator[Written]:
    """Yield what is filled at the end of the block: all that the server wrote, whoever made it.

    It is read record by record (`pg_walinspect`), so that it doesn't depend on when which statistics are sent.
    """
    seen = Written()
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql("create extension if not exists pg_walinspect")
        start = _position(connection)
        yield seen
        query = 'select "resource_manager/record_type", count, record_size from pg_get_wal_stats(%s, %s, true) where count > 0'
        rows = connection.exec_driver_sql(query, (start, _position(connection))).all()
    engine.dispose()
    seen.kinds = {kind: count for kind, count, _ in rows}
    seen.records, seen.bytes = sum(seen.kinds.values()), sum(int(size) for _, _, size in rows)


def _position(connection: Connection) -> Any:
    return connection.exec_driver_sql("select pg_current_wal_flush_lsn()").scalar_one()
