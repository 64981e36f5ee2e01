"""State and version columns: what they store, hold, refuse and default to."""

from __future__ import annotations

from enum import Enum, IntEnum
from typing import Any, ClassVar

import pytest
from sqlalchemy import CheckConstraint, MetaData, Table, insert, inspect, select, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError, StatementError
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.schema import CreateTable

from tests.unit.lifecycle.orders import Order, OrderState, database, stored
from usecasecore.lifecycle import Lifecycle, StateType, state_column, unprotected, version_column

POSTGRESQL: Any = postgresql.dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy leaves it untyped
SQLITE: Any = sqlite.dialect()


class Level(IntEnum):
    LOW = 1
    HIGH = 2


class Fresh(DeclarativeBase):
    pass


class Alarm(Fresh):
    __tablename__ = "alarms"
    id: Mapped[int] = mapped_column(primary_key=True)
    level: Mapped[Level] = state_column(Level)
    version: Mapped[int] = version_column()
    lifecycle: ClassVar = Lifecycle(states=Level, initial=Level.LOW, transitions=[["rise", Level.LOW, Level.HIGH]])


class Animal(Fresh):
    __tablename__ = "animals"
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "animal"}
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    state: Mapped[str] = state_column()
    version: Mapped[int] = version_column()
    lifecycle: ClassVar = Lifecycle(states=["born", "dead"], initial="born", transitions=[["die", "born", "dead"]])


class Butterfly(Animal):
    __mapper_args__ = {"polymorphic_identity": "butterfly"}
    lifecycle: ClassVar = Lifecycle(states=["egg", "born", "dead"], initial="egg", transitions=[["hatch", "egg", "born"]])


def checks(cls: Any) -> dict[str, str]:
    return {
        str(each.name): str(each.sqltext.compile(compile_kwargs={"literal_binds": True}))
        for each in cls.__table__.constraints
        if isinstance(each, CheckConstraint)
    }


def test_a_state_is_stored_by_value_and_held_as_the_member() -> None:
    with database() as session:
        order = stored(session, state="submitted")
        assert session.scalar(text("select state from orders")) == "submitted"
        session.refresh(order)
        assert order.state is OrderState.SUBMITTED
        assert session.scalars(select(Order).where(Order.state == OrderState.SUBMITTED)).one() is order
        assert session.scalars(select(Order).where(Order.state == "submitted")).one() is order


def test_an_integer_state_is_stored_in_an_integer_column() -> None:
    with database(Fresh) as session:
        session.add(Alarm(level=Level.HIGH))
        session.commit()
        assert session.scalar(text("select level from alarms")) == 2
        assert session.scalars(select(Alarm.level)).one() is Level.HIGH
    assert "level INTEGER NOT NULL" in str(CreateTable(Alarm.__table__))  # type: ignore[arg-type]  # it is a Table
    assert checks(Alarm) == {"ck_alarms_level": "alarms.level IN (1, 2)"}


def test_the_database_refuses_an_undeclared_state() -> None:
    with database() as session:
        with pytest.raises(IntegrityError, match="ck_orders_state"):
            session.execute(text("insert into orders (id, total, note, state, version) values (1, 5, '', 'lost', 1)"))
        with pytest.raises(IntegrityError, match="NOT NULL"):
            session.execute(text("insert into orders (id, total, note, version) values (1, 5, '', 1)"))


@pytest.mark.parametrize("dialect", [POSTGRESQL, SQLITE], ids=["postgresql", "sqlite"])
def test_the_check_is_named_and_in_the_ddl(dialect: Any) -> None:
    ddl = str(CreateTable(Order.__table__).compile(dialect=dialect))  # type: ignore[arg-type]  # it is a Table
    assert "CONSTRAINT ck_orders_state CHECK (state IN ('draft', 'submitted', 'paid', 'cancelled'))" in ddl


def test_versions_are_big_integers_except_on_sqlite() -> None:
    table: Table = Order.__table__  # type: ignore[assignment]  # it is a Table
    assert "version BIGINT NOT NULL" in str(CreateTable(table).compile(dialect=POSTGRESQL))
    assert "version INTEGER NOT NULL" in str(CreateTable(table).compile(dialect=SQLITE))


def test_classes_of_one_table_share_one_check_over_the_states_of_all() -> None:
    assert checks(Animal) == {"ck_animals_state": "animals.state IN ('born', 'dead', 'egg')"}


def test_each_class_of_one_table_starts_in_its_own_initial_state() -> None:
    with database(Fresh) as session:
        animal, butterfly = Animal(), Butterfly()
        session.add_all([animal, butterfly])
        session.commit()
        assert (animal.state, butterfly.state) == ("born", "egg")
        assert Butterfly.lifecycle.problems() == ()


def test_only_resting_states_are_in_the_check() -> None:
    class Nested(Fresh):
        __tablename__ = "nested"
        id: Mapped[int] = mapped_column(primary_key=True)
        state: Mapped[str] = state_column()
        lifecycle: ClassVar = Lifecycle(
            states=["a", {"name": "b", "initial": "x", "children": ["x"]}], initial="a", transitions=[]
        )

    assert checks(Nested) == {"ck_nested_state": "nested.state IN ('a', 'b_x')"}


@pytest.mark.parametrize(
    ("convention", "name"),
    [
        ({}, "ck_named_state"),
        ({"ck": "ck_%(table_name)s_%(constraint_name)s"}, "ck_named_state"),
        ({CheckConstraint: "%(table_name)s_%(constraint_name)s_check"}, "named_state_check"),
        ({"ck": "ck_%(table_name)s_%(column_0_name)s"}, "ck_named_state"),
        ({"ix": "ix_%(column_0_label)s"}, "ck_named_state"),
    ],
    ids=["none", "usual", "by class", "by column", "of others"],
)
def test_a_naming_convention_names_the_check_once(convention: Any, name: str) -> None:
    class Local(DeclarativeBase):
        metadata = MetaData(naming_convention=convention)

    class Named(Local):
        __tablename__ = "named"
        id: Mapped[int] = mapped_column(primary_key=True)
        state: Mapped[str] = state_column()
        lifecycle: ClassVar = Lifecycle(states=["a"], initial="a", transitions=[])

    ddl = str(CreateTable(Named.__table__))  # type: ignore[arg-type]  # it is a Table
    assert f"CONSTRAINT {name} CHECK" in ddl
    with database(Local) as session:
        assert [each["name"] for each in inspect(session.get_bind()).get_check_constraints("named")] == [name]


def test_a_new_row_without_a_state_starts_in_the_initial_one_at_version_1() -> None:
    with database() as session:
        order = Order(total=1)
        session.add(order)
        session.flush()
        assert (order.state, order.version) == (OrderState.DRAFT, 1)
        session.execute(insert(Order).values(id=7, total=2))
        session.execute(insert(Order), [{"id": 8, "total": 3}])
        assert session.execute(select(Order.state, Order.version).where(Order.id > 6)).all() == [(OrderState.DRAFT, 1)] * 2


def test_a_default_of_the_users_own_is_kept() -> None:
    class Defaulting(Fresh):
        __tablename__ = "defaulting"
        id: Mapped[int] = mapped_column(primary_key=True)
        state: Mapped[str] = state_column(server_default="b")
        version: Mapped[int] = version_column()
        lifecycle: ClassVar = Lifecycle(states=["a", "b"], initial="a", transitions=[])

    with database(Fresh) as session:
        row = Defaulting()
        session.add(row)
        session.commit()
        assert row.state == "b"


@pytest.mark.parametrize("value", ["nonesuch", "DRAFT", 7, Level.LOW])
def test_what_is_no_state_is_refused_when_an_object_is_made(value: Any) -> None:
    with pytest.raises(ValueError, match="is not a state"):
        Order(total=1, state=value)


def test_a_misspelt_state_is_told_the_nearest_right_one() -> None:
    with pytest.raises(ValueError, match="'submited' is not a state; did you mean 'submitted'"):
        Order(total=1, state="submited")


def test_an_object_may_be_made_with_a_value_or_with_nothing() -> None:
    assert Order(total=1, state="paid").state == OrderState.PAID
    assert Order(total=1, state=None).state is None


def test_a_comparison_with_what_is_no_state_is_refused_except_for_a_repair() -> None:
    with database() as session:
        query = select(Order).where(Order.state == "lost")
        with pytest.raises(StatementError, match="'lost' is not a state"):
            session.scalars(query).all()
        with unprotected(reason="look for rows of an old release"):
            assert session.scalars(query).all() == []


def test_a_pattern_is_no_state_and_may_be_searched_for() -> None:
    with database() as session:
        order = stored(session)
        assert session.scalars(select(Order).where(Order.state.like("dra%"))).one() is order
        assert session.scalars(select(Order).where(Order.state.in_(["draft", OrderState.PAID]))).one() is order
        assert session.scalars(select(Order).where(Order.state.is_(None))).all() == []


def test_a_column_of_strings_takes_any_string_where_no_states_are_given() -> None:
    kind = StateType()
    assert (kind.accepts("anything"), kind.accepts(7)) == (True, False)
    assert kind.process_bind_param(OrderState.PAID, SQLITE) == "paid"
    with pytest.raises(ValueError, match="7 is not a state"):
        kind.process_bind_param(7, SQLITE)


def test_a_column_is_as_long_as_its_longest_state_or_64() -> None:
    assert StateType(OrderState).length == 64
    assert StateType(["x" * 80]).length == 80
    assert StateType(length=20).length == 20
    assert (repr(StateType(length=20)), repr(StateType(Level))) == ("StateType(length=20)", "StateType()")


def test_states_of_other_types_compile_to_statements_of_their_own() -> None:
    Other = Enum("Other", {"A": "draft"})  # noqa: N806 - it is a class
    first, second = StateType(OrderState), StateType(Other)
    assert first._static_cache_key != second._static_cache_key
    assert first._static_cache_key == StateType(OrderState)._static_cache_key


def test_an_unnamed_subquery_can_be_mapped_without_a_check() -> None:
    from sqlalchemy.orm import registry

    class View:
        lifecycle = Lifecycle(states=["a"], initial="a", transitions=[])

    source = select(Animal.__table__).where(Animal.kind == "animal").subquery()
    registry().map_imperatively(View, source, primary_key=[source.c.id])
    assert View.lifecycle.column == "state"
