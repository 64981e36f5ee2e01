"""Sends BEGIN together with the first statement of a transaction, where the driver is psycopg: one round trip less.

How it works. psycopg begins by itself before the first statement, and waits for the answer. On a connection in autocommit mode it
doesn't, so BEGIN is a statement like others and goes into one pipeline with the first. Everything after it is as ever: the driver
sees an open transaction, and COMMIT and ROLLBACK end it. The mode is put back when the connection returns to its pool,
whatever became of the transaction (`restore_on_return`). Only psycopg's public API is used.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Engine, Pool, event, util

__all__ = ["can_open", "opened_with", "restore_on_return"]

_OPENED = "usecasecore_opened"
_IDLE = 0


def restore_on_return(engine: Engine) -> None:
    """Have connections of the engine's pool returned as they were; without it `can_open` says no. Safe to repeat."""
    if engine.dialect.driver in ("psycopg", "psycopg_async") and not _restores(engine.pool):
        event.listen(engine.pool, "reset", _restore)


def can_open(connection: Connection) -> bool:
    """Say whether the driver has yet to begin the transaction, and can do so together with a statement."""
    if connection.dialect.driver not in ("psycopg", "psycopg_async"):
        return False
    driver: Any = connection.connection.driver_connection
    return driver.pgconn.transaction_status == _IDLE and not driver.autocommit and _restores(connection.engine.pool)


def opened_with(connection: Connection, text: str, parameters: Any) -> Any:
    """Begin the transaction and execute its first statement; return the cursor that has its rows.

    Raises:
        psycopg.Error: From either.
    """
    proxied = connection.connection
    driver: Any = proxied.driver_connection
    begin = _begin(driver)
    proxied.info[_OPENED] = True
    if connection.dialect.is_async:
        return util.await_only(_opened_async(driver, begin, text, parameters))
    driver.autocommit = True
    cursor = driver.cursor()
    with driver.pipeline():
        cursor.execute(begin)
        cursor.execute(text, parameters)
    return cursor


async def _opened_async(driver: Any, begin: str, text: str, parameters: Any) -> Any:
    await driver.set_autocommit(True)
    cursor = driver.cursor()
    async with driver.pipeline():
        await cursor.execute(begin)
        await cursor.execute(text, parameters)
    return _Fetched(await cursor.fetchone(), cursor)


class _Fetched:
    """The cursor of an asynchronous connection, for code that doesn't wait."""

    def __init__(self, row: Any, cursor: Any) -> None:
        self._row, self._cursor = row, cursor

    @property
    def description(self) -> Any:
        return self._cursor.description

    @property
    def rowcount(self) -> int:
        return int(self._cursor.rowcount)

    def fetchone(self) -> Any:
        return self._row

    def close(self) -> None:
        """Leave it to be collected: its rows are here already."""


def _begin(driver: Any) -> str:
    # What psycopg itself would say, from what it was told.
    parts = ["BEGIN"]
    if driver.isolation_level is not None:
        parts.append(f"ISOLATION LEVEL {driver.isolation_level.name.replace('_', ' ')}")
    if driver.read_only is not None:
        parts.append("READ ONLY" if driver.read_only else "READ WRITE")
    if driver.deferrable is not None:
        parts.append("DEFERRABLE" if driver.deferrable else "NOT DEFERRABLE")
    return " ".join(parts)


def _restores(pool: Pool) -> bool:
    # `event.contains` goes by the id of the pool, which may be that of another one that is gone.
    return any(listener is _restore for listener in pool.dispatch.reset)


def _restore(connection: Any, record: Any, state: Any) -> None:
    # A connection that can't be waited for here is closed by the pool, not used again.
    if not record.info.pop(_OPENED, False) or state.terminate_only:
        return
    driver = getattr(connection, "driver_connection", connection)
    if driver.pgconn.transaction_status != _IDLE:
        connection.rollback()
    connection.autocommit = False
