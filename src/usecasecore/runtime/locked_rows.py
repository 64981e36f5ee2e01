"""The rows of many commands of one use case, locked and loaded by one statement.

How it works. On PostgreSQL the keys travel as one JSON array, in the order in which commands on several aggregates take their
locks (`load.Loader`), and rows are locked in the order of that array: no two commands or batches wait for each other in a circle.
Keys of types that JSON doesn't carry for certain go as parameters, in the order of the primary key; a deadlock with commands on
several aggregates is then still possible, and the batch starts anew. On SQLite the write lock is held already.

Rows are matched to commands by the values of their keys. What finds no row here (a key that the column takes for another, a value
it can't hold, a row that is missing) is for the single command to decide.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, TypeAlias

from pydantic_core import to_json
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

from usecasecore.ledger.store import PostgresStore
from usecasecore.runtime.call import Call
from usecasecore.runtime.load import of_tenant, unjoined
from usecasecore.runtime.plan import Plan
from usecasecore.runtime.session import CommandSession

__all__ = ["Key", "LockedRows"]

Key: TypeAlias = tuple[Any, ...]

_BEGUN = text("select set_config('lock_timeout', :lock_timeout, true), now()")
_CARRIED = (Integer, BigInteger, String, Text, Uuid)


class LockedRows:
    """How the rows of one use case's aggregate are found, many at a time."""

    def __init__(self, plan: Plan) -> None:
        assert plan.registration.aggregate is not None
        self._plan = plan
        self._aggregate: Any = plan.registration.aggregate
        self._columns = tuple(plan.registration.keys)
        self._fields = tuple(plan.registration.keys.values())
        self._ordered = isinstance(plan.store, PostgresStore) and all(type(one.type) in _CARRIED for one in self._primary())
        self._statements = {skip: self._locking(skip) for skip in (False, True)}
        keys: Any = select(*self._keys()).where(self._among())
        self._plain = of_tenant(keys, self._aggregate, plan.tenancy)

    def key_of(self, call: Call) -> Key:
        """Return the values by which a command names its row."""
        command = call.command
        return tuple(getattr(command, field) for field in self._fields)

    def begin(self, session: CommandSession, lock_timeout: str) -> datetime | None:
        """Set how long to wait for locks; return when the transaction began, where the database tells."""
        connection = session.connection()
        if not isinstance(self._plan.store, PostgresStore):
            return None
        began: datetime = connection.execute(_BEGUN, {"lock_timeout": lock_timeout}).one()[1]
        return began

    def lock(self, session: CommandSession, calls: Sequence[Call], *, skip_locked: bool) -> dict[Key, Any]:
        """Return key -> aggregate, locked and as it is now.

        Raises:
            StatementError: If a row is locked for longer than the timeout; or for a value that the key's column can't hold.
        """
        found = session.execute(self._statements[skip_locked], self._parameters(calls)).scalars()
        return {tuple(getattr(one, name) for name in self._columns): one for one in found}

    def there(self, session: CommandSession, calls: Sequence[Call]) -> set[Key]:
        """Return the keys of the rows that are there, locked or not."""
        parameters = {"uc_keys": self._values(calls), **self._whose(calls)}
        return {tuple(row) for row in session.connection().execute(self._plain, parameters)}

    def _locking(self, skip_locked: bool) -> Select[Any]:
        statement = select(self._aggregate)
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
        statement = statement.with_for_update(key_share=True, of=self._aggregate, skip_locked=skip_locked)
        return unjoined(statement.execution_options(populate_existing=True), self._aggregate)

    def _parameters(self, calls: Sequence[Call]) -> dict[str, Any]:
        if not self._ordered:
            return {"uc_keys": self._values(calls), **self._whose(calls)}
        # The order of `Loader`: by the text of what it looks for.
        keys = sorted((self.key_of(call) for call in calls), key=lambda key: str(dict(zip(self._columns, key, strict=True))))
        rows = [{**{f"k{number}": value for number, value in enumerate(key)}, "place": place} for place, key in enumerate(keys)]
        return {"uc_keys": to_json(rows).decode(), **self._whose(calls)}

    def _values(self, calls: Sequence[Call]) -> list[Any]:
        keys = [self.key_of(call) for call in calls]
        return [key[0] for key in keys] if len(self._columns) == 1 else keys

    def _among(self) -> Any:
        keys = self._keys()
        return (keys[0] if len(keys) == 1 else tuple_(*keys)).in_(bindparam("uc_keys", expanding=True))

    def _keys(self) -> list[Any]:
        return [getattr(self._aggregate, name) for name in self._columns]

    def _primary(self) -> list[Any]:
        mapper: Mapper[Any] = sa_inspect(self._aggregate)
        return [mapper.attrs[name].columns[0] for name in self._columns]

    def _whose(self, calls: Sequence[Call]) -> dict[str, Any]:
        tenancy = self._plan.tenancy
        if tenancy is None or not tenancy.scopes(self._aggregate):
            return {}
        return {"uc_row_tenant": tenancy.value(self._aggregate, calls[0].asked.actor)}
