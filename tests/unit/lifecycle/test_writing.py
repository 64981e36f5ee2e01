"""The library's own writes of protected attributes are what SQLAlchemy's are, told to whoever listens."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import pytest
from sqlalchemy import create_engine, event, inspect
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, defer, mapped_column, validates

from usecasecore import Lifecycle, Transition, state_column, unofficial, version_column
from usecasecore.errors import StateWriteRefused
from usecasecore.lifecycle.grants import set_version, write


class Base(DeclarativeBase):
    pass


class Door(Base):
    __tablename__ = "doors"
    id: Mapped[int] = mapped_column(primary_key=True)
    state: Mapped[str] = state_column()
    version: Mapped[int] = version_column()
    lifecycle: ClassVar = Lifecycle(states=["open", "shut"], initial="open", transitions=[Transition("shut", "open", "shut")])


class Gate(Base):
    """Its states are looked at by a validator."""

    __tablename__ = "gates"
    id: Mapped[int] = mapped_column(primary_key=True)
    state: Mapped[str] = state_column()
    version: Mapped[int] = version_column()
    lifecycle: ClassVar = Lifecycle(states=["open", "shut"], initial="open", transitions=[Transition("shut", "open", "shut")])

    @validates("state")
    def look_at(self, _name: str, value: str) -> str:
        if value == "shut" and self.version == 13:
            raise ValueError("not with that one")
        return value


@pytest.fixture
def session() -> Iterator[Session]:
    engine = create_engine("sqlite://")
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add_all([Door(id=1), Gate(id=1)])
        session.commit()
        yield session
    engine.dispose()


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[bool]]:
    """Returns what `replace_value` answered so far."""
    answers: list[bool] = []
    original = unofficial.replace_value

    def replace_value(*arguments: Any) -> bool:
        answers.append(original(*arguments))
        return answers[-1]

    monkeypatch.setattr(unofficial, "replace_value", replace_value)
    return lambda: answers


@pytest.mark.parametrize("known", [True, False], ids=["known", "not known"])
def test_a_write_leaves_the_object_as_setting_the_attribute_does(
    session: Session, monkeypatch: pytest.MonkeyPatch, told: Callable[[], list[bool]], known: bool
) -> None:
    monkeypatch.setattr(unofficial, "is_known", lambda: known)
    door = session.get_one(Door, 1)
    assert door.version == 1
    write(door, "state", "shut")
    write(door, "state", "open")
    write(door, "state", "shut")
    set_version(door, "version", 2)
    assert told() == [True] * 4 * known
    state = inspect(door)
    assert list(session.dirty) == [door]
    assert state.attrs.state.history == (["shut"], (), ["open"])
    assert state.attrs.version.history == ([2], (), [1])
    session.commit()
    assert (door.state, door.version) == ("shut", 2)
    write(door, "state", "open")
    session.rollback()
    assert door.state == "shut"


def test_what_the_runtime_did_not_write_is_still_refused(session: Session) -> None:
    door = session.get_one(Door, 1)
    write(door, "state", "shut")
    with pytest.raises(StateWriteRefused):
        door.state = "open"


def test_a_listener_of_the_users_is_told(session: Session, told: Callable[[], list[bool]]) -> None:
    heard: list[tuple[Any, Any]] = []

    def hear(_door: Door, value: Any, old: Any, _initiator: Any) -> None:
        heard.append((old, value))

    door = session.get_one(Door, 1)
    assert door.state == "open"
    event.listen(Door.state, "set", hear)
    try:
        write(door, "state", "shut")
    finally:
        event.remove(Door.state, "set", hear)
    assert heard == [("open", "shut")]
    assert told() == [False]
    write(door, "state", "open")
    assert told() == [False, True]
    assert heard == [("open", "shut")]


def test_a_validator_is_asked(session: Session) -> None:
    gate = session.get_one(Gate, 1)
    set_version(gate, "version", 13)
    with pytest.raises(ValueError, match="not with that one"):
        write(gate, "state", "shut")
    set_version(gate, "version", 14)
    write(gate, "state", "shut")
    assert gate.state == "shut"


@pytest.mark.parametrize("how", ["expired", "deferred"])
def test_a_value_that_is_not_loaded_is_loaded_before_it_is_replaced(
    session: Session, told: Callable[[], list[bool]], how: str
) -> None:
    door = session.get_one(Door, 1, options=[defer(Door.state)] if how == "deferred" else [])
    if how == "expired":
        session.expire(door, ["state"])
    assert "state" not in vars(door)
    write(door, "state", "shut")
    assert told() == [False]
    assert inspect(door).attrs.state.history == (["shut"], (), ["open"])


def test_a_new_object_and_one_of_no_session_are_written_too() -> None:
    door = Door(id=2, state="open")
    write(door, "state", "shut")
    assert (door.state, inspect(door).attrs.state.history.added) == ("shut", ["shut"])
