"""Several aggregates in one decision, rows that must be found, and every kind of primary key; on every driver."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any, ClassVar
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Engine, ForeignKey, ForeignKeyConstraint, Select, String, select, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from tests.accounts import ADA, Account, Deposit, Done, LimitReached, application, done
from tests.bank import Bank, MakeRuntime
from usecasecore import (
    AllowAll,
    Application,
    Command,
    ExecutionContext,
    Key,
    Lifecycle,
    Limits,
    Load,
    Policy,
    PolicyRequest,
    Result,
    Transition,
    UseCase,
    state_column,
    version_column,
)
from usecasecore.errors import (
    AggregateNotFound,
    GuardRejected,
    InvalidCommand,
    StaleVersion,
    TransitionNotAllowed,
    Undeclared,
    WrongResult,
)

BankWith = Callable[..., Bank]
PATIENT = Limits(lock_timeout=timedelta(seconds=30), busy_timeout=timedelta(seconds=60))


class Transfer(Command[Done]):
    source_id: UUID
    target_id: UUID
    amount: int
    then: str = ""


@dataclass(frozen=True)
class Both:
    target: Annotated[Account, Load(id="target_id")]
    source: Annotated[Account, Load(id="source_id")]


class TransferMoney(UseCase[Transfer, Both, Done]):
    also_fires: ClassVar = {Account: ("freeze", "close")}
    refuses = (LimitReached,)

    def apply(self, command: Transfer, both: Both, context: ExecutionContext, /) -> Done:
        both.source.balance -= command.amount
        both.target.balance += command.amount
        for trigger in command.then.split():
            context.fire(both.source, trigger)
        return done(both.source)


class FindByOwner(Command[Done]):
    owner: str


class TouchFound(UseCase[FindByOwner, Account, Done]):
    trigger = "freeze"

    def select(self, command: FindByOwner, /) -> Select[Any]:
        return select(Account).where(Account.owner.like(command.owner))

    def apply(self, command: FindByOwner, account: Account, context: ExecutionContext, /) -> Done:
        return done(account)


@pytest.fixture
def bank(bank_with: BankWith) -> Bank:
    return bank_with(application(TransferMoney, TouchFound), PATIENT)


def test_each_changed_aggregate_has_one_entry_and_counts_once(bank: Bank) -> None:
    one, other = bank.open("a"), bank.open("b")
    outcome = bank.runtime.run(Transfer(source_id=one, target_id=other, amount=5))
    assert (outcome.result.balance, outcome.version) == (-5, None)
    assert [bank.account(each).version for each in (one, other)] == [2, 2]
    assert len(bank.rows("audit")) == 4
    with pytest.raises(InvalidCommand, match="no single aggregate"):
        bank.runtime.run(Transfer(source_id=one, target_id=other, amount=5), expected_version=2)
    bank.runtime.run(Transfer(source_id=one, target_id=other, amount=0))
    assert [bank.account(each).version for each in (one, other)] == [2, 2]
    [without] = [entry for entry in bank.rows("audit") if entry.aggregate is None]
    assert without.use_case == "TransferMoney"


def test_a_further_transition_is_part_of_the_command(bank: Bank) -> None:
    one, other = bank.open("a"), bank.open("b")
    bank.runtime.execute(Transfer(source_id=one, target_id=other, amount=0, then="freeze"))
    assert bank.account(one).state == "frozen"
    [entry] = [entry for entry in bank.rows("audit") if entry.trigger]
    assert (entry.aggregate_id, entry.trigger, entry.from_state, entry.to_state) == (str(one), "freeze", "open", "frozen")
    assert "account.transition.freeze" in {message.type for message in bank.rows("outbox")}


@pytest.mark.parametrize(
    ("then", "error"),
    [("thaw", Undeclared), ("freeze freeze", WrongResult), ("close", GuardRejected)],
)
def test_a_further_transition_that_is_not_possible_undoes_all(bank: Bank, then: str, error: type[Exception]) -> None:
    one, other = bank.open("a"), bank.open("b")
    with pytest.raises(error):
        bank.runtime.execute(Transfer(source_id=one, target_id=other, amount=5, then=then))
    assert [(bank.account(each).balance, bank.account(each).state) for each in (one, other)] == [(0, "open"), (0, "open")]


def test_a_hundred_duplicates_on_several_aggregates_are_one_effect(bank: Bank) -> None:
    one, other = bank.open("a"), bank.open("b")
    start = threading.Barrier(50)

    def once(_: int) -> bool:
        start.wait()
        replayed: bool = bank.runtime.run(
            Transfer(source_id=one, target_id=other, amount=5), actor=ADA, idempotency_key="k"
        ).replayed
        return replayed

    with ThreadPoolExecutor(50) as pool:
        assert sorted(pool.map(once, range(50))) == [False] + [True] * 49
    assert bank.account(one).balance == -5


def test_transfers_in_both_directions_at_once_do_not_deadlock(bank: Bank) -> None:
    one, other = bank.open("a"), bank.open("b")
    pairs = [(one, other), (other, one)] * 40
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda pair: bank.runtime.execute(Transfer(source_id=pair[0], target_id=pair[1], amount=1)), pairs))
    assert [bank.account(each).balance for each in (one, other)] == [0, 0]
    if bank.engine.dialect.name == "postgresql":
        with bank.engine.connect() as connection:
            assert connection.scalar(text("select deadlocks from pg_stat_database where datname = current_database()")) == 0


def test_each_of_several_must_be_readable(bank_with: BankWith) -> None:
    class OnlyA(Policy):
        def readable(self, request: PolicyRequest, /) -> bool:
            return bool(request.aggregate.owner != "b")

        def permitted(self, request: PolicyRequest, /) -> bool:
            return True

    bank = bank_with(application(TransferMoney, policy=OnlyA()))
    one, hidden, missing = bank.open("a"), bank.open("b"), uuid4()
    with pytest.raises(AggregateNotFound) as of_hidden:
        bank.runtime.execute(Transfer(source_id=one, target_id=hidden, amount=5))
    with pytest.raises(AggregateNotFound) as of_missing:
        bank.runtime.execute(Transfer(source_id=one, target_id=missing, amount=5))
    assert str(of_hidden.value).replace(str(hidden), "?") == str(of_missing.value).replace(str(missing), "?")


def test_a_row_is_found_by_a_query_locked_and_fired(bank: Bank) -> None:
    account_id = bank.open("grace")
    first = bank.runtime.run(FindByOwner(owner="gra%"), actor=ADA, idempotency_key="k")
    assert (first.result.state, first.version) == ("frozen", 2)
    assert bank.runtime.run(FindByOwner(owner="gra%"), actor=ADA, idempotency_key="k").replayed
    with pytest.raises(TransitionNotAllowed):
        bank.runtime.execute(FindByOwner(owner="gra%"))
    with pytest.raises(StaleVersion):
        bank.runtime.execute(FindByOwner(owner="gra%"), expected_version=1)
    with pytest.raises(AggregateNotFound):
        bank.runtime.execute(FindByOwner(owner="nobody"))
    bank.open("gradiva")
    with pytest.raises(WrongResult, match="one row from `select`, but there is several"):
        bank.runtime.execute(FindByOwner(owner="gra%"))
    assert bank.account(account_id).version == 2


class Base(DeclarativeBase):
    pass


class Owner(Base):
    __tablename__ = "owners"
    name: Mapped[str] = mapped_column(String(20), primary_key=True)


class Vehicle(Base):
    """Joined-table inheritance, a composite key of a str and an int, and an eager relationship."""

    __tablename__ = "vehicles"
    country: Mapped[str] = mapped_column(String(2), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(10))
    owner_name: Mapped[str | None] = mapped_column(ForeignKey("owners.name"))
    state: Mapped[str] = state_column()
    version: Mapped[int] = version_column()
    owner: Mapped[Owner | None] = relationship(lazy="joined")

    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "vehicle"}
    lifecycle: ClassVar = Lifecycle(
        states=["parked", "driving"],
        initial="parked",
        transitions=[Transition("start", "parked", "driving"), Transition("stop", "driving", "parked")],
    )


class Truck(Vehicle):
    __tablename__ = "trucks"
    __table_args__ = (ForeignKeyConstraint(["country", "number"], ["vehicles.country", "vehicles.number"]),)
    country: Mapped[str] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    load: Mapped[int] = mapped_column(default=0)

    __mapper_args__ = {"polymorphic_identity": "truck"}


class Moved(Result):
    state: str


class Start(Command[Moved]):
    number: Annotated[int, Key(Vehicle.number)]
    country: Annotated[str, Key(Vehicle.country)]


class StartVehicle(UseCase[Start, Vehicle, Moved]):
    trigger = "start"

    def apply(self, command: Start, vehicle: Vehicle, context: ExecutionContext, /) -> Moved:
        assert vehicle.owner is None or vehicle.owner.name
        return Moved(state=vehicle.state)


def test_composite_keys_inheritance_and_eager_relationships_load_and_lock(engine: Engine, make_runtime: MakeRuntime) -> None:
    Base.metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(text("insert into owners values ('ada')"))
        connection.execute(text("insert into vehicles values ('de', 7, 'vehicle', 'ada', 'parked', 1)"))
        connection.execute(text("insert into vehicles values ('de', 8, 'truck', 'ada', 'parked', 1)"))
        connection.execute(text("insert into trucks values ('de', 8, 3)"))
    runtime = make_runtime(Application([StartVehicle], policy=AllowAll()))
    for number in (7, 8):
        first = runtime.run(Start(number=number, country="de"), actor=ADA, idempotency_key=f"k{number}")
        assert (first.result.state, first.version, first.replayed) == ("driving", 2, False)
        assert runtime.run(Start(number=number, country="de"), actor=ADA, idempotency_key=f"k{number}").replayed
    with engine.connect() as connection:
        found = connection.execute(text("select aggregate, aggregate_id from usecasecore_audit order by aggregate_id")).all()
    assert found == [("vehicle", "de|7"), ("vehicle", "de|8")]
    with pytest.raises(AggregateNotFound):
        runtime.run(Start(number=9, country="de"))


def test_deposits_still_work_beside_them(bank: Bank) -> None:
    assert bank.runtime.execute(Deposit(account_id=bank.open(), amount=1)).balance == 1
