"""The databases that tests run on: new, or as it was afterwards.

How it works: on SQLite each test has a database in memory, copied from one that was prepared once; its commits are commits. On
PostgreSQL each test has one connection, in a transaction that is rolled back at its end. What the runtime takes for begin,
commit and rollback is a savepoint there, made and ended where it begins, commits and rolls back. So the runtime's commit point is
where it always is, and whoever watches it sees it. Deferred constraints are checked at each of them, as a commit would.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

from sqlalchemy import Connection, Engine, StaticPool, create_engine, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from usecasecore import migrations
from usecasecore.application import Application
from usecasecore.slots import mapper_of

__all__ = [
    "LOCK",
    "Prepare",
    "Savepoints",
    "copied_in_memory",
    "dialect_of",
    "of_its_own",
    "prepared_once",
    "prepares",
    "rolled_back",
    "template_in_memory",
    "value_of",
]

Prepare = Callable[[Connection], None]

LOCK = 0x7573656361736573
"""Of the advisory lock under which workers prepare one database, one after the other."""


def dialect_of(url: str, *, asynchronous: bool = False) -> str:
    """Return which of the two kinds of databases a URL is for.

    Args:
        url: The URL.
        asynchronous: Whether a driver of asyncio is accepted too.

    Raises:
        ValueError: If it is for none that tests can run on.
    """
    accepted = "`sqlite://` (in memory) and `postgresql+psycopg://...`, or another synchronous driver of PostgreSQL, are"
    try:
        parsed = make_url(url)
        dialect = parsed.get_dialect()
    except (ArgumentError, NoSuchModuleError) as error:
        raise ValueError(f"the database to test on is no URL of SQLAlchemy ({error}); {accepted}") from None
    shown = parsed.render_as_string()
    if dialect.is_async and not asynchronous:
        raise ValueError(f"{shown} is for asyncio, so for `usecasecore_async_runtime` and `async_scenario`; here {accepted}")
    if dialect.name == "sqlite" and parsed.database in (None, "", ":memory:"):
        return "sqlite"
    if dialect.name == "postgresql":
        return "postgresql"
    raise ValueError(f"tests can't run on {shown}: {accepted}")


def prepares(application: Application) -> Prepare:
    """Return what makes the tables of an application's aggregates, those of the same metadata, and the ledger; where they are missing."""

    def prepare(connection: Connection) -> None:
        metadata = {id(one): one for one in (_metadata_of(cls) for cls in application.aggregates)}
        for one in metadata.values():
            one.create_all(connection)
        migrations.upgrade(connection)

    return prepare


def template_in_memory(prepare: Prepare) -> Engine:
    """Return a prepared SQLite database in memory, to be copied."""
    engine = _in_memory()
    with engine.begin() as connection:
        prepare(connection)
    return engine


@contextmanager
def copied_in_memory(template: Engine) -> Iterator[Engine]:
    """Yield an engine on a copy of the template; one connection, which commands queue up for."""
    engine = _in_memory()
    original, copy = template.raw_connection(), engine.raw_connection()
    try:
        source, target = original.driver_connection, copy.driver_connection
        assert isinstance(source, sqlite3.Connection)
        assert isinstance(target, sqlite3.Connection)
        source.backup(target)
    finally:
        original.close()
        copy.close()
    try:
        yield engine
    finally:
        engine.dispose()


def prepared_once(url: str, prepare: Prepare) -> None:
    """Prepare a PostgreSQL database, to stay so; safe to repeat, and from several workers at once."""
    engine = create_engine(url)
    try:
        with engine.begin() as connection:
            connection.exec_driver_sql(f"select pg_advisory_xact_lock({LOCK})")
            prepare(connection)
    finally:
        engine.dispose()


@contextmanager
def rolled_back(url: str) -> Iterator[Engine]:
    """Yield an engine on PostgreSQL with one connection, in a transaction that is rolled back at the end of the block.

    Transactions of it may be nested in one another, but must end in the opposite order. `now()` stands still.

    Raises:
        AssertionError: If the transaction was ended before the block was, by SQL that committed say: then something may stay.
    """
    # Without a rollback when the connection is given back: that of the one must not be that of another around it.
    engine = create_engine(url, poolclass=StaticPool, pool_reset_on_return=None)
    with engine.connect():
        pass  # the dialect looks at the server first, and ends what it began itself
    savepoints = Savepoints()
    for name in ("do_begin", "do_commit", "do_rollback"):
        setattr(engine.dialect, name, getattr(savepoints, name))
    driver: Any = engine.raw_connection().dbapi_connection
    roll_back = driver.rollback
    with suppress(AttributeError):  # a driver written in C is left as it is: only a failed commit goes that way
        driver.rollback = lambda: savepoints.end_of_failed_commit(driver)
    try:
        began = value_of(driver, "select txid_current()")
        try:
            yield engine
        finally:
            savepoints.end(driver)
            ended = value_of(driver, "select txid_current_if_assigned()") != began
            roll_back()
            if ended:
                raise AssertionError(
                    "the test's transaction ended before the test did, by SQL that commits or with its connection; what it had "
                    "written may have stayed"
                )
    finally:
        engine.dispose()


@contextmanager
def of_its_own(url: str, prepare: Prepare, directory: Path) -> Iterator[Engine]:
    """Yield an engine with real connections and real commits, on a database of the test's own.

    On SQLite that is a file in the directory; on PostgreSQL a schema, dropped at the end of the block. Tables that name a schema
    themselves are not part of it.
    """
    if dialect_of(url) == "sqlite":
        engine = create_engine(f"sqlite:///{directory / 'usecasecore.db'}")
        yield from _prepared(engine, prepare)
        return
    schema = f"usecasecore_{uuid4().hex}"
    administration = create_engine(url)
    try:
        with administration.begin() as connection:
            connection.exec_driver_sql(f"create schema {schema}")
        engine = create_engine(url, connect_args={"options": f"-csearch_path={schema}"})
        try:
            yield from _prepared(engine, prepare)
        finally:
            with administration.begin() as connection:
                connection.exec_driver_sql(f"drop schema {schema} cascade")
    finally:
        administration.dispose()


def _prepared(engine: Engine, prepare: Prepare) -> Iterator[Engine]:
    try:
        with engine.begin() as connection:
            prepare(connection)
        yield engine
    finally:
        engine.dispose()


class Savepoints:
    """What a dialect does instead of begin, commit and rollback, on the one connection that there is: of DB-API's form."""

    def __init__(self) -> None:
        self._open: list[str] = []
        self._commit_failed = False

    def do_begin(self, driver: Any) -> None:
        """Begin."""
        self._commit_failed = False
        name = f"usecasecore_{len(self._open)}"
        _send(driver, f"savepoint {name}")
        self._open.append(name)

    def do_commit(self, driver: Any) -> None:
        """Commit, as far as that can be without an end of the transaction."""
        if not self._open:
            return
        # A deferred constraint would wait for the end of the transaction, which never commits.
        try:
            _send(driver, "savepoint usecasecore_check")
            _send(driver, "set constraints all immediate")
            _send(driver, "rollback to savepoint usecasecore_check")
            _send(driver, f"release savepoint {self._open[-1]}")
        except BaseException:
            self.do_rollback(driver)
            self._commit_failed = True
            raise
        self._open.pop()

    def do_rollback(self, driver: Any) -> None:
        """Go back to the last begin."""
        if self._open:
            name = self._open.pop()
            _send(driver, f"rollback to savepoint {name}")
            _send(driver, f"release savepoint {name}")

    def end_of_failed_commit(self, driver: Any) -> None:
        """Do what the driver's own rollback is called for, where that isn't done already."""
        if not self._commit_failed:
            self.do_rollback(driver)
        self._commit_failed = False

    def end(self, driver: Any) -> None:
        """Go back to before the first one that is open, so that the connection takes statements again."""
        if self._open:
            with suppress(Exception):  # it is gone with the transaction, which is found out next
                _send(driver, f"rollback to savepoint {self._open[0]}")
            self._open.clear()


def _in_memory() -> Engine:
    return create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})


def _metadata_of(cls: type) -> Any:
    mapper = mapper_of(cls)
    assert mapper is not None
    return mapper.local_table.metadata  # type: ignore[attr-defined]  # of a mapped class it is a table


def _send(driver: Any, statement: str) -> None:
    cursor = driver.cursor()
    try:
        cursor.execute(statement)
    finally:
        cursor.close()


def value_of(driver: Any, query: str) -> Any:
    """Return what a query says on a connection of a driver; None where that takes no statement."""
    cursor = driver.cursor()
    try:
        cursor.execute(query)
        return cursor.fetchone()[0]
    except Exception:  # noqa: BLE001 - a connection that takes no statement is in no transaction of ours
        return None
    finally:
        cursor.close()
