"""Loads the row of a plain mapped class by the driver, and puts the object into the session as a query would.

How it works. A query of the ORM costs more than all else that a command does in Python: it works out once more what is the same each
time. For a class that is one table, and whose loading nobody listens to, the object is its columns: the row is asked for as
text (see `driver`), each value goes through the result processor of its type, and the object is made persistent under its key.
`LeanLoad.obstacles` and `listener` name what a query does besides; where there is any the loader asks the ORM. So it
is with inheritance, relationships that load at once, `column_property`, listeners to `load`, `loaded_as_persistent`,
`do_orm_execute` or the engine's `before_execute`, mutable and composite attributes (they listen too), a translated schema, and a row that the session has already.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, Dialect, Select, Table, select
from sqlalchemy.orm import ColumnProperty, Mapper, Session

from usecasecore import unofficial
from usecasecore.driver import CompiledSelect, typed_in_text
from usecasecore.lifecycle import only_we_watch

__all__ = ["FoundRow", "LeanLoad", "plain_select"]

_LATER = (True, "select", "raise", "raise_on_sql", "noload", "dynamic", "write_only", None)
"""What a relationship's `lazy` says where it loads nothing together with the row."""


class FoundRow(NamedTuple):
    """A row that was found.

    Attributes:
        aggregate: The object; None where the session has it already, so that it must be asked.
        further: What was selected besides.
    """

    aggregate: Any
    further: Sequence[Any]


class LeanLoad:
    """A SELECT of the columns of a class, and then of others."""

    def __init__(self, mapper: Mapper[Any], statement: Select[Any], dialect: Dialect) -> None:
        self._mapper = mapper
        self._names = [prop.key for prop in _loaded(mapper)]
        self._keys = [mapper.get_property_by_column(column).key for column in mapper.primary_key]
        self._select = CompiledSelect(statement, dialect)

    @staticmethod
    def suits(mapper: Mapper[Any], dialect: Dialect) -> bool:
        """Say whether the objects of a class are the columns of a row and nothing else."""
        return not LeanLoad.obstacles(mapper) and typed_in_text(dialect) and unofficial.is_known()

    @staticmethod
    def obstacles(mapper: Mapper[Any]) -> tuple[str, ...]:
        """Return what more than the columns of a row there is to the objects of a class, in words; nothing where that is all."""
        table = mapper.local_table
        if mapper.inherits is not None or mapper.polymorphic_on is not None:
            return ("inheritance",)
        if not isinstance(table, Table) or list(mapper.tables) != [table]:
            return ("a class that is not one table",)
        other = [prop.key for prop in mapper.column_attrs if not _is_column(prop, table)]
        eager = [prop.key for prop in mapper.relationships if prop.lazy not in _LATER]
        found = [f"the column_property {key!r}" for key in other]
        return (*found, *(f"the relationship {key!r}, which loads at once" for key in eager))

    @staticmethod
    def listener(mapper: Mapper[Any], session: Session) -> str | None:
        """Return who would notice that the session didn't load an object, in words; None where nobody would."""
        if mapper.class_manager.dispatch.load:
            return "a listener to `load`, which mutable and composite attributes are too"
        if session.dispatch.loaded_as_persistent:
            return "a listener to `loaded_as_persistent`"
        return None if only_we_watch(session) else "a listener to `do_orm_execute`"

    @staticmethod
    def is_unnoticed(mapper: Mapper[Any], session: Session, connection: Connection) -> bool:
        """Say whether nobody would notice that the session didn't load an object of a class."""
        if unofficial.is_heard(connection, "before_execute", "after_execute") or LeanLoad.listener(mapper, session):
            return False
        return not connection.get_execution_options().get("schema_translate_map")

    def is_right_for(self, session: Session, connection: Connection) -> bool:
        """Say whether nobody would notice that the session didn't load it."""
        return LeanLoad.is_unnoticed(self._mapper, session, connection)

    def row(
        self, session: Session, connection: Connection, parameters: dict[str, Any], meanwhile: Callable[[], None] | None = None
    ) -> FoundRow | None:
        """Return the row; None where there is none.

        Args:
            session: For the object.
            connection: In a transaction.
            parameters: Of the statement.
            meanwhile: See `Pipeline.execute`; not called where the connection has no such way.

        Raises:
            DBAPIError: As SQLAlchemy raises it.
            Exception: Whatever a type raises that can't hold its value.
        """
        values = self._select.row(connection, parameters, meanwhile)
        if values is None:
            return None
        held = dict(zip(self._names, values, strict=False))
        identity = self._mapper.identity_key_from_primary_key(tuple([held[key] for key in self._keys]))
        known = identity in session.identity_map
        aggregate = None if known else unofficial.load_instance(session, self._mapper, identity, held)
        return FoundRow(aggregate, values[len(self._names) :])


def plain_select(mapper: Mapper[Any]) -> Select[Any]:
    """Return a SELECT of the columns that a query of a class selects."""
    statement: Any = select(*(prop.columns[0] for prop in _loaded(mapper)))
    return statement  # type: ignore[no-any-return]  # there is no type for a number of columns that isn't known


def _is_column(prop: ColumnProperty[Any], table: Table) -> bool:
    return len(prop.columns) == 1 and getattr(prop.columns[0], "table", None) is table


def _loaded(mapper: Mapper[Any]) -> list[Any]:
    return [prop for prop in mapper.column_attrs if not prop.deferred]
