"""Further lifecycles of one aggregate, fired in one command: what is refused, and triggers that several of them have."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar

import pytest
from sqlalchemy import Engine, create_engine, select
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from usecasecore import (
    AllowAll,
    Application,
    Command,
    ExecutionContext,
    Key,
    Lifecycle,
    Result,
    Runtime,
    UseCase,
    state_column,
    version_column,
)
from usecasecore.errors import DefinitionError, Undeclared, WrongResult
from usecasecore.ledger import ledger_tables
from usecasecore.ledger.transitions import transitions_of


class Base(DeclarativeBase):
    pass


class Trip(Base):
    __tablename__ = "trips"
    id: Mapped[int] = mapped_column(primary_key=True)
    hotel_state: Mapped[str] = state_column()
    flight_state: Mapped[str] = state_column()
    version: Mapped[int] = version_column()
    hotel: ClassVar = Lifecycle(
        column="hotel_state",
        states=["asked", "booked", "cancelled"],
        initial="asked",
        transitions=[["book", "asked", "booked"], ["cancel", "*", "cancelled"]],
    )
    flight: ClassVar = Lifecycle(
        column="flight_state",
        states=["asked", "cancelled"],
        initial="asked",
        transitions=[["cancel", "asked", "cancelled"], ["fly", "asked", None]],
    )


class Done(Result):
    id: int


class Plan(Command[Done]):
    id: int


class PlanTrip(UseCase[Plan, None, Done]):
    creates = Trip

    def apply(self, command: Plan, state: None, context: ExecutionContext, /) -> Done:
        return Done(id=context.create(Trip(id=command.id)).id)


class Change(Command[Done]):
    id: Annotated[int, Key(Trip.id)]
    fires: tuple[str, ...]


class ChangeTrip(UseCase[Change, Trip, Done]):
    also_fires: ClassVar = {Trip: ("book", "hotel.cancel", "flight.cancel", "fly")}

    def apply(self, command: Change, trip: Trip, context: ExecutionContext, /) -> Done:
        for trigger in command.fires:
            context.fire(trip, trigger)
        return Done(id=trip.id)


class ToldTrip(ChangeTrip):
    def audit(self, command: Change, state: Trip, context: ExecutionContext, /) -> dict[str, Any]:
        return {"transitions": [], "mood": "good"} if command.id == 2 else {"mood": "good"}


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = create_engine(database_url)
    Base.metadata.create_all(engine)
    yield engine
    engine.dispose()


def runtime_with(engine: Engine, use_case: type[UseCase[Any, Any, Any]]) -> Runtime:
    runtime = Runtime(engine, Application([PlanTrip, use_case], AllowAll()))
    for number in (1, 2):
        runtime.execute(Plan(id=number))
    return runtime


def last_entry(engine: Engine) -> dict[str, Any]:
    audit = ledger_tables().audit
    with engine.connect() as connection:
        return dict(connection.execute(select(audit).order_by(audit.c.version.desc())).first()._mapping)  # type: ignore[union-attr]


def test_a_trigger_that_several_lifecycles_have_is_fired_by_attribute_and_name(engine: Engine) -> None:
    runtime_with(engine, ChangeTrip).execute(Change(id=1, fires=("flight.cancel", "hotel.cancel")))
    made = [(one.lifecycle, one.trigger, one.dest) for one in transitions_of(last_entry(engine))]
    assert made == [("trip.flight", "cancel", "cancelled"), ("trip.hotel", "cancel", "cancelled")]


def test_detail_of_the_use_case_is_kept_beside_the_transitions(engine: Engine) -> None:
    runtime_with(engine, ToldTrip).execute(Change(id=1, fires=("book", "fly")))
    assert last_entry(engine)["detail"] == {
        "mood": "good",
        "transitions": [{"from": "asked", "lifecycle": "trip.flight", "to": "asked", "trigger": "fly"}],
    }


@pytest.mark.parametrize(
    ("fires", "said"),
    [
        (("book", "hotel.cancel"), "one transition for each lifecycle"),
        (("fly", "flight.cancel"), "one transition for each lifecycle"),
    ],
)
def test_a_lifecycle_makes_one_transition_in_a_command(engine: Engine, fires: tuple[str, ...], said: str) -> None:
    runtime = runtime_with(engine, ChangeTrip)
    with pytest.raises(WrongResult, match=said):
        runtime.execute(Change(id=1, fires=fires))
    assert last_entry(engine)["version"] == 1


def test_a_trigger_that_does_not_say_which_is_undeclared(engine: Engine) -> None:
    runtime = runtime_with(engine, ChangeTrip)
    with pytest.raises(Undeclared, match="also_fires"):
        runtime.execute(Change(id=1, fires=("cancel",)))


def test_a_use_case_may_not_write_transitions_of_its_own_into_the_detail(engine: Engine) -> None:
    runtime = runtime_with(engine, ToldTrip)
    with pytest.raises(WrongResult, match="audit detail without the key 'transitions'"):
        runtime.execute(Change(id=2, fires=()))


def test_a_declaration_must_say_which_of_several_it_means() -> None:
    class Unclear(ChangeTrip):
        also_fires: ClassVar = {Trip: ("cancel",)}

    with pytest.raises(
        DefinitionError, match=r"'cancel' is a trigger of several lifecycles of Trip; write 'hotel.cancel' or 'flight"
    ):
        Application([Unclear], AllowAll())


def test_each_lifecycle_knows_who_fires_it() -> None:
    [registration] = Application([ChangeTrip], AllowAll()).registrations
    assert registration.fires == {Trip.hotel: ("book", "cancel"), Trip.flight: ("cancel", "fly")}
