"""The one statement that writes a command on PostgreSQL, as text for the driver.

How it works. The rows travel as JSON texts, one for each table, so that the statement has five parameters at most whatever it
writes: it is made once, sent past SQLAlchemy's compiler, and prepared by the driver. psycopg parses a text of more than
`PSYCOPG_KEEPS` characters each time it is sent, so it is kept below. Nothing is written unless the transaction is the one that
the runtime began: outside of one each statement would commit itself.
"""

from __future__ import annotations

import re
from typing import Any

from sqlalchemy import JSON, Dialect, LargeBinary, String, Table
from sqlalchemy.types import TypeEngine

from usecasecore.driver import DriverSql
from usecasecore.ledger.chain import GENESIS, HASH_VERSION, body_sql, hash_sql
from usecasecore.ledger.row_update import RowUpdate
from usecasecore.ledger.tables import LedgerTables
from usecasecore.ledger.types import Instant

__all__ = ["CHAINED", "PSYCOPG_KEEPS", "Places", "failed_by_itself", "write_sql", "written"]

CHAINED = ("recorded_at", "hash_version", "prev_hash", "hash")
"""The columns of the audit table that are known only when it is written."""

PSYCOPG_KEEPS = 4096
"""How long a text may be, in characters, for psycopg to keep what it made of it."""


class Places:
    """The placeholders of a driver, in the order in which they are asked for."""

    def __init__(self, paramstyle: str, first: tuple[str, ...] = ()) -> None:
        """Begin after the parameters that the text begins with."""
        self._style = paramstyle
        self._names = list(first)

    def __call__(self, name: str) -> str:
        """Return what stands in the text for a parameter."""
        if self._style in ("pyformat", "named"):
            return f"%({name})s" if self._style == "pyformat" else f":{name}"
        if self._style in ("format", "qmark"):
            self._names.append(name)
            return "%s" if self._style == "format" else "?"
        if name not in self._names:
            self._names.append(name)
        number = self._names.index(name) + 1
        return f"${number}" if self._style == "numeric_dollar" else f":{number}"

    @property
    def order(self) -> tuple[str, ...] | None:
        """The parameters as the driver takes them; None where it takes them by name."""
        return None if self._style in ("pyformat", "named") else tuple(self._names)


_FAILURE = "usecasecore wrote nothing"
_FAILED_BY = re.compile(_FAILURE + r" (\d+),(\d),(\d+)")


def write_sql(
    tables: LedgerTables,
    dialect: Dialect,
    *,
    claimed: bool,
    personal: bool,
    update: RowUpdate | None = None,
    fails: bool = False,
) -> DriverSql:
    """Return the statement; its one row: how many keys were free, whether the transaction is the same, how many rows were updated.

    Its parameters: `began`, and as JSON arrays `key`, `audit`, `outbox` and, if asked for, `personal`.

    Args:
        tables: The ledger.
        dialect: Of the engine.
        claimed: Whether the key's row is there already.
        personal: Whether there are personal values to write.
        update: What to do to the aggregate's row; where it finds none, nothing is written at all. Without one the count is 1.
        fails: Whether it fails by itself, so that a COMMIT sent along is not reached, unless a key was free, the transaction is
            the same and a row was updated; see `failed_by_itself`. Only for one command.
    """
    return _Writing(tables, dialect, update).statement(claimed=claimed, personal=personal, fails=fails)


def failed_by_itself(error: BaseException | None) -> tuple[int, bool, int] | None:
    """Return what a statement's row would have been that failed by itself; None where the error is another one."""
    # The conversion to a number fails, and its message, in whatever language, quotes what can't be one.
    found = _FAILED_BY.search(str(error)) if getattr(error, "sqlstate", None) == "22P02" else None
    return None if found is None else (int(found[1]), found[2] == "1", int(found[3]))


def written(table: Table) -> tuple[str, ...]:
    """Return the columns that a command writes itself."""
    left_to_others = {"attempts", "lease_owner", "lease_until", "delivered_at", "dead_at", "last_error", *CHAINED}
    return tuple(column.name for column in table.c if column.name not in left_to_others)


class _Writing:
    def __init__(self, tables: LedgerTables, dialect: Dialect, update: RowUpdate | None = None) -> None:
        self._tables, self._dialect, self._update = tables, dialect, update
        # The UPDATE comes first, so that numbered parameters of its text are right.
        self._places = Places(dialect.paramstyle, (update and update.order) or ())

    def statement(self, *, claimed: bool, personal: bool, fails: bool) -> DriverSql:
        moved, began = "", f"now() = {self._places('began')}::timestamptz"
        same, updated = began, "1"
        if self._update is not None:
            moved = f"moved as ({self._update.text} and {began} returning 1), "
            began = "exists (select 1 from moved)"
            same, updated = f"now() = {self._places('began')}::timestamptz", "(select count(*) from moved)"
        key = (
            self._kept_claim(began)
            if claimed
            else self._inserted("idempotency", "key", began, "on conflict do nothing returning 1")
        )
        about = f"about as ({self._inserted('personal', 'personal', began)}), " if personal else ""
        sent = self._inserted("outbox", "outbox", began)
        told = f"select (select count(*) from kept) as kept, {same} as same, {updated} as updated"
        if fails:
            told = (
                "select case when kept = 1 and same and updated = 1 then 1 else cast("
                f"concat('{_FAILURE} ', kept, ',', same::int, ',', updated) as int) end from ({told}) as told"
            )
        text = f"with {moved}kept as ({key}), {self._chained(began)}, {about}sent as ({sent}) {told}"
        return DriverSql(text, self._places.order)

    def _kept_claim(self, began: str) -> str:
        table = self._tables.idempotency
        changed = ("version", "result_type", "result_version", "result", "expires_at")
        scope = ("tenant", "actor", "use_case", "key")
        return (
            f"update {self._quoted(table)} claim set {', '.join(f'{name} = rows.{name}' for name in changed)} "
            f"from {self._rows(table, 'key')} where {' and '.join(f'claim.{name} = rows.{name}' for name in scope)} "
            f"and {began} returning 1"
        )

    def _chained(self, began: str) -> str:
        """Return the steps that stamp, link, hash and insert the audit entries, and move the heads."""
        names = written(self._tables.audit)
        audit, head = self._quoted(self._tables.audit), self._quoted(self._tables.head)
        genesis = f"decode('{GENESIS.hex()}', 'hex')"
        stamp = body_sql(self._tables.audit, "postgresql", "stamped", ("recorded_at",))
        return (
            "stamped as materialized (select rows.*, clock_timestamp() as recorded_at, coalesce("
            f"(select head.hash from {head} head where head.aggregate = rows.aggregate and head.aggregate_id = rows.aggregate_id), "
            f"{genesis}) as prev_hash from {self._rows(self._tables.audit, 'audit', 'body text')} where {began}), "
            f"bodied as (select stamped.*, convert_to(body || {stamp}, 'UTF8') as bytes from stamped), "
            "hashed as materialized "
            f"(select bodied.*, {hash_sql('prev_hash', 'bytes')} as hash from bodied), "
            f"audited as (insert into {audit} ({self._columns((*names, *CHAINED))}) "
            f"select {self._values(self._tables.audit)}, recorded_at, {HASH_VERSION}, prev_hash, hash from hashed), "
            f"headed as (insert into {head} (aggregate, aggregate_id, version, hash) "
            "select aggregate, aggregate_id, version, hash from hashed where aggregate is not null "
            "on conflict (aggregate, aggregate_id) do update set version = excluded.version, hash = excluded.hash)"
        )

    def _inserted(self, name: str, parameter: str, began: str, ending: str = "") -> str:
        table: Table = getattr(self._tables, name)
        return (
            f"insert into {self._quoted(table)} ({self._columns(written(table))}) "
            f"select {self._values(table)} from {self._rows(table, parameter)} where {began} {ending}"
        )

    def _rows(self, table: Table, parameter: str, *further: str) -> str:
        """Return the rows of a JSON array. JSON columns are text inside: json -> text -> json keeps every character; bytes are hexadecimal digits."""
        quoted = self._dialect.identifier_preparer.quote
        types = ", ".join([*(f"{quoted(name)} {self._sent_as(table.c[name].type)}" for name in written(table)), *further])
        return f"json_to_recordset({self._places(parameter)}::text::json) as rows({types})"

    def _sent_as(self, kind: TypeEngine[Any]) -> str:
        if isinstance(kind, Instant):
            return "timestamptz"
        return "text" if isinstance(kind, JSON | LargeBinary | String) else str(kind.compile(self._dialect))

    def _values(self, table: Table) -> str:
        quoted = self._dialect.identifier_preparer.quote
        return ", ".join(_received(table.c[name].type, quoted(name)) for name in written(table))

    def _columns(self, names: tuple[str, ...]) -> str:
        return ", ".join(map(self._dialect.identifier_preparer.quote, names))

    def _quoted(self, table: Table) -> str:
        return self._dialect.identifier_preparer.format_table(table)


def _received(kind: TypeEngine[Any], name: str) -> str:
    if isinstance(kind, LargeBinary):
        return f"decode({name}, 'hex')"
    return f"{name}::json" if isinstance(kind, JSON) else name
