"""Idempotency and load: find what was stored under the key, else the aggregate, locked and fresh.

How it works on PostgreSQL. One statement locks the aggregate's row, joins the key, sets the lock timeout, and selects the
version twice: from the locked row, and from a subquery that reads the statement's snapshot. After a wait for the lock only
the locked row is read anew; everything joined to it is of the snapshot. So if the two versions differ, the look-up of the
key was made too early, and is made again before anything is fired. This holds because each accepted command with a loaded
aggregate raises its version. Where no row is locked, the key is claimed first; duplicates then wait for the claim.

On SQLite the transaction began with BEGIN IMMEDIATE: writers queue up before it, and plain queries see the latest state. Where
one row is loaded the key is joined there too.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import ColumnElement, Select, bindparam, func, inspect, join, select, true
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, MultipleResultsFound, ProgrammingError, StatementError
from sqlalchemy.orm import Mapper, selectinload

from usecasecore.errors import AggregateNotFound, WrongResult
from usecasecore.ledger.entries import StoredResult
from usecasecore.ledger.store import STORED, KeyTaken, PostgresStore, Store, key_is, key_parameters, stored_of
from usecasecore.lifecycle import lifecycles_of, set_version, version_attribute
from usecasecore.registration import Registration
from usecasecore.runtime.faults import is_duplicate, sqlstate_of
from usecasecore.runtime.lean_load import FoundRow, LeanLoad, plain_select
from usecasecore.runtime.session import CommandSession
from usecasecore.slots import Slot, aggregate_name
from usecasecore.steps import Step
from usecasecore.tenancy import Tenancy

if TYPE_CHECKING:
    from usecasecore.runtime.call import Call

__all__ = ["Loaded", "Loader", "about_the_value", "loader_for", "milliseconds", "new_of", "of_tenant", "row_lock", "unjoined"]


class Loaded(NamedTuple):
    """What an attempt starts from.

    Attributes:
        state: What `apply` gets: the locked aggregate, the state class of several, or None.
        aggregates: What was loaded, in the order written.
        created: What was missing and made.
        subject: The one whose trigger is fired, and that the version is asked of; None where there is none.
        began: When the database's transaction began, where the database tells.
        claimed: Whether the key's row was inserted already.
    """

    state: Any = None
    aggregates: tuple[Any, ...] = ()
    created: tuple[Any, ...] = ()
    subject: Any = None
    began: datetime | None = None
    claimed: bool = False


def loader_for(registration: Registration, version: str | None, store: Store, tenancy: Tenancy | None) -> Loader:
    """Return the loader for a use case on the store's database."""
    if registration.slots or registration.finds or registration.aggregate is None:
        return Loader(registration, store, tenancy)
    if not isinstance(store, PostgresStore):
        return JoiningLoader(registration, store, tenancy)
    assert version is not None
    return LockingLoader(registration, store, version, tenancy)


class Loader:
    """The key first, then each row by a query of its own; rows in one canonical order, so that commands can't deadlock."""

    def __init__(self, registration: Registration, store: Store, tenancy: Tenancy | None) -> None:
        self.store = store
        self.tenancy = tenancy
        self.keys = registration.keys
        self.use_case = registration.use_case
        self.aggregate_name = aggregate_name(registration.aggregate) if registration.aggregate else ""
        self._registration = registration
        self._select = None if registration.aggregate is None else self._by_key(registration.aggregate, registration.keys)
        self._slots = tuple((slot, self._by_key(slot.aggregate, slot.keys)) for slot in registration.slots)

    def load(self, session: CommandSession, call: Call, lock_timeout: str) -> Loaded | StoredResult:
        """Return what is stored under the key, else what the use case starts from.

        Raises:
            AggregateNotFound: If a row is missing that has to be there.
        """
        connection = session.held
        session.enter(Step.IDEMPOTENCY)
        began: datetime | None = None
        if isinstance(self.store, PostgresStore):
            # Nothing orders the duplicates yet: they wait for the key's own row.
            began = self.store.claim(
                connection, call.scoped_key, call.fingerprint, call.command_id, call.now, lock_timeout=lock_timeout
            )
            stored = None if began is not None else self.store.look_up(connection, call.scoped_key)
            if began is None and stored is None:
                raise KeyTaken  # it was pruned between the two statements
        else:
            stored = None if call.fresh else self.store.look_up(connection, call.scoped_key)
        if stored is not None:
            return stored
        session.enter(Step.LOAD)
        found = self._rows(session, call)
        return found if began is None else found._replace(began=began, claimed=True)

    def _rows(self, session: CommandSession, call: Call) -> Loaded:
        if self._slots:
            return self._several(session, call)
        if self._select is None:
            return Loaded()
        if self._registration.finds:
            aggregate = self._found(session, call)
        else:
            aggregate = self._one(session, call, self._select, self._key_of(call)).aggregate
        return Loaded(aggregate, (aggregate,), subject=aggregate)

    def _several(self, session: CommandSession, call: Call) -> Loaded:
        keyed = [(slot, statement, key_values(slot, call)) for slot, statement in self._slots]
        found: dict[str, Any] = {}
        created = []
        # Every command locks in this order, whatever the order its state class is written in.
        for slot, statement, values in sorted(keyed, key=lambda one: (_root_table(one[0].aggregate), str(one[2]))):
            parameters = {f"uc_key_{column}": value for column, value in values.items()}
            row = self._row(session, statement, parameters | self._whose(slot.aggregate, call))
            aggregate = None if row is None else row.aggregate
            if row is None and slot.missing == "refuse":
                raise AggregateNotFound(aggregate=aggregate_name(slot.aggregate), key=", ".join(map(str, values.values())))
            if row is None and slot.missing == "create":
                aggregate = self._made(session, slot, values | self._owner(slot.aggregate, call))
                created.append(aggregate)
            found[slot.name] = aggregate
        ordered = {slot.name: found[slot.name] for slot, _ in self._slots}
        assert self._registration.state is not None
        subject = None if self._registration.subject is None else ordered[self._registration.subject]
        rows = {id(one): one for one in ordered.values() if one is not None}
        return Loaded(self._registration.state(**ordered), tuple(rows.values()), tuple(created), subject)

    def _found(self, session: CommandSession, call: Call) -> Any:
        aggregate = self._registration.aggregate
        assert aggregate is not None
        statement = self._taken(self.use_case.select(call.command), aggregate)
        try:
            found = session.execute(statement, self._whose(aggregate, call)).scalars().one_or_none()
        except MultipleResultsFound as error:
            raise WrongResult(use_case=self.use_case.name, expected="one row from `select`", got="several") from error
        if found is None:
            raise AggregateNotFound(aggregate=self.aggregate_name, key="that `select` asks for")
        return found

    def not_found(self, aggregate: Any, call: Call) -> AggregateNotFound:
        """Return the refusal that a missing row would have been."""
        if self._registration.finds:
            return AggregateNotFound(aggregate=self.aggregate_name, key="that `select` asks for")
        for slot, _ in self._slots:
            if isinstance(aggregate, slot.aggregate) and all(
                getattr(aggregate, column) == value for column, value in key_values(slot, call).items()
            ):
                return AggregateNotFound(
                    aggregate=aggregate_name(slot.aggregate), key=", ".join(map(str, key_values(slot, call).values()))
                )
        return AggregateNotFound(aggregate=self.aggregate_name, key=self._key_text(call))

    def _by_key(self, aggregate: type, keys: Mapping[str, str]) -> _Query:
        conditions = [getattr(aggregate, column) == bindparam(f"uc_key_{column}") for column in keys]
        mapper: Mapper[Any] = inspect(aggregate)
        plain = self._plain(mapper, keys)
        return _Query(
            self._taken(select(aggregate).where(*conditions), aggregate),
            None if plain is None else LeanLoad(mapper, plain, self.store.dialect),
        )

    def _plain(self, mapper: Mapper[Any], keys: Mapping[str, str]) -> Select[Any] | None:
        """Return the same query for the columns alone; None where the class is more than its columns."""
        if not LeanLoad.suits(mapper, self.store.dialect):
            return None
        columns = {prop.key: prop.columns[0] for prop in mapper.column_attrs}
        statement = plain_select(mapper).where(*(columns[key] == bindparam(f"uc_key_{key}") for key in keys))
        if self.tenancy is not None and self.tenancy.scopes(mapper.class_):
            statement = statement.where(columns[self.tenancy.column] == bindparam("uc_row_tenant"))
        return row_lock(statement, mapper.class_, self._registration.deletes, of=mapper.local_table)

    def _taken(self, statement: Select[Any], aggregate: type) -> Select[Any]:
        return _locked(of_tenant(statement, aggregate, self.tenancy), aggregate, self._registration.deletes)

    def _made(self, session: CommandSession, slot: Slot, values: dict[str, Any]) -> Any:
        return _inserted(session, new_of(slot, values))

    def _key_of(self, call: Call) -> dict[str, Any]:
        key = {f"uc_key_{column}": getattr(call.command, name) for column, name in self.keys.items()}
        aggregate = self._registration.aggregate
        return key if aggregate is None else key | self._whose(aggregate, call)

    def _whose(self, aggregate: type, call: Call) -> dict[str, Any]:
        owner = self._owner(aggregate, call)
        return {"uc_row_tenant": next(iter(owner.values()))} if owner else {}

    def _owner(self, aggregate: type, call: Call) -> dict[str, Any]:
        if self.tenancy is None or not self.tenancy.scopes(aggregate):
            return {}
        return {self.tenancy.column: self.tenancy.value(aggregate, call.asked.actor)}

    def _one(self, session: CommandSession, call: Call, query: _Query, parameters: dict[str, Any]) -> FoundRow:
        row = self._row(session, query, parameters)
        if row is None:
            raise AggregateNotFound(aggregate=self.aggregate_name, key=self._key_text(call))
        return row

    def _row(self, session: CommandSession, query: _Query, parameters: dict[str, Any]) -> FoundRow | None:
        try:
            connection = session.held
            if query.lean is not None and query.lean.is_right_for(session, connection):
                meanwhile, session.meanwhile = session.meanwhile, None
                found = query.lean.row(session, connection, parameters, meanwhile)
                if found is None or found.aggregate is not None:
                    return found
            row = session.execute(query.statement, parameters).one_or_none()
        except (StatementError, OverflowError) as error:
            if not about_the_value(error):
                raise
            return None  # no row has a key that its column can't hold
        return None if row is None else FoundRow(row[0], row[1:])

    def _key_text(self, call: Call) -> str:
        values = [getattr(call.command, name) for name in self.keys.values()]
        return ", ".join(str(value) for value in values)


class JoiningLoader(Loader):
    """One row and what is stored under the key, in one statement."""

    def __init__(self, registration: Registration, store: Store, tenancy: Tenancy | None) -> None:
        super().__init__(registration, store, tenancy)
        self._fresh, self._keyed = (self._one_statement(registration, with_key=with_key) for with_key in (False, True))

    def load(self, session: CommandSession, call: Call, lock_timeout: str) -> Loaded | StoredResult:
        """Return what is stored under the key, else the aggregate."""
        session.enter(Step.IDEMPOTENCY)
        session.enter(Step.LOAD)  # one statement does both
        parameters = self._key_of(call)
        if call.fresh:
            return _single(self._one(session, call, self._fresh, parameters))
        row = self._row_or_stored(session, call, parameters | key_parameters(call.scoped_key))
        if isinstance(row, StoredResult):
            return row
        fingerprint, *_ = row.further
        return _single(row) if fingerprint is None else stored_of(row.further)

    def _row_or_stored(self, session: CommandSession, call: Call, parameters: dict[str, Any]) -> FoundRow | StoredResult:
        try:
            return self._one(session, call, self._keyed, parameters)
        except AggregateNotFound:
            # The row may be gone since the command ran: its stored result still answers for it.
            if session.held.in_transaction() and session.is_active:
                try:
                    stored = self.store.look_up(session.held, call.scoped_key)
                except DBAPIError:
                    stored = None  # the key's value broke the transaction; there can be no such command
                if stored is not None:
                    return stored
            raise

    def _one_statement(self, registration: Registration, *, with_key: bool) -> _Query:
        assert self._select is not None
        aggregate = registration.aggregate
        assert aggregate is not None
        mapper: Mapper[Any] = inspect(aggregate)
        statement = self._joined(self._select.statement, aggregate, mapper, with_key)
        plain = self._plain(mapper, registration.keys)
        if plain is None:
            return _Query(statement, None)
        joined = self._joined(plain, mapper.local_table, mapper, with_key)
        return _Query(statement, LeanLoad(mapper, joined, self.store.dialect))

    def _joined(self, locking: Select[Any], source: Any, mapper: Mapper[Any], with_key: bool) -> Select[Any]:
        statement = locking.add_columns(*self._further(mapper))
        if with_key:
            stored = self.store.tables.idempotency
            statement = statement.add_columns(*(stored.c[name].label(f"uc_{name}") for name in STORED))
            source = join(source, stored, key_is(self.store.tables), isouter=True)
        return statement.select_from(source)

    def _further(self, mapper: Mapper[Any]) -> tuple[ColumnElement[Any], ...]:
        """Return what is selected between the row and what is stored."""
        return ()


class LockingLoader(JoiningLoader):
    """PostgreSQL, one row to lock: everything in one statement."""

    store: PostgresStore

    def __init__(self, registration: Registration, store: PostgresStore, version: str, tenancy: Tenancy | None) -> None:
        self.version = version
        super().__init__(registration, store, tenancy)

    def load(self, session: CommandSession, call: Call, lock_timeout: str) -> Loaded | StoredResult:
        """Return what is stored under the key, else the locked aggregate."""
        session.enter(Step.IDEMPOTENCY)
        session.enter(Step.LOAD)  # one statement does both
        parameters = {**self._key_of(call), "uc_lock_timeout": lock_timeout}
        if call.fresh:
            return _begun(self._one(session, call, self._fresh, parameters))
        parameters.update(key_parameters(call.scoped_key))
        row = self._row_or_stored(session, call, parameters)
        if isinstance(row, StoredResult):
            return row
        _, seen, _, *stored = row.further
        if stored[0] is not None:  # the fingerprint
            return stored_of(stored)
        if getattr(row.aggregate, self.version) != seen:  # waited: see "How it works"
            session.enter(Step.IDEMPOTENCY)
            found = self.store.look_up(session.held, call.scoped_key)
            if found is not None:
                return found
        return _begun(row)

    def _further(self, mapper: Mapper[Any]) -> tuple[ColumnElement[Any], ...]:
        column = mapper.attrs[self.version].columns[0]
        table = column.table.alias("uc_snapshot")
        primary = {key: mapper.attrs[key].columns for key in self.keys}
        same_row = [
            table.c[next(one.name for one in columns if one.table is column.table)] == bindparam(f"uc_key_{key}")
            for key, columns in primary.items()
        ]
        seen = select(table.c[column.name]).where(*same_row).scalar_subquery()
        # What is selected is worked out for a row before it is locked.
        lock_timeout = func.set_config("lock_timeout", bindparam("uc_lock_timeout"), true())
        return lock_timeout.label("uc_wait"), seen.label("uc_seen"), func.now().label("uc_began")


@dataclass(frozen=True, slots=True)
class _Query:
    """A query for one row: as the ORM takes it, and past it where that may be."""

    statement: Select[Any]
    lean: LeanLoad | None


def _single(row: FoundRow) -> Loaded:
    return Loaded(row.aggregate, (row.aggregate,), subject=row.aggregate)


def _begun(row: FoundRow) -> Loaded:
    return Loaded(row.aggregate, (row.aggregate,), subject=row.aggregate, began=row.further[2])


def key_values(slot: Slot, call: Call) -> dict[str, Any]:
    """Return attribute of the key -> value from the command."""
    return {column: getattr(call.command, field) for column, field in slot.keys.items()}


def _root_table(aggregate: type) -> str:
    mapper: Mapper[Any] = inspect(aggregate)
    return str(mapper.base_mapper.local_table)


def new_of(slot: Slot, values: dict[str, Any]) -> Any:
    """Return what is made where the row is missing: in its initial state, at version 1, not added to a session."""
    aggregate = slot.aggregate(**values)
    for lifecycle in lifecycles_of(slot.aggregate):
        lifecycle.enter_initial(aggregate)
    version = version_attribute(slot.aggregate)
    assert version is not None
    set_version(aggregate, version, 1)
    return aggregate


def _inserted(session: CommandSession, aggregate: Any) -> Any:
    session.add(aggregate)
    try:
        session.flush()
    except IntegrityError as error:
        if not is_duplicate(error):
            raise
        raise KeyTaken from error  # somebody else made it first: start anew, and find it
    return aggregate


def milliseconds(seconds: float) -> str:
    """Return a span as PostgreSQL's settings take it."""
    return f"{max(1, round(seconds * 1000))}ms"


_WRONG_TYPE = {"42846", "42883", "42804"}


def about_the_value(error: Exception) -> bool:
    """Say whether a look-up failed because the key's column can't hold such a value: then no row has that key."""
    # What isn't from the database is about binding a parameter: a text where a UUID is wanted, a number beyond 64 bits.
    if not isinstance(error, DBAPIError) or isinstance(error, DataError):
        return True
    state = sqlstate_of(error)
    if state is not None:
        return state in _WRONG_TYPE or state.startswith("22")
    return isinstance(error, ProgrammingError) or isinstance(error.orig, sqlite3.InterfaceError)


def of_tenant(statement: Select[Any], aggregate: type, tenancy: Tenancy | None) -> Select[Any]:
    """Return the query with the condition that its rows belong to the tenant of the parameter `uc_row_tenant`."""
    if tenancy is None or not tenancy.scopes(aggregate):
        return statement
    return statement.where(getattr(aggregate, tenancy.column) == bindparam("uc_row_tenant"))


def row_lock(statement: Select[Any], aggregate: type, deletes: tuple[type, ...], of: Any = None) -> Select[Any]:
    """Return the statement with the lock that a use case takes which may delete of these classes; of a table, where it names none."""
    # What is to be deleted is locked against rows that refer to it too: `apply` may have looked whether there are any.
    deleted = any(issubclass(aggregate, cls) or issubclass(cls, aggregate) for cls in deletes)
    return statement.with_for_update(key_share=not deleted, of=aggregate if of is None else of)


def _locked(statement: Select[Any], aggregate: type, deletes: tuple[type, ...]) -> Select[Any]:
    # In a transaction of several commands the session may hold the row from an earlier read, without a lock: take it as it is now.
    statement = row_lock(statement, aggregate, deletes).execution_options(populate_existing=True)
    # What is joined to a locked row is of the snapshot before the wait: load it by a query of its own instead.
    return unjoined(statement, aggregate)


def unjoined(statement: Select[Any], aggregate: type) -> Select[Any]:
    """Return the query with each relationship that would be joined loaded by a query of its own."""
    mapper: Mapper[Any] = inspect(aggregate)
    joined = [prop.class_attribute for prop in mapper.relationships if prop.lazy in ("joined", False)]
    return statement.options(*(selectinload(attribute) for attribute in joined))
