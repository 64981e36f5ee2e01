"""Folds the UPDATE of the locked aggregate into the ledger's write: one round trip and one unit of work less.

How it works. Where a command changed nothing but plain columns of the one row that it has locked, the flush would send a single
UPDATE by the primary key. Then the same UPDATE is made once as text, its values go through the same bind processors, and the
store sends it along. What the flush would do besides is done here: the listener that protects states and versions is called, and
afterwards the object is what it is after a flush. In every other case `Folding.fold` returns None, and the session flushes:
anything new, deleted or dirty besides, relationships, SQL expressions, a changed key, values that don't fit, inheritance,
`version_id_col`, columns that the database or an `onupdate` fills, listeners of the user's on the mapper or the session, an
open savepoint, a translated schema. Each set of changed columns is a text of its own, and a database plans the text of a large
statement for longer than a small one: beyond `MOST_TEXTS` sets for a use case the session flushes.

What the object becomes without a flush is none of SQLAlchemy's public API (see `unofficial`): where that is not known, nothing is folded.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from datetime import datetime
from enum import Enum
from typing import Any, NamedTuple, TypeAlias
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, Dialect, Table, bindparam, update
from sqlalchemy.orm import ColumnProperty, InstanceState, Mapper, Session
from sqlalchemy.orm.attributes import instance_state
from sqlalchemy.sql.elements import ClauseElement
from sqlalchemy.types import TypeDecorator, TypeEngine

from usecasecore import unofficial
from usecasecore.driver import typed_in_text
from usecasecore.ledger.row_update import RowUpdate
from usecasecore.lifecycle.protection import asked_by_flush

__all__ = ["MOST_TEXTS", "Folded", "Folding"]

MOST_TEXTS = 4

_Text: TypeAlias = tuple[str, tuple[str, ...] | None, list[str]]
"""An UPDATE, the order of its parameters, and their names in the order of `Folding.row`."""


class Folded(NamedTuple):
    """An UPDATE that the session need not flush any more.

    Attributes:
        update: For the ledger's statement.
        state: Of the object that it writes.
        session: That has the object.
    """

    update: RowUpdate
    state: InstanceState[Any]
    session: Session

    def settle(self) -> None:
        """Make the object what it is after a flush, when the UPDATE was sent: nothing about it is unwritten."""
        unofficial.settle(self.state, self.session)


class Folding:
    """What is known of a mapped class whose UPDATE can be folded."""

    def __init__(self, mapper: Mapper[Any], dialect: Dialect) -> None:
        self._mapper, self._dialect = mapper, dialect
        self._asked = asked_by_flush(mapper)
        self._keys = tuple(mapper.primary_key)
        columns = {prop.key: prop.columns[0] for prop in mapper.column_attrs}
        self._settable: dict[str, Any] = {key: column for key, column in columns.items() if not column.primary_key}
        self._processors: dict[Any, Any] = {
            column: column.type.dialect_impl(dialect).bind_processor(dialect) for column in mapper.columns
        }
        self._is_equal = {key: _comparison(column, mapper.class_manager[key].impl) for key, column in self._settable.items()}
        self._plain: set[type] = set(_VALUES)
        self._orders: dict[tuple[str, ...], tuple[str, ...]] = {}
        self._sent_of: dict[tuple[str, ...], list[tuple[int, Any]]] = {}
        self._texts: dict[tuple[str, ...], _Text] = {}

    @classmethod
    def of(cls, mapper: Mapper[Any], dialect: Dialect) -> Folding | None:
        """Return what is known of a class; None where its UPDATE is never folded."""
        return None if cls.obstacles(mapper) or not unofficial.is_known() or not typed_in_text(dialect) else cls(mapper, dialect)

    @staticmethod
    def obstacles(mapper: Mapper[Any]) -> tuple[str, ...]:
        """Return why the UPDATE of a class is more than its changed columns of one table, in words; nothing where it is not."""
        table = mapper.local_table
        if mapper.inherits is not None:
            return ("inheritance",)
        if not isinstance(table, Table) or list(mapper.tables) != [table]:
            return ("a class that is not one table",)
        found = ["`version_id_col`"] if mapper.version_id_col is not None else []
        found += ["a primary key that is not the table's"] if set(mapper.primary_key) != set(table.primary_key) else []
        found += [f"the column_property {prop.key!r}" for prop in mapper.column_attrs if not _is_column(prop, table)]
        found += [f"`onupdate` of the column {column.name!r}" for column in table.columns if column.onupdate]
        filled = [column.name for column in table.columns if column.server_onupdate or column.computed is not None]
        return (*found, *(f"the column {name!r}, which the database fills" for name in filled))

    @staticmethod
    def listener(mapper: Mapper[Any], session: Session) -> str | None:
        """Return who listens to a flush, in words; None where only we do, to protect states and versions."""
        listeners, events = mapper.dispatch, session.dispatch
        if len(listeners.before_update) != 1:
            return "a listener to `before_update`"
        if listeners.after_update:
            return "a listener to `after_update`"
        if events.before_flush or events.after_flush or events.after_flush_postexec:
            return "a listener to the session's flush"
        return None

    def fold(self, session: Session, connection: Connection, aggregate: Any) -> Folded | None:
        """Return the UPDATE that the session's flush would send; None where the flush would do anything else.

        Raises:
            StateWriteRefused: If a protected column was changed past the runtime.
        """
        state: InstanceState[Any] = instance_state(aggregate)
        if not unofficial.alone_unwritten(session, state) or not self._is_unnoticed(session, connection):
            return None
        changed = self.changed(state, state.dict)
        known = None if changed is None else self._text(changed)
        row = None if changed is None or known is None else self.row(state, state.dict, changed)
        if changed is None or known is None or row is None:
            return None
        text, order, parameters = known
        sent = RowUpdate(text, order, dict(zip(parameters, row, strict=True)))
        # The last thing, because it uses up what the runtime granted: after it nothing may fall back to the flush.
        self.allow(connection, state)
        return Folded(sent, state, session)

    def allow(self, connection: Connection, state: InstanceState[Any]) -> None:
        """Ask whoever protects the columns, as the flush does; that uses up what the runtime granted. Nobody else listens: see `listener`.

        Raises:
            StateWriteRefused: If a protected column was changed past the runtime.
        """
        # SQLAlchemy need not be asked to tell the one listener there is.
        (self._asked or self._mapper.dispatch.before_update)(self._mapper, connection, state)

    def changed(self, state: InstanceState[Any], held: Mapping[str, Any]) -> tuple[str, ...] | None:
        """Return the attributes that a flush would write of an object that is unwritten; None where it would do more, or nothing.

        Args:
            state: Of the object.
            held: What the object holds, `state.dict`.
        """
        if unofficial.has_pending(state):
            return None
        comparisons, plain, changed = self._is_equal, self._plain, []
        for key, before in state.committed_state.items():
            is_equal, value = comparisons.get(key), held.get(key)
            if is_equal is None or (type(value) not in plain and self._may_be_expression(value)):
                return None
            if is_equal(value, before) is not True:
                changed.append(key)
        found = tuple(changed)
        # In the order of the columns, whatever the order in which they were set.
        known = self._orders.get(found)
        if known is None:
            known = self._orders[found] = tuple([key for key in self._settable if key in changed])
        return known or None

    def row(self, state: InstanceState[Any], held: Mapping[str, Any], names: tuple[str, ...]) -> tuple[Any, ...] | None:
        """Return the values of the primary key, and then of these attributes, as the driver takes them; None where one doesn't fit."""
        if state.key is None:
            return None
        try:
            values = [*state.key[1], *[held[name] for name in names]]
            for place, process in self._sent_as(names):
                values[place] = process(values[place])
            return tuple(values)
        except Exception:  # noqa: BLE001 - the flush fails over the same value, in the way that is known
            return None

    def columns(self, names: tuple[str, ...]) -> tuple[list[Any], list[Any]]:
        """Return the columns of the primary key, and of these attributes."""
        return list(self._keys), [self._settable[name] for name in names]

    def parameters(self, names: tuple[str, ...]) -> list[str]:
        """Return the names of the UPDATE's parameters, in the order of `row`."""
        return [*(f"{_KEY}{place}" for place in range(len(self._keys))), *(f"{_SET}{place}" for place in range(len(names)))]

    def compiled(self, names: tuple[str, ...]) -> tuple[str, tuple[str, ...] | None]:
        """Return the UPDATE of one row as text, and the order of its parameters; None where the driver takes them by name."""
        table = self._mapper.local_table
        assert isinstance(table, Table)
        same_row = [column == bindparam(f"{_KEY}{place}", type_=column.type) for place, column in enumerate(self._keys)]
        changed = {
            self._settable[name].name: bindparam(f"{_SET}{place}", type_=self._settable[name].type)
            for place, name in enumerate(names)
        }
        compiled: Any = update(table).where(*same_row).values(changed).compile(dialect=self._dialect)
        order = None if compiled.positiontup is None else tuple(compiled.positiontup)
        return compiled.string, order

    def _sent_as(self, names: tuple[str, ...]) -> list[tuple[int, Any]]:
        """Return what the driver doesn't take as it is: places in the row, and what makes it something that the driver takes."""
        known = self._sent_of.get(names)
        if known is None:
            keys, changed = self.columns(names)
            processes = [self._processors[column] for column in (*keys, *changed)]
            known = self._sent_of[names] = [(place, process) for place, process in enumerate(processes) if process is not None]
        return known

    def _may_be_expression(self, value: Any) -> bool:
        if _is_expression(value):
            return True
        if isinstance(value, Enum):  # of these there are few, and what one member isn't, none is
            self._plain.add(type(value))
        return False

    def _is_unnoticed(self, session: Session, connection: Connection) -> bool:
        alone = not session.in_nested_transaction() and Folding.listener(self._mapper, session) is None
        return alone and not connection.get_execution_options().get("schema_translate_map")

    def _text(self, names: tuple[str, ...]) -> _Text | None:
        known = self._texts.get(names)
        if known is None and len(self._texts) < MOST_TEXTS:
            known = self._texts[names] = (*self.compiled(names), self.parameters(names))
        return known


_SET, _KEY = "uc_set_", "uc_row_"
_VALUES = frozenset({type(None), bool, int, float, str, bytes, datetime, UUID})
"""Types that are no SQL expressions; others are asked."""


def _comparison(column: ColumnElement[Any], attribute: Any) -> Callable[[Any, Any], Any]:
    """Return how the flush compares a column's values; where its type compares by `==`, that itself."""
    kind: Any = column.type
    if attribute.is_equal != kind.compare_values:
        found: Callable[[Any, Any], Any] = attribute.is_equal
        return found
    while isinstance(kind, TypeDecorator) and type(kind).compare_values is TypeDecorator.compare_values:
        kind = kind.impl_instance
    return operator.eq if type(kind).compare_values is TypeEngine.compare_values else attribute.is_equal


def _is_expression(value: Any) -> bool:
    return isinstance(value, ClauseElement) or hasattr(value, "__clause_element__")


def _is_column(prop: ColumnProperty[Any], table: Table) -> bool:
    return len(prop.columns) == 1 and getattr(prop.columns[0], "table", None) is table
