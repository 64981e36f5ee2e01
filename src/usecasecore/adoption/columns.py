"""What the live table's columns lack: the state column, the version column, and the CHECK over the states."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import CheckConstraint, Column, Connection, Enum, Integer, String, Table, inspect
from sqlalchemy.engine.interfaces import ReflectedColumn
from sqlalchemy.types import TypeEngine

from usecasecore.adoption.rows import LiveRows
from usecasecore.lifecycle import StateType

__all__ = ["Finding", "Lack", "column_findings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is missing.

    Attributes:
        lack: What kind of thing: `table`, `column`, `type`, `null`, `check` or `other check`.
        table: Name of the table.
        schema: Its schema; None for the connection's default.
        column: Name of the column.
        sentence: What is missing, for people.
        existing: The type that the live column has; None where there is no column.
        wanted: The type that it should have.
        value: What existing rows get, as the column stores it; None where nothing has to be filled in.
        check: Name and condition of the CHECK.
    """

    lack: str
    table: str
    schema: str | None
    column: str
    sentence: str
    existing: TypeEngine[Any] | None = None
    wanted: TypeEngine[Any]
    value: Any = None
    check: tuple[str, str] | None = None


Lack = ("table", "column", "type", "null", "check", "other check")


def column_findings(connection: Connection, rows: LiveRows) -> tuple[Finding, ...]:
    """Return what is missing, in the order in which it is to be brought up. Looks at the live table; reads no row."""
    lifecycle = rows.lifecycle
    state, version = _mapped(lifecycle.aggregate, lifecycle.column), rows.version
    first = lifecycle.graph.state(lifecycle.initial).value
    found = [*_of_column(connection, state, first), *_of_column(connection, version, 1)]
    if not any(each.lack == "table" for each in found):
        found += _of_check(connection, state)
    return tuple(sorted(found, key=lambda each: Lack.index(each.lack)))


def _mapped(cls: Any, key: str) -> Column[Any]:
    column: Column[Any] = inspect(cls).columns[key]
    return column


def _of_column(connection: Connection, column: Column[Any], value: Any) -> Iterator[Finding]:
    table: Any = column.table
    wanted = column.type.dialect_impl(connection.dialect).load_dialect_impl(connection.dialect)  # type: ignore[attr-defined]  # ours
    facts: dict[str, Any] = {"table": table.name, "schema": table.schema, "column": column.name, "wanted": wanted, "value": value}
    where = f"{table.fullname}.{column.name}"
    inspector = inspect(connection)
    if not inspector.has_table(table.name, schema=table.schema):
        yield Finding(lack="table", sentence=f"there is no table {table.fullname}", **facts)
        return
    live = next((each for each in inspector.get_columns(table.name, schema=table.schema) if each["name"] == column.name), None)
    if live is None:
        yield Finding(lack="column", sentence=f"there is no column {where}", **facts)
        return
    facts["existing"] = live["type"]
    if misfit := _misfit(live, wanted, column):
        yield Finding(lack="type", sentence=f"{where} is {misfit}", **facts)
    if live["nullable"]:
        yield Finding(lack="null", sentence=f"{where} may be NULL", **facts)


def _misfit(live: ReflectedColumn, wanted: TypeEngine[Any], column: Column[Any]) -> str | None:
    kind = live["type"]
    if isinstance(wanted, Integer):
        return None if isinstance(kind, Integer) else f"a {kind}, not a number"
    if isinstance(kind, Enum):
        return f"of the type {kind.name}, not a text"
    if not isinstance(kind, String):
        return f"a {kind}, not a text"
    assert isinstance(column.type, StateType)
    longest = max((len(str(value)) for value in _declared(column)), default=0)
    return f"a {kind}, too short for the longest state" if kind.length is not None and kind.length < longest else None


def _of_check(connection: Connection, column: Column[Any]) -> Iterator[Finding]:
    table: Any = column.table
    ours = _check(column)
    if ours is None:
        return
    dialect = connection.dialect
    name = dialect.identifier_preparer.format_constraint(ours) or ""
    plain = name.strip('"')
    condition = dialect.ddl_compiler(dialect, None).sql_compiler.process(ours.sqltext, include_table=False, literal_binds=True)  # type: ignore[arg-type]  # as SQLAlchemy does it
    facts: dict[str, Any] = {
        "table": table.name,
        "schema": table.schema,
        "column": column.name,
        "wanted": column.type,
        "check": (plain, condition),
    }
    live = {each["name"]: each["sqltext"] for each in inspect(connection).get_check_constraints(table.name, schema=table.schema)}
    if plain not in live:
        yield Finding(
            lack="check", sentence=f"there is no CHECK {plain} over the states in {table.fullname}.{column.name}", **facts
        )
    elif _literals(live[plain]) != _literals(condition):
        sentence = (
            f"the CHECK {plain} lists {', '.join(_literals(live[plain]))}; the states are {', '.join(_literals(condition))}"
        )
        yield Finding(lack="other check", sentence=sentence, **facts)


def _check(column: Column[Any]) -> CheckConstraint | None:
    table: object = column.table
    constraints = table.constraints if isinstance(table, Table) else ()
    own = (each for each in constraints if each.info.get("usecasecore.states", (None,))[0] == column.name)
    return next((each for each in own if isinstance(each, CheckConstraint)), None)


def _declared(column: Column[Any]) -> list[Any]:
    check = _check(column)
    return [] if check is None else list(check.info["usecasecore.states"][1])


def _literals(condition: str) -> list[str]:
    """Return the values in a condition, however the database has rewritten it: texts, else numbers; sorted."""
    texts = re.findall(r"'((?:[^']|'')*)'", condition)
    return sorted(set(texts or re.findall(r"(?<![\w.])-?\d+", condition)))
