"""The inventory example: decisions on several locked rows."""

from __future__ import annotations

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Engine, create_engine, select, text

from examples.inventory.app import app
from examples.inventory.model import Balance, Base
from examples.inventory.use_cases import (
    CreateOrder,
    MoveInventory,
    MoveInventoryResult,
    NotEnough,
    NotItsReservation,
    ReceiveGoods,
    ReleaseReservation,
    ReserveInventory,
    SameBin,
    ShipOrder,
)
from usecasecore import Actor, Limits, Runtime
from usecasecore.cli import main
from usecasecore.errors import AggregateNotFound, Forbidden, TransitionNotAllowed
from usecasecore.ledger import ledger_tables

KEEPER = Actor("user", "kim", roles=frozenset({"stock keeper"}))
PATIENT = Limits(lock_timeout=timedelta(seconds=60), busy_timeout=timedelta(seconds=60))


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = create_engine(database_url, pool_size=20)
    Base.metadata.create_all(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def runtime(engine: Engine) -> Runtime:
    return Runtime(engine, app, limits=PATIENT)


def receive(runtime: Runtime, location: str, quantity: int) -> None:
    runtime.execute(ReceiveGoods(sku="lamp", location=location, quantity=quantity), actor=KEEPER)


def move(runtime: Runtime, source: str, destination: str, quantity: int, **said: Any) -> MoveInventoryResult:
    command = MoveInventory(sku="lamp", source=source, destination=destination, quantity=quantity)
    return runtime.execute(command, **{"actor": KEEPER, **said})


def rows(runtime: Runtime, name: str) -> list[Any]:
    table = getattr(ledger_tables(), name)
    with runtime.engine.connect() as connection:
        return list(connection.execute(select(table).order_by(table.c.id)))


def balances(runtime: Runtime) -> dict[str, tuple[int, int, int]]:
    table = Balance.__table__.c
    with runtime.engine.connect() as connection:
        found = connection.execute(select(table.location, table.quantity, table.reserved, table.version))
        return {row.location: (row.quantity, row.reserved, row.version) for row in found}


def test_a_move_changes_both_bins_with_an_entry_for_each_and_history_event_and_job(runtime: Runtime) -> None:
    receive(runtime, "a", 5)
    result = move(runtime, "a", "b", 5, idempotency_key="k")
    assert (result.source_quantity, result.destination_quantity) == (0, 5)
    assert balances(runtime) == {"a": (0, 0, 2), "b": (5, 0, 1)}
    entries = rows(runtime, "audit")[1:]
    assert {(one.aggregate_id, one.version) for one in entries} == {("lamp|a", 2), ("lamp|b", 1)}
    assert len({one.command_id for one in entries}) == 1
    messages = [(one.type, one.aggregate_id, one.version, one.ordinal) for one in rows(runtime, "outbox")[1:]]
    assert sorted(messages) == [
        ("balance.created", "lamp|b", 1, 0),
        ("inventory.moved", "lamp|a", 2, 0),
        ("recount", None, None, 1),
    ]
    with runtime.engine.connect() as connection:
        assert connection.execute(text("select sku, source, destination, quantity from movements")).all() == [
            ("lamp", "a", "b", 5)
        ]
    assert move(runtime, "a", "b", 5, idempotency_key="k") == result
    assert balances(runtime)["b"] == (5, 0, 1)


def test_what_is_refused_changes_nothing(runtime: Runtime) -> None:
    receive(runtime, "a", 5)
    receive(runtime, "b", 1)
    before = balances(runtime)
    with pytest.raises(NotEnough) as refused:
        move(runtime, "a", "b", 6)
    assert (refused.value.available, refused.value.wanted) == (5, 6)
    with pytest.raises(SameBin):
        move(runtime, "a", "a", 1)
    with pytest.raises(Forbidden, match="only stock keepers"):
        move(runtime, "a", "b", 1, actor=Actor("user", "eve"))
    with pytest.raises(AggregateNotFound) as missing:
        move(runtime, "nowhere", "b", 1)
    assert missing.value.key == "lamp, nowhere"
    assert balances(runtime) == before


def test_an_aggregate_that_is_only_looked_at_gets_no_entry(runtime: Runtime) -> None:
    receive(runtime, "a", 5)
    order = runtime.execute(CreateOrder(customer="Grace", sku="lamp", location="a", quantity=2))
    other = runtime.execute(CreateOrder(customer="Bob", sku="lamp", location="a", quantity=1))
    before = len(rows(runtime, "audit"))
    with pytest.raises(NotItsReservation):
        runtime.execute(ShipOrder(order_id=order.order_id, reservation_id=other.reservation_id, sku="lamp", location="a"))
    assert len(rows(runtime, "audit")) == before
    runtime.execute(ShipOrder(order_id=order.order_id, reservation_id=order.reservation_id, sku="lamp", location="a"))
    entries = rows(runtime, "audit")[before:]
    assert {(one.aggregate, one.trigger, one.from_state, one.to_state) for one in entries} == {
        ("sales_order", "ship", "open", "shipped"),
        ("reservation", "ship", "held", "shipped"),
        ("balance", None, None, None),
    }
    assert balances(runtime)["a"] == (3, 1, 4)
    types = {one.type for one in rows(runtime, "outbox")}
    assert {"sales_order.transition.ship", "reservation.transition.ship", "sales_order.created"} <= types
    with pytest.raises(TransitionNotAllowed, match="sales_order: 'ship' is not possible from 'shipped'"):
        runtime.execute(ShipOrder(order_id=order.order_id, reservation_id=order.reservation_id, sku="lamp", location="a"))


def test_a_reservation_that_is_released_gives_its_stock_back_once(runtime: Runtime) -> None:
    receive(runtime, "a", 5)
    receive(runtime, "b", 5)
    reservation_id = runtime.execute(ReserveInventory(sku="lamp", location="a", quantity=4)).reservation_id
    with pytest.raises(NotItsReservation):
        runtime.execute(ReleaseReservation(reservation_id=reservation_id, sku="lamp", location="b"))
    release = ReleaseReservation(reservation_id=reservation_id, sku="lamp", location="a")
    assert runtime.execute(release).available == 5
    with pytest.raises(TransitionNotAllowed, match="'release' is not possible from 'released'"):
        runtime.execute(release)
    assert balances(runtime)["a"][:2] == (5, 0)


def test_creating_an_order_reserves_or_does_neither(runtime: Runtime) -> None:
    receive(runtime, "a", 5)
    runtime.execute(ReserveInventory(sku="lamp", location="a", quantity=4))
    with pytest.raises(NotEnough):
        runtime.execute(CreateOrder(customer="Grace", sku="lamp", location="a", quantity=2))
    with runtime.engine.connect() as connection:
        assert connection.scalar(text("select count(*) from sales_orders")) == 0
    runtime.execute(CreateOrder(customer="Grace", sku="lamp", location="a", quantity=1))
    assert balances(runtime)["a"][:2] == (5, 5)


def test_a_row_of_several_that_is_missing_is_refused(runtime: Runtime) -> None:
    receive(runtime, "a", 5)
    missing = uuid4()
    with pytest.raises(AggregateNotFound) as refused:
        runtime.execute(ShipOrder(order_id=missing, reservation_id=uuid4(), sku="lamp", location="a"))
    assert refused.value.aggregate in ("sales_order", "reservation")


@pytest.mark.long
@pytest.mark.timeout(600)
def test_sixteen_clients_moving_at_random_lose_nothing_and_never_deadlock(runtime: Runtime) -> None:
    moves = 5_000 if runtime.engine.dialect.name == "postgresql" else 400
    bins = [f"bin{number}" for number in range(10)]
    for location in bins[:5]:  # the others come into being by the first move there, in a race
        receive(runtime, location, 100)
    rng = random.Random(7)
    planned = [(*rng.sample(bins, 2), rng.randint(1, 40)) for _ in range(moves)]

    def one(plan: tuple[str, str, int]) -> str:
        try:
            move(runtime, *plan)
        except NotEnough:
            return "refused"
        except AggregateNotFound:
            return "missing"
        return "moved"

    with ThreadPoolExecutor(16) as pool:
        outcomes = list(pool.map(one, planned))
    moved = outcomes.count("moved")
    assert moved > moves // 3
    held = balances(runtime)
    assert sum(quantity for quantity, _, _ in held.values()) == 500
    assert all(quantity >= 0 for quantity, _, _ in held.values())
    entries = [one for one in rows(runtime, "audit") if one.use_case == "MoveInventory"]
    assert len(entries) == 2 * moved
    assert sum(version for _, _, version in held.values()) == 2 * moved + 5
    if runtime.engine.dialect.name == "postgresql":
        with runtime.engine.connect() as connection:
            assert connection.scalar(text("select deadlocks from pg_stat_database where datname = current_database()")) == 0


def test_the_command_line_shows_what_several_aggregates_mean(capsys: pytest.CaptureFixture[str]) -> None:
    def shown(use_case: str) -> str:
        with pytest.raises(SystemExit) as ended:
            main(["usecase", "show", use_case, "--app", "examples.inventory.app:app"])
        assert ended.value.code in (0, None)
        return capsys.readouterr().out

    move = shown("MoveInventory")
    assert "source: Balance from balances where sku = sku and location = source, locked\n" in move
    assert (
        "destination: Balance from balances where sku = sku and location = destination, locked, created where it is missing"
        in move
    )
    assert "in the order of tables and keys" in move
    assert "balance.created, inventory.moved" in move
    ship = shown("ShipOrder")
    assert "sales_order.transition.ship, reservation.transition.ship" in ship
    assert "creates at least one SalesOrder or Reservation" in shown("CreateOrder")
