"""What is used of SQLAlchemy beyond its public API, all of it; nothing of any other library.

How it works. Each function does what SQLAlchemy does in that place, less what a command doesn't need. `is_known` compares the
inner parts with those of the versions that the tests run with. Where one is not as it is known, callers take the public way, which
is slower and does the same; `usecasecore doctor` says so.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from functools import cache
from typing import Any, NoReturn

import sqlalchemy
from sqlalchemy import Connection
from sqlalchemy.orm import InstanceState, Mapper, Session
from sqlalchemy.orm.attributes import instance_state
from sqlalchemy.orm.identity import IdentityMap
from sqlalchemy.orm.instrumentation import ClassManager

__all__ = ["is_known", "is_logged", "known_versions", "load_instance", "raise_translated", "settle", "unknown_parts"]

_VERSIONS = ("2.0.", "2.1.")


@cache
def is_known() -> bool:
    """Say whether SQLAlchemy's inner parts are as this module knows them."""
    return not unknown_parts()


def unknown_parts() -> tuple[str, ...]:
    """Return what of SQLAlchemy is not as this module knows it, in words; nothing where all of it is."""
    found = [] if sqlalchemy.__version__.startswith(_VERSIONS) else [f"version {sqlalchemy.__version__}"]
    wanted = (
        (InstanceState, "_commit_all", ["self", "dict_", "instance_dict"]),
        (Connection, "_handle_dbapi_exception", ["self", "e", "statement", "parameters", "cursor", "context", "is_sub_exec"]),
        (ClassManager, "new_instance", ["self", "state"]),
        (IdentityMap, "add", ["self", "state"]),
    )
    for owner, name, parameters in wanted:
        function = getattr(owner, name, None)
        if function is None or list(inspect.signature(function).parameters) != parameters:
            found.append(f"{owner.__name__}.{name}")
    return tuple(found)


def known_versions() -> tuple[str, ...]:
    """Return how the versions of SQLAlchemy begin that the tests run with."""
    return _VERSIONS


def settle(state: InstanceState[Any], session: Session) -> None:
    """Make the object what it is after a flush: nothing about it is unwritten."""
    state._commit_all(state.dict, session.identity_map)


def load_instance(session: Session, mapper: Mapper[Any], identity: Any, values: Mapping[str, Any]) -> Any:
    """Return an object made of a row's values, as a query of the session would.

    Args:
        session: That has no object of this identity.
        mapper: Of a class that nobody listens to the loading of.
        identity: What `mapper.identity_key_from_primary_key` returns.
        values: Attribute -> value as it is in Python.
    """
    made = mapper.class_manager.new_instance()
    state = instance_state(made)
    state.key, state.session_id = identity, session.hash_key
    state.dict.update(values)
    session.identity_map.add(state)
    return made


def is_logged(connection: Connection) -> bool:
    """Say whether the connection's statements go into a log."""
    return getattr(connection, "_echo", True) is not False


def raise_translated(connection: Connection, error: BaseException, text: str, parameters: Any, cursor: Any) -> NoReturn:
    """Raise the driver's error as SQLAlchemy does: wrapped, with the engine's listeners told, and a broken connection let go."""
    # Without the text SQLAlchemy leaves what is none of the driver's errors as it is, as it does in an execution of its own.
    of_driver = isinstance(error, connection.dialect.loaded_dbapi.Error)
    connection._handle_dbapi_exception(error, text if of_driver else None, parameters, cursor, None)
