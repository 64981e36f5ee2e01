"""Random commands never leave the declared states, and database and ledger always agree with a model of a few lines."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from tests.accounts import ADA, Close, Deposit, Flip, Freeze, LimitReached
from tests.bank import Bank
from usecasecore import Rejected
from usecasecore.errors import GuardRejected, IdempotencyKeyReused, TransitionNotAllowed

COMMANDS: dict[str, Any] = {
    "deposit": lambda one: Deposit(account_id=one, amount=5),
    "withdraw": lambda one: Deposit(account_id=one, amount=-5),
    "much": lambda one: Deposit(account_id=one, amount=2_000_000),
    "freeze": lambda one: Freeze(account_id=one),
    "flip": lambda one: Flip(account_id=one),
    "close": lambda one: Close(account_id=one),
}
STEPS = st.lists(st.tuples(st.sampled_from(sorted(COMMANDS)), st.sampled_from([None, None, "a", "b"])), max_size=12)


@dataclass
class Model:
    """What an account is supposed to do, written down once more and by hand."""

    state: str = "open"
    balance: int = 0
    version: int = 1
    attempts: int = 0
    done: dict[tuple[str, str], str] = field(default_factory=dict)

    def step(self, name: str, key: str | None) -> type[Rejected] | str:
        """Return the refusal that is to come, or `executed`, or `replayed`."""
        kind = "deposit" if name in ("withdraw", "much") else name
        if key is not None and (kind, key) in self.done:
            if self.done[kind, key] == name:
                return "replayed"
            return self._refused(IdempotencyKeyReused)
        refusal = self._refusal(name)
        if refusal:
            return self._refused(refusal)
        if kind == "deposit":
            self.balance += -5 if name == "withdraw" else 5
        else:
            self.state = {"freeze": "frozen", "close": "closed", "flip": "frozen" if self.state == "open" else "open"}[name]
        self.version += 1
        if key is not None:
            self.done[kind, key] = name
        return "executed"

    def _refusal(self, name: str) -> type[Rejected] | None:
        possible = {"open": set(COMMANDS), "frozen": {"flip"}, "closed": set()}
        if name not in possible[self.state]:
            return TransitionNotAllowed
        if name == "close" and self.balance != 0:
            return GuardRejected
        return LimitReached if name == "much" else None

    def _refused(self, kind: type[Rejected]) -> type[Rejected]:
        self.attempts += 1
        return kind


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(STEPS)
def test_random_commands_do_what_the_model_does(bank: Bank, steps: list[tuple[str, str | None]]) -> None:
    with bank.engine.begin() as connection:
        for table in ("idempotency", "audit", "attempt", "outbox"):
            connection.execute(text(f"delete from usecasecore_{table}"))
        connection.execute(text("delete from postings"))
        connection.execute(text("delete from accounts"))
    account_id, model = bank.open(), Model()
    for name, key in steps:
        expected = model.step(name, key)
        try:
            outcome = bank.runtime.run(COMMANDS[name](account_id), actor=ADA, idempotency_key=key, reason="x")
            happened: Any = "replayed" if outcome.replayed else "executed"
        except Rejected as refusal:
            happened = type(refusal)
        assert happened == expected, (name, key, model)
    row, trail = bank.account(account_id), bank.rows("audit")
    assert (row.state, row.balance, row.version) == (model.state, model.balance, model.version)
    assert [entry.version for entry in trail] == list(range(1, model.version + 1))
    assert trail[-1].to_state == model.state
    assert all(later.from_state == earlier.to_state for earlier, later in pairwise(trail))
    assert len(bank.rows("attempt")) == model.attempts
    assert len(bank.rows("idempotency")) == model.version
