"""What is used of SQLAlchemy and psycopg beyond their documented API, all of it; nothing of any other library.

How it works. Each function does what SQLAlchemy does in that place, less what a command doesn't need. `is_known` compares the
inner parts with those of the versions that the tests run with, and `unknown_parts_of_psycopg` psycopg's, which `pipeline` builds on.
Where one is not as it is known, callers take the public way, which is slower and does the same; `usecasecore doctor` says so.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any, NamedTuple, NoReturn

import sqlalchemy
from sqlalchemy import Connection, Engine, RootTransaction
from sqlalchemy.orm import InstanceState, Mapper, Session, attributes
from sqlalchemy.orm.attributes import instance_state
from sqlalchemy.orm.identity import IdentityMap
from sqlalchemy.orm.instrumentation import ClassManager

__all__ = [
    "PsycopgParts",
    "alone_unwritten",
    "has_pending",
    "is_heard",
    "is_known",
    "is_logged",
    "is_prefixed",
    "known_versions",
    "known_versions_of_psycopg",
    "load_instance",
    "marked",
    "psycopg_parts",
    "raise_translated",
    "reads_statements",
    "replace_value",
    "selected_sources",
    "set_values",
    "settle",
    "take_for_ended",
    "takes_no_part",
    "unknown_parts",
    "unknown_parts_of_greenlets",
    "unknown_parts_of_psycopg",
]

_VERSIONS = ("2.0.", "2.1.")
_PSYCOPG_VERSIONS = ("3.2.", "3.3.")


@cache
def is_known() -> bool:
    """Say whether SQLAlchemy's inner parts are as this module knows them."""
    return not unknown_parts()


def unknown_parts() -> tuple[str, ...]:
    """Return what of SQLAlchemy is not as this module knows it, in words; nothing where all of it is."""
    found = [] if sqlalchemy.__version__.startswith(_VERSIONS) else [f"version {sqlalchemy.__version__}"]
    wanted = (
        (InstanceState, "_commit_all", ["self", "dict_", "instance_dict"]),
        (InstanceState, "_modified_event", ["self", "dict_", "attr", "previous", "collection", "is_userland"]),
        (Connection, "_handle_dbapi_exception", ["self", "e", "statement", "parameters", "cursor", "context", "is_sub_exec"]),
        (ClassManager, "new_instance", ["self", "state"]),
        (IdentityMap, "add", ["self", "state"]),
    )
    for owner, name, parameters in wanted:
        function = getattr(owner, name, None)
        if function is None or list(inspect.signature(function).parameters) != parameters:
            found.append(f"{owner.__name__}.{name}")
    found += [f"{owner.__name__}._has_events" for owner in (Connection, Engine) if not hasattr(owner, "_has_events")]
    found += ["RootTransaction.is_active"] if "is_active" not in getattr(RootTransaction, "__slots__", ()) else []
    found += [f"InstanceState.{name}" for name in _OF_STATE if not hasattr(InstanceState, name)]
    session = Session()
    found += [f"Session.{name}" for name in ("_new", "_deleted") if not isinstance(getattr(session, name, None), dict)]
    found += ["SessionTransaction._connections"] if not isinstance(getattr(session.begin(), "_connections", None), dict) else []
    session.close()
    found += ["IdentityMap._modified"] if not isinstance(getattr(session.identity_map, "_modified", None), set) else []
    found += _unknown_of_statements()
    return tuple(found if _SCALAR is not None else [*found, "ScalarAttributeImpl"])


@cache
def reads_statements() -> bool:
    """Say whether what statements hold is found where this module looks; that can be tried, whatever the version."""
    return not _unknown_of_statements()


def _unknown_of_statements() -> tuple[str, ...]:
    one, other = sqlalchemy.table("one", sqlalchemy.column("a")), sqlalchemy.table("other", sqlalchemy.column("b"))
    cte = sqlalchemy.update(one).values(a=1).cte()
    cases: tuple[tuple[str, Callable[[], bool]], ...] = (
        ("Update.values", lambda: [key for key, _ in set_values(sqlalchemy.update(one).values({"a": 1}))] == ["a"]),
        (
            "Update.ordered_values",
            lambda: [key for key, _ in set_values(sqlalchemy.update(one).ordered_values(("a", 1)))] == ["a"],
        ),
        ("Insert.prefix_with", lambda: is_prefixed(sqlalchemy.insert(one).prefix_with("OR REPLACE"), "REPLACE")),
        ("Select.columns", lambda: any(each is one for each in selected_sources(sqlalchemy.select(one.c.a)))),
        (
            "Select.select_from",
            lambda: any(each is other for each in selected_sources(sqlalchemy.select(one.c.a).select_from(other))),
        ),
        ("Select.add_cte", lambda: any(each is cte for each in selected_sources(sqlalchemy.select(one.c.a).add_cte(cte)))),
    )
    return tuple(name for name, is_so in cases if not _holds(is_so))


def _holds(is_so: Callable[[], bool]) -> bool:
    try:
        return is_so()
    except (AttributeError, TypeError, ValueError):
        return False


_OF_STATE = ("_strong_obj", "expired_attributes", "_pending_mutations")


# SQLAlchemy 2.0 calls it by the second name.
_SCALAR = getattr(attributes, "_ScalarAttributeImpl", None) or getattr(attributes, "ScalarAttributeImpl", None)


def known_versions() -> tuple[str, ...]:
    """Return how the versions of SQLAlchemy begin that the tests run with."""
    return _VERSIONS


def known_versions_of_psycopg() -> tuple[str, ...]:
    """Return how the versions of psycopg begin that the tests run with."""
    return _PSYCOPG_VERSIONS


def settle(state: InstanceState[Any], session: Session) -> None:
    """Make the object what it is after a flush: nothing about it is unwritten."""
    inner = state.__dict__
    if "expired_attributes" in inner or "_pending_mutations" in inner:
        state._commit_all(state.dict, session.identity_map)
        return
    state.committed_state.clear()
    session.identity_map._modified.discard(state)
    state.modified = state.expired = False
    state._strong_obj = None


def has_pending(state: InstanceState[Any]) -> bool:
    """Say whether a collection that is not loaded was changed."""
    return bool(state.__dict__.get("_pending_mutations"))


def set_values(statement: Any) -> Iterator[tuple[Any, Any]]:
    """Yield what an UPDATE sets: (column, or what it was called by, value). Without what comes as parameters of the execution."""
    yield from (statement._values or {}).items()
    # SQLAlchemy 2.1 has them among the others.
    yield from getattr(statement, "_ordered_values", None) or ()


def is_prefixed(statement: Any, word: str) -> bool:
    """Say whether one of the prefixes of an INSERT has this word in it."""
    return any(word in str(prefix).upper() for prefix, _ in statement._prefixes)


def selected_sources(select: Any) -> Iterator[Any]:
    """Yield what a query selects from directly, its columns and None among it: `get_children` is several times as dear."""
    yield from select._independent_ctes
    for element in (*select._raw_columns, *select._from_obj):
        yield element
        yield getattr(element, "table", None)


def replace_value(state: InstanceState[Any], held: dict[str, Any], attribute: Any, value: Any) -> bool:
    """Do what `set_attribute` does where one listener hears of it, which is not told; return False where more is to be done.

    Args:
        state: Of the object.
        held: What the object holds, `state.dict`.
        attribute: The implementation of one of its attributes.
        value: What it is set to.
    """
    name = attribute.key
    if name not in held or type(attribute) is not _SCALAR or len(attribute.dispatch.set) != 1:
        return False
    state._modified_event(held, attribute, held[name])
    held[name] = value
    return True


def alone_unwritten(session: Session, state: InstanceState[Any]) -> bool:
    """Say whether an object is all that a flush would look at. `Session.new`, `dirty` and `deleted` say the same by three new sets."""
    modified = session.identity_map._modified
    return len(modified) == 1 and state in modified and not session._new and not session._deleted


def takes_no_part(session: Session) -> bool:
    """Say whether a session has no connection in its transaction, so that closing it does nothing to the database."""
    transaction = session.get_transaction()
    return transaction is None or not transaction._connections


def take_for_ended(connection: Connection) -> None:
    """Tell a connection that its transaction is over, as the database knows already: nothing is sent, and nobody is told."""
    transaction = connection.get_transaction()
    assert transaction is not None
    transaction.is_active = False  # closing the connection asks that


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
    made.__dict__.update(values)
    session.identity_map.add(state)
    return made


def is_heard(connection: Connection, *events: str) -> bool:
    """Say whether anybody listens to one of these events of a connection, or of its engine. To ask `dispatch` makes an object for each."""
    engine = connection.engine
    of_its_own = vars(connection).get("_has_events", False)  # in SQLAlchemy 2.0 it has the engine's too
    if not engine._has_events and not of_its_own:
        return False
    for dispatch in (engine.dispatch, connection.dispatch) if of_its_own else (engine.dispatch,):
        for name in events:
            if getattr(dispatch, name):
                return True
    return False


def is_logged(connection: Connection) -> bool:
    """Say whether the connection's statements go into a log."""
    return getattr(connection, "_echo", True) is not False


def raise_translated(connection: Connection, error: BaseException, text: str, parameters: Any, cursor: Any) -> NoReturn:
    """Raise the driver's error as SQLAlchemy does: wrapped, with the engine's listeners told, and a broken connection let go."""
    # Without the text SQLAlchemy leaves what is none of the driver's errors as it is, as it does in an execution of its own.
    of_driver = isinstance(error, connection.dialect.loaded_dbapi.Error)
    connection._handle_dbapi_exception(error, text if of_driver else None, parameters, cursor, None)


def marked(greenlet: Any) -> Any:
    """Return the greenlet, in which SQLAlchemy waits from now on as in its own: it switches to the parent with what is to be awaited."""
    greenlet.__sqlalchemy_greenlet_provider__ = True
    return greenlet


@cache
def unknown_parts_of_greenlets() -> tuple[str, ...]:
    """Return what SQLAlchemy does not know of greenlets of others, in words; nothing where it waits in them. Nothing is said without greenlet."""
    try:
        import greenlet
        from sqlalchemy.util import await_only
    except ImportError as error:
        return () if error.name == "greenlet" else ("await_only",)
    wanted, one = object(), marked(greenlet.greenlet(await_only))
    try:
        asked = one.switch(wanted)
    except Exception:  # noqa: BLE001 - that it may not wait here, or whatever it says in its place
        return ("__sqlalchemy_greenlet_provider__",)
    if not one.dead:
        one.switch(None)
    return () if asked is wanted else ("__sqlalchemy_greenlet_provider__",)


class PsycopgParts(NamedTuple):
    """What `pipeline` needs of psycopg.

    Attributes:
        connections: The kinds of connection that it makes by itself.
        cursors: The kinds of cursor.
        transformer: Makes an adapter of values for a connection.
        auto: One format for a value, chosen by its adapter.
        wait_for_answer: What a generator yields to wait until something can be read.
        wait_for_both: Until something can be read or written.
        done: The status of a result without rows.
        failed: The status of a result that is an error.
        synced: The status of the result that ends a pipeline.
        error: The class of all its errors.
        lost: The class of an error of the connection.
        outdated: The class of the error for a prepared statement that is gone.
        error_from_result: Makes the error of a failed result and the encoding of its texts.
    """

    connections: tuple[Any, ...]
    cursors: tuple[Any, ...]
    transformer: Any
    auto: tuple[Any, ...]
    wait_for_answer: Any
    wait_for_both: Any
    done: Any
    failed: Any
    synced: Any
    error: type[Exception]
    lost: type[Exception]
    outdated: type[Exception]
    error_from_result: Any


@cache
def psycopg_parts() -> PsycopgParts:
    """Return what is needed of psycopg. Call it where that is known, and where psycopg is imported already."""
    import psycopg
    from psycopg import adapt, errors, pq, waiting

    return PsycopgParts(
        connections=(psycopg.Connection, psycopg.AsyncConnection),
        cursors=(psycopg.Cursor, psycopg.AsyncCursor),
        transformer=adapt.Transformer,
        auto=(adapt.PyFormat.AUTO,),
        wait_for_answer=waiting.Wait.R,
        wait_for_both=waiting.Wait.RW,
        done=pq.ExecStatus.COMMAND_OK,
        failed=pq.ExecStatus.FATAL_ERROR,
        synced=pq.ExecStatus.PIPELINE_SYNC,
        error=psycopg.Error,
        lost=psycopg.OperationalError,
        outdated=errors.lookup("26000"),
        error_from_result=errors.error_from_result,
    )


@cache
def unknown_parts_of_psycopg() -> tuple[str, ...]:
    """Return what of psycopg is not as this module knows it, in words; nothing where all of it is. Likewise only where it is imported."""
    import psycopg
    from psycopg import adapt, errors, pq, waiting

    found = [] if psycopg.__version__.startswith(_PSYCOPG_VERSIONS) else [f"version {psycopg.__version__}"]
    wanted = (
        (adapt.Transformer, ("dump_sequence", "load_row", "load_rows", "set_pgresult", "types", "formats")),
        (
            pq.PGconn,
            ("enter_pipeline_mode", "exit_pipeline_mode", "pipeline_sync", "send_query_prepared", "send_prepare", "socket"),
        ),
        (pq.PGresult, ("command_tuples", "fname", "ftype", "ntuples", "nfields", "status")),
        (psycopg.Connection, ("wait",)),
        (psycopg.AsyncConnection, ("wait",)),
        (errors, ("error_from_result", "lookup")),
        (waiting.Wait, ("R", "RW")),
    )
    found += [f"{owner.__name__}.{name}" for owner, names in wanted for name in names if not hasattr(owner, name)]
    return tuple(found if psycopg.Pipeline.is_supported() else [*found, "a libpq without pipeline mode"])
