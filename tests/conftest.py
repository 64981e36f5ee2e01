"""A new database for each test: a SQLite file, or a PostgreSQL database on one server for each xdist worker."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import settings
from sqlalchemy import create_engine

from tests.bank import bank, bank_doing, bank_with, engine, kind, make_runtime, url  # noqa: F401 - fixtures for all
from tests.chaos.tally import summary
from tests.databases import DatabasePool
from tests.postgres import PostgresServer, PostgresUnavailable, create_database, drop_database
from usecasecore import migrations

pytest_plugins = ["pytester"]

# Two workers on two busy cores: how long one example takes says nothing.
settings.register_profile("usecasecore", settings(), deadline=None)
settings.load_profile("usecasecore")


def prepare_template(url: str) -> None:
    """Make in an empty database what every test's database starts with, the ledger; leave no connection open."""
    engine = create_engine(url)
    with engine.begin() as connection:
        migrations.upgrade(connection)
    engine.dispose()


@pytest.fixture(
    params=[
        pytest.param("sqlite", marks=pytest.mark.sqlite),
        pytest.param("postgresql", marks=pytest.mark.postgresql),
    ]
)
def database_url(request: pytest.FixtureRequest) -> str:
    """The SQLAlchemy URL of a new database; the test runs once on SQLite and once on PostgreSQL."""
    url: str = request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "postgres_url")
    return url


@pytest.fixture
def sqlite_url(sqlite_template: Path, tmp_path: Path) -> str:
    """The URL of a new SQLite file."""
    file = tmp_path / "test.db"
    if sqlite_template.exists():
        shutil.copy(sqlite_template, file)
    return f"sqlite:///{file}"


@pytest.fixture
def postgres_url(postgres_databases: DatabasePool) -> Iterator[str]:
    """The URL of a PostgreSQL database that looks like a new one."""
    name, url = postgres_databases.take()
    yield url
    postgres_databases.give_back(name, url)


@pytest.fixture(scope="session")
def postgres_databases(postgres_server: str, postgres_template: str) -> Iterator[DatabasePool]:
    """Databases that look like new copies of the template."""
    pool = DatabasePool(postgres_server, postgres_template)
    yield pool
    pool.close()


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file that `sqlite_url` copies; absent while there is nothing to prepare."""
    file = tmp_path_factory.mktemp("template") / "template.db"
    prepare_template(f"sqlite:///{file}")
    return file


@pytest.fixture(scope="session")
def postgres_template(postgres_server: str) -> Iterator[str]:
    """The name of the database that `postgres_url` copies."""
    name = _new_name()
    prepare_template(create_database(postgres_server, name))
    yield name
    drop_database(postgres_server, name)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URL of a server on which databases may be created: USECASECORE_TEST_PG_URL, or one of our own."""
    if own := os.environ.get("USECASECORE_TEST_PG_URL"):
        yield own
        return
    try:
        server = PostgresServer().start()
    except PostgresUnavailable as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(error))
    try:
        yield server.url()
    finally:
        server.stop()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that ask for one database only, the others are marked by their parameter; start the long ones first."""
    # Else one worker is alone with the longest when all others are done.
    items.sort(key=lambda item: item.get_closest_marker("long") is None)
    for item in items:
        names = getattr(item, "fixturenames", ())
        if "database_url" not in names:
            if "postgres_url" in names or "postgres_server" in names:
                item.add_marker(pytest.mark.postgresql)
            if "sqlite_url" in names:
                item.add_marker(pytest.mark.sqlite)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Close with what the fault tests have counted."""
    ended = [one for some in terminalreporter.stats.values() for one in some if getattr(one, "when", None) == "teardown"]
    if line := summary(ended):
        terminalreporter.write_line(line)


def _new_name() -> str:
    return f"usecasecore_{uuid4().hex}"
