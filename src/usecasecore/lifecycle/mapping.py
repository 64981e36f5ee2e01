"""Binds lifecycles when classes are mapped: the one listener for SQLAlchemy's mapper event."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, Self

from sqlalchemy import Column, event
from sqlalchemy.orm import Mapper

from usecasecore.lifecycle.binding import Binding, version_keys
from usecasecore.lifecycle.column_types import StateType
from usecasecore.lifecycle.constraint import add_check, add_default, has_own_default
from usecasecore.lifecycle.protection import Protected, protect
from usecasecore.lifecycle.statements import watch_sessions
from usecasecore.naming import snake_case

__all__ = ["Bindable", "bindables_of", "watch_mappers"]


class Bindable(ABC):
    """What this module knows of a lifecycle.

    Attributes:
        binding: What was settled for the mapped class; None before.
    """

    binding: Binding | None

    @abstractmethod
    def bound_to(self, mapper: Mapper[Any], attribute: str, found_on: type) -> Self:
        """Return a copy for a class that has just been mapped, and on which it was found as this attribute."""

    @property
    @abstractmethod
    def deleted_by(self) -> tuple[str, ...]:
        """The use cases that delete the aggregate."""

    @abstractmethod
    def use_cases_between(self, source: str | None, dest: str | None) -> tuple[str, ...]:
        """Return the use cases that lead from one state to another; None stands for any state."""


def watch_mappers() -> None:
    """Bind lifecycles from now on, whenever a class is mapped. Done by the first declaration; safe to repeat."""
    if not event.contains(Mapper, "after_mapper_constructed", _on_mapped):
        event.listen(Mapper, "after_mapper_constructed", _on_mapped)


def bindables_of(cls: type) -> Iterator[tuple[str, Bindable, type]]:
    """Yield attribute, lifecycle and the class that has it, as attribute access finds them; those of bases come first."""
    names = dict.fromkeys(name for base in reversed(cls.__mro__) for name in vars(base))
    for name in names:
        base = next(base for base in cls.__mro__ if name in vars(base))
        found = vars(base)[name]
        if isinstance(found, Bindable):
            yield name, found, base


def _on_mapped(mapper: Mapper[Any], cls: type) -> None:
    columns: list[Protected] = []
    versioned: list[Bindable] = []
    for attribute, lifecycle, found_on in list(bindables_of(cls)):
        bound = lifecycle.bound_to(mapper, attribute, found_on)
        setattr(cls, attribute, bound)
        versioned.append(bound)
        columns += _settled(bound, mapper)
    columns += _hidden(mapper, {column.key for column in columns})
    columns += [_version(mapper, key, versioned) for key in version_keys(mapper)]
    if columns:
        protect(mapper, columns)
        watch_sessions()


def _settled(lifecycle: Bindable, mapper: Mapper[Any]) -> Iterator[Protected]:
    """Give the state column, if it is ours, its CHECK and its default."""
    bound = lifecycle.binding
    assert bound is not None
    column: Column[Any] | None = mapper.columns.get(bound.column)
    if column is None or not isinstance(column.type, StateType):
        return
    if bound.observer is not None:
        column.type.lenient = True
    add_check(column, [node.value for node in bound.graph.states if node.resting])
    add_default(column, bound.graph.state(bound.initial).value)
    yield Protected(
        lifecycle=bound.name,
        cls=mapper.class_,
        key=bound.column,
        column=column,
        initial=bound.initial,
        first=None if has_own_default(column) else bound.held[bound.initial],
        state_name=bound.readings.get,
        use_cases=lifecycle.use_cases_between,
        deleted_by=lambda: lifecycle.deleted_by,
        observer=bound.observer,
    )


def _hidden(mapper: Mapper[Any], own: set[str]) -> Iterator[Protected]:
    """Yield the state columns whose lifecycle a subclass has hidden: its rows are protected all the same."""
    for base in mapper.iterate_to_root():
        for _, lifecycle, home in bindables_of(base.class_) if base is not mapper else ():
            if lifecycle.binding is not None and home is base.class_ and lifecycle.binding.column not in own:
                own.add(lifecycle.binding.column)
                yield from _settled(lifecycle, mapper)


def _version(mapper: Mapper[Any], key: str, lifecycles: list[Bindable]) -> Protected:
    def use_cases(_source: str | None, _dest: str | None) -> tuple[str, ...]:
        every = (name for lifecycle in lifecycles for name in lifecycle.use_cases_between(None, None))
        return tuple(dict.fromkeys(every))

    observers = [lifecycle.binding.observer for lifecycle in lifecycles if lifecycle.binding is not None]
    names = [lifecycle.binding.name for lifecycle in lifecycles if lifecycle.binding is not None]
    return Protected(
        lifecycle=names[0] if names else snake_case(mapper.class_.__name__),
        cls=mapper.class_,
        key=key,
        column=mapper.columns[key],
        initial=None,
        first=1,
        state_name=None,
        use_cases=use_cases,
        deleted_by=lambda: (),
        # One lifecycle that enforces is enough: the version is that of all.
        observer=observers[0] if observers and None not in observers else None,
    )
