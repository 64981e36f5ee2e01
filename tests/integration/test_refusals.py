"""What an error says: the one name of the aggregate, and the execution it belongs to, as the attempt log knows it."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy.orm import Session

from tests.accounts import ADA, Account, Close, Deposit, Freeze, MakeDeposit, Open, Ping, application, deposit_doing
from tests.bank import Bank
from usecasecore import AllowAll, Command, ExecutionContext, Policy, PolicyRequest, Result, Transaction, UseCase
from usecasecore.errors import AggregateNotFound, GuardRejected, InvalidCommand, Rejected, TransitionNotAllowed, UseCaseError


def test_a_refusal_names_the_execution_that_the_attempt_log_has(bank: Bank) -> None:
    account_id = bank.open()
    bank.runtime.execute(Deposit(account_id=account_id, amount=5))
    with pytest.raises(GuardRejected) as refused:
        bank.runtime.execute(Close(account_id=account_id), actor=ADA)
    [attempt] = bank.rows("attempt")
    assert refused.value.command_id == attempt.command_id
    assert refused.value.refusal.command_id == attempt.command_id
    assert refused.value.refusal.allowed == frozenset({"deposit", "freeze", "close"})
    assert pickle.loads(pickle.dumps(refused.value)).refusal == refused.value.refusal


def test_each_execution_of_the_same_refused_command_has_an_id_of_its_own(bank_with: Callable[..., Bank]) -> None:
    refusal = TransitionNotAllowed(lifecycle="x", trigger="x", state="x", allowed=())

    def raise_the_same(command: Deposit, account: Account, context: ExecutionContext) -> None:
        raise refusal

    bank = bank_with(application(deposit_doing(raise_the_same), instead_of=MakeDeposit))
    account_id = bank.open()
    seen = []
    for _ in range(2):
        with pytest.raises(TransitionNotAllowed):
            bank.runtime.execute(Deposit(account_id=account_id, amount=5))
        seen.append(refusal.command_id)
    assert sorted(map(str, seen)) == sorted(str(one.command_id) for one in bank.rows("attempt"))
    assert len(set(seen)) == 2


def test_a_command_inside_of_another_fails_in_the_name_of_the_outer_one(bank_with: Callable[..., Bank]) -> None:
    class Outer(Command[Result]):
        account_id: UUID

    class OuterUseCase(UseCase[Outer, None, Result]):
        def apply(self, command: Outer, state: None, context: ExecutionContext, /) -> Result:
            ids.append(context.command_id)
            context.execute(Freeze(account_id=command.account_id), reason="x")
            return Result()

    ids: list[UUID] = []
    bank = bank_with(application(OuterUseCase))
    with pytest.raises(AggregateNotFound) as refused:
        bank.runtime.execute(Outer(account_id=uuid4()))
    assert [refused.value.command_id] == ids == [one.command_id for one in bank.rows("attempt")]


def test_of_several_commands_the_failing_one_is_named(bank: Bank) -> None:
    account_id = bank.open()

    def work(transaction: Transaction) -> None:
        transaction.execute(Ping(owner="x"))
        transaction.execute(Deposit(account_id=account_id, amount=5))
        transaction.execute(Close(account_id=account_id))

    with pytest.raises(GuardRejected) as refused:
        bank.runtime.transaction(work)
    assert [refused.value.command_id] == [one.command_id for one in bank.rows("attempt")]


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
def test_in_the_callers_transaction_too(bank: Bank) -> None:
    with Session(bank.engine) as session, pytest.raises(AggregateNotFound) as refused:
        bank.runtime.execute(Close(account_id=uuid4()), session=session)
    assert isinstance(refused.value.command_id, UUID)


def test_what_never_became_an_execution_names_none(bank: Bank) -> None:
    with pytest.raises(InvalidCommand) as refused:
        bank.runtime.execute(Open(owner="x"), idempotency_key="")
    assert refused.value.command_id is None


class Hidden(AllowAll):
    def readable(self, request: PolicyRequest, /) -> bool:
        return False


@pytest.mark.parametrize("policy", [AllowAll(), Hidden()], ids=["missing", "hidden"])
def test_an_aggregate_has_one_name_everywhere(bank_with: Callable[..., Bank], policy: Policy) -> None:
    bank = bank_with(application(policy=policy))
    account_id = bank.open() if isinstance(policy, Hidden) else uuid4()
    with pytest.raises(AggregateNotFound) as missing:
        bank.runtime.execute(Close(account_id=account_id))
    assert missing.value.aggregate == "account" == bank.rows("attempt")[0].aggregate


def test_a_missing_row_and_a_hidden_one_can_not_be_told_apart(bank_with: Callable[..., Bank]) -> None:
    bank = bank_with(application(policy=Hidden()))
    found: list[dict[str, Any]] = []
    for account_id in (bank.open(), uuid4()):
        with pytest.raises(UseCaseError) as refused:
            bank.runtime.execute(Close(account_id=account_id))
        assert isinstance(refused.value, Rejected)
        facts: dict[str, Any] = {**refused.value.__dict__, "command_id": None}
        found.append(facts | {"key": facts["key"].replace(str(account_id), "the key")})
    assert found[0] == found[1]
