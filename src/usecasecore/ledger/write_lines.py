"""Writes the lines of a batch: on PostgreSQL by one statement, on SQLite by one for each table, executed for each row.

How it works on PostgreSQL. There are two JSON arrays, of lines and of messages, which hold what differs, and an object of the rest. A message
finds what its line knows by the place of the line. What the statement
does with them is what that of a single command does, see `write_sql`; chains and clock included. On SQLite the write lock is
held, so the heads can be read for all before anything is written.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields
from datetime import datetime
from typing import Any, Protocol, TypeAlias

from sqlalchemy import Connection, Dialect

from usecasecore.driver import all_rows, row_count_of_many, sole_row
from usecasecore.ledger.chain import GENESIS, HASH_VERSION, hash_of_body
from usecasecore.ledger.json_text import packed
from usecasecore.ledger.lines import MARK, Bodies, Line, Lines, MessageLine, Move, Shared
from usecasecore.ledger.lines_sql import AUDIT, KEY, OUTBOX, LinesStatement
from usecasecore.ledger.store import KeyTaken, Store, TransactionGone
from usecasecore.ledger.tables import LedgerTables
from usecasecore.ledger.transitions import plain_payload
from usecasecore.ledger.types import Instant
from usecasecore.steps import Step

__all__ = ["LineWriter", "line_writer"]

Enter: TypeAlias = Callable[[Step], None]


class LineWriter(Protocol):
    """Writes the lines of a batch."""

    def write(self, connection: Connection, shared: Shared, lines: Lines, *, began: datetime | None, enter: Enter) -> None:
        """Write what the commands leave; see `Store.write_many`.

        Raises:
            KeyTaken: If another transaction committed one of the keys meanwhile.
            TransactionGone: If the transaction isn't the one that the runtime began.
        """
        ...

    def statement(self, shared: Shared, lines: Lines, began: datetime | None) -> tuple[str, Any] | None:
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

    def write(self, connection: Connection, shared: Shared, lines: Lines, *, began: datetime | None, enter: Enter) -> None:
        text, parameters = self.statement(shared, lines, began)
        enter(Step.MESSAGES)  # they travel in the same statement
        enter(Step.RESULT)
        self.require(sole_row(connection, text, parameters), len(lines))

    def statement(self, shared: Shared, lines: Lines, began: datetime | None) -> tuple[str, Any]:
        values = {
            "began": began,
            "shared": packed(_told_once(shared, lines.moves)),
            "lines": packed(lines.lines),
            "messages": packed(lines.messages),
        }
        return self._sql.text, self._sql.parameters(values)

    def require(self, row: Sequence[Any], lines: int) -> None:
        kept, same = row
        if not same:
            raise TransactionGone
        if kept != lines:
            raise KeyTaken


def _told_once(shared: Shared, moves: Sequence[Move]) -> dict[str, Any]:
    bodies = Bodies(shared)
    named = {"body_use_case": bodies.use_case, "body_owners": bodies.owners, "body_said": bodies.said}
    parts = {"b": [move.part for move in moves], "y": [move.event_type(shared.aggregate) for move in moves]}
    around = {name: [move.event_around_key[place] for move in moves] for place, name in enumerate("uq")}
    by_move = {name: [move[place] for move in moves] for place, name in enumerate("htfd")}
    # Hours are the largest unit whose length doesn't depend on the time zone.
    keep = f"{shared.keep.days * 24} hours {shared.keep.seconds} seconds {shared.keep.microseconds} microseconds"
    own = {"mark": MARK, "fingerprinted": f"\\x{shared.fingerprinted.hex()}", "keep": keep}
    told = {one.name: getattr(shared, one.name) for one in fields(shared)}
    return {**told, **own, **named, **parts, **around, **by_move}


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

    def write(self, connection: Connection, shared: Shared, lines: Lines, *, began: datetime | None, enter: Enter) -> None:
        self._write_audit(connection, shared, lines)
        enter(Step.MESSAGES)
        messages = self._messages(shared, lines)
        if messages:
            row_count_of_many(connection, self._outbox, messages)
        enter(Step.RESULT)
        row_count_of_many(connection, self._key, [self._key_row(shared, line) for line in lines.lines])

    def statement(self, shared: Shared, lines: Lines, began: datetime | None) -> None:
        return None

    def require(self, row: Sequence[Any], lines: int) -> None:
        """Nothing: what it writes is on the transaction that holds the write lock."""

    def _write_audit(self, connection: Connection, shared: Shared, lines: Lines) -> None:
        (recorded_at,) = sole_row(connection, f"select {_CLOCK}", ())
        previous = self._heads(connection, shared.aggregate, [line["a"] for line in lines.lines])
        stamp = f"{len(recorded_at)}:{recorded_at}"
        bodies, moves, parts = Bodies(shared), lines.moves, [move.part for move in lines.moves]
        entries, heads = [], []
        for line in lines.lines:
            before, moved = previous.get(line["a"], GENESIS), line["w"] - 1
            made = hash_of_body(before, f"{bodies.of(line, parts[moved])}{stamp}".encode())
            entries.append(self._entry(shared, line, moves[moved], recorded_at, before, made))
            heads.append((shared.aggregate, line["a"], line["v"], made))
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

    def _entry(self, shared: Shared, line: Line, move: Move, recorded_at: str, before: bytes, made: bytes) -> tuple[Any, ...]:
        return (
            line["i"],
            line["c"].replace("-", ""),
            shared.use_case,
            shared.tenant,
            shared.actor,
            shared.on_behalf_of,
            shared.reason,
            "change",
            shared.aggregate,
            line["a"],
            line["v"],
            *move,
            line["m"],
            line["x"],
            line["z"],
            shared.request_id,
            line["c"] if shared.correlation_id == MARK else shared.correlation_id,
            shared.causation_id,
            self._instant(line["o"]),
            line["k"],
            line["n"],
            recorded_at,
            HASH_VERSION,
            before,
            made,
        )

    def _key_row(self, shared: Shared, line: Line) -> tuple[Any, ...]:
        created_at, expires_at = self._instant(line["o"]), self._instant(line["o"] + shared.keep)
        fingerprint = hashlib.sha256(shared.fingerprinted + line["m"].encode()).digest()
        scope = (shared.tenant or "", shared.actor, shared.use_case, line["k"])
        result = (line["v"], shared.result_type, shared.result_version, line["r"])
        return (*scope, fingerprint, line["c"].replace("-", ""), *result, created_at, expires_at)

    def _messages(self, shared: Shared, lines: Lines) -> list[tuple[Any, ...]]:
        by_place, made = {line["p"]: line for line in lines.lines}, []
        for one in (*self._events(shared, lines), *lines.messages):
            line = by_place[one["p"]]
            kind = (one["i"], line["c"].replace("-", ""), one["k"], one["t"], one["s"])
            about = (shared.tenant, shared.aggregate, line["a"], line["v"])
            occurred_at, available_at = self._instant(line["o"]), self._instant(one.get("w", line["o"]))
            headers = shared.headers.replace(MARK, line["c"])
            made.append((*kind, *about, one["n"], one["y"], headers, occurred_at, available_at))
        return made

    def _events(self, shared: Shared, lines: Lines) -> Iterator[MessageLine]:
        for line in lines.lines:
            if "j" in line:
                move = lines.moves[line["w"] - 1]
                name, payload = move.event_type(shared.aggregate), plain_payload(move.event_around_key, line["a"], line["v"])
                yield {"p": line["p"], "i": line["j"], "k": "event", "t": name, "s": 1, "n": 0, "y": payload}


_CLOCK = "strftime('%Y-%m-%d %H:%M:%f000', 'now')"
_AT_ONCE = 500
"""How many parameters a statement has at most; SQLite takes 999 and more."""


def _insert(table: str, columns: dict[str, str]) -> str:
    names, places = ", ".join(f'"{name}"' for name in columns), ", ".join("?" * len(columns))
    return f"insert into {table} ({names}) values ({places})"
