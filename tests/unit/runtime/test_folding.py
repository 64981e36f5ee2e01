"""Which classes' UPDATE may travel with the ledger's statement."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from sqlalchemy import Computed, Dialect, FetchedValue, ForeignKey, Integer, String, TypeDecorator, func, inspect
from sqlalchemy.dialects.postgresql import asyncpg, psycopg
from sqlalchemy.dialects.sqlite import pysqlite
from sqlalchemy.orm import DeclarativeBase, Mapped, column_property, make_transient_to_detached, mapped_column
from sqlalchemy.orm.attributes import instance_state, set_committed_value

from usecasecore import unofficial
from usecasecore.runtime.folding import Folding

DIALECTS: list[Dialect] = [psycopg.dialect(), asyncpg.dialect(), pysqlite.dialect()]  # type: ignore[no-untyped-call]  # SQLAlchemy leaves it untyped


class Base(DeclarativeBase):
    pass


class Plain(Base):
    __tablename__ = "plain"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(default="x", server_default="y")
    made_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Lenient(TypeDecorator[str]):
    """A text whose case doesn't matter."""

    impl = String
    cache_ok = True

    def compare_values(self, x: Any, y: Any) -> bool:
        return bool(x.lower() == y.lower())


class Trimmed(TypeDecorator[str]):
    """A text that is compared as texts are, whatever is done with it."""

    impl = Lenient
    cache_ok = True


class Written(TypeDecorator[str]):
    impl = String
    cache_ok = True


class Spelled(Base):
    __tablename__ = "spelled"
    id: Mapped[int] = mapped_column(primary_key=True)
    lenient: Mapped[str] = mapped_column(Lenient)
    trimmed: Mapped[str] = mapped_column(Trimmed)
    written: Mapped[str] = mapped_column(Written)
    plain: Mapped[str] = mapped_column()


class Stamped(Base):
    __tablename__ = "stamped"
    id: Mapped[int] = mapped_column(primary_key=True)
    changed_at: Mapped[datetime] = mapped_column(onupdate=func.now())


class Triggered(Base):
    __tablename__ = "triggered"
    id: Mapped[int] = mapped_column(primary_key=True)
    changed_at: Mapped[datetime] = mapped_column(server_onupdate=FetchedValue())


class Derived(Base):
    __tablename__ = "derived"
    id: Mapped[int] = mapped_column(primary_key=True)
    amount: Mapped[int]
    twice: Mapped[int] = mapped_column(Integer, Computed("amount * 2"))


class Expressed(Base):
    __tablename__ = "expressed"
    id: Mapped[int] = mapped_column(primary_key=True)
    amount: Mapped[int]


Expressed.twice = column_property(Expressed.amount * 2)


class Counted(Base):
    __tablename__ = "counted"
    id: Mapped[int] = mapped_column(primary_key=True)
    count: Mapped[int] = mapped_column()
    __mapper_args__ = {"version_id_col": count}


class Parent(Base):
    __tablename__ = "parent"
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column()
    __mapper_args__ = {"polymorphic_on": kind, "polymorphic_identity": "parent"}


class Joined(Parent):
    __tablename__ = "joined"
    id: Mapped[int] = mapped_column(ForeignKey("parent.id"), primary_key=True)
    __mapper_args__ = {"polymorphic_identity": "joined"}


@pytest.mark.parametrize("dialect", DIALECTS, ids=["psycopg", "asyncpg", "sqlite"])
def test_the_update_of_a_plain_class_is_folded(dialect: Dialect) -> None:
    assert Folding.of(inspect(Plain), dialect) is not None


@pytest.mark.parametrize(
    ("name", "value", "is_changed"),
    [
        ("plain", "A", False),
        ("plain", "a", True),
        ("written", "A", False),
        ("written", "a", True),
        ("lenient", "a", False),
        ("lenient", "b", True),
        ("trimmed", "a", False),
        ("trimmed", "b", True),
    ],
)
def test_what_is_changed_is_for_the_columns_type_to_say(name: str, value: str, is_changed: bool) -> None:
    spelled = Spelled(id=1, lenient="A", trimmed="A", written="A", plain="A")
    make_transient_to_detached(spelled)
    for each in ("lenient", "trimmed", "written", "plain"):
        set_committed_value(spelled, each, "A")
    setattr(spelled, name, value)

    folding = Folding.of(inspect(Spelled), DIALECTS[0])
    assert folding is not None
    assert folding.changed(instance_state(spelled), spelled.__dict__) == ((name,) if is_changed else None)


@pytest.mark.parametrize(
    ("cls", "obstacle"),
    [
        (Stamped, "`onupdate` of the column 'changed_at'"),
        (Triggered, "the column 'changed_at', which the database fills"),
        (Derived, "the column 'twice', which the database fills"),
        (Expressed, "the column_property 'twice'"),
        (Counted, "`version_id_col`"),
        (Joined, "inheritance"),
    ],
)
def test_where_more_than_the_orm_fills_a_column_the_session_flushes(cls: Any, obstacle: str) -> None:
    assert Folding.of(inspect(cls), DIALECTS[0]) is None
    assert Folding.obstacles(inspect(cls)) == (obstacle,)


def test_where_sqlalchemy_is_not_as_it_is_known_the_session_flushes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unofficial, "is_known", lambda: False)
    assert Folding.of(inspect(Plain), DIALECTS[0]) is None
