"""Folds the UPDATEs of a batch: in the place of a flush, which prepares each row by itself, a statement for all of them.

How it works. What `Folding` asks of one row is asked of each: where the flush would do anything but an UPDATE of plain columns by
the primary key, all are flushed. On SQLite the UPDATE is the one that `Folding` makes, executed for each row. On PostgreSQL the
rows travel as one JSON array, which an UPDATE .. FROM reads, a statement for each set of changed columns. That is for values that
JSON carries to their column's type for certain (`_CARRIERS`); with any other in the batch, all are flushed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Dialect, Table
from sqlalchemy.orm import InstanceState, Mapper, Session
from sqlalchemy.orm.exc import StaleDataError

from usecasecore.driver import DriverSql, row_count, row_count_of_many
from usecasecore.ledger.json_text import packed
from usecasecore.ledger.write_sql import Places
from usecasecore.runtime.folding import MOST_TEXTS, Folding

__all__ = ["FoldedRows", "RowsFolding"]

_Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class FoldedRows:
    """An UPDATE of many rows.

    Attributes:
        rows: How many.
    """

    rows: int
    _update: Any
    _sent: Any

    def send(self, connection: Connection) -> None:
        """Update the rows.

        Raises:
            StaleDataError: If one of them is not there.
            DBAPIError: As SQLAlchemy raises it.
        """
        self.require(self._update.send(connection, self._sent))

    def statement(self) -> tuple[str, Any] | None:
        """Return the one statement that updates the rows, and its parameters as the driver takes them; None where it is executed for each."""
        statement: tuple[str, Any] | None = self._update.statement(self._sent)
        return statement

    def require(self, found: int) -> None:
        """Look at how many rows were found.

        Raises:
            StaleDataError: If one of them is not there.
        """
        if found != self.rows:
            raise StaleDataError(f"the UPDATE of {self.rows} rows matched {found}")


class RowsFolding:
    """What is known of a mapped class whose UPDATEs can be folded."""

    def __init__(self, folding: Folding, mapper: Mapper[Any], dialect: Dialect) -> None:
        self._folding, self._mapper, self._dialect = folding, mapper, dialect
        self._updates: dict[tuple[str, ...], _Update] = {}

    def is_right_for(self, session: Session, connection: Connection) -> bool:
        """Say whether nobody would notice that the session doesn't flush."""
        if Folding.listener(self._mapper, session) is not None or session.in_nested_transaction():
            return False
        return not connection.get_execution_options().get("schema_translate_map")

    def row(self, state: InstanceState[Any], held: Mapping[str, Any]) -> tuple[tuple[str, ...], _Row] | None:
        """Return the attributes of an object that are unwritten, and the row for their UPDATE; None where a flush would do more.

        Args:
            state: Of the object.
            held: What the object holds, `state.dict`.
        """
        if state.mapper is not self._mapper:
            return None
        changed = self._folding.changed(state, held)
        row = None if changed is None else self._folding.row(state, held, changed)
        return None if changed is None or row is None else (changed, row)

    def allow(self, connection: Connection, state: InstanceState[Any]) -> None:
        """See `Folding.allow`."""
        self._folding.allow(connection, state)

    def updates(self, rows: Mapping[tuple[str, ...], Sequence[_Row]]) -> Sequence[FoldedRows] | None:
        """Return the UPDATEs; None where there are too many sets of columns, or a value that isn't carried for certain.

        Args:
            rows: Attributes -> the rows in which these are changed.
        """
        folded = []
        for names, changed in rows.items():
            update = self._update(names)
            sent = None if update is None else update.encoded(changed)
            if sent is None:
                return None
            folded.append(FoldedRows(len(changed), update, sent))
        return folded

    def _update(self, names: tuple[str, ...]) -> _Update | None:
        known = self._updates.get(names)
        if known is None and len(self._updates) < MOST_TEXTS:
            make = _EachRow if self._dialect.name == "sqlite" else _AllRows
            known = self._updates[names] = make(self._folding, self._mapper, self._dialect, names)
        return known


class _EachRow:
    """The UPDATE of one row, executed for each."""

    def __init__(self, folding: Folding, mapper: Mapper[Any], dialect: Dialect, names: tuple[str, ...]) -> None:
        self._text, order = folding.compiled(names)
        assert order is not None
        known = folding.parameters(names)
        self._places = [known.index(name) for name in order]

    def encoded(self, rows: Sequence[_Row]) -> Sequence[_Row] | None:
        return [tuple([row[place] for place in self._places]) for row in rows]

    def statement(self, rows: Sequence[_Row]) -> None:
        return None

    def send(self, connection: Connection, rows: Sequence[_Row]) -> int:
        return row_count_of_many(connection, self._text, rows)


class _AllRows:
    """One UPDATE of all the rows that it is given as a JSON array."""

    def __init__(self, folding: Folding, mapper: Mapper[Any], dialect: Dialect, names: tuple[str, ...]) -> None:
        table = mapper.local_table
        assert isinstance(table, Table)
        preparer = dialect.identifier_preparer
        keys, changed = folding.columns(names)
        quoted = [preparer.quote(column.name) for column in (*keys, *changed)]
        kinds = [str(column.type.compile(dialect)) for column in (*keys, *changed)]
        fields = [f"c{place}" for place in range(len(quoted))]
        places = Places(dialect.paramstyle)
        carried = ", ".join(f"{field} {_declared(kind)}" for field, kind in zip(fields, kinds, strict=True))
        pairs = list(zip(quoted, fields, strict=True))
        changes = ", ".join(f"{name} = uc_rows.{field}" for name, field in pairs[len(keys) :])
        same = " and ".join(f"uc_row.{name} = uc_rows.{field}" for name, field in pairs[: len(keys)])
        text = (
            f"update {preparer.format_table(table)} as uc_row set {changes} "
            f"from json_to_recordset({places('rows')}::text::json) as uc_rows({carried}) where {same}"
        )
        self._sql = DriverSql(text, places.order)
        self._fields = fields
        self._carriers = [_CARRIERS.get(kind.partition("(")[0], {}) for kind in kinds]

    def encoded(self, rows: Sequence[_Row]) -> str | None:
        fields = self._fields
        try:
            columns = [_carried(values, carrier) for values, carrier in zip(zip(*rows, strict=True), self._carriers, strict=True)]
            text = packed([dict(zip(fields, row, strict=True)) for row in zip(*columns, strict=True)])
        except (KeyError, ValueError):  # a value that isn't carried for certain, a lone surrogate
            return None
        return None if "\\u0000" in text else text

    def send(self, connection: Connection, rows: str) -> int:
        return row_count(connection, *self.statement(rows))

    def statement(self, rows: str) -> tuple[str, Any]:
        return self._sql.text, self._sql.parameters({"rows": rows})


def _carried(values: Sequence[Any], carriers: dict[type, Callable[[Any], Any] | None]) -> Sequence[Any]:
    """Return the values of one column as JSON carries them.

    Raises:
        KeyError: For a type that isn't carried for certain.
    """
    carry = {kind: carriers[kind] for kind in set(map(type, values)) if kind is not type(None)}
    if not any(carry.values()) or (carry.keys() <= _INSTANTS and all(value is None or value.tzinfo is UTC for value in values)):
        return values
    carry[type(None)] = None
    made = []
    for value in values:
        carries = carry[type(value)]
        made.append(value if carries is None else carries(value))
    return made


_Update = _EachRow | _AllRows


_INSTANTS = frozenset({datetime})
"""What JSON carries as it is where it is in UTC; an offset it would round to minutes."""


class _Carrier(dict[type, Callable[[Any], Any] | None]):
    """How values of each type get to a column of one type."""

    def __missing__(self, kind: type) -> Callable[[Any], Any]:
        # asyncpg's are of a class of its own.
        if not issubclass(kind, UUID):
            raise KeyError(kind)
        return str


_CARRIERS: dict[str, dict[type, Callable[[Any], Any] | None]] = {
    "SMALLINT": {int: None},
    "INTEGER": {int: None},
    "BIGINT": {int: None},
    "NUMERIC": {int: None, Decimal: str},
    "BOOLEAN": {bool: None},
    "VARCHAR": {str: None},
    "TEXT": {str: None},
    "UUID": _Carrier({UUID: None, str: None}),
    "DATE": {date: str},
    "TIMESTAMP WITH TIME ZONE": {datetime: str},
}
"""The types of columns that JSON carries values to as the driver would: for each type of Python's, how the value gets there; None as it is."""


def _declared(kind: str) -> str:
    # Without the length: the assignment refuses what is too long, a declaration would cut it off.
    return "text" if kind.startswith("VARCHAR") else kind
