"""The UPDATE of the locked row that travels with the ledger's statement does what the flush would do, or is left to the flush."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID

import pytest
from sqlalchemy import JSON, BigInteger, DateTime, Engine, Enum, Numeric, Text, cast, event, func, insert, inspect, select, text
from sqlalchemy.ext.mutable import MutableDict
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from sqlalchemy.orm.attributes import flag_modified

from tests.accounts import (
    ADA,
    Account,
    AccountState,
    Deposit,
    Flip,
    Posting,
)
from tests.bank import Bank
from usecasecore import AllowAll, Application, Command, ExecutionContext, Key, Result, UseCase, uuid7, version_column
from usecasecore.errors import ConstraintViolated, ContractViolation, StateWriteRefused, UseCaseError
from usecasecore.runtime.folding import Folding


class Everywhere(DeclarativeBase):
    pass


@pytest.fixture(params=[True, False], ids=["folded", "flushed"])
def folds(request: pytest.FixtureRequest) -> bool:
    """Both ways, for what must be the same on both."""
    return bool(request.param)


@contextmanager
def statements(bank: Bank) -> Iterator[list[str]]:
    """Yield the texts that are sent while the block runs."""
    seen: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        seen.append(statement.lower())

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(Engine, "before_cursor_execute", note)


def put_in(command: Deposit, account: Account, context: Any) -> None:
    account.balance += command.amount


def is_folded(run: Callable[[], Any]) -> bool:
    """Say whether the UPDATE went along with the ledger's statement."""
    answers: list[bool] = []
    original = Folding.fold

    def fold(self: Folding, *arguments: Any) -> Any:
        answer = original(self, *arguments)
        answers.append(answer is not None)
        return answer

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Folding, "fold", fold)
        run()
    return any(answers)


def test_a_transition_and_its_changes_are_stored_without_a_flush(bank_doing: Callable[..., Bank]) -> None:
    bank = bank_doing(put_in)
    account_id = bank.open()
    assert is_folded(lambda: bank.runtime.execute(Deposit(account_id=account_id, amount=5)))
    assert is_folded(lambda: bank.runtime.execute(Flip(account_id=account_id)))
    row = bank.account(account_id)
    assert (row.balance, row.state, row.version) == (5, AccountState.FROZEN, 3)
    assert [entry.version for entry in bank.rows("audit")] == [1, 2, 3]


def test_the_row_and_the_ledger_are_written_by_one_statement_on_postgresql(bank_doing: Callable[..., Bank], kind: str) -> None:
    bank = bank_doing(put_in)
    account_id = bank.open()
    with statements(bank) as seen:
        bank.runtime.execute(Deposit(account_id=account_id, amount=5))
    writes = [one for one in seen if "update accounts" in one]
    assert len(writes) == 1
    assert ("usecasecore_audit" in writes[0]) is ("sqlite" not in kind)


def test_it_can_be_switched_off(bank_doing: Callable[..., Bank]) -> None:
    bank = bank_doing(put_in, folds=False)
    account_id = bank.open()
    assert not is_folded(lambda: bank.runtime.execute(Deposit(account_id=account_id, amount=5)))
    assert bank.account(account_id).balance == 5


def test_a_row_that_is_gone_is_noticed_and_nothing_is_written(bank_doing: Callable[..., Bank], folds: bool) -> None:
    def delete(command: Deposit, account: Account, context: Any) -> None:
        put_in(command, account, context)
        context.session.connection().execute(text("delete from accounts where owner = 'grace'"))

    bank = bank_doing(delete, folds=folds)
    account_id = bank.open()
    before = bank.counts()
    with pytest.raises(ContractViolation, match="a row that was to be changed is gone"):
        bank.runtime.execute(Deposit(account_id=account_id, amount=5))
    assert {**bank.counts(), "attempt": 0} == before


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
@pytest.mark.postgresql
def test_the_statement_itself_writes_nothing_about_a_row_that_is_gone(bank_doing: Callable[..., Bank]) -> None:
    # The caller owns the connection, and commits in spite of the failure.
    def delete(command: Deposit, account: Account, context: Any) -> None:
        put_in(command, account, context)
        context.session.connection().execute(text("delete from accounts where owner = 'grace'"))

    bank = bank_doing(delete)
    account_id = bank.open()
    before = bank.counts()
    with bank.engine.connect() as connection, Session(connection) as session:
        transaction = connection.begin()
        with pytest.raises(ContractViolation):
            bank.runtime.execute(Deposit(account_id=account_id, amount=5), session=session)
        if transaction.is_active:
            transaction.commit()
    after = bank.counts()
    assert (after["audit"], after["outbox"], after["idempotency"]) == (before["audit"], before["outbox"], before["idempotency"])


def test_a_violated_constraint_is_named(bank_doing: Callable[..., Bank], folds: bool) -> None:
    def rename(command: Deposit, account: Account, context: Any) -> None:
        account.owner = "hopper"

    bank = bank_doing(rename, folds=folds)
    bank.open("hopper")
    account_id = bank.open()
    before = bank.counts()
    with pytest.raises(ConstraintViolated) as caught:
        bank.runtime.execute(Deposit(account_id=account_id, amount=5))
    assert "owner" in caught.value.constraint
    assert {**bank.counts(), "attempt": 0} == before


@pytest.mark.parametrize("kind", ["postgresql", "asyncpg"], indirect=True)
@pytest.mark.postgresql
def test_a_value_that_the_column_refuses_is_a_violated_constraint(bank_doing: Callable[..., Bank], folds: bool) -> None:
    bank = bank_doing(lambda command, account, context: setattr(account, "pin", "x" * 51), folds=folds)
    account_id = bank.open()
    with pytest.raises(ConstraintViolated):
        bank.runtime.execute(Deposit(account_id=account_id, amount=5))
    assert bank.account(account_id).version == 1


def test_a_value_of_another_type_fails_as_it_does_in_the_flush(bank_doing: Callable[..., Bank], folds: bool, kind: str) -> None:
    bank = bank_doing(lambda command, account, context: setattr(account, "pin", ["1"]), folds=folds)
    account_id = bank.open()
    if kind in ("postgresql", "psycopg_async"):  # psycopg knows lists, and the database makes a text of it
        bank.runtime.execute(Deposit(account_id=account_id, amount=5))
        assert bank.account(account_id).pin == "{1}"
    else:
        with pytest.raises(UseCaseError):
            bank.runtime.execute(Deposit(account_id=account_id, amount=5))
        assert bank.account(account_id).version == 1


def test_a_state_that_was_changed_past_the_runtime_is_refused(bank_doing: Callable[..., Bank], folds: bool) -> None:
    def cheat(command: Deposit, account: Account, context: Any) -> None:
        flag_modified(account, "state")
        inspect(account).dict["state"] = AccountState.CLOSED

    bank = bank_doing(cheat, folds=folds)
    account_id = bank.open()
    with pytest.raises(StateWriteRefused):
        bank.runtime.execute(Deposit(account_id=account_id, amount=5))
    assert bank.account(account_id).state == AccountState.OPEN


def test_afterwards_the_object_is_as_after_a_flush(bank_doing: Callable[..., Bank], folds: bool) -> None:
    kept: list[Account] = []

    def keep(command: Deposit, account: Account, context: Any) -> None:
        put_in(command, account, context)
        kept.append(account)

    bank = bank_doing(keep, folds=folds)
    account_id = bank.open()

    def work(transaction: Any) -> tuple[Any, ...]:
        transaction.execute(Deposit(account_id=account_id, amount=5), actor=ADA)
        [account], session = kept, transaction.session
        seen = list(session.dirty), session.is_modified(account), account in session, account.balance, account.version
        transaction.execute(Deposit(account_id=account_id, amount=7), actor=ADA)
        return *seen, kept[0] is kept[1], account.balance, account.version

    assert bank.runtime.transaction(work) == ([], False, True, 5, 2, True, 12, 3)
    assert bank.account(account_id).balance == 12


def test_after_a_rollback_nothing_of_it_is_left(bank_doing: Callable[..., Bank], folds: bool) -> None:
    bank = bank_doing(put_in, folds=folds)
    account_id = bank.open()
    before = bank.counts()

    def work(transaction: Any) -> None:
        transaction.execute(Deposit(account_id=account_id, amount=5), actor=ADA)
        raise LookupError

    with pytest.raises(LookupError):
        bank.runtime.transaction(work)
    assert bank.account(account_id).balance == 0
    assert {**bank.counts(), "attempt": 0} == before


def left_to_the_flush() -> dict[str, Callable[[Deposit, Account, Any], Any]]:
    def new_beside_it(command: Deposit, account: Account, context: Any) -> None:
        account.balance += command.amount
        account.postings.append(Posting(amount=command.amount))

    def new_by_itself(command: Deposit, account: Account, context: Any) -> None:
        account.balance += command.amount
        context.session.add(Posting(amount=command.amount, account_id=account.id))

    def expression(command: Deposit, account: Account, context: Any) -> None:
        account.balance += command.amount
        account.pin = func.lower("ABC")

    def savepoint(command: Deposit, account: Account, context: Any) -> None:
        context.session.begin_nested()
        account.balance += command.amount

    return {one.__name__: one for one in (new_beside_it, new_by_itself, expression, savepoint)}


@pytest.mark.parametrize("name", left_to_the_flush())
def test_anything_else_is_left_to_the_flush(bank_doing: Callable[..., Bank], name: str) -> None:
    bank = bank_doing(left_to_the_flush()[name])
    account_id = bank.open()
    assert not is_folded(lambda: bank.runtime.execute(Deposit(account_id=account_id, amount=5)))
    assert bank.account(account_id).balance == 5
    assert bank.account(account_id).pin == ("abc" if name == "expression" else None)


@pytest.mark.parametrize("what", ["before_update", "after_update", "before_flush", "after_flush"])
def test_listeners_of_the_users_are_called(bank_doing: Callable[..., Bank], what: str) -> None:
    bank = bank_doing(put_in)
    account_id = bank.open()
    calls: list[str] = []
    target: Any = Account if "update" in what else Session

    def note(*_: Any) -> None:
        calls.append(what)

    event.listen(target, what, note)
    try:
        bank.runtime.execute(Deposit(account_id=account_id, amount=5))
    finally:
        event.remove(target, what, note)
    assert calls
    assert bank.account(account_id).balance == 5
    assert is_folded(lambda: bank.runtime.execute(Deposit(account_id=account_id, amount=5)))


def test_what_apply_sets_back_is_not_written(bank_doing: Callable[..., Bank]) -> None:
    def there_and_back(command: Deposit, account: Account, context: Any) -> None:
        account.pin = "1234"
        account.pin = None

    bank = bank_doing(there_and_back)
    account_id = bank.open()
    with statements(bank) as seen:
        bank.runtime.execute(Deposit(account_id=account_id, amount=5))
    [sent] = [one for one in seen if "update accounts" in one]
    assert "pin" not in sent
    assert bank.account(account_id).version == 2


def test_a_use_case_that_changes_ever_other_columns_goes_back_to_the_flush(bank_doing: Callable[..., Bank]) -> None:
    # A plan is made for each text, and that of the ledger's statement is dear.
    names = ["owner", "pin", "balance"]

    def change(command: Deposit, account: Account, context: Any) -> None:
        for bit, name in enumerate(names):
            if command.amount >> bit & 1:
                setattr(account, name, command.amount if name == "balance" else f"{name} {command.amount}")

    bank = bank_doing(change)
    account_id = bank.open()
    folded = [is_folded(lambda n=n: bank.runtime.execute(Deposit(account_id=account_id, amount=n))) for n in range(1, 7)]  # type: ignore[misc]
    assert folded == [True, True, True, True, False, False]
    again = [is_folded(lambda n=n: bank.runtime.execute(Deposit(account_id=account_id, amount=n + 8))) for n in (1, 6)]  # type: ignore[misc]
    assert again == [True, False]


class Everything(Everywhere):
    """A column of each kind that values are converted for."""

    __tablename__ = "everything"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid7)
    whole: Mapped[int | None] = mapped_column(BigInteger)
    real: Mapped[float | None]
    exact: Mapped[Decimal | None] = mapped_column(Numeric(12, 3))
    yes: Mapped[bool | None]
    words: Mapped[str | None] = mapped_column("the words", Text)
    raw: Mapped[bytes | None]
    day: Mapped[date | None]
    moment: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    span: Mapped[timedelta | None]
    member: Mapped[AccountState | None] = mapped_column(Enum(AccountState, native_enum=False))
    other: Mapped[UUID | None]
    document: Mapped[Any] = mapped_column(JSON)
    mutable: Mapped[dict[str, Any] | None] = mapped_column(MutableDict.as_mutable(JSON))
    version: Mapped[int] = version_column()


class Stored(Result):
    pass


class Store(Command[Stored]):
    id: Annotated[UUID, Key(Everything.id)]


VALUES: list[dict[str, Any]] = [
    {
        "whole": 2**40,
        "real": 0.1,
        "exact": Decimal("12345.678"),
        "yes": True,
        "words": "a % and a %s, a :name and a $1, \\ ' \" \u2603",
        "raw": b"\x01 %",
        "day": date(2024, 2, 29),
        "moment": datetime(2026, 5, 4, 12, 30, 1, 23, tzinfo=UTC),
        "span": timedelta(days=3, microseconds=7),
        "member": AccountState.FROZEN,
        "other": UUID(int=7),
        "document": {"a": [1, None, "x"]},
        "mutable": {"b": 1},
    },
    dict.fromkeys(("whole", "real", "exact", "yes", "words", "raw", "day", "moment", "span", "member", "other", "document")),
]


@pytest.fixture
def store(engine: Engine, make_runtime: Callable[..., Any]) -> Callable[..., tuple[Any, ...]]:
    """Return what a new row holds, as text, when values were stored in it in this way."""
    todo: list[dict[str, Any]] = []

    class StoreIt(UseCase[Store, Everything, Stored]):
        def apply(self, command: Store, row: Everything, context: ExecutionContext, /) -> Stored:
            for name, value in todo[-1].items():
                setattr(row, name, value)
            if row.mutable is not None:
                row.mutable["c"] = 2
            return Stored()

    Everywhere.metadata.create_all(engine)
    columns = [cast(column, Text) for column in Everything.__table__.c if column.key != "id"]

    def run(*values: dict[str, Any], folds: bool) -> tuple[Any, ...]:
        runtime = make_runtime(Application([StoreIt], policy=AllowAll(), name="everything"), fold_updates=folds)
        row_id = uuid7()
        with engine.begin() as connection:
            connection.execute(insert(Everything).values(id=row_id, document=1, version=1))
        for one in values:
            todo.append(one)
            assert is_folded(lambda: runtime.execute(Store(id=row_id))) is folds
        with engine.connect() as connection:
            return tuple(connection.execute(select(*columns).where(Everything.id == row_id)).one())

    return run


@pytest.mark.parametrize("values", [VALUES[:1], VALUES], ids=["values", "nothing after them"])
def test_every_kind_of_value_is_stored_as_the_flush_stores_it(
    store: Callable[..., tuple[Any, ...]], values: list[dict[str, Any]]
) -> None:
    assert store(*values, folds=True) == store(*values, folds=False)


def test_a_value_that_has_no_form_in_the_database_fails_as_it_does_in_the_flush(
    store: Callable[..., tuple[Any, ...]], folds: bool, kind: str
) -> None:
    # psycopg makes JSON texts itself, past SQLAlchemy, so that its error comes as it is.
    with pytest.raises(TypeError if kind in ("postgresql", "psycopg_async") else ConstraintViolated):
        store({"document": object()}, folds=folds)
