"""The rows that live already, as SQL sees them: which table, which of its rows, their keys, states and versions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, FromClause, String, Table, case, cast, func, literal, or_, select, true
from sqlalchemy import type_coerce as raw
from sqlalchemy.orm import Mapper

from usecasecore.lifecycle import Lifecycle, lifecycles_of
from usecasecore.runtime.plan import AggregatePlan

__all__ = ["LiveRows", "rows_of", "undeclared_states"]


@dataclass(frozen=True, slots=True, eq=False)
class LiveRows:
    """The rows of one mapped class; of an inheritance, those of exactly this class.

    Attributes:
        lifecycle: Whose states they are in.
        aggregate: Under which the ledger knows them.
        source: The table, or the join of the tables of an inheritance.
        keys: The columns of the primary key.
        state: The stored state, as text or number.
        version: The version.
        others: Attribute -> stored state, for the further lifecycles of the class.
        own: Which rows of the source they are.
    """

    lifecycle: Lifecycle
    aggregate: str
    source: FromClause
    keys: tuple[Column[Any], ...]
    state: ColumnElement[Any]
    version: Column[int]
    others: dict[str, ColumnElement[Any]]
    own: ColumnElement[bool]

    @property
    def state_name(self) -> ColumnElement[str]:
        """The state's name, as audit entries have it; the stored value where it isn't declared."""
        names = {node.value: node.name for node in self.lifecycle.graph.states if node.resting}
        if all(name == value for value, name in names.items()):
            return self.state
        return case(
            *((self.state == value, literal(name, String)) for value, name in names.items()), else_=cast(self.state, String)
        )

    @property
    def versioned(self) -> Table:
        """The table that has the version."""
        table: Any = self.version.table
        return table  # type: ignore[no-any-return]

    def count(self, connection: Connection) -> int:
        """Return how many there are."""
        return connection.scalar(select(func.count()).select_from(self.source).where(self.own)) or 0


def rows_of(lifecycle: Lifecycle) -> tuple[LiveRows, ...]:
    """Return the rows that go through a lifecycle: those of its class, and those of each subclass with its copy of it."""
    mapper: Mapper[Any] = AggregatePlan.of(lifecycle.aggregate).mapper
    classes = [each.class_ for each in mapper.self_and_descendants] if mapper.polymorphic_on is not None else [mapper.class_]
    copies = [getattr(cls, lifecycle.attribute) for cls in classes]
    return tuple(_rows(each) for each in copies if isinstance(each, Lifecycle))


def undeclared_states(connection: Connection, rows: LiveRows) -> tuple[tuple[Any, int], ...]:
    """Return stored state -> how many rows, for states that the lifecycle doesn't declare, the most frequent first; one scan."""
    declared = [node.value for node in rows.lifecycle.graph.states if node.resting]
    odd = or_(rows.state.is_(None), rows.state.not_in(declared))
    number = func.count()
    statement = select(rows.state, number).select_from(rows.source).where(rows.own, odd).group_by(rows.state)
    return tuple((value, count) for value, count in connection.execute(statement.order_by(number.desc(), rows.state)))


def _rows(lifecycle: Lifecycle) -> LiveRows:
    plan = AggregatePlan.of(lifecycle.aggregate)
    columns: Any = plan.mapper.columns
    discriminator: Any = plan.mapper.polymorphic_on
    keys: tuple[Any, ...] = tuple(plan.mapper.primary_key)
    return LiveRows(
        lifecycle=lifecycle,
        aggregate=plan.name,
        source=plan.mapper.persist_selectable,
        keys=keys,
        state=_stored(columns[lifecycle.column]),
        version=columns[plan.version],
        others={name: _stored(columns[name]) for name in _others(lifecycle)},
        own=true() if discriminator is None else discriminator == plan.mapper.polymorphic_identity,
    )


def _others(lifecycle: Lifecycle) -> Iterator[str]:
    return (each.column for each in lifecycles_of(lifecycle.aggregate) if each.column != lifecycle.column)


def _stored(column: Column[Any]) -> ColumnElement[Any]:
    # As the database has it: an undeclared state must be looked for, too.
    return raw(column, column.type.impl_instance)  # type: ignore[attr-defined]  # a StateType
