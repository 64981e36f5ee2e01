"""One session in the hands of two threads or tasks: it fails loudly, and nothing is half-done."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Engine, make_url
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from tests.accounts import NOON, Account, Deposit, Done, MakeDeposit, Open, application, deposit_doing
from tests.bank import ASYNC_DRIVERS, Bank
from usecasecore import AsyncRuntime, ExecutionContext, Runtime, Transaction
from usecasecore.errors import ContractViolation

on_async_drivers = pytest.mark.parametrize("kind", list(ASYNC_DRIVERS), indirect=True)
on_sync_drivers = pytest.mark.parametrize(
    "kind", ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)], indirect=True
)
REFUSED = "MakeDeposit: the session is running MakeDeposit already, and takes one command at a time"


@on_async_drivers
def test_one_session_in_two_tasks_runs_one_of_their_commands(engine: Engine, kind: str) -> None:
    async def scenario() -> None:
        commands = create_async_engine(make_url(engine.url).set(drivername=ASYNC_DRIVERS[kind]))
        runtime = AsyncRuntime(commands, application(), clock=lambda: NOON)
        look = Bank(engine, runtime)
        accounts = [(await runtime.execute(Open(owner=owner))).account_id for owner in "ab"]

        async def both(session: AsyncSession) -> list[Any]:
            # Of two accounts: nothing in the database would keep them apart.
            tasks = [runtime.execute(Deposit(account_id=one, amount=5), session=session) for one in accounts]
            return await asyncio.gather(*tasks, return_exceptions=True)

        for swallowed in (False, True):
            async with AsyncSession(commands) as session:
                done, refused = await both(session)
                assert isinstance(done, Done)
                assert isinstance(refused, ContractViolation)
                assert REFUSED in str(refused)
                if swallowed:
                    await session.commit()
            assert [look.account(one).balance for one in accounts] == ([5, 0] if swallowed else [0, 0])
        assert look.counts()["audit"] == 3
        async with AsyncSession(commands) as session:  # one after the other they may
            for one in accounts:
                await runtime.execute(Deposit(account_id=one, amount=1), session=session)
            await session.commit()
        assert [look.account(one).balance for one in accounts] == [6, 1]
        await commands.dispose()

    asyncio.run(scenario())


class Two:
    """A runtime whose deposits wait in `apply` until the other thread has tried too, and two accounts."""

    def __init__(self, engine: Engine) -> None:
        self.inside, self.tried = threading.Event(), threading.Event()
        self.runtime = Runtime(engine, application(deposit_doing(self._wait), instead_of=MakeDeposit), clock=lambda: NOON)
        self.look = Bank(engine, self.runtime)
        self.accounts: list[UUID] = [self.look.open(owner) for owner in "ab"]

    def _wait(self, command: Deposit, account: Account, context: ExecutionContext) -> None:
        account.balance += command.amount
        self.inside.set()
        assert self.tried.wait(10)

    def race(self, execute: Callable[[Deposit], Done]) -> tuple[Done, Exception]:
        """Run a deposit to each account in threads of their own; return the result of the one and the error of the other."""
        first, second = (Deposit(account_id=one, amount=5) for one in self.accounts)
        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(execute, first)
            assert self.inside.wait(10)
            try:
                with pytest.raises(ContractViolation) as refused:
                    execute(second)
            finally:
                self.tried.set()
            return running.result(), refused.value

    @property
    def balances(self) -> list[int]:
        return [self.look.account(one).balance for one in self.accounts]


@pytest.fixture
def two(engine: Engine) -> Two:
    return Two(engine)


@on_sync_drivers
def test_one_session_in_two_threads_runs_one_of_their_commands(two: Two) -> None:
    with Session(two.look.engine) as session:
        done, refused = two.race(lambda command: two.runtime.execute(command, session=session))
        assert done.balance == 5
        assert REFUSED in str(refused)
        session.commit()
    assert two.balances == [5, 0]


@on_sync_drivers
def test_one_transaction_in_two_threads_is_given_up(two: Two) -> None:
    before = two.look.counts()

    def work(transaction: Transaction) -> None:
        two.race(transaction.execute)

    with pytest.raises(ContractViolation, match=REFUSED):
        two.runtime.transaction(work)
    after = two.look.counts()
    assert after.pop("attempt") == before.pop("attempt") + 1
    assert after == before
    assert two.balances == [0, 0]


@on_sync_drivers
def test_a_session_is_free_again_after_a_command_that_failed(two: Two) -> None:
    two.tried.set()
    with Session(two.look.engine) as session:
        session.add(Account(owner="c"))
        with pytest.raises(ContractViolation, match="not flushed"):
            two.runtime.execute(Deposit(account_id=two.accounts[0], amount=5), session=session)
        session.rollback()
        two.runtime.execute(Deposit(account_id=two.accounts[0], amount=5), session=session)
        session.commit()
    assert two.balances == [5, 0]


@on_sync_drivers
def test_use_of_one_runtime_from_many_threads_loses_nothing(two: Two) -> None:
    two.tried.set()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda one: two.runtime.execute(Deposit(account_id=one, amount=1)), two.accounts * 25))
    assert two.balances == [25, 25]
