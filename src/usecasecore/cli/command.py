"""The command that the options of `run` describe: its use case, its fields, and the aggregate that it names."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from usecasecore.cli.failure import Failure, unknown

if TYPE_CHECKING:
    from usecasecore.application import Application
    from usecasecore.messages import Command
    from usecasecore.registration import Registration

__all__ = ["fields_beside_the_key", "one_command", "registration_named"]


def registration_named(application: Application, name: str, reason: str | None) -> Registration:
    """Return a use case by its name.

    Raises:
        Failure: If there is none, or if it wants a reason and there is none.
    """
    registration = application.registration(name)
    if registration is None:
        raise unknown("use case", name, (one.name for one in application.registrations))
    if registration.use_case.reason_required and not reason:
        raise Failure(f"{name} wants a reason", "add --reason TEXT")
    return registration


def fields_beside_the_key(registration: Registration, given: list[str]) -> dict[str, Any]:
    """Return the fields that `--set` gives to each command of many, whose key comes from the row.

    Raises:
        Failure: If one is not a field, is the key, or is missing.
    """
    fields = _parsed(registration, given)
    by_key = set(registration.keys.values())
    if both := sorted(by_key & fields.keys()):
        raise Failure(f"{', '.join(both)} is the key, which is taken from each row", "leave it out of --set")
    _require(registration, by_key | fields.keys())
    return fields


def one_command(registration: Registration, key: str | None, given: list[str]) -> Command[Any]:
    """Return the one command that `--key` and `--set` describe.

    Raises:
        Failure: If a field is unknown, given twice, missing or not valid, or if the key can't be read.
    """
    from usecasecore.errors import InvalidCommand

    fields = _parsed(registration, given)
    by_key = set(registration.keys.values())
    if key is not None:
        if both := sorted(by_key & fields.keys()):
            raise Failure(f"{', '.join(both)} is given by --key and by --set", "leave it out of --set")
        fields |= _key_fields(registration, key)
    elif by_key and not by_key <= fields.keys():
        raise Failure("no aggregate is named", "add --key KEY for one, or --where SQL for all that a condition finds")
    _require(registration, fields.keys())
    try:
        return registration.command.of(fields)
    except InvalidCommand as error:
        raise Failure(str(error)) from error


def _parsed(registration: Registration, given: list[str]) -> dict[str, Any]:
    known = registration.command.model_fields
    fields: dict[str, Any] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals:
            raise Failure(f"--set {text!r} has no `=`", "write it as FIELD=VALUE")
        if name not in known:
            raise unknown(f"field of {registration.command.__name__}", name, known)
        try:
            fields[name] = json.loads(value)
        except ValueError:
            fields[name] = value
    return fields


def _require(registration: Registration, there: Collection[str]) -> None:
    fields = registration.command.model_fields
    if missing := [name for name, one in fields.items() if one.is_required() and name not in there]:
        raise Failure(f"{registration.command.__name__} wants {', '.join(missing)} too", f"add --set {missing[0]}=VALUE")


def _key_fields(registration: Registration, text: str) -> dict[str, Any]:
    from usecasecore.runtime.view import key_of_text
    from usecasecore.slots import aggregate_name, mapper_of, primary_key

    aggregate = registration.aggregate
    mapper = None if aggregate is None else mapper_of(aggregate)
    if aggregate is None or mapper is None or not registration.keys:
        raise Failure(
            f"{registration.name} does not name one aggregate by its key", "leave --key out; --set gives the command's fields"
        )
    try:
        values = key_of_text(aggregate, text)
    except ValueError as error:
        raise Failure(f"{text!r} is no key of {aggregate_name(aggregate)}: {error}") from error
    return {registration.keys[name]: value for name, value in zip(primary_key(mapper), values, strict=True)}
