"""A rule about several rows, each changed by another command: broken by row locks alone, kept by a scope."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from typing import Annotated, Any, ClassVar
from uuid import UUID

import pytest
from sqlalchemy import Engine, create_engine, func, select
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from tests.accounts import ADA
from tests.bank import MakeRuntime
from tests.chaos.schedule import Runner, is_waiting_for_a_lock
from tests.chaos.tally import rounds
from tests.chaos.test_races import at_once
from usecasecore import (
    AllowAll,
    Application,
    Command,
    DefinitionError,
    DomainError,
    ExecutionContext,
    Key,
    Limits,
    Result,
    Runtime,
    Scope,
    UseCase,
    uuid7,
    version_column,
)
from usecasecore.errors import AggregateBusy, UnsafeDatabase
from usecasecore.steps import watch

PATIENT = Limits(lock_timeout=timedelta(seconds=60), busy_timeout=timedelta(seconds=60))


class Base(DeclarativeBase):
    pass


class Doctor(Base):
    __tablename__ = "doctors"
    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid7)
    team: Mapped[int]
    on_call: Mapped[bool] = mapped_column(default=True)
    version: Mapped[int] = version_column()


class Left(Result):
    remaining: int


class NobodyLeft(DomainError):
    """Somebody must be on call."""

    def __init__(self, *, team: int) -> None:
        self.team = team
        super().__init__(f"nobody else of team {team} is on call")


class Hired(Result):
    doctor_id: UUID


class Hire(Command[Hired]):
    team: int


class HireDoctor(UseCase[Hire, None, Hired]):
    creates = Doctor

    def apply(self, command: Hire, state: None, context: ExecutionContext, /) -> Hired:
        return Hired(doctor_id=context.create(Doctor(team=command.team, on_call=True)).id)


class GoOffCall(Command[Left]):
    doctor_id: Annotated[UUID, Key(Doctor.id)]
    team: int


class _Leave(UseCase[GoOffCall, Doctor, Left]):
    refuses = (NobodyLeft,)

    def apply(self, command: GoOffCall, doctor: Doctor, context: ExecutionContext, /) -> Left:
        others = select(func.count()).where(Doctor.team == doctor.team, Doctor.on_call, Doctor.id != doctor.id)
        remaining = context.session.scalar(others) or 0
        if not remaining:
            raise NobodyLeft(team=doctor.team)
        doctor.on_call = False
        return Left(remaining=remaining)


class LeaveUnguarded(_Leave):
    pass


class LeaveGuarded(_Leave):
    guards: ClassVar = [Scope("roster", "team")]


def on_call(engine: Engine, team: int) -> int:
    with engine.connect() as connection:
        return int(connection.scalar(select(func.count()).where(Doctor.team == team, Doctor.on_call)) or 0)


@pytest.fixture
def hospital(postgres_url: str) -> Iterator[Callable[..., Runtime]]:
    engine = create_engine(postgres_url, pool_size=20)
    Base.metadata.create_all(engine)
    yield lambda leave, limits=PATIENT: Runtime(engine, Application([HireDoctor, leave], policy=AllowAll()), limits=limits)
    engine.dispose()


def interleaved(runtime: Runtime) -> set[int]:
    """How many of a team of two are left on call, over every point at which the first of two commands is stopped."""
    left = set()
    stop = 0
    while True:
        doctors = [runtime.execute(Hire(team=stop)).doctor_id for _ in range(2)]
        one, other = (Runner(partial(runtime.run, GoOffCall(doctor_id=each, team=stop), actor=ADA)) for each in doctors)
        with watch(one.watch), watch(other.watch):
            one.start()
            stopped = one.advance(stop)
            other.start()
            other.advance(99, lambda: is_waiting_for_a_lock(runtime.engine))
            one.let_go()
            other.let_go()
            one.join()
            other.join()
        left.add(on_call(runtime.engine, stop))
        if not stopped:
            return left
        stop += 1


def test_row_locks_alone_let_both_doctors_go(hospital: Callable[..., Runtime]) -> None:
    """The control: the rule is broken where both have looked before one of them commits."""
    assert 0 in interleaved(hospital(LeaveUnguarded))


def test_a_scope_keeps_one_of_them_in_every_order(hospital: Callable[..., Runtime]) -> None:
    assert interleaved(hospital(LeaveGuarded)) == {1}


@pytest.mark.parametrize("kind", ["sqlite", "aiosqlite", "postgresql", "psycopg_async", "asyncpg"], indirect=True)
def test_a_scope_holds_under_load_on_every_driver(engine: Engine, make_runtime: MakeRuntime) -> None:
    Base.metadata.create_all(engine)
    runtime = make_runtime(Application([HireDoctor, LeaveGuarded], policy=AllowAll()), limits=PATIENT)
    for team in range(rounds(2, 50)):
        doctors = [runtime.execute(Hire(team=team)).doctor_id for _ in range(8)]
        came = at_once(8, lambda number, d=doctors, t=team: runtime.execute(GoOffCall(doctor_id=d[number], team=t)))  # type: ignore[misc]
        assert on_call(engine, team) == 1
        assert sum(isinstance(one, NobodyLeft) for one in came) == 1


def test_commands_of_other_scopes_do_not_wait(hospital: Callable[..., Runtime]) -> None:
    runtime = hospital(LeaveGuarded, Limits(lock_timeout=timedelta(seconds=0.2)))
    mine, theirs = ([runtime.execute(Hire(team=team)).doctor_id for _ in range(3)] for team in (1, 2))
    one = Runner(partial(runtime.run, GoOffCall(doctor_id=mine[0], team=1), actor=ADA))
    with watch(one.watch):
        one.start()
        one.advance(8)  # in the midst of it, and in possession of its scope
        assert runtime.execute(GoOffCall(doctor_id=theirs[0], team=2)).remaining == 2
        with pytest.raises(AggregateBusy):
            runtime.execute(GoOffCall(doctor_id=mine[1], team=1))
        one.let_go()
        one.join()
    assert runtime.execute(GoOffCall(doctor_id=mine[1], team=1)).remaining == 1


def test_repeatable_read_is_refused_where_there_are_scopes(postgres_url: str) -> None:
    engine = create_engine(postgres_url, isolation_level="REPEATABLE READ")
    Runtime(engine, Application([LeaveUnguarded], policy=AllowAll())).check()
    with pytest.raises(UnsafeDatabase, match="scopes take READ COMMITTED or SERIALIZABLE"):
        Runtime(engine, Application([LeaveGuarded], policy=AllowAll())).check()
    engine.dispose()


@pytest.mark.parametrize(
    ("guards", "problem"),
    [
        ([Scope("roster", "tem")], "the scope 'roster' is told apart by 'tem', no field of GoOffCall (doctor_id, team)"),
        ([Scope("", "team")], "a scope is named ''; a text is wanted"),
        (["roster"], "`guards` lists 'roster', which is not a scope"),
    ],
    ids=["field", "name", "type"],
)
def test_a_wrong_scope_is_refused_at_assembly(guards: Any, problem: str) -> None:
    wrong = type("Wrong", (_Leave,), {"guards": guards})
    with pytest.raises(DefinitionError) as error:
        Application([wrong], policy=AllowAll())
    assert problem in str(error.value)
