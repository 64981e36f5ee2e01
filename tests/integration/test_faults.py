"""What the runtime does when the database fails: new starts, and never a wrong report."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, create_engine, event, text

from tests.accounts import ADA, Account, Deposit, MakeDeposit, Open, Ping, application, deposit_doing
from tests.bank import Bank, on_postgres
from tests.integration.test_idempotency import meet
from usecasecore import ExecutionContext, Limits
from usecasecore.errors import AggregateBusy, DatabaseUnavailable, OutcomeUnknown, RetriesExhausted

BankWith = Callable[..., Bank]
QUICK = Limits(lock_timeout=timedelta(milliseconds=100), busy_timeout=timedelta(milliseconds=100))


def raising(state: str, times: int, calls: list[int]) -> Callable[[Deposit, Account, ExecutionContext], None]:
    """An `apply` that makes the database fail with a SQLSTATE, so many times."""

    def act(command: Deposit, account: Account, context: ExecutionContext) -> None:
        calls.append(1)
        account.balance += command.amount
        if len(calls) <= times:
            context.session.execute(text(f"do $$ begin raise exception 'forced' using errcode = '{state}'; end $$"))

    return act


@pytest.mark.parametrize("state", ["40001", "40P01"])
@on_postgres
def test_serialization_failures_and_deadlocks_start_the_whole_use_case_anew(bank_with: BankWith, state: str) -> None:
    calls: list[int] = []
    bank = bank_with(application(deposit_doing(raising(state, 2, calls)), instead_of=MakeDeposit))
    account_id = bank.open()
    assert bank.runtime.execute(Deposit(account_id=account_id, amount=5)).balance == 5
    assert len(calls) == 3
    assert bank.account(account_id).version == 2
    assert len(bank.rows("audit")) == 2


@on_postgres
def test_new_starts_end_after_the_limit(bank_with: BankWith) -> None:
    calls: list[int] = []
    bank = bank_with(application(deposit_doing(raising("40001", 99, calls)), instead_of=MakeDeposit))
    account_id = bank.open()
    with pytest.raises(RetriesExhausted) as conflict:
        bank.runtime.execute(Deposit(account_id=account_id, amount=5))
    assert conflict.value.attempts == len(calls) == 5
    assert bank.account(account_id).balance == 0
    assert bank.rows("attempt") == []


@on_postgres
def test_a_deadlock_of_two_commands_is_resolved(bank_with: BankWith) -> None:
    arrived: list[int] = []

    def lock_the_other(command: Deposit, account: Account, context: ExecutionContext) -> None:
        meet(arrived, context, 2)
        context.session.execute(text("update accounts set pin = 'x' where id <> :id"), {"id": account.id})
        account.balance += command.amount

    limits = Limits(lock_timeout=timedelta(seconds=20))
    bank = bank_with(application(deposit_doing(lock_the_other), instead_of=MakeDeposit), limits)
    accounts = [bank.open("a"), bank.open("b")]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda one: bank.runtime.execute(Deposit(account_id=one, amount=5)), accounts))
    assert [bank.account(one).balance for one in accounts] == [5, 5]


def test_a_lock_that_somebody_holds_makes_it_busy(bank_with: BankWith) -> None:
    bank = bank_with(application(), QUICK)
    account_id = bank.open()
    with bank.engine.connect() as holder:
        holder.execute(text("update accounts set balance = balance"))
        with pytest.raises(AggregateBusy):
            bank.runtime.execute(Deposit(account_id=account_id, amount=5))
        holder.rollback()
    assert bank.runtime.execute(Deposit(account_id=account_id, amount=5)).balance == 5


@on_postgres
def test_the_lock_timeout_stays_in_its_transaction(bank_with: BankWith) -> None:
    bank = bank_with(application(), QUICK)
    account_id = bank.open()
    found: list[Any] = []

    def look(connection: Connection) -> None:
        found.append(connection.exec_driver_sql("show lock_timeout").scalar())

    event.listen(bank.wire, "begin", look)
    for _ in range(3):
        bank.runtime.execute(Deposit(account_id=account_id, amount=5))
    assert found == ["0", "0", "0"]


class CutAtCommit:
    """Cuts the connection at the next commits: before the server sees the COMMIT, or after it was applied."""

    def __init__(self, engine: Engine, *, applied: bool, times: int = 1) -> None:
        self.applied, self.left = applied, times
        event.listen(engine, "commit", self)

    def __call__(self, connection: Connection) -> None:
        if self.left == 0:
            return
        self.left -= 1
        dbapi: Any = connection.connection.dbapi_connection
        driver: Any = connection.connection.driver_connection
        if self.applied:
            dbapi.cursor().execute("COMMIT")
        if hasattr(driver, "terminate"):  # asyncpg
            driver.terminate()
        else:
            driver.pgconn.finish()


@pytest.mark.parametrize("applied", [False, True])
@pytest.mark.parametrize("key", [None, "k"])
@on_postgres
def test_a_commit_whose_answer_is_lost_takes_effect_once_and_is_reported_as_done(
    bank_with: BankWith, applied: bool, key: str | None
) -> None:
    bank = bank_with(application())
    account_id = bank.open()
    bank.runtime.check()
    cut = CutAtCommit(bank.wire, applied=applied)
    outcome = bank.runtime.run(Deposit(account_id=account_id, amount=5), actor=ADA, idempotency_key=key)
    assert cut.left == 0
    assert outcome.replayed is applied
    assert bank.account(account_id).balance == 5
    assert bank.account(account_id).version == 2
    assert len(bank.rows("audit")) == 2


@pytest.mark.parametrize("command", [Open(owner="x"), Ping(owner="x")])
@on_postgres
def test_the_same_holds_where_no_row_is_locked(bank_with: BankWith, command: Any) -> None:
    bank = bank_with(application())
    bank.runtime.check()
    CutAtCommit(bank.wire, applied=True)
    assert bank.runtime.run(command).replayed
    assert len(bank.rows("audit")) == 1


@on_postgres
def test_when_nobody_answers_in_time_the_outcome_is_unknown_with_its_key(bank_with: BankWith) -> None:
    bank = bank_with(application(), limits=Limits(commit_deadline=timedelta(milliseconds=200)))
    account_id = bank.open()
    cut = CutAtCommit(bank.wire, applied=False, times=10_000)
    with pytest.raises(OutcomeUnknown) as conflict:
        bank.runtime.run(Deposit(account_id=account_id, amount=5), actor=ADA)
    cut.left = 0
    bank.runtime.run(Deposit(account_id=account_id, amount=5), actor=ADA, idempotency_key=conflict.value.key)
    assert bank.account(account_id).balance == 5


@on_postgres
def test_pooled_connections_that_died_are_replaced_without_anybody_noticing(bank_with: BankWith) -> None:
    bank = bank_with(application())
    account_id = bank.open()
    other = create_engine(bank.engine.url)
    with other.begin() as connection:
        connection.execute(
            text(
                "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
            )
        )
    other.dispose()
    assert bank.runtime.execute(Deposit(account_id=account_id, amount=5)).balance == 5


@on_postgres
def test_a_database_that_is_gone_is_a_store_error_that_quotes_nothing(bank_with: BankWith) -> None:
    bank = bank_with(application())
    account_id = bank.open()
    with bank.engine.begin() as connection:
        connection.execute(text("drop table usecasecore_audit"))
    with pytest.raises(DatabaseUnavailable) as wrong:
        bank.runtime.execute(Deposit(account_id=account_id, amount=123456))
    assert "123456" not in str(wrong.value)
    assert "42P01" in str(wrong.value)
    assert bank.account(account_id).balance == 0


def test_sixteen_writers_on_one_aggregate_lose_nothing(bank_with: BankWith) -> None:
    patient = Limits(lock_timeout=timedelta(seconds=30), busy_timeout=timedelta(seconds=60))
    bank = bank_with(application(), patient)
    account_id = bank.open()
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda _: bank.runtime.execute(Deposit(account_id=account_id, amount=1)), range(160)))
    row = bank.account(account_id)
    assert (row.balance, row.version) == (160, 161)
    assert [entry.version for entry in bank.rows("audit")] == list(range(1, 162))
