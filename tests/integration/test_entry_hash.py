"""The hash of an audit entry, held to vectors that nothing of the library has computed."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Connection, Text, create_engine, insert, literal_column, select, text

from usecasecore.ledger import ledger_tables
from usecasecore.ledger.chain import FIELDS, body, body_sql, entry_hash

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "audit_hash.json").read_text(encoding="utf-8"))["vectors"]
AUDIT = ledger_tables().audit


def as_stored(row: dict[str, Any]) -> dict[str, Any]:
    ids = {name: UUID(row[name]) for name in ("id", "command_id")}
    instants = {name: datetime.fromisoformat(row[name]).replace(tzinfo=UTC) for name in ("occurred_at", "recorded_at")}
    return {**row, **ids, **instants}


def inserted(connection: Connection, row: dict[str, Any]) -> str:
    """Insert an entry, its JSON as the text that it is; return its body as the database sees it."""
    json_columns = ("command", "changes", "detail")
    values = {name: row[name] for name in FIELDS if name not in json_columns}
    connection.execute(insert(AUDIT).values({**values, **{name: {} for name in json_columns}}))
    kind = "json" if connection.dialect.name == "postgresql" else "text"
    for name in json_columns:
        connection.execute(text(f"update usecasecore_audit set {name} = cast(:value as {kind})"), {"value": row[name]})
    content = literal_column(body_sql(AUDIT, connection.dialect.name, AUDIT.name), Text())
    found: str = connection.execute(select(content).select_from(AUDIT).where(AUDIT.c.id == row["id"])).scalar_one()
    return found


@pytest.mark.parametrize("vector", GOLDEN, ids=lambda vector: vector["name"])
def test_an_entry_has_the_hash_that_it_has_always_had(vector: dict[str, Any], database_url: str) -> None:
    row = as_stored(vector["row"])
    assert body(row) == vector["body"]
    assert entry_hash(bytes.fromhex(vector["previous"]), row).hex() == vector["hash"]
    engine = create_engine(database_url)
    with engine.begin() as connection:
        assert inserted(connection, row) == vector["body"]
    engine.dispose()


@pytest.mark.parametrize("length", [0, 1, 2, 5, 6, 7, 9, 10, 35, 36, 37, 100])
@pytest.mark.parametrize("letter", ["x", "é", "🔒"])
def test_the_database_writes_the_body_that_the_runtime_hashes_however_long_a_field_is(
    database_url: str, length: int, letter: str
) -> None:
    texts = dict.fromkeys(("key", "aggregate_id", "correlation_id"), letter * length)
    numbers = dict.fromkeys(("version", "messages"), min(10 ** max(length - 1, 0), 2**31 - 1))
    row = as_stored({**GOLDEN[0]["row"], **texts, **numbers, "kind": "x" * min(length, 10), "detail": f'"{letter * length}"'})
    engine = create_engine(database_url)
    with engine.begin() as connection:
        assert inserted(connection, row) == body(row)
    engine.dispose()


def test_the_vectors_follow_on_each_other() -> None:
    assert [vector["previous"] for vector in GOLDEN] == ["00" * 32, GOLDEN[0]["hash"], GOLDEN[1]["hash"], "00" * 32]
