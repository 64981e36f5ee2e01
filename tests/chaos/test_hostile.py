"""User code and callers that do what they should not."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from sqlalchemy import text

from tests.accounts import ADA, BOB, Account, Deposit, Freeze, MakeDeposit, Open, application, deposit_doing
from tests.bank import Bank, MakeRuntime, however_busy
from tests.chaos.schedule import Runner, is_waiting_for_a_lock
from tests.chaos.soundness import assert_sound
from tests.chaos.tally import Tally, rounds, seeded
from usecasecore import Actor, ExecutionContext, Limits, Outcome, Policy, PolicyRequest
from usecasecore.errors import Forbidden, IdempotencyKeyReused, TransitionNotAllowed
from usecasecore.steps import watch

BankWith = Callable[..., Bank]
ON_BOTH = pytest.mark.parametrize("kind", ["sqlite", "postgresql"], indirect=True)


class Slow(Policy):
    """Asks somebody who doesn't answer, and gives up."""

    def permitted(self, request: PolicyRequest, /) -> bool:
        if request.permission == "MakeDeposit":
            raise TimeoutError("no answer within 100 ms")
        return True


def test_a_policy_that_runs_into_its_own_timeout_denies(bank_with: BankWith) -> None:
    bank = bank_with(application(policy=Slow()))
    account_id = bank.open()
    with pytest.raises(Forbidden, match="the policy failed"):
        bank.runtime.execute(Deposit(account_id=account_id, amount=1))
    assert bank.account(account_id).balance == 0
    assert [one.code for one in bank.rows("attempt")] == ["forbidden"]


class ByTheTable(Policy):
    """Looks into the database who may do what."""

    def permitted(self, request: PolicyRequest, /) -> bool:
        query = text("select count(*) from permissions where actor = :actor")
        return bool(request.context.session.scalar(query, {"actor": str(request.actor)}))


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
def test_a_permission_that_is_revoked_between_the_look_and_the_act_denies(bank_with: BankWith, tally: Tally) -> None:
    bank = bank_with(application(policy=ByTheTable()), Limits(lock_timeout=timedelta(seconds=30)))
    with bank.engine.begin() as connection:
        connection.execute(text("create table permissions (actor text)"))
        connection.execute(text("insert into permissions values ('user:ada'), ('user:bob')"))
    account_id = bank.runtime.execute(Open(owner="grace"), actor=ADA).account_id
    for number in range(rounds(5, 50)):
        with bank.engine.begin() as connection:
            connection.execute(text("delete from permissions where actor = 'user:bob'"))
            connection.execute(text("insert into permissions values ('user:bob')"))
        waits = Runner(partial(bank.runtime.run, Deposit(account_id=account_id, amount=1), actor=BOB))
        with bank.engine.begin() as holder:
            holder.execute(text("update accounts set pin = :pin"), {"pin": f"{number}"})
            with watch(waits.watch):
                waits.start()
                waits.advance(99, lambda: is_waiting_for_a_lock(bank.engine))
            holder.execute(text("delete from permissions where actor = 'user:bob'"))
        waits.let_go()
        assert isinstance(waits.join(), Forbidden)
        tally.faults += 1
    assert bank.account(account_id).balance == 0
    tally.assert_clean()


def test_a_thread_that_apply_leaves_behind_can_do_nothing_with_the_session(bank_with: BankWith) -> None:
    go, came = threading.Event(), []

    def leave_a_thread(command: Deposit, account: Account, context: ExecutionContext) -> None:
        def late() -> None:
            go.wait(20)
            try:
                context.session.execute(text("update accounts set balance = 99"))
                context.session.commit()
            except Exception as error:  # noqa: BLE001 - it is what came of it
                came.append(error)

        account.balance += command.amount
        thread = threading.Thread(target=late)
        thread.start()
        left.append(thread)

    left: list[threading.Thread] = []
    bank = bank_with(application(deposit_doing(leave_a_thread), instead_of=MakeDeposit))
    account_id = bank.open()
    bank.runtime.execute(Deposit(account_id=account_id, amount=1))
    go.set()
    left[0].join(20)
    assert len(came) == 1
    assert bank.account(account_id).balance == 1
    bank.runtime.execute(Freeze(account_id=account_id), reason="the connection is free again")


@ON_BOTH
def test_another_payload_under_a_key_never_writes(bank: Bank, tally: Tally) -> None:
    seed, numbers = seeded()
    account_id = bank.open()
    bank.runtime.execute(Deposit(account_id=account_id, amount=5), actor=ADA, idempotency_key="k")
    before = {name: count for name, count in bank.counts().items() if name != "attempt"}
    for _ in range(rounds(30, 5000)):
        amount = numbers.choice([number for number in range(-9, 9) if number != 5])
        with pytest.raises(IdempotencyKeyReused):
            bank.runtime.execute(Deposit(account_id=account_id, amount=amount), actor=ADA, idempotency_key="k")
        tally.faults += 1
    assert {name: count for name, count in bank.counts().items() if name != "attempt"} == before, f"seed {seed}"
    assert_sound(bank.engine)
    tally.assert_clean()


@ON_BOTH
def test_the_same_key_of_other_actors_and_tenants_is_another_key(bank: Bank, tally: Tally) -> None:
    account_id = bank.open()
    actors = [Actor("user", f"u{number % 10}", tenant=f"t{number // 10}") for number in range(rounds(30, 1000))]
    deposit = Deposit(account_id=account_id, amount=1)

    with ThreadPoolExecutor(8) as pool:
        # SQLite lets in whom it likes, so that among eight writers one may wait for longer than it should.
        came = list(
            pool.map(lambda actor: however_busy(partial(bank.runtime.run, deposit, actor=actor, idempotency_key="k")), actors)
        )
    assert [one.replayed for one in came] == [False] * len(actors)
    assert len({one.command_id for one in came}) == len(actors)
    tally.faults += len(actors)
    tally.lost += bank.account(account_id).balance != len(actors)
    tally.assert_clean()


@ON_BOTH
def test_a_key_that_has_expired_is_decided_anew_and_the_state_is_the_second_line(bank: Bank) -> None:
    account_id = bank.open()
    freeze = partial(bank.runtime.run, Freeze(account_id=account_id), actor=ADA, idempotency_key="k", reason="x")
    assert not freeze().replayed
    with bank.engine.begin() as connection:
        connection.execute(text("delete from usecasecore_idempotency where key = 'k'"))
    with pytest.raises(TransitionNotAllowed):
        freeze()
    assert bank.account(account_id).version == 2


@ON_BOTH
def test_replays_are_equal_to_the_byte(bank: Bank) -> None:
    account_id = bank.open()
    deposit = partial(bank.runtime.run, Deposit(account_id=account_id, amount=5), actor=ADA, idempotency_key="k")
    texts = [deposit().result.model_dump_json() for _ in range(5)]
    with bank.engine.connect() as connection:
        stored = connection.execute(text("select result from usecasecore_idempotency where key = 'k'")).scalar_one()
    assert set(texts) == {stored}


@ON_BOTH
def test_a_clock_that_runs_wrong_changes_neither_order_nor_effect(bank: Bank, make_runtime: MakeRuntime, tally: Tally) -> None:
    offsets = [timedelta(0), timedelta(hours=1), timedelta(hours=-1), timedelta(seconds=-10)]
    account_id = bank.open()
    done: list[Outcome[Any]] = []
    for number in range(rounds(8, 50)):
        offset = offsets[number % len(offsets)]
        runtime = make_runtime(application(), clock=lambda offset=offset: datetime.now(UTC) + offset)
        done.append(runtime.run(Deposit(account_id=account_id, amount=1), actor=ADA, idempotency_key=f"k{number}"))
        assert runtime.run(Deposit(account_id=account_id, amount=1), actor=ADA, idempotency_key=f"k{number}").replayed
        tally.faults += 1
    assert [one.version for one in done] == list(range(2, 2 + len(done)))
    recorded = [row.recorded_at for row in bank.rows("audit")]
    assert recorded == sorted(recorded)
    assert bank.account(account_id).balance == len(done)
    assert_sound(bank.engine)
    tally.assert_clean()
