"""The keys of a batch are looked up one by one, whatever the planner knew of the table when it made its plan."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Connection, create_engine, event, text

from usecasecore.ledger import ledger_tables
from usecasecore.ledger.entries import IdempotencyKey
from usecasecore.ledger.store import PostgresStore, store_for

LEDGER = ledger_tables()
KEYS = text(
    "insert into usecasecore_idempotency (tenant, actor, use_case, key, fingerprint, command_id, version, result_type, "
    "result_version, result, created_at, expires_at) select '', 'user:ada', 'Close', 'key ' || n, '', gen_random_uuid(), n, "
    "'Closed', 1, '{}', now(), now() from generate_series(cast(:first as int), cast(:last as int)) as n"
)
ONE = IdempotencyKey("", "user:ada", "Close", "key 7")


@pytest.fixture
def connection(postgres_url: str) -> Iterator[Connection]:
    """Return a connection to a ledger of 20,000 keys, of which the planner knows the first ten."""
    engine = create_engine(postgres_url)
    with engine.begin() as setting_up:
        LEDGER.metadata.create_all(setting_up)
        setting_up.execute(KEYS, {"first": 1, "last": 10})
        setting_up.execute(text("analyze usecasecore_idempotency"))
        setting_up.execute(KEYS, {"first": 11, "last": 20_000})
    with engine.begin() as connection:
        yield connection
    engine.dispose()


def pages(plan: dict[str, Any]) -> int:
    """Return how many pages a plan has read, those in memory included."""
    return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])


def test_no_other_keys_than_those_asked_for_are_read(connection: Connection) -> None:
    store = store_for(connection.dialect, LEDGER)
    assert isinstance(store, PostgresStore)
    sent: dict[str, Any] = {}

    def heard(_: Any, __: Any, statement: str, parameters: Any, *___: Any) -> None:
        sent.update(statement=statement, parameters=parameters)

    event.listen(connection, "before_cursor_execute", heard)
    found = store.look_up_many(connection, ONE, [f"key {number}" for number in (7, 19_999, 20_001)])
    event.remove(connection, "before_cursor_execute", heard)
    assert {key: stored.version for key, stored in found.items()} == {"key 7": 7, "key 19999": 19_999}

    explained = connection.exec_driver_sql(f"explain (analyze, buffers, format json) {sent['statement']}", sent["parameters"])
    [told] = explained.scalar_one()
    # Three descents of the index, each of a few levels; all keys are on more than 300 pages of it.
    assert 3 <= pages(told["Plan"]) <= 20
