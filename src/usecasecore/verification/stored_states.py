"""Do the state columns of a database hold what the lifecycles declare, and do they agree with the last audit entries?

Reads only. Rows in undeclared states and the CHECK constraints are asked of the database; how rows and entries agree is what
`verify` finds.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import CheckConstraint, Column, Connection, Table, func, inspect, or_, select, type_coerce

from usecasecore.application import Application
from usecasecore.ledger import ledger_tables
from usecasecore.lifecycle import Lifecycle
from usecasecore.verification.declared import Declared
from usecasecore.verification.rows import RowCheck

__all__ = ["StateFinding", "state_findings"]

_TEXT = re.compile(r"'((?:[^']|'')*)'")
_NUMBER = re.compile(r"(?<!\w)-?\d+(?!\w)")


@dataclass(frozen=True, slots=True)
class StateFinding:
    """Something in the database that is not as declared.

    Attributes:
        kind: `table_missing`, `undeclared_state`, `check_missing`, `check_differs`, `disagrees` or `unaudited`.
        lifecycle: Name of the lifecycle; of an aggregate for the last two.
        cause: One sentence: what is true.
        cure: One sentence: what to do about it.
        rows: How many rows it is about; 0 where it is about none.
    """

    kind: str
    lifecycle: str
    cause: str
    cure: str
    rows: int = 0


def state_findings(connection: Connection, application: Application, schema: str | None = None) -> tuple[StateFinding, ...]:
    """Return what differs between the lifecycles of an application and a database with a whole ledger.

    Args:
        connection: To the database that holds the aggregates' tables and the ledger.
        application: Whose lifecycles.
        schema: Where the ledger lives; None for the connection's default.
    """
    found: list[StateFinding] = []
    for lifecycles in _by_column(application):
        found += _of_column(connection, lifecycles)
    if not any(finding.kind == "table_missing" for finding in found):
        tables = ledger_tables(schema)
        for name, plans in Declared.by(application).plans.items():
            found += _of_rows(RowCheck(connection, tables, name, plans), name)
    return tuple(found)


def _by_column(application: Application) -> list[list[Lifecycle]]:
    """Return the lifecycles, those that share a column together: a hierarchy of classes in one table."""
    found: dict[tuple[str, str], list[Lifecycle]] = {}
    for lifecycle in application.lifecycles.values():
        column = _column(lifecycle)
        found.setdefault((str(column.table), column.name), []).append(lifecycle)
    return list(found.values())


def _column(lifecycle: Lifecycle) -> Column[Any]:
    mapper: Any = inspect(lifecycle.aggregate)
    column: Column[Any] = mapper.columns[lifecycle.column]
    return column


def _of_column(connection: Connection, lifecycles: Sequence[Lifecycle]) -> Iterator[StateFinding]:
    first, column = lifecycles[0], _column(lifecycles[0])
    table: Any = column.table
    if not isinstance(table, Table):
        return
    if not inspect(connection).has_table(table.name, schema=table.schema):
        yield StateFinding("table_missing", first.name, f"There is no table {table.fullname}.", "Create it by a migration.")
        return
    declared = _declared(table, column)
    yield from _undeclared(connection, first, column, declared)
    yield from _check(connection, first, table, column, declared)


def _declared(table: Table, column: Column[Any]) -> list[Any]:
    """Return the values that the CHECK of a column allows, as declared."""
    constraint = _constraint(table, column)
    values: list[Any] = constraint.info["usecasecore.states"][1] if constraint is not None else []
    return values


def _constraint(table: Table, column: Column[Any]) -> CheckConstraint | None:
    for each in table.constraints:
        if isinstance(each, CheckConstraint) and each.info.get("usecasecore.states", (None,))[0] == column.name:
            return each
    return None


def _undeclared(
    connection: Connection, lifecycle: Lifecycle, column: Column[Any], declared: Sequence[Any]
) -> Iterator[StateFinding]:
    # As what is stored: the column's own type refuses to be compared with a state that isn't declared.
    stored = type_coerce(column, column.type.impl_instance)  # type: ignore[attr-defined]  # a StateType
    statement = (
        select(stored, func.count()).where(or_(stored.not_in(declared), stored.is_(None))).group_by(stored).order_by(stored)
    )
    for value, rows in connection.execute(statement):
        yield StateFinding(
            "undeclared_state",
            lifecycle.name,
            f"{rows} row{'s' if rows != 1 else ''} of {column.table} hold{'s' if rows == 1 else ''} {value!r} in {column.name!r}, "
            "which no lifecycle declares: no trigger is possible for them.",
            "Bring them to a declared state by a migration or under `unprotected`, or declare the state.",
            rows,
        )


def _check(
    connection: Connection, lifecycle: Lifecycle, table: Table, column: Column[Any], declared: Sequence[Any]
) -> Iterator[StateFinding]:
    constraint = _constraint(table, column)
    if constraint is None:
        return
    name = str(connection.dialect.identifier_preparer.format_constraint(constraint)).strip('"`')
    held = [one for one in inspect(connection).get_check_constraints(table.name, schema=table.schema) if one["name"] == name]
    if not held:
        yield StateFinding(
            "check_missing",
            lifecycle.name,
            f"{table.fullname} has no CHECK {name}, which keeps other states out of {column.name!r}.",
            "Add it by a migration.",
        )
        return
    there, wanted = _values(held[0]["sqltext"], declared), set(declared)
    if there != wanted:
        lacking, more = sorted(map(str, wanted - there)), sorted(map(str, there - wanted))
        parts = [f"refuses {', '.join(lacking)}" if lacking else "", f"still allows {', '.join(more)}" if more else ""]
        yield StateFinding(
            "check_differs",
            lifecycle.name,
            f"The CHECK {name} of {table.fullname} {' and '.join(filter(None, parts))}, unlike the declaration.",
            "Drop it and add it as declared, by a migration.",
        )


def _values(condition: str, declared: Sequence[Any]) -> set[Any]:
    """Return the values in the text of a CHECK, whatever form the database has given it."""
    if declared and isinstance(declared[0], int):
        return {int(number) for number in _NUMBER.findall(condition)}
    return {text.replace("''", "'") for text in _TEXT.findall(condition)}


def _of_rows(check: RowCheck, name: str) -> Iterator[StateFinding]:
    unaudited = 0
    for finding in check.findings():
        if finding.code == "row_without_entries":
            unaudited += 1
        elif finding.code != "undeclared_state":  # told by the column, with the number of rows
            yield StateFinding(
                "disagrees",
                name,
                f"{finding.sentence}.",
                "Find out who wrote past the runtime (`usecasecore audit show`), and repair the row or adopt it.",
                1,
            )
    if unaudited:
        yield StateFinding(
            "unaudited",
            name,
            f"{unaudited} row{'s' if unaudited != 1 else ''} of {name} {'have' if unaudited != 1 else 'has'} no audit entry.",
            "Rows that were there before the ledger are adopted with a baseline.",
            unaudited,
        )
