"""The columns of an aggregate: its state, and its version."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Any, TypeVar, overload

from sqlalchemy.orm import MappedColumn, mapped_column

from usecasecore.lifecycle.column_types import HeldStates, StateType, VersionType
from usecasecore.lifecycle.mapping import watch_mappers

__all__ = ["state_column", "version_column"]

_E = TypeVar("_E", bound=Enum)


@overload
def state_column(states: type[_E], /, *, length: int | None = None, **options: Any) -> MappedColumn[_E]: ...
@overload
def state_column(states: Sequence[str] | None = None, /, *, length: int | None = None, **options: Any) -> MappedColumn[str]: ...
def state_column(states: HeldStates = None, /, *, length: int | None = None, **options: Any) -> MappedColumn[Any]:
    """Return the column that holds an aggregate's state: stored by value, NOT NULL, with a CHECK named `ck_<table>_<column>`.

    It is set by the runtime. Code may set it on a new object only; on a row it is refused with `StateWriteRefused`.

    Args:
        states: The enum whose members the attribute holds; without one it holds strings.
        length: Of a string column; 64 by default.
        options: What `mapped_column` takes besides, such as `name`, `index`, `init`.

    Raises:
        DefinitionError: If the enum's values are neither all strings nor all integers.
    """
    return mapped_column(StateType(states, length), nullable=False, **options)


def version_column(**options: Any) -> MappedColumn[int]:
    """Return the column that counts the commits of an aggregate: 1 when created, one more for each command that touches it.

    It is set by the runtime only. It is not SQLAlchemy's `version_id_col`, which counts flushes.

    Args:
        options: What `mapped_column` takes besides, such as `name`, `init`.
    """
    watch_mappers()
    return mapped_column(VersionType(), **{"nullable": False, "insert_default": 1, **options})
