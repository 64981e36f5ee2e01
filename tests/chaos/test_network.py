"""Connections that break or hang around the COMMIT: one effect, and the truth about it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, func, select, update
from sqlalchemy.ext.asyncio import create_async_engine

from tests.accounts import ADA, Account, Base, Deposit, Open, application
from tests.bank import ASYNC_DRIVERS, Bank, BlockingRuntime, on_postgres
from tests.chaos.proxy import Hurt, Proxy
from tests.chaos.soundness import assert_sound
from tests.chaos.tally import Tally, rounds
from usecasecore import AsyncRuntime, Limits, Runtime
from usecasecore.errors import OutcomeUnknown, UseCaseError

Through = Callable[..., Any]
ASYNC_DRIVERS_OF_POSTGRES = sorted(kind for kind, driver in ASYNC_DRIVERS.items() if driver.startswith("postgresql"))


@pytest.fixture
def proxy(url: str) -> Iterator[Proxy]:
    with Proxy(url) as one:
        yield one


@pytest.fixture
def through(proxy: Proxy, engine: Engine, kind: str) -> Iterator[Through]:
    """Make a runtime whose connections go through the proxy."""
    made: list[Callable[[], None]] = []

    def make(limits: Limits | None = None) -> Any:
        if kind in ASYNC_DRIVERS:
            address = proxy.url.set(drivername=ASYNC_DRIVERS[kind])
            runtime: Any = BlockingRuntime(address.render_as_string(hide_password=False), application(), limits=limits)
            made.append(runtime.close)
        else:
            commands = create_engine(proxy.url, pool_size=20)
            runtime = Runtime(commands, application(), limits=limits)
            made.append(commands.dispose)
        return runtime

    yield make
    proxy.release()
    for close in made:
        close()


CUTS = [Hurt.CUT_BEFORE, Hurt.CUT_AFTER, Hurt.HALF_CLOSE]


@pytest.mark.parametrize("hurt", CUTS, ids=lambda one: one.name)
@on_postgres
def test_a_connection_cut_around_the_commit_is_one_effect_and_is_reported_as_done(
    through: Through, proxy: Proxy, engine: Engine, hurt: Hurt, tally: Tally
) -> None:
    runtime = through()
    look = Bank(engine, runtime)
    account_id = look.open()
    amount = 0
    for number in range(rounds(3, 350)):
        for key in (f"k{number}", None):
            proxy.next(hurt)
            runtime.execute(Deposit(account_id=account_id, amount=1), actor=ADA, idempotency_key=key)
            tally.faults += 1
            amount += 1
            balance = look.account(account_id).balance
            tally.lost += balance < amount
            tally.duplicated += balance > amount
            amount = balance
    assert proxy.hurt == tally.faults
    assert_sound(engine)
    tally.assert_clean()


@pytest.mark.parametrize("hurt", CUTS, ids=lambda one: one.name)
@on_postgres
def test_a_creation_is_one_effect_too(through: Through, proxy: Proxy, engine: Engine, hurt: Hurt, tally: Tally) -> None:
    runtime = through()
    runtime.check()
    for number in range(rounds(3, 50)):
        proxy.next(hurt)
        runtime.execute(Open(owner=f"{number}"), actor=ADA)
        tally.faults += 1
    with engine.connect() as connection:
        assert connection.scalar(select(func.count()).select_from(Account)) == tally.faults == proxy.hurt
    assert_sound(engine)


@on_postgres
def test_without_keys_a_caller_that_tries_again_does_everything_twice(through: Through, proxy: Proxy, engine: Engine) -> None:
    """The control: what a hand-written command does when its commit was applied and the answer was lost."""
    runtime = through()
    look = Bank(engine, runtime)
    account_id = look.open()
    commands = create_engine(proxy.url)

    def naive() -> None:
        with commands.begin() as connection:
            connection.execute(update(Account).values(balance=Account.balance + 1))

    for _ in range(5):
        proxy.next(Hurt.CUT_AFTER)
        with pytest.raises(Exception, match=r"connection|closed"):
            naive()
        naive()
    commands.dispose()
    assert look.account(account_id).balance == 10


@pytest.mark.parametrize("hurt", [Hurt.HANG_BEFORE, Hurt.HANG_AFTER], ids=lambda one: one.name)
@on_postgres
def test_a_commit_that_hangs_is_resolved_by_its_key(
    through: Through, proxy: Proxy, engine: Engine, hurt: Hurt, tally: Tally
) -> None:
    limits = Limits(
        commit_timeout=timedelta(seconds=0.4), lock_timeout=timedelta(seconds=0.5), commit_deadline=timedelta(seconds=4)
    )
    runtime = through(limits)
    look = Bank(engine, runtime)
    account_id = look.open()
    for number in range(rounds(1, 10)):
        proxy.next(hurt)
        runtime.execute(Deposit(account_id=account_id, amount=1), actor=ADA, idempotency_key=f"k{number}")
        tally.faults += 1
        tally.duplicated += look.account(account_id).balance != tally.faults
    assert_sound(engine)
    tally.assert_clean()


@on_postgres
def test_when_every_commit_hangs_the_outcome_is_unknown_in_time_and_a_later_try_is_one_effect(
    through: Through, proxy: Proxy, engine: Engine, tally: Tally
) -> None:
    limits = Limits(
        commit_timeout=timedelta(seconds=0.3), lock_timeout=timedelta(seconds=0.3), commit_deadline=timedelta(seconds=1)
    )
    runtime = through(limits)
    look = Bank(engine, runtime)
    account_id = look.open()
    command = Deposit(account_id=account_id, amount=1)
    proxy.next(Hurt.HANG_BEFORE, times=50)
    began = time.monotonic()
    with pytest.raises(OutcomeUnknown) as unknown:
        runtime.execute(command, actor=ADA, idempotency_key="k")
    tally.faults += 1
    assert unknown.value.key == "k"
    assert time.monotonic() - began < 1 + 0.3 + 0.3 + 0.8  # the deadline, one commit and one lock that hang, and some air
    proxy.forgive()
    proxy.release()
    deadline = time.monotonic() + 5
    while True:
        try:
            runtime.execute(command, actor=ADA, idempotency_key="k")
            break
        except UseCaseError:
            assert time.monotonic() < deadline
    assert look.account(account_id).balance == 1
    assert_sound(engine, ["k"])


def wait_for(proxy: Proxy, hurts: int) -> None:
    while proxy.hurt < hurts:
        time.sleep(0.01)


@pytest.mark.parametrize("hurt", [Hurt.DELAY, Hurt.HANG_BEFORE, Hurt.HANG_AFTER], ids=lambda one: one.name)
@pytest.mark.parametrize("driver", ASYNC_DRIVERS_OF_POSTGRES)
def test_a_cancellation_while_the_commit_is_on_its_way_and_then_the_same_key(
    postgres_url: str, driver: str, hurt: Hurt, tally: Tally
) -> None:
    async def scenario(proxy: Proxy) -> None:
        address = proxy.url.set(drivername=ASYNC_DRIVERS[driver])
        commands = create_async_engine(address, pool_size=1, max_overflow=0)
        runtime = AsyncRuntime(commands, application(), limits=Limits(lock_timeout=timedelta(seconds=2)))
        account_id = (await runtime.execute(Open(owner="ada"), actor=ADA)).account_id
        for number in range(rounds(1, 10)):
            command, key = Deposit(account_id=account_id, amount=1), f"k{number}"
            proxy.next(hurt)
            task = asyncio.ensure_future(runtime.run(command, actor=ADA, idempotency_key=key))
            await asyncio.to_thread(wait_for, proxy, number + 1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            tally.faults += 1
            again = await runtime.run(command, actor=ADA, idempotency_key=key)
            assert again.result.balance == number + 1
        await commands.dispose()

    engine = create_engine(postgres_url)
    Base.metadata.create_all(engine)
    with Proxy(postgres_url) as proxy:
        asyncio.run(scenario(proxy))
    with engine.connect() as connection:
        balance = connection.scalars(select(Account.balance)).one()
    tally.lost, tally.duplicated = max(tally.faults - balance, 0), max(balance - tally.faults, 0)
    assert_sound(engine)
    tally.assert_clean()
    engine.dispose()


@on_postgres
def test_a_slow_commit_is_no_fault(through: Through, proxy: Proxy, engine: Engine) -> None:
    runtime = through()
    look = Bank(engine, runtime)
    account_id = look.open()
    proxy.next(Hurt.DELAY)
    assert not runtime.run(Deposit(account_id=account_id, amount=1), actor=ADA).replayed
    assert look.account(account_id).balance == 1


@on_postgres
def test_cuts_under_load_lose_and_double_nothing(through: Through, proxy: Proxy, engine: Engine, tally: Tally) -> None:
    runtime = through()
    look = Bank(engine, runtime)
    accounts = [look.open(f"{number}") for number in range(4)]
    commands = rounds(60, 2000)

    def one(number: int) -> str | None:
        if number % 3 == 0:
            proxy.next(CUTS[number // 3 % len(CUTS)])
        key = f"k{number}"
        runtime.execute(Deposit(account_id=accounts[number % 4], amount=1), actor=ADA, idempotency_key=key)
        return key

    with ThreadPoolExecutor(8) as pool:
        acknowledged = [key for key in pool.map(one, range(commands)) if key]
    tally.faults += proxy.hurt
    assert len(acknowledged) == commands
    assert sum(look.account(each).balance for each in accounts) == commands
    assert_sound(engine, acknowledged)
    tally.assert_clean()
