"""What a failure of the database means: the one place that reads drivers' errors."""

from __future__ import annotations

import enum
import sqlite3

from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, InterfaceError, OperationalError, StatementError

__all__ = ["Fault", "constraint_of", "fault_of", "is_duplicate", "is_read_only", "sqlstate_of"]


class Fault(enum.Enum):
    """What a failure of the database means for the command."""

    CONFLICT = "deadlock, serialization failure or outdated plan"
    BUSY = "lock timeout"
    LOST = "connection lost"
    CONSTRAINT = "constraint violated"
    VALUE = "value refused"
    ABORTED = "transaction aborted earlier"
    OTHER = "database error"


_CONFLICT = {"40001", "40P01", "26000"}
"""The last one: a prepared statement is gone, by somebody's DEALLOCATE or since a table was altered; the next start prepares it anew."""
_LOST = {"57P01", "57P02", "57P03", "25P03"}
_SQLITE_BUSY = {"SQLITE_BUSY", "SQLITE_LOCKED"}


def fault_of(error: StatementError) -> Fault:
    """Return what the error means, by SQLSTATE (PostgreSQL) or SQLite's own code, never by its words."""
    state = sqlstate_of(error)
    if state in _CONFLICT:
        return Fault.CONFLICT
    if state == "55P03":
        return Fault.BUSY
    if state in _LOST or (state or "").startswith("08") or getattr(error, "connection_invalidated", False):
        return Fault.LOST
    if state == "25P02":
        return Fault.ABORTED
    if (state or "").startswith("22"):  # asyncpg's come without SQLAlchemy's DataError
        return Fault.VALUE
    if isinstance(error, IntegrityError):
        return Fault.CONSTRAINT
    if isinstance(error.orig, sqlite3.Error):
        return _sqlite_fault(error.orig)
    if isinstance(error, DataError) or not isinstance(error, DBAPIError):
        return Fault.VALUE
    if isinstance(error, OperationalError | InterfaceError) and state is None:
        return Fault.LOST
    return Fault.OTHER


def _sqlite_fault(error: sqlite3.Error) -> Fault:
    name = getattr(error, "sqlite_errorname", "") or ""
    if any(name.startswith(busy) for busy in _SQLITE_BUSY):
        return Fault.BUSY
    return Fault.OTHER


def sqlstate_of(error: StatementError) -> str | None:
    """Return the SQLSTATE, five characters; None where the driver gives none."""
    for attribute in ("sqlstate", "pgcode"):
        state = getattr(error.orig, attribute, None)
        if isinstance(state, str):
            return state
    return None


def is_duplicate(error: StatementError) -> bool:
    """Say whether a row with such a key is there already."""
    name = getattr(error.orig, "sqlite_errorname", "")
    return sqlstate_of(error) == "23505" or name in ("SQLITE_CONSTRAINT_PRIMARYKEY", "SQLITE_CONSTRAINT_UNIQUE")


def is_read_only(error: BaseException | None) -> bool:
    """Say whether the database refused to write, or to lock, because the transaction may only read."""
    if not isinstance(error, StatementError):
        return False
    name = getattr(error.orig, "sqlite_errorname", "") or ""
    return sqlstate_of(error) == "25006" or name.startswith("SQLITE_READONLY")


def constraint_of(error: StatementError) -> str:
    """Return the name of the violated constraint; an empty text where the driver doesn't tell."""
    origin = error.orig
    for source in (getattr(origin, "diag", None), origin, getattr(origin, "__cause__", None)):
        name = getattr(source, "constraint_name", None)
        if isinstance(name, str):
            return name
    if isinstance(origin, sqlite3.Error):
        # "UNIQUE constraint failed: customers.email": names only, never values.
        return str(origin).partition("failed: ")[2]
    return ""
