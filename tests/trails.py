"""A ledger that has been lived in, to be verified: accounts of several states, messages, refusals, nested commands."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Engine, create_engine, text

from tests.accounts import (
    ADA,
    BOB,
    NOON,
    Base,
    Close,
    Deposit,
    Flip,
    Freeze,
    Open,
    Ping,
    SetPin,
    application,
)
from tests.postgres import create_database, drop_database
from usecasecore import Runtime
from usecasecore.errors import Rejected
from usecasecore.verification import Report, verify


@dataclass
class Books:
    """A database with accounts, and what can be done to it past the runtime."""

    engine: Engine
    runtime: Runtime
    first: UUID
    second: UUID

    def verify(self, **asked: Any) -> Report:
        with self.engine.connect() as connection:
            return verify(connection, self.runtime.application, **{"now": NOON, **asked})

    def tamper(self, *statements: str, **values: Any) -> None:
        """Run SQL as the owner of the tables."""
        with self.engine.begin() as connection:
            for statement in statements:
                wanted = {name: value for name, value in self.values(**values).items() if f":{name}" in statement}
                connection.execute(text(statement), wanted)

    def values(self, **others: Any) -> dict[str, Any]:
        return {"first": str(self.first), "second": str(self.second), **others}

    def deposit(self, times: int = 1) -> None:
        for _ in range(times):
            self.runtime.execute(Deposit(account_id=self.first, amount=1), actor=ADA)


def lived_in(runtime: Runtime) -> tuple[UUID, UUID]:
    """Run commands of all shapes; return two accounts."""
    first = runtime.execute(Open(owner="ada"), actor=ADA, idempotency_key="open").account_id
    second = runtime.execute(Open(owner="bob"), actor=BOB, idempotency_key="open").account_id
    for amount in (5, 7, -12):
        runtime.execute(Deposit(account_id=first, amount=amount), actor=ADA, idempotency_key=f"deposit {amount}")
    runtime.execute(SetPin(account_id=second, pin="1234"), actor=BOB)
    runtime.execute(Freeze(account_id=second), actor=BOB, reason="it is looked into")
    with pytest.raises(Rejected):
        runtime.execute(Close(account_id=second), actor=BOB)
    runtime.execute(Flip(account_id=second), actor=BOB)
    runtime.execute(Ping(owner="nobody"), actor=ADA)
    runtime.transaction(lambda transaction: [transaction.execute(Deposit(account_id=first, amount=1)) for _ in range(3)])
    return first, second


@pytest.fixture(scope="session")
def sqlite_books(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, tuple[UUID, UUID]]:
    """A file to copy: what has been lived in once serves all."""
    file = tmp_path_factory.mktemp("books") / "books.db"
    shutil.copy(sqlite_template, file)
    return file, prepared(f"sqlite:///{file}")


@pytest.fixture(scope="session")
def postgres_books(postgres_server: str, postgres_template: str) -> Iterator[tuple[str, tuple[UUID, UUID]]]:
    """Likewise, the name of a database."""
    name = f"books_{uuid4().hex}"
    yield name, prepared(create_database(postgres_server, name, template=postgres_template))
    drop_database(postgres_server, name)


def prepared(url: str) -> tuple[UUID, UUID]:
    engine = create_engine(url)
    Base.metadata.create_all(engine)
    accounts = lived_in(Runtime(engine, application(), clock=lambda: NOON))
    if engine.dialect.name == "sqlite":
        with engine.connect() as connection:
            connection.exec_driver_sql("pragma wal_checkpoint(truncate)")
    engine.dispose()
    return accounts


@pytest.fixture(
    params=[
        pytest.param("sqlite", marks=pytest.mark.sqlite),
        pytest.param("postgresql", marks=pytest.mark.postgresql),
    ]
)
def books(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Books]:
    """A copy of the books, on SQLite and on PostgreSQL."""
    if request.param == "sqlite":
        file, accounts = request.getfixturevalue("sqlite_books")
        shutil.copy(file, tmp_path / "books.db")
        yield from _opened(f"sqlite:///{tmp_path / 'books.db'}", accounts)
        return
    server = request.getfixturevalue("postgres_server")
    template, accounts = request.getfixturevalue("postgres_books")
    name = f"books_{uuid4().hex}"
    yield from _opened(create_database(server, name, template=template), accounts)
    drop_database(server, name)


def _opened(url: str, accounts: tuple[UUID, UUID]) -> Iterator[Books]:
    engine = create_engine(url)
    yield Books(engine, Runtime(engine, application(), clock=lambda: NOON), *accounts)
    engine.dispose()
