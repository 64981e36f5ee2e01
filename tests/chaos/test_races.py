"""Commands that race: for one key, one row, several rows, and in every order that the locks allow."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from tests.accounts import ADA, Account, Close, Deposit, Done, Freeze, MakeDeposit, Open, Ping, SetPin, application, deposit_doing
from tests.bank import Bank, on_postgres
from tests.chaos.history import Operation, is_linearizable
from tests.chaos.schedule import Runner, is_waiting_for_a_lock
from tests.chaos.soundness import assert_sound
from tests.chaos.tally import LONG, Tally, rounds, seeded
from tests.integration.test_several import Transfer, TransferMoney
from usecasecore import Command, ExecutionContext, Limits, Outcome, Rejected
from usecasecore.errors import AggregateBusy, Conflict
from usecasecore.steps import watch

BankWith = Callable[..., Bank]
PATIENT = Limits(lock_timeout=timedelta(seconds=60), busy_timeout=timedelta(seconds=60))


def at_once(count: int, act: Callable[[int], Any]) -> list[Any]:
    """Do it so many times at the same moment; return what came of each, errors included."""
    gate = threading.Barrier(count)

    def one(number: int) -> Any:
        gate.wait(30)
        try:
            return act(number)
        except Exception as error:  # noqa: BLE001 - it is what came of it
            return error

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"], indirect=True)
def test_duplicates_whose_winner_rolls_back_have_exactly_one_other_winner(bank_with: BankWith, tally: Tally) -> None:
    lock = threading.Lock()
    tries: list[int] = []

    def fail_once(command: Deposit, account: Account, context: ExecutionContext) -> None:
        with lock:
            tries.append(1)
            first = len(tries) == 1
        account.balance += command.amount
        if first:
            raise ValueError("on purpose")

    bank = bank_with(application(deposit_doing(fail_once), instead_of=MakeDeposit), PATIENT)
    bank.runtime.check()
    for number in range(rounds(5, 300)):
        tries.clear()
        account_id = bank.open(f"{number}")
        command = Deposit(account_id=account_id, amount=5)
        run = partial(bank.runtime.run, command, actor=ADA, idempotency_key=f"k{number}")
        came = at_once(8, lambda _, run=run: run())  # type: ignore[misc]  # mypy infers no type for it
        tally.faults += 1
        done = [one for one in came if isinstance(one, Outcome)]
        assert len([one for one in came if isinstance(one, ValueError)]) == 1
        assert sorted(one.replayed for one in done) == [False] + [True] * 6
        assert len({one.result.model_dump_json() for one in done}) == 1
        tally.duplicated += bank.account(account_id).balance != 5
    tally.assert_clean()


@on_postgres
def test_a_storm_of_transfers_between_ten_accounts_has_no_deadlock(bank_with: BankWith, tally: Tally) -> None:
    seed, numbers = seeded()
    bank = bank_with(application(TransferMoney), Limits(lock_timeout=timedelta(seconds=60), retries=0))
    accounts = [bank.open(f"{number}") for number in range(10)]
    each = rounds(15, 3000)
    plans = [[numbers.sample(accounts, 2) for _ in range(each)] for _ in range(16)]

    def client(number: int) -> int:
        for source, target in plans[number]:
            bank.runtime.execute(Transfer(source_id=source, target_id=target, amount=1), actor=ADA)
        return each

    came = at_once(16, client)
    assert came == [each] * 16, f"seed {seed}: {[one for one in came if one != each][:1]}"
    tally.faults += 16 * each
    with bank.engine.connect() as connection:
        assert connection.execute(text("select sum(balance) from accounts")).scalar_one() == 0
        found = connection.execute(text("select count(*) from usecasecore_audit where use_case = 'TransferMoney'")).scalar_one()
        versions = connection.execute(text("select sum(version - 1) from accounts")).scalar_one()
    assert found == versions == 2 * 16 * each
    tally.assert_clean()


@on_postgres
def test_conflicts_that_the_database_forces_end_in_one_effect_or_a_typed_error(bank_with: BankWith, tally: Tally) -> None:
    seed, numbers = seeded()
    left: dict[UUID, int] = {}

    def force(command: Deposit, account: Account, context: ExecutionContext) -> None:
        account.balance += command.amount
        if left.get(account.id, 0) > 0:
            left[account.id] -= 1
            state = numbers.choice(["40001", "40P01"])
            context.session.execute(text(f"do $$ begin raise exception 'forced' using errcode = '{state}'; end $$"))

    quick = Limits(backoff=timedelta(milliseconds=1))
    bank = bank_with(application(deposit_doing(force), instead_of=MakeDeposit), quick)
    for number in range(rounds(20, 1000)):
        account_id = bank.open(f"{number}")
        times = left[account_id] = number % 7
        try:
            bank.runtime.execute(Deposit(account_id=account_id, amount=5), actor=ADA)
            done = True
        except Conflict:
            done = False
        assert done is (times <= 4), f"seed {seed}"
        tally.faults += times
        balance = bank.account(account_id).balance
        tally.lost += done and balance == 0
        tally.duplicated += balance > 5 * done
    tally.assert_clean()


@pytest.mark.parametrize("kind", ["sqlite", "postgresql", "asyncpg"], indirect=True)
def test_fifty_writers_on_one_account_lose_nothing_and_their_history_is_linearizable(bank_with: BankWith, tally: Tally) -> None:
    bank = bank_with(application(), PATIENT)
    account_id = bank.open()
    each = rounds(4, 200)
    history: list[Operation] = []

    def client(number: int) -> None:
        for turn in range(each):
            amount = 1 + (number + turn) % 3
            called = time.monotonic()
            balance = bank.runtime.execute(Deposit(account_id=account_id, amount=amount), actor=ADA).balance
            history.append(Operation(called, time.monotonic(), amount, balance))

    assert at_once(50, client) == [None] * 50
    tally.faults += 50 * each
    row = bank.account(account_id)
    assert row.version == 1 + 50 * each == len(bank.rows("audit"))
    tally.lost += row.balance != sum(one.amount for one in history)
    assert is_linearizable(history)
    assert_sound(bank.engine)
    tally.assert_clean()


@pytest.mark.parametrize(
    ("history", "fits"),
    [
        pytest.param([Operation(0, 1, 1, 1), Operation(2, 3, 1, 2)], True, id="one after the other"),
        pytest.param([Operation(0, 3, 1, 2), Operation(1, 2, 1, 1)], True, id="overlapping, the inner one first"),
        pytest.param([Operation(0, 1, 1, 2), Operation(2, 3, 1, 1)], False, id="against real time"),
        pytest.param([Operation(0, 3, 1, 1), Operation(1, 2, 1, 1)], False, id="a lost update"),
        pytest.param([Operation(0, 1, 5, 5), Operation(2, 3, 1, 1)], False, id="a stale read"),
        pytest.param([Operation(0, 9, 1, 3), Operation(1, 8, 1, 1), Operation(2, 7, 1, 2)], True, id="three at once"),
        pytest.param([Operation(0, 1, 1, None), Operation(2, 3, 1, 1)], True, id="a refusal changes nothing"),
    ],
)
def test_the_checker_of_histories_has_teeth(history: list[Operation], fits: bool) -> None:
    assert is_linearizable(history) is fits


@on_postgres
def test_whoever_waits_for_a_stalled_lock_is_told_in_time_and_leaves_no_connection(bank_with: BankWith, tally: Tally) -> None:
    bank = bank_with(application(), Limits(lock_timeout=timedelta(seconds=0.3)))
    account_id = bank.open()
    with bank.engine.connect() as holder:
        holder.execute(text("update accounts set balance = balance"))
        began = time.monotonic()
        came = at_once(30, lambda _: bank.runtime.execute(Deposit(account_id=account_id, amount=1), actor=ADA))
        waited = time.monotonic() - began
        holder.rollback()
    tally.faults += 30
    tally.untyped += sum(not isinstance(one, AggregateBusy) for one in came)
    assert waited < 30 * 0.3  # they wait side by side, not one after the other
    assert bank.runtime.execute(Deposit(account_id=account_id, amount=1)).balance == 1
    assert bank.wire.pool.checkedout() == 0  # type: ignore[attr-defined]  # of a QueuePool
    tally.assert_clean()


PAIRS: dict[str, tuple[Callable[[UUID], Command[Any]], Callable[[UUID], Command[Any]], str | None]] = {
    "two deposits": (lambda one: Deposit(account_id=one, amount=1), lambda one: Deposit(account_id=one, amount=2), None),
    "duplicates": (lambda one: Deposit(account_id=one, amount=1), lambda one: Deposit(account_id=one, amount=1), "k"),
    "deposit and close": (lambda one: Deposit(account_id=one, amount=1), lambda one: Close(account_id=one), None),
    "pin and freeze": (lambda one: SetPin(account_id=one, pin="1"), lambda one: Freeze(account_id=one), None),
    "duplicates that create": (lambda one: Open(owner=f"of {one}"), lambda one: Open(owner=f"of {one}"), "k"),
    "duplicates that load nothing": (lambda _: Ping(owner="x"), lambda _: Ping(owner="x"), "k"),
}


@pytest.mark.long
@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
@pytest.mark.parametrize("pair", sorted(PAIRS))
def test_every_order_of_two_commands_that_the_locks_allow_is_that_of_one_after_the_other(bank_with: BankWith, pair: str) -> None:
    """Both commands are stopped: the first at its i-th point, there the second goes to its j-th or as far as the locks let it."""
    bank = bank_with(application(), PATIENT)
    bank.runtime.check()
    # Beyond the lock the second one gets nowhere: up to there is enough for the suite, `make chaos` tries them all.
    for stop_other in range(rounds(8, 24)):
        stop_one = 0
        while _run_both(bank, pair, stop_one, stop_other):
            stop_one += 1 if LONG or stop_other == 0 else 3
        assert stop_one > 15
    assert_sound(bank.engine)


def _run_both(bank: Bank, pair: str, stop_one: int, stop_other: int) -> bool:
    """Return whether the first one was stopped before its end."""
    make_one, make_other, key = PAIRS[pair]
    name = f"{stop_one} {stop_other}"
    account_id = bank.open(name)
    run = partial(bank.runtime.run, actor=ADA, reason="x", idempotency_key=f"{key} {name}" if key else None)
    one, other = Runner(partial(run, make_one(account_id))), Runner(partial(run, make_other(account_id)))
    with watch(one.watch), watch(other.watch):
        one.start()
        stopped = one.advance(stop_one)
        other.start()
        other.advance(stop_other, lambda: is_waiting_for_a_lock(bank.engine))
        one.let_go()
        if stop_other:
            # Where the second one holds the lock already, the first one waits for it.
            one.settle(lambda: is_waiting_for_a_lock(bank.engine))
        other.let_go()
        came = [one.join(), other.join()]
    _as_if_one_after_the_other(bank, account_id, pair, came)
    return stopped


def _as_if_one_after_the_other(bank: Bank, account_id: UUID, pair: str, came: list[Any]) -> None:
    row = bank.account(account_id)
    outcomes = [one for one in came if isinstance(one, Outcome)]
    if pair.startswith("duplicates"):
        assert sorted(one.replayed for one in outcomes) == [False, True], came
        assert outcomes[0].command_id == outcomes[1].command_id
    if pair == "two deposits":
        results: list[Done] = [one.result for one in outcomes]
        assert {one.balance for one in results} in ({1, 3}, {2, 3})
        assert (row.balance, row.version) == (3, 3)
    if pair == "deposit and close":
        # Either the deposit was first, and the account isn't empty; or the close, and it takes no deposit.
        assert len(outcomes) == 1
        assert (row.state, row.balance) in (("open", 1), ("closed", 0))
        assert isinstance(next(one for one in came if one is not outcomes[0]), Rejected)
    if pair == "pin and freeze":
        assert (row.pin, row.state, row.version, len(outcomes)) == ("1", "frozen", 3, 2)
