"""Two lifecycles of one aggregate: each at its own pace, both in one command where that is one decision."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Engine, create_engine, select

from examples.purchases.app import app
from examples.purchases.model import Base, Payment, Purchase, Shipping
from examples.purchases.use_cases import Cancel, Capture, Deliver, Dispatch, Place, TakeBack
from usecasecore import Runtime
from usecasecore.context import FiredTransition
from usecasecore.errors import GuardRejected, TransitionNotAllowed
from usecasecore.ledger import ledger_tables
from usecasecore.ledger.transitions import transitions_of


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
def purchase_id(runtime: Runtime) -> UUID:
    return runtime.execute(Place(article="lamp", amount=Decimal("19.90"))).purchase_id


def rows(engine: Engine, name: str) -> list[dict[str, Any]]:
    table = getattr(ledger_tables(), name)
    order = [table.c[column] for column in ("version", "ordinal") if column in table.c]
    with engine.connect() as connection:
        return [dict(row._mapping) for row in connection.execute(select(table).order_by(*order))]


def test_money_and_goods_go_at_their_own_pace_and_are_tied_by_guards(runtime: Runtime, purchase_id: UUID) -> None:
    with pytest.raises(GuardRejected, match="goods leave the house when they are paid for"):
        runtime.execute(Dispatch(purchase_id=purchase_id))
    runtime.execute(Capture(purchase_id=purchase_id))
    runtime.execute(Dispatch(purchase_id=purchase_id))
    standing = runtime.execute(Deliver(purchase_id=purchase_id))
    assert (standing.payment, standing.shipping) == (Payment.CAPTURED, Shipping.DELIVERED)


def test_both_are_moved_by_one_command_which_is_one_version_one_entry_and_an_event_for_each(
    engine: Engine, runtime: Runtime, purchase_id: UUID
) -> None:
    runtime.execute(Capture(purchase_id=purchase_id))
    runtime.execute(Dispatch(purchase_id=purchase_id))
    outcome = runtime.run(TakeBack(purchase_id=purchase_id))
    assert (outcome.version, outcome.result.payment, outcome.result.shipping) == (4, Payment.REFUNDED, Shipping.RETURNED)
    entries = rows(engine, "audit")
    assert [entry["version"] for entry in entries] == [1, 2, 3, 4]
    last = entries[-1]
    assert (last["lifecycle"], last["trigger"], last["from_state"], last["to_state"]) == (
        "purchase.shipping",
        "take_back",
        "dispatched",
        "returned",
    )
    assert last["changes"] == {}
    assert transitions_of(last) == (
        FiredTransition("purchase.shipping", "take_back", "dispatched", "returned"),
        FiredTransition("purchase.payment", "refund", "captured", "refunded"),
    )
    assert transitions_of({**last, "detail": json.dumps(last["detail"])}) == transitions_of(last)
    assert [transitions_of(entry) for entry in entries[:1]] == [()]
    events = [row for row in rows(engine, "outbox") if row["version"] == 4]
    assert [(row["ordinal"], row["type"]) for row in events] == [
        (0, "purchase.transition.take_back"),
        (1, "purchase.transition.refund"),
        (2, "purchase.refunded"),
    ]
    assert events[1]["payload"] == {
        "id": str(purchase_id),
        "version": 4,
        "lifecycle": "purchase.payment",
        "trigger": "refund",
        "from": "captured",
        "to": "refunded",
    }


def test_where_one_of_the_two_is_not_possible_neither_is_made(engine: Engine, runtime: Runtime, purchase_id: UUID) -> None:
    runtime.execute(Cancel(purchase_id=purchase_id))
    other = runtime.execute(Place(article="desk", amount=Decimal(80))).purchase_id
    runtime.execute(Capture(purchase_id=other))
    with pytest.raises(TransitionNotAllowed, match="'void' is not possible from 'captured'"):
        runtime.execute(Cancel(purchase_id=other))
    with engine.connect() as connection:
        found = connection.execute(
            select(Purchase.payment_state, Purchase.shipping_state, Purchase.version).order_by(Purchase.version)
        )
        assert sorted(map(tuple, found)) == [
            (Payment.CAPTURED, Shipping.WAITING, 2),
            (Payment.VOIDED, Shipping.STOPPED, 2),
        ]
