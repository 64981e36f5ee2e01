"""What forgetting idempotency keys means for commands that come meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

from sqlalchemy import Engine, event, select, text

from tests.accounts import ADA, NOON, Deposit, Done, Ping, PingOwner, application
from tests.bank import Bank, on_postgres
from usecasecore import ExecutionContext
from usecasecore.ledger import ledger_tables
from usecasecore.ledger.keys import key_status, prune_keys

KEYS = ledger_tables().idempotency
LATER = NOON + timedelta(days=10_000)


def left(engine: Engine) -> list[str]:
    with engine.connect() as connection:
        return list(connection.scalars(select(KEYS.c.key)))


def test_a_key_that_expires_later_stays(bank: Bank) -> None:
    account_id = bank.open()
    bank.runtime.execute(Deposit(account_id=account_id, amount=5), actor=ADA, idempotency_key="k")
    with bank.engine.begin() as connection:
        hours = PingOwner.keep_results - timedelta(seconds=1)
        assert prune_keys(connection, now=NOON + hours, limit=10) == 0
        assert key_status(connection, now=NOON + hours).expired == 0
        assert key_status(connection, now=NOON + PingOwner.keep_results).expired == 2
    assert bank.runtime.run(Deposit(account_id=account_id, amount=5), actor=ADA, idempotency_key="k").replayed


@on_postgres
def test_rows_that_others_have_locked_are_passed_over_without_waiting(bank: Bank) -> None:
    for number in range(3):
        bank.runtime.execute(Ping(owner="x"), actor=ADA, idempotency_key=f"k{number}")
    with bank.engine.begin() as other, bank.engine.begin() as connection:
        other.execute(select(KEYS).where(KEYS.c.key == "k1").with_for_update())
        connection.execute(text("set local lock_timeout = '1s'"))
        assert prune_keys(connection, now=LATER, limit=10) == 2
    assert left(bank.engine) == ["k1"]


@on_postgres
def test_the_key_of_a_command_that_is_running_is_safe(bank_with: Callable[..., Bank]) -> None:
    inside, go_on = threading.Event(), threading.Event()

    class SlowPing(PingOwner):
        name = "PingOwner"

        def apply(self, command: Ping, state: None, context: ExecutionContext, /) -> Done:
            inside.set()
            go_on.wait(10)
            return super().apply(command, state, context)

    bank = bank_with(application(SlowPing, instead_of=PingOwner))
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(bank.runtime.run, Ping(owner="x"), actor=ADA, idempotency_key="k")
        assert inside.wait(10)
        with bank.engine.begin() as connection:
            connection.execute(text("set local lock_timeout = '1s'"))
            assert prune_keys(connection, now=LATER, limit=10) == 0
        go_on.set()
        assert not running.result().replayed
    assert bank.runtime.run(Ping(owner="x"), actor=ADA, idempotency_key="k").replayed


@on_postgres
def test_a_key_that_is_pruned_while_its_duplicate_asks_for_it_is_executed_anew_and_once(bank: Bank) -> None:
    first = bank.runtime.run(Ping(owner="x"), actor=ADA, idempotency_key="k")
    pruned: list[int] = []

    def prune(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        # The claim found the key taken; before its result is looked up, it goes.
        if statement.startswith("SELECT usecasecore_idempotency.fingerprint") and not pruned:
            with bank.engine.begin() as connection:
                pruned.append(prune_keys(connection, now=LATER, limit=10))

    event.listen(bank.wire, "before_cursor_execute", prune)
    again = bank.runtime.run(Ping(owner="x"), actor=ADA, idempotency_key="k")
    event.remove(bank.wire, "before_cursor_execute", prune)
    assert pruned == [1]
    assert not again.replayed
    assert again.command_id != first.command_id
    assert len(bank.rows("audit")) == 2
    replay = bank.runtime.run(Ping(owner="x"), actor=ADA, idempotency_key="k")
    assert (replay.replayed, replay.command_id) == (True, again.command_id)
