"""What a command leaves is found again in the column that it is meant for, on both databases, whatever it says."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, Self
from uuid import UUID

import pytest
from sqlalchemy import Column, Connection, Table, Text, Uuid, cast, create_engine, select, text, type_coerce

from usecasecore.ledger import ledger_tables, text_rows
from usecasecore.ledger.chain import entry_hash
from usecasecore.ledger.entries import AuditEntry, Entries, IdempotencyKey, OutboxMessage, Said, StoredResult
from usecasecore.ledger.personal import PersonalValue
from usecasecore.ledger.store import store_for
from usecasecore.ledger.types import Instant
from usecasecore.ledger.write_sql import CHAINED, written

LEDGER = ledger_tables()
COMMAND_ID = UUID("00000000-0000-7000-8000-00000000abcd")
# Before the year 1000, to the microsecond, and in another zone than UTC: 02:30 there.
AT = datetime(987, 5, 4, 4, 30, 0, 1, tzinfo=timezone(timedelta(hours=2)))
EARLIER = AT - timedelta(seconds=3)
LATER = datetime(2026, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)
MUCH_LATER = datetime(2027, 2, 3, tzinfo=timezone(timedelta(hours=-5, minutes=-30)))


def entries() -> Entries:
    """Return what a command leaves in which no two values of a row are the same, with more messages than go into one statement."""
    return Entries(
        said=said(),
        stored=StoredResult(bytes(range(32)), COMMAND_ID, 7, "Closed", 3, '{"closed":true}'),
        audit=(
            AuditEntry(UUID(int=1), "delete", "account", "4", 7, "life", "close", "open", "gone", '{"a":1}', '{"b":1}', 5),
            AuditEntry(UUID(int=2)),
            AuditEntry(UUID(int=3), "baseline", "account", "5", 8, detail='{"c":1}'),
        ),
        outbox=(
            OutboxMessage(UUID(int=11), "event", "account.closed", 2, "account", "4", 7, 0, '{"closed":4}', AT),
            OutboxMessage(UUID(int=12), "job", "letter", 6, None, None, None, 1, "{}", MUCH_LATER),
            *(OutboxMessage(UUID(int=11 + n), "event", f"type {n}", 1, "account", "4", 7, n, "{}", AT) for n in range(2, 6)),
        ),
        personal=(PersonalValue("field", "the subject", '"value"', b"\x07" * 32), PersonalValue("g", "h", "1", b"\x08" * 32)),
    )


def said(**otherwise: Any) -> Said:
    """Return what was said with the command."""
    common = {
        "command_id": COMMAND_ID,
        "use_case": "CloseAccount",
        "tenant": "acme",
        "actor": "user:ada",
        "on_behalf_of": "user:grace",
        "reason": "a reason, b\u00fct \u2603",
        "command": '{"command":1}',
        "request_id": "request",
        "correlation_id": "correlation",
        "causation_id": "causation",
        "occurred_at": EARLIER,
    }
    key = IdempotencyKey("acme", "user:ada", "CloseAccount", "the key")
    return Said(key, COMMAND_ID, AT, LATER, {**common, **otherwise}, '{"headers":1}')


def few() -> Entries:
    """Return likewise what a command leaves whose rows travel as values, with as many messages as may."""
    return entries()._replace(audit=entries().audit[:1], outbox=entries().outbox[:4], personal=())


def least() -> Entries:
    """Return likewise what a command without an aggregate leaves that says nothing to nobody."""
    nobody = dict.fromkeys(("tenant", "on_behalf_of", "reason", "request_id", "causation_id"))
    return few()._replace(said=said(**nobody), audit=(AuditEntry(UUID(int=2)),), outbox=())


@pytest.fixture(params=[entries, few, least])
def left(request: pytest.FixtureRequest) -> Entries:
    """What the command left."""
    made: Entries = request.param()
    return made


@pytest.fixture
def connection(database_url: str, left: Entries) -> Iterator[Connection]:
    """A connection whose transaction has written it."""
    engine = create_engine(database_url)
    with engine.begin() as connection:
        write(connection, left)
        yield connection
    engine.dispose()


def write(connection: Connection, left: Entries) -> None:
    """Write what a command left; on PostgreSQL as a command does that commits along, but for the COMMIT."""
    is_postgresql = connection.dialect.name == "postgresql"
    began = connection.scalar(text("select now()")) if is_postgresql else None
    along = _Along(connection) if is_postgresql else None
    store = store_for(connection.dialect, LEDGER)
    store.write(connection, left, began=began, claimed=False, enter=lambda step: None, commit=along)
    assert along is None or along.has_json == (len(left.audit) > 1)


class _Along:
    """Sends the statement to which COMMIT would be added, and leaves the commit to the fixture."""

    def __init__(self, connection: Connection) -> None:
        self.has_json = False
        self._connection = connection

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def send(self, text: str, parameters: Any) -> None:
        self.has_json = "json_to_recordset" in text
        self._connection.exec_driver_sql(text, parameters)


def stored(connection: Connection, table: Table, order: str) -> list[dict[str, Any]]:
    """Return the columns that a command writes, JSON as the text that is stored."""
    texts = {"command", "changes", "detail", "payload", "headers"}
    as_text = cast if connection.dialect.name == "postgresql" else type_coerce
    columns = [as_text(table.c[name], Text()).label(name) if name in texts else table.c[name] for name in written(table)]
    return [dict(row) for row in connection.execute(select(*columns).order_by(table.c[order])).mappings()]


def test_an_audit_entry_is_stored_in_its_columns(connection: Connection, left: Entries) -> None:
    common = {**left.said.common, "key": "the key"}
    assert stored(connection, LEDGER.audit, "id") == [{**common, **entry._asdict()} for entry in left.audit]


def test_the_result_is_stored_under_its_key(connection: Connection) -> None:
    key = {"tenant": "acme", "actor": "user:ada", "use_case": "CloseAccount", "key": "the key"}
    result = {"version": 7, "result_type": "Closed", "result_version": 3, "result": '{"closed":true}'}
    rest = {"fingerprint": bytes(range(32)), "command_id": COMMAND_ID, "created_at": AT, "expires_at": LATER}
    assert stored(connection, LEDGER.idempotency, "key") == [{**key, **result, **rest}]


def test_a_message_is_stored_in_its_columns(connection: Connection, left: Entries) -> None:
    common = {"command_id": COMMAND_ID, "tenant": left.said.common["tenant"], "headers": '{"headers":1}', "occurred_at": AT}
    assert stored(connection, LEDGER.outbox, "id") == [{**common, **message._asdict()} for message in left.outbox]


def test_a_personal_value_is_stored_in_its_columns(connection: Connection, left: Entries) -> None:
    common = {"command_id": COMMAND_ID, "tenant": "acme"}
    first = {"field": "field", "subject": "the subject", "value": '"value"', "salt": b"\x07" * 32}
    second = {"field": "g", "subject": "h", "value": "1", "salt": b"\x08" * 32}
    there = [{**common, **first}, {**common, **second}] if left.personal else []
    assert stored(connection, LEDGER.personal, "field") == there


def test_the_hash_is_that_of_what_is_stored_and_the_head_is_that_of_the_aggregates_last_entry(
    connection: Connection, left: Entries
) -> None:
    table = LEDGER.audit
    recorded = connection.execute(select(table.c.recorded_at, table.c.hash).order_by(table.c.id)).all()
    rows = stored(connection, table, "id")
    hashes = [entry_hash(None, {**row, "recorded_at": at}) for row, (at, _) in zip(rows, recorded, strict=True)]
    assert [made for _, made in recorded] == hashes
    head = LEDGER.head.c
    heads = connection.execute(select(head.aggregate, head.aggregate_id, head.version, head.hash).order_by(head.aggregate_id))
    with_hashes = zip(left.audit, hashes, strict=True)
    moved = [(entry.aggregate, entry.aggregate_id, entry.version, made) for entry, made in with_hashes if entry.aggregate]
    assert [tuple(row) for row in heads] == moved


def test_ids_and_instants_are_the_texts_that_sqlalchemy_would_write(sqlite_url: str) -> None:
    engine = create_engine(sqlite_url)
    with engine.begin() as connection:
        write(connection, entries())
        for column in (*ids_and_instants(LEDGER.audit), *ids_and_instants(LEDGER.outbox), *ids_and_instants(LEDGER.idempotency)):
            texts = set(connection.execute(select(type_coerce(column, Text()))).scalars())
            process = column.type.dialect_impl(engine.dialect).bind_processor(engine.dialect)
            assert process is not None
            assert texts == {process(value) for value in connection.execute(select(column)).scalars()}
    engine.dispose()


def ids_and_instants(table: Table) -> list[Column[Any]]:
    return [column for column in table.c if column.name in written(table) and isinstance(column.type, Uuid | Instant)]


@pytest.mark.parametrize(
    ("table", "columns"),
    [
        (LEDGER.audit, text_rows.AUDIT),
        (LEDGER.idempotency, text_rows.IDEMPOTENCY),
        (LEDGER.outbox, text_rows.OUTBOX),
        (LEDGER.personal, text_rows.PERSONAL),
    ],
    ids=["audit", "idempotency", "outbox", "personal"],
)
def test_every_column_that_a_command_writes_is_in_its_row(table: Table, columns: tuple[str, ...]) -> None:
    assert len(set(columns)) == len(columns)
    assert set(columns) == set(written(table))


def test_the_columns_of_the_chain_are_the_rest_of_the_audit_table() -> None:
    assert {*text_rows.AUDIT, *CHAINED} == set(LEDGER.audit.c.keys())
