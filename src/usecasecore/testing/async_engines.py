"""The databases of asynchronous tests: as those of `database`, on a driver for asyncio, in whatever event loop the test runs.

How it works: a fixture is set up before the test's event loop runs, and torn down when it may be gone, whichever plugin runs it. So the
engine opens its one connection when the test first uses it, and closes it when its loop ends: an asynchronous generator that was begun
in a loop is finished by `loop.shutdown_asyncgens`, which `asyncio.run` and every runner call. Where the loop lives longer than the test, the
fixture finishes it. Nothing here needs a synchronous driver.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any
from uuid import uuid4

from sqlalchemy import NullPool, StaticPool, event, make_url
from sqlalchemy.util import await_only, greenlet_spawn

from usecasecore.testing.database import LOCK, Prepare, Savepoints, template_in_memory, value_of

try:
    import_module("greenlet")  # SQLAlchemy 2.0 would miss it only when the first statement is sent
    from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
except ImportError as error:
    raise ImportError('the asynchronous fixtures need greenlet: pip install "usecasecore[asyncio]"') from error

__all__ = [
    "async_copied_in_memory",
    "async_of_its_own",
    "async_prepared_once",
    "async_rolled_back",
    "async_template",
    "asynchronous",
]


def asynchronous(url: str) -> str:
    """Return the URL of the same database for a driver of asyncio.

    A URL that names one stays as it is, as does one for psycopg, which is both; for another driver of PostgreSQL it is asyncpg.

    Raises:
        ValueError: If the driver is not installed.
    """
    parsed = make_url(url)
    backend, driver = parsed.get_backend_name(), parsed.drivername.partition("+")[2]
    if backend == "sqlite":
        driver = "aiosqlite"
    elif driver not in ("psycopg", "psycopg_async"):
        driver = "asyncpg"
    found = parsed.set(drivername=f"{backend}+{driver}")
    try:
        found.get_dialect().import_dbapi()
    except ImportError as error:
        raise ValueError(f'the asynchronous fixtures need {driver} here: pip install "usecasecore[asyncio]" {driver}') from error
    return found.render_as_string(hide_password=False)


@contextmanager
def async_copied_in_memory(template: sqlite3.Connection) -> Iterator[AsyncEngine]:
    """Yield an engine on a copy of a SQLite database; one connection, which commands queue up for."""
    import aiosqlite

    def copy() -> sqlite3.Connection:
        made = sqlite3.connect(":memory:", check_same_thread=False)
        template.backup(made)
        return made

    async def connect() -> aiosqlite.Connection:
        return await aiosqlite.Connection(copy, iter_chunk_size=64)

    engine = create_async_engine("sqlite+aiosqlite://", poolclass=StaticPool, async_creator=connect)
    with _in_the_loop_of_the_test(engine, lambda _driver: _nothing):
        yield engine


@contextmanager
def async_rolled_back(url: str) -> Iterator[AsyncEngine]:
    """Yield an engine on PostgreSQL with one connection, in a transaction that is rolled back at the end; see `database.rolled_back`.

    Raises:
        AssertionError: If the transaction was ended before the test was, by SQL that committed say: then something may stay.
    """
    engine = create_async_engine(url, poolclass=StaticPool, pool_reset_on_return=None)

    def opened(driver: Any) -> Callable[[], None]:
        savepoints = Savepoints()
        for name in ("do_begin", "do_commit", "do_rollback"):
            setattr(engine.dialect, name, getattr(savepoints, name))
        began = value_of(driver, "select txid_current()")

        def close() -> None:
            savepoints.end(driver)
            ended = value_of(driver, "select txid_current_if_assigned()") != began
            driver.rollback()
            if ended:
                raise AssertionError(
                    "the test's transaction ended before the test did, by SQL that commits or with its connection; what it had "
                    "written may have stayed"
                )

        return close

    with _in_the_loop_of_the_test(engine, opened):
        yield engine


def async_prepared_once(url: str, prepare: Prepare) -> None:
    """Prepare a PostgreSQL database, to stay so; safe to repeat, and from several workers at once."""

    async def work() -> None:
        engine = create_async_engine(url, poolclass=NullPool)
        async with engine.begin() as connection:
            await connection.exec_driver_sql(f"select pg_advisory_xact_lock({LOCK})")
            await connection.run_sync(prepare)

    _apart(work())


@contextmanager
def async_of_its_own(url: str, prepare: Prepare, directory: Path) -> Iterator[AsyncEngine]:
    """Yield an engine with real connections and real commits, on a database of the test's own; see `database.of_its_own`."""
    if make_url(url).get_backend_name() == "sqlite":
        engine = create_async_engine(f"sqlite+aiosqlite:///{directory / 'usecasecore.db'}", poolclass=NullPool)
        _apart(_prepare(engine, prepare))
        yield engine
        return
    schema = f"usecasecore_{uuid4().hex}"
    is_asyncpg = make_url(url).get_driver_name() == "asyncpg"
    settings: dict[str, Any] = (
        {"server_settings": {"search_path": schema}} if is_asyncpg else {"options": f"-csearch_path={schema}"}
    )
    administration = create_async_engine(url, poolclass=NullPool)
    _apart(_execute(administration, f"create schema {schema}"))
    try:
        engine = create_async_engine(url, poolclass=NullPool, connect_args=settings)
        _apart(_prepare(engine, prepare))
        yield engine
    finally:
        _apart(_execute(administration, f"drop schema {schema} cascade"))


def async_template(prepare: Prepare) -> sqlite3.Connection:
    """Return a prepared SQLite database in memory, to be copied; the caller closes it."""
    engine = template_in_memory(prepare)
    made = sqlite3.connect(":memory:", check_same_thread=False)
    original = engine.raw_connection()
    try:
        source = original.driver_connection
        assert isinstance(source, sqlite3.Connection)
        source.backup(made)
    finally:
        original.close()
        engine.dispose()
    return made


@contextmanager
def _in_the_loop_of_the_test(engine: AsyncEngine, opened: Callable[[Any], Callable[[], None]]) -> Iterator[None]:
    """Have what `opened` returns called, and the engine disposed, in the event loop in which the first connection is made.

    Args:
        engine: With a single connection.
        opened: Called with the connection as SQLAlchemy's pool has it, inside of a greenlet, as what it returns is.
    """
    held: list[_Held] = []

    def connected(driver: Any, _record: Any) -> None:
        if held:
            raise RuntimeError(
                "the database of this test was closed with the event loop that it was first used in; a test has one event loop"
            )
        held.append(_Held(engine, opened(driver)))
        await_only(held[0].begin())

    event.listen(engine.sync_engine, "connect", connected)
    yield
    for one in held:
        one.finish()


class _Held:
    """What stays open until the loop ends in which it was begun."""

    def __init__(self, engine: AsyncEngine, close: Callable[[], None]) -> None:
        self._generator = self._open(engine, close)
        self._loop = asyncio.get_running_loop()
        self._closed = False
        self._error: BaseException | None = None

    async def begin(self) -> None:
        await anext(self._generator)

    def finish(self) -> None:
        """Close it where its loop has not; raise what closing raised.

        Raises:
            AssertionError: What `close` found, or that the loop is gone without an end.
        """
        if not self._closed:
            if self._loop.is_closed():
                raise AssertionError(
                    "the event loop of the test was closed without `shutdown_asyncgens`; use asyncio.run or a runner"
                )
            self._loop.run_until_complete(self._generator.aclose())
        if self._error is not None:
            raise self._error

    async def _open(self, engine: AsyncEngine, close: Callable[[], None]) -> AsyncGenerator[None]:
        try:
            yield
        finally:
            # Whoever finishes a generator for a loop only logs what it raises: kept for the fixture.
            try:
                await greenlet_spawn(close)
            except AssertionError as error:
                self._error = error
            finally:
                await engine.dispose()
                self._closed = True


def _nothing() -> None:
    pass


async def _prepare(engine: AsyncEngine, prepare: Prepare) -> None:
    async with engine.begin() as connection:
        await connection.run_sync(prepare)


async def _execute(engine: AsyncEngine, statement: str) -> None:
    async with engine.begin() as connection:
        await connection.exec_driver_sql(statement)


def _apart(work: Coroutine[Any, Any, None]) -> None:
    """Run it to its end in a loop of its own, and leave this thread's loop alone."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            asyncio.run(work)
        except BaseException as error:  # noqa: BLE001 - raised below, in the thread that asked
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if raised:
        raise raised[0]
