"""The engine: what the runtime needs of it, sets on it and refuses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from sqlalchemy import Connection, Engine, ExceptionContext, event
from sqlalchemy.pool import StaticPool

from usecasecore import migrations
from usecasecore.driver import is_unheard, row_count
from usecasecore.errors import DefinitionError, UnsafeDatabase
from usecasecore.runtime.limits import Limits

__all__ = ["check_database", "command_engine", "create_ledger", "shares_one_connection", "unsafe_settings"]

_WRITES = "usecasecore_writes"
_CONFIGURED = "usecasecore_configured"


def command_engine(engine: Engine, limits: Limits) -> Engine:
    """Return the engine that commands run on: the same pool, with writing transactions.

    On SQLite the driver's own transaction handling is switched off for the engine's pool: it begins late and deferred, so
    that two commands read the same state and one of them loses its update or fails at once. Every transaction of the engine
    then begins with a BEGIN of ours: IMMEDIATE for commands, plain for others. Foreign keys are on, the journal is a WAL.
    """
    if engine.dialect.name == "postgresql":
        commands = engine.execution_options()
        event.listen(commands, "handle_error", _leave_read_only)
        return commands
    if engine.dialect.name != "sqlite":
        return engine
    milliseconds = int(limits.busy_timeout.total_seconds() * 1000)

    def begin(connection: Connection) -> None:
        pooled = connection.connection
        if _CONFIGURED not in pooled.info:
            _configure_sqlite(connection, milliseconds)
            pooled.info[_CONFIGURED] = True
        writes = connection.get_execution_options().get(_WRITES)
        row_count(connection, "BEGIN IMMEDIATE" if writes else "BEGIN", (), unwatched=is_unheard(connection))

    if not any(getattr(known, "__qualname__", "") == begin.__qualname__ for known in engine.dispatch.begin):
        event.listen(engine, "begin", begin)
        event.listen(engine, "invalidate", _let_go)
    return engine.execution_options(**{_WRITES: True})


def _leave_read_only(context: ExceptionContext) -> None:
    # After a failover the old primary is up and writes no more: a new connection may find the new one.
    if getattr(context.original_exception, "sqlstate", None) == "25006":
        context.is_disconnect = True


def _let_go(connection: Any, _record: Any, _error: BaseException | None) -> None:
    # A closed connection whose last cursor is still referred to, by a traceback say, lives on and keeps the write lock.
    with suppress(Exception):
        connection.rollback()


def _configure_sqlite(connection: Connection, busy_milliseconds: int) -> None:
    driver: Any = connection.connection.dbapi_connection
    driver.isolation_level = None
    for pragma in (
        f"busy_timeout={busy_milliseconds}",
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
    ):
        connection.exec_driver_sql(f"PRAGMA {pragma}")


def shares_one_connection(engine: Engine) -> bool:
    """Say whether all threads share one connection, so that commands have to queue up."""
    return isinstance(engine.pool, StaticPool)


def create_ledger(connection: Connection, schema: str | None) -> None:
    """Create or upgrade the ledger, on SQLite only.

    Raises:
        DefinitionError: On another database: its schema is changed by a deployment, not by whoever starts first.
    """
    if connection.dialect.name != "sqlite":
        raise DefinitionError(f"create=True is for SQLite; on {connection.dialect.name} run `usecasecore db upgrade --url URL`")
    migrations.upgrade(connection, schema)


def unsafe_settings(connection: Connection, *, asynchronous_commit: bool, scopes: bool = False) -> Iterator[UnsafeDatabase]:
    """Yield each setting of the connection that breaks a promise of the runtime.

    Args:
        connection: As the runtime gets them.
        asynchronous_commit: Whether the last commits before a crash may be lost.
        scopes: Whether use cases declare any.
    """
    if getattr(connection.connection.dbapi_connection, "autocommit", False) is True:
        yield UnsafeDatabase(
            setting="the engine's isolation level",
            value="AUTOCOMMIT",
            needed="create the engine with READ COMMITTED",
            effect="commits each statement by itself",
        )
    if connection.dialect.name == "postgresql" and not asynchronous_commit:
        value = str(connection.exec_driver_sql("show synchronous_commit").scalar())
        if value == "off":
            needed = "set it to on, or say Runtime(..., asynchronous_commit=True)"
            yield UnsafeDatabase(setting="synchronous_commit", value=value, needed=needed)
    if connection.dialect.name == "postgresql" and scopes:
        level = str(connection.exec_driver_sql("show transaction_isolation").scalar())
        if level == "repeatable read":
            yield UnsafeDatabase(
                setting="transaction isolation",
                value=level,
                needed="scopes take READ COMMITTED or SERIALIZABLE",
                effect="waits for a scope, and then reads what was true before the wait",
            )


def check_database(connection: Connection, schema: str | None, *, asynchronous_commit: bool, scopes: bool = False) -> None:
    """Make sure that the database keeps what the runtime promises.

    Raises:
        LedgerOutdated: If the ledger is missing, incomplete or of another revision.
        UnsafeDatabase: If a setting breaks a promise.
    """
    for unsafe in unsafe_settings(connection, asynchronous_commit=asynchronous_commit, scopes=scopes):
        raise unsafe
    migrations.check(connection, schema)
