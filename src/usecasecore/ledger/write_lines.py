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
from sqlalchemy import Connection, Dialect

from usecasecore.driver import all_rows, row_count_of_many, sole_row
from usecasecore.ledger.chain import GENESIS, HASH_VERSION, hash_of_body
from usecasecore.ledger.lines import MARK, Bodies, Line, Shared
from usecasecore.ledger.lines_sql import AUDIT, KEY, OUTBOX, LinesStatement
from usecasecore.ledger.store import KeyTaken, Store, TransactionGone
from usecasecore.ledger.tables import LedgerTables
from usecasecore.ledger.types import Instant
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
        self._sql = LinesStatement(tables, dialect).sql()

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
            "lines": to_json([_line(place, line, bodies.of(line)) for place, line in enumerate(lines)]).decode(),
            "messages": to_json(_messages(lines)).decode(),
        }
        return self._sql.text, self._sql.parameters(values)

    def require(self, row: Sequence[Any], lines: int) -> None:
        kept, same = row
        if not same:
            raise TransactionGone
        if kept != lines:
            raise KeyTaken


_LINE = ("i", "c", "k", "g", "a", "v", "l", "t", "f", "d", "m", "x", "z", "r", "o", "e")
"""The short names of a line's fields, in their order, but for its messages."""


def _line(place: int, line: Line, body: str) -> dict[str, Any]:
    made: dict[str, Any] = dict(zip(_LINE, line, strict=False))
    made["p"], made["g"], made["n"], made["b"] = place, line.fingerprint.hex(), len(line.messages), body
    return made


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


class _SqliteLines:
    def __init__(self, tables: LedgerTables, dialect: Dialect) -> None:
        quoted = dialect.identifier_preparer.format_table
        self._head = quoted(tables.head)
        self._key = _insert(quoted(tables.idempotency), KEY)
        self._audit = _insert(quoted(tables.audit), AUDIT)
        self._outbox = _insert(quoted(tables.outbox), OUTBOX)
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
            line.command_id.replace("-", ""),
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
            line.command_id if shared.correlation_id == MARK else shared.correlation_id,
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
        return (*scope, line.fingerprint, line.command_id.replace("-", ""), *result, created_at, expires_at)

    def _messages(self, shared: Shared, line: Line) -> Iterable[tuple[Any, ...]]:
        command_id, occurred_at = line.command_id.replace("-", ""), self._instant(line.created_at)
        headers = shared.headers.replace(MARK, line.command_id)
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
