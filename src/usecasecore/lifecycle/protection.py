"""Keeps state and version columns from being changed past the runtime, in every way that the ORM lets us see.

How it works: setting the attribute of an existing row is refused at once, unless the change carries the library's own
token (see `grants`). Whatever got around that is refused by the flush, which lets a changed column through only for the
value that was granted. Statements are refused when the session executes them (see `statements`). New objects, loading
and refreshing are free: a row is protected from the moment it has one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, Connection, Table, event
from sqlalchemy.orm import InstanceState, Mapper
from sqlalchemy.sql.elements import ClauseElement

from usecasecore.errors import StateWriteRefused
from usecasecore.lifecycle.column_types import StateType
from usecasecore.lifecycle.escape import is_unprotected
from usecasecore.lifecycle.grants import RuntimeToken, drop_grants, grant, is_made, listens, take_delete_grant, take_grant, write
from usecasecore.lifecycle.observer import Observer

__all__ = ["Protected", "asked_by_flush", "protect", "protected_columns"]

_KEY, _ASKED = "usecasecore.protected", "usecasecore.asked"


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Protected:
    """A column of a mapped class that only the runtime may change.

    Attributes:
        lifecycle: Name of the lifecycle that owns it.
        cls: The mapped class.
        key: The attribute.
        initial: Name of the state that a new row starts in; None for a version column.
        first: What a new row gets if nothing is set; None if the column has a default of its own.
        state_name: The state's name for what the attribute may hold; None for a version column.
        use_cases: The use cases that lead from a state to another.
        deleted_by: The use cases that delete the row.
        observer: Takes note of a change instead of refusing it; None where it is refused.
    """

    lifecycle: str
    cls: type
    key: str
    column: Column[Any]
    initial: str | None
    first: Any
    state_name: Callable[[Any], str | None] | None
    use_cases: Callable[[str | None, str | None], tuple[str, ...]]
    deleted_by: Callable[[], tuple[str, ...]]
    observer: Observer | None

    @property
    def is_state(self) -> bool:
        """Whether it is a state column."""
        return self.state_name is not None

    def name_of(self, value: Any) -> str | None:
        """Return how messages call a value, or None if it isn't known: a SQL expression, or a value not loaded."""
        if self.state_name is not None:
            return None if isinstance(value, ClauseElement) else self.state_name(value)
        return str(value) if isinstance(value, int) else None

    def is_change(self, old: Any, new: Any) -> bool:
        """Return whether the two values differ, or may differ."""
        known = self.name_of(old)
        return known is None or known != self.name_of(new)

    def refuse(self, how: str, old: Any = None, new: Any = None) -> None:
        """Refuse to change `old` to `new`, or take note of it.

        Raises:
            StateWriteRefused: Unless the lifecycle only observes.
        """
        source, dest = self.name_of(old), self.name_of(new)
        if self.observer is not None:
            dest = dest or (str(getattr(new, "value", new)) if isinstance(new, str) else None)
            self.observer.saw(lifecycle=self.lifecycle, column=self.key, what=how, source=source, dest=dest)
            return
        use_cases = self.use_cases(source, dest)
        raise StateWriteRefused(lifecycle=self.lifecycle, column=self.key, how=how, source=source, dest=dest, use_cases=use_cases)

    def refuse_deletion(self, how: str, old: Any = None) -> None:
        """Refuse to delete a row that is in the state `old`, or take note of it.

        Raises:
            StateWriteRefused: Unless the lifecycle only observes.
        """
        source = self.name_of(old)
        if self.observer is not None:
            self.observer.saw(lifecycle=self.lifecycle, column=self.key, what=how, source=source, dest="(deleted)")
            return
        use_cases = self.deleted_by() or self.use_cases(source, None)
        raise StateWriteRefused(lifecycle=self.lifecycle, column=self.key, how=how, source=source, use_cases=use_cases)


def protect(mapper: Mapper[Any], columns: Iterable[Protected]) -> None:
    """Watch these columns of a mapped class."""
    columns = tuple(columns)
    for each in columns:
        table = each.column.table
        if isinstance(table, Table):
            table.info.setdefault(_KEY, {}).setdefault(each.column.name, []).append(each)
        event.listen(getattr(mapper.class_, each.key), "set", _attribute_listener(each), raw=True, active_history=True)
        listens(mapper, each.key)
    event.listen(mapper, "before_insert", _insert_listener(columns), raw=True)
    asked = mapper.class_manager.info[_ASKED] = _update_listener(columns)
    event.listen(mapper, "before_update", asked, raw=True)
    event.listen(mapper, "before_delete", _delete_listener(columns), raw=True)
    event.listen(mapper.class_, "expire", _on_expire, raw=True)


def asked_by_flush(mapper: Mapper[Any]) -> Callable[[Mapper[Any], Connection, InstanceState[Any]], None] | None:
    """Return what listens to `before_update` to protect the columns of a class; None where nothing does."""
    found: Callable[..., None] | None = mapper.class_manager.info.get(_ASKED)
    return found


def protected_columns(table: object) -> dict[str, list[Protected]]:
    """Return the protected columns of a table by name; several for one if classes share the table."""
    found: dict[str, list[Protected]] = getattr(table, "info", {}).get(_KEY, {})
    return found


def _attribute_listener(column: Protected) -> Callable[..., None]:
    kind = column.column.type

    def on_set(state: InstanceState[Any], value: Any, old: Any, initiator: Any) -> None:
        if isinstance(initiator, RuntimeToken):
            return
        if state.key is None:
            _require_state(kind, value)
        elif is_unprotected():
            grant(state, column.key, value)
        elif column.is_change(old, value):
            column.refuse("setting the attribute", old, value)
            grant(state, column.key, value)
        else:
            _require_state(kind, value)

    return on_set


def _require_state(kind: object, value: Any) -> None:
    """Refuse at once what could not be stored anyway."""
    if value is None or isinstance(value, ClauseElement) or not isinstance(kind, StateType) or kind.lenient:
        return
    if not kind.accepts(value) and not is_unprotected():
        raise ValueError(kind.refusal(value))


def _insert_listener(columns: tuple[Protected, ...]) -> Callable[..., None]:
    observing = [column for column in columns if column.observer is not None and column.is_state]

    def before_insert(_mapper: Mapper[Any], _connection: Connection, state: InstanceState[Any]) -> None:
        for column in observing:
            held = state.dict.get(column.key)
            if held is not None and column.initial != column.name_of(held) and not is_made(state) and not is_unprotected():
                column.refuse("an insert in another state than the initial one", None, held)
        for column in columns:
            if column.first is not None and state.dict.get(column.key) is None:
                write(state.obj(), column.key, column.first)

    return before_insert


def _update_listener(columns: tuple[Protected, ...]) -> Callable[..., None]:
    def before_update(_mapper: Mapper[Any], _connection: Connection, state: InstanceState[Any]) -> None:
        for column in columns:
            # What the flush is about to write: the attributes that are in `committed_state`, with their values of now.
            if column.key not in state.committed_state:
                continue
            old, new = state.committed_state[column.key], state.dict.get(column.key)
            granted = take_grant(state, column.key, new)
            if not granted and column.is_change(old, new) and not is_unprotected():
                column.refuse("a flush", old, new)

    return before_update


def _delete_listener(columns: tuple[Protected, ...]) -> Callable[..., None]:
    states = [column for column in columns if column.is_state]
    owned = next((column for column in states if column.observer is None), states[0] if states else None)

    def before_delete(_mapper: Mapper[Any], _connection: Connection, state: InstanceState[Any]) -> None:
        if owned is not None and not take_delete_grant(state) and not is_unprotected():
            owned.refuse_deletion("deleting the row", state.dict.get(owned.key))

    return before_delete


def _on_expire(state: InstanceState[Any], keys: Iterable[str] | None) -> None:
    drop_grants(state, keys)
