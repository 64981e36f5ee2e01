"""A database with the accounts' tables, what it holds, and a runtime on it: each test runs on every driver, sync and async."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Engine, Row, create_engine, func, make_url, select
from sqlalchemy.ext.asyncio import create_async_engine

from tests.accounts import NOON, Account, Base, Deposit, MakeDeposit, Open, application, deposit_doing
from usecasecore import Application, AsyncRuntime, Limits, Runtime
from usecasecore.errors import AggregateBusy
from usecasecore.ledger import ledger_tables

ASYNC_DRIVERS = {"aiosqlite": "sqlite+aiosqlite", "psycopg_async": "postgresql+psycopg_async", "asyncpg": "postgresql+asyncpg"}
KINDS = ["sqlite", "aiosqlite", "postgresql", "psycopg_async", "asyncpg"]
POOL = {"pool_size": 20, "max_overflow": 100}


def however_busy(run: Callable[[], Any]) -> Any:
    """Run a command again while it is told that somebody else holds the row: a client would, and a machine may be slow."""
    while True:
        try:
            return run()
        except AggregateBusy:
            pass


class BlockingRuntime:
    """An AsyncRuntime behind the face of a Runtime: its event loop runs in a thread, so that one test body serves both."""

    def __init__(self, url: str, app: Application, **options: Any) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._engine = create_async_engine(url, **POOL)
        self._runtime = AsyncRuntime(self._engine, app, **options)
        self.application = app
        self.engine = self._engine.sync_engine

    def _await(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def execute(self, command: Any, **said: Any) -> Any:
        return self._await(self._runtime.execute(command, **said))

    def run(self, command: Any, **said: Any) -> Any:
        return self._await(self._runtime.run(command, **said))

    def transaction(self, work: Any, **said: Any) -> Any:
        return self._await(self._runtime.transaction(work, **said))

    def explain(self, command: Any, **said: Any) -> Any:
        return self._await(self._runtime.explain(command, **said))

    def allowed(self, aggregate: Any, key: Any, **said: Any) -> Any:
        return self._await(self._runtime.allowed(aggregate, key, **said))

    def allowed_many(self, aggregate: Any, keys: Any, **said: Any) -> Any:
        return self._await(self._runtime.allowed_many(aggregate, keys, **said))

    def execute_many(self, commands: Any, /, **said: Any) -> Iterator[Any]:
        results = self._runtime.execute_many(commands, **said)
        done = object()
        while (one := self._await(_next(results, done))) is not done:
            yield one

    def transition_where(self, use_case: Any, /, *where: Any, **said: Any) -> Any:
        return self._await(self._runtime.transition_where(use_case, *where, **said))

    def check(self) -> None:
        self._await(self._runtime.check())

    def close(self) -> None:
        self._await(self._engine.dispose())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def _next(results: Any, done: object) -> Any:
    return await anext(results, done)


MakeRuntime = Callable[..., Any]


@dataclass
class Bank:
    """A runtime, an engine to look with, and what is in the database."""

    engine: Engine
    runtime: Any

    @property
    def wire(self) -> Engine:
        """The engine that the commands go through."""
        engine: Engine = self.runtime.engine
        return engine

    def open(self, owner: str = "grace") -> UUID:
        account_id: UUID = self.runtime.execute(Open(owner=owner)).account_id
        return account_id

    def account(self, account_id: UUID) -> Row[Any]:
        table = Account.__table__
        with self.engine.connect() as connection:
            return connection.execute(select(table).where(table.c.id == account_id)).one()

    def rows(self, name: str) -> list[Row[Any]]:
        table = getattr(ledger_tables(), name)
        order = [table.c[column] for column in ("version", "ordinal") if column in table.c]
        with self.engine.connect() as connection:
            return list(connection.execute(select(table).order_by(*order)))

    def counts(self) -> dict[str, int]:
        tables = ledger_tables()
        with self.engine.connect() as connection:
            found = {}
            for table in (tables.idempotency, tables.audit, tables.attempt, tables.outbox, *Base.metadata.sorted_tables):
                found[table.name.removeprefix("usecasecore_")] = connection.scalar(select(func.count()).select_from(table)) or 0
            return found


on_postgres = pytest.mark.parametrize(
    "kind",
    [pytest.param(name, marks=pytest.mark.postgresql) for name in KINDS if "sqlite" not in name],
    indirect=True,
)
"""Restricts a test to PostgreSQL, on all of its drivers."""


def _marks(kind: str) -> Any:
    return pytest.mark.sqlite if "sqlite" in kind else pytest.mark.postgresql


@pytest.fixture(params=[pytest.param(kind, marks=_marks(kind)) for kind in KINDS])
def kind(request: pytest.FixtureRequest) -> str:
    """The database and driver that a test runs on."""
    name: str = request.param
    return name


@pytest.fixture
def url(request: pytest.FixtureRequest, kind: str) -> str:
    """A new database, as the synchronous driver sees it."""
    address: str = request.getfixturevalue("sqlite_url" if "sqlite" in kind else "postgres_url")
    return address


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    """An engine to look with, on a database with the accounts' tables."""
    engine = create_engine(url, **POOL)
    Base.metadata.create_all(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def make_runtime(engine: Engine, kind: str) -> Iterator[MakeRuntime]:
    """Make a runtime of the test's kind on its database."""
    made = []

    def make(app: Application, **options: Any) -> Any:
        if kind not in ASYNC_DRIVERS:
            return Runtime(engine, app, **options)
        address = make_url(engine.url).set(drivername=ASYNC_DRIVERS[kind])
        runtime = BlockingRuntime(address.render_as_string(hide_password=False), app, **options)
        made.append(runtime)
        return runtime

    yield make
    for runtime in made:
        runtime.close()


@pytest.fixture
def bank(engine: Engine, make_runtime: MakeRuntime) -> Bank:
    return Bank(engine, make_runtime(application(), clock=lambda: NOON))


@pytest.fixture
def bank_doing(engine: Engine, make_runtime: Callable[..., Any]) -> Callable[..., Bank]:
    """Make a bank whose deposits call a function."""

    def make(act: Callable[[Deposit, Account, Any], Any], *, folds: bool = True) -> Bank:
        app = application(deposit_doing(act), instead_of=MakeDeposit)
        return Bank(engine, make_runtime(app, clock=lambda: NOON, fold_updates=folds))

    return make


@pytest.fixture
def bank_with(engine: Engine, make_runtime: MakeRuntime) -> Callable[..., Bank]:
    """Make a bank with another application or other limits."""

    def make(app: Application, limits: Limits | None = None) -> Bank:
        return Bank(engine, make_runtime(app, clock=lambda: NOON, limits=limits))

    return make
