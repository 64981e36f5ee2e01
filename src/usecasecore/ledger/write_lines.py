"""Writes the lines of a batch: on PostgreSQL by one statement, on SQLite by one for each table, executed for each row.

How it works on PostgreSQL. There are two JSON arrays, of lines and of messages, whose members have short names and hold what
differs, and an object of the rest. A message finds what its line knows by the place of the line. What the statement
does with them is what that of a single command does, see `write_sql`; chains and clock included. On SQLite the write lock is
held, so the heads can be read for all before anything is written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any, Protocol, TypeAlias

from pydantic_core import to_json
from sqlalchemy import Connection, Dialect, Table

from usecasecore.driver import DriverSql, all_rows, row_count_of_many, sole_row
from usecasecore.ledger.chain import GENESIS, HASH_VERSION, body_sql, hash_of_body, hash_sql
from usecasecore.ledger.lines import MARK, Bodies, Line, Shared
from usecasecore.ledger.store import KeyTaken, Store, TransactionGone
from usecasecore.ledger.tables import LedgerTables
from usecasecore.ledger.types import Instant
from usecasecore.ledger.write_sql import Places
from usecasecore.steps import Step

__all__ = ["LineWriter", "line_writer"]

Enter: TypeAlias = Callable[[Step], None]


class LineWriter(Protocol):
    """Writes the lines of a batch."""

    def write(
        self, connection: Connection, shared: Shared, lines: Sequence[Line], *, began: datetime | None, enter: Enter
    ) -> None:
        """Write what the commands leave; see `Store.write_many`.

        Raises:
            KeyTaken: If another transaction committed one of the keys meanwhile.
            TransactionGone: If the transaction isn't the one that the runtime began.
        """
        ...

    def statement(self, shared: Shared, lines: Sequence[Line], began: datetime | None) -> tuple[str, Any] | None:
        """Return the one statement that writes these lines, and its parameters as the driver takes them; None where it takes several."""
        ...

    def require(self, row: Sequence[Any], lines: int) -> None:
        """Look at the row that the statement returned, for so many lines.

        Raises:
            KeyTaken: As `write`.
            TransactionGone: As `write`.
        """
        ...


def line_writer(store: Store) -> LineWriter:
    """Return what writes into the ledger of a store."""
    make = _SqliteLines if store.dialect.name == "sqlite" else _PostgresLines
    return make(store.tables, store.dialect)


class _PostgresLines:
    def __init__(self, tables: LedgerTables, dialect: Dialect) -> None:
        self._sql = _Statement(tables, dialect).sql()

    def write(
        self, connection: Connection, shared: Shared, lines: Sequence[Line], *, began: datetime | None, enter: Enter
    ) -> None:
        text, parameters = self.statement(shared, lines, began)
        enter(Step.MESSAGES)  # they travel in the same statement
        enter(Step.RESULT)
        self.require(sole_row(connection, text, parameters), len(lines))

    def statement(self, shared: Shared, lines: Sequence[Line], began: datetime | None) -> tuple[str, Any]:
        bodies = Bodies(shared)
        values = {
            "began": began,
            "shared": to_json({**asdict(shared), "mark": MARK}).decode(),
            "lines": to_json([_line(place, line, bodies) for place, line in enumerate(lines)]).decode(),
            "messages": to_json(_messages(lines)).decode(),
        }
        return self._sql.text, self._sql.parameters(values)

    def require(self, row: Sequence[Any], lines: int) -> None:
        kept, same = row
        if not same:
            raise TransactionGone
        if kept != lines:
            raise KeyTaken


def _line(place: int, line: Line, bodies: Bodies) -> dict[str, Any]:
    return {
        "p": place,
        "i": line.id,
        "c": line.command_id,
        "k": line.key,
        "g": line.fingerprint.hex(),
        "a": line.aggregate_id,
        "v": line.version,
        "l": line.lifecycle,
        "t": line.trigger,
        "f": line.from_state,
        "d": line.to_state,
        "m": line.command,
        "x": line.changes,
        "z": line.detail,
        "r": line.result,
        "o": line.created_at,
        "e": line.expires_at,
        "n": len(line.messages),
        "b": bodies.of(line),
    }


def _messages(lines: Iterable[Line]) -> list[dict[str, Any]]:
    return [
        {
            "p": place,
            "i": one.id,
            "k": one.kind,
            "t": one.type,
            "s": one.type_version,
            "n": one.ordinal,
            "y": one.payload,
            "w": one.available_at,
        }
        for place, line in enumerate(lines)
        for one in line.messages
    ]


_SHARED = (
    "tenant text, actor text, on_behalf_of text, use_case text, reason text, request_id text, correlation_id text, "
    "causation_id text, aggregate text, headers text, result_type text, result_version int, mark text"
)
_LINE = (
    "p int, i uuid, c uuid, k text, g text, a text, v bigint, l text, t text, f text, d text, m text, x text, z text, r text, "
    "o timestamptz, e timestamptz, n int, b text"
)
_MESSAGE = "p int, i uuid, k text, t text, s int, n int, y text, w timestamptz"
_KEY = {
    "tenant": "coalesce(shared.tenant, '')",
    "actor": "shared.actor",
    "use_case": "shared.use_case",
    "key": "k",
    "fingerprint": "decode(g, 'hex')",
    "command_id": "c",
    "version": "v",
    "result_type": "shared.result_type",
    "result_version": "shared.result_version",
    "result": "r",
    "created_at": "o",
    "expires_at": "e",
}
_AUDIT = {
    "id": "i",
    "command_id": "c",
    "use_case": "shared.use_case",
    "tenant": "shared.tenant",
    "actor": "shared.actor",
    "on_behalf_of": "shared.on_behalf_of",
    "reason": "shared.reason",
    "kind": "'change'",
    "aggregate": "shared.aggregate",
    "aggregate_id": "a",
    "version": "v",
    "lifecycle": "l",
    "trigger": "t",
    "from_state": "f",
    "to_state": "d",
    "command": "m::json",
    "changes": "x::json",
    "detail": "z::json",
    "request_id": "shared.request_id",
    "correlation_id": "replace(shared.correlation_id, shared.mark, c::text)",
    "causation_id": "shared.causation_id",
    "occurred_at": "o",
    "key": "k",
    "messages": "n",
    "recorded_at": "recorded_at",
    "hash_version": str(HASH_VERSION),
    "prev_hash": "prev_hash",
    "hash": "hash",
}
_OUTBOX = {
    "id": "one.i",
    "command_id": "lines.c",
    "kind": "one.k",
    "type": "one.t",
    "type_version": "one.s",
    "tenant": "shared.tenant",
    "aggregate": "shared.aggregate",
    "aggregate_id": "lines.a",
    "version": "lines.v",
    "ordinal": "one.n",
    "payload": "one.y::json",
    "headers": "replace(shared.headers, shared.mark, lines.c::text)::json",
    "occurred_at": "lines.o",
    "available_at": "one.w",
}
"""Column -> what is written there: a field of the line, of the message, or of what is shared."""


class _Statement:
    """The text for PostgreSQL; its one row: how many keys were free, and whether the transaction is the same."""

    def __init__(self, tables: LedgerTables, dialect: Dialect) -> None:
        self._tables, self._preparer = tables, dialect.identifier_preparer
        self._places = Places(dialect.paramstyle)

    def sql(self) -> DriverSql:
        tables, same = self._tables, f"now() = {self._places('began')}::timestamptz"
        audit, outbox = self._inserted(tables.audit, _AUDIT), self._inserted(tables.outbox, _OUTBOX)
        text = (
            f"with shared as materialized (select * from json_to_record({self._places('shared')}::text::json) as shared({_SHARED})), "
            f"lines as materialized (select * from {self._array('lines')} as lines({_LINE}) where {same}), "
            f"kept as ({self._inserted(tables.idempotency, _KEY)} from lines, shared on conflict do nothing returning 1), "
            f"{self._hashed()}, audited as ({audit} from hashed, shared), {self._headed()}, "
            f"sent as ({outbox} from {self._array('messages')} as one({_MESSAGE}) join lines on lines.p = one.p, shared) "
            f"select (select count(*) from kept), {same}"
        )
        return DriverSql(text, self._places.order)

    def _hashed(self) -> str:
        head, stamp = self._quoted(self._tables.head), body_sql(self._tables.audit, "postgresql", "stamped", ("recorded_at",))
        mine = "head.aggregate = shared.aggregate and head.aggregate_id = lines.a"
        return (
            "stamped as materialized (select lines.*, clock_timestamp() as recorded_at, coalesce("
            f"(select head.hash from {head} head where {mine}), decode('{GENESIS.hex()}', 'hex')) as prev_hash from lines, shared), "
            f"bodied as (select stamped.*, convert_to(b || {stamp}, 'UTF8') as bytes from stamped), "
            f"hashed as materialized (select bodied.*, {hash_sql('prev_hash', 'bytes')} as hash from bodied)"
        )

    def _headed(self) -> str:
        return (
            f"headed as (insert into {self._quoted(self._tables.head)} (aggregate, aggregate_id, version, hash) "
            "select shared.aggregate, a, v, hash from hashed, shared "
            "on conflict (aggregate, aggregate_id) do update set version = excluded.version, hash = excluded.hash)"
        )

    def _inserted(self, table: Table, columns: dict[str, str]) -> str:
        names = ", ".join(map(self._preparer.quote, columns))
        values = ", ".join(columns.values())
        return f"insert into {self._quoted(table)} ({names}) select {values}"

    def _array(self, name: str) -> str:
        return f"json_to_recordset({self._places(name)}::text::json)"

    def _quoted(self, table: Table) -> str:
        return self._preparer.format_table(table)


class _SqliteLines:
    def __init__(self, tables: LedgerTables, dialect: Dialect) -> None:
        quoted = dialect.identifier_preparer.format_table
        self._head = quoted(tables.head)
        self._key = _insert(quoted(tables.idempotency), _KEY)
        self._audit = _insert(quoted(tables.audit), _AUDIT)
        self._outbox = _insert(quoted(tables.outbox), _OUTBOX)
        self._set_head = (
            f"insert into {self._head} (aggregate, aggregate_id, version, hash) values (?, ?, ?, ?) "
            "on conflict (aggregate, aggregate_id) do update set version = excluded.version, hash = excluded.hash"
        )
        self._instant: Any = Instant().dialect_impl(dialect).bind_processor(dialect)

    def write(
        self, connection: Connection, shared: Shared, lines: Sequence[Line], *, began: datetime | None, enter: Enter
    ) -> None:
        self._write_audit(connection, shared, lines)
        enter(Step.MESSAGES)
        messages = [one for line in lines for one in self._messages(shared, line)]
        if messages:
            row_count_of_many(connection, self._outbox, messages)
        enter(Step.RESULT)
        row_count_of_many(connection, self._key, [self._key_row(shared, line) for line in lines])

    def statement(self, shared: Shared, lines: Sequence[Line], began: datetime | None) -> None:
        return None

    def require(self, row: Sequence[Any], lines: int) -> None:
        """Nothing: what it writes is on the transaction that holds the write lock."""

    def _write_audit(self, connection: Connection, shared: Shared, lines: Sequence[Line]) -> None:
        (recorded_at,) = sole_row(connection, f"select {_CLOCK}", ())
        previous = self._heads(connection, shared.aggregate, [line.aggregate_id for line in lines])
        bodies = Bodies(shared)
        stamp = f"{len(recorded_at)}:{recorded_at}"
        entries, heads = [], []
        for line in lines:
            before = previous.get(line.aggregate_id, GENESIS)
            made = hash_of_body(before, f"{bodies.of(line)}{stamp}".encode())
            entries.append(self._entry(shared, line, recorded_at, before, made))
            heads.append((shared.aggregate, line.aggregate_id, line.version, made))
        row_count_of_many(connection, self._audit, entries)
        row_count_of_many(connection, self._set_head, heads)

    def _heads(self, connection: Connection, aggregate: str, keys: Sequence[str]) -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        for first in range(0, len(keys), _AT_ONCE):
            part = keys[first : first + _AT_ONCE]
            wanted = ", ".join("?" * len(part))
            text = f"select aggregate_id, hash from {self._head} where aggregate = ? and aggregate_id in ({wanted})"
            rows, _ = all_rows(connection, text, (aggregate, *part))
            found.update((key, head) for key, head in rows)
        return found

    def _entry(self, shared: Shared, line: Line, recorded_at: str, before: bytes, made: bytes) -> tuple[Any, ...]:
        return (
            line.id,
            line.command_id.hex,
            shared.use_case,
            shared.tenant,
            shared.actor,
            shared.on_behalf_of,
            shared.reason,
            "change",
            shared.aggregate,
            line.aggregate_id,
            line.version,
            line.lifecycle,
            line.trigger,
            line.from_state,
            line.to_state,
            line.command,
            line.changes,
            line.detail,
            shared.request_id,
            str(line.command_id) if shared.correlation_id == MARK else shared.correlation_id,
            shared.causation_id,
            self._instant(line.created_at),
            line.key,
            len(line.messages),
            recorded_at,
            HASH_VERSION,
            before,
            made,
        )

    def _key_row(self, shared: Shared, line: Line) -> tuple[Any, ...]:
        created_at, expires_at = self._instant(line.created_at), self._instant(line.expires_at)
        scope = (shared.tenant or "", shared.actor, shared.use_case, line.key)
        result = (line.version, shared.result_type, shared.result_version, line.result)
        return (*scope, line.fingerprint, line.command_id.hex, *result, created_at, expires_at)

    def _messages(self, shared: Shared, line: Line) -> Iterable[tuple[Any, ...]]:
        command_id, occurred_at = line.command_id.hex, self._instant(line.created_at)
        headers = shared.headers.replace(MARK, str(line.command_id))
        about = (shared.tenant, shared.aggregate, line.aggregate_id, line.version)
        for one in line.messages:
            kind = (one.id, command_id, one.kind, one.type, one.type_version)
            yield (*kind, *about, one.ordinal, one.payload, headers, occurred_at, self._instant(one.available_at))


_CLOCK = "strftime('%Y-%m-%d %H:%M:%f000', 'now')"
_AT_ONCE = 500
"""How many parameters a statement has at most; SQLite takes 999 and more."""


def _insert(table: str, columns: dict[str, str]) -> str:
    names, places = ", ".join(f'"{name}"' for name in columns), ", ".join("?" * len(columns))
    return f"insert into {table} ({names}) values ({places})"
