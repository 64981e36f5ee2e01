"""Statements that a session executes are held to the same rule as attributes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import pytest
from sqlalchemy import ForeignKey, Table, bindparam, create_engine, delete, func, insert, literal, select, text, update
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, aliased, mapped_column

from tests.unit.lifecycle.orders import Order, OrderState, database, stored
from usecasecore import unofficial
from usecasecore.errors import StateWriteRefused
from usecasecore.lifecycle import Lifecycle, Transition, state_column, unprotected, version_column

orders: Table = Order.__table__  # type: ignore[assignment]  # it is a Table


class Own(DeclarativeBase):
    pass


class Vehicle(Own):
    __tablename__ = "vehicles"
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "vehicle"}
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    status: Mapped[str] = state_column(["new", "sold"], name="st")
    version: Mapped[int] = version_column()
    lifecycle: ClassVar = Lifecycle(states=["new", "sold"], initial="new", transitions=[Transition("sell", "new", "sold")])


class Car(Vehicle):
    __tablename__ = "cars"
    __mapper_args__ = {"polymorphic_identity": "car"}
    id: Mapped[int] = mapped_column(ForeignKey("vehicles.id"), primary_key=True)
    doors: Mapped[int] = mapped_column(default=4)


class Bike(Vehicle):
    __mapper_args__ = {"polymorphic_identity": "bike"}


class Log(Own):
    __tablename__ = "logs"
    id: Mapped[int] = mapped_column(primary_key=True)
    state: Mapped[str] = mapped_column(default="")


Vehicle.lifecycle.note_use_case("SellVehicle", ["sell"])


vehicles: Table = Vehicle.__table__  # type: ignore[assignment]  # it is a Table


@pytest.fixture
def session() -> Iterator[Session]:
    with database() as session:
        stored(session)
        yield session


def upsert(dialect: Any, values: dict[Any, Any]) -> Any:
    return dialect.insert(Order).values(id=1, total=2).on_conflict_do_update(index_elements=["id"], set_=values)


WRITES: dict[str, Callable[[Session], Any]] = {
    "ORM update": lambda s: s.execute(update(Order).values(state=OrderState.PAID)),
    "ORM update by attribute": lambda s: s.execute(update(Order).values({Order.state: "paid"})),
    "ORM update by expression": lambda s: s.execute(update(Order).values(state=func.lower("PAID"))),
    "ORM update by execution parameters": lambda s: s.execute(update(Order).where(Order.id == 1), {"state": "paid"}),
    "ORM update in order": lambda s: s.execute(update(Order).ordered_values((Order.total, 1), (Order.state, "paid"))),
    "ORM update with synchronisation": lambda s: s.execute(
        update(Order).values(state="paid").execution_options(synchronize_session="fetch")
    ),
    "ORM update returning": lambda s: s.scalars(update(Order).values(state="paid").returning(Order)),
    "ORM update from statement": lambda s: s.scalars(
        select(Order).from_statement(update(Order).values(state="paid").returning(Order))
    ),
    "ORM update of an alias": lambda s: s.execute(update(aliased(Order)).values(state="paid")),
    "version": lambda s: s.execute(update(Order).values(version=Order.version + 1)),
    "query.update": lambda s: s.query(Order).update({"state": "paid"}),
    "query.update by attribute": lambda s: s.query(Order).filter_by(id=1).update({Order.state: "paid"}),
    "bulk by primary key": lambda s: s.execute(update(Order), [{"id": 1, "state": "paid"}]),
    "bulk by bindparam": lambda s: s.execute(
        update(orders).where(orders.c.id == bindparam("key")).values(state=bindparam("new")), [{"key": 1, "new": "paid"}]
    ),
    "table update": lambda s: s.execute(update(orders).values(state="paid")),
    "table update of a later dict": lambda s: s.execute(orders.update(), {"total": 1, "state": "paid"}),
    "sqlite upsert": lambda s: s.execute(upsert(sqlite, {"state": "paid"})),
    "sqlite upsert from excluded": lambda s: s.execute(
        (new := sqlite.insert(Order).values(id=1, total=2)).on_conflict_do_update(
            index_elements=["id"], set_={Order.state: new.excluded.state}
        )
    ),
    "postgresql upsert": lambda s: s.execute(upsert(postgresql, {"state": "paid"})),
    "postgresql upsert by column": lambda s: s.execute(upsert(postgresql, {orders.c.state: "paid"})),
    "mysql upsert": lambda s: s.execute(mysql.insert(Order).values(id=1, total=2).on_duplicate_key_update(state="paid")),
    "mysql upsert by column": lambda s: s.execute(
        mysql.insert(orders).values(id=1).on_duplicate_key_update({orders.c.state: "paid"})
    ),
    "insert or replace": lambda s: s.execute(insert(Order).values(id=1, total=2).prefix_with("OR REPLACE")),
    "ORM delete": lambda s: s.execute(delete(Order)),
    "query.delete": lambda s: s.query(Order).delete(),
    "table delete": lambda s: s.execute(delete(orders)),
    "update in a common table expression": lambda s: s.execute(
        select(update(Order).values(state="paid").returning(Order.id).cte().c.id)
    ),
    "update in a common table expression of the table": lambda s: s.execute(
        select(update(orders).values(state="paid").returning(orders.c.id).cte())
    ),
    "update beside a query": lambda s: s.execute(select(literal(1)).add_cte(update(Order).values(state="paid").cte())),
    "delete beside an insert": lambda s: s.execute(insert(Order).values(total=1).add_cte(delete(Order).cte())),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES.keys())
def test_a_statement_that_would_change_a_protected_column_is_refused(session: Session, write: Callable[[Session], Any]) -> None:
    with pytest.raises(StateWriteRefused):
        write(session)
    assert session.execute(text("select state, version, count(*) from orders")).one() == ("draft", 1, 1)


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES.keys())
def test_it_is_refused_where_sqlalchemys_inner_parts_are_not_known_and_not_looked_at(
    session: Session, write: Callable[[Session], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unofficial, "reads_statements", lambda: False)
    for name in ("set_values", "is_prefixed", "selected_sources"):
        monkeypatch.delattr(unofficial, name)
    with pytest.raises(StateWriteRefused):
        write(session)
    assert session.execute(text("select state, version, count(*) from orders")).one() == ("draft", 1, 1)


FREE: dict[str, Callable[[Session], Any]] = {
    "another column": lambda s: s.execute(update(Order).where(Order.state == "draft").values(total=Order.total + 1)),
    "another column by primary key": lambda s: s.execute(update(Order), [{"id": 1, "total": 7}]),
    "another column of the table": lambda s: s.execute(update(orders).values(total=8)),
    "insert": lambda s: s.execute(insert(Order).values(total=1, state="paid")),
    "inserts": lambda s: s.execute(insert(Order), [{"total": 1, "state": "paid"}, {"total": 2}]),
    "upsert of another column": lambda s: s.execute(upsert(sqlite, {"total": 5})),
    "upsert of nothing": lambda s: s.execute(sqlite.insert(Order).values(id=1, total=2).on_conflict_do_nothing()),
    "insert or ignore": lambda s: s.execute(insert(Order).values(id=1, total=2).prefix_with("OR IGNORE")),
    "query": lambda s: s.execute(select(Order, func.count()).join(select(Order.id).cte(), text("1 = 1"))).all(),
    "textual query": lambda s: s.execute(text("select * from orders")).all(),
    "bulk insert": lambda s: s.bulk_save_objects([Order(total=3, state=OrderState.PAID)]),
}


@pytest.mark.parametrize("write", FREE.values(), ids=FREE.keys())
def test_every_other_statement_is_free(session: Session, write: Callable[[Session], Any]) -> None:
    write(session)
    session.commit()


@pytest.mark.parametrize("name", [name for name in FREE if name not in ("another column", "inserts")])
def test_it_is_free_there_too_unless_its_sql_names_a_protected_column_or_is_not_to_be_had(
    session: Session, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unofficial, "reads_statements", lambda: False)
    FREE[name](session)
    session.commit()


def test_a_refusal_names_the_state_and_the_use_cases_where_they_are_known() -> None:
    with database(Own) as session:
        with pytest.raises(StateWriteRefused) as caught:
            session.execute(update(Vehicle).values(status="sold"))
        assert (caught.value.column, caught.value.source, caught.value.dest) == ("status", None, "sold")
        assert caught.value.use_cases == ("SellVehicle (sell)",)
        with pytest.raises(StateWriteRefused) as caught:
            session.execute(update(Vehicle).values(status="new"))
        assert caught.value.use_cases == ()
        with pytest.raises(StateWriteRefused) as caught:
            session.execute(update(Vehicle).values(status=func.lower("SOLD")))
        assert caught.value.use_cases == ("SellVehicle (sell)",)


@pytest.mark.parametrize(
    "statement",
    [
        pytest.param(update(vehicles).values(st="sold"), id="column name"),
        pytest.param(update(Bike).values(status="sold"), id="single table subclass"),
        pytest.param(delete(Car), id="joined subclass"),
    ],
)
def test_inherited_columns_are_protected_by_attribute_and_by_name(statement: Any) -> None:
    with database(Own) as session, pytest.raises(StateWriteRefused):
        session.execute(statement)


def test_a_refusal_speaks_of_the_class_that_is_updated() -> None:
    with database(Own) as session:
        for cls, name in ((Bike, "bike"), (Vehicle, "vehicle")):
            with pytest.raises(StateWriteRefused) as caught:
                session.execute(update(cls).values(status="sold"))
            assert caught.value.lifecycle == name
        with pytest.raises(StateWriteRefused) as caught:
            session.execute(update(Car), [{"id": 1, "status": "sold"}])
        assert caught.value.lifecycle == "car"


def test_columns_of_the_same_name_in_other_tables_are_free() -> None:
    with database(Own) as session:
        session.execute(update(Log).values(state="paid"))
        session.execute(delete(Log))
        session.execute(update(Car).values(doors=2))


def test_a_repair_may_execute_what_it_likes(session: Session) -> None:
    with unprotected(reason="OPS-1"):
        session.execute(update(Order).values(state="paid", version=3))
        assert session.execute(text("select state, version from orders")).one() == ("paid", 3)
        session.execute(delete(Order))


def test_an_asynchronous_session_is_held_to_the_same_rule() -> None:
    pytest.importorskip("greenlet")
    import asyncio

    async def run() -> None:
        engine = create_engine("sqlite://")
        async with AsyncSession() as session:
            session.sync_session.bind = engine
            with pytest.raises(StateWriteRefused):
                await session.run_sync(lambda inner: inner.execute(update(Order).values(state="paid")))
        engine.dispose()

    asyncio.run(run())
