"""What a use case on several aggregates loads: one slot for each."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from sqlalchemy import inspect as sa_inspect
from sqlalchemy.exc import NoInspectionAvailable
from sqlalchemy.orm import Mapper

from usecasecore.lifecycle import Lifecycle
from usecasecore.messages import Command
from usecasecore.naming import snake_case
from usecasecore.usecase import Load

__all__ = ["Slot", "aggregate_name", "lifecycle_firing", "mapper_of", "primary_key", "slots_of"]


@dataclass(frozen=True, slots=True)
class Slot:
    """One aggregate of several.

    Attributes:
        name: The field of the state class.
        aggregate: The mapped class.
        keys: Attribute of the aggregate -> field of the command, for each column of the primary key.
        missing: What a missing row means: `refuse`, `create` or `none`.
    """

    name: str
    aggregate: type
    keys: Mapping[str, str]
    missing: str


def lifecycle_firing(lifecycles: Iterable[Lifecycle], trigger: str) -> Lifecycle | None:
    """Return the one of an aggregate's lifecycles that a trigger is of; None where none has it, or several have.

    Args:
        lifecycles: Those of one mapped class.
        trigger: Its name, after the lifecycle's attribute and a dot where several have it: `shipping.cancel`.
    """
    attribute, _, name = trigger.rpartition(".")
    found = [one for one in lifecycles if name in one.triggers and attribute in ("", one.attribute)]
    return found[0] if len(found) == 1 else None


def slots_of(state: type, command: type[Command[Any]]) -> tuple[tuple[Slot, ...], list[str]]:
    """Return the slots of a state class and what is wrong with them; no slots where it isn't a state class at all."""
    problems: list[str] = []
    try:
        hints = get_type_hints(state, include_extras=True)
    except NameError as error:
        return (), [f"the types of {state.__name__} can't be read: {error}"]
    marked = {name: (hint, mark) for name, hint in hints.items() if (mark := _mark(hint)) is not None}
    if not marked:
        return (), []
    if dataclasses.is_dataclass(state) and not state.__dataclass_params__.frozen:  # type: ignore[attr-defined]
        problems.append(f"{state.__name__} is not frozen; write `@dataclass(frozen=True)`")
    if unmarked := sorted(set(hints) - set(marked)):
        problems.append(f"{state.__name__} does not say how to load {', '.join(unmarked)}; mark it with `Load(...)`")
    slots = []
    for name, (hint, mark) in marked.items():
        slot, wrong = _slot(state, name, hint, mark, command)
        problems += wrong
        if slot is not None:
            slots.append(slot)
    return tuple(slots), problems


def mapper_of(cls: Any) -> Mapper[Any] | None:
    """Return the mapper of a mapped class; None for anything else."""
    try:
        found = sa_inspect(cls)
    except NoInspectionAvailable:
        return None
    return found if isinstance(found, Mapper) else None


def aggregate_name(mapped: type) -> str:
    """Return the one name of a mapped class, in the ledger and in errors: the class at the top of its inheritance, in snake case."""
    mapper = mapper_of(mapped)
    assert mapper is not None
    return snake_case(mapper.base_mapper.class_.__name__)


def primary_key(mapper: Mapper[Any]) -> tuple[str, ...]:
    """Return the attributes of a mapped class's primary key."""
    return tuple(mapper.get_property_by_column(column).key for column in mapper.primary_key)


def _mark(hint: Any) -> Load | None:
    return next((mark for mark in getattr(hint, "__metadata__", ()) if isinstance(mark, Load)), None)


def _slot(state: type, name: str, hint: Any, mark: Load, command: type[Command[Any]]) -> tuple[Slot | None, list[str]]:
    where = f"{state.__name__}.{name}"
    aggregate = _without_none(get_args(hint)[0] if get_origin(hint) is Annotated else hint)
    mapper = mapper_of(aggregate)
    if mapper is None:
        return None, [f"{where} is a {getattr(aggregate, '__name__', aggregate)}, which is not a mapped class"]
    problems = []
    primary = primary_key(mapper)
    if set(mark.keys) != set(primary):
        wanted = ", ".join(f'{column}="..."' for column in primary)
        problems.append(
            f"{where}: `Load({', '.join(mark.keys)})` is not the primary key of {aggregate.__name__}; write `Load({wanted})`"
        )
    for field in mark.keys.values():
        if field not in command.model_fields:
            known = ", ".join(command.model_fields)
            problems.append(f"{where} is loaded by {command.__name__}.{field}, which does not exist; it has: {known}")
    if problems:
        return None, problems
    return Slot(name, aggregate, {column: mark.keys[column] for column in primary}, mark.missing), []


def _without_none(annotation: Any) -> Any:
    if get_origin(annotation) in (Union, UnionType):
        others = [one for one in get_args(annotation) if one is not NoneType]
        return others[0] if len(others) == 1 else annotation
    return annotation
