"""What a database knows about a lifecycle, against figures that were reckoned by hand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID
from xml.etree import ElementTree

import pytest
from sqlalchemy import Connection, Engine, create_engine, insert

from examples.orders.app import app as orders
from examples.orders.model import Base as OrderBase
from examples.orders.use_cases import AddLine, Cancel, CreateOrder, Pay, StartFulfilment, Submit
from tests.accounts import ADA, NOON, Account, Close, Deposit, Flip, SetPin, application
from tests.bank import Bank, MakeRuntime
from tests.unit.cli.command_line import CommandLine
from usecasecore import Runtime, uuid7
from usecasecore.diagrams import Diagram, diagram_of
from usecasecore.diagrams.history import flow, journey, rows_per_state
from usecasecore.diagrams.overlay import Status
from usecasecore.diagrams.overlays import counts_overlay, flow_overlay, journey_overlay
from usecasecore.ledger import ledger_tables

both = pytest.mark.parametrize(
    "kind",
    [pytest.param("sqlite", marks=pytest.mark.sqlite), pytest.param("postgresql", marks=pytest.mark.postgresql)],
    indirect=True,
)
"""The statements are read by both databases; which driver sends them makes no difference."""


class Clock:
    def __init__(self) -> None:
        self.minutes = 0

    def __call__(self) -> datetime:
        return NOON + timedelta(minutes=self.minutes)


@dataclass
class Told:
    """A bank with a history of four accounts.

    grace: opened at 0, deposit at 10, frozen at 20, thawed at 50, closed at 60.
    bob:   opened at 0, frozen at 12.
    carol: opened at 0, another PIN at 5 (no transition), closed at 100.
    dora:  opened at 0, frozen at 30, thawed at 40.
    """

    engine: Engine
    accounts: dict[str, UUID]
    app: Any

    @property
    def lifecycle(self) -> Any:
        return self.app.lifecycles["account"]

    @property
    def diagram(self) -> Diagram:
        return diagram_of(self.lifecycle, self.app)


@pytest.fixture
def told(engine: Engine, make_runtime: MakeRuntime) -> Told:
    clock, app = Clock(), application()
    bank = Bank(engine, make_runtime(app, clock=clock, **({"create": True} if engine.dialect.name == "sqlite" else {})))
    accounts = {name: bank.open(name) for name in ("grace", "bob", "carol", "dora")}

    def at(minutes: int, command: Any, **said: Any) -> None:
        clock.minutes = minutes
        bank.runtime.execute(command, actor=ADA, **said)

    at(5, SetPin(account_id=accounts["carol"], pin="1234"))
    at(10, Deposit(account_id=accounts["grace"], amount=0))
    at(12, Flip(account_id=accounts["bob"]))
    at(20, Flip(account_id=accounts["grace"]))
    at(30, Flip(account_id=accounts["dora"]))
    at(40, Flip(account_id=accounts["dora"]))
    at(50, Flip(account_id=accounts["grace"]))
    at(60, Close(account_id=accounts["grace"]))
    at(100, Close(account_id=accounts["carol"]))
    return Told(engine, accounts, app)


@both
def test_counts_are_the_rows_in_each_state_now(told: Told) -> None:
    with told.engine.connect() as connection:
        assert rows_per_state(connection, told.lifecycle) == {"open": 1, "frozen": 1, "closed": 2}


@both
def test_flow_counts_each_way_and_takes_the_median_of_the_stays_that_have_ended(told: Told) -> None:
    with told.engine.connect() as connection:
        found = flow(connection, told.lifecycle)
    assert {(one.trigger, one.source, one.dest, one.count) for one in found.passages} == {
        (None, None, "open", 4),
        ("deposit", "open", "open", 1),
        ("freeze", "open", "frozen", 3),
        ("thaw", "frozen", "open", 2),
        ("close", "open", "closed", 2),
    }
    # open: 10 and 10 and 10 (grace), 12 (bob), 100 (carol), 30 (dora); dora's second one lasts.
    # frozen: 30 (grace), 10 (dora); bob's lasts. closed: both last.
    assert {(one.state, one.count, one.median) for one in found.stays} == {
        ("open", 6, timedelta(minutes=11)),
        ("frozen", 2, timedelta(minutes=20)),
    }
    assert found.whole


@both
def test_flow_since_an_instant_leaves_out_what_was_before(told: Told) -> None:
    with told.engine.connect() as connection:
        found = flow(connection, told.lifecycle, since=NOON + timedelta(minutes=40))
    assert {(one.trigger, one.count) for one in found.passages} == {("thaw", 2), ("close", 2)}
    # dora is open since 40, grace was from 50 to 60: what carol's was lies before.
    assert [(one.state, one.count, one.median) for one in found.stays] == [("open", 1, timedelta(minutes=10))]


@both
def test_flow_looks_at_so_many_of_the_newest_entries_only_and_says_so(told: Told) -> None:
    with told.engine.connect() as connection:
        found = flow(connection, told.lifecycle, most=2)
    assert not found.whole
    assert [(one.trigger, one.count) for one in found.passages] == [("close", 2)]
    overlay = flow_overlay(told.diagram, found)
    assert any("newest entries only" in note for note in overlay.notes)


@both
def test_flow_overlay_marks_edges_by_how_often_and_states_by_how_long(told: Told) -> None:
    with told.engine.connect() as connection:
        overlay = flow_overlay(told.diagram, flow(connection, told.lifecycle))
    by_trigger = {edge.trigger: overlay.edges[edge.id] for edge in told.diagram.edges}
    assert {trigger: mark.text for trigger, mark in by_trigger.items()} == {
        "": "4 times",
        "deposit": "1 time",
        "freeze": "3 times",
        "thaw": "2 times",
        "close": "2 times",
    }
    assert by_trigger[""].share == 1
    assert by_trigger["thaw"].share == 0.5
    assert {name: mark.text for name, mark in overlay.states.items()} == {"open": "median 11 min", "frozen": "median 20 min"}


@both
def test_way_that_is_not_declared_any_more_is_told_and_marks_nothing(told: Told) -> None:
    with told.engine.begin() as connection:
        _record(connection, told.accounts["bob"], 3, "vanish", "frozen", "gone")
        overlay = flow_overlay(told.diagram, flow(connection, told.lifecycle))
    assert any("vanish (frozen → gone), 1 time" in note for note in overlay.notes)
    assert sum(int(dict(mark.data)["count"]) for mark in overlay.edges.values()) == 12


def _record(
    connection: Connection, account: UUID, version: int, trigger: str | None, source: str | None, dest: str | None, **more: Any
) -> None:
    values = {"id": uuid7(), "command_id": uuid7(), "use_case": "Old", "actor": "user:ada", "correlation_id": "x"}
    way = {"lifecycle": "account", "trigger": trigger, "from_state": source, "to_state": dest, "version": version}
    rest = {"command": {}, "changes": {}, "detail": {}, "occurred_at": NOON, "kind": "change"}
    row = {**values, **way, **rest, "aggregate": "account", "aggregate_id": str(account), **more}
    connection.execute(insert(ledger_tables().audit).values(row))


@both
def test_adoption_starts_no_stay_and_is_no_creation_and_deletion_ends_one(told: Told) -> None:
    adopted = uuid7()
    with told.engine.begin() as connection:
        _record(connection, adopted, 7, None, None, "open", kind="baseline")
        _record(connection, adopted, 8, "freeze", "open", "frozen", occurred_at=NOON + timedelta(minutes=30))
        _record(connection, adopted, 9, None, "frozen", None, occurred_at=NOON + timedelta(minutes=48), kind="delete")
        found = flow(connection, told.lifecycle)
        steps = journey(connection, told.lifecycle, str(adopted))
    counts = {(one.trigger, one.source, one.dest, one.use_case): one.count for one in found.passages}
    assert counts[None, None, "open", None] == 4
    assert counts["freeze", "open", "frozen", None] == 4
    assert counts[None, "frozen", None, "Old"] == 1
    # frozen: 30 and 10 as before, and now 18.
    assert {(one.state, one.count, one.median) for one in found.stays} == {
        ("open", 6, timedelta(minutes=11)),
        ("frozen", 3, timedelta(minutes=18)),
    }
    assert [(one.trigger, one.dest) for one in steps] == [(None, "open"), ("freeze", "frozen"), (None, None)]


@both
def test_journey_numbers_the_steps_and_several_visits_of_a_state(told: Told) -> None:
    with told.engine.connect() as connection:
        steps = journey(connection, told.lifecycle, str(told.accounts["grace"]))
    overlay = journey_overlay(told.diagram, steps, "grace")
    by_trigger = {edge.trigger: overlay.edges[edge.id] for edge in told.diagram.edges}
    assert {trigger: mark.steps for trigger, mark in by_trigger.items()} == {
        "": (1,),
        "deposit": (2,),
        "freeze": (3,),
        "thaw": (4,),
        "close": (5,),
    }
    assert {name: mark.steps for name, mark in overlay.states.items()} == {"open": (1, 2, 4), "frozen": (3,), "closed": (5,)}
    assert overlay.states["closed"].status is Status.CURRENT
    assert overlay.states["closed"].details == ("since 2026-05-04 13:00:00",)
    assert overlay.states["frozen"].details == ("for 30 min",)
    assert by_trigger["thaw"].details == ("2026-05-04 12:50:00",)


@both
def test_journey_leaves_the_edges_that_were_not_taken(told: Told) -> None:
    with told.engine.connect() as connection:
        steps = journey(connection, told.lifecycle, str(told.accounts["bob"]))
    overlay = journey_overlay(told.diagram, steps, "bob")
    untaken = {edge.trigger for edge in told.diagram.edges if overlay.edges[edge.id].status is Status.UNTAKEN}
    assert untaken == {"deposit", "thaw", "close"}
    assert {name: mark.status for name, mark in overlay.states.items()} == {
        "open": Status.TAKEN,
        "frozen": Status.CURRENT,
        "closed": Status.UNTAKEN,
    }


@pytest.fixture
def order_engine(database_url: str) -> Iterator[Engine]:
    engine = create_engine(database_url)
    OrderBase.metadata.create_all(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def order_id(order_engine: Engine) -> UUID:
    """Created at 0, a line at 4, submitted at 10, paid at 20, in fulfilment at 30, cancelled at 45."""
    clock = Clock()
    runtime = Runtime(order_engine, orders, clock=clock, create=order_engine.dialect.name == "sqlite")
    order_id: UUID = runtime.execute(CreateOrder(customer="Grace")).order_id
    line = AddLine(order_id=order_id, article="pen", quantity=1, unit_price=Decimal(2))
    steps = [
        (4, line),
        (10, Submit(order_id=order_id)),
        (20, Pay(order_id=order_id, amount=Decimal(2), card_token="t")),
        (30, StartFulfilment(order_id=order_id)),
    ]
    for minutes, command in [*steps, (45, Cancel(order_id=order_id))]:
        clock.minutes = minutes
        runtime.execute(command, reason="asked for")
    return order_id


def test_internal_transition_ends_no_stay_and_an_edge_of_a_composite_state_is_found(order_engine: Engine, order_id: UUID) -> None:
    lifecycle = orders.lifecycles["order"]
    diagram = diagram_of(lifecycle, orders)
    with order_engine.connect() as connection:
        found = flow(connection, lifecycle)
        steps = journey(connection, lifecycle, str(order_id))
    minutes = {one.state: one.median / timedelta(minutes=1) for one in found.stays}
    assert minutes == {"draft": 10, "submitted": 10, "paid": 10, "fulfilment_picking": 15}
    marks = flow_overlay(diagram, found).edges
    taken = {(edge.source, edge.trigger) for edge in diagram.edges if marks[edge.id].text == "1 time"}
    assert ("fulfilment", "cancel") in taken
    assert ("draft", "add_line") in taken
    assert ("draft", "cancel") not in taken
    walked = journey_overlay(diagram, steps, str(order_id))
    assert walked.states["draft"].steps == (1,)
    assert walked.states["draft"].details == ("for 10 min",)


def test_command_line_draws_what_the_database_knows(
    order_engine: Engine, order_id: UUID, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = CommandLine(capsys)
    place = ("--app", "examples.orders.app:app", "--url", order_engine.url.render_as_string(hide_password=False))
    ran = run("diagram", "export", "--overlay", "counts", *place)
    assert (ran.code, ran.out) == (0, "diagrams/order.counts.svg\n")
    root = ElementTree.fromstring((tmp_path / "diagrams/order.counts.svg").read_text(encoding="utf-8"))
    counts = {str(one.get("data-state")): one.get("data-count") for one in root.iter() if one.get("data-state")}
    assert counts.pop("fulfilment") is None
    assert counts.pop("cancelled") == "1"
    assert set(counts.values()) == {"0"}
    assert run("diagram", "export", "--aggregate", f"order:{order_id}", *place).out == "diagrams/order.aggregate.svg\n"
    ran = run("diagram", "export", "--overlay", "flow", "-f", "dot,mermaid,plantuml,json,md", *place)
    assert ran.out.split() == [f"diagrams/order.flow.{suffix}" for suffix in ("dot", "mmd", "puml", "json", "md")]
    for name in ran.out.split():
        assert "median 15 min" in (tmp_path / name).read_text(encoding="utf-8")
    shown = run("diagram", "show", "order", "--overlay", "flow", "--width", "200", *place)
    assert "median 15 min" in shown.out
    refused = run("diagram", "show", "order", "--aggregate", "order:nobody", *place)
    assert refused.code == 2
    assert "error: there are no entries of order 'nobody'" in refused.err


def test_counts_tell_of_rows_that_hold_no_declared_state() -> None:
    overlay = counts_overlay(diagram_of(Account.lifecycle), {"open": 3, None: 1})
    assert overlay.states["open"].text == "3"
    assert overlay.states["open"].share == 0.75
    assert "! 1 row holds no declared state." in overlay.notes
