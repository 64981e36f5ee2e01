"""A command in a transaction that the caller owns."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress

import pytest
from sqlalchemy import Engine, create_engine, make_url, text
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from tests.accounts import ADA, NOON, Account, AccountState, Base, Close, Deposit, MakeDeposit, Open, application, deposit_doing
from tests.bank import ASYNC_DRIVERS, Bank
from usecasecore import AsyncRuntime, ExecutionContext, Runtime
from usecasecore.errors import ConstraintViolated, ContractViolation, GuardRejected, LedgerOutdated


@pytest.fixture
def bank(database_url: str) -> Iterator[Bank]:
    engine = create_engine(database_url)
    Base.metadata.create_all(engine)
    yield Bank(engine, Runtime(engine, application(), clock=lambda: NOON))
    engine.dispose()


def test_it_is_committed_with_the_callers_commit_and_the_callers_objects_are_fresh(bank: Bank) -> None:
    account_id = bank.open()
    with Session(bank.engine) as session, session.begin():
        account = session.get_one(Account, account_id)
        assert account.version == 1
        outcome = bank.runtime.run(Deposit(account_id=account_id, amount=5), actor=ADA, session=session)
        assert outcome.version == 2
        assert (account.balance, account.version) == (5, 2)
        bank.runtime.execute(Deposit(account_id=account_id, amount=1), actor=ADA, session=session)
    assert (bank.account(account_id).balance, bank.account(account_id).version) == (6, 3)
    assert len(bank.rows("audit")) == 3


def test_it_is_gone_with_the_callers_rollback(bank: Bank) -> None:
    account_id = bank.open()
    before = bank.counts()
    with Session(bank.engine) as session:
        bank.runtime.execute(Open(owner="new"), session=session)
        bank.runtime.execute(Deposit(account_id=account_id, amount=5), session=session)
        session.rollback()
    assert bank.counts() == before
    assert bank.account(account_id).balance == 0


def test_a_failure_that_is_swallowed_cannot_be_committed(bank: Bank) -> None:
    account_id = bank.open()
    before = bank.counts()
    with Session(bank.engine) as session:
        bank.runtime.execute(Deposit(account_id=account_id, amount=5), session=session)
        with pytest.raises(GuardRejected):
            bank.runtime.execute(Close(account_id=account_id), session=session)
        with pytest.raises(ContractViolation, match="half of what belongs together must not be committed"):
            session.commit()
        session.rollback()
        bank.runtime.execute(Open(owner="new"), session=session)  # the session goes on
        session.commit()
    assert bank.counts()["accounts"] == before["accounts"] + 1
    assert bank.account(account_id).balance == 0


def test_a_failure_leaves_the_block_of_the_transaction_without_a_warning(bank: Bank) -> None:
    account_id = bank.open()
    before = bank.counts()

    def both(*, swallow: bool) -> None:
        with Session(bank.engine) as session, session.begin():
            bank.runtime.execute(Deposit(account_id=account_id, amount=5), session=session)
            with suppress(*[GuardRejected] * swallow):
                bank.runtime.execute(Close(account_id=account_id), session=session)

    with pytest.raises(GuardRejected):
        both(swallow=False)
    with pytest.raises(ContractViolation):
        both(swallow=True)
    assert bank.counts() == before


def test_database_errors_are_typed_here_too(bank: Bank) -> None:
    bank.open("grace")
    with Session(bank.engine) as session, pytest.raises(ConstraintViolated):
        bank.runtime.execute(Open(owner="grace"), session=session)


def test_a_session_with_changes_that_are_not_flushed_is_refused(bank: Bank) -> None:
    account_id = bank.open()
    with Session(bank.engine) as session:
        session.get_one(Account, account_id).balance = 7
        with pytest.raises(ContractViolation, match="has 1 changes that are not flushed"):
            bank.runtime.execute(Deposit(account_id=account_id, amount=5), session=session)
        session.flush()
        assert bank.runtime.execute(Deposit(account_id=account_id, amount=5), session=session).balance == 12
        session.commit()
    assert bank.account(account_id).balance == 12


def test_a_use_cases_own_session_is_refused(bank: Bank) -> None:
    def again(command: Deposit, account: Account, context: ExecutionContext) -> None:
        runtime.execute(Deposit(account_id=account.id, amount=1), session=context.session)

    runtime = Runtime(bank.engine, application(deposit_doing(again), instead_of=MakeDeposit))
    with pytest.raises(ContractViolation, match=r"context\.execute"):
        runtime.execute(Deposit(account_id=bank.open(), amount=1))


def test_the_state_stays_protected_in_the_callers_session(bank: Bank) -> None:
    account_id = bank.open()
    with Session(bank.engine) as session:
        bank.runtime.execute(Deposit(account_id=account_id, amount=5), session=session)
        with pytest.raises(ContractViolation):
            session.get_one(Account, account_id).state = AccountState.CLOSED


def test_a_replay_in_the_callers_transaction(bank: Bank) -> None:
    account_id = bank.open()
    bank.runtime.execute(Deposit(account_id=account_id, amount=5), actor=ADA, idempotency_key="k")
    with Session(bank.engine) as session, session.begin():
        assert bank.runtime.run(
            Deposit(account_id=account_id, amount=5), actor=ADA, idempotency_key="k", session=session
        ).replayed
    assert bank.account(account_id).balance == 5


def test_the_ledger_is_checked_on_the_callers_connection(bank: Bank) -> None:
    with bank.engine.begin() as connection:
        connection.execute(text("drop table usecasecore_attempt"))
    runtime = Runtime(bank.engine, application())
    with Session(bank.engine) as session, pytest.raises(LedgerOutdated):
        runtime.execute(Open(owner="x"), session=session)


@pytest.mark.parametrize("kind", list(ASYNC_DRIVERS), indirect=True)
def test_an_asynchronous_session_is_joined_too(engine: Engine, kind: str) -> None:
    async def scenario() -> None:
        commands = create_async_engine(make_url(engine.url).set(drivername=ASYNC_DRIVERS[kind]))
        runtime = AsyncRuntime(commands, application(), clock=lambda: NOON)
        async with AsyncSession(commands) as session, session.begin():
            account_id = (await runtime.execute(Open(owner="x"), session=session)).account_id
            await runtime.execute(Deposit(account_id=account_id, amount=5), session=session)
        async with AsyncSession(commands) as session:
            await runtime.execute(Deposit(account_id=account_id, amount=5), session=session)
            await session.rollback()
        assert Bank(engine, runtime).account(account_id).balance == 5
        await commands.dispose()

    asyncio.run(scenario())
