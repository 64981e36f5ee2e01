"""How the library itself writes protected attributes: each write leaves a grant, which the flush asks for and takes.

Where nobody but our own protection listens to the attribute, SQLAlchemy isn't asked to tell it of a change that it would let pass.

A grant is kept on the instance's SQLAlchemy state, so it goes with the instance, and only for rows that exist: an
insert needs none.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy.orm import InstanceState, Mapper
from sqlalchemy.orm.attributes import OP_REPLACE, AttributeEventToken, instance_dict, instance_state, set_attribute

from usecasecore import unofficial

__all__ = [
    "RuntimeToken",
    "drop_grants",
    "grant",
    "grant_delete",
    "is_made",
    "listens",
    "set_version",
    "take_delete_grant",
    "take_grant",
    "write",
]

_WRITES, _DELETE, _MADE, _HEARD = "usecasecore.writes", "usecasecore.delete", "usecasecore.made", "usecasecore.heard"
_NOTHING = object()


class RuntimeToken(AttributeEventToken):
    """Marks a change of an attribute as made by the library."""

    __slots__ = ()


def write(aggregate: object, key: str, value: Any) -> None:
    """Set a protected attribute; also works on an object that isn't mapped, which then is simply set."""
    try:
        state = instance_state(aggregate)
    except AttributeError:
        setattr(aggregate, key, value)
        return
    manager = state.manager
    if (
        (_HEARD, key) not in manager.info
        or not unofficial.is_known()
        or not unofficial.replace_value(state, instance_dict(aggregate), manager[key].impl, value)
    ):
        set_attribute(aggregate, key, value, _token(state, key))
    if state.key is not None:
        grant(state, key, value)
    else:
        state.info[_MADE] = True


def listens(mapper: Mapper[Any], key: str) -> None:
    """Take note that our own protection is told when an attribute is set."""
    mapper.class_manager.info[_HEARD, key] = True


def _token(state: InstanceState[Any], key: str) -> RuntimeToken:
    """Return the mark of a class's attribute, of which one will do: it knows nothing of the change."""
    attribute = state.manager[key].impl
    known: RuntimeToken | None = state.manager.info.get((_WRITES, key))
    if known is None or known.impl is not attribute:
        known = state.manager.info[_WRITES, key] = RuntimeToken(attribute, OP_REPLACE)
    return known


def set_version(aggregate: object, key: str, value: int) -> None:
    """Set the version attribute `key` of an aggregate, which only the runtime may."""
    write(aggregate, key, value)


def grant(state: InstanceState[Any], key: str, value: Any) -> None:
    """Let the next flush write this value."""
    state.info[_WRITES, key] = value


def take_grant(state: InstanceState[Any], key: str, value: Any) -> bool:
    """Return whether this value may be written, and use the grant up."""
    return bool(state.info.pop((_WRITES, key), _NOTHING) == value)


def drop_grants(state: InstanceState[Any], keys: Iterable[str] | None) -> None:
    """Forget what was granted for these attributes, or for all if None: they were expired, so the values are gone."""
    if keys is None:
        state.info.pop(_DELETE, None)
        keys = list(state.manager)
    for key in keys:
        state.info.pop((_WRITES, key), None)


def grant_delete(aggregate: object) -> None:
    """Let the next flush delete the row of this aggregate."""
    instance_state(aggregate).info[_DELETE] = True


def is_made(state: InstanceState[Any]) -> bool:
    """Return whether the library has put the object, which has no row yet, into its state."""
    return _MADE in state.info


def take_delete_grant(state: InstanceState[Any]) -> bool:
    """Return whether the row may be deleted, and use the grant up."""
    return bool(state.info.pop(_DELETE, False))
