"""The orders example: its demo shows what the README says, and an order can live its life."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import create_engine, select

from examples.orders.app import app
from examples.orders.model import Base, Order
from examples.orders.use_cases import AddLine, Cancel, CreateOrder, Pack, Pay, Ship, StartFulfilment, Submit, WrongAmount
from usecasecore import Actor, Runtime
from usecasecore.errors import GuardRejected, InvalidCommand, TransitionNotAllowed
from usecasecore.ledger import ledger_tables

ADA = Actor("user", "ada")
ROOT = Path(__file__).parents[2]


def test_the_demo_shows_result_refusal_replay_audit_trail_and_lifecycle() -> None:
    done = subprocess.run([sys.executable, "-m", "examples.orders.demo"], cwd=ROOT, capture_output=True, text=True, check=True)
    for line in (
        "draft                --submit----------> submitted  if has_value",
        "refused  [guard_rejected] order: 'submit' from 'draft' is refused: an order must be worth something before it is submitted",
        "total=Decimal('39.80'))",
        "replayed=True  same result=True  version=3",
        "refused  [transition_not_allowed] order: 'start_fulfilment' is not possible from 'submitted'; possible: cancel, pay",
        "refused  [wrong_amount] 39.80 EUR are due, 1 EUR were offered",
        "v4  user:ada  PayOrder              submitted -> paid                invoice 7",
        "v4.1  job    send_receipt",
        "report     6 events published, 1 job run, 0 failed, 0 left",
    ):
        assert line in done.stdout, line
    assert "tok_4242" not in done.stdout
    assert done.stderr == ""


@pytest.fixture
def runtime(database_url: str) -> Iterator[Runtime]:
    engine = create_engine(database_url)
    Base.metadata.create_all(engine)
    yield Runtime(engine, app)
    engine.dispose()


@pytest.fixture
def draft(runtime: Runtime) -> UUID:
    return runtime.execute(CreateOrder(customer="Grace"), actor=ADA).order_id


def column(runtime: Runtime, name: str) -> list[Any]:
    audit = ledger_tables().audit
    with runtime.engine.connect() as connection:
        return list(connection.scalars(select(audit.c[name]).order_by(audit.c.version)))


def test_an_order_lives_its_life(runtime: Runtime, draft: UUID) -> None:
    runtime.execute(AddLine(order_id=draft, article="lamp", quantity=2, unit_price=Decimal("19.90")))
    runtime.execute(Submit(order_id=draft))
    runtime.execute(Pay(order_id=draft, amount=Decimal("39.80"), card_token="tok_4242"))
    runtime.execute(StartFulfilment(order_id=draft))
    runtime.execute(Pack(order_id=draft))
    assert runtime.execute(Ship(order_id=draft, tracking="T1")).state == "shipped"
    states = ["draft", "draft", "submitted", "paid", "fulfilment_picking", "fulfilment_packed", "shipped"]
    assert column(runtime, "to_state") == states
    assert column(runtime, "from_state") == [None, *states[:-1]]
    assert column(runtime, "detail")[1] == {"total": "39.80"}
    with runtime.engine.connect() as connection:
        assert connection.scalar(select(Order.__table__.c.state)) == "shipped"


def test_an_empty_order_is_not_submitted(runtime: Runtime, draft: UUID) -> None:
    with pytest.raises(GuardRejected, match="must be worth something"):
        runtime.execute(Submit(order_id=draft))


def test_a_wrong_amount_is_a_domain_error(runtime: Runtime, draft: UUID) -> None:
    runtime.execute(AddLine(order_id=draft, article="lamp", quantity=1, unit_price=Decimal(5)))
    runtime.execute(Submit(order_id=draft))
    with pytest.raises(WrongAmount) as refused:
        runtime.execute(Pay(order_id=draft, amount=Decimal(4), card_token="tok_4242"))
    assert (refused.value.due, refused.value.offered) == (Decimal(5), Decimal(4))
    assert refused.value.code == "wrong_amount"


@pytest.mark.parametrize("state", ["draft", "submitted", "paid"])
def test_an_order_that_is_not_under_way_yet_is_cancelled_for_a_reason(runtime: Runtime, draft: UUID, state: str) -> None:
    runtime.execute(AddLine(order_id=draft, article="lamp", quantity=1, unit_price=Decimal(5)))
    if state != "draft":
        runtime.execute(Submit(order_id=draft))
    if state == "paid":
        runtime.execute(Pay(order_id=draft, amount=Decimal(5), card_token="tok_4242"))
    runtime.execute(Cancel(order_id=draft), reason="changed my mind")
    assert (column(runtime, "from_state")[-1], column(runtime, "to_state")[-1]) == (state, "cancelled")


def test_an_order_is_cancelled_from_inside_the_nested_state_and_for_a_reason(runtime: Runtime, draft: UUID) -> None:
    runtime.execute(AddLine(order_id=draft, article="lamp", quantity=1, unit_price=Decimal(5)))
    runtime.execute(Submit(order_id=draft))
    runtime.execute(Pay(order_id=draft, amount=Decimal(5), card_token="tok_4242"))
    runtime.execute(StartFulfilment(order_id=draft))
    with pytest.raises(InvalidCommand, match="wants a reason"):
        runtime.execute(Cancel(order_id=draft))
    assert runtime.execute(Cancel(order_id=draft), reason="sold out").state == "cancelled"
    with pytest.raises(TransitionNotAllowed, match="possible: nothing, the state is final"):
        runtime.execute(Ship(order_id=draft, tracking="T1"))
