"""A ledger that has been lived in, to be verified: accounts of several states, messages, refusals, nested commands."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

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
            return verify(connection, self.runtime.application, **{"audit": True, "now": NOON, **asked})

    def tamper(self, *statements: str, **values: Any) -> None:
        """Run SQL as the owner of the tables."""
        with self.engine.begin() as connection:
            for statement in statements:
                wanted = {name: value for name, value in self.values(**values).items() if f":{name}" in statement}
                connection.execute(text(statement), wanted)

    def values(self, **others: Any) -> dict[str, Any]:
        return {"first": str(self.first), "second": str(self.second), **others}

    def deposit(self, times: int = 1, clock: Callable[[], datetime] | None = None) -> None:
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


@pytest.fixture
def books(database_url: str) -> Iterator[Books]:
    engine = create_engine(database_url)
    Base.metadata.create_all(engine)
    runtime = Runtime(engine, application(), clock=lambda: NOON)
    yield Books(engine, runtime, *lived_in(runtime))
    engine.dispose()
