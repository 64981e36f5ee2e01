"""The CHECK and the default that a lifecycle gives to its state column."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

from sqlalchemy import CheckConstraint, Column, ColumnDefault, Table, type_coerce
from sqlalchemy.sql.elements import conv

__all__ = ["add_check", "add_default", "has_own_default"]

_MARK, _OUR_DEFAULT = "usecasecore.states", "usecasecore.default"


def add_check(column: Column[Any], values: Iterable[Any]) -> None:
    """Let the column hold these values only, besides those that an earlier call allowed.

    Classes that share a table, by single table inheritance, so end up with one CHECK over the states of all.
    """
    table: object = column.table
    if not isinstance(table, Table):
        return
    allowed = list(dict.fromkeys(values))
    for constraint in [each for each in table.constraints if each.info.get(_MARK, (None,))[0] == column.name]:
        allowed = list(dict.fromkeys([*constraint.info[_MARK][1], *allowed]))
        table.constraints.discard(constraint)
    condition = type_coerce(column, column.type.impl_instance).in_(allowed)  # type: ignore[attr-defined]  # a StateType
    table.append_constraint(CheckConstraint(condition, name=_name(table, column), info={_MARK: (column.name, allowed)}))


def add_default(column: Column[Any], value: Any) -> None:
    """Let inserts that leave the column out store `value`, unless the column has a default."""
    if column.default is None and column.server_default is None:
        default = ColumnDefault(value)
        default.column = column
        column.default = default
        column.info[_OUR_DEFAULT] = True


def has_own_default(column: Column[Any]) -> bool:
    """Return whether the column was declared with a default."""
    return (column.default is not None or column.server_default is not None) and not column.info.get(_OUR_DEFAULT)


def _name(table: Table, column: Column[Any]) -> str:
    """Return `ck_<table>_<column>`, or what the metadata's naming convention will turn into the constraint's name."""
    conventions = cast("Mapping[object, object]", table.metadata.naming_convention)
    convention = conventions.get("ck", conventions.get(CheckConstraint))
    if isinstance(convention, str) and "%(constraint_name)s" in convention:
        return column.name
    return conv(f"ck_{table.name}_{column.name}")
