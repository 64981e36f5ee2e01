"""One effect for each key, whatever races."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from tests.accounts import (
    ADA,
    BOB,
    Account,
    AccountId,
    ChangePin,
    Deposit,
    Done,
    Flip,
    FlipAccount,
    Freeze,
    FreezeAccount,
    MakeDeposit,
    Open,
    OpenAccount,
    Ping,
    PingOwner,
    SetPin,
    application,
    deposit_doing,
)
from tests.bank import Bank, MakeRuntime
from usecasecore import Command, ExecutionContext, Limits, Outcome
from usecasecore.errors import GuardRejected, IdempotencyKeyReused, InProgress, ReplayIncompatible

BankWith = Callable[..., Bank]
PATIENT = Limits(lock_timeout=timedelta(seconds=30), busy_timeout=timedelta(seconds=60))


def test_a_replay_returns_the_first_result_and_writes_nothing(bank: Bank) -> None:
    account_id = bank.open()
    first = bank.runtime.run(Deposit(account_id=account_id, amount=5), actor=ADA, idempotency_key="k")
    bank.runtime.execute(Deposit(account_id=account_id, amount=1), actor=ADA)
    before = bank.counts()
    again = bank.runtime.run(Deposit(account_id=account_id, amount=5), actor=ADA, idempotency_key="k")
    assert again == Outcome(first.result, "k", True, 2, first.command_id)
    assert isinstance(again.result, Done)
    assert bank.counts() == before
    assert bank.account(account_id).balance == 6


@pytest.mark.parametrize("command", [Open(owner="x"), Ping(owner="x")])
def test_creations_and_commands_without_an_aggregate_replay(bank: Bank, command: Command[Any]) -> None:
    first = bank.runtime.run(command, actor=ADA, idempotency_key="k")
    again = bank.runtime.run(command, actor=ADA, idempotency_key="k")
    assert (first.replayed, again.replayed) == (False, True)
    assert (again.result, again.version) == (first.result, first.version)
    assert len(bank.rows("audit")) == 1


def test_another_payload_under_the_key_is_refused(bank: Bank) -> None:
    account_id = bank.open()
    bank.runtime.execute(Deposit(account_id=account_id, amount=5), actor=ADA, idempotency_key="k")
    with pytest.raises(IdempotencyKeyReused):
        bank.runtime.execute(Deposit(account_id=account_id, amount=6), actor=ADA, idempotency_key="k")
    assert bank.account(account_id).balance == 5


def test_another_actor_or_use_case_has_keys_of_its_own(bank: Bank) -> None:
    account_id = bank.open()
    for actor in (ADA, BOB):
        assert not bank.runtime.run(Deposit(account_id=account_id, amount=5), actor=actor, idempotency_key="k").replayed
    assert not bank.runtime.run(Freeze(account_id=account_id), actor=ADA, idempotency_key="k", reason="x").replayed
    assert bank.account(account_id).balance == 10


def test_a_refusal_is_decided_anew(bank: Bank) -> None:
    from tests.accounts import Close

    account_id = bank.open()
    bank.runtime.execute(Deposit(account_id=account_id, amount=5))
    with pytest.raises(GuardRejected):
        bank.runtime.execute(Close(account_id=account_id), actor=ADA, idempotency_key="k")
    bank.runtime.execute(Deposit(account_id=account_id, amount=-5))
    assert bank.runtime.execute(Close(account_id=account_id), actor=ADA, idempotency_key="k").state == "closed"


def test_the_result_is_replayed_even_when_the_aggregate_is_gone(bank: Bank) -> None:
    account_id = bank.open()
    first = bank.runtime.execute(Freeze(account_id=account_id), actor=ADA, idempotency_key="k", reason="x")
    with bank.engine.begin() as connection:
        connection.execute(text("delete from accounts"))
    assert bank.runtime.execute(Freeze(account_id=account_id), actor=ADA, idempotency_key="k", reason="x") == first


def test_a_stored_result_that_cannot_be_read_is_handed_out_raw_and_nothing_runs(bank: Bank) -> None:
    account_id = bank.open()
    bank.runtime.execute(Deposit(account_id=account_id, amount=5), actor=ADA, idempotency_key="k")
    with bank.engine.begin() as connection:
        connection.execute(text("""update usecasecore_idempotency set result = '{"v": 1}' where key = 'k'"""))
    with pytest.raises(ReplayIncompatible) as wrong:
        bank.runtime.execute(Deposit(account_id=account_id, amount=5), actor=ADA, idempotency_key="k")
    assert wrong.value.raw == '{"v": 1}'
    assert bank.account(account_id).balance == 5


def meet(arrived: list[int], context: ExecutionContext, count: int) -> None:
    """Wait in `apply` until so many have arrived, in a way that lets other tasks of an event loop go on."""
    arrived.append(1)
    while len(arrived) < count:
        context.session.execute(text("select pg_sleep(0.01)"))


def counting(base: Any, calls: list[int]) -> type:
    """The use case, counting how often `apply` is called."""

    class Counted(base):  # type: ignore[misc]
        name = base.name

        def apply(self, command: Any, state: Any, context: ExecutionContext, /) -> Any:
            calls.append(1)
            return super().apply(command, state, context)

    return Counted


@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    ("use_case", "make"),
    [
        pytest.param(FreezeAccount, lambda one: Freeze(account_id=one), id="triggered"),
        pytest.param(MakeDeposit, lambda one: Deposit(account_id=one, amount=5), id="re-entrant"),
        pytest.param(ChangePin, lambda one: SetPin(account_id=one, pin="1234"), id="trigger-less"),
        pytest.param(FlipAccount, lambda one: Flip(account_id=one), id="chosen"),
        pytest.param(OpenAccount, lambda one: Open(owner="new"), id="creating"),
        pytest.param(PingOwner, lambda one: Ping(owner="x"), id="nothing loaded"),
    ],
)
def test_a_hundred_concurrent_duplicates_are_one_effect(
    bank_with: BankWith, use_case: type, make: Callable[[Any], Command[Any]]
) -> None:
    calls: list[int] = []
    bank = bank_with(application(counting(use_case, calls), instead_of=use_case), PATIENT)
    account_id = bank.open()
    before, version = bank.counts(), bank.account(account_id).version
    start = threading.Barrier(100)

    def once(_: int) -> Outcome[Any]:
        start.wait()
        outcome: Outcome[Any] = bank.runtime.run(make(account_id), actor=ADA, idempotency_key="k", reason="x")
        return outcome

    calls.clear()
    with ThreadPoolExecutor(100) as pool:
        outcomes = list(pool.map(once, range(100)))
    assert len(calls) == 1
    assert sorted(outcome.replayed for outcome in outcomes) == [False] + [True] * 99
    assert len({outcome.result.model_dump_json() for outcome in outcomes}) == 1
    after = bank.counts()
    assert after["audit"] == before["audit"] + 1
    assert after["idempotency"] == before["idempotency"] + 1
    assert after["attempt"] == 0
    if use_case not in (OpenAccount, PingOwner):
        assert bank.account(account_id).version == version + 1


def test_when_the_winner_rolls_back_exactly_one_other_takes_over(bank_with: BankWith) -> None:
    calls: list[int] = []
    lock = threading.Lock()

    def fail_once(command: Deposit, account: Account, context: ExecutionContext) -> None:
        with lock:
            calls.append(1)
            first = len(calls) == 1
        if first:
            raise RuntimeError("the winner fails")

    bank = bank_with(application(deposit_doing(fail_once), instead_of=MakeDeposit), PATIENT)
    account_id = bank.open()
    start = threading.Barrier(10)

    def once(_: int) -> str:
        start.wait()
        try:
            outcome = bank.runtime.run(Deposit(account_id=account_id, amount=5), actor=ADA, idempotency_key="k")
        except RuntimeError:
            return "failed"
        return "replayed" if outcome.replayed else "executed"

    with ThreadPoolExecutor(10) as pool:
        outcomes = sorted(pool.map(once, range(10)))
    assert outcomes == ["executed", "failed"] + ["replayed"] * 8
    assert len(calls) == 2


def test_the_same_key_for_two_aggregates_at_once_takes_effect_on_one(bank_with: BankWith) -> None:
    arrived: list[int] = []

    def wait(command: Deposit, account: Account, context: ExecutionContext) -> None:
        if context.session.get_bind().dialect.name == "postgresql":
            meet(arrived, context, 2)
        account.balance += command.amount

    bank = bank_with(application(deposit_doing(wait), instead_of=MakeDeposit), PATIENT)
    accounts = [bank.open("a"), bank.open("b")]

    def once(account_id: Any) -> str:
        try:
            bank.runtime.run(Deposit(account_id=account_id, amount=5), actor=ADA, idempotency_key="k")
        except IdempotencyKeyReused:
            return "refused"
        return "executed"

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(once, accounts)) == ["executed", "refused"]
    assert sorted(bank.account(one).balance for one in accounts) == [0, 5]


def test_a_key_whose_command_is_still_running_is_in_progress(postgres_url: str) -> None:
    from sqlalchemy import create_engine

    from tests.accounts import Base
    from usecasecore import Runtime

    engine = create_engine(postgres_url)
    Base.metadata.create_all(engine)
    running, release = threading.Event(), threading.Event()

    class Slow(PingOwner):
        name = "PingOwner"

        def apply(self, command: Ping, state: None, context: ExecutionContext, /) -> Done:
            running.set()
            release.wait(10)
            return super().apply(command, state, context)

    limits = Limits(lock_timeout=timedelta(milliseconds=50))
    runtime = Runtime(engine, application(Slow, instead_of=PingOwner), limits=limits)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(runtime.run, Ping(owner="x"), actor=ADA, idempotency_key="k")
        running.wait(10)
        with pytest.raises(InProgress) as conflict:
            runtime.run(Ping(owner="x"), actor=ADA, idempotency_key="k")
        release.set()
        assert not first.result().replayed
    assert conflict.value.key == "k"
    assert runtime.run(Ping(owner="x"), actor=ADA, idempotency_key="k").replayed
    engine.dispose()


def test_a_deploy_that_adds_an_optional_field_replays_all_the_same(bank: Bank, make_runtime: MakeRuntime) -> None:
    account_id = bank.open()
    bank.runtime.execute(Deposit(account_id=account_id, amount=5), actor=ADA, idempotency_key="k")

    class Newer(Command[Done]):
        account_id: AccountId
        amount: int
        note: Any = None
        channel: str = "web"

    from tests.accounts import Deposited, SendStatement
    from usecasecore import UseCase

    class MakeNewerDeposit(UseCase[Newer, Account, Done]):
        name = "MakeDeposit"
        trigger = "deposit"
        emits = (Deposited,)
        enqueues = (SendStatement,)

        def apply(self, command: Newer, account: Account, context: ExecutionContext, /) -> Done:
            raise AssertionError("it ran again")

    newer = make_runtime(application(MakeNewerDeposit, instead_of=MakeDeposit))
    assert newer.run(Newer(account_id=account_id, amount=5), actor=ADA, idempotency_key="k").replayed


def test_a_set_has_the_same_fingerprint_in_every_process(bank: Bank) -> None:
    account_id = bank.open()
    script = """
import sys
from sqlalchemy import create_engine
from tests.accounts import ADA, Deposit, application
from usecasecore import Runtime
names = {"b", "a", "d", "c", "e", "f", "g"}
runtime = Runtime(create_engine(sys.argv[1]), application())
outcome = runtime.run(Deposit(account_id=sys.argv[2], amount=1, note={"names": names}), actor=ADA, idempotency_key="k")
print(outcome.replayed)
"""
    url = bank.engine.url.render_as_string(hide_password=False)
    replayed = []
    for seed in ("1", "2", "3"):
        done = subprocess.run(
            [sys.executable, "-c", script, url, str(account_id)],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        replayed.append(done.stdout.strip())
    assert replayed == ["False", "True", "True"]
