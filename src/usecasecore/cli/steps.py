"""The steps of a use case as data, in the order in which the runtime takes them."""

from __future__ import annotations

import inspect
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from sqlalchemy import Select, select
from sqlalchemy.dialects import postgresql

from usecasecore.messages import sensitive_fields
from usecasecore.runtime.load import row_lock
from usecasecore.runtime.plan import AggregatePlan
from usecasecore.usecase import UseCase

if TYPE_CHECKING:
    from usecasecore.application import Application
    from usecasecore.lifecycle import Edge
    from usecasecore.registration import Registration

__all__ = ["described"]

_SQLITE = "BEGIN IMMEDIATE, after the validation"


def described(registration: Registration, application: Application) -> dict[str, Any]:
    """Return everything that is declared about a use case, as JSON values."""
    use_case = registration.use_case
    return {
        "name": registration.name,
        "description": _own_doc(type(use_case)),
        "declared": _place(type(use_case)),
        "command": registration.command.__name__,
        "reason_required": use_case.reason_required,
        "steps": [
            _validate(registration),
            *([_scopes(registration)] if use_case.guards else []),
            {"step": "idempotency", "keep_results": int(use_case.keep_results.total_seconds())},
            _load(registration),
            {"step": "policy", "policy": type(application.policy).__name__, "permission": registration.permission},
            *([_fire(registration)] if registration.triggers else []),
            {
                "step": "apply",
                "creates": [cls.__name__ for cls in registration.creates],
                "deletes": [cls.__name__ for cls in registration.deletes],
            },
            _record(registration),
            {"step": "commit"},
        ],
        "result": {"type": registration.result.__name__, "fields": _fields(registration.result)},
        "refuses": [{"code": one.code, "type": one.__name__, "description": _own_doc(one)} for one in use_case.refuses],
    }


def _validate(registration: Registration) -> dict[str, Any]:
    name = registration.aggregate.__name__ if registration.aggregate else ""
    keys = {field: f"{name}.{column}" for column, field in registration.keys.items()}
    sensitive = sensitive_fields(registration.command)
    fields = _fields(registration.command)
    for field in fields:
        field["key"] = keys.get(field["name"])
        field["sensitive"] = field["name"] in sensitive
    own = type(registration.use_case).validate is not UseCase.validate
    return {"step": "validate", "command": registration.command.__name__, "fields": fields, "own_checks": own}


def _scopes(registration: Registration) -> dict[str, Any]:
    scopes = [{"name": scope.name, "fields": list(scope.fields)} for scope in registration.use_case.guards]
    return {"step": "scopes", "scopes": scopes, "lock": {"postgresql": "pg_advisory_xact_lock", "sqlite": _SQLITE}}


def _load(registration: Registration) -> dict[str, Any]:
    aggregate = registration.aggregate
    if registration.slots:
        return _load_several(registration)
    if aggregate is None:
        return {
            "step": "load",
            "aggregate": None,
            "table": None,
            "keys": {},
            "lock": {"postgresql": "INSERT of the key, before the policy", "sqlite": _SQLITE},
        }
    return {
        "step": "load",
        "aggregate": aggregate.__name__,
        "table": str(AggregatePlan.of(aggregate).mapper.local_table),
        "keys": registration.keys,
        "lock": {"postgresql": _row_lock(aggregate, registration), "sqlite": _SQLITE},
    }


def _load_several(registration: Registration) -> dict[str, Any]:
    rows = [
        {
            "name": slot.name,
            "aggregate": slot.aggregate.__name__,
            "table": str(AggregatePlan.of(slot.aggregate).mapper.local_table),
            "keys": dict(slot.keys),
            "missing": slot.missing,
        }
        for slot in registration.slots
    ]
    locks = dict.fromkeys(_row_lock(slot.aggregate, registration) for slot in registration.slots)
    lock = {
        "postgresql": f"INSERT of the key, before the policy; {', '.join(locks)}, in the order of tables and keys",
        "sqlite": _SQLITE,
    }
    return {"step": "load", "aggregate": None, "table": None, "keys": {}, "several": rows, "lock": lock}


def _row_lock(aggregate: type, registration: Registration) -> str:
    statement: Select[Any] = row_lock(select(aggregate), aggregate, registration.deletes)
    compiled = str(statement.compile(dialect=postgresql.dialect()))  # type: ignore[no-untyped-call]  # SQLAlchemy leaves it untyped
    return compiled[compiled.rindex("FOR ") :]


def _fire(registration: Registration) -> dict[str, Any]:
    lifecycle = registration.lifecycle
    assert lifecycle is not None
    return {
        "step": "fire",
        "lifecycle": lifecycle.name,
        "triggers": list(registration.triggers),
        "transitions": [_transition(edge) for edge in lifecycle.graph.edges if edge.trigger in registration.triggers],
    }


def _transition(edge: Edge) -> dict[str, Any]:
    return {
        "trigger": edge.trigger,
        "source": edge.source,
        "dest": edge.dest,
        "conditions": list(edge.conditions),
        "unless": list(edge.unless),
    }


def _record(registration: Registration) -> dict[str, Any]:
    use_case = registration.use_case
    loaded = [AggregatePlan.of(cls).name for cls in registration.aggregates if cls not in registration.creates]
    made = (*registration.creates, *(slot.aggregate for slot in registration.slots if slot.missing == "create"))
    created = list(dict.fromkeys(AggregatePlan.of(cls).name for cls in made))
    automatic = [
        f"{AggregatePlan.of(lifecycle.aggregate).name}.transition.{trigger}"
        for lifecycle, triggers in registration.fires.items()
        for trigger in triggers
    ]
    return {
        "step": "record",
        "audit": list(dict.fromkeys((*loaded, *created))),
        "own_detail": type(use_case).audit is not UseCase.audit,
        "events": [
            *automatic,
            *(f"{name}.created" for name in created),
            *(one.message_name for one in use_case.emits),
            *dict.fromkeys(f"{AggregatePlan.of(cls).name}.deleted" for cls in registration.deletes),
        ],
        "jobs": [one.message_name for one in use_case.enqueues],
    }


def _fields(model: type[BaseModel]) -> list[dict[str, Any]]:
    return [_field(name, info) for name, info in model.model_fields.items()]


def _field(name: str, info: FieldInfo) -> dict[str, Any]:
    return {
        "name": name,
        "type": _type_text(info.annotation),
        "required": info.is_required(),
        "default": None if info.is_required() else _default_text(info),
        "description": info.description or "",
    }


def _default_text(info: FieldInfo) -> str:
    factory = info.default_factory
    return repr(info.default) if factory is None else f"{getattr(factory, '__name__', 'a function')}()"


def _type_text(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if annotation in (None, NoneType):
        return "None"
    if origin is Annotated:
        return _type_text(arguments[0])
    if origin is Literal:
        return " | ".join(map(repr, arguments))
    if origin in (Union, UnionType):
        return " | ".join(map(_type_text, arguments))
    if origin is not None:
        return f"{_type_text(origin)}[{', '.join(map(_type_text, arguments))}]"
    return getattr(annotation, "__name__", None) or ("..." if annotation is ... else str(annotation))


def _own_doc(cls: type) -> str:
    # `inspect.getdoc` would take a base's.
    return inspect.cleandoc(cls.__doc__ or "").partition("\n\n")[0].replace("\n", " ")


def _place(cls: type) -> dict[str, Any] | None:
    try:
        file = inspect.getsourcefile(cls)
        return {"file": file, "line": inspect.getsourcelines(cls)[1]}
    except (OSError, TypeError):
        return None
