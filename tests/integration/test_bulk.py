"""Many commands of one use case: each decided as a single one is, and recorded as a single one is."""

from __future__ import annotations

import gc
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Engine, Text, cast, create_engine, event, func, insert, select
from sqlalchemy.exc import OperationalError

from tests import shop
from tests.accounts import (
    ADA,
    NOON,
    Account,
    AccountState,
    Base,
    ChangePin,
    Close,
    Deposit,
    Flip,
    FlipAccount,
    Freeze,
    FreezeAccount,
    LimitReached,
    MakeDeposit,
    Open,
    Ping,
    Posting,
    SetPin,
    application,
    deposit_doing,
)
from tests.bank import Bank, MakeRuntime
from tests.postgres import create_database, drop_database
from usecasecore import (
    Actor,
    Application,
    Command,
    ExecutionContext,
    Limits,
    Outcome,
    Policy,
    PolicyRequest,
    Runtime,
    Tenancy,
    steps,
)
from usecasecore.adoption import adopt, rows_of
from usecasecore.context import FiredTransition
from usecasecore.errors import (
    AggregateBusy,
    AggregateNotFound,
    ConstraintViolated,
    DefinitionError,
    Forbidden,
    GuardRejected,
    IdempotencyKeyReused,
    InvalidCommand,
    Rejected,
    TransitionNotAllowed,
)
from usecasecore.ledger import ledger_tables
from usecasecore.ledger.transitions import event_payload
from usecasecore.runtime.batch import Batch
from usecasecore.runtime.bulk import LARGEST_BATCH
from usecasecore.runtime.plan import id_text
from usecasecore.runtime.selection import Progress
from usecasecore.steps import Firing, Moment, Step, When, watch
from usecasecore.testing import Crashed, fail
from usecasecore.verification import verify

POSTGRES = [pytest.param(kind, marks=pytest.mark.postgresql) for kind in ("postgresql", "asyncpg")]
ACCOUNTS = Base.metadata.tables["accounts"]
MakeBank = Callable[..., Bank]


@pytest.fixture(params=[pytest.param("sqlite", marks=pytest.mark.sqlite), *POSTGRES])
def kind(request: pytest.FixtureRequest) -> str:
    """Both databases, and one of the asynchronous drivers: the batch is the same for all of them."""
    name: str = request.param
    return name


def accounts(bank: Bank, number: int, **values: Any) -> list[UUID]:
    ids = sorted((uuid4() for _ in range(number)), key=str)
    rows = [
        {"id": one, "owner": f"{place}-{one}"[:50], "balance": 0, "state": "open", "version": 1, **values}
        for place, one in enumerate(ids)
    ]
    with bank.engine.begin() as connection:
        connection.execute(insert(ACCOUNTS), rows)
    return ids


class Commits:
    """Counts the transactions of commands, as it is told their steps."""

    def __init__(self) -> None:
        self.number = 0
        self.begun = 0

    def __call__(self, moment: Moment) -> None:
        self.begun += moment.step is Step.BEGIN and moment.when is When.BEFORE
        self.number += moment.step is Step.COMMIT and moment.when is When.BEFORE


TRANSACTIONS = (Step.BEGIN, Step.COMMIT)


def codes(results: list[Any]) -> list[str]:
    return ["done" if isinstance(one, Outcome) else one.code for one in results]


def depositing(act: Callable[[Deposit, Account, ExecutionContext], Any]) -> Application:
    return application(deposit_doing(act), instead_of=MakeDeposit)


def deposits(ids: list[UUID], amounts: list[int]) -> Iterator[Deposit]:
    return (Deposit(account_id=one, amount=amount) for one, amount in zip(ids, amounts, strict=True))


def balances(bank: Bank, ids: list[UUID]) -> list[int]:
    return [bank.account(one).balance for one in ids]


def add(account: Account, amount: int) -> None:
    account.balance += amount


def by_account(command: Any) -> str:
    return f"run/{command.account_id}"


def test_commands_share_a_transaction_and_answer_in_their_order(bank: Bank) -> None:
    ids = accounts(bank, 25)
    commits = Commits()
    with watch(commits, only=TRANSACTIONS):
        results = list(bank.runtime.execute_many([Flip(account_id=one) for one in reversed(ids)], batch=10))
    assert [one.result.account_id for one in results] == list(reversed(ids))
    assert all(one.result.state == "frozen" and one.version == 2 and not one.replayed for one in results)
    assert commits.number == 3
    assert all(bank.account(one).state == AccountState.FROZEN and bank.account(one).version == 2 for one in ids)
    counts = bank.counts()
    assert (counts["idempotency"], counts["audit"], counts["outbox"]) == (25, 25, 25)


def test_a_batch_is_gone_when_it_is_done_without_the_garbage_collector(bank: Bank) -> None:
    ids = accounts(bank, 3)

    def kept() -> int:
        return sum(isinstance(one, Batch | Deposit) for one in gc.get_objects())

    gc.collect()
    gc.disable()
    try:
        before = kept()
        assert codes(list(bank.runtime.execute_many(deposits(ids, [1, 2, 3])))) == ["done"] * 3
        assert kept() == before
    finally:
        gc.enable()


def test_nothing_runs_before_the_results_are_asked_for_and_no_more_than_asked_for(bank: Bank) -> None:
    ids = accounts(bank, 9)
    taken = []

    def commands() -> Iterator[Flip]:
        for one in ids:
            taken.append(one)
            yield Flip(account_id=one)

    results = bank.runtime.execute_many(commands(), batch=3)
    assert not taken
    next(results)
    assert len(taken) == 3
    assert bank.counts()["audit"] == 3


def test_a_refusal_is_its_commands_result_and_leaves_nothing_of_it(bank: Bank) -> None:
    first, frozen, last = accounts(bank, 3)
    bank.runtime.execute(Freeze(account_id=frozen), reason="x")
    commits = Commits()
    with watch(commits, only=TRANSACTIONS):
        results = list(
            bank.runtime.execute_many([Freeze(account_id=one) for one in (first, frozen, last)], reason="x", actor=ADA)
        )
    assert isinstance(results[0], Outcome)
    assert isinstance(results[1], TransitionNotAllowed)
    assert results[1].version == 2
    assert isinstance(results[2], Outcome)
    assert commits.number == 1
    assert bank.account(frozen).version == 2
    (attempt,) = bank.rows("attempt")
    assert (attempt.code, attempt.aggregate_id, attempt.version) == ("transition_not_allowed", str(frozen), 2)
    assert attempt.command_id == results[1].command_id


def test_what_apply_changed_before_it_refused_is_not_flushed(bank_with: MakeBank) -> None:
    def refuse_some(command: Deposit, account: Account, _context: ExecutionContext) -> None:
        account.balance += command.amount
        account.owner = f"taken {command.amount}"
        if command.amount > 5:
            raise LimitReached(limit=5)

    bank = bank_with(depositing(refuse_some))
    ids = accounts(bank, 4)
    commits = Commits()
    with watch(commits, only=TRANSACTIONS):
        results = list(bank.runtime.execute_many(deposits(ids, [1, 9, 2, 8])))
    assert codes(results) == ["done", LimitReached.code, "done", LimitReached.code]
    assert balances(bank, ids) == [1, 0, 2, 0]
    assert [bank.account(one).version for one in ids] == [2, 1, 2, 1]
    assert commits.number == 1
    # Where transitions are watched, as by their coverage, a refused command is decided alone.
    assert Firing in steps.wanted or commits.begun == 1


def test_what_apply_added_before_it_refused_is_not_there(bank_with: MakeBank) -> None:
    def post(command: Deposit, account: Account, context: ExecutionContext) -> None:
        account.balance += command.amount
        context.session.add(Posting(account_id=account.id, amount=command.amount))
        if command.amount > 5:
            raise LimitReached(limit=5)

    bank = bank_with(depositing(post))
    ids = accounts(bank, 4)
    commits = Commits()
    with watch(commits, only=TRANSACTIONS):
        results = list(bank.runtime.execute_many(deposits(ids, [1, 9, 2, 3])))
    assert codes(results) == ["done", LimitReached.code, "done", "done"]
    assert balances(bank, ids) == [1, 0, 2, 3]
    with bank.engine.connect() as connection:
        assert sorted(connection.scalars(select(Posting.amount))) == [1, 2, 3]
    assert commits.number == 1  # the refused one was decided alone, and there was nothing to commit
    assert [one.code for one in bank.rows("attempt")] == [LimitReached.code]


def test_a_change_of_another_aggregate_of_the_batch_is_undone_with_the_refusal(bank_with: MakeBank) -> None:
    first: list[UUID] = []

    def meddle(command: Deposit, account: Account, context: ExecutionContext) -> None:
        account.balance += command.amount
        if command.amount > 5:
            other = next(one for one in context.session if isinstance(one, Account) and one.id == first[0])
            other.balance = 1_000
            raise LimitReached(limit=5)

    bank = bank_with(depositing(lambda command, account, context: _unless_alone(meddle, command, account, context)))
    ids = accounts(bank, 3)
    first.append(ids[0])
    assert codes(list(bank.runtime.execute_many(deposits(ids, [1, 9, 2])))) == ["done", LimitReached.code, "done"]
    assert balances(bank, ids) == [1, 0, 2]


def _unless_alone(act: Callable[..., Any], command: Deposit, account: Account, context: ExecutionContext) -> None:
    if len([one for one in context.session if isinstance(one, Account)]) > 1:
        act(command, account, context)
    elif command.amount > 5:
        raise LimitReached(limit=5)
    else:
        account.balance += command.amount


def test_code_that_asks_the_database_sees_what_the_commands_before_it_did(bank_with: MakeBank) -> None:
    def sum_up(command: Deposit, account: Account, context: ExecutionContext) -> None:
        total = context.session.scalar(select(func.sum(Account.balance))) or 0
        if total + command.amount > 10:
            raise LimitReached(limit=10)
        account.balance += command.amount

    bank = bank_with(depositing(sum_up))
    ids = accounts(bank, 4)
    commits = Commits()
    with watch(commits, only=TRANSACTIONS):
        results = list(bank.runtime.execute_many(deposits(ids, [6, 6, 4, 1])))
    assert codes(results) == ["done", LimitReached.code, "done", LimitReached.code]
    assert balances(bank, ids) == [6, 0, 4, 0]
    assert commits.number == 2


def test_a_savepoint_of_apply_is_its_commands_own(bank_with: MakeBank) -> None:
    def half_undone(command: Deposit, account: Account, context: ExecutionContext) -> None:
        with context.session.begin_nested() as nested:
            account.balance += 100
            context.session.flush()
            nested.rollback()
        account.balance += command.amount

    bank = bank_with(application(deposit_doing(half_undone), instead_of=MakeDeposit))
    ids = accounts(bank, 4)
    results = list(bank.runtime.execute_many([Deposit(account_id=one, amount=n) for n, one in enumerate(ids, 1)], batch=4))
    assert codes(results) == ["done"] * 4
    assert [bank.account(one).balance for one in ids] == [1, 2, 3, 4]
    assert [bank.account(one).version for one in ids] == [2] * 4


def test_code_that_asks_the_database_is_noticed_even_where_it_swallows_the_error(bank_with: MakeBank) -> None:
    def nest(command: Deposit, account: Account, context: ExecutionContext) -> None:
        try:
            context.execute(Ping(owner="x"))
        except Exception:  # noqa: BLE001 - as user code does
            account.pin = "swallowed"
        account.balance += command.amount

    bank = bank_with(depositing(nest))
    ids = accounts(bank, 3)
    assert codes(list(bank.runtime.execute_many(deposits(ids, [1, 2, 3])))) == ["done"] * 3
    assert {bank.account(one).pin for one in ids} == {None}
    assert [one.use_case for one in bank.rows("audit")].count("PingOwner") == 3


def test_a_second_command_on_the_same_aggregate_starts_from_what_the_first_one_left(bank_with: MakeBank) -> None:
    bank = bank_with(depositing(lambda command, account, _: add(account, command.amount)))
    one, other = accounts(bank, 2)
    commits = Commits()
    with watch(commits, only=TRANSACTIONS):
        results = list(bank.runtime.execute_many(deposits([one, other, one, one], [1, 2, 4, 8])))
    assert commits.number == 3
    assert [(each.result.balance, each.version) for each in results] == [(1, 2), (2, 2), (5, 3), (13, 4)]


def test_a_second_command_under_the_same_key_is_a_replay_or_refused(bank: Bank) -> None:
    one, other = accounts(bank, 2)
    results = list(
        bank.runtime.execute_many([Flip(account_id=one), Flip(account_id=one), Flip(account_id=other)], key_of=lambda _: "k")
    )
    assert [results[0].replayed, results[1].replayed] == [False, True]
    assert isinstance(results[2], IdempotencyKeyReused)
    assert bank.account(one).version == 2
    assert bank.account(other).version == 1


def test_a_second_run_under_the_same_keys_replays_what_is_done_and_does_the_rest(bank: Bank) -> None:
    ids = accounts(bank, 7)
    commands = [Flip(account_id=one) for one in ids]
    results = bank.runtime.execute_many(commands, key_of=by_account, batch=3)
    first = [next(results) for _ in range(4)]
    again = list(bank.runtime.execute_many(commands, key_of=by_account, batch=5))
    assert [one.replayed for one in again] == [True] * 6 + [False]
    assert [one.result for one in again[:4]] == [one.result for one in first]
    assert bank.counts()["audit"] == 7


def test_each_kind_of_answer_stands_at_its_place(bank_with: MakeBank) -> None:
    class NotNine(Policy):
        def permitted(self, request: PolicyRequest, /) -> bool:
            return bool(request.aggregate.balance != 9)

    bank = bank_with(application(policy=NotNine()))
    fine, full = accounts(bank, 1)[0], accounts(bank, 1, balance=5)[0]
    secret, closed = accounts(bank, 1, balance=9)[0], accounts(bank, 1, state="closed")[0]
    order = [fine, full, uuid4(), secret, closed, *accounts(bank, 1)]
    results = list(bank.runtime.execute_many([Close(account_id=one) for one in order]))
    kinds: list[Any] = [Outcome, GuardRejected, AggregateNotFound, Forbidden, TransitionNotAllowed, Outcome]
    assert [type(one) for one in results] == kinds
    assert sorted(one.code for one in bank.rows("attempt")) == sorted(kind.code for kind in kinds if kind is not Outcome)
    assert bank.counts()["audit"] == 2


def test_an_invalid_command_is_refused_and_not_sent(bank: Bank) -> None:
    first, second = accounts(bank, 2)
    commands = [Freeze(account_id=first), Freeze.model_construct(), Freeze(account_id=second)]
    results = list(bank.runtime.execute_many(commands, reason="x", batch=2))
    assert [type(one) for one in results] == [Outcome, InvalidCommand, Outcome]


def test_a_row_that_breaks_a_constraint_spoils_only_its_own_command(bank_with: MakeBank) -> None:
    def rename(command: Deposit, account: Account, _context: ExecutionContext) -> None:
        account.owner = f"owner {command.amount}"

    bank = bank_with(depositing(rename))
    ids = accounts(bank, 3)
    results = list(bank.runtime.execute_many(deposits(ids, [1, 1, 2])))
    assert [type(one) for one in results] == [Outcome, ConstraintViolated, Outcome]
    assert [bank.account(one).owner for one in (ids[0], ids[2])] == ["owner 1", "owner 2"]


def test_a_defect_of_user_code_ends_the_run_with_whole_batches(bank_with: MakeBank) -> None:
    def crash(command: Deposit, account: Account, _context: ExecutionContext) -> None:
        account.balance += command.amount
        if command.amount == 4:
            raise ZeroDivisionError

    bank = bank_with(depositing(crash))
    ids = accounts(bank, 6)
    with pytest.raises(ZeroDivisionError):
        list(bank.runtime.execute_many(deposits(ids, [1, 2, 3, 4, 5, 6]), batch=2))
    assert balances(bank, ids) == [1, 2, 0, 0, 0, 0]
    (attempt,) = bank.rows("attempt")
    assert (attempt.outcome, attempt.code, attempt.aggregate_id) == ("failed", "ZeroDivisionError", str(ids[3]))


def test_a_use_case_that_can_not_share_a_transaction_works_command_by_command(bank: Bank) -> None:
    commits = Commits()
    with watch(commits, only=TRANSACTIONS):
        results = list(bank.runtime.execute_many([Open(owner=f"owner {number}") for number in range(3)]))
    assert codes(results) == ["done"] * 3
    assert commits.number == 3


def test_commands_of_two_types_are_no_run(bank: Bank) -> None:
    (one,) = accounts(bank, 1)
    with pytest.raises(TypeError, match="a Freeze among commands of the type Flip"):
        list(bank.runtime.execute_many([Flip(account_id=one), Freeze(account_id=one)], reason="x"))


@pytest.mark.parametrize("size", [0, LARGEST_BATCH + 1])
def test_a_batch_of_another_size_is_refused_before_anything_runs(bank: Bank, size: int) -> None:
    with pytest.raises(ValueError, match=r"1 to 5000 are accepted"):
        next(iter(bank.runtime.execute_many([], batch=size)))


# What races, and what breaks


@pytest.mark.parametrize("kind", POSTGRES, indirect=True)
def test_a_locked_row_is_busy_at_once_or_after_the_wait(bank_with: MakeBank) -> None:
    bank = bank_with(application(), limits=Limits(lock_timeout=timedelta(milliseconds=200)))
    ids = accounts(bank, 3)
    for skip_locked in (True, False):
        commits = Commits()
        with bank.engine.begin() as connection, watch(commits, only=TRANSACTIONS):
            connection.execute(select(ACCOUNTS).where(ACCOUNTS.c.id == ids[1]).with_for_update())
            results = list(bank.runtime.execute_many([Flip(account_id=one) for one in ids], skip_locked=skip_locked))
        assert [type(one) for one in results] == [Outcome, AggregateBusy, Outcome]
        assert commits.number == 1
        assert results[1].waited == (0 if skip_locked else 0.2)
    assert [bank.account(one).version for one in ids] == [3, 1, 3]


@pytest.mark.parametrize("kind", POSTGRES, indirect=True)
def test_rows_are_locked_in_one_order_whatever_the_order_of_the_commands(bank: Bank) -> None:
    ids = accounts(bank, 6)
    seen: list[str] = []
    event.listen(bank.wire, "before_cursor_execute", lambda *said: seen.append(str(said[3])) if "FOR NO KEY" in said[2] else None)
    list(bank.runtime.execute_many([Flip(account_id=one) for one in ids]))
    list(bank.runtime.execute_many([Flip(account_id=one) for one in reversed(ids)]))
    assert len(seen) == 2
    assert seen[0] == seen[1]
    places = [seen[0].index(str(one)) for one in sorted(ids, key=str)]
    assert places == sorted(places)  # that of commands on several aggregates


@pytest.mark.parametrize("kind", POSTGRES, indirect=True)
def test_the_number_of_statements_does_not_grow_with_the_batch(bank: Bank) -> None:
    sent: list[str] = []
    list(bank.runtime.execute_many([Flip(account_id=one) for one in accounts(bank, 2)]))  # checks the database first
    event.listen(bank.wire, "before_cursor_execute", lambda *said: sent.append(said[2]))
    numbers = []
    for size in (2, 40):
        ids = accounts(bank, size)
        sent.clear()
        list(bank.runtime.execute_many([Flip(account_id=one) for one in ids], key_of=by_account))
        numbers.append(len([one for one in sent if "INSERT INTO accounts" not in one]))
    assert numbers == [5, 5]  # began and lock timeout, lock, keys, the UPDATEs as one executemany, the ledger


@pytest.mark.parametrize("kind", POSTGRES, indirect=True)
def test_a_key_that_is_taken_meanwhile_is_not_used_twice(bank: Bank) -> None:
    ids, (elsewhere,) = accounts(bank, 3), accounts(bank, 1)
    rival = Runtime(bank.engine, application())
    taken: list[Any] = []

    def take(_moment: Moment) -> None:
        if not taken:
            taken.append(ids[1])
            rival.execute(Flip(account_id=elsewhere), idempotency_key=f"run/{ids[1]}")

    with fail(Step.FLUSH, When.BEFORE, take, times=1):
        results = list(bank.runtime.execute_many([Flip(account_id=one) for one in ids], key_of=by_account))
    assert [type(one) for one in results] == [Outcome, IdempotencyKeyReused, Outcome]
    assert [bank.account(one).version for one in [*ids, elsewhere]] == [2, 1, 2, 2]


def test_rows_of_another_tenant_are_not_there(engine: Engine, make_runtime: MakeRuntime) -> None:
    bank = Bank(engine, make_runtime(application(), clock=lambda: NOON, tenancy=Tenancy("owner")))
    mine, others = accounts(bank, 2)
    ours = Actor("user", "ada", tenant=bank.account(mine).owner)
    results = list(bank.runtime.execute_many([Flip(account_id=one) for one in (mine, others)], actor=ours))
    assert [type(one) for one in results] == [Outcome, AggregateNotFound]
    assert bank.account(others).version == 1
    assert bank.runtime.transition_where(FlipAccount, actor=ours).selected == 1


class _Deadlock(Exception):
    sqlstate = "40P01"


def test_a_deadlock_starts_the_batch_anew(bank: Bank) -> None:
    ids = accounts(bank, 4)
    failure = OperationalError("update", {}, _Deadlock())
    with fail(Step.FLUSH, When.BEFORE, failure, times=2) as point:
        results = list(bank.runtime.execute_many([Flip(account_id=one) for one in ids], batch=2))
    assert point.hits == 2
    assert codes(results) == ["done"] * 4
    assert [bank.account(one).version for one in ids] == [2] * 4


POINTS = [(step, when) for step in Step if step not in (Step.VALIDATE, Step.ROLLBACK) for when in (When.BEFORE, When.AFTER)]


def test_a_crash_at_any_step_leaves_whole_batches_and_the_next_run_goes_on(bank: Bank) -> None:
    for step, when in POINTS:
        ids = accounts(bank, 4)
        begin_trails(bank.engine)
        commands = [Flip(account_id=one) for one in ids]
        done: list[Any] = []
        with pytest.raises(Crashed), fail(step, when, _in_the_second_batch(step, when), times=None):
            done.extend(bank.runtime.execute_many(commands, key_of=by_account, batch=2))
        committed = 4 if (step, when) == (Step.COMMIT, When.AFTER) else 2
        assert [bank.account(one).version for one in ids] == [2] * committed + [1] * (4 - committed), (step, when)
        again = list(bank.runtime.execute_many(commands, key_of=by_account, batch=3))
        assert [one.replayed for one in again] == [True] * committed + [False] * (4 - committed), (step, when)
        assert [bank.account(one).version for one in ids] == [2] * 4
    assert_verified(bank.engine)


def _in_the_second_batch(step: Step, when: When) -> Callable[[Moment], None]:
    sessions: list[Any] = []

    def crash(moment: Moment) -> None:
        if not any(moment.session is one for one in sessions):
            sessions.append(moment.session)
        if len(sessions) == 2:
            raise Crashed(step, when)

    return crash


def test_a_transition_of_a_refused_command_is_not_told_as_committed(bank_with: MakeBank) -> None:
    def refuse_some(command: Deposit, account: Account, _context: ExecutionContext) -> None:
        account.balance += command.amount
        if command.amount > 5:
            raise LimitReached(limit=5)

    bank = bank_with(depositing(refuse_some))
    ids = accounts(bank, 3)
    fired: dict[int, list[UUID]] = {}
    committed: list[UUID] = []

    def look_on(moment: Moment) -> None:
        if isinstance(moment.fact, Firing):
            fired.setdefault(id(moment.session), []).append(moment.fact.aggregate.id)
        elif moment.step is Step.COMMIT and moment.when is When.AFTER:
            committed.extend(fired.pop(id(moment.session)))
        elif moment.step is Step.ROLLBACK and moment.when is When.AFTER:
            fired.pop(id(moment.session), None)

    with watch(look_on):
        list(bank.runtime.execute_many(deposits(ids, [1, 9, 2])))
    assert committed == [ids[0], ids[2]]


# The ledger


def begin_trails(engine: Engine) -> None:
    """Give rows that were inserted past the runtime what `verify` wants of them."""

    def transact(work: Callable[[Any], Any]) -> Any:
        with engine.begin() as connection:
            return work(connection)

    [rows] = rows_of(Account.lifecycle)
    list(adopt(transact, rows))


def assert_verified(engine: Engine) -> None:
    with engine.connect() as connection:
        assert verify(connection, application(), now=NOON).findings == ()


@pytest.fixture
def twin(request: pytest.FixtureRequest, kind: str, tmp_path: Path) -> Iterator[Engine]:
    """A second database of the same kind."""
    if "sqlite" in kind:
        shutil.copy(request.getfixturevalue("sqlite_template"), tmp_path / "twin.db")
        url, dropped = f"sqlite:///{tmp_path / 'twin.db'}", None
    else:
        server = request.getfixturevalue("postgres_server")
        dropped = f"usecasecore_{uuid4().hex}"
        url = create_database(server, dropped, template=request.getfixturevalue("postgres_template"))
    engine = create_engine(url)
    Base.metadata.create_all(engine)
    yield engine
    engine.dispose()
    if dropped:
        drop_database(request.getfixturevalue("postgres_server"), dropped)


MAKE = {
    "guarded, with an event": Close,
    "chosen trigger": Flip,
    "sensitive": lambda account_id: SetPin(account_id=account_id, pin="1234"),
    "its code asks": lambda account_id: Deposit(account_id=account_id, amount=3),
}


SAID: dict[str, dict[str, Any]] = {
    "little said": {"actor": ADA},
    "all said": {
        "actor": replace(ADA, tenant="acme", on_behalf_of="user:grace"),
        "reason": "why",
        "request_id": "r",
        "correlation_id": "c",
        "causation_id": "b",
    },
}


@pytest.mark.parametrize("said", [pytest.param(said, id=name) for name, said in SAID.items()])
@pytest.mark.parametrize("make", [pytest.param(make, id=name) for name, make in MAKE.items()])
def test_the_ledger_says_the_same_of_many_as_of_single_ones(
    bank: Bank, twin: Engine, make: Callable[..., Command[Any]], said: dict[str, Any]
) -> None:
    ids = accounts(bank, 9)
    with bank.engine.begin() as connection:
        connection.execute(ACCOUNTS.update().where(ACCOUNTS.c.id == ids[2]).values(balance=7))
        connection.execute(ACCOUNTS.update().where(ACCOUNTS.c.id == ids[4]).values(state="closed"))
        rows = [dict(row._mapping) for row in connection.execute(select(ACCOUNTS))]
    with twin.begin() as connection:
        connection.execute(insert(ACCOUNTS), rows)
    begin_trails(bank.engine)
    begin_trails(twin)
    commands = [make(account_id=one) for one in [*ids, uuid4()]]
    single = Runtime(twin, application(), clock=lambda: NOON)
    expected = []
    for command in commands:
        try:
            expected.append(single.run(command, idempotency_key=by_account(command), **said).result)
        except Rejected as refusal:
            expected.append(str(refusal))
    results = list(bank.runtime.execute_many(commands, key_of=by_account, batch=4, **said))
    assert [one.result if isinstance(one, Outcome) else str(one) for one in results] == expected
    for name in ("idempotency", "audit", "outbox", "attempt"):
        assert told(bank.engine, name) == told(twin, name), name
    assert told(bank.engine, "audit")
    assert_verified(bank.engine)


def told(engine: Engine, name: str) -> list[str]:
    """What a table of the ledger says, but for ids, times and hashes; executions by their keys instead of their ids."""
    tables = ledger_tables()
    with engine.connect() as connection:
        rows = [dict(row._mapping) for row in connection.execute(select(getattr(tables, name)))]
        commands = select(tables.audit.c.command_id, tables.audit.c.key).where(tables.audit.c.kind == "change")
        keys = {row.command_id: row.key for row in connection.execute(commands)}
    left_out = {"id", "recorded_at", "hash", "prev_hash", "attempted_at"}
    texts = []
    for row in rows:
        if row.get("kind") == "baseline":
            continue
        text_ = str({column: value for column, value in sorted(row.items()) if column not in left_out})
        own = row["command_id"]
        texts.append(text_.replace(repr(own), repr(keys.get(own, "refused"))).replace(str(own), keys.get(own, "refused")))
    return sorted(texts)


def payloads(engine: Engine) -> set[str]:
    outbox = ledger_tables().outbox
    with engine.connect() as connection:
        return set(connection.scalars(select(cast(outbox.c.payload, Text)).where(outbox.c.type.contains(".transition."))))


def test_the_event_of_a_transition_has_the_very_text_that_a_single_commands_has(bank: Bank, shelves: Bank) -> None:
    ids = accounts(bank, 3)
    halls = ["a", 'b"\\', "\u2603"]
    with shelves.engine.begin() as connection:
        rows = [{"hall": hall, "number": 1, "state": shop.Level.EMPTY, "light": "off", "version": 7} for hall in halls]
        connection.execute(insert(shop.Shelf), rows)
    list(bank.runtime.execute_many([Flip(account_id=one) for one in ids]))
    list(shelves.runtime.execute_many([shop.Fill(hall=hall, number=1) for hall in halls]))
    flipped = [event_payload(FiredTransition("account", "freeze", "open", "frozen"), str(one), 2) for one in ids]
    keys = [id_text([hall, 1]) for hall in halls]
    filled = [event_payload(FiredTransition("shelf", "fill", "EMPTY", "FULL"), key, 8) for key in keys]
    assert payloads(bank.engine) == {*flipped, *filled}


# Keys of other kinds


@pytest.fixture
def shelves(engine: Engine, make_runtime: MakeRuntime) -> Bank:
    shop.Base.metadata.create_all(engine)
    return Bank(engine, make_runtime(shop.app, clock=lambda: NOON))


def test_a_key_of_two_columns_finds_its_row(shelves: Bank) -> None:
    keys = [("a", 2), ("a", 10), ("b", 2)]
    with shelves.engine.begin() as connection:
        rows = [{"hall": hall, "number": number, "state": "0", "light": "off", "version": 1} for hall, number in keys]
        connection.execute(insert(shop.Shelf), [{**row, "state": shop.Level.EMPTY} for row in rows])
    commits = Commits()
    with watch(commits, only=TRANSACTIONS):
        results = list(shelves.runtime.execute_many([shop.Fill(hall=hall, number=number) for hall, number in [*keys, ("c", 1)]]))
    assert [type(one) for one in results] == [Outcome, Outcome, Outcome, AggregateNotFound]
    assert commits.number == 1
    assert [row.aggregate_id for row in shelves.rows("audit")] == ["a|2", "a|10", "b|2"]


def test_a_key_that_json_does_not_carry_finds_its_row(shelves: Bank) -> None:
    times = [NOON.replace(tzinfo=None, day=day) for day in (1, 2, 3)]
    with shelves.engine.begin() as connection:
        connection.execute(insert(shop.Delivery), [{"at": one, "state": "due", "version": 1} for one in times])
    commits = Commits()
    with watch(commits, only=TRANSACTIONS):
        assert codes(list(shelves.runtime.execute_many([shop.Finish(at=one) for one in times]))) == ["done"] * 3
    assert commits.number == 1


def test_rows_of_a_subclass_are_decided_by_their_own_lifecycle(shelves: Bank) -> None:
    with shelves.engine.begin() as connection:
        rows = [{"id": number, "kind": kind, "state": "here", "version": 1} for number, kind in ((9, "parcel"), (10, "letter"))]
        connection.execute(insert(shop.Base.metadata.tables["parcels"]), rows)
    assert codes(list(shelves.runtime.execute_many([shop.Send(parcel_id=number) for number in (10, 9)]))) == ["done"] * 2


# What a condition finds


def test_what_a_condition_finds_is_done_page_by_page_in_the_order_of_the_keys(bank: Bank) -> None:
    ids = accounts(bank, 7)
    rich = accounts(bank, 2, balance=100)
    told_: list[Progress] = []
    last = bank.runtime.transition_where("FlipAccount", Account.balance < 50, batch=3, actor=ADA, progress=told_.append)
    assert [(one.selected, one.done) for one in told_] == [(3, 3), (6, 6), (7, 7)]
    assert [key for one in told_ for key in one.latest] == [str(one) for one in ids]
    assert last == told_[-1]
    assert [bank.account(one).version for one in rich] == [1, 1]


def test_a_second_run_by_the_same_id_goes_on_where_the_first_one_stopped(bank: Bank) -> None:
    ids = accounts(bank, 6)

    def stop(_progress: Progress) -> None:
        raise KeyError

    with pytest.raises(KeyError):
        bank.runtime.transition_where(FlipAccount, batch=4, run_id="may", progress=stop)
    last = bank.runtime.transition_where(FlipAccount, batch=4, run_id="may")
    assert (last.selected, last.replayed, last.done) == (6, 4, 2)
    assert [bank.account(one).version for one in ids] == [2] * 6
    assert {row.key for row in bank.rows("idempotency")} == {f"may/{one}" for one in ids}


def test_refusals_are_counted_by_their_codes(bank: Bank) -> None:
    accounts(bank, 2)
    accounts(bank, 3, state="closed")
    last = bank.runtime.transition_where(FreezeAccount, reason="x")
    assert (last.done, dict(last.refused), last.busy) == (2, {"transition_not_allowed": 3}, 0)


def test_a_factory_adds_what_the_command_wants_beside_the_key(bank: Bank) -> None:
    (one,) = accounts(bank, 1)
    bank.runtime.transition_where(ChangePin, command=lambda account_id: SetPin(account_id=account_id, pin="77"))
    assert bank.account(one).pin == "77"


def test_pages_of_a_key_of_several_columns_skip_and_repeat_nothing(shelves: Bank) -> None:
    keys = [("a", 1), ("a", 2), ("a", 3), ("b", 1), ("b", 2)]
    with shelves.engine.begin() as connection:
        rows = [
            {"hall": hall, "number": number, "state": shop.Level.EMPTY, "light": "off", "version": 1} for hall, number in keys
        ]
        connection.execute(insert(shop.Shelf), rows)
    assert shelves.runtime.transition_where(shop.FillShelf, batch=2).done == 5


def test_a_key_that_is_no_printable_text_still_makes_an_idempotency_key(shelves: Bank) -> None:
    with shelves.engine.begin() as connection:
        rows = [{"hall": hall, "number": 1, "state": shop.Level.EMPTY, "light": "off", "version": 1} for hall in ("ä", "ö")]
        connection.execute(insert(shop.Shelf), rows)
    assert shelves.runtime.transition_where(shop.FillShelf, run_id="r").done == 2
    assert shelves.runtime.transition_where(shop.FillShelf, run_id="r").replayed == 2


def test_a_use_case_without_a_single_keyed_aggregate_is_refused(bank: Bank) -> None:
    with pytest.raises(DefinitionError, match="pass them to `execute_many`"):
        bank.runtime.transition_where("OpenAccount")
    with pytest.raises(DefinitionError, match="no use case 'Nothing'"):
        bank.runtime.transition_where("Nothing")


@pytest.mark.parametrize("run_id", ["", " x", "x" * 191, "ä"])
def test_an_id_of_a_run_that_can_not_be_part_of_a_key_is_refused(bank: Bank, run_id: str) -> None:
    with pytest.raises(ValueError, match="1 to 190 printable ASCII characters"):
        bank.runtime.transition_where(FlipAccount, run_id=run_id)
