"""`usecasecore db check` compares the declarations with what is stored."""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum
from typing import Annotated, Any, ClassVar

import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from tests.unit.cli.command_line import CommandLine
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
from usecasecore.verification.stored_states import StateFinding, state_findings


class Base(DeclarativeBase):
    id: Mapped[int] = mapped_column(primary_key=True)


class Level(IntEnum):
    LOW = 1
    HIGH = 20


class Tank(Base):
    __tablename__ = "tanks"
    state: Mapped[str] = state_column()
    level: Mapped[Level] = state_column(Level)
    version: Mapped[int] = version_column()
    lifecycle: ClassVar = Lifecycle(states=["it's new", "old"], initial="it's new", transitions=[["age", "it's new", "old"]])
    filling: ClassVar = Lifecycle(column="level", states=Level, initial=Level.LOW, transitions=[["fill", "LOW", "HIGH"]])


class Done(Result):
    id: int


class Build(Command[Done]):
    id: int


class BuildTank(UseCase[Build, None, Done]):
    creates = Tank

    def apply(self, command: Build, state: None, context: ExecutionContext, /) -> Done:
        return Done(id=context.create(Tank(id=command.id)).id)


class Age(Command[Done]):
    id: Annotated[int, Key(Tank.id)]


class AgeTank(UseCase[Age, Tank, Done]):
    trigger = "age"
    also_fires: ClassVar = {Tank: ("fill",)}

    def apply(self, command: Age, tank: Tank, context: ExecutionContext, /) -> Done:
        context.fire(tank, "fill")
        return Done(id=tank.id)


app = Application([BuildTank, AgeTank], AllowAll())
APP = f"{__name__}:app"


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = create_engine(database_url)
    Base.metadata.create_all(engine)
    runtime = Runtime(engine, app)
    for number in (1, 2, 3):
        runtime.execute(Build(id=number))
    runtime.execute(Age(id=1))
    yield engine
    engine.dispose()


def without_checks(engine: Engine) -> None:
    """Make the tables anew as a hand might have, without CHECKs."""
    with engine.begin() as connection:
        connection.execute(text("alter table tanks rename to before"))
        connection.execute(text("create table tanks (id integer primary key, state varchar(64), level integer, version bigint)"))
        connection.execute(text("insert into tanks select id, state, level, version from before"))
        connection.execute(text("drop table before"))


def found(engine: Engine) -> list[StateFinding]:
    with engine.connect() as connection:
        return list(state_findings(connection, app))


def test_nothing_is_found_where_all_is_as_declared(engine: Engine) -> None:
    assert found(engine) == []


def test_rows_in_undeclared_states_are_counted_by_state(engine: Engine) -> None:
    without_checks(engine)
    with engine.begin() as connection:
        connection.execute(text("update tanks set state = 'rusty' where id > 1"))
        connection.execute(text("update tanks set level = null where id = 3"))
    told = [(one.lifecycle, one.rows, one.cause) for one in found(engine) if one.kind == "undeclared_state"]
    assert told == [
        (
            "tank",
            2,
            "2 rows of tanks hold 'rusty' in 'state', which no lifecycle declares: no trigger is possible for them.",
        ),
        (
            "tank.filling",
            1,
            "1 row of tanks holds None in 'level', which no lifecycle declares: no trigger is possible for them.",
        ),
    ]


def test_a_missing_check_and_a_missing_table_are_told(engine: Engine) -> None:
    without_checks(engine)
    told = [(one.kind, one.cause) for one in found(engine)]
    assert told == [
        ("check_missing", "tanks has no CHECK ck_tanks_state, which keeps other states out of 'state'."),
        ("check_missing", "tanks has no CHECK ck_tanks_level, which keeps other states out of 'level'."),
    ]
    Base.metadata.drop_all(engine)
    assert [one.cause for one in found(engine)] == ["There is no table tanks.", "There is no table tanks."]


def test_a_check_that_differs_from_the_declaration_is_told_with_the_states(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("alter table tanks rename to before"))
        connection.execute(
            text(
                "create table tanks (id integer primary key, state varchar(64), level integer, version bigint, "
                "constraint ck_tanks_state check (state in ('it''s new', 'rotten')), "
                "constraint ck_tanks_level check (level in (1, 20, -3)))"
            )
        )
        connection.execute(text("drop table before"))
    assert [(one.kind, one.cause) for one in found(engine) if one.kind != "disagrees"] == [
        ("check_differs", "The CHECK ck_tanks_state of tanks refuses old and still allows rotten, unlike the declaration."),
        ("check_differs", "The CHECK ck_tanks_level of tanks still allows -3, unlike the declaration."),
    ]


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        ("set version = 5 where id = 2", "tank 2: the row has version 5, and the last entry 1."),
        ("set state = 'old' where id = 2", "tank 2: the row's state is 'old', and the entries left tank in \"it's new\"."),
        ("set level = 1 where id = 1", "tank 1: the row's level is 'LOW', and the entries left tank.filling in 'HIGH'."),
    ],
)
def test_a_row_that_disagrees_with_its_last_audit_entry_is_told(engine: Engine, damage: str, told: str) -> None:
    with engine.begin() as connection:
        connection.execute(text(f"update tanks {damage}"))
    assert [(one.kind, one.cause) for one in found(engine)] == [("disagrees", told)]


def test_entries_whose_row_is_gone_are_told(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("delete from tanks where id = 1"))
    assert [(one.kind, one.cause) for one in found(engine)] == [
        ("disagrees", "tank 1: there are entries up to version 2, and no row.")
    ]


def test_rows_without_an_audit_entry_are_counted(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("insert into tanks (id, state, level, version) values (8, 'old', 1, 1), (9, 'old', 1, 1)"))
    assert [(one.kind, one.rows, one.cause) for one in found(engine)] == [("unaudited", 2, "2 rows of tank have no audit entry.")]


def test_the_command_prints_them_and_exits_with_1(
    engine: Engine, database_url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run: Any = CommandLine(capsys)
    monkeypatch.delenv("USECASECORE_APP", raising=False)
    fine = run("db", "check", "--url", database_url, "--app", APP)
    assert (fine.code, fine.out.count("\n")) == (0, 1)
    with engine.begin() as connection:
        connection.execute(text("update tanks set version = 5 where id = 2"))
    ran = run("db", "check", "--url", database_url, "--app", APP)
    assert ran.code == 1
    assert "tank: tank 2: the row has version 5, and the last entry 1.\n    Find out" in ran.out
    data = run("db", "check", "--url", database_url, "--app", APP, "--format", "json").data
    assert (data["ok"], data["problems"], [one["kind"] for one in data["states"]]) == (False, [], ["disagrees"])
