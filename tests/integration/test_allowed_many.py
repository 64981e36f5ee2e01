"""What can be done with many rows: what they share is answered once, and nothing of one row gets into the answer about another."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, ClassVar

import pytest
from sqlalchemy import Engine, insert, select
from sqlalchemy.orm import DeclarativeBase, Mapped, defer, load_only, mapped_column

from tests.bank import MakeRuntime
from usecasecore import (
    AllowAll,
    Application,
    Command,
    ExecutionContext,
    Key,
    Lifecycle,
    Policy,
    PolicyRequest,
    Result,
    Transition,
    UseCase,
    state_column,
    version_column,
)
from usecasecore.errors import UndeclaredState
from usecasecore.runtime import action_table


class ParcelState(StrEnum):
    PACKED = "packed"
    SENT = "sent"
    LOST = "lost"


class Base(DeclarativeBase):
    pass


class Parcel(Base):
    __tablename__ = "parcels"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    weight: Mapped[int]
    held: Mapped[int]
    state: Mapped[ParcelState] = state_column(ParcelState)
    version: Mapped[int] = version_column()

    lifecycle: ClassVar = Lifecycle(
        states=ParcelState,
        initial=ParcelState.PACKED,
        transitions=[
            # Guards whose answers are numbers, as pytransitions takes them: any but 0 is a yes.
            Transition("send", ParcelState.PACKED, ParcelState.SENT, conditions="how_heavy", unless="held"),
            Transition("send", ParcelState.PACKED, ParcelState.LOST, conditions="is_nine"),
            Transition("lose", ParcelState.SENT, ParcelState.LOST),
        ],
    )

    def how_heavy(self) -> int:
        return self.weight

    def is_nine(self) -> bool:
        return self.weight == 9


class Done(Result):
    parcel_id: int


class Send(Command[Done]):
    parcel_id: Annotated[int, Key(Parcel.id)]
    by: str


class Lose(Command[Done]):
    parcel_id: Annotated[int, Key(Parcel.id)]


class SendParcel(UseCase[Send, Parcel, Done]):
    trigger = "send"

    def apply(self, command: Send, parcel: Parcel, context: ExecutionContext, /) -> Done:
        return Done(parcel_id=parcel.id)


class LoseParcel(UseCase[Lose, Parcel, Done]):
    trigger = "lose"

    def apply(self, command: Lose, parcel: Parcel, context: ExecutionContext, /) -> Done:
        return Done(parcel_id=parcel.id)


class OnlyOdd(Policy):
    """Of the rows with an even key nobody knows; one by one, whatever they have in common."""

    def readable(self, request: PolicyRequest, /) -> bool:
        return bool(request.aggregate.id % 2)

    def permitted(self, request: PolicyRequest, /) -> bool:
        return bool(request.aggregate.weight < 50)


def runtime_with(rows: list[Any], engine: Engine, make_runtime: MakeRuntime, policy: Policy) -> Any:
    Base.metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(insert(Parcel), [{"weight": 1, "held": 0, "state": "packed", "version": 1, **row} for row in rows])
    return make_runtime(Application([SendParcel, LoseParcel], policy=policy))


def sends(answers: Any) -> dict[str, tuple[str, ...]]:
    """Key -> the answer about sending, and the codes of its refusals."""
    return {one.key: (one["SendParcel"].answer.value, *(no.code for no in one["SendParcel"].refusals)) for one in answers}


def test_rows_in_one_state_at_one_version_have_their_guards_asked_each(engine: Engine, make_runtime: MakeRuntime) -> None:
    rows = [{"id": 1, "weight": 7}, {"id": 2, "weight": 0}, {"id": 3, "held": 2}, {"id": 4, "weight": 9}]
    runtime = runtime_with(rows, engine, make_runtime, AllowAll())
    answers = runtime.allowed_many(Parcel, [1, 2, 3, 4])
    assert sends(answers) == {
        "1": ("yes",),
        "2": ("no", "guard_rejected"),
        "3": ("no", "guard_rejected"),
        "4": ("yes",),
    }
    # Of two candidates that say yes the first one is taken, though its yes is a number.
    assert answers[3]["SendParcel"].destinations == ("sent",)
    assert list(answers) == [runtime.allowed(Parcel, key) for key in (1, 2, 3, 4)]


def test_rows_that_the_policy_hides_are_left_out_one_by_one(engine: Engine, make_runtime: MakeRuntime) -> None:
    rows = [{"id": 1}, {"id": 2}, {"id": 3, "weight": 80}, {"id": 4, "weight": 80}]
    runtime = runtime_with(rows, engine, make_runtime, OnlyOdd())
    assert sends(runtime.allowed_many(Parcel, [4, 3, 2, 1])) == {"3": ("no", "forbidden"), "1": ("yes",)}


def test_what_the_query_does_not_load_is_loaded_when_it_is_needed(engine: Engine, make_runtime: MakeRuntime) -> None:
    rows = [{"id": 1, "version": 4}, {"id": 2, "state": "sent", "version": 5}]
    runtime = runtime_with(rows, engine, make_runtime, AllowAll())
    expected = runtime.allowed_many(Parcel, [1, 2])
    assert [(one.version, one.state) for one in expected] == [(4, "packed"), (5, "sent")]
    by_id = select(Parcel).order_by(Parcel.id)
    for left_out in (load_only(Parcel.weight), defer(Parcel.state), defer(Parcel.version)):
        assert runtime.allowed_many(Parcel, by_id.options(left_out)) == expected


def test_the_version_of_a_refusal_is_that_of_its_row_however_many_there_are(
    engine: Engine, make_runtime: MakeRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What is kept for rows at a version is dropped and made again in between.
    monkeypatch.setattr(action_table, "_MOST_OUTLINES", 3)
    rows = [{"id": number, "state": "sent", "version": number % 7 + 1} for number in range(40)]
    runtime = runtime_with(rows, engine, make_runtime, AllowAll())
    for one in runtime.allowed_many(Parcel, range(40)):
        assert one.version == int(one.key) % 7 + 1
        assert [no.version for no in one["SendParcel"].refusals] == [one.version]
        assert one["LoseParcel"].answer == "yes"


def test_a_row_in_no_declared_state_is_named_and_not_passed_over(engine: Engine, make_runtime: MakeRuntime) -> None:
    runtime = runtime_with([{"id": 1}], engine, make_runtime, AllowAll())
    table = Base.metadata.tables["parcels"]
    with engine.begin() as connection:
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql("PRAGMA ignore_check_constraints=ON")
        else:
            names = [one.name for one in table.constraints if "state" in str(one.name)]
            for name in names:
                connection.exec_driver_sql(f'alter table parcels drop constraint "{name}"')
        connection.exec_driver_sql("update parcels set state = 'eaten'")
    with pytest.raises(UndeclaredState, match="'eaten'"):
        runtime.allowed_many(Parcel, [1])
