"""The rows of many commands of one use case, locked and loaded by one statement.

How it works. On PostgreSQL the keys travel as one JSON array, in the order in which commands on several aggregates take their
locks (`load.Loader`), and rows are locked in the order of that array: no two commands or batches wait for each other in a circle.
Keys of types that JSON doesn't carry for certain go as parameters, in the order of the primary key; a deadlock with commands on
several aggregates is then still possible, and the batch starts anew. On SQLite the write lock is held already.

Rows are matched to commands by the values of their keys. What finds no row here (a key that the column takes for another, a value
it can't hold, a row that is missing) is for the single command to decide.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from operator import attrgetter
from typing import Any, TypeAlias
from uuid import UUID

from sqlalchemy import (
    JSON,
    BigInteger,
    Integer,
    Select,
    String,
    Text,
    Uuid,
    and_,
    bindparam,
    cast,
    column,
    func,
    select,
    text,
    tuple_,
)
from sqlalchemy import inspect as sa_inspect
from sqlalchemy.orm import Mapper

from usecasecore.context import Actor
from usecasecore.ledger.json_text import packed
from usecasecore.ledger.store import PostgresStore
from usecasecore.runtime.call import Call
from usecasecore.runtime.lean_load import LeanLoad, plain_select
from usecasecore.runtime.lean_rows import LeanRows
from usecasecore.runtime.load import of_tenant, unjoined
from usecasecore.runtime.plan import Plan
from usecasecore.runtime.session import CommandSession

__all__ = ["Key", "Locked", "LockedRows", "Token", "token_of"]

Key: TypeAlias = tuple[Any, ...]
Token: TypeAlias = tuple[Any, ...] | int
"""Stands for a key where keys are looked up; see `token_of`."""

_BEGUN = text("select set_config('lock_timeout', :lock_timeout, true), now()")
_CARRIED = (Integer, BigInteger, String, Text, Uuid)


def token_of(key: Key) -> Token:
    """Return what two keys of a class have in common only if they are the same: to hash a UUID itself is a call of Python's."""
    return key[0].int if len(key) == 1 and isinstance(key[0], UUID) else key


class Locked:
    """Rows that are locked; where they were read past the ORM, each becomes an object when its command is decided.

    A thousand objects that wait for their turn would be looked through by the garbage collector, and be far away when it comes.
    """

    def __init__(self, rows: Callable[[], dict[Token, Any]], make: Callable[[Any], Any] | None) -> None:
        self._found, self._make = rows, make
        self._by_token: dict[Token, Any] | None = None

    @property
    def _rows(self) -> dict[Token, Any]:
        if self._by_token is None:
            self._by_token = self._found()
        return self._by_token

    def prepare(self) -> None:
        """Turn what the driver has into Python's values now. Never fails: what does will do so when a row is asked for."""
        with suppress(Exception):
            self._by_token = self._found()

    def __contains__(self, token: Token) -> bool:
        return token in self._rows

    def take(self, token: Token) -> Any:
        """Return the aggregate with this key, once: it is kept no longer than whoever works on it keeps it.

        Raises:
            InvalidRequestError: If the session has it from elsewhere.
        """
        row = self._rows.pop(token)
        return row if self._make is None else self._make(row)


class LockedRows:
    """How the rows of one use case's aggregate are found, many at a time."""

    def __init__(self, plan: Plan) -> None:
        assert plan.registration.aggregate is not None
        self._plan = plan
        self._aggregate: Any = plan.registration.aggregate
        self._columns = tuple(plan.registration.keys)
        self._fields = tuple(plan.registration.keys.values())
        self._ordered = isinstance(plan.store, PostgresStore) and all(type(one.type) in _CARRIED for one in self._primary())
        self._statements = {skip: self._asked_by_session(skip) for skip in (False, True)}
        self._lean = {skip: self._leanly(skip) for skip in (False, True)}
        one, *more = self._columns
        # `attrgetter` of one name returns the value, of several a tuple.
        self._of_object = attrgetter(*self._columns) if more else lambda aggregate: (getattr(aggregate, one),)
        keys: Any = select(*self._keys()).where(self._among())
        self._plain = of_tenant(keys, self._aggregate, plan.tenancy)

    def key_of(self, call: Call) -> Key:
        """Return the values by which a command names its row."""
        command = call.command
        return tuple([getattr(command, field) for field in self._fields])

    def begin(self, session: CommandSession, lock_timeout: str) -> datetime | None:
        """Set how long to wait for locks; return when the transaction began, where the database tells."""
        connection = session.connection()
        if not isinstance(self._plan.store, PostgresStore):
            return None
        began: datetime = connection.execute(_BEGUN, {"lock_timeout": lock_timeout}).one()[1]
        return began

    def lock(self, session: CommandSession, keys: Sequence[Key], whose: Actor, *, skip_locked: bool) -> Locked:
        """Return the rows, locked and as they are now.

        Raises:
            StatementError: If a row is locked for longer than the timeout; or for a value that the key's column can't hold.
        """
        parameters = self._parameters(keys, whose)
        lean = self._lean[skip_locked]
        rows = lean.rows(session, parameters) if lean is not None else None
        if rows is not None and lean is not None:
            return Locked(partial(self._by_token, lean, rows), partial(lean.object, session))
        of_object = self._of_object
        found = {token_of(of_object(one)): one for one in session.execute(self._statements[skip_locked], parameters).scalars()}
        return Locked(lambda: found, None)

    def _by_token(self, lean: LeanRows, rows: Iterable[Sequence[Any]]) -> dict[Token, Any]:
        names = self._columns
        return {token_of(tuple([row[name] for name in names])): row for row in lean.held(rows)}

    def there(self, session: CommandSession, keys: Sequence[Key], whose: Actor) -> set[Token]:
        """Return the keys of the rows that are there, locked or not."""
        parameters = {"uc_keys": self._values(keys), **self._whose(whose)}
        return {token_of(tuple(row)) for row in session.connection().execute(self._plain, parameters)}

    def _asked_by_session(self, skip_locked: bool) -> Select[Any]:
        statement = self._locking(skip_locked, select(self._aggregate))
        return unjoined(statement.execution_options(populate_existing=True), self._aggregate)

    def _leanly(self, skip_locked: bool) -> LeanRows | None:
        mapper: Mapper[Any] = sa_inspect(self._aggregate)
        dialect = self._plan.store.dialect
        if not LeanLoad.suits(mapper, dialect):
            return None
        statement = self._locking(skip_locked, plain_select(mapper).select_from(mapper.local_table))
        return LeanRows(mapper, statement, dialect, one_text=self._ordered)

    def _locking(self, skip_locked: bool, statement: Select[Any]) -> Select[Any]:
        if self._ordered:
            kinds = [column(f"k{number}", one.type) for number, one in enumerate(self._primary())]
            keys = (
                func.json_to_recordset(cast(bindparam("uc_keys", type_=Text()), JSON))
                .table_valued(*kinds, column("place", Integer))
                .render_derived(name="uc_keys", with_types=True)
            )
            same = and_(*(mapped == keys.c[f"k{number}"] for number, mapped in enumerate(self._keys())))
            statement = statement.join(keys, same).order_by(keys.c.place)
        else:
            statement = statement.where(self._among()).order_by(*self._keys())
        statement = of_tenant(statement, self._aggregate, self._plan.tenancy)
        return statement.with_for_update(key_share=True, of=self._aggregate, skip_locked=skip_locked)

    def _parameters(self, keys: Sequence[Key], whose: Actor) -> dict[str, Any]:
        if not self._ordered:
            return {"uc_keys": self._values(keys), **self._whose(whose)}
        # The order of `Loader`: by the text of what it looks for. That of UUIDs is their own.
        if len(self._columns) == 1 and all(type(key[0]) is UUID for key in keys):
            ids = sorted([key[0] for key in keys], key=attrgetter("int"))
            rows = [{"k0": one, "place": place} for place, one in enumerate(ids)]
            return {"uc_keys": packed(rows), **self._whose(whose)}
        keys = sorted(keys, key=lambda key: str(dict(zip(self._columns, key, strict=True))))
        names = [f"k{number}" for number in range(len(self._columns))]
        rows = [{**dict(zip(names, key, strict=True)), "place": place} for place, key in enumerate(keys)]
        return {"uc_keys": packed(rows), **self._whose(whose)}

    def _values(self, keys: Sequence[Key]) -> list[Any]:
        return [key[0] for key in keys] if len(self._columns) == 1 else list(keys)

    def _among(self) -> Any:
        keys = self._keys()
        return (keys[0] if len(keys) == 1 else tuple_(*keys)).in_(bindparam("uc_keys", expanding=True))

    def _keys(self) -> list[Any]:
        return [getattr(self._aggregate, name) for name in self._columns]

    def _primary(self) -> list[Any]:
        mapper: Mapper[Any] = sa_inspect(self._aggregate)
        return [mapper.attrs[name].columns[0] for name in self._columns]

    def _whose(self, whose: Actor) -> dict[str, Any]:
        tenancy = self._plan.tenancy
        if tenancy is None or not tenancy.scopes(self._aggregate):
            return {}
        return {"uc_row_tenant": tenancy.value(self._aggregate, whose)}
