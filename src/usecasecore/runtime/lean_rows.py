"""Loads the rows of a batch past the ORM's query, as `lean_load` does with a single one: a class that is its columns, nobody listening.

How it works. The statement is the batch's own, with the columns in the place of the class. Where it is one text, whatever the
rows, it goes to the driver; else through SQLAlchemy's core. What stands in the way of `LeanLoad` stands in the way here, and so
does anything that the session has already: then the session is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Dialect, Select
from sqlalchemy.orm import Mapper

from usecasecore import unofficial
from usecasecore.driver import CompiledSql, all_rows
from usecasecore.runtime.lean_load import LeanLoad
from usecasecore.runtime.session import CommandSession

__all__ = ["LeanRows"]


class LeanRows:
    """The rows that a SELECT of a class's columns finds, made the objects that a query of the class would return."""

    def __init__(self, mapper: Mapper[Any], statement: Select[Any], dialect: Dialect, *, one_text: bool) -> None:
        self._mapper, self._statement = mapper, statement
        self._names = [mapper.get_property_by_column(column).key for column in statement.selected_columns]
        self._keys = [mapper.get_property_by_column(column).key for column in mapper.primary_key]
        self._types = [column.type.dialect_impl(dialect) for column in statement.selected_columns]
        self._dialect = dialect
        self._compiled = CompiledSql(statement, dialect) if one_text else None
        self._received: list[tuple[str, Callable[[Any], Any]]] = []
        self._is_known = False
        self._like: Any = None

    def rows(self, session: CommandSession, parameters: Mapping[str, Any]) -> Iterable[Sequence[Any]] | None:
        """Return the rows as the driver has them, for `held`; None where the session has to be asked for the objects.

        Raises:
            StatementError: As SQLAlchemy raises it.
        """
        connection = session.held
        if any(True for _ in session) or not LeanLoad.is_unnoticed(self._mapper, session, connection):
            return None
        return self._rows(connection, parameters)

    def held(self, rows: Iterable[Sequence[Any]]) -> list[dict[str, Any]]:
        """Return the rows, attribute -> value as it is in Python.

        Raises:
            Exception: Whatever a type raises that can't hold its value.
        """
        names, made = self._names, []
        for row in rows:
            held = dict(zip(names, row, strict=True))
            for name, process in self._received:
                held[name] = process(held[name])
            made.append(held)
        return made

    def object(self, session: CommandSession, row: dict[str, Any]) -> Any:
        """Return the object of a row.

        Raises:
            InvalidRequestError: If the session has one meanwhile.
        """
        key, like = tuple([row[name] for name in self._keys]), self._like
        if like is None:
            identity = self._like = self._mapper.identity_key_from_primary_key(key)
        else:  # in such a key nothing but the row's own key differs
            identity = (like[0], key, like[2])
        return unofficial.load_instance(session, self._mapper, identity, row)

    def _rows(self, connection: Connection, parameters: Mapping[str, Any]) -> Iterable[Sequence[Any]]:
        if self._compiled is None:
            return connection.execute(self._statement, dict(parameters))
        rows, codes = all_rows(connection, self._compiled.text, self._compiled.parameters(parameters))
        if not self._is_known:
            processors = (one.result_processor(self._dialect, code) for one, code in zip(self._types, codes, strict=True))
            named = zip(self._names, processors, strict=True)
            self._received = [(name, process) for name, process in named if process is not None]
            self._is_known = True
        return rows
