"""Do the state columns of a database hold what the lifecycles declare, and do they agree with the last audit entries?

Reads only. Rows in undeclared states and the CHECK constraints are asked of the database; for the comparison with the ledger
the rows are read in batches, because only Python knows how a key becomes the text under which the ledger has it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import CheckConstraint, Column, Connection, Table, and_, func, inspect, or_, select, type_coerce

from usecasecore.application import Application
from usecasecore.ledger import LedgerTables, ledger_tables
from usecasecore.ledger.transitions import transitions_of
from usecasecore.lifecycle import Lifecycle
from usecasecore.runtime.plan import AggregatePlan

__all__ = ["StateFinding", "state_findings"]

_BATCH = 500
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
        for plan in dict.fromkeys(AggregatePlan.of(one.aggregate) for one in application.lifecycles.values()):
            found += _of_rows(connection, tables, plan)
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


def _of_rows(connection: Connection, tables: LedgerTables, plan: AggregatePlan) -> Iterator[StateFinding]:
    """Compare each row with its last entry: the version, and the states of the lifecycles that the entry moved."""
    unaudited = 0
    for batch in _batches(connection, plan):
        last = _last_entries(connection, tables, plan, [key for key, _ in batch])
        for key, row in batch:
            entry = last.get(key)
            if entry is None:
                unaudited += 1
                continue
            for told in _differences(plan, row, entry):
                yield StateFinding(
                    "disagrees",
                    plan.name,
                    f"{plan.name} {key} {told}.",
                    "Find out who wrote past the runtime (`usecasecore audit show`), and repair the row or adopt it.",
                    1,
                )
    if unaudited:
        yield StateFinding(
            "unaudited",
            plan.name,
            f"{unaudited} row{'s' if unaudited != 1 else ''} of {plan.name} {'have' if unaudited != 1 else 'has'} no audit entry.",
            "Rows that were there before the ledger are adopted with a baseline.",
            unaudited,
        )


def _batches(connection: Connection, plan: AggregatePlan) -> Iterator[list[tuple[str, Any]]]:
    mapper = plan.mapper
    names = dict.fromkeys([*plan.keys, plan.version, *(lifecycle.column for lifecycle in plan.lifecycles)])
    statement = select(*(getattr(mapper.class_, name).label(name) for name in names))
    if mapper.polymorphic_on is not None and mapper.polymorphic_identity is not None:
        statement = statement.where(mapper.polymorphic_on == mapper.polymorphic_identity)
    with connection.execute(statement.execution_options(yield_per=_BATCH)) as found:
        for part in found.partitions():
            yield [(plan.id_of(row), row) for row in part]


def _last_entries(connection: Connection, tables: LedgerTables, plan: AggregatePlan, keys: list[str]) -> dict[str, Any]:
    entry = tables.audit
    newest = (
        select(entry.c.aggregate_id, func.max(entry.c.version).label("version"))
        .where(entry.c.aggregate == plan.name, entry.c.aggregate_id.in_(keys))
        .group_by(entry.c.aggregate_id)
        .subquery()
    )
    same = and_(entry.c.aggregate_id == newest.c.aggregate_id, entry.c.version == newest.c.version)
    statement = select(entry).join(newest, same).where(entry.c.aggregate == plan.name)
    return {row.aggregate_id: row._mapping for row in connection.execute(statement)}


def _differences(plan: AggregatePlan, row: Any, entry: Any) -> Iterator[str]:
    version = getattr(row, plan.version)
    if version != entry["version"]:
        yield f"is at version {version}, but its last audit entry is version {entry['version']}"
        return  # what another version says of the states is no disagreement
    told = {made.lifecycle: made.dest for made in transitions_of(entry)}
    if entry["trigger"] is None and entry["lifecycle"] is not None:
        told[entry["lifecycle"]] = entry["to_state"]
    for lifecycle in plan.lifecycles:
        binding = lifecycle.binding
        held = getattr(row, lifecycle.column)
        state = binding.readings.get(held) if binding is not None else None
        if lifecycle.name in told and state is not None and state != told[lifecycle.name]:
            yield f"is in {state!r}, but its last audit entry says {told[lifecycle.name]!r}"
