"""Bad input ends in a typed error, and nothing is half-written."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from pydantic import ValidationError
from sqlalchemy import Engine, ForeignKey, event
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from tests.accounts import ADA, NOON, Close, Deposit, Open, SetPin, application
from tests.bank import Bank, MakeRuntime
from usecasecore import (
    Actor,
    AllowAll,
    Application,
    Command,
    ExecutionContext,
    Key,
    Limits,
    Result,
    UseCase,
    version_column,
)
from usecasecore.errors import AggregateNotFound, ConstraintViolated, InvalidCommand, Rejected


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


HOSTILE: dict[str, Any] = {
    "NUL": "a\x00b",
    "lone surrogate": "\ud800",
    "NaN": float("nan"),
    "infinity": float("inf"),
    "huge integer": 10**30,
    "5,000 digits": 10**5000,
    "nested 33 deep": nested(33),
    "nested 100,000 deep": nested(100_000),
    "a megabyte": "x" * 1_000_000,
    "20,000 items": [0] * 20_000,
    "NUL in a name": {"a\x00": 1},
    "an object of some class": object(),
}


@pytest.fixture
def trips(bank: Bank) -> list[str]:
    """Every statement that is sent to the database."""
    sent: list[str] = []
    event.listen(bank.wire, "before_cursor_execute", lambda c, cursor, statement, *rest: sent.append(statement))
    return sent


@pytest.mark.parametrize("value", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_values_are_refused_before_any_trip(bank: Bank, trips: list[str], value: Any) -> None:
    account_id = bank.open()
    before = bank.counts()
    trips.clear()
    with pytest.raises(InvalidCommand) as refused:
        bank.runtime.execute(Deposit(account_id=account_id, amount=1, note=value), actor=ADA)
    assert trips == []
    assert len(str(refused.value)) < 300
    assert bank.counts() == before


@pytest.mark.parametrize(
    "fields",
    [
        {"account_id": "no uuid", "amount": 1},
        {"account_id": UUID(int=1), "amount": "x"},
        {"account_id": UUID(int=1), "amount": 1, "z": 1},
    ],
)
def test_wrong_types_and_unknown_fields_never_become_a_command(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Deposit(**fields)


def test_a_command_built_past_its_validation_is_refused(bank: Bank, trips: list[str]) -> None:
    bank.open()
    trips.clear()
    with pytest.raises(InvalidCommand):
        bank.runtime.execute(Deposit.model_construct(account_id="no uuid", amount=1))
    with pytest.raises(InvalidCommand):
        bank.runtime.execute(Deposit.model_construct(account_id=UUID(int=1), amount="1"))
    assert trips == []


def test_a_field_that_is_missing_because_validation_was_skipped_is_refused(bank: Bank) -> None:
    with pytest.raises(InvalidCommand):
        bank.runtime.execute(Close.model_construct())


def test_a_command_that_no_use_case_takes_is_refused(bank: Bank) -> None:
    class Unknown(Command[Result]):
        pass

    with pytest.raises(InvalidCommand, match="no use case takes it; there are use cases for: Close, Deposit"):
        bank.runtime.execute(Unknown())
    with pytest.raises(InvalidCommand):
        bank.runtime.execute("Deposit")


@pytest.mark.parametrize(
    "said",
    [
        {"idempotency_key": ""},
        {"idempotency_key": "x" * 256},
        {"idempotency_key": "ü"},
        {"idempotency_key": "a\nb"},
        {"idempotency_key": " a"},
        {"idempotency_key": 7},
        {"expected_version": "1"},
        {"expected_version": True},
        {"reason": "a\x00b"},
        {"reason": "x" * 2_001},
        {"reason": 7},
        {"request_id": "\udc00"},
        {"correlation_id": "x" * 201},
        {"actor": Actor("user", "a\x00b")},
        {"actor": Actor("user", "")},
        {"actor": Actor("user", "x" * 291)},
        {"actor": Actor("user", "a", tenant="")},
        {"actor": Actor("user", 7)},  # type: ignore[arg-type]
    ],
)
def test_what_goes_with_the_command_is_checked_too(bank: Bank, trips: list[str], said: dict[str, Any]) -> None:
    trips.clear()
    with pytest.raises(InvalidCommand):
        bank.runtime.execute(Open(owner="x"), **said)
    assert trips == []


def test_limits_are_the_runtimes(make_runtime: MakeRuntime) -> None:
    runtime = make_runtime(application(), limits=Limits(command_bytes=50))
    with pytest.raises(InvalidCommand, match="50 are accepted"):
        runtime.execute(Open(owner="x" * 50))


class Plain(DeclarativeBase):
    pass


class Item(Plain):
    __tablename__ = "items"

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    parent: Mapped[int | None] = mapped_column(ForeignKey("items.number"))
    version: Mapped[int] = version_column()


class Moved(Result):
    number: int


class Move(Command[Moved]):
    number: Any = None
    parent: int | None = None


Move.model_fields["number"].metadata.append(Key(Item.number))


class Add(Command[Moved]):
    parent: int | None = None


class MoveItem(UseCase[Move, Item, Moved]):
    def apply(self, command: Move, item: Item, context: ExecutionContext, /) -> Moved:
        item.parent = command.parent
        return Moved(number=item.number)


class AddItem(UseCase[Add, None, Moved]):
    creates = Item

    def apply(self, command: Add, state: None, context: ExecutionContext, /) -> Moved:
        return Moved(number=context.create(Item(parent=command.parent)).number)


@pytest.fixture
def items(engine: Engine, make_runtime: MakeRuntime) -> Any:
    Plain.metadata.create_all(engine)
    return make_runtime(Application([MoveItem, AddItem], policy=AllowAll()), clock=lambda: NOON)


@pytest.mark.parametrize("number", ["no number", 2**62, 4_000_000_000, 3.5, -1, "", [1], {"a": 1}, None, True])
def test_a_key_of_a_wrong_type_or_range_names_nothing(items: Any, number: Any) -> None:
    with pytest.raises(AggregateNotFound):
        items.execute(Move(number=number), idempotency_key="k")


def test_a_key_that_the_database_makes_is_known_in_apply(items: Any) -> None:
    outcome = items.run(Add())
    assert (outcome.result.number, outcome.version) == (1, 1)


def test_a_value_that_a_column_refuses_is_a_typed_refusal(items: Any) -> None:
    number = items.execute(Add()).number
    with pytest.raises(ConstraintViolated):
        items.execute(Move(number=number, parent=77))
    if items.engine.dialect.name == "postgresql":
        with pytest.raises(ConstraintViolated):
            items.execute(Move(number=number, parent=2**40))


@pytest.mark.parametrize(
    "text", ["'; drop table accounts; --", "%s %(x)s {0} :x", "\\u0000", "\r\nSet-Cookie: x", "\u202ereversed", "😀" * 5]
)
def test_injection_strings_are_stored_as_they_are(bank: Bank, text: str) -> None:
    account_id = bank.open(text)
    bank.runtime.execute(SetPin(account_id=account_id, pin=text), actor=Actor("user", text), reason=text, idempotency_key="k")
    row, entry = bank.account(account_id), bank.rows("audit")[-1]
    assert (row.owner, row.pin) == (text, text)
    assert entry.actor == f"user:{text}"
    replay = bank.runtime.run(SetPin(account_id=account_id, pin=text), actor=Actor("user", text), idempotency_key="k")
    assert replay.replayed


def test_a_refusal_is_never_a_drivers_error(bank: Bank) -> None:
    for owner in ("x" * 50, "y"):
        bank.open(owner)
    with pytest.raises(Rejected):
        bank.open("y")
