"""Refuses the statements, run through a session, that would change a protected column or delete an aggregate."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from sqlalchemy import event
from sqlalchemy.orm import Mapper, ORMExecuteState, Session
from sqlalchemy.sql import visitors
from sqlalchemy.sql.elements import BindParameter

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
            _refuse(statement, execution.bind_mapper, _rows(execution.parameters))
        else:
            _refuse(statement, None, [])


def _refuse(statement: Any, mapper: Mapper[Any] | None, parameters: list[Mapping[str, Any]]) -> None:
    tables = {_table(statement.table), *(mapper.tables if mapper is not None else ())}
    if not any(protected_columns(table) for table in tables):
        return
    if statement.is_delete:
        _refuse_row(tables, mapper, "a DELETE statement")
    elif statement.is_update:
        _refuse_values(_updates(statement, parameters), tables, mapper, "an UPDATE statement")
    else:
        _refuse_values(_upserts(statement), tables, mapper, "an upsert")
        if _replaces(statement):
            _refuse_row(tables, mapper, "an INSERT OR REPLACE")


def _refuse_row(tables: Iterable[Any], mapper: Mapper[Any] | None, how: str) -> None:
    every = (found for table in tables for found in protected_columns(table).values())
    states = [_own(found, mapper) for found in every if found[0].is_state]
    owner = next((each for each in states if each.observer is None), states[0] if states else None)
    if owner is not None:
        owner.refuse_deletion(how)


def _refuse_values(written: Iterator[tuple[Any, Any]], tables: Iterable[Any], mapper: Mapper[Any] | None, how: str) -> None:
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
        for source in _sources(statement):
            inner = getattr(source, "element", None)
            if getattr(inner, "is_dml", False):
                yield from _writing(inner)


def _sources(select: Any) -> Iterator[Any]:
    yield from getattr(select, "_independent_ctes", ())
    for element in (*getattr(select, "_raw_columns", ()), *getattr(select, "_from_obj", ())):
        yield element
        yield getattr(element, "table", None)


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


def _updates(statement: Any, parameters: Iterable[Mapping[str, Any]]) -> Iterator[tuple[Any, Any]]:
    yield from (statement._values or {}).items()
    yield from getattr(statement, "_ordered_values", None) or ()
    for row in parameters:
        yield from row.items()


def _upserts(statement: Any) -> Iterator[tuple[Any, Any]]:
    """Yield what PostgreSQL's and SQLite's ON CONFLICT and MySQL's ON DUPLICATE KEY would set."""
    clause = getattr(statement, "_post_values_clause", None)
    for part in visitors.iterate(clause) if clause is not None else ():
        for name in ("update_values_to_set", "update"):
            values = getattr(part, name, None)
            if isinstance(values, (dict, list)):
                yield from values.items() if isinstance(values, dict) else values


def _replaces(statement: Any) -> bool:
    return any("REPLACE" in str(prefix).upper() for prefix, _ in getattr(statement, "_prefixes", ()))


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
