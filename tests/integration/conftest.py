"""A database with the accounts' tables, and what it holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Engine, Row, create_engine, func, select

from tests.accounts import NOON, Account, Base, Open, application
from usecasecore import Application, Limits, Runtime
from usecasecore.ledger import ledger_tables


@dataclass
class Bank:
    """A runtime, its engine, and what is in its database."""

    engine: Engine
    runtime: Runtime

    def open(self, owner: str = "grace") -> UUID:
        return self.runtime.execute(Open(owner=owner)).account_id

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
            for table in (
                tables.idempotency,
                tables.audit,
                tables.attempt,
                tables.outbox,
                *Base.metadata.sorted_tables,
            ):
                found[table.name.removeprefix("usecasecore_")] = connection.scalar(select(func.count()).select_from(table)) or 0
            return found


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = create_engine(database_url, pool_size=20, max_overflow=100)
    Base.metadata.create_all(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def bank(engine: Engine) -> Bank:
    return Bank(engine, Runtime(engine, application(), clock=lambda: NOON))


@pytest.fixture
def bank_with(engine: Engine) -> Callable[..., Bank]:
    """Make a bank with another application or other limits."""

    def make(app: Application, limits: Limits | None = None) -> Bank:
        return Bank(engine, Runtime(engine, app, clock=lambda: NOON, limits=limits))

    return make
