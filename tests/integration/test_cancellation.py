"""A task that is cancelled at any await leaves nothing half-done, and its connection clean."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Engine, event, make_url
from sqlalchemy.ext.asyncio import create_async_engine

from tests.accounts import ADA, NOON, Deposit, Open, application
from tests.bank import ASYNC_DRIVERS, Bank
from usecasecore import AsyncRuntime, Command

on_async_drivers = pytest.mark.parametrize("kind", list(ASYNC_DRIVERS), indirect=True)


class CancelAt:
    """Cancels the running task before the n-th statement that is sent, or before the COMMIT."""

    def __init__(self, engine: Engine) -> None:
        self.countdown: int | None = None
        self.task: asyncio.Task[Any] | None = None
        event.listen(engine, "before_cursor_execute", lambda *_: self.step())
        event.listen(engine, "commit", lambda *_: self.step())

    def step(self) -> None:
        if self.countdown is None:
            return
        self.countdown -= 1
        if self.countdown == 0:
            self.countdown = None
            assert self.task is not None
            self.task.cancel()  # takes effect at the next await: while the statement is under way


@on_async_drivers
@pytest.mark.parametrize(
    "make", [lambda one: Deposit(account_id=one, amount=5), lambda one: Open(owner="new")], ids=["locking", "creating"]
)
def test_cancelled_at_any_await_it_takes_effect_once_or_not_at_all(
    engine: Engine, kind: str, make: Callable[[Any], Command[Any]]
) -> None:
    address = make_url(engine.url).set(drivername=ASYNC_DRIVERS[kind])

    async def scenario() -> None:
        commands = create_async_engine(address, pool_size=1, max_overflow=0)
        runtime = AsyncRuntime(commands, application(), clock=lambda: NOON)
        look = Bank(engine, runtime)
        account_id = (await runtime.execute(Open(owner="grace"))).account_id
        cancel = CancelAt(commands.sync_engine)
        cancelled = 0
        for n in range(1, 40):
            before = look.counts()
            cancel.task = asyncio.ensure_future(runtime.run(make(account_id), actor=ADA, idempotency_key=f"k{n}"))
            cancel.countdown = n
            try:
                await cancel.task
            except asyncio.CancelledError:
                cancelled += 1
            else:
                cancel.countdown = None
                break
            after = look.counts()
            done = after["audit"] - before["audit"]
            assert done in (0, 1)
            assert after["idempotency"] - before["idempotency"] == done
            if done:
                # The COMMIT had left already: the key knows.
                again = await runtime.run(make(account_id), actor=ADA, idempotency_key=f"k{n}")
                assert again.replayed
                break
        assert cancelled >= 4
        # The only connection of the pool works, and holds no transaction of before.
        await runtime.execute(Deposit(account_id=account_id, amount=1))
        row = look.account(account_id)
        assert row.version == sum(entry.aggregate_id == str(account_id) for entry in look.rows("audit"))
        await commands.dispose()

    asyncio.run(scenario())


@on_async_drivers
def test_use_from_many_tasks_at_once_loses_nothing(engine: Engine, kind: str) -> None:
    address = make_url(engine.url).set(drivername=ASYNC_DRIVERS[kind])

    async def scenario() -> None:
        commands = create_async_engine(address, pool_size=10)
        runtime = AsyncRuntime(commands, application(), clock=lambda: NOON)
        account_id = (await runtime.execute(Open(owner="grace"))).account_id
        await asyncio.gather(*(runtime.execute(Deposit(account_id=account_id, amount=1)) for _ in range(100)))
        outcome = await runtime.run(Deposit(account_id=account_id, amount=0))
        assert (outcome.result.balance, outcome.version) == (100, 102)
        await commands.dispose()

    asyncio.run(scenario())
