"""Each defence is taken away once: the scenario that it is there for must go red. What can't go red proves nothing."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine

from tests.accounts import ADA, Account, Base, Deposit, MakeDeposit, application, deposit_doing
from tests.bank import Bank
from tests.chaos.soundness import assert_sound
from tests.chaos.test_races import at_once
from tests.integration.test_several import Transfer, TransferMoney
from usecasecore import ExecutionContext, Limits, Outcome, Runtime
from usecasecore.ledger.entries import Entries
from usecasecore.ledger.store import PostgresStore
from usecasecore.runtime import load
from usecasecore.runtime.call import Asked, validated
from usecasecore.testing import crash_after

pytestmark = pytest.mark.postgresql

Patch = pytest.MonkeyPatch
LIMITS = Limits(lock_timeout=timedelta(seconds=60), backoff=timedelta(milliseconds=1))


def bank_on(engine: Engine, *others: type, limits: Limits = LIMITS, instead_of: type | None = None) -> Bank:
    return Bank(engine, Runtime(engine, application(*others, instead_of=instead_of), limits=limits))


def duplicates(engine: Engine) -> None:
    """Concurrent duplicates of one key are one execution."""
    executions: list[int] = []

    def count(command: Deposit, account: Account, context: ExecutionContext) -> None:
        executions.append(1)
        account.balance += command.amount
        time.sleep(0.1)  # the others come to the lock meanwhile

    bank = bank_on(engine, deposit_doing(count), instead_of=MakeDeposit)
    account_id = bank.open()
    command = Deposit(account_id=account_id, amount=5)
    came = at_once(20, lambda _: bank.runtime.run(command, actor=ADA, idempotency_key="k"))
    assert all(isinstance(one, Outcome) for one in came), came
    assert (len(executions), bank.account(account_id).balance) == (1, 5)


def writers(engine: Engine) -> None:
    """Concurrent writers on one row lose nothing."""
    bank = bank_on(engine)
    account_id = bank.open()
    came = at_once(20, lambda _: bank.runtime.execute(Deposit(account_id=account_id, amount=1), actor=ADA))
    assert not [one for one in came if isinstance(one, Exception)]
    assert bank.account(account_id).balance == 20


def transfers(engine: Engine) -> None:
    """Transfers in both directions don't deadlock."""
    bank = bank_on(engine, TransferMoney, limits=replace(LIMITS, retries=0))
    accounts = [bank.open("a"), bank.open("b")]

    def transfer(number: int) -> None:
        source, target = accounts if number % 2 else accounts[::-1]
        for _ in range(20):
            bank.runtime.execute(Transfer(source_id=source, target_id=target, amount=1), actor=ADA)

    assert at_once(8, transfer) == [None] * 8


def conflicts(engine: Engine) -> None:
    """A serialization failure is tried again."""
    from tests.integration.test_faults import raising

    calls: list[int] = []
    bank = bank_on(engine, deposit_doing(raising("40001", 2, calls)), instead_of=MakeDeposit)
    account_id = bank.open()
    assert bank.runtime.execute(Deposit(account_id=account_id, amount=5)).balance == 5


def crashes(engine: Engine) -> None:
    """Nothing of a command that crashed before its commit is to be seen."""
    bank = bank_on(engine)
    account_id = bank.open()
    with crash_after("result"):
        bank.runtime.execute(Deposit(account_id=account_id, amount=5), actor=ADA)
    assert_sound(engine)


def without_the_key(patch: Patch, _: Engine) -> None:
    def keyless(plan: Any, command: Any, asked: Asked, *rest: Any) -> Any:
        return validated(plan, command, asked._replace(idempotency_key=None), *rest)

    patch.setattr("usecasecore.runtime.shell.validated", keyless)


def without_the_row_lock(patch: Patch, _: Engine) -> None:
    patch.setattr(load, "row_lock", lambda statement, *_, **__: statement)


def without_the_order_of_locks(patch: Patch, _: Engine) -> None:
    patch.setattr(load, "sorted", lambda found, key: list(found), raising=False)


def without_new_starts(patch: Patch, _: Engine) -> None:
    assert bank_on.__kwdefaults__ is not None
    patch.setitem(bank_on.__kwdefaults__, "limits", replace(LIMITS, retries=0))


def without_the_second_look(patch: Patch, _: Engine) -> None:
    patch.setattr(PostgresStore, "look_up", lambda *_: None)


def with_the_outbox_outside_of_the_transaction(patch: Patch, engine: Engine) -> None:
    honest = PostgresStore.write

    def write(store: PostgresStore, connection: Any, entries: Entries, **said: Any) -> None:
        with engine.begin() as other:
            insert = store.tables.outbox.insert()
            for one in entries.outbox:
                row = one._asdict() | {
                    "command_id": entries.stored.command_id,
                    "occurred_at": entries.said.created_at,
                    "headers": {},
                    "payload": {},
                }
                other.execute(insert, row)
        honest(store, connection, entries._replace(outbox=()), **said)

    patch.setattr(PostgresStore, "write", write)


DEFENCES: list[tuple[Callable[[Engine], None], Callable[[Patch, Engine], None]]] = [
    (duplicates, without_the_key),
    (writers, without_the_row_lock),
    (transfers, without_the_order_of_locks),
    (conflicts, without_new_starts),
    (duplicates, without_the_second_look),
    (crashes, with_the_outbox_outside_of_the_transaction),
]


@pytest.fixture
def shop(postgres_url: str) -> Any:
    engine = create_engine(postgres_url, pool_size=20)
    Base.metadata.create_all(engine)
    yield engine
    engine.dispose()


@pytest.mark.parametrize("scenario", [duplicates, writers, transfers, conflicts, crashes], ids=lambda one: one.__name__)
def test_with_all_defences_up_the_scenario_is_green(shop: Engine, scenario: Callable[[Engine], None]) -> None:
    scenario(shop)


@pytest.mark.parametrize(("scenario", "take_away"), DEFENCES, ids=lambda one: one.__name__)
def test_without_its_defence_the_scenario_goes_red(
    shop: Engine, monkeypatch: Patch, scenario: Callable[[Engine], None], take_away: Callable[[Patch, Engine], None]
) -> None:
    take_away(monkeypatch, shop)
    green = False
    with suppress(Exception):
        scenario(shop)
        green = True
    assert not green, f"{scenario.__name__} is green {take_away.__name__.replace('_', ' ')}"
