"""Nested states are found by the states around them."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Any, ClassVar

import pytest
from sqlalchemy import Engine, create_engine, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, aliased, mapped_column

from usecasecore import Lifecycle, state_column, version_column


class Base(DeclarativeBase):
    pass


class Phase(StrEnum):
    NEW = "new"
    WORK = "work"
    DONE = "done"


class Task(Base):
    __tablename__ = "tasks"
    id: Mapped[int] = mapped_column(primary_key=True)
    state: Mapped[str] = state_column(index=True)
    version: Mapped[int] = version_column()
    lifecycle: ClassVar = Lifecycle(
        states=[
            Phase.NEW,
            {"name": Phase.WORK, "initial": "open", "children": ["open", {"name": "held", "children": ["ours", "theirs"]}]},
            Phase.DONE,
        ],
        initial=Phase.NEW,
        separator="/",
        transitions=[["go", "new", "work"], ["end", "work", "done"]],
    )


STATES = ("new", "work/open", "work/held", "work/held/ours", "work/held/theirs", "done")


@pytest.fixture
def session(database_url: str) -> Iterator[Session]:
    engine: Engine = create_engine(database_url)
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add_all(Task(state=state) for state in STATES)
        session.commit()
        yield session
    engine.dispose()


@pytest.mark.parametrize(
    ("state", "found"),
    [
        ("work", STATES[1:5]),
        (Phase.WORK, STATES[1:5]),
        ("WORK", STATES[1:5]),
        ("work/held", STATES[2:5]),
        ("work/held/ours", ("work/held/ours",)),
        (Phase.DONE, ("done",)),
    ],
)
def test_rows_are_found_by_a_state_around_theirs(session: Session, state: Any, found: tuple[str, ...]) -> None:
    tasks = session.scalars(select(Task).where(Task.lifecycle.within(state)).order_by(Task.id)).all()
    assert tuple(task.state for task in tasks) == found
    assert [Task.lifecycle.is_within(task, state) for task in tasks] == [True] * len(found)


def test_the_condition_is_negated_and_asked_of_an_alias(session: Session) -> None:
    other = aliased(Task)
    statement = select(other.state).where(~Task.lifecycle.within("work", of=other)).order_by(other.id)
    assert list(session.scalars(statement)) == ["new", "done"]
    assert not Task.lifecycle.is_within(Task(state="new"), "work")


def test_a_state_that_there_is_not_is_refused_with_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"task: 'wrok' is not a state; did you mean 'work'\?"):
        Task.lifecycle.within("wrok")
