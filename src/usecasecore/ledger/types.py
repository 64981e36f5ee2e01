"""Column types of the ledger."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import DateTime, Dialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator

__all__ = ["Instant", "database_time"]


class Instant(TypeDecorator[datetime]):
    """An aware instant, kept in UTC: `timestamptz` on PostgreSQL, text without an offset on SQLite, which knows no zones."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Convert to UTC."""
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """Return it aware, in UTC."""
        if value is None:
            return None
        stored: datetime = value
        return stored.replace(tzinfo=UTC) if stored.tzinfo is None else stored.astimezone(UTC)


class database_time(FunctionElement[datetime]):  # noqa: N801 - it reads as the SQL function that it is
    """The database's clock at the moment the row is written (not at the start of the transaction)."""

    inherit_cache = True


@compiles(database_time)
def _standard(element: database_time, compiler: SQLCompiler, **kw: Any) -> str:
    return "CURRENT_TIMESTAMP"


@compiles(database_time, "postgresql")
def _postgresql(element: database_time, compiler: SQLCompiler, **kw: Any) -> str:
    return "clock_timestamp()"


@compiles(database_time, "sqlite")
def _sqlite(element: database_time, compiler: SQLCompiler, **kw: Any) -> str:
    # CURRENT_TIMESTAMP has whole seconds only; this is the text that SQLAlchemy's DateTime reads.
    return "(strftime('%Y-%m-%d %H:%M:%f000', 'now'))"
