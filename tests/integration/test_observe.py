"""`Lifecycle(..., enforce="observe")`: what would be refused is let through, logged and counted; on both databases."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable, Iterator
from enum import StrEnum
from types import MappingProxyType
from typing import Annotated, Any, ClassVar

import pytest
from sqlalchemy import Engine, create_engine, delete, insert, make_url, select, text, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from sqlalchemy.orm.attributes import flag_modified, set_committed_value

from tests.bank import ASYNC_DRIVERS
from usecasecore import AllowAll, Application, Command, ExecutionContext, Key, Lifecycle, Result, Runtime, Transition, UseCase
from usecasecore.errors import DefinitionError, StateWriteRefused, TransitionNotAllowed
from usecasecore.ledger import ledger_tables
from usecasecore.lifecycle import Location, state_column, unprotected, version_column

SETTING, FLUSH = "setting the attribute", "a flush"


class Base(DeclarativeBase):
    pass


class TaskState(StrEnum):
    OPEN = "open"
    DONE = "done"


class Task(Base):
    __tablename__ = "tasks"
    id: Mapped[int] = mapped_column(primary_key=True)
    state: Mapped[TaskState] = state_column(TaskState)
    version: Mapped[int] = version_column()
    lifecycle: ClassVar = Lifecycle(
        states=TaskState,
        initial="open",
        transitions=[Transition("finish", "open", "done")],
        enforce="observe",
    )


class Ticket(Base):
    """One of its lifecycles observes, the other one enforces."""

    __tablename__ = "tickets"
    id: Mapped[int] = mapped_column(primary_key=True)
    state: Mapped[str] = state_column()
    payment: Mapped[str] = state_column()
    version: Mapped[int] = version_column()
    lifecycle: ClassVar = Lifecycle(states=["new", "sold"], initial="new", transitions=[], enforce="observe")
    paying: ClassVar = Lifecycle(states=["due", "paid"], initial="due", transitions=[], column="payment")


class Finished(Result):
    state: str


class Finish(Command[Finished]):
    task_id: Annotated[int, Key(Task.id)]


class FinishTask(UseCase[Finish, Task, Finished]):
    trigger = "finish"

    def apply(self, command: Finish, task: Task, context: ExecutionContext, /) -> Finished:
        return Finished(state=task.state)


class Add(Command[Finished]):
    id: int


class AddTask(UseCase[Add, None, Finished]):
    creates = Task
    also_fires: ClassVar = {}

    def apply(self, command: Add, state: None, context: ExecutionContext, /) -> Finished:
        return Finished(state=context.create(Task(id=command.id)).state)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = create_engine(database_url)
    Base.metadata.create_all(engine)
    with Session(engine) as session, session.begin():
        session.add_all([Task(id=1), Ticket(id=1)])
    yield engine
    engine.dispose()


@pytest.fixture
def session(engine: Engine) -> Iterator[Session]:
    with Session(engine) as session:
        yield session


@pytest.fixture
def seen(caplog: pytest.LogCaptureFixture) -> Callable[[], dict[str, int]]:
    """What was observed during the test, by what was done; all of it in this file."""
    caplog.set_level(logging.WARNING, "usecasecore.lifecycle")
    before = dict(Task.lifecycle.observed)

    def since() -> dict[str, int]:
        found: dict[str, int] = {}
        for (site, what), count in Task.lifecycle.observed.items():
            if count > before.get((site, what), 0):
                assert site.file == __file__
                found[what] = found.get(what, 0) + count - before.get((site, what), 0)
        assert sum(found.values()) == len(caplog.records)
        return found

    return since


def stored(session: Session) -> Any:
    return session.execute(text("select state, version from tasks where id = 1")).one_or_none()


def line_before() -> int:
    """Return the line above the one that calls."""
    return inspect.stack()[1].lineno - 1


def test_an_assignment_is_let_through_logged_with_its_call_site_and_counted(
    session: Session, caplog: pytest.LogCaptureFixture
) -> None:
    task = session.get_one(Task, 1)
    before = dict(Task.lifecycle.observed)
    for state in (TaskState.DONE, TaskState.OPEN, TaskState.DONE):
        task.state = state
        here = line_before()
    session.commit()
    assert stored(session) == ("done", 1)
    place = Location(__file__, here), SETTING
    assert Task.lifecycle.observed[place] == before.get(place, 0) + 3
    first: Any = caplog.records[0]
    assert (first.name, first.levelname) == ("usecasecore.lifecycle", "WARNING")
    assert first.getMessage() == f"task: {SETTING} past the runtime at {__file__}:{here} (state: open -> done)"
    assert (first.lifecycle, first.what, first.source, first.dest, first.call_site) == (
        "task",
        SETTING,
        "open",
        "done",
        f"{__file__}:{here}",
    )


def test_an_assignment_of_the_version_too(session: Session, seen: Callable[[], dict[str, int]]) -> None:
    session.get_one(Task, 1).version = 7
    session.commit()
    assert stored(session) == ("open", 7)
    assert seen() == {SETTING: 1}


def test_what_is_smuggled_past_the_attribute_is_found_at_the_flush(session: Session, seen: Callable[[], dict[str, int]]) -> None:
    task = session.get_one(Task, 1)
    vars(task)["state"] = TaskState.DONE
    flag_modified(task, "state")
    session.commit()
    assert stored(session) == ("done", 1)
    assert seen() == {FLUSH: 1}


def test_deleting_a_row_is_let_through(session: Session, seen: Callable[[], dict[str, int]]) -> None:
    session.delete(session.get_one(Task, 1))
    session.commit()
    assert stored(session) is None
    assert seen() == {"deleting the row": 1}


@pytest.mark.parametrize(
    ("statement", "row", "what"),
    [
        (lambda _: update(Task).values(state="done"), ("done", 1), "an UPDATE statement"),
        (lambda _: update(Task).values(version=Task.version + 1), ("open", 2), "an UPDATE statement"),
        (lambda _: delete(Task), None, "a DELETE statement"),
        (
            lambda dialect: (
                dialect.insert(Task).values(id=1, version=1).on_conflict_do_update(index_elements=["id"], set_={"state": "done"})
            ),
            ("done", 1),
            "an upsert",
        ),
    ],
    ids=["update", "version", "delete", "upsert"],
)
def test_statements_are_let_through(
    session: Session, seen: Callable[[], dict[str, int]], statement: Any, row: Any, what: str
) -> None:
    session.execute(statement(sqlite if session.get_bind().dialect.name == "sqlite" else postgresql))
    session.commit()
    assert stored(session) == row
    assert seen() == {what: 1}


def test_an_insert_in_another_state_is_counted_and_one_in_the_initial_state_is_not(
    session: Session, seen: Callable[[], dict[str, int]]
) -> None:
    session.add_all([Task(id=2, state=TaskState.DONE), Task(id=3, state=TaskState.OPEN), Task(id=4)])
    session.commit()
    assert seen() == {"an insert in another state than the initial one": 1}


def test_a_state_that_is_not_declared_is_let_through_as_far_as_the_database_takes_it(
    session: Session, seen: Callable[[], dict[str, int]], engine: Engine
) -> None:
    with engine.begin() as connection:
        connection.execute(text("drop table tasks"))
        connection.execute(text("create table tasks (id integer primary key, state varchar(64), version integer)"))
        connection.execute(text("insert into tasks values (1, 'open', 1)"))
    session.get_one(Task, 1).state = "parked"  # type: ignore[assignment]  # what an old code path may do
    session.add(Task(id=2, state="parked"))
    session.commit()
    assert session.execute(select(Task.state).order_by(Task.id)).scalars().all() == ["parked", "parked"]
    assert seen() == {SETTING: 1, "an insert in another state than the initial one": 1}


def test_what_the_runtime_does_is_checked_as_ever_and_not_counted(engine: Engine, seen: Callable[[], dict[str, int]]) -> None:
    runtime = Runtime(engine, Application([FinishTask, AddTask], policy=AllowAll()))
    assert runtime.run(Finish(task_id=1)).version == 2
    with pytest.raises(TransitionNotAllowed):
        runtime.execute(Finish(task_id=1))
    assert runtime.run(Add(id=9)).version == 1
    assert seen() == {}


def test_what_apply_does_past_the_context_is_seen_too(engine: Engine, seen: Callable[[], dict[str, int]]) -> None:
    class FinishTwice(UseCase[Finish, Task, Finished]):
        def apply(self, command: Finish, task: Task, context: ExecutionContext, /) -> Finished:
            task.state = TaskState.DONE
            return Finished(state=task.state)

    runtime = Runtime(engine, Application([FinishTwice], policy=AllowAll()))
    assert runtime.run(Finish(task_id=1)).version == 2
    assert seen() == {SETTING: 1}
    with engine.connect() as connection:
        [entry] = connection.execute(select(ledger_tables().audit)).all()
    assert (entry.trigger, entry.changes) == (None, {"state": ["open", "done"]})


def test_inside_of_unprotected_nothing_is_counted(session: Session) -> None:
    before = dict(Task.lifecycle.observed)
    with unprotected(reason="a repair"):
        session.get_one(Task, 1).state = TaskState.DONE
        session.add(Task(id=2, state=TaskState.DONE))
        session.commit()
        session.execute(delete(Task))
    assert dict(Task.lifecycle.observed) == before
    assert stored(session) is None


def test_the_counts_are_a_snapshot_that_nobody_changes(session: Session) -> None:
    session.get_one(Task, 1).version = 3
    snapshot = Task.lifecycle.observed
    assert isinstance(snapshot, MappingProxyType)
    before = dict(snapshot)
    session.get_one(Task, 1).version = 4
    assert dict(snapshot) == before
    assert sum(Task.lifecycle.observed.values()) == sum(before.values()) + 1


def test_one_lifecycle_that_enforces_protects_the_version_and_the_row(session: Session) -> None:
    ticket = session.get_one(Ticket, 1)
    ticket.state = "sold"
    with pytest.raises(StateWriteRefused):
        ticket.payment = "paid"
    with pytest.raises(StateWriteRefused):
        ticket.version = 2
    with pytest.raises(StateWriteRefused):
        session.execute(delete(Ticket))
    session.delete(ticket)
    with pytest.raises(StateWriteRefused, match=r"ticket\.paying"):
        session.flush()
    assert Ticket.paying.observed == {}


def test_the_call_site_is_found_through_an_async_session(database_url: str, engine: Engine) -> None:
    url = make_url(database_url)
    driver = ASYNC_DRIVERS["aiosqlite" if url.get_backend_name() == "sqlite" else "psycopg_async"]

    async def change() -> int:
        engine = create_async_engine(url.set(drivername=driver))
        async with AsyncSession(engine) as session:
            task = await session.get_one(Task, 1)
            set_committed_value(task, "state", TaskState.DONE)
            await session.delete(task)
            await session.commit()
            here = line_before()
        await engine.dispose()
        return here

    here = asyncio.run(change())
    assert (Location(__file__, here), "deleting the row") in Task.lifecycle.observed


def test_another_word_is_refused_when_the_class_is_mapped() -> None:
    class Own(DeclarativeBase):
        pass

    with pytest.raises(DefinitionError, match="enforce is 'observ'; 'enforce' or 'observe' is accepted; did you mean 'observe'"):

        class Wrong(Own):
            __tablename__ = "wrong"
            id: Mapped[int] = mapped_column(primary_key=True)
            state: Mapped[str] = state_column()
            version: Mapped[int] = version_column()
            lifecycle: ClassVar = Lifecycle(
                states=["a", "b"],
                initial="a",
                transitions=[],
                enforce="observ",  # type: ignore[arg-type]  # the slip that is meant
            )


def test_plain_inserts_by_statement_stay_free(session: Session, seen: Callable[[], dict[str, int]]) -> None:
    session.execute(insert(Task).values(id=5, state="done", version=1))
    assert seen() == {}
