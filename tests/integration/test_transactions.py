"""Several commands in one transaction: of the runtime's own, and of a use case that runs another one inside."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext, suppress
from uuid import UUID

import pytest

from tests.accounts import (
    ADA,
    NOON,
    Account,
    AccountId,
    Close,
    Deposit,
    Done,
    Freeze,
    application,
    done,
)
from tests.bank import Bank, on_postgres
from tests.integration.test_faults import CutAtCommit
from tests.properties.test_all_or_nothing import FailAt
from usecasecore import Command, ExecutionContext, Runtime, UseCase
from usecasecore.errors import ContractViolation, GuardRejected, TransactionEnded, TransitionNotAllowed
from usecasecore.runtime.transaction import Transaction

BankWith = Callable[..., Bank]


@pytest.fixture
def bank(bank_with: BankWith) -> Bank:
    return bank_with(application(OpenWithDeposit))


class OpenWith(Command[Done]):
    owner: str
    amount: int
    then_close: bool = False
    swallow: bool = False


class OpenWithDeposit(UseCase[OpenWith, None, Done]):
    """Runs two other use cases inside."""

    creates = Account

    def apply(self, command: OpenWith, state: None, context: ExecutionContext, /) -> Done:
        account = context.create(Account(owner=command.owner, balance=0))
        context.execute(Deposit(account_id=account.id, amount=command.amount))
        if command.then_close:
            with suppress(GuardRejected) if command.swallow else nullcontext():
                context.execute(Close(account_id=account.id))
        return done(account)


def test_commands_of_one_transaction_are_committed_together(bank: Bank) -> None:
    one, other = bank.open("a"), bank.open("b")

    def work(transaction: Transaction) -> int:
        transaction.execute(Deposit(account_id=one, amount=-5), actor=ADA, reason="transfer")
        assert bank.account(one).balance == 0  # nobody else sees it yet
        return transaction.execute(Deposit(account_id=other, amount=5), actor=ADA).balance

    assert bank.runtime.transaction(work) == 5
    assert [bank.account(each).balance for each in (one, other)] == [-5, 5]
    assert len(bank.rows("audit")) == 4


def test_two_commands_on_one_aggregate_count_two_versions(bank: Bank) -> None:
    account_id = bank.open()

    def work(transaction: Transaction) -> None:
        transaction.execute(Deposit(account_id=account_id, amount=5))
        transaction.execute(Deposit(account_id=account_id, amount=-5))
        transaction.execute(Close(account_id=account_id))

    bank.runtime.transaction(work)
    assert (bank.account(account_id).state, bank.account(account_id).version) == ("closed", 4)
    assert [entry.version for entry in bank.rows("audit")] == [1, 2, 3, 4]


@pytest.mark.parametrize("swallow", [False, True])
def test_a_command_that_fails_takes_the_others_with_it_even_if_swallowed(bank: Bank, swallow: bool) -> None:
    one = bank.open("a")
    before = bank.counts()

    def work(transaction: Transaction) -> None:
        transaction.execute(Deposit(account_id=one, amount=5))
        with suppress(GuardRejected) if swallow else nullcontext():
            transaction.execute(Close(account_id=one))
        transaction.execute(Deposit(account_id=one, amount=-5))

    with pytest.raises(GuardRejected):
        bank.runtime.transaction(work)
    assert {**bank.counts(), "attempt": 0} == before
    assert bank.account(one).balance == 0


def test_the_transactions_own_work_may_not_end_it(bank: Bank) -> None:
    def work(transaction: Transaction) -> None:
        transaction.session.commit()

    with pytest.raises(TransactionEnded):
        bank.runtime.transaction(work)


def test_the_same_key_replays_the_whole(bank: Bank) -> None:
    one = bank.open("a")
    replayed: list[bool] = []

    def work(transaction: Transaction) -> None:
        replayed.extend(transaction.run(Deposit(account_id=one, amount=5), actor=ADA).replayed for _ in range(2))

    for _ in range(2):
        bank.runtime.transaction(work, idempotency_key="t")
    assert replayed == [False, False, True, True]
    assert bank.account(one).balance == 10


def test_whatever_statement_of_a_transaction_fails_nothing_is_left(bank: Bank) -> None:
    one, other = bank.open("a"), bank.open("b")
    bank.runtime.check()
    before = bank.counts()
    failures = FailAt(bank.wire)

    def work(transaction: Transaction) -> None:
        transaction.execute(Deposit(account_id=one, amount=-5))
        transaction.execute(Deposit(account_id=other, amount=5))

    n = 0
    for n in range(1, 60):
        failures.countdown = n
        try:
            bank.runtime.transaction(work)
        except MemoryError:
            assert {**bank.counts(), "attempt": 0} == before
        else:
            break
    failures.countdown = None
    assert n > 8
    assert [bank.account(each).balance for each in (one, other)] == [-5, 5]


@on_postgres
@pytest.mark.parametrize("applied", [False, True])
def test_a_commit_whose_answer_is_lost_is_resolved_for_the_whole(bank: Bank, applied: bool) -> None:
    one, other = bank.open("a"), bank.open("b")

    def work(transaction: Transaction) -> None:
        transaction.execute(Deposit(account_id=one, amount=-5))
        transaction.execute(Deposit(account_id=other, amount=5))

    CutAtCommit(bank.wire, applied=applied)
    bank.runtime.transaction(work)
    assert [bank.account(each).balance for each in (one, other)] == [-5, 5]


def test_a_use_case_runs_another_inside_with_the_whole_shell(bank: Bank) -> None:
    outcome = bank.runtime.run(OpenWith(owner="x", amount=5), actor=ADA, idempotency_key="k")
    account_id: UUID = outcome.result.account_id
    assert outcome.result.balance == 5
    trail = bank.rows("audit")
    assert sorted((entry.use_case, entry.version) for entry in trail) == [("MakeDeposit", 2), ("OpenWithDeposit", 1)]
    inner = next(entry for entry in trail if entry.use_case == "MakeDeposit")
    assert (inner.actor, inner.causation_id) == ("user:ada", str(outcome.command_id))
    assert bank.account(account_id).version == 2
    assert bank.runtime.run(OpenWith(owner="x", amount=5), actor=ADA, idempotency_key="k").replayed
    assert len(bank.rows("audit")) == 2


@pytest.mark.parametrize("swallow", [False, True])
def test_an_inner_failure_fails_the_outer_even_if_swallowed(bank: Bank, swallow: bool) -> None:
    before = bank.counts()
    with pytest.raises(GuardRejected):
        bank.runtime.execute(OpenWith(owner="x", amount=5, then_close=True, swallow=swallow), actor=ADA)
    assert {**bank.counts(), "attempt": 0} == before


@on_postgres
def test_a_row_that_was_read_before_is_decided_on_as_it_is_when_locked(bank: Bank) -> None:
    account_id = bank.open()
    other = Bank(bank.engine, Runtime(bank.engine, application(), clock=lambda: NOON))

    def work(transaction: Transaction) -> int:
        seen = transaction.session.get_one(Account, account_id)  # referred to, so that the session keeps it
        before = seen.balance
        if bank.account(account_id).version == 1:
            other.runtime.execute(Deposit(account_id=account_id, amount=7))
        after = transaction.execute(Deposit(account_id=account_id, amount=1)).balance
        assert seen.balance == after
        return after - before

    assert bank.runtime.transaction(work) == 8
    assert (bank.account(account_id).balance, bank.account(account_id).version) == (8, 3)


class Twice(Command[Done]):
    account_id: AccountId


class DepositTwice(UseCase[Twice, Account, Done]):
    trigger = "deposit"

    def apply(self, command: Twice, account: Account, context: ExecutionContext, /) -> Done:
        context.execute(Deposit(account_id=account.id, amount=5))
        return done(account)


def test_a_command_inside_may_not_take_what_the_outer_one_has_in_hand(bank_with: BankWith) -> None:
    bank = bank_with(application(DepositTwice))
    account_id = bank.open()
    with pytest.raises(ContractViolation, match="has the same Account in hand"):
        bank.runtime.execute(Twice(account_id=account_id))
    assert bank.account(account_id).version == 1


def test_an_inner_command_is_checked_like_any_other(bank: Bank) -> None:
    account_id = bank.open()
    bank.runtime.execute(Freeze(account_id=account_id), reason="x")

    def work(transaction: Transaction) -> None:
        transaction.execute(Deposit(account_id=account_id, amount=5))

    with pytest.raises(TransitionNotAllowed):
        bank.runtime.transaction(work)
    assert bank.rows("attempt")[0].code == "transition_not_allowed"
