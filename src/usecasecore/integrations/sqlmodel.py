"""State and version columns for SQLModel, whose fields are not SQLAlchemy's `mapped_column`.

class Order(SQLModel, table=True):
id: int | None = Field(default=None, primary_key=True)
state: OrderState = state_field(OrderState)
version: int = version_field()
lifecycle: ClassVar = Lifecycle(states=OrderState, ...)
"""

from __future__ import annotations

from typing import Any

try:
    from sqlmodel import Field
except ImportError as error:
    raise ImportError('SQLModel is not installed; it comes with: pip install "usecasecore[sqlmodel]"') from error

from usecasecore.lifecycle.column_types import HeldStates, StateType, VersionType
from usecasecore.lifecycle.mapping import watch_mappers

__all__ = ["state_field", "version_field"]


def state_field(states: HeldStates = None, /, *, length: int | None = None, **options: Any) -> Any:
    """Return the field that holds an aggregate's state, as `state_column` does for a SQLAlchemy class.

    Args:
        states: The enum whose members the field holds; without one it holds strings.
        length: Of a string column; 64 by default.
        options: What SQLModel's `Field` takes besides, such as `index` or `title`.

    Raises:
        DefinitionError: If the enum's values are neither all strings nor all integers.
    """
    return Field(**{"default": None, "nullable": False, **options}, sa_type=StateType(states, length))


def version_field(**options: Any) -> Any:
    """Return the field that counts an aggregate's commits, as `version_column` does for a SQLAlchemy class.

    Args:
        options: What SQLModel's `Field` takes besides.
    """
    watch_mappers()
    return Field(**{"default": 1, "nullable": False, **options}, sa_type=VersionType)
