"""The one statement that writes a command on PostgreSQL, as text for the driver.

How it works. It is made once, sent past SQLAlchemy's compiler, and prepared by the driver. The rows travel in one of two ways:

- As JSON texts, one for each table: five parameters at most, whatever it writes. psycopg parses a text of more than
  `PSYCOPG_KEEPS` characters each time it is sent, so it is kept below.
- As values, each a parameter of its own, which spares the server the work of reading JSON: an eighth of what the statement costs it. That
  takes a text for each number of rows, so it is for what most commands leave (`fits_values`), and for where a text of any length is kept.

Nothing is written unless the transaction is the one that the runtime began: outside of one each statement would commit itself.
"""

from __future__ import annotations

import re
from typing import Any

from sqlalchemy import JSON, Dialect, LargeBinary, String, Table
from sqlalchemy.types import TypeEngine

from usecasecore.driver import DriverSql
from usecasecore.ledger.chain import GENESIS, HASH_VERSION, body_sql, hash_sql
from usecasecore.ledger.entries import Entries
from usecasecore.ledger.row_update import RowUpdate
from usecasecore.ledger.tables import LedgerTables
from usecasecore.ledger.text_rows import AUDIT, IDEMPOTENCY, OUTBOX, TextRow
from usecasecore.ledger.types import Instant

__all__ = [
    "CHAINED",
    "PSYCOPG_KEEPS",
    "Places",
    "failed_by_itself",
    "fits_values",
    "value_parameters",
    "write_sql",
    "written",
]

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
    messages: int | None = None,
) -> DriverSql:
    """Return the statement; its one row: how many keys were free, whether the transaction is the same, how many rows were updated.

    Its parameters: `began`, and as JSON arrays `key`, `audit`, `outbox` and, if asked for, `personal`; or `began` and `value_parameters`.

    Args:
        tables: The ledger.
        dialect: Of the engine.
        claimed: Whether the key's row is there already.
        personal: Whether there are personal values to write.
        update: What to do to the aggregate's row; where it finds none, nothing is written at all. Without one the count is 1.
        fails: Whether it fails by itself, so that a COMMIT sent along is not reached, unless a key was free, the transaction is
            the same and a row was updated; see `failed_by_itself`. Only for one command.
        messages: How many rows of the outbox there are, where the rows are values; None where they are JSON.
    """
    writing = _Writing(tables, dialect, update) if messages is None else _WritingValues(tables, dialect, update, messages)
    return writing.statement(claimed=claimed, personal=personal, fails=fails)


def fits_values(entries: Entries) -> bool:
    """Say whether what a command leaves may travel as values: one audit entry, a few messages, nothing personal."""
    return len(entries.audit) == 1 and len(entries.outbox) <= _MOST_MESSAGES and not entries.personal


def value_parameters(key: TextRow, audit: TextRow, body: str, outbox: list[TextRow]) -> dict[str, Any]:
    """Return the parameters of the statement with values.

    Args:
        key: The columns `text_rows.IDEMPOTENCY`.
        audit: The columns `text_rows.AUDIT`.
        body: The body of that entry but for its last field, see `chain`.
        outbox: The columns `text_rows.OUTBOX`, for each message.
    """
    rows = (*key, *audit, body)
    for row in outbox:
        rows += row
    # A number is text, too: else a driver takes the smallest type that holds it, and each mixture of types is prepared anew.
    return dict(zip(_PARAMETERS, [str(one) if type(one) is int else one for one in rows], strict=False))


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
    _sends = True
    """Whether there may be messages."""

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
        about = f", about as ({self._inserted('personal', 'personal', began)})" if personal else ""
        sent = f", sent as ({self._inserted('outbox', 'outbox', began)})" if self._sends else ""
        told = f"select (select count(*) from kept) as kept, {same} as same, {updated} as updated"
        if fails:
            told = (
                "select case when kept = 1 and same and updated = 1 then 1 else cast("
                f"concat('{_FAILURE} ', kept, ',', same::int, ',', updated) as int) end from ({told}) as told"
            )
        text = f"with {moved}kept as ({key}), {self._chained(began)}{about}{sent} {told}"
        return DriverSql(text, self._places.order)

    def _kept_claim(self, began: str) -> str:
        table = self._tables.idempotency
        changed = ("version", "result_type", "result_version", "result", "expires_at")
        scope = ("tenant", "actor", "use_case", "key")
        # Of a JSON array the planner expects a hundred rows, for which it would read a small table as a whole, and keep to that as it grows.
        return (
            f"update {self._quoted(table)} claim set {', '.join(f'{name} = rows.{name}' for name in changed)} "
            f"from (select * from {self._rows(table, 'key')} limit 1) rows where {' and '.join(f'claim.{name} = rows.{name}' for name in scope)} "
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
            f"{genesis}) as prev_hash from {self._rows(self._tables.audit, 'audit', 'body')} where {began}), "
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
        """Return the rows of a JSON array, with further columns of text. JSON columns are text inside: json -> text -> json keeps every character; bytes are hexadecimal digits."""
        quoted = self._dialect.identifier_preparer.quote
        names = [f"{quoted(name)} {self._sent_as(table.c[name].type)}" for name in written(table)]
        types = ", ".join([*names, *(f"{name} text" for name in further)])
        return f"json_to_recordset({self._places(parameter)}::text::json) as rows({types})"

    def _sent_as(self, kind: TypeEngine[Any]) -> str:
        if isinstance(kind, Instant):
            return "timestamptz"
        return "text" if isinstance(kind, JSON | LargeBinary | String) else str(kind.compile(self._dialect))

    def _values(self, table: Table) -> str:
        quoted = self._dialect.identifier_preparer.quote
        return ", ".join(self._received(table.c[name].type, quoted(name)) for name in written(table))

    def _received(self, kind: TypeEngine[Any], name: str) -> str:
        if isinstance(kind, LargeBinary):
            return f"decode({name}, 'hex')"
        return f"{name}::json" if isinstance(kind, JSON) else name

    def _columns(self, names: tuple[str, ...]) -> str:
        return ", ".join(map(self._dialect.identifier_preparer.quote, names))

    def _quoted(self, table: Table) -> str:
        return self._dialect.identifier_preparer.format_table(table)


class _WritingValues(_Writing):
    """The rows are parameters, in the order of `value_parameters`."""

    def __init__(self, tables: LedgerTables, dialect: Dialect, update: RowUpdate | None, messages: int) -> None:
        super().__init__(tables, dialect, update)
        self._sends = messages > 0
        self._next = iter(_PARAMETERS)
        self._rows_of = {
            "key": self._values_of(tables.idempotency, IDEMPOTENCY),
            "audit": self._values_of(tables.audit, AUDIT, "body"),
            "outbox": self._values_of(tables.outbox, OUTBOX, rows=messages),
        }

    def _values_of(self, table: Table, columns: tuple[str, ...], *further: str, rows: int = 1) -> str:
        kinds = [*(table.c[name].type for name in columns), *(String() for _ in further)]
        made = [", ".join(self._carried(kind, next(self._next)) for kind in kinds) for _ in range(rows)]
        texts = ", ".join(f"({values})" for values in made)
        return f"(values {texts}) as rows({self._columns((*columns, *further))})"

    def _carried(self, kind: TypeEngine[Any], parameter: str) -> str:
        place = self._places(parameter)
        if isinstance(kind, Instant):
            return f"{place}::timestamp at time zone 'UTC'"
        if isinstance(kind, LargeBinary):
            return f"{place}::bytea"
        return f"{place}::{'text' if isinstance(kind, String) else kind.compile(self._dialect)}"

    def _rows(self, table: Table, parameter: str, *further: str) -> str:
        return self._rows_of[parameter]

    def _received(self, kind: TypeEngine[Any], name: str) -> str:
        return name


_MOST_MESSAGES = 4
_PARAMETERS = tuple(f"v{place}" for place in range(len(IDEMPOTENCY) + len(AUDIT) + 1 + _MOST_MESSAGES * len(OUTBOX)))
"""The names of the values, in their order."""
