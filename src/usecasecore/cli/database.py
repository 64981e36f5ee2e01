"""Finds the database that a command is about, says on stderr where it was found, and turns its errors into words."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import quote

from usecasecore.cli.discovery import Found, find
from usecasecore.cli.failure import Failure
from usecasecore.cli.output import clean, note

if TYPE_CHECKING:
    from sqlalchemy import URL, Connection, Engine
    from sqlalchemy.ext.asyncio import AsyncEngine

    from usecasecore.application import Application

__all__ = ["Database", "find_both", "find_database", "find_what_is_there"]

T = TypeVar("T")

VARIABLE = "USECASECORE_URL"
_FORM = (
    "write it as dialect+driver://user:password@host:port/name, for example postgresql+psycopg://ada:secret@localhost:5432/shop"
)
_PLACES = f"pass --url URL or set {VARIABLE}; where --app names a Runtime, its database is taken"


@dataclass(frozen=True, slots=True)
class Database:
    """A database that was found; not opened yet.

    Attributes:
        engine: Sync or async.
        schema: Where the ledger lives; None for the connection's default.
        application: The application whose runtime's database it is; None where somebody named a URL.
    """

    engine: Engine | AsyncEngine
    schema: str | None
    application: Application | None = None

    def read(self, work: Callable[[Connection], T]) -> T:
        """Return what `work` returns.

        Raises:
            Failure: If the database can't be reached or refuses.
        """
        url = self.engine.url
        if url.get_backend_name() == "sqlite" and _is_missing_file(url.database):
            # SQLite would make an empty one.
            raise Failure(
                f"there is no file {url.database}", "`usecasecore db upgrade --url URL` makes it, with the ledger in it"
            )
        return _run(self.engine, work)

    def write(self, work: Callable[[Connection], T]) -> T:
        """Do what `read` does and commit it, changes of the schema included; on SQLite a file that is missing is made."""
        from sqlalchemy import Engine

        from usecasecore.runtime.database import command_engine
        from usecasecore.runtime.limits import Limits

        # On SQLite a transaction covers changes of the schema only where it is begun as for commands.
        return _run(command_engine(self.engine, Limits()) if isinstance(self.engine, Engine) else self.engine, work)


def find_database(url: str | None, app: str | None, schema: str | None) -> Database:
    """Return the database that the option, the environment or a runtime names.

    Args:
        url: `--url`.
        app: `--app`; looked at only where nobody names a URL.
        schema: `--schema`; by default that of the runtime, where its database is taken.

    Raises:
        Failure: If there is none, if its URL can't be read, or if its driver is missing.
    """
    return find_both(url, app, schema, application=False)[0]


def find_both(url: str | None, app: str | None, schema: str | None, *, application: bool = True) -> tuple[Database, Found | None]:
    """Return what `find_database` does, and the application that `--app`, the environment or pyproject.toml names.

    Args:
        url: `--url`.
        app: `--app`.
        schema: `--schema`.
        application: Whether to look for an application where the database is named by a URL too; there may be none.

    Raises:
        Failure: As `find_database`.
    """
    database, found = find_what_is_there(url, app, schema, application=application)
    if database is None:
        where = "" if found is None else f", and {found.reference} has none"
        raise Failure(f"no database is named{where}", _PLACES)
    return database, found


def find_what_is_there(
    url: str | None, app: str | None, schema: str | None, *, application: bool = True
) -> tuple[Database | None, Found | None]:
    """Do what `find_both` does; return None instead of a database where nobody names one.

    Raises:
        Failure: If its URL can't be read, or if its driver is missing.
    """
    text, origin = (url, "--url") if url is not None else (os.environ.get(VARIABLE), VARIABLE)
    if text:
        engine = _engine(text)
        found = find(app) if application else None
        _tell(engine.url, origin)
        return Database(engine, schema), found
    if url is not None:
        raise Failure("the database's URL is empty", _FORM)
    found = find(app)
    runtime = found.runtime if found else None
    if getattr(runtime, "engine", None) is None:
        return None, found
    assert runtime is not None
    _tell(runtime.engine.url, "the runtime")
    ledger = schema if schema is not None else getattr(runtime, "ledger_schema", None)
    return Database(runtime.engine, ledger, found.application if found else None), found


def _tell(url: URL, origin: str) -> None:
    shown = url.set(query={}).render_as_string(hide_password=True)
    note(f"database: {clean(shown)} (from {origin})")


def _engine(text: str) -> Engine | AsyncEngine:
    from sqlalchemy import create_engine, make_url
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError
    from sqlalchemy.pool import NullPool

    # What the library says about a URL that it can't read may quote parts of the password.
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise Failure("the database's URL can't be read", _FORM) from None
    if "@" in (url.host or ""):
        raise Failure(
            "the database's URL has more than one @", "in a user name or a password, write %40 for @, %3A for : and %2F for /"
        )
    try:
        if url.get_dialect().is_async:
            from sqlalchemy.ext.asyncio import create_async_engine

            return create_async_engine(url, poolclass=NullPool)
        return create_engine(url, poolclass=NullPool)
    except NoSuchModuleError:
        raise Failure(f"SQLAlchemy knows no database {url.drivername!r}", _FORM) from None
    except ArgumentError as error:
        raise Failure(_told(error, url), _FORM, secrets=_secrets(url)) from error
    except ImportError as error:
        raise _driver_missing(error, url) from error


def _run(engine: Engine | AsyncEngine, work: Callable[[Connection], T]) -> T:
    import asyncio

    from sqlalchemy import Engine

    if not isinstance(engine, Engine):
        return asyncio.run(_run_async(engine, work))
    try:
        connection = engine.connect()
    except Exception as error:
        raise _unreachable(error, engine.url) from error
    with connection, connection.begin():
        return _worded(work, connection)


async def _run_async(engine: AsyncEngine, work: Callable[[Connection], T]) -> T:
    try:
        connection = await engine.connect()
    except Exception as error:
        raise _unreachable(error, engine.url) from error
    try:
        async with connection.begin():
            return await connection.run_sync(lambda inner: _worded(work, inner))
    finally:
        await connection.close()
        await engine.dispose()


def _driver_missing(error: ImportError, url: URL) -> Failure:
    module = error.name or url.get_driver_name()
    if url.get_backend_name() == "postgresql" and module.startswith("psycopg"):
        return Failure(
            f"the driver {module!r} is not installed",
            'pip install "usecasecore[postgres]", and begin the URL with postgresql+psycopg://',
        )
    installed = importlib.util.find_spec(module.partition(".")[0]) is not None
    state = f"can't be imported: {error}" if installed else "is not installed"
    return Failure(f"the driver {module!r} {state}", "install what provides it, or name another driver in the URL")


def _unreachable(error: Exception, url: URL) -> Failure:
    return Failure(
        f"the database can't be reached: {_told(error, url)}", "is it running, and is the URL right?", secrets=_secrets(url)
    )


def _worded(work: Callable[[Connection], T], connection: Connection) -> T:
    from alembic.util.exc import CommandError
    from sqlalchemy.exc import SQLAlchemyError

    try:
        return work(connection)
    except CommandError as error:
        raise Failure(
            f"the ledger can't be upgraded: {error}", "it may be newer than this usecasecore; install the newer one"
        ) from error
    except (SQLAlchemyError, OSError) as error:
        url = connection.engine.url
        raise Failure(f"the database refused: {_told(error, url)}", secrets=_secrets(url)) from error


def _told(error: Exception, url: URL) -> str:
    """Return what the driver said, in one line and without the password."""
    said = str(getattr(error, "orig", None) or error) or type(error).__name__
    for secret in _secrets(url):
        said = said.replace(secret, "***")
    return clean(" ".join(said.split()))


def _secrets(url: URL) -> tuple[str, ...]:
    found = [url.password, *(value for name, value in url.query.items() if "pass" in name.lower())]
    texts = [str(each) for each in found if each]
    return tuple(dict.fromkeys([*texts, *map(quote, texts)]))


def _is_missing_file(name: str | None) -> bool:
    return bool(name) and name != ":memory:" and not str(name).startswith("file:") and not Path(str(name)).exists()
