"""Whatever ends a command, and at whatever step: it took effect once or not at all, and the same key says which."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Engine, create_engine, make_url, text
from sqlalchemy.exc import MissingGreenlet
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.util import await_only

from tests.accounts import ADA, NOON, Base, Deposit, Freeze, Open, Ping, SetPin, application
from tests.bank import ASYNC_DRIVERS, Bank
from tests.chaos.soundness import assert_sound
from tests.chaos.tally import Tally, rounds
from tests.chaos.victim import COMMANDS, Victim
from usecasecore import AsyncRuntime, Command, Runtime
from usecasecore.steps import Moment, Step, When
from usecasecore.testing import Crashed, crash_after, crash_before, fail, failpoints

# A rollback is no way to a commit: it has a test of its own, in tests/integration/test_steps.py.
POINTS = tuple(point for point in failpoints() if point[0] is not Step.ROLLBACK)
MAKE = [
    pytest.param(lambda one: Deposit(account_id=one, amount=5), id="re-entrant"),
    pytest.param(lambda one: Freeze(account_id=one), id="triggered"),
    pytest.param(lambda one: SetPin(account_id=one, pin="1234"), id="trigger-less"),
    pytest.param(lambda one: Open(owner=f"of {one}"), id="creating"),
    pytest.param(lambda one: Ping(owner="x"), id="nothing loaded"),
]


def effects(engine: Engine, key: str) -> int:
    """How often the command of a key is in the audit."""
    query = """select count(distinct a.command_id) from usecasecore_audit a
               join usecasecore_idempotency k on k.command_id = a.command_id where k.key = :key"""
    with engine.connect() as connection:
        return int(connection.execute(text(query), {"key": key}).scalar_one())


def is_committed(step: Step, when: When) -> bool:
    return step is Step.COMMIT and when is When.AFTER


def test_every_failpoint_is_a_step_before_or_after() -> None:
    assert len(failpoints()) == 2 * len(Step) == len(set(failpoints()))


@pytest.mark.parametrize("make", MAKE)
def test_an_exception_at_any_point_and_then_the_same_key(bank: Bank, make: Callable[[UUID], Command[Any]], tally: Tally) -> None:
    bank.runtime.check()
    for number, (step, when) in enumerate(POINTS):
        account_id, key = bank.open(f"{number}"), f"{step} {when}"
        command = make(account_id)
        crash = crash_before if when is When.BEFORE else crash_after
        if step is Step.FIRE and not isinstance(command, Deposit | Freeze):
            continue
        with crash(step):
            bank.runtime.execute(command, actor=ADA, idempotency_key=key, reason="x")
        tally.faults += 1
        assert effects(bank.engine, key) == is_committed(step, when)
        again = bank.runtime.run(command, actor=ADA, idempotency_key=key, reason="x")
        assert again.replayed is is_committed(step, when)
        tally.duplicated += effects(bank.engine, key) != 1
    assert_sound(bank.engine)
    tally.assert_clean()


@pytest.mark.long
@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_a_process_killed_at_any_point_and_then_the_same_key(database_url: str, name: str, tally: Tally) -> None:
    engine = create_engine(database_url)
    Base.metadata.create_all(engine)
    runtime = Runtime(engine, application())
    with Victim(database_url) as victim:
        for turn in range(rounds(1, 20)):
            for step, when in POINTS:
                key = f"{step} {when} {turn}"
                account_id = runtime.execute(Open(owner=key)).account_id
                command = COMMANDS[name](account_id)
                ended = victim.run(name, account_id, key, step, when)
                if step is Step.FIRE and name not in ("deposit", "freeze"):
                    assert ended == 0
                    continue
                assert ended == -9, (step, when)
                tally.faults += 1
                again = runtime.run(command, actor=ADA, idempotency_key=key, reason="x")
                assert again.replayed is is_committed(step, when), (step, when)
                tally.duplicated += effects(engine, key) != 1
    assert_sound(engine)
    tally.assert_clean()
    engine.dispose()


def cancel_here(_: Moment) -> None:
    """Cancel the task that runs the command, and let it notice at once where it can."""
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    with suppress(MissingGreenlet):  # at the validation nothing can be awaited; the next await notices
        await_only(asyncio.sleep(0))


@pytest.mark.parametrize("kind", list(ASYNC_DRIVERS), indirect=True)
@pytest.mark.parametrize("make", MAKE[:1] + MAKE[3:4])
@pytest.mark.filterwarnings("ignore:coroutine 'sleep' was never awaited:RuntimeWarning")
def test_a_cancellation_at_any_point_and_then_the_same_key(
    engine: Engine, kind: str, make: Callable[[UUID], Command[Any]], tally: Tally
) -> None:
    address = make_url(engine.url).set(drivername=ASYNC_DRIVERS[kind])

    async def scenario() -> None:
        commands = create_async_engine(address, pool_size=1, max_overflow=0)
        runtime = AsyncRuntime(commands, application(), clock=lambda: NOON)
        await runtime.check()
        for step, when in POINTS:
            key = f"{step} {when}"
            account_id = (await runtime.execute(Open(owner=key))).account_id
            command = make(account_id)
            if step is Step.FIRE and isinstance(command, Open):
                continue
            with fail(step, when, cancel_here) as point:
                task = asyncio.ensure_future(runtime.run(command, actor=ADA, idempotency_key=key))
                with pytest.raises(asyncio.CancelledError):
                    await task
            assert point.hits == 1
            tally.faults += 1
            done = effects(engine, key)
            again = await runtime.run(command, actor=ADA, idempotency_key=key)
            assert again.replayed is bool(done)
            assert done == is_committed(step, when)
            tally.duplicated += effects(engine, key) != 1
        await commands.dispose()

    asyncio.run(scenario())
    assert_sound(engine)
    tally.assert_clean()


def test_a_crash_that_no_command_came_by_is_an_error(bank: Bank) -> None:
    with (
        pytest.raises(AssertionError, match="no command came by: after 'fire' of CloseAccount"),
        crash_after("fire", use_case="CloseAccount"),
    ):
        bank.runtime.execute(Ping(owner="x"))


def test_a_failpoint_hits_the_commands_it_is_meant_for(bank: Bank) -> None:
    account_id = bank.open()
    with fail("apply", "before", Crashed(Step.APPLY, When.BEFORE), use_case="MakeDeposit", times=2) as point:
        bank.runtime.execute(Ping(owner="x"))
        for _ in range(2):
            with pytest.raises(Crashed):
                bank.runtime.execute(Deposit(account_id=account_id, amount=1))
        bank.runtime.execute(Deposit(account_id=account_id, amount=1))
    assert point.hits == 2
    assert bank.account(account_id).balance == 1


@pytest.mark.parametrize(
    ("step", "when", "message"),
    [
        ("aply", "before", "there is no step 'aply'; did you mean 'apply'?"),
        ("apply", "befor", "there is no place 'befor'; did you mean 'before'?"),
        ("apply", "during", "a command fails before or after a step"),
    ],
)
def test_a_point_that_does_not_exist_is_refused(step: str, when: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)), fail(step, when, ValueError()):
        pass
