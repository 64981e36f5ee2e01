"""The coverage never lies: after a random run, what it calls committed are the transitions in the audit entries, no more and no less."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.orm import Session

from tests.accounts import Account, Close, Deposit, Flip, Freeze, LimitReached, MakeDeposit, application, deposit_doing
from tests.bank import Bank
from usecasecore import Runtime, Transaction, UseCaseError
from usecasecore.coverage.facts import Kind
from usecasecore.coverage.recorder import Recorder

KNOWN = ["deposit", "too much", "freeze", "flip", "close", "nested", "several", "several, swallowed", "given up"]
CALLERS = [
    "joined",
    "joined, given up",
    "joined in a savepoint",
    "joined in a savepoint, given up",
    "joined in a savepoint that is rolled back",
]
Steps = list[list[tuple[str, int]]]
"""For each of several threads: what it does, and with which of the accounts."""


def steps(kinds: list[str]) -> st.SearchStrategy[Steps]:
    one = st.lists(st.tuples(st.sampled_from(kinds), st.integers(0, 2)), max_size=6)
    return st.lists(one, min_size=1, max_size=3)


class GivenUp(Exception):
    pass


class Clients:
    """Does what the steps say, on three accounts."""

    def __init__(self, bank: Bank, accounts: list[UUID]) -> None:
        self.bank, self.accounts = bank, accounts

    def do(self, kind: str, number: int) -> None:
        account = self.accounts[number]
        other = self.accounts[(number + 1) % 3]
        commands: dict[str, Any] = {
            "deposit": Deposit(account_id=account, amount=0),
            "too much": Deposit(account_id=account, amount=2_000_000),
            "freeze": Freeze(account_id=account),
            "flip": Flip(account_id=account),
            "close": Close(account_id=account),
            "nested": Deposit(account_id=account, amount=0, note=str(other)),
        }
        if kind in commands:
            self.bank.runtime.execute(commands[kind], reason="x")
        elif kind in CALLERS:
            self._joined(kind, Flip(account_id=account), Deposit(account_id=other, amount=0))
        else:
            self.bank.runtime.transaction(lambda transaction: self._several(kind, transaction, account, other))

    def _several(self, kind: str, transaction: Transaction, account: UUID, other: UUID) -> None:
        for one in sorted([account, other]):
            transaction.execute(Flip(account_id=one))
        if kind == "several, swallowed":
            try:
                transaction.execute(Deposit(account_id=account, amount=2_000_000))
            except LimitReached:
                return
        if kind == "given up":
            raise GivenUp

    def _joined(self, kind: str, *commands: Any) -> None:
        runtime: Runtime = self.bank.runtime
        with Session(self.bank.engine) as session:
            if "savepoint" in kind:
                savepoint = session.begin_nested()
                runtime.execute(commands[0], session=session)
                savepoint.rollback() if "rolled back" in kind else savepoint.commit()
                if commands[0].account_id < commands[1].account_id:  # locks in one order
                    runtime.execute(commands[1], session=session)
            else:
                for command in sorted(commands, key=lambda one: one.account_id):
                    runtime.execute(command, session=session)
            session.rollback() if "given up" in kind else session.commit()


def act(command: Deposit, account: Account, context: Any) -> None:
    account.balance += command.amount
    if command.note is not None and str(account.id) < command.note:
        context.execute(Flip(account_id=UUID(command.note)))
    if account.balance > 1_000_000:
        raise LimitReached(limit=1_000_000)


def run(clients: Clients, plan: Steps) -> None:
    meet = threading.Barrier(len(plan))

    def one(own: list[tuple[str, int]]) -> None:
        meet.wait()
        for kind, number in own:
            try:
                clients.do(kind, number)
            except (UseCaseError, GivenUp):
                continue

    with ThreadPoolExecutor(len(plan)) as pool:
        list(pool.map(one, plan))


def committed(recorder: Recorder) -> set[tuple[str, ...]]:
    recorder.settle()
    facts = [(lifecycle.name, fact) for lifecycle, fact, _ in recorder.hits if fact.kind is Kind.COMMITTED]
    return {(name, fact.use_case, fact.trigger, fact.source, fact.dest) for name, fact in facts}


def audited(bank: Bank) -> set[tuple[str, ...]]:
    entries = bank.rows("audit")
    return {(one.lifecycle, one.use_case, one.trigger, one.from_state, one.to_state) for one in entries if one.trigger}


@pytest.fixture
def clients(bank_with: Callable[..., Bank]) -> Clients:
    return Clients(bank_with(application(deposit_doing(act), instead_of=MakeDeposit)), [])


def check(clients: Clients, plan: Steps) -> None:
    bank = clients.bank
    with bank.engine.begin() as connection:
        for table in ("usecasecore_idempotency", "usecasecore_audit", "usecasecore_attempt", "usecasecore_outbox", "accounts"):
            connection.execute(text(f"delete from {table}"))
    clients.accounts = sorted(bank.open(f"owner {number}") for number in range(3))
    recorder = Recorder()
    with recorder.watching():
        run(clients, plan)
    assert committed(recorder) == audited(bank)


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps(KNOWN))
def test_what_is_called_committed_is_what_the_audit_entries_say(clients: Clients, plan: Steps) -> None:
    check(clients, plan)


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)], indirect=True)
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps([*KNOWN, *CALLERS]))
def test_so_it_is_with_commands_in_transactions_and_savepoints_of_the_caller(clients: Clients, plan: Steps) -> None:
    check(clients, plan)
