"""Reading and writing the ledger on an open transaction: the port of the runtime to the bookkeeping tables.

How it works. On SQLite a statement costs little, and SQLAlchemy's way to it much: `SqliteStore` sends SQL that is made once.
`PostgresStore` writes everything in one statement, because there each statement is a round trip (see `write_sql`).
That statement also says whether it ran in the transaction that the runtime began (user code may have ended it with SQL that
nobody sees) and whether the key was still free. It links each audit entry to the head of its aggregate and hashes it (see
`chain`): its snapshot was taken when the aggregate was locked already, so it sees the last head. JSON payloads are passed as
text, and stay that text.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import cache
from types import TracebackType
from typing import Any, Protocol, TypeAlias
from uuid import UUID

from sqlalchemy import (
    JSON,
    ColumnElement,
    Connection,
    Dialect,
    Insert,
    Table,
    Text,
    TextClause,
    and_,
    bindparam,
    cast,
    func,
    insert,
    literal_column,
    select,
    text,
    true,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm.exc import StaleDataError

from usecasecore.driver import (
    CompiledSelect,
    CompiledSql,
    DriverSql,
    InTurn,
    all_rows,
    first_row,
    sole_row,
)
from usecasecore.errors import DefinitionError
from usecasecore.ledger import text_rows
from usecasecore.ledger.chain import GENESIS, HASH_VERSION, body_of, hash_of_body, unstamped_body
from usecasecore.ledger.entries import Attempt, Entries, IdempotencyKey, StoredResult
from usecasecore.ledger.json_text import in_utc, packed
from usecasecore.ledger.row_update import RowUpdate
from usecasecore.ledger.tables import LedgerTables
from usecasecore.ledger.text_rows import TextRow, TextRows
from usecasecore.ledger.write_sql import CHAINED, failed_by_itself, fits_values, value_parameters, write_sql, written
from usecasecore.steps import Step

__all__ = ["STORED", "CommitAlong", "KeyTaken", "PostgresStore", "Store", "TransactionGone", "store_for", "stored_of"]

Enter: TypeAlias = Callable[[Step], None]


class CommitAlong(Protocol):
    """Sends a statement with COMMIT along; entered around the sending and what is made of the answer."""

    def __enter__(self) -> CommitAlong: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /) -> None: ...

    def send(self, text: str, parameters: Any) -> None:
        """Execute the statement and commit.

        Raises:
            DBAPIError: As SQLAlchemy raises it.
        """
        ...


class KeyTaken(Exception):
    """Another transaction committed the key first. Roll back and run again: the look-up then finds its result."""


class TransactionGone(Exception):
    """The transaction that the runtime began is no longer the one that is open."""


def store_for(dialect: Dialect, tables: LedgerTables) -> Store:
    """Return the store that suits the dialect.

    Raises:
        DefinitionError: If there is none: what can't be tested is not promised.
    """
    if dialect.name == "postgresql":
        return PostgresStore(tables, dialect)
    if dialect.name == "sqlite":
        return SqliteStore(tables, dialect)
    raise DefinitionError(f"commands run on PostgreSQL and SQLite, not on {dialect.name}")


class Store(ABC):
    """The ledger on one kind of database."""

    json_is_a_type = False
    """Whether text must be cast before it goes into a JSON column."""

    def __init__(self, tables: LedgerTables, dialect: Dialect) -> None:
        self.tables = tables
        self.dialect = dialect
        self._looked_up = CompiledSelect(_look_up(tables), dialect)

    def look_up(self, connection: Connection, key: IdempotencyKey) -> StoredResult | None:
        """Return what is stored under the key, as of now; None where there is nothing."""
        row = self._looked_up.row(connection, key_parameters(key))
        return None if row is None else stored_of(row)

    def last_version(self, connection: Connection, aggregate: str, aggregate_id: str) -> int:
        """Return the version of the last audit entry of an aggregate; 0 where there is none."""
        parameters = {"uc_aggregate": aggregate, "uc_aggregate_id": aggregate_id}
        return connection.scalar(_last_version(self.tables), parameters) or 0

    @abstractmethod
    def write(
        self,
        connection: Connection,
        entries: Entries,
        *,
        began: datetime | None,
        claimed: bool,
        enter: Enter,
        update: RowUpdate | None = None,
        commit: CommitAlong | None = None,
    ) -> None:
        """Write everything that the command leaves.

        Args:
            connection: In the transaction that changed the aggregates.
            entries: What to write.
            began: What the database said was the start of the transaction, to tell whether it is still the same.
            claimed: Whether the key's row is there already, from `claim`.
            enter: Is told the step that begins; it is called at `audit`, and the end of `result` is the end.
            update: What to do to the aggregate's row, which the transaction has locked; None where that is done.
            commit: What sends the last statement where COMMIT is to go along with it. Only for PostgreSQL.

        Raises:
            StaleDataError: If there is no such row: somebody deleted it all the same.
            KeyTaken: If another transaction committed the key meanwhile.
            TransactionGone: If the transaction isn't the one that the runtime began.
        """

    def look_up_many(
        self, connection: Connection, one: IdempotencyKey, keys: Sequence[str], meanwhile: Callable[[], None] | None = None
    ) -> dict[str, StoredResult]:
        """Return key -> what is stored under it, as of now, for keys of one tenant, actor and use case.

        Args:
            connection: In a transaction.
            one: Any of them, in its scope.
            keys: All of them.
            meanwhile: See `Pipeline.execute`; not called where the connection has no such way.
        """
        parameters = {**key_parameters(one), "uc_key": keys}
        found = connection.execute(_look_up_many(self.tables), parameters)
        return {key: stored_of(stored) for key, *stored in found}

    @abstractmethod
    def write_many(self, connection: Connection, many: Sequence[Entries], *, began: datetime | None, enter: Enter) -> None:
        """Write what several commands leave, in their order; see `write`.

        Args:
            connection: As for `write`.
            many: What to write; no two of them of the same aggregate, or under the same key.
            began: As for `write`.
            enter: As for `write`, called once for all.

        Raises:
            KeyTaken: If another transaction committed one of the keys meanwhile.
            TransactionGone: If the transaction isn't the one that the runtime began.
        """

    def write_attempt(self, connection: Connection, attempt: Attempt) -> None:
        """Write down a command that was refused or failed."""
        self.write_attempts(connection, [attempt])

    def write_attempts(self, connection: Connection, attempts: Sequence[Attempt]) -> None:
        """Write down commands that were refused or failed."""
        rows = [{**one.common, **{name: getattr(one, name) for name in _ATTEMPT_FIELDS}} for one in attempts]
        connection.execute(_insert(self.tables.attempt, self.json_is_a_type), rows)


class SqliteStore(Store):
    """The ledger on SQLite, where the write lock is held since before the look-up."""

    def __init__(self, tables: LedgerTables, dialect: Dialect) -> None:
        super().__init__(tables, dialect)
        self._idempotency = _Prepared(tables.idempotency, dialect, text_rows.IDEMPOTENCY)
        self._audit = _Prepared(tables.audit, dialect, (*text_rows.AUDIT, *CHAINED))
        self._outbox = _Prepared(tables.outbox, dialect, text_rows.OUTBOX)
        self._personal = _Prepared(tables.personal, dialect, text_rows.PERSONAL)
        head = dialect.identifier_preparer.format_table(tables.head)
        # The clock of `database_time`, and under the write lock the head that no one else can move.
        self._link = f"select {_SQLITE_CLOCK}, (select hash from {head} where aggregate = ? and aggregate_id = ?)"
        self._set_head = (
            f"insert into {head} (aggregate, aggregate_id, version, hash) values (?, ?, ?, ?) "
            "on conflict (aggregate, aggregate_id) do update set version = excluded.version, hash = excluded.hash"
        )

    def write(
        self,
        connection: Connection,
        entries: Entries,
        *,
        began: datetime | None,
        claimed: bool,
        enter: Enter,
        update: RowUpdate | None = None,
        commit: CommitAlong | None = None,
    ) -> None:
        """Write everything; see `Store.write`."""
        sending = InTurn(connection)
        if update is not None:
            assert update.order is not None
            values = tuple([update.values[name] for name in update.order])
            _require_one(sending.count(update.text, values))
        self._write(sending, (entries,), enter)

    def write_many(self, connection: Connection, many: Sequence[Entries], *, began: datetime | None, enter: Enter) -> None:
        """Write everything, row by row: here that costs no round trips; see `Store.write_many`."""
        self._write(InTurn(connection), many, enter)

    def _write(self, sending: InTurn, many: Sequence[Entries], enter: Enter) -> None:
        commands = [TextRows(entries) for entries in many]
        for rows in commands:
            for row, body in rows.audit():
                self._chain(sending, row, body)
        enter(Step.MESSAGES)
        for rows in commands:
            self._personal.insert(sending, rows.personal())
            self._outbox.insert(sending, rows.outbox())
        enter(Step.RESULT)
        self._idempotency.insert(sending, [rows.idempotency() for rows in commands])
        sending.done()

    def _chain(self, sending: InTurn, row: TextRow, body: str) -> None:
        aggregate, aggregate_id, version = row[_LINKED]
        linked = sending.row(self._link, (aggregate, aggregate_id))
        assert linked is not None
        recorded_at, head = linked
        previous = head or GENESIS
        hashed = hash_of_body(previous, f"{body}{body_of((recorded_at,))}".encode())
        sending.count(self._audit.text, (*row, recorded_at, HASH_VERSION, previous, hashed))
        if aggregate is not None:
            sending.count(self._set_head, (aggregate, aggregate_id, version, hashed))


_FIRST_LINKED = text_rows.AUDIT.index("aggregate")
_LINKED = slice(_FIRST_LINKED, _FIRST_LINKED + 3)
"""Where an audit entry's row has the aggregate, its key and its version."""

_ROWS_AT_ONCE = 4


class _Prepared:
    """An INSERT as text, whose parameters are the values of the columns in their order.

    Attributes:
        text: For one row.
    """

    def __init__(self, table: Table, dialect: Dialect, names: tuple[str, ...]) -> None:
        places = ", ".join("?" * len(names))
        columns = ", ".join(f'"{name}"' for name in names)
        name = dialect.identifier_preparer.format_table(table)
        self.text = f"insert into {name} ({columns}) values ({places})"
        self._texts = [f"{self.text}{f', ({places})' * more}" for more in range(_ROWS_AT_ONCE)]

    def insert(self, sending: InTurn, rows: list[TextRow]) -> None:
        """Insert rows, in their order; a few with one statement."""
        for first in range(0, len(rows), _ROWS_AT_ONCE):
            some = rows[first : first + _ROWS_AT_ONCE]
            values = some[0] if len(some) == 1 else tuple([value for row in some for value in row])
            sending.count(self._texts[len(some) - 1], values)


class PostgresStore(Store):
    """The ledger on PostgreSQL, in one round trip."""

    json_is_a_type = True

    def __init__(self, tables: LedgerTables, dialect: Dialect) -> None:
        super().__init__(tables, dialect)
        self._claim = CompiledSql(_claim(tables), dialect)
        self._looked_up_many = CompiledSql(_look_up_array(tables), dialect)
        self._statements: dict[tuple[bool, bool, bool, int | None, str], DriverSql] = {}

    def claim(
        self,
        connection: Connection,
        entries: IdempotencyKey,
        fingerprint: bytes,
        command_id: UUID,
        now: datetime,
        *,
        lock_timeout: str,
    ) -> datetime | None:
        """Insert the key before the work; wait while another transaction has it.

        Returns:
            The start of the transaction; None where the key is taken by a committed command.
        """
        parameters = {
            **key_parameters(entries),
            "fingerprint": fingerprint,
            "command_id": command_id,
            "created_at": now,
            "expires_at": now,
            "lock_timeout": lock_timeout,
        }
        row = first_row(connection, self._claim.text, self._claim.parameters(parameters))
        if row is None:
            return None
        began: datetime = row[0]
        return began

    def write(
        self,
        connection: Connection,
        entries: Entries,
        *,
        began: datetime | None,
        claimed: bool,
        enter: Enter,
        update: RowUpdate | None = None,
        commit: CommitAlong | None = None,
    ) -> None:
        """Write everything in one statement; see `Store.write`."""
        if commit is None or not fits_values(entries):
            self._write(connection, (entries,), began, claimed, enter, update, commit)
            return
        rows = TextRows(entries)
        [(audit, body)] = rows.audit()
        enter(Step.MESSAGES)
        outbox = rows.outbox()
        enter(Step.RESULT)
        values = value_parameters(rows.idempotency(), audit, body, outbox)
        values["began"] = began
        if update is not None:
            values.update(update.values)
        statement = self._statement(claimed, False, update, True, len(outbox))
        self._send(connection, statement, values, 1, commit)

    def look_up_many(
        self, connection: Connection, one: IdempotencyKey, keys: Sequence[str], meanwhile: Callable[[], None] | None = None
    ) -> dict[str, StoredResult]:
        """Return what is stored, with the keys as one JSON array: the text stays short; see `Store.look_up_many`."""
        parameters = {**key_parameters(one), "uc_key": packed(keys)}
        sent = self._looked_up_many
        rows, _ = all_rows(connection, sent.text, sent.parameters(parameters), meanwhile)
        return {key: stored_of(stored) for key, *stored in rows}

    def write_many(self, connection: Connection, many: Sequence[Entries], *, began: datetime | None, enter: Enter) -> None:
        """Write everything in one statement; see `Store.write_many`."""
        self._write(connection, many, began, False, enter)

    def _write(
        self,
        connection: Connection,
        many: Sequence[Entries],
        began: datetime | None,
        claimed: bool,
        enter: Enter,
        update: RowUpdate | None = None,
        commit: CommitAlong | None = None,
    ) -> None:
        keys = _rows_as_json([_hexadecimal(_idempotency_row(one), "fingerprint") for one in many])
        audit = _rows_as_json([{**row, "body": unstamped_body(row)} for one in many for row in _audit_rows(one)])
        enter(Step.MESSAGES)
        values = {"began": began, "key": keys, "audit": audit}
        values["outbox"] = _rows_as_json([row for one in many for row in _outbox_rows(one)])
        personal = [_hexadecimal(row, "salt") for one in many for row in _personal_rows(one)]
        if personal:
            values["personal"] = _rows_as_json(personal)
        enter(Step.RESULT)
        if update is not None:
            values.update(update.values)
        statement = self._statement(claimed, bool(personal), update, commit is not None)
        self._send(connection, statement, values, len(many), commit)

    def _send(
        self, connection: Connection, statement: DriverSql, values: dict[str, Any], keys: int, commit: CommitAlong | None
    ) -> None:
        parameters = statement.parameters(values)
        if commit is None:
            _require_all(keys, *sole_row(connection, statement.text, parameters))
            return
        with commit:
            failed_by = _committed(commit, statement.text, parameters)
            if failed_by is not None:
                _require_all(keys, *failed_by)

    def _statement(
        self, claimed: bool, personal: bool, update: RowUpdate | None, fails: bool, messages: int | None = None
    ) -> DriverSql:
        wanted = claimed, personal, fails, messages, "" if update is None else update.text
        known = self._statements.get(wanted)
        if known is None:
            known = write_sql(
                self.tables,
                self.dialect,
                claimed=claimed,
                personal=personal,
                update=update,
                fails=fails,
                messages=messages,
            )
            self._statements[wanted] = known
        return known


def stored_of(values: Sequence[Any]) -> StoredResult:
    """Return the stored result from the values of the columns `STORED`."""
    fingerprint, command_id, version, kind, kind_version, result = values
    return StoredResult(fingerprint, command_id, version, kind, kind_version or 1, result)


def key_is(tables: LedgerTables) -> ColumnElement[bool]:
    """Return the condition that a row of the idempotency table is that of the parameters `uc_tenant`, `uc_actor`, ..."""
    columns = tables.idempotency.c
    return and_(*(columns[name] == bindparam(f"uc_{name}") for name in ("tenant", "actor", "use_case", "key")))


def key_parameters(key: IdempotencyKey) -> dict[str, Any]:
    """Return the parameters of `key_is`."""
    return {"uc_tenant": key.tenant, "uc_actor": key.actor, "uc_use_case": key.use_case, "uc_key": key.key}


_ATTEMPT_FIELDS = ("id", "key", "aggregate", "aggregate_id", "version", "outcome", "code", "message")
_SQLITE_CLOCK = "strftime('%Y-%m-%d %H:%M:%f000', 'now')"
STORED = ("fingerprint", "command_id", "version", "result_type", "result_version", "result")


def _look_up(tables: LedgerTables) -> Any:
    columns = tables.idempotency.c
    return select(*(columns[name] for name in STORED)).where(key_is(tables))


@cache
def _look_up_many(tables: LedgerTables) -> Any:
    columns = tables.idempotency.c
    same = (columns[name] == bindparam(f"uc_{name}") for name in ("tenant", "actor", "use_case"))
    wanted = (columns.key, *(columns[name] for name in STORED))
    return select(*wanted).where(*same, columns.key.in_(bindparam("uc_key", expanding=True)))


def _look_up_array(tables: LedgerTables) -> Any:
    columns = tables.idempotency.c
    same = (columns[name] == bindparam(f"uc_{name}") for name in ("tenant", "actor", "use_case"))
    keys = func.json_array_elements_text(cast(bindparam("uc_key", type_=Text()), JSON)).table_valued("value").render_derived()
    # Each key is looked up by itself, whatever the planner knows of the table: a join that it planned for an empty one reads all keys
    # of the use case, and goes on to do so while they become millions. OFFSET keeps it from making this one a join.
    found = (
        select(*(columns[name] for name in STORED))
        .where(*same, columns.key == keys.c.value)
        .offset(literal_column("0"))
        .lateral()
    )
    return select(keys.c.value, *(found.c[name] for name in STORED)).select_from(keys).join(found, true())


@cache
def _last_version(tables: LedgerTables) -> Any:
    columns = tables.audit.c
    same = columns.aggregate == bindparam("uc_aggregate"), columns.aggregate_id == bindparam("uc_aggregate_id")
    return select(func.max(columns.version)).where(*same)


@cache
def _insert(table: Table, json_is_a_type: bool = False) -> Insert:
    # JSON columns take text that is JSON already: serialised once, stored as it is.
    texts: dict[str, ColumnElement[Any]] = {}
    for column in table.c:
        if isinstance(column.type, JSON):
            parameter = bindparam(column.name, type_=Text())
            texts[column.name] = cast(parameter, JSON) if json_is_a_type else parameter
    others: dict[str, Any] = {
        column.name: bindparam(column.name) for column in table.c if column.name not in texts and column.name in written(table)
    }
    return insert(table).values({**others, **texts})


def _idempotency_row(entries: Entries) -> dict[str, Any]:
    return {
        **entries.said.key._asdict(),
        "fingerprint": entries.stored.fingerprint,
        "command_id": entries.stored.command_id,
        "version": entries.stored.version,
        "result_type": entries.stored.result_type,
        "result_version": entries.stored.result_version,
        "result": entries.stored.result,
        "created_at": entries.said.created_at,
        "expires_at": entries.said.expires_at,
    }


def _audit_rows(entries: Entries) -> list[dict[str, Any]]:
    common = {**entries.said.common, "key": entries.said.key.key}
    return [{**common, **entry._asdict()} for entry in entries.audit]


def _personal_rows(entries: Entries) -> list[dict[str, Any]]:
    common = {"command_id": entries.stored.command_id, "tenant": entries.said.key.tenant}
    return [
        {**common, "field": one.field, "subject": one.subject, "value": one.value, "salt": one.salt} for one in entries.personal
    ]


def _outbox_rows(entries: Entries) -> list[dict[str, Any]]:
    common = {
        "command_id": entries.stored.command_id,
        "tenant": entries.said.common["tenant"],
        "headers": entries.said.headers,
        "occurred_at": entries.said.created_at,
    }
    return [{**common, **message._asdict()} for message in entries.outbox]


def _committed(commit: CommitAlong, text: str, parameters: Any) -> tuple[int, bool, int] | None:
    """Send the statement with COMMIT; return what it failed by, where it did so by itself, as `write_sql` says."""
    try:
        commit.send(text, parameters)
    except DBAPIError as error:
        failed_by = failed_by_itself(error.orig)
        if failed_by is None:
            raise
        return failed_by
    return None


def _require_all(keys: int, kept: int, same: bool, updated: int) -> None:
    if not same:
        raise TransactionGone
    _require_one(updated)
    if kept != keys:
        raise KeyTaken


def _require_one(rows: int) -> None:
    if rows != 1:
        raise StaleDataError(f"the UPDATE of the aggregate's row matched {rows} rows")


def _rows_as_json(rows: list[dict[str, Any]]) -> str:
    return packed(
        [{name: in_utc(value) if isinstance(value, datetime) else value for name, value in row.items()} for row in rows]
    )


def _hexadecimal(row: dict[str, Any], name: str) -> dict[str, Any]:
    return {**row, name: row[name].hex()}


def _claim(tables: LedgerTables) -> TextClause:
    table = postgresql.dialect().identifier_preparer.format_table(tables.idempotency)  # type: ignore[no-untyped-call]  # SQLAlchemy leaves it untyped
    statement = text(
        f"""
        with settings as (select set_config('lock_timeout', :lock_timeout, true) as lock_timeout)
        insert into {table} (tenant, actor, use_case, key, fingerprint, command_id, created_at, expires_at)
        select :uc_tenant, :uc_actor, :uc_use_case, :uc_key, :fingerprint, :command_id, :created_at, :expires_at
        from settings where lock_timeout is not null
        on conflict do nothing
        returning now()
        """
    )
    types = {name: tables.idempotency.c[name].type for name in ("fingerprint", "command_id", "created_at", "expires_at")}
    strings = {f"uc_{name}": tables.idempotency.c[name].type for name in ("tenant", "actor", "use_case", "key")}
    return statement.bindparams(*(bindparam(name, type_=kind) for name, kind in {**types, **strings}.items()))
