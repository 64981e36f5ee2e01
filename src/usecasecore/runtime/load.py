"""Idempotency and load: find what was stored under the key, else the aggregate, locked and fresh.

How it works on PostgreSQL. One statement locks the aggregate's row, joins the key, sets the lock timeout, and selects the
version twice: from the locked row, and from a subquery that reads the statement's snapshot. After a wait for the lock only
the locked row is read anew; everything joined to it is of the snapshot. So if the two versions differ, the look-up of the
key was made too early, and is made again before anything is fired. This holds because each accepted command with a loaded
aggregate raises its version. Where no row is locked, the key is claimed first; duplicates then wait for the claim.

On SQLite the transaction began with BEGIN IMMEDIATE: writers queue up before it, and two plain queries see the latest state.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import Select, bindparam, func, inspect, select, true
from sqlalchemy.exc import DataError, DBAPIError, ProgrammingError, StatementError
from sqlalchemy.orm import Mapper, selectinload

from usecasecore.errors import AggregateNotFound
from usecasecore.ledger.entries import StoredResult
from usecasecore.ledger.store import KeyTaken, PostgresStore, Store, key_is, key_parameters
from usecasecore.registration import Registration
from usecasecore.runtime.faults import sqlstate_of
from usecasecore.runtime.session import CommandSession

if TYPE_CHECKING:
    from usecasecore.runtime.call import Call

__all__ = ["Loaded", "Loader", "loader_for", "milliseconds"]


@dataclass(frozen=True, slots=True)
class Loaded:
    """What an attempt starts from.

    Attributes:
        aggregate: The locked aggregate; None where the use case loads none.
        began: When the database's transaction began, where the database tells.
        claimed: Whether the key's row was inserted already.
    """

    aggregate: Any = None
    began: datetime | None = None
    claimed: bool = False


def loader_for(registration: Registration, version: str | None, store: Store) -> Loader:
    """Return the loader for a use case on the store's database."""
    if not isinstance(store, PostgresStore):
        return Loader(registration, store)
    if registration.aggregate is None:
        return ClaimingLoader(registration, store)
    assert version is not None
    return LockingLoader(registration, store, version)


class Loader:
    """Two queries, on a database where the transaction already excludes other writers, or that locks on reading."""

    def __init__(self, registration: Registration, store: Store) -> None:
        self.store = store
        self.keys = registration.keys
        self.aggregate_name = registration.aggregate.__name__ if registration.aggregate else ""
        self._select = _locking_select(registration.aggregate, self.keys) if registration.aggregate else None

    def load(self, session: CommandSession, call: Call, lock_timeout: str) -> Loaded | StoredResult:
        """Return what is stored under the key, else what the use case starts from.

        Raises:
            AggregateNotFound: If there is no such row.
        """
        connection = session.connection()  # begins, which on SQLite waits for the write lock
        session.step = "idempotency"
        stored = None if call.fresh else self.store.look_up(connection, call.key)
        if stored is not None:
            return stored
        if self._select is None:
            return Loaded()
        session.step = "load"
        return Loaded(self._one(session, call, self._select, self._key_of(call))[0])

    def _key_of(self, call: Call) -> dict[str, Any]:
        return {f"uc_key_{column}": getattr(call.command, name) for column, name in self.keys.items()}

    def _one(self, session: CommandSession, call: Call, statement: Select[Any], parameters: dict[str, Any]) -> Any:
        try:
            row = session.execute(statement, parameters).one_or_none()
        except (StatementError, OverflowError) as error:
            if not _about_the_value(error):
                raise
            row = None  # no row has a key that its column can't hold
        if row is None:
            raise AggregateNotFound(aggregate=self.aggregate_name, key=self._key_text(call))
        return row

    def _key_text(self, call: Call) -> str:
        values = [getattr(call.command, name) for name in self.keys.values()]
        return ", ".join(str(value) for value in values)


class ClaimingLoader(Loader):
    """PostgreSQL, nothing to lock: the key's row itself orders the duplicates."""

    store: PostgresStore

    def load(self, session: CommandSession, call: Call, lock_timeout: str) -> Loaded | StoredResult:
        """Claim the key, or return what its winner stored."""
        session.step = "idempotency"
        connection = session.connection()
        began = self.store.claim(connection, call.key, call.fingerprint, call.command_id, call.now, lock_timeout=lock_timeout)
        if began is not None:
            return Loaded(began=began, claimed=True)
        stored = self.store.look_up(connection, call.key)
        if stored is None:
            raise KeyTaken  # it was pruned between the two statements
        return stored


class LockingLoader(Loader):
    """PostgreSQL, one row to lock: everything in one statement."""

    store: PostgresStore

    def __init__(self, registration: Registration, store: PostgresStore, version: str) -> None:
        super().__init__(registration, store)
        self.version = version
        self._fresh = _one_statement(registration, store, version, with_key=False)
        self._keyed = _one_statement(registration, store, version, with_key=True)

    def load(self, session: CommandSession, call: Call, lock_timeout: str) -> Loaded | StoredResult:
        """Return what is stored under the key, else the locked aggregate."""
        session.step = "load"
        parameters = {**self._key_of(call), "uc_lock_timeout": lock_timeout}
        if call.fresh:
            row = self._one(session, call, self._fresh, parameters)
            return Loaded(row[0], row.uc_began)
        parameters.update(key_parameters(call.key))
        row = self._row_or_stored(session, call, parameters)
        if isinstance(row, StoredResult):
            return row
        if row.uc_fingerprint is not None:
            return StoredResult(row.uc_fingerprint, row.uc_command_id, row.uc_version, row.uc_result_type, row.uc_result)
        if getattr(row[0], self.version) != row.uc_seen:  # waited: see "How it works"
            session.step = "idempotency"
            stored = self.store.look_up(session.connection(), call.key)
            if stored is not None:
                return stored
        return Loaded(row[0], row.uc_began)

    def _row_or_stored(self, session: CommandSession, call: Call, parameters: dict[str, Any]) -> Any:
        try:
            return self._one(session, call, self._keyed, parameters)
        except AggregateNotFound:
            # The row may be gone since the command ran: its stored result still answers for it.
            if session.connection().in_transaction() and session.is_active:
                try:
                    stored = self.store.look_up(session.connection(), call.key)
                except DBAPIError:
                    stored = None  # the key's value broke the transaction; there can be no such command
                if stored is not None:
                    return stored
            raise


def milliseconds(seconds: float) -> str:
    """Return a span as PostgreSQL's settings take it."""
    return f"{max(1, round(seconds * 1000))}ms"


_WRONG_TYPE = {"42846", "42883", "42804"}


def _about_the_value(error: Exception) -> bool:
    # What isn't from the database is about binding a parameter: a text where a UUID is wanted, a number beyond 64 bits.
    if not isinstance(error, DBAPIError) or isinstance(error, DataError):
        return True
    state = sqlstate_of(error)
    if state is not None:
        return state in _WRONG_TYPE or state.startswith("22")
    return isinstance(error, ProgrammingError) or isinstance(error.orig, sqlite3.InterfaceError)


def _locking_select(aggregate: type, keys: dict[str, str]) -> Select[Any]:
    mapper: Mapper[Any] = inspect(aggregate)
    conditions = [getattr(aggregate, column) == bindparam(f"uc_key_{column}") for column in keys]
    statement: Select[Any] = select(aggregate).where(*conditions).with_for_update(key_share=True, of=aggregate)
    # What is joined to a locked row is of the snapshot before the wait: load it by a query of its own instead.
    joined = [prop.class_attribute for prop in mapper.relationships if prop.lazy in ("joined", False)]
    return statement.options(*(selectinload(attribute) for attribute in joined))


def _one_statement(registration: Registration, store: PostgresStore, version: str, *, with_key: bool) -> Select[Any]:
    aggregate = registration.aggregate
    assert aggregate is not None
    snapshot_of: Mapper[Any] = inspect(aggregate)
    column = snapshot_of.attrs[version].columns[0]
    table = column.table.alias("uc_snapshot")
    primary = {key: snapshot_of.attrs[key].columns for key in registration.keys}
    same_row = [
        table.c[next(one.name for one in columns if one.table is column.table)] == bindparam(f"uc_key_{key}")
        for key, columns in primary.items()
    ]
    seen = select(table.c[column.name]).where(*same_row).scalar_subquery()
    settings = select(func.set_config("lock_timeout", bindparam("uc_lock_timeout"), true()).label("lock_timeout")).subquery(
        "uc_settings"
    )
    statement = _locking_select(aggregate, registration.keys).add_columns(seen.label("uc_seen"), func.now().label("uc_began"))
    source = settings.join(aggregate, true())
    if with_key:
        stored = store.tables.idempotency
        names = ("fingerprint", "command_id", "version", "result_type", "result")
        statement = statement.add_columns(*(stored.c[name].label(f"uc_{name}") for name in names))
        source = source.outerjoin(stored, key_is(store.tables))
    return statement.select_from(source).where(settings.c.lock_timeout.is_not(None))
