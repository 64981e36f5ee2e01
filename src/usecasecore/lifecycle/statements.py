"""Refuses the statements, run through a session, that would change a protected column or delete an aggregate.

How it works. What a statement sets is no public API of SQLAlchemy's, but the SQL is. Where `unofficial` does not know the inner parts, a
statement is refused if its SQL names a protected column where it may be set: more than need be, and never less.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from sqlalchemy import event
from sqlalchemy.orm import Mapper, ORMExecuteState, Session
from sqlalchemy.sql import visitors
from sqlalchemy.sql.elements import BindParameter, ColumnElement
from sqlalchemy.sql.selectable import FromClause

from usecasecore import unofficial
from usecasecore.lifecycle.escape import is_unprotected
from usecasecore.lifecycle.protection import Protected, protected_columns

__all__ = ["only_we_watch", "watch_sessions"]


def watch_sessions() -> None:
    """Look at the statements of every session from now on. Done by the first binding; safe to repeat."""
    if not event.contains(Session, "do_orm_execute", _on_execute):
        event.listen(Session, "do_orm_execute", _on_execute)


def only_we_watch(session: Session) -> bool:
    """Say whether nobody else looks at, or changes, what the session executes."""
    return all(listener is _on_execute for listener in session.dispatch.do_orm_execute)


def _on_execute(execution: ORMExecuteState) -> None:
    if is_unprotected():
        return
    outermost = _unwrapped(execution.statement)
    for statement in _writing(outermost):
        if statement is outermost:
            _refuse(execution, statement, execution.bind_mapper, _rows(execution.parameters))
        else:
            _refuse(execution, statement, None, [])


def _refuse(execution: ORMExecuteState, statement: Any, mapper: Mapper[Any] | None, parameters: list[Mapping[str, Any]]) -> None:
    tables = {_table(statement.table), *(mapper.tables if mapper is not None else ())}
    if not any(protected_columns(table) for table in tables):
        return
    sql = None if statement.is_delete or unofficial.reads_statements() else _sql(execution, statement, tables)
    if statement.is_delete:
        _refuse_row(tables, mapper, "a DELETE statement")
    elif statement.is_update:
        given = (pair for row in parameters for pair in row.items())
        written = unofficial.set_values(statement) if sql is None else _named(sql, tables)
        _refuse_values((*written, *given), tables, mapper, "an UPDATE statement")
    else:
        written = _upserts(statement) if sql is None else _named(sql.upper().partition(" UPDATE ")[2], tables)
        _refuse_values(written, tables, mapper, "an upsert")
        if unofficial.is_prefixed(statement, "REPLACE") if sql is None else "REPLACE" in sql.upper().rpartition(" INTO ")[0]:
            _refuse_row(tables, mapper, "an INSERT OR REPLACE")


def _refuse_row(tables: Iterable[Any], mapper: Mapper[Any] | None, how: str) -> None:
    every = (found for table in tables for found in protected_columns(table).values())
    states = [_own(found, mapper) for found in every if found[0].is_state]
    owner = next((each for each in states if each.observer is None), states[0] if states else None)
    if owner is not None:
        owner.refuse_deletion(how)


def _refuse_values(written: Iterable[tuple[Any, Any]], tables: Iterable[Any], mapper: Mapper[Any] | None, how: str) -> None:
    for key, value in written:
        found = _protected(key, mapper, tables)
        if found is not None:
            _own(found, mapper).refuse(how, None, value.value if isinstance(value, BindParameter) else value)


def _writing(statement: Any) -> Iterator[Any]:
    """Yield the INSERT, UPDATE and DELETE parts of a statement, those in common table expressions included."""
    if getattr(statement, "is_dml", False):
        for part in visitors.iterate(statement):
            if getattr(part, "is_dml", False):
                yield part
    elif getattr(statement, "is_select", False):
        # Walking through every query would cost more than many a query: look at what it selects from directly.
        for source in unofficial.selected_sources(statement) if unofficial.reads_statements() else visitors.iterate(statement):
            inner = getattr(source, "element", None)
            if getattr(inner, "is_dml", False):
                yield from _writing(inner)


def _unwrapped(statement: Any) -> Any:
    """Return the statement inside `select(...).from_statement(...)`."""
    inner = getattr(statement, "element", None)
    return inner if getattr(inner, "is_dml", False) else statement


def _table(table: Any) -> Any:
    while getattr(table, "element", None) is not None:
        table = table.element
    return table


def _rows(parameters: Any) -> list[Mapping[str, Any]]:
    if not parameters:
        return []
    return [parameters] if isinstance(parameters, Mapping) else list(parameters)


def _sql(execution: ORMExecuteState, statement: Any, tables: Iterable[Any]) -> str:
    """Return the statement's SQL, without what comes as parameters of the execution; what is refused in any case where it can't be made."""
    dialect = execution.session.get_bind(**execution.bind_arguments).dialect
    try:
        return " ".join(str(statement.compile(dialect=dialect, column_keys=[])).split())
    except Exception:  # noqa: BLE001 - some statements of the ORM are only compiled in an execution, and say so by any error
        return f"REPLACE INTO UPDATE {' '.join(name for table in tables for name in protected_columns(table))}"


def _named(sql: str, tables: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
    """Yield the protected columns that are named in the SQL, with no value. Those whose names are no words can't be told, and are yielded."""
    for table in tables:
        for name, found in protected_columns(table).items():
            if not name.isidentifier() or re.search(rf"(?<!\w){name}(?!\w)", sql, re.IGNORECASE):
                yield found[0].column, None


def _upserts(statement: Any) -> Iterator[tuple[Any, Any]]:
    """Yield what PostgreSQL's and SQLite's ON CONFLICT and MySQL's ON DUPLICATE KEY would set."""
    clauses = [one for one in statement.get_children() if not isinstance(one, (FromClause, ColumnElement))]
    for part in (part for clause in clauses for part in visitors.iterate(clause)):
        for name in ("update_values_to_set", "update"):
            values = getattr(part, name, None)
            if isinstance(values, (dict, list)):
                yield from values.items() if isinstance(values, dict) else values


def _protected(key: Any, mapper: Mapper[Any] | None, tables: Iterable[Any]) -> list[Protected] | None:
    """Return what protects the column that a statement calls by attribute key, by name, or by itself."""
    known: Any = mapper.columns.get(key) if isinstance(key, str) and mapper is not None else None
    column = key if known is None else known
    own: Any = getattr(column, "table", None)
    name: str = getattr(column, "name", column)
    for table in tables if own is None else (own,):
        found = protected_columns(_table(table)).get(name)
        if found is not None:
            return found
    return None


def _own(protected: list[Protected], mapper: Mapper[Any] | None) -> Protected:
    """Return the one of the class that is spoken of, where several share the table."""
    return next((each for each in protected if mapper is not None and each.cls is mapper.class_), protected[0])
