"""A batch that is written without a flush, and in parts while it is decided, is what a batch is; else it is left to the flush."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID

import pytest
from sqlalchemy import BigInteger, DateTime, Engine, Enum, Numeric, Text, cast, event, func, insert, inspect, select, text
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from sqlalchemy.orm.attributes import flag_modified

from tests.accounts import (
    ADA,
    NOON,
    Account,
    AccountState,
    Base,
    Deposit,
    Flip,
    MakeDeposit,
    Posting,
    SendStatement,
    application,
    deposit_doing,
)
from tests.bank import Bank
from usecasecore import (
    AllowAll,
    Application,
    Command,
    ExecutionContext,
    Key,
    Limits,
    Outcome,
    Result,
    Runtime,
    UseCase,
    unofficial,
    uuid7,
    version_column,
)
from usecasecore.errors import Conflict, ConstraintViolated, ContractViolation, StateWriteRefused
from usecasecore.ledger import ledger_tables
from usecasecore.runtime import gathering
from usecasecore.runtime.ahead import Ahead
from usecasecore.runtime.gathering import Gathering
from usecasecore.verification import verify

ACCOUNTS = Base.metadata.tables["accounts"]
MakeBank = Callable[..., Bank]


@pytest.fixture(params=["sqlite", "postgresql", "asyncpg"])
def kind(request: pytest.FixtureRequest) -> str:
    """Both databases, and a driver that can't send ahead."""
    name: str = request.param
    return name


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a batch of a few commands be sent in parts."""
    monkeypatch.setattr(gathering, "PART", 2)


ahead = pytest.mark.parametrize("kind", [pytest.param("postgresql", marks=pytest.mark.postgresql)], indirect=True)
"""Restricts a test to the driver that can send ahead."""


def accounts(bank: Bank, number: int) -> list[UUID]:
    ids = sorted((uuid7() for _ in range(number)), key=str)
    rows = [{"id": one, "owner": f"owner {one}", "balance": 0, "state": "open", "version": 1} for one in ids]
    with bank.engine.begin() as connection:
        connection.execute(insert(ACCOUNTS), rows)
    return ids


def put_in(command: Deposit, account: Account, context: Any) -> None:
    account.balance += command.amount


def deposit(bank: Bank, ids: list[UUID], amount: int = 5, **said: Any) -> list[Any]:
    return list(bank.runtime.execute_many([Deposit(account_id=one, amount=amount) for one in ids], actor=ADA, **said))


def balances(bank: Bank, ids: list[UUID]) -> list[int]:
    return [bank.account(one).balance for one in ids]


def gathered(run: Callable[[], Any]) -> bool:
    """Say whether what a batch wrote was gathered to its end."""
    answers: list[bool] = []
    original = Gathering.send

    def send(self: Gathering) -> bool:
        answers.append(original(self))
        return answers[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Gathering, "send", send)
        run()
    return answers == [True]


def sent_ahead(run: Callable[[], Any]) -> int:
    """Return how many statements were sent ahead."""
    sent: list[str] = []
    original = Ahead.send

    def send(self: Ahead, statement: str, parameters: Any, take: Any) -> None:
        sent.append(statement)
        original(self, statement, parameters, take)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Ahead, "send", send)
        run()
    return len(sent)


def test_a_batch_is_written_without_a_flush(bank_doing: MakeBank) -> None:
    bank = bank_doing(put_in)
    ids = accounts(bank, 7)
    assert gathered(lambda: deposit(bank, ids))
    assert gathered(lambda: list(bank.runtime.execute_many([Flip(account_id=one) for one in ids])))
    assert balances(bank, ids) == [5] * 7
    assert {(row.state, row.version) for row in map(bank.account, ids)} == {("frozen", 3)}
    first, second = ({row.aggregate_id: row for row in bank.rows("audit") if row.version == version} for version in (2, 3))
    assert {key: row.prev_hash for key, row in second.items()} == {key: row.hash for key, row in first.items()}
    assert len(first) == 7


def test_a_job_of_a_batch_is_available_from_when_it_is_to_run_and_else_from_when_the_command_ran(bank_doing: MakeBank) -> None:
    at = datetime(2131, 5, 4, 12, 30, tzinfo=UTC)

    def ask_for_statements(command: Deposit, account: Account, context: ExecutionContext) -> None:
        account.balance += command.amount
        context.enqueue(SendStatement(account_id=account.id), run_at=at)
        context.enqueue(SendStatement(account_id=account.id))

    bank = bank_doing(ask_for_statements)
    ids = accounts(bank, 5)
    assert gathered(lambda: deposit(bank, ids))
    found = {(row.aggregate_id, row.ordinal): row for row in bank.rows("outbox")}
    assert [found[str(ids[0]), place].kind for place in range(3)] == ["event", "job", "job"]
    assert len(found) == 15
    for key in map(str, ids):
        moved, later, soon = (found[key, place] for place in range(3))
        assert moved.available_at == moved.occurred_at
        assert later.available_at == at
        assert soon.available_at == soon.occurred_at == later.occurred_at
        assert soon.occurred_at < at


def test_instants_are_exact_whatever_the_offset_of_the_clock(engine: Engine, make_runtime: Callable[..., Runtime]) -> None:
    at = datetime(1930, 5, 4, 12, 30, 15, 1, tzinfo=timezone(timedelta(minutes=19, seconds=32)))  # Amsterdam's of then
    bank = Bank(engine, make_runtime(application(deposit_doing(put_in), instead_of=MakeDeposit), clock=lambda: at))
    ids = accounts(bank, 2)
    assert gathered(lambda: deposit(bank, ids))
    assert [row.occurred_at for row in bank.rows("audit") if row.version > 1] == [at] * 2
    assert {row.occurred_at for row in bank.rows("outbox")} == {row.available_at for row in bank.rows("outbox")} == {at}


@pytest.mark.parametrize("watched", [False, True])
def test_instants_of_a_single_command_are_too(engine: Engine, make_runtime: Callable[..., Runtime], watched: bool) -> None:
    at = datetime(1930, 5, 4, 12, 30, 15, 1, tzinfo=timezone(timedelta(minutes=19, seconds=32)))
    bank = Bank(engine, make_runtime(application(deposit_doing(put_in), instead_of=MakeDeposit), clock=lambda: at))
    one = bank.open()
    if watched:  # then its rows travel as JSON on psycopg, too
        event.listen(bank.wire, "before_cursor_execute", lambda *_: None)
    bank.runtime.execute(Deposit(account_id=one, amount=5), actor=ADA)
    assert [row.occurred_at for row in bank.rows("audit")] == [at, at]
    assert {row.available_at for row in bank.rows("outbox")} == {at}
    with bank.engine.connect() as connection:
        assert verify(connection, now=NOON).findings == ()  # the hashes are of these instants


@ahead
def test_parts_are_sent_while_the_rest_is_decided(bank_doing: MakeBank) -> None:
    bank = bank_doing(put_in)
    ids = accounts(bank, 7)
    assert sent_ahead(lambda: deposit(bank, ids)) == 8  # an UPDATE and the ledger for 2, 2, 2 and 1
    assert balances(bank, ids) == [5] * 7


@ahead
def test_the_last_parts_are_small_so_that_little_is_left_to_wait_for(
    bank_doing: MakeBank, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gathering, "PART", 8)
    monkeypatch.setattr(gathering, "LEAST", 2)
    bank = bank_doing(put_in)
    ids = accounts(bank, 20)
    assert sent_ahead(lambda: deposit(bank, ids)) == 2 * len([4, 4, 3, 2, 2, 2, 2, 1])
    assert balances(bank, ids) == [5] * 20


@ahead
def test_who_watches_the_statements_sees_all_of_them(bank_doing: MakeBank) -> None:
    bank = bank_doing(put_in)
    ids = accounts(bank, 7)
    seen: list[str] = []
    event.listen(bank.wire, "before_cursor_execute", lambda *said: seen.append(said[2]))
    assert sent_ahead(lambda: deposit(bank, ids)) == 0
    assert len([one for one in seen if one.startswith("update accounts")]) == 1


def leftovers() -> dict[str, Callable[[Deposit, Account, Any], Any]]:
    def new_beside_it(command: Deposit, account: Account, context: Any) -> None:
        put_in(command, account, context)
        context.session.add(Posting(amount=command.amount, account_id=account.id))

    def expression(command: Deposit, account: Account, context: Any) -> None:
        put_in(command, account, context)
        account.pin = func.lower("ABC")

    return {one.__name__: one for one in (new_beside_it, expression)}


@pytest.mark.parametrize("name", leftovers())
def test_anything_else_is_left_to_the_flush(bank_doing: MakeBank, name: str) -> None:
    bank = bank_doing(leftovers()[name])
    ids = accounts(bank, 5)
    results: list[Any] = []
    assert not gathered(lambda: results.extend(deposit(bank, ids)))
    assert [type(one) for one in results] == [Outcome] * 5
    assert balances(bank, ids) == [5] * 5
    assert bank.counts()["postings"] == (5 if name == "new_beside_it" else 0)
    assert {bank.account(one).pin for one in ids} == {"abc" if name == "expression" else None}


@pytest.mark.parametrize("what", ["before_update", "after_update", "before_flush", "after_flush"])
def test_who_listens_to_the_flush_hears_of_it(bank_doing: MakeBank, what: str) -> None:
    bank = bank_doing(put_in)
    ids = accounts(bank, 3)
    heard: list[str] = []
    target: Any = Account if "update" in what else Session

    def note(*_: Any) -> None:
        heard.append(what)

    event.listen(target, what, note)
    try:
        assert not gathered(lambda: deposit(bank, ids))
    finally:
        event.remove(target, what, note)
    assert len(heard) == (3 if "update" in what else 1)
    assert balances(bank, ids) == [5] * 3


@pytest.mark.parametrize("what", ["load", "loaded_as_persistent", "do_orm_execute", "before_execute", "after_execute"])
def test_who_listens_to_the_loading_hears_of_it(bank_doing: MakeBank, what: str) -> None:
    bank = bank_doing(put_in)
    ids = accounts(bank, 3)
    heard: list[str] = []
    target: Any = {"load": Account, "before_execute": Engine, "after_execute": Engine}.get(what, Session)

    def note(*said: Any) -> None:
        asked = str(said[1]) if "execute" in what and what != "do_orm_execute" else "FOR"
        heard.append(asked)

    event.listen(target, what, note)
    try:
        deposit(bank, ids)
    finally:
        event.remove(target, what, note)
    if target is Engine:
        assert any("accounts" in one for one in heard)
    else:
        assert len(heard) == (1 if what == "do_orm_execute" else 3)
    assert balances(bank, ids) == [5] * 3


def test_it_is_switched_off_together_with_the_folding(bank_doing: MakeBank) -> None:
    bank = bank_doing(put_in, folds=False)
    ids = accounts(bank, 3)
    assert not gathered(lambda: deposit(bank, ids))
    assert balances(bank, ids) == [5] * 3


def test_where_sqlalchemy_is_not_as_it_is_known_the_session_flushes(
    bank_doing: MakeBank, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unofficial, "is_known", lambda: False)
    bank = bank_doing(put_in)
    ids = accounts(bank, 3)
    assert not gathered(lambda: deposit(bank, ids))
    assert balances(bank, ids) == [5] * 3


def test_a_state_that_was_changed_past_the_runtime_is_refused(bank_doing: MakeBank) -> None:
    def cheat(command: Deposit, account: Account, context: Any) -> None:
        flag_modified(account, "state")
        inspect(account).dict["state"] = AccountState.CLOSED

    bank = bank_doing(cheat)
    ids = accounts(bank, 3)
    with pytest.raises(StateWriteRefused):
        deposit(bank, ids)
    assert {bank.account(one).version for one in ids} == {1}


def test_what_a_later_command_changes_of_an_earlier_ones_aggregate_is_written_as_by_single_ones(bank_doing: MakeBank) -> None:
    def meddle(command: Deposit, account: Account, context: Any) -> None:
        put_in(command, account, context)
        if account.id != ids[0]:
            context.session.get(Account, ids[0]).balance += 100  # sends nothing: the session has it

    bank = bank_doing(meddle)
    ids = accounts(bank, 5)
    results = deposit(bank, ids)
    assert [type(one) for one in results] == [Outcome] * 5
    assert balances(bank, ids) == [405, 5, 5, 5, 5]


def test_a_row_that_an_earlier_command_put_into_the_session_is_no_reason_to_fail(bank_doing: MakeBank) -> None:
    known: dict[UUID, Account] = {}
    kept: list[Account] = []

    def look_at_all(command: Deposit, account: Account, context: ExecutionContext) -> None:
        # By which no statement is sent.
        kept.extend(context.session.merge(one, load=False) for one in known.values() if one.id != account.id)
        account.balance += command.amount

    bank = bank_doing(look_at_all)
    ids = accounts(bank, 5)
    with Session(bank.engine) as session:
        known |= {one.id: one for one in session.scalars(select(Account))}
    assert all(isinstance(one, Outcome) for one in deposit(bank, ids))
    assert balances(bank, ids) == [5] * 5


@ahead
def test_a_value_that_the_database_refuses_spoils_only_its_own_command_though_it_was_sent_ahead(bank_doing: MakeBank) -> None:
    def rename(command: Deposit, account: Account, context: Any) -> None:
        put_in(command, account, context)
        if account.id == ids[1]:
            account.owner = "x" * 300

    bank = bank_doing(rename)
    ids = accounts(bank, 6)
    results = deposit(bank, ids)
    assert [type(one) for one in results] == [Outcome, ConstraintViolated, *[Outcome] * 4]
    assert balances(bank, ids) == [5, 0, 5, 5, 5, 5]


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=pytest.mark.postgresql) for kind in ("postgresql", "asyncpg")], indirect=True
)
def test_a_row_that_the_database_leaves_as_it_is_is_noticed(bank_doing: MakeBank) -> None:
    bank = bank_doing(put_in)
    ids = accounts(bank, 5)
    with bank.engine.begin() as connection:
        connection.execute(text("create function leave() returns trigger language plpgsql as 'begin return null; end'"))
        when = f"old.id = '{ids[1]}'"
        connection.execute(
            text(f"create trigger leave before update on accounts for each row when ({when}) execute function leave()")
        )
    with pytest.raises(ContractViolation, match="a row that was to be changed is gone"):
        deposit(bank, ids)
    assert balances(bank, ids) == [0] * 5
    assert bank.counts()["audit"] == 0


@ahead
def test_a_defect_of_user_code_undoes_what_was_sent_ahead(bank_doing: MakeBank) -> None:
    def crash(command: Deposit, account: Account, context: Any) -> None:
        put_in(command, account, context)
        if account.id == ids[4] and command.amount == 5:
            raise ZeroDivisionError

    bank = bank_doing(crash)
    ids = accounts(bank, 6)
    with pytest.raises(ZeroDivisionError):
        deposit(bank, ids)
    assert balances(bank, ids) == [0] * 6
    assert bank.counts()["audit"] == 0
    assert sent_ahead(lambda: deposit(bank, ids, amount=6)) == 6  # the connection is as good as before
    assert balances(bank, ids) == [6] * 6


@ahead
def test_code_that_asks_the_database_between_parts_sees_what_single_commands_see(bank_doing: MakeBank) -> None:
    def sum_up(command: Deposit, account: Account, context: Any) -> None:
        put_in(command, account, context)
        if account.id == ids[3]:
            account.pin = str(context.session.scalar(text("select sum(balance) from accounts")))

    bank = bank_doing(sum_up)
    ids = accounts(bank, 5)
    deposit(bank, ids)
    assert bank.account(ids[3]).pin == "15"
    assert balances(bank, ids) == [5] * 5


@ahead
def test_a_key_that_is_taken_meanwhile_is_not_used_twice_though_it_was_sent_ahead(bank_doing: MakeBank) -> None:
    def let_others_in(command: Deposit, account: Account, context: Any) -> None:
        put_in(command, account, context)
        if account.id == ids[0] and not taken:
            taken.append(ids[3])
            rival.execute(Deposit(account_id=elsewhere, amount=1), actor=ADA, idempotency_key=f"run/{ids[3]}")

    taken: list[UUID] = []
    bank = bank_doing(let_others_in)
    rival = Runtime(bank.engine, application())
    ids, (elsewhere,) = accounts(bank, 5), accounts(bank, 1)
    results = deposit(bank, ids, key_of=lambda command: f"run/{command.account_id}")
    assert [getattr(one, "code", "done") for one in results] == ["done"] * 3 + ["idempotency_key_reused", "done"]
    assert balances(bank, [*ids, elsewhere]) == [5, 5, 5, 0, 5, 1]


@ahead
def test_a_key_that_somebody_holds_for_too_long_spoils_only_its_own_command_though_it_was_sent_ahead(
    bank_doing: MakeBank, make_runtime: Callable[..., Any]
) -> None:
    def slowly(command: Deposit, account: Account, context: Any) -> None:
        put_in(command, account, context)
        if account.id == ids[4]:
            time.sleep(0.6)  # so that the answer is there when the next part is sent

    bank = bank_doing(put_in)
    ids = accounts(bank, 6)
    limits = Limits(lock_timeout=timedelta(milliseconds=300))
    runtime = make_runtime(application(deposit_doing(slowly), instead_of=MakeDeposit), limits=limits)
    keys = ledger_tables().idempotency
    with bank.engine.connect() as rival:
        row = {"tenant": "", "actor": str(ADA), "use_case": "MakeDeposit", "key": f"run/{ids[1]}"}
        rival.execute(
            insert(keys).values(**row, fingerprint=b"", command_id=uuid7(), created_at=func.now(), expires_at=func.now())
        )
        commands = [Deposit(account_id=one, amount=5) for one in ids]
        results = list(runtime.execute_many(commands, actor=ADA, key_of=lambda command: f"run/{command.account_id}"))
        rival.rollback()
    assert [isinstance(one, Outcome) for one in results] == [True, False, True, True, True, True]
    assert isinstance(results[1], Conflict)
    assert balances(bank, ids) == [5, 0, 5, 5, 5, 5]


class Everywhere(DeclarativeBase):
    pass


class Everything(Everywhere):
    """A column of each kind that JSON carries values to, and some that the flush must write."""

    __tablename__ = "everything_at_once"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid7)
    whole: Mapped[int | None] = mapped_column(BigInteger)
    exact: Mapped[Decimal | None] = mapped_column(Numeric(12, 3))
    yes: Mapped[bool | None]
    words: Mapped[str | None] = mapped_column("the % words", Text)
    day: Mapped[date | None]
    moment: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    member: Mapped[AccountState | None] = mapped_column(Enum(AccountState, native_enum=False))
    other: Mapped[UUID | None]
    real: Mapped[float | None]
    version: Mapped[int] = version_column()


class Stamped(Everywhere):
    """What the flush sets by itself."""

    __tablename__ = "stamped"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid7)
    amount: Mapped[int] = mapped_column(default=0)
    touched: Mapped[int] = mapped_column(default=0, onupdate=7)
    version: Mapped[int] = version_column()


class Counted(Everywhere):
    """With SQLAlchemy's own counter."""

    __tablename__ = "counted"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid7)
    amount: Mapped[int] = mapped_column(default=0)
    flushes: Mapped[int] = mapped_column(default=1)
    version: Mapped[int] = version_column()

    __mapper_args__ = {"version_id_col": flushes}


class Stored(Result):
    pass


def use_case(mapped: Any, change: Callable[[Any], None]) -> tuple[Any, Any]:
    """Return a command for rows of a class, and the application that changes them."""

    class Store(Command[Stored]):
        id: Annotated[UUID, Key(mapped.id)]

    class StoreIt(UseCase[Store, mapped, Stored]):
        def apply(self, command: Store, row: Any, context: ExecutionContext, /) -> Stored:
            change(row)
            return Stored()

    return Store, Application([StoreIt], policy=AllowAll(), name="everything")


CARRIED: dict[str, Any] = {
    "whole": 2**40,
    "exact": Decimal("12345.6789"),
    "yes": True,
    "words": "a % and a %s, a :name and a $1, \\ ' \" \u2603",
    "day": date(2024, 2, 29),
    "moment": datetime(2026, 5, 4, 12, 30, 1, 23, tzinfo=UTC),
    "member": AccountState.FROZEN,
    "other": UUID(int=7),
}


@pytest.fixture
def stored(engine: Engine, make_runtime: Callable[..., Any]) -> Iterator[Callable[..., tuple[bool, list[tuple[Any, ...]]]]]:
    """Return whether it was gathered, and what the rows hold as text, when values were stored in new ones at once."""
    Everywhere.metadata.create_all(engine)

    def run(mapped: Any, values: dict[str, Any], *, folds: bool = True) -> tuple[bool, list[tuple[Any, ...]]]:
        def change(row: Any) -> None:
            for name, value in values.items():
                setattr(row, name, value)

        store, app = use_case(mapped, change)
        runtime = make_runtime(app, fold_updates=folds)
        ids = [uuid7() for _ in range(3)]
        with Session(engine) as session, session.begin():
            session.add_all(mapped(id=one) for one in ids)
        results: list[Any] = []
        was = gathered(lambda: results.extend(runtime.execute_many([store(id=one) for one in ids])))
        assert [type(one) for one in results] == [Outcome] * 3
        columns = [cast(column, Text) for column in mapped.__table__.c if column.key != "id"]
        with engine.connect() as connection:
            rows = connection.execute(select(*columns).where(mapped.id.in_(ids))).all()
        return was, [tuple(row) for row in rows]

    yield run
    Everywhere.metadata.drop_all(engine)


ELSEWHERE = {**CARRIED, "moment": datetime(1890, 5, 4, 12, 30, tzinfo=timezone(timedelta(minutes=53, seconds=28)))}


@pytest.mark.parametrize(
    "values", [CARRIED, dict.fromkeys(CARRIED), ELSEWHERE], ids=["values", "nothing", "an offset of seconds"]
)
def test_every_kind_of_value_is_stored_as_the_flush_stores_it(stored: Callable[..., Any], values: dict[str, Any]) -> None:
    was, rows = stored(Everything, values)
    assert was
    assert rows == stored(Everything, values, folds=False)[1]


def test_a_value_that_json_does_not_carry_is_left_to_the_flush(stored: Callable[..., Any], kind: str) -> None:
    was, rows = stored(Everything, {**CARRIED, "real": 0.1})
    assert was is (kind == "sqlite")
    assert rows == stored(Everything, {**CARRIED, "real": 0.1}, folds=False)[1]


def test_what_the_flush_sets_by_itself_is_set(stored: Callable[..., Any]) -> None:
    was, rows = stored(Stamped, {"amount": 3})
    assert not was
    assert rows == [("3", "7", "2")] * 3


def test_a_counter_of_sqlalchemys_counts(stored: Callable[..., Any]) -> None:
    was, rows = stored(Counted, {"amount": 3})
    assert not was
    assert rows == [("3", "2", "2")] * 3
