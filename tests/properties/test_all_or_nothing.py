"""A failure at each statement of each kind of command leaves nothing behind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event

from tests.accounts import ADA, Deposit, Freeze, Open, Ping, SetPin
from tests.bank import Bank
from usecasecore import Command


class FailAt:
    """Fails before the n-th statement that is sent, COMMIT included; counts them."""

    def __init__(self, engine: Engine) -> None:
        self.countdown: int | None = None
        event.listen(engine, "before_cursor_execute", lambda *_: self.step())
        event.listen(engine, "commit", self.on_commit)

    def on_commit(self, connection: Connection) -> None:
        self.step()

    def step(self) -> None:
        if self.countdown is None:
            return
        self.countdown -= 1
        if self.countdown == 0:
            self.countdown = None
            raise MemoryError("failed on purpose")


@pytest.mark.parametrize("key", [None, "k"])
@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda one: Deposit(account_id=one, amount=5), id="re-entrant"),
        pytest.param(lambda one: Freeze(account_id=one), id="triggered"),
        pytest.param(lambda one: SetPin(account_id=one, pin="1234"), id="trigger-less"),
        pytest.param(lambda one: Open(owner="new"), id="creating"),
        pytest.param(lambda one: Ping(owner="x"), id="nothing loaded"),
    ],
)
def test_whatever_statement_fails_nothing_is_left(bank: Bank, make: Callable[[Any], Command[Any]], key: str | None) -> None:
    account_id = bank.open()
    bank.runtime.check()
    before, account = bank.counts(), bank.account(account_id)
    failures = FailAt(bank.wire)
    n = 0
    while True:
        n += 1
        failures.countdown = n
        try:
            outcome = bank.runtime.run(make(account_id), actor=ADA, idempotency_key=key, reason="x")
        except MemoryError:
            counts = bank.counts()
            # The failure itself is noted, in a transaction of its own.
            assert {**counts, "attempt": 0} == {**before, "attempt": 0}
            assert counts["attempt"] == n
            assert bank.account(account_id) == account
        else:
            break
    failures.countdown = None
    assert n > 3
    assert not outcome.replayed
    assert bank.counts()["audit"] == before["audit"] + 1
    assert bank.counts()["idempotency"] == before["idempotency"] + 1
