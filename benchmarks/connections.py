"""Engines as a side needs them, and what the server's processes behind their connections have used."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import Engine, Uuid, column, create_engine, event, select, table
from sqlalchemy.engine import make_url

__all__ = ["Backends", "engine_of", "ids_in", "synchronous"]

_LOCK_TIMEOUT = "2s"
"""What the runtime sets for each command; by hand one would set it for the connection."""


def engine_of(url: str, driver: str | None, clients: int) -> Any:
    """Return an engine with a connection for each client, and asynchronous if a driver is named."""
    pool = {"pool_size": clients, "max_overflow": 0}
    if driver is None:
        return create_engine(url, connect_args=_arguments(make_url(url).get_driver_name()), **pool)
    from sqlalchemy.ext.asyncio import create_async_engine

    asynchronous = make_url(url).set(drivername=f"postgresql+{driver}")
    if driver == "asyncpg":
        asynchronous = asynchronous.set(query={})  # which is for libpq
    return create_async_engine(asynchronous, connect_args=_arguments(driver), **pool)


def synchronous(engine: Any) -> Engine:
    """Return the engine that events of either kind are listened for on."""
    inner: Engine = getattr(engine, "sync_engine", engine)
    return inner


def ids_in(url: str, name: str) -> list[UUID]:
    """Return the ids of a table's rows, sorted."""
    engine = create_engine(url)
    with engine.connect() as connection:
        ids: list[UUID] = sorted(connection.scalars(select(column("id", Uuid)).select_from(table(name))))
    engine.dispose()
    return ids


class Backends:
    """The server's processes behind the connections that an engine opens from now on."""

    def __init__(self, engine: Any) -> None:
        self._schedstats: list[Path] = []
        inner = synchronous(engine)
        self._known = inner.dialect.name == "postgresql"
        if self._known:
            event.listen(inner, "connect", self._opened)

    def cpu(self) -> float | None:
        """Return the seconds that they have been on a CPU; None where it can't be told."""
        try:
            return sum(int(path.read_text().split()[0]) for path in self._schedstats) / 1e9 if self._known else None
        except OSError:
            return None

    def _opened(self, connection: Any, _record: object) -> None:
        driver = getattr(connection, "driver_connection", connection)
        pid = driver.get_server_pid() if hasattr(driver, "get_server_pid") else driver.info.backend_pid
        self._schedstats.append(Path(f"/proc/{pid}/schedstat"))


def _arguments(driver: str) -> dict[str, Any]:
    if driver == "psycopg":
        return {"options": f"-c lock_timeout={_LOCK_TIMEOUT}"}
    return {"server_settings": {"lock_timeout": _LOCK_TIMEOUT}, "ssl": False} if driver == "asyncpg" else {}
