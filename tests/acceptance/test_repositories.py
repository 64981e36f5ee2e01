"""The orders through a team's own repositories: the same answers, the same ledger, the same locks as without them."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Engine, create_engine, select
from sqlalchemy.orm import Session

from examples.orders.app import app as plain
from examples.orders.model import Base
from examples.orders.use_cases import AddLine, CreateOrder, Pay, Submit, WrongAmount
from examples.repositories.app import app as through_repositories
from examples.repositories.repository import Orders
from examples.repositories.use_cases import TooManyOpenOrders
from usecasecore import Actor, Application, Rejected, Runtime
from usecasecore.errors import AggregateNotFound
from usecasecore.ledger import ledger_tables

ADA = Actor("user", "ada")
PRICE = Decimal("19.90")


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = create_engine(database_url, pool_size=10)
    Base.metadata.create_all(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def runtime(engine: Engine) -> Runtime:
    return Runtime(engine, through_repositories)


def life(engine: Engine, app: Application) -> tuple[list[Any], list[Any]]:
    """Run an order's life, refusals included; return what was answered, and what it left in the ledger, without its ids."""
    runtime = Runtime(engine, app)
    order_id = runtime.execute(CreateOrder(customer="Grace"), actor=ADA).order_id
    commands = [
        Submit(order_id=order_id),
        AddLine(order_id=order_id, article="lamp", quantity=2, unit_price=PRICE),
        Submit(order_id=order_id),
        Submit(order_id=order_id),
        Pay(order_id=order_id, amount=Decimal(1), card_token="tok"),
        Pay(order_id=order_id, amount=2 * PRICE, card_token="tok"),
    ]
    answers: list[Any] = []
    for number, command in enumerate([*commands, commands[-1]]):
        try:
            outcome = runtime.run(command, actor=ADA, idempotency_key=f"k{min(number, 5)}-{order_id}")
        except Rejected as rejected:
            answers.append((rejected.code, str(rejected), rejected.version))
        else:
            answers.append((outcome.result.model_dump_json(), outcome.replayed, outcome.version))
    return [str(one).replace(str(order_id), "ID") for one in answers], left_by(engine, order_id)


def left_by(engine: Engine, order_id: UUID) -> list[Any]:
    tables = ledger_tables()
    own = {
        tables.audit: ("use_case", "version", "trigger", "from_state", "to_state", "command", "changes", "detail"),
        tables.outbox: ("kind", "type", "version", "ordinal", "payload"),
    }
    found = []
    with engine.connect() as connection:
        for table, names in own.items():
            statement = select(*(table.c[name] for name in names)).where(table.c.aggregate_id == str(order_id))
            order = [table.c[name] for name in ("version", "ordinal") if name in table.c]
            found += [str(row).replace(str(order_id), "ID") for row in connection.execute(statement.order_by(*order))]
    return found


def test_an_order_lives_the_same_life_with_the_same_traces(engine: Engine) -> None:
    with_answers, with_traces = life(engine, through_repositories)
    without_answers, without_traces = life(engine, plain)
    assert with_answers == without_answers
    assert with_traces == without_traces
    assert len(with_traces) >= 4 + 5


def test_a_rule_that_only_a_repository_can_answer(runtime: Runtime) -> None:
    for _ in range(3):
        runtime.execute(CreateOrder(customer="Grace"), actor=ADA)
    with pytest.raises(TooManyOpenOrders) as refused:
        runtime.execute(CreateOrder(customer="Grace"), actor=ADA)
    assert refused.value.open_orders == 3
    runtime.execute(CreateOrder(customer="Alan"), actor=ADA)


def test_what_the_repository_does_not_find_is_not_found(runtime: Runtime) -> None:
    with pytest.raises(AggregateNotFound):
        runtime.execute(Submit(order_id=uuid4()), actor=ADA)


def test_what_the_repositorys_query_finds_is_locked(runtime: Runtime) -> None:
    order_id = runtime.execute(CreateOrder(customer="Grace"), actor=ADA).order_id

    def add(_: int) -> None:
        # Each makes the one line longer: without the lock, additions would be lost.
        runtime.execute(AddLine(order_id=order_id, article="lamp", quantity=1, unit_price=PRICE), actor=ADA)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(add, range(24)))
    with Session(runtime.engine) as session:
        order = Orders(session).get(order_id)
        assert order is not None
        assert [(line.quantity, order.version) for line in order.lines] == [(24, 25)]


def test_a_refusal_leaves_nothing_of_what_a_repository_did(runtime: Runtime) -> None:
    order_id = runtime.execute(CreateOrder(customer="Grace"), actor=ADA).order_id
    runtime.execute(AddLine(order_id=order_id, article="lamp", quantity=1, unit_price=PRICE), actor=ADA)
    runtime.execute(Submit(order_id=order_id), actor=ADA)
    with pytest.raises(WrongAmount):
        runtime.execute(Pay(order_id=order_id, amount=Decimal(1), card_token="tok"), actor=ADA)
    with Session(runtime.engine) as session:
        order = Orders(session).get(order_id)
        assert order is not None
        assert (order.state, order.paid, order.version) == ("submitted", Decimal(0), 3)


def test_outside_of_a_use_case_a_repository_opens_no_order(engine: Engine) -> None:
    with Session(engine) as session, pytest.raises(TypeError, match=r"add=context\.create"):
        Orders(session).open("Grace")
