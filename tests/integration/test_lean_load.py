"""The row that the driver reads is the object that a query of the session would return; and where it might not be, the session is asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID

import pytest
from sqlalchemy import JSON, BigInteger, DateTime, Engine, Enum, ForeignKey, Numeric, Text, event, insert, inspect
from sqlalchemy.ext.mutable import MutableDict
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    Mapper,
    Session,
    composite,
    deferred,
    mapped_column,
    relationship,
    with_loader_criteria,
)

from tests.accounts import ADA, Account, AccountState, Deposit, Flip
from tests.bank import Bank
from usecasecore import AllowAll, Application, Command, ExecutionContext, Key, Result, UseCase, unofficial, uuid7, version_column
from usecasecore.errors import AggregateNotFound
from usecasecore.runtime.lean_load import LeanLoad, plain_select


@contextmanager
def loads() -> Iterator[list[bool]]:
    """Yield a list that says for each row that was looked for whether it was read past the session."""
    answers: list[bool] = []
    original = LeanLoad.is_right_for

    def is_right_for(self: LeanLoad, *arguments: Any) -> bool:
        answers.append(original(self, *arguments))
        return answers[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LeanLoad, "is_right_for", is_right_for)
        yield answers


class Tables(DeclarativeBase):
    pass


class Plain(Tables):
    """A column of each kind that values are converted for."""

    __tablename__ = "plain"

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
    later: Mapped[str | None] = deferred(mapped_column(Text))
    version: Mapped[int] = version_column()
    parts: Mapped[list[Part]] = relationship(back_populates="whole")


class Part(Tables):
    __tablename__ = "part"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid7)
    plain_id: Mapped[UUID] = mapped_column(ForeignKey("plain.id"))
    whole: Mapped[Plain] = relationship(back_populates="parts")


class Looked(Result):
    pass


class Look(Command[Looked]):
    id: Annotated[UUID, Key(Plain.id)]


VALUES: dict[str, Any] = {
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
    "later": "asked for when it is looked at",
}


@pytest.mark.parametrize("values", [VALUES, dict.fromkeys(VALUES)], ids=["values", "nothing"])
def test_each_kind_of_value_is_read_as_a_query_reads_it(
    engine: Engine, make_runtime: Callable[..., Any], values: dict[str, Any]
) -> None:
    seen: list[dict[str, Any]] = []

    class LookAtIt(UseCase[Look, Plain, Looked]):
        def apply(self, command: Look, plain: Plain, context: ExecutionContext, /) -> Looked:
            loaded = dict(inspect(plain).dict)
            loaded.pop("_sa_instance_state")
            assert "later" not in loaded
            seen.append({**loaded, "later": plain.later, "parts": len(plain.parts)})
            assert context.session.get(Plain, plain.id) is plain
            assert not context.session.dirty
            return Looked()

    Tables.metadata.create_all(engine)
    row_id = uuid7()
    with Session(engine) as session, session.begin():
        session.execute(insert(Plain).values(id=row_id, version=1, **values))
        session.execute(insert(Part).values(id=uuid7(), plain_id=row_id))
    with Session(engine) as session:
        plain = session.get_one(Plain, row_id)
        expected = {prop.key: getattr(plain, prop.key) for prop in inspect(Plain).column_attrs} | {"parts": 1}
    runtime = make_runtime(Application([LookAtIt], policy=AllowAll(), name="plain"))
    with loads() as answers:
        for _ in range(2):  # the first one learns the driver's types
            runtime.execute(Look(id=row_id))
    assert answers == [True, True]
    assert seen == [expected, {**expected, "version": 2}]


def put_in(command: Deposit, account: Account, context: Any) -> None:
    account.balance += command.amount


def test_what_an_earlier_command_of_the_transaction_has_loaded_is_the_same_object(bank_doing: Callable[..., Bank]) -> None:
    held: list[Account] = []

    def hold(command: Deposit, account: Account, context: Any) -> None:
        put_in(command, account, context)
        held.append(account)

    bank = bank_doing(hold)
    account_id = bank.open()

    def work(transaction: Any) -> int:
        for amount in (5, 7):
            transaction.execute(Deposit(account_id=account_id, amount=amount), actor=ADA)
        return held[1].balance

    assert bank.runtime.transaction(work) == 12
    assert held[0] is held[1]
    assert bank.account(account_id).version == 3


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"], indirect=True)
def test_a_caller_who_has_it_loaded_keeps_their_object(bank_doing: Callable[..., Bank]) -> None:
    bank = bank_doing(put_in)
    account_id = bank.open()
    with Session(bank.engine) as session, session.begin():
        mine = session.get_one(Account, account_id)
        bank.runtime.execute(Deposit(account_id=account_id, amount=5), actor=ADA, session=session)
        session.refresh(mine)
        assert mine.balance == 5


def test_a_missing_row_is_not_found_in_one_question(bank_doing: Callable[..., Bank]) -> None:
    bank = bank_doing(put_in)
    with loads() as answers, pytest.raises(AggregateNotFound):
        bank.runtime.execute(Deposit(account_id=uuid7(), amount=5), actor=ADA)
    assert answers == [True]


@pytest.mark.parametrize("what", ["load", "loaded_as_persistent", "do_orm_execute", "before_execute", "after_execute"])
def test_who_listens_to_the_loading_hears_of_it(bank_doing: Callable[..., Bank], what: str) -> None:
    bank = bank_doing(put_in)
    account_id = bank.open()
    heard: list[str] = []
    target: Any = {"load": Account, "before_execute": Engine, "after_execute": Engine}.get(what, Session)

    def note(*_: Any) -> None:
        heard.append(what)

    event.listen(target, what, note)
    try:
        with loads() as answers:
            bank.runtime.execute(Deposit(account_id=account_id, amount=5), actor=ADA)
    finally:
        event.remove(target, what, note)
    assert heard
    assert answers == [False]
    with loads() as answers:
        bank.runtime.execute(Flip(account_id=account_id), actor=ADA)
    assert answers == [True]


def test_a_filter_that_the_application_puts_on_every_query_is_kept(bank_doing: Callable[..., Bank]) -> None:
    bank = bank_doing(put_in)
    account_id = bank.open()

    def only_others(state: Any) -> None:
        if state.is_select:
            state.statement = state.statement.options(with_loader_criteria(Account, Account.owner == "somebody else"))

    event.listen(Session, "do_orm_execute", only_others)
    try:
        with pytest.raises(AggregateNotFound):
            bank.runtime.execute(Deposit(account_id=account_id, amount=5), actor=ADA)
    finally:
        event.remove(Session, "do_orm_execute", only_others)


def test_where_sqlalchemy_is_not_as_it_is_known_the_session_is_asked(
    bank_doing: Callable[..., Bank], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unofficial, "is_known", lambda: False)
    bank = bank_doing(put_in)
    account_id = bank.open()
    with loads() as answers:
        bank.runtime.execute(Deposit(account_id=account_id, amount=5), actor=ADA)
    assert answers == []
    assert bank.account(account_id).balance == 5


class Point:
    def __init__(self, x: int, y: int) -> None:
        self.x, self.y = x, y


class Changing(Tables):
    __tablename__ = "changing"
    id: Mapped[int] = mapped_column(primary_key=True)
    mutable: Mapped[dict[str, Any] | None] = mapped_column(MutableDict.as_mutable(JSON))


class Composed(Tables):
    __tablename__ = "composed"
    id: Mapped[int] = mapped_column(primary_key=True)
    x: Mapped[int]
    y: Mapped[int]
    point: Mapped[Point] = composite(Point, "x", "y")


class Eager(Tables):
    __tablename__ = "eager"
    id: Mapped[int] = mapped_column(primary_key=True)
    plain_id: Mapped[UUID] = mapped_column(ForeignKey("plain.id"))
    plain: Mapped[Plain] = relationship(lazy="selectin")


class Animal(Tables):
    __tablename__ = "animal"
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "animal"}


class Dog(Animal):
    __mapper_args__ = {"polymorphic_identity": "dog"}


def test_a_class_that_is_more_than_its_columns_is_left_to_the_session(engine: Engine) -> None:
    with Session(engine) as session, engine.connect() as connection:
        lean = {}
        for cls in (Plain, Part, Account, Changing, Composed, Eager, Animal, Dog):
            mapper: Mapper[Any] = inspect(cls)
            lean[cls.__name__] = LeanLoad.suits(mapper, engine.dialect) and LeanLoad(
                mapper, plain_select(mapper), engine.dialect
            ).is_right_for(session, connection)
    assert [name for name, is_lean in lean.items() if is_lean] == ["Plain", "Part", "Account"]
