"""StepTimer says which step takes how long, and which function of the user's is slow."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import pytest
from pydantic import field_serializer

from tests.accounts import ADA, Account, Close, Deposit, Freeze, MakeDeposit, Open, application, deposit_doing
from tests.bank import Bank
from usecasecore import AllowAll, DomainEvent, ExecutionContext, Policy, PolicyRequest
from usecasecore.errors import GuardRejected
from usecasecore.steps import Step
from usecasecore.timing import StepTimer

SLOW = 0.02


class SlowPolicy(Policy):
    def permitted(self, request: PolicyRequest, /) -> bool:
        time.sleep(SLOW)
        return True


def sleeping(command: Deposit, account: Account, context: Any) -> None:
    time.sleep(SLOW)


def test_each_step_is_timed_and_a_slow_apply_is_named(bank_with: Callable[..., Bank]) -> None:
    bank = bank_with(application(deposit_doing(sleeping), instead_of=MakeDeposit))
    account_id = bank.open()
    with StepTimer() as timer:
        for _ in range(3):
            bank.runtime.execute(Deposit(account_id=account_id, amount=1), actor=ADA)
    seen = {one.step: one for one in timer.times() if one.function == "" or one.step is Step.APPLY}
    assert seen.keys() >= {Step.VALIDATE, Step.LOAD, Step.POLICY, Step.FIRE, Step.APPLY, Step.FLUSH, Step.RESULT, Step.COMMIT}
    assert all(one.runs == 3 and 0 < one.median <= one.longest for one in seen.values())
    slow = timer.slowest()
    assert slow is not None
    assert (slow.function, slow.step) == ("MakeDeposit.apply", Step.APPLY)
    assert SLOW <= slow.median < 50 * SLOW
    assert "slowest of your own: MakeDeposit.apply" in timer.table()


def test_a_slow_policy_is_named(bank_with: Callable[..., Bank]) -> None:
    bank = bank_with(application(policy=SlowPolicy()))
    account_id = bank.open()
    with StepTimer() as timer:
        bank.runtime.execute(Freeze(account_id=account_id), actor=ADA, reason="to see")
    slow = timer.slowest()
    assert slow is not None
    assert (slow.function, slow.use_case) == ("policy.permitted", "FreezeAccount")


def test_a_slow_guard_is_named(bank_with: Callable[..., Bank], monkeypatch: pytest.MonkeyPatch) -> None:
    bank = bank_with(application(policy=AllowAll()))
    account_id = bank.open()
    balance = Account.balance

    def slow(self: Account) -> int:
        time.sleep(SLOW)
        return 0

    monkeypatch.setattr(Account, "balance", property(slow))
    with StepTimer() as timer:
        try:
            bank.runtime.execute(Close(account_id=account_id), actor=ADA)
        finally:
            monkeypatch.setattr(Account, "balance", balance)
    assert any(one.function == "guards of close: is_empty" and one.median >= SLOW for one in timer.times())


class SlowlyTold(DomainEvent):
    account_id: UUID
    amount: int
    currency: str
    owner: str
    told_to: str

    @field_serializer("amount")
    def slow(self, amount: int) -> int:
        time.sleep(SLOW)
        return amount


def tell_slowly(command: Deposit, account: Account, context: ExecutionContext) -> None:
    context.emit(SlowlyTold(account_id=account.id, amount=command.amount, currency="EUR", owner=account.owner, told_to="all"))


def test_an_event_that_is_slow_to_be_made_json_is_named(bank_with: Callable[..., Bank]) -> None:
    slow_deposit: Any = deposit_doing(tell_slowly)
    slow_deposit.emits = (*slow_deposit.emits, SlowlyTold)
    bank = bank_with(application(slow_deposit, instead_of=MakeDeposit))
    account_id = bank.open()
    with StepTimer() as timer:
        bank.runtime.execute(Deposit(account_id=account_id, amount=1), actor=ADA)
    slow = timer.slowest()
    assert slow is not None
    assert (slow.function, slow.step, slow.use_case) == ("SlowlyTold as JSON", Step.AUDIT, "MakeDeposit")
    assert SLOW <= slow.median < 50 * SLOW


def test_a_step_that_fails_is_not_counted_and_the_next_command_is(bank: Bank) -> None:
    account_id = bank.open()
    bank.runtime.execute(Deposit(account_id=account_id, amount=1), actor=ADA)
    with StepTimer() as timer:
        with pytest.raises(GuardRejected):
            bank.runtime.execute(Close(account_id=account_id), actor=ADA)
        bank.runtime.execute(Deposit(account_id=account_id, amount=1), actor=ADA)
    runs = {(one.use_case, one.step): one.runs for one in timer.times() if one.function == ""}
    assert (("CloseAccount", Step.FIRE) in runs, runs["MakeDeposit", Step.FIRE]) == (False, 1)


@pytest.mark.parametrize("kind", ["postgresql", "asyncpg"], indirect=True)
@pytest.mark.postgresql
def test_commands_at_the_same_time_are_kept_apart(bank_with: Callable[..., Bank]) -> None:
    bank = bank_with(application(deposit_doing(lambda *_: None), instead_of=MakeDeposit))
    accounts = [bank.open(f"owner {n}") for n in range(4)]
    with StepTimer() as timer, ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda one: bank.runtime.execute(Deposit(account_id=one, amount=1), actor=ADA), accounts))
    assert {one.runs for one in timer.times()} == {4}


def test_when_it_is_closed_it_sees_nothing_more(bank: Bank) -> None:
    with StepTimer() as timer:
        pass
    bank.open()
    assert timer.times() == ()
    assert timer.slowest() is None


def test_a_command_that_creates_and_its_replay_are_timed_too(bank: Bank) -> None:
    with StepTimer() as timer:
        results = [bank.runtime.run(Open(owner="ada"), actor=ADA, idempotency_key="k") for _ in range(2)]
    assert [one.replayed for one in results] == [False, True]
    assert [one.runs for one in timer.times() if one.step is Step.COMMIT] == [1]
