"""Two lifecycles that one command moved: whoever reads the transitions in audit entries reads both; on both databases."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from uuid import UUID

import pytest
from sqlalchemy import Engine, create_engine, select, text

from examples.purchases.app import app
from examples.purchases.model import Base, Purchase
from examples.purchases.use_cases import Cancel, Capture, Dispatch, Place, TakeBack
from tests.unit.cli.command_line import CommandLine
from usecasecore import Runtime
from usecasecore.adoption import outstanding, rows_of
from usecasecore.diagrams.history import flow, journey
from usecasecore.ledger import ledger_tables
from usecasecore.ledger.moves import moves, state_told
from usecasecore.ledger.reading import state_since, trail
from usecasecore.verification import Report, verify
from usecasecore.verification.stored_states import state_findings

AUDIT = ledger_tables().audit


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = create_engine(database_url)
    Base.metadata.create_all(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def runtime(engine: Engine) -> Runtime:
    return Runtime(engine, app)


@pytest.fixture
def returned(runtime: Runtime) -> UUID:
    """A purchase whose fourth version moved shipping in the columns of the entry and payment in its detail."""
    one = runtime.execute(Place(article="lamp", amount=Decimal("19.90"))).purchase_id
    for command in (Capture(purchase_id=one), Dispatch(purchase_id=one), TakeBack(purchase_id=one)):
        runtime.execute(command)
    return one


def verified(engine: Engine) -> Report:
    with engine.connect() as connection:
        return verify(connection, app)


def tamper(engine: Engine, detail: object, version: int = 4) -> None:
    with engine.begin() as connection:
        statement = text(f"update usecasecore_audit set detail = :detail where version = {version}")
        if engine.dialect.name == "postgresql":
            statement = text(f"update usecasecore_audit set detail = cast(:detail as json) where version = {version}")
        connection.execute(statement, {"detail": json.dumps(detail)})


REFUND = {"lifecycle": "purchase.payment", "trigger": "refund", "from": "captured", "to": "refunded"}


def test_a_purchase_that_was_moved_in_both_verifies_clean(engine: Engine, runtime: Runtime, returned: UUID) -> None:
    runtime.execute(Cancel(purchase_id=runtime.execute(Place(article="desk", amount=Decimal(80))).purchase_id))
    report = verified(engine)
    assert report.findings == ()
    assert report.counted.hashed == 6
    with engine.connect() as connection:
        assert state_findings(connection, app) == ()


@pytest.mark.parametrize(
    ("second", "codes"),
    [
        ({**REFUND, "from": "authorized"}, {"state_link", "undeclared_transition", "entry_changed"}),
        ({**REFUND, "to": "voided"}, {"undeclared_transition", "state_differs", "entry_changed"}),
        ({**REFUND, "trigger": "void"}, {"undeclared_transition", "entry_changed"}),
        ({**REFUND, "trigger": None}, {"state_without_trigger", "entry_changed"}),
        ({**REFUND, "lifecycle": "purchase.shipping"}, {"state_link", "undeclared_transition", "state_differs", "entry_changed"}),
        (None, {"state_differs", "entry_changed"}),
    ],
)
def test_a_second_transition_that_was_tampered_with_is_found(
    engine: Engine, returned: UUID, second: object, codes: set[str]
) -> None:
    tamper(engine, {} if second is None else {"transitions": [second]})
    assert verified(engine).codes == codes


@pytest.mark.parametrize(
    "detail", [[], {"transitions": 3}, {"transitions": [3, "refund", [], None]}, {"transitions": {}}, {"a": 1}]
)
def test_what_has_another_form_is_passed_over_and_the_hash_tells(engine: Engine, returned: UUID, detail: object) -> None:
    tamper(engine, detail)
    assert verified(engine).codes == {"state_differs", "entry_changed"}
    with engine.connect() as connection:
        assert [one.transitions for one in trail(connection, None, "purchase", str(returned))][-1][1:] == ()


def test_moves_are_in_the_order_of_versions_and_within_one_of_firing(engine: Engine, returned: UUID) -> None:
    tamper(engine, {"note": 'a "transitions" of one\'s own'}, version=1)
    move = moves(AUDIT, engine.dialect.name, AUDIT.c.version != 3).c
    statement = select(move.version, move.ordinal, move.lifecycle, move.trigger, move.from_state, move.to_state)
    with engine.connect() as connection:
        assert [tuple(row) for row in connection.execute(statement.order_by(move.version, move.ordinal))] == [
            (1, 0, "purchase.payment", None, None, "authorized"),
            (2, 0, "purchase.payment", "capture", "authorized", "captured"),
            (4, 0, "purchase.shipping", "take_back", "dispatched", "returned"),
            (4, 1, "purchase.payment", "refund", "captured", "refunded"),
        ]
        told = state_told(AUDIT, engine.dialect.name, "purchase.payment", "to_state")
        found = connection.execute(select(AUDIT.c.version, told).order_by(AUDIT.c.version))
        assert [tuple(row) for row in found] == [(1, "authorized"), (2, "captured"), (3, None), (4, "refunded")]


def test_the_flow_and_the_journey_have_both(engine: Engine, returned: UUID) -> None:
    with engine.connect() as connection:
        goods, money = (flow(connection, one) for one in (Purchase.shipping, Purchase.payment))
        steps = {one.name: journey(connection, one, str(returned)) for one in (Purchase.shipping, Purchase.payment)}
    assert {(one.trigger, one.source, one.dest, one.count) for one in goods.passages} == {
        (None, None, "waiting", 1),
        ("dispatch", "waiting", "dispatched", 1),
        ("take_back", "dispatched", "returned", 1),
    }
    assert {(one.trigger, one.source, one.dest, one.count) for one in money.passages} == {
        (None, None, "authorized", 1),
        ("capture", "authorized", "captured", 1),
        ("refund", "captured", "refunded", 1),
    }
    assert {one.state: one.count for one in goods.stays} == {"waiting": 1, "dispatched": 1}
    assert {one.state: one.count for one in money.stays} == {"authorized": 1, "captured": 1}
    assert [one.trigger for one in steps["purchase.shipping"]] == [None, "dispatch", "take_back"]
    assert [one.trigger for one in steps["purchase.payment"]] == [None, "capture", "refund"]


def test_each_state_was_come_into_when_it_was(
    engine: Engine, database_url: str, returned: UUID, capsys: pytest.CaptureFixture[str]
) -> None:
    with engine.connect() as connection:
        entries = trail(connection, None, "purchase", str(returned))
        since = [
            state_since(connection, None, "purchase", str(returned), *of)
            for of in (("purchase.shipping", "returned"), ("purchase.payment", "refunded"))
        ]
    assert since == [entries[3].occurred_at] * 2
    place = ("--app", "examples.purchases.app:app", "--url", database_url)
    shown = CommandLine(capsys)("aggregate", "show", "purchase.payment", str(returned), *place)
    assert "take_back: dispatched → returned, refund: captured → refunded" in shown.out
    shown = CommandLine(capsys)("audit", "show", "purchase", str(returned), *place)
    assert "refund: captured → refunded (purchase.payment)" in shown.out


def test_a_row_whose_lifecycle_moved_in_a_detail_needs_no_further_baseline(engine: Engine, returned: UUID) -> None:
    with engine.connect() as connection:
        for lifecycle in (Purchase.shipping, Purchase.payment):
            [rows] = rows_of(lifecycle)
            found = outstanding(lambda work: work(connection), rows)
            assert (found.rows, found.again) == (1, 0)
