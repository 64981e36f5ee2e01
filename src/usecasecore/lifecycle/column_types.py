"""The types by which a state column and a version column are known.

They are marks as much as types: a column is ours if its type is one of these, which survives mixins, column copies,
`Table` objects and SQLModel.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Any, TypeAlias

from sqlalchemy import BigInteger, Integer, String
from sqlalchemy.engine import Dialect
from sqlalchemy.sql import operators
from sqlalchemy.types import TypeDecorator, TypeEngine

from usecasecore.errors import DefinitionError
from usecasecore.lifecycle.escape import is_unprotected
from usecasecore.lifecycle.wording import nearest

__all__ = ["HeldStates", "StateType", "VersionType"]

HeldStates: TypeAlias = "type[Enum] | Sequence[str] | None"

_LENGTH = 64
_COMPARED_AS_STATES = (
    operators.eq,
    operators.ne,
    operators.in_op,
    operators.not_in_op,
    operators.is_,
    operators.is_not,
)


class StateType(TypeDecorator[Any]):
    """Stores a state by its value and holds it as the enum member, or as the string if there is no enum.

    A row with a value that isn't declared can be loaded, it then holds that raw value. What is written or compared
    must be a member or a declared value, except inside of `unprotected(...)`, where a repair may look for others, and where
    the lifecycle only observes (`lenient`): what the application wrote so far it still may.
    """

    impl = String
    cache_ok = True

    def __init__(self, states: HeldStates = None, length: int | None = None) -> None:
        """Take the states that the attribute may hold.

        Args:
            states: An enum whose values are all strings or all integers; or strings; or None for any string.
            length: Of a string column; 64 by default, or the longest state if that is longer.

        Raises:
            DefinitionError: If the enum's values are neither all strings nor all integers.
        """
        self.lenient = False
        self.states = states if states is None or isinstance(states, type) else tuple(states)
        values = [each.value if isinstance(each, Enum) else each for each in self.states or ()]
        self.stores_integers = bool(values) and all(isinstance(value, int) for value in values)
        if not self.stores_integers and not all(isinstance(value, str) for value in values):
            raise DefinitionError(
                f"state_column({states!r}): the values must be all strings or all integers, to be stored in one column"
            )
        longest = max((len(value) for value in values if isinstance(value, str)), default=0)
        self.length = length or max(_LENGTH, longest)
        super().__init__(length=self.length)
        if self.stores_integers:
            self.impl = Integer()  # type: ignore[assignment]  # SQLAlchemy keeps the instance under the name of the class
        self._values = {value: value for value in values} | {
            each: each.value for each in self.states or () if isinstance(each, Enum)
        }
        self._held = {each.value: each for each in self.states or () if isinstance(each, Enum)}

    def __repr__(self) -> str:
        return "StateType()" if self.stores_integers else f"StateType(length={self.length})"

    def held(self, value: Any) -> Any:
        """Return what the attribute holds for a stored value; the value itself if it isn't declared."""
        return self._held.get(value, value)

    def accepts(self, value: Any) -> bool:
        """Return whether `value` is a state, as a member or as a stored value."""
        return value in self._values if self.states is not None else isinstance(value, str)

    def refusal(self, value: object) -> str:
        """Return the sentence that says why `value` isn't accepted."""
        known = [str(each) for each in self._values if not isinstance(each, Enum)]
        return f"{value!r} is not a state{nearest(getattr(value, 'value', value), known)}"

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Return the type of the column in the database."""
        return dialect.type_descriptor(Integer() if self.stores_integers else String(self.length))

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        """Return the stored form of a state.

        Raises:
            ValueError: If it is none.
        """
        if value is None:
            return None
        if self.states is not None and (known := self._values.get(value)) is not None:
            return known
        if self.accepts(value):
            return str(value.value) if isinstance(value, Enum) else value
        if self.lenient or is_unprotected():
            return value.value if isinstance(value, Enum) else value
        raise ValueError(self.refusal(value))

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        """Return the held form of a stored value."""
        return self._held.get(value, value)

    def coerce_compared_value(self, op: Any, value: Any) -> Any:
        """Let `like` and its kind take any string; a comparison takes a state."""
        return self if op in _COMPARED_AS_STATES else self.impl_instance.coerce_compared_value(op, value)


class VersionType(TypeDecorator[int]):
    """A count of commits."""

    impl = BigInteger
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Return the type of the column in the database."""
        return dialect.type_descriptor(Integer() if dialect.name == "sqlite" else BigInteger())
