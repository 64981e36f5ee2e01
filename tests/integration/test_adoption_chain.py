"""What `db adopt` writes is in the chain of its row, and `verify` tells honestly where it can't be; on both databases."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Connection, Engine, create_engine, event, select, text, update
from sqlalchemy.orm import Session

from examples.purchases import app as purchases
from examples.purchases.model import Base as PurchaseBase
from examples.purchases.model import Purchase
from examples.purchases.use_cases import Capture, Deliver, Place
from tests.bank import POOL
from tests.shop import Annotate, Base, Erase, Order, OrderState, Pay, Submit, app
from tests.unit.cli.command_line import CommandLine
from usecasecore import Application, Runtime, uuid7
from usecasecore.adoption import adopt, rows_of
from usecasecore.ledger import ledger_tables
from usecasecore.lifecycle import Lifecycle
from usecasecore.runtime.database import command_engine
from usecasecore.runtime.limits import Limits
from usecasecore.verification import Report, verify

AUDIT, HEAD = ledger_tables().audit, ledger_tables().head
ORDERS: Any = Order.__table__


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = create_engine(database_url, **POOL)
    Base.metadata.create_all(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def runtime(engine: Engine) -> Runtime:
    return Runtime(engine, app)


def orders(engine: Engine, number: int) -> list[UUID]:
    """Orders that were written past the runtime."""
    ids = [uuid7() for _ in range(number)]
    with Session(engine) as session, session.begin():
        session.add_all([Order(id=one, state=OrderState.DRAFT, version=1) for one in ids])
    return ids


def adopted(engine: Engine, lifecycle: Lifecycle = Order.lifecycle, batch: int = 5_000) -> None:
    commands = command_engine(engine, Limits())

    def transact(work: Callable[[Connection], Any]) -> Any:
        with commands.begin() as connection:
            return work(connection)

    [rows] = rows_of(lifecycle)
    list(adopt(transact, rows, batch=batch))


def verified(engine: Engine, application: Application = app) -> Report:
    with engine.connect() as connection:
        return verify(connection, application)


def hashes(engine: Engine) -> list[tuple[int, bool]]:
    with engine.connect() as connection:
        entries = connection.execute(select(AUDIT.c.version, AUDIT.c.hash.is_not(None)).order_by(AUDIT.c.version))
        return [(version, bool(hashed)) for version, hashed in entries]


def test_every_baseline_begins_the_chain_that_commands_go_on_with(engine: Engine, runtime: Runtime) -> None:
    ids = orders(engine, 12)
    adopted(engine, batch=5)
    assert [hashed for _, hashed in hashes(engine)] == [True] * 12
    runtime.execute(Submit(order_id=ids[0]))
    runtime.execute(Erase(order_id=ids[1]))
    report = verified(engine)
    assert (report.findings, report.counted.hashed, report.counted.unsealed) == ((), 14, 0)
    with engine.begin() as connection:
        connection.execute(update(AUDIT).where(AUDIT.c.aggregate_id == str(ids[5])).values(to_state="paid"))
    assert verified(engine).codes == {"state_differs", "entry_changed"}


def test_a_baseline_below_the_entries_of_commands_is_in_no_chain_and_that_is_told(
    engine: Engine, runtime: Runtime, database_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    [order_id] = orders(engine, 1)
    runtime.execute(Annotate(order_id=order_id, note="x"))
    runtime.execute(Submit(order_id=order_id))
    adopted(engine)
    adopted(engine)
    assert hashes(engine) == [(1, False), (2, True), (3, True)]
    report = verified(engine)
    assert (report.findings, report.counted.unsealed) == ((), 1)
    run = CommandLine(capsys)
    ran = run("verify", "--audit", "--app", "tests.shop:app", "--url", database_url)
    assert ran.code == 0
    assert "1 baseline is below the start of a chain: no hash vouches for that" in ran.err
    runtime.execute(Pay(order_id=order_id))
    with engine.begin() as connection:
        connection.execute(update(AUDIT).where(AUDIT.c.version == 3).values(reason="because"))
    assert verified(engine).codes == {"entry_changed"}


@pytest.mark.parametrize(("version", "codes"), [(0, {"hash_missing"}), (5, {"hash_missing", "head_differs", "version_differs"})])
def test_a_baseline_that_somebody_adds_to_a_chain_is_found(
    engine: Engine, runtime: Runtime, version: int, codes: set[str]
) -> None:
    [order_id] = orders(engine, 1)
    adopted(engine)
    runtime.execute(Submit(order_id=order_id))
    with engine.begin() as connection:
        entry = dict(connection.execute(select(AUDIT).where(AUDIT.c.version == 2)).one()._mapping)
        entry |= {"id": uuid7(), "kind": "baseline", "version": version, "key": None, "messages": None, "trigger": None}
        entry |= {"from_state": None, "hash": None, "prev_hash": None, "hash_version": None}
        connection.execute(AUDIT.insert(), entry)
    assert verified(engine).codes - {"message_missing"} == codes


def test_a_further_baseline_in_the_middle_is_linked_and_breaks_no_states(engine: Engine, runtime: Runtime) -> None:
    [order_id, other] = orders(engine, 2)
    adopted(engine)
    runtime.execute(Annotate(order_id=order_id, note="x"))
    with engine.begin() as connection:
        connection.execute(update(ORDERS).where(ORDERS.c.id == order_id).values(status="submitted"))
    adopted(engine)
    runtime.execute(Pay(order_id=order_id))
    runtime.execute(Submit(order_id=other))
    report = verified(engine)
    assert (report.findings, report.counted.hashed) == ((), 6)


def test_of_lifecycles_beside_the_one_with_a_further_baseline_nothing_is_claimed(engine: Engine) -> None:
    PurchaseBase.metadata.create_all(engine)
    runtime = Runtime(engine, purchases.app)
    one = runtime.execute(Place(article="lamp", amount=Decimal(5))).purchase_id
    runtime.execute(Capture(purchase_id=one))
    with engine.begin() as connection:
        connection.execute(text("update purchases set payment_state = 'authorized', shipping_state = 'dispatched'"))
    assert verified(engine, purchases.app).codes == {"state_differs"}
    adopted(engine, Purchase.payment)
    assert verified(engine, purchases.app).findings == ()
    runtime.execute(Deliver(purchase_id=one))
    report = verified(engine, purchases.app)
    assert (report.findings, report.counted.hashed) == ((), 4)


def test_a_key_that_comes_back_after_its_deletion_goes_on_in_the_chain(engine: Engine, runtime: Runtime) -> None:
    [order_id] = orders(engine, 1)
    adopted(engine)
    runtime.execute(Erase(order_id=order_id))
    with Session(engine) as session, session.begin():
        session.add(Order(id=order_id, state=OrderState.SUBMITTED))
    adopted(engine)
    runtime.execute(Pay(order_id=order_id))
    assert verified(engine).findings == ()


KILLED = """
import os, sys
from sqlalchemy import create_engine
from tests.shop import Order
from usecasecore.adoption import adopt, rows_of
from usecasecore.runtime.database import command_engine
from usecasecore.runtime.limits import Limits

engine, calls = command_engine(create_engine(sys.argv[1]), Limits()), []

def transact(work):
    with engine.begin() as connection:
        done = work(connection)
        calls.append(1)
        if len(calls) == 3:
            os._exit(9)
        return done

[rows] = rows_of(Order.lifecycle)
list(adopt(transact, rows, batch=50))
"""


def test_killed_before_a_commit_it_goes_on_with_whole_chains(engine: Engine, runtime: Runtime, database_url: str) -> None:
    orders(engine, 220)
    ended = subprocess.run([sys.executable, "-c", KILLED, database_url], timeout=60, check=False)
    assert ended.returncode == 9
    assert hashes(engine) == [(1, True)] * 100
    with engine.connect() as connection:
        begun = connection.scalars(select(AUDIT.c.aggregate_id).limit(1)).one()
    runtime.execute(Submit(order_id=UUID(begun)))
    adopted(engine, batch=50)
    report = verified(engine)
    assert (report.findings, report.counted.hashed, report.counted.unsealed) == ((), 221, 0)


@pytest.mark.postgresql
@pytest.mark.parametrize("committed", [True, False])
def test_a_row_that_a_command_has_locked_is_not_waited_for(postgres_url: str, committed: bool) -> None:
    engine = create_engine(postgres_url, **POOL)
    Base.metadata.create_all(engine)
    runtime = Runtime(engine, app)
    [order_id, other] = orders(engine, 2)

    def adopt_meanwhile(*_: object) -> None:
        adopted(engine)  # the command has the row's lock now, and no entry yet
        if not committed:
            raise RuntimeError("the command ends here")

    event.listen(Session, "after_flush", adopt_meanwhile)
    try:
        if committed:
            runtime.execute(Submit(order_id=order_id))
        else:
            with pytest.raises(RuntimeError):
                runtime.execute(Submit(order_id=order_id))
    finally:
        event.remove(Session, "after_flush", adopt_meanwhile)
    if not committed:
        assert verified(engine).codes == {"head_missing", "hash_missing"}
    adopted(engine)
    runtime.execute(Submit(order_id=other))
    report = verified(engine)
    assert (report.findings, report.counted.unsealed) == ((), 1 if committed else 0)
    engine.dispose()
