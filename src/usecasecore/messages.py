"""What goes in and out of a use case: commands, results, events and jobs, as frozen pydantic models."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar, Generic, TypeVar, get_args, get_origin

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, ValidationError
from pydantic_core import CoreSchema, InitErrorDetails, PydanticCustomError, core_schema

from usecasecore.errors import DefinitionError
from usecasecore.naming import snake_case

__all__ = [
    "REDACT",
    "REDACTED",
    "Command",
    "DomainEvent",
    "Job",
    "Key",
    "Message",
    "Result",
    "Sensitive",
    "key_fields",
    "result_type",
    "sensitive_fields",
]

REDACTED = "[redacted]"
REDACT = {"usecasecore.redact": True}
"""The serialization context under which sensitive values are written as `REDACTED`."""

R = TypeVar("R", bound="Result")


@dataclass(frozen=True, slots=True, eq=False)
class Key:
    """Mark a command's field as (part of) the key of the aggregate: `Annotated[UUID, Key(Order.id)]`.

    Attributes:
        column: The mapped attribute that the field names, or its name. May be left out where the primary key is one column.
    """

    column: Any = None

    @property
    def column_name(self) -> str | None:
        """The attribute's name; None where it was left out."""
        return self.column if isinstance(self.column, str | None) else str(self.column.key)


@dataclass(frozen=True, slots=True)
class Sensitive:
    """Mark a field whose value must not leave the command in clear: `Annotated[str, Sensitive()]`.

    Audit entries, attempts, error texts and `repr` show `[redacted]` in its place. The use case sees the value.
    """

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        schema = handler(source)
        redacting = core_schema.wrap_serializer_function_ser_schema(_serialize_sensitive, info_arg=True)
        return core_schema.no_info_wrap_validator_function(_pass_on, schema, serialization=redacting)


def _pass_on(value: Any, handler: core_schema.ValidatorFunctionWrapHandler) -> Any:
    return handler(value)


def _serialize_sensitive(
    value: Any, handler: core_schema.SerializerFunctionWrapHandler, info: core_schema.SerializationInfo
) -> Any:
    return REDACTED if info.context == REDACT else handler(value)


# Asked for while the classes below are built, so they stand above them.
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,199}")


@cache
def sensitive_fields(model: type[BaseModel]) -> frozenset[str]:
    """Return the names of the fields that are sensitive, or hold something sensitive at any depth."""
    return _sensitive_fields(model, ())


def _sensitive_fields(model: type[BaseModel], above: tuple[type[BaseModel], ...]) -> frozenset[str]:
    found = set()
    for name, info in getattr(model, "__pydantic_fields__", {}).items():
        if any(isinstance(mark, Sensitive) for mark in info.metadata) or _is_sensitive(info.annotation, (*above, model)):
            found.add(name)
    return frozenset(found)


def _is_sensitive(annotation: Any, above: tuple[type[BaseModel], ...]) -> bool:
    if isinstance(annotation, type) and get_origin(annotation) is None and issubclass(annotation, BaseModel):
        return annotation not in above and bool(_sensitive_fields(annotation, above))
    marks = getattr(annotation, "__metadata__", ())
    if any(isinstance(mark, Sensitive) for mark in marks):
        return True
    return any(_is_sensitive(inner, above) for inner in get_args(annotation))


class Message(BaseModel):
    """What all messages have in common: frozen, finite numbers, and validation errors that never show sensitive input."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True, allow_inf_nan=False, ser_json_inf_nan="constants")

    @classmethod
    def __get_pydantic_core_schema__(cls, source: type[BaseModel], handler: GetCoreSchemaHandler) -> CoreSchema:
        schema = handler(source)
        hidden = sensitive_fields(source)
        if not hidden:
            return schema

        def validate(value: Any, inner: core_schema.ValidatorFunctionWrapHandler) -> Any:
            try:
                return inner(value)
            except ValidationError as error:
                blank = _without_input(error, hidden)
            raise blank  # outside of the handler: the original, with its input, must not hang on as the context

        return core_schema.no_info_wrap_validator_function(validate, schema)

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        hidden = sensitive_fields(type(self))
        for name, value in super().__repr_args__():
            yield name, REDACTED if name in hidden else value


def _without_input(error: ValidationError, hidden: frozenset[str]) -> ValidationError:
    lines = []
    for line in error.errors(include_url=False, include_input=False, include_context=False):
        # A missing or an unknown field at the top has the whole input as its own; a text of the user's may quote it.
        clear = line["loc"] and line["loc"][0] not in hidden and line["type"] not in {"value_error", "assertion_error"}
        message = line["msg"] if clear else "the value is not valid (details are withheld: the field is sensitive)"
        name: Any = line["type"]  # pydantic wants a literal, to keep texts out of it: this is its own
        kind = PydanticCustomError(name, "{message}", {"message": message})
        lines.append(InitErrorDetails(type=kind, loc=line["loc"], input=REDACTED))
    return ValidationError.from_exception_data(error.title, lines, hide_input=True)


class Command(Message, Generic[R]):
    """An order to do something, naming the type of its result: `class Submit(Command[Submitted])`.

    Frozen; unknown fields are refused. Numbers must be finite.
    """

    model_config = ConfigDict(extra="forbid")


class Result(Message):
    """What a use case returns. It is stored as JSON under the idempotency key, so it must survive the way there and back.

    Class argument: `version` of the schema (from 1), stored beside it: `class Submitted(Result, version=2)`.
    """

    result_version: ClassVar[int] = 1

    def __init_subclass__(cls, *, version: int = 1, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.result_version = version


class _Emitted(Message):
    """What leaves a use case through the outbox.

    Class arguments: `name` (default: the class name in snake case), `version` of the payload's schema (from 1), and
    `allow_sensitive`, the sensitive fields that may go out in clear.
    """

    message_name: ClassVar[str] = ""
    message_version: ClassVar[int] = 1
    allowed_sensitive: ClassVar[frozenset[str]] = frozenset()

    def __init_subclass__(cls, *, name: str = "", version: int = 1, allow_sensitive: tuple[str, ...] = (), **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if name and not _NAME.fullmatch(name):
            raise DefinitionError(f"{cls.__name__}: {name!r} is no name for a message; letters, digits, `_`, `-` and `.` are")
        cls.message_name = name or snake_case(cls.__name__)
        cls.message_version = version
        cls.allowed_sensitive = frozenset(allow_sensitive)


class DomainEvent(_Emitted):
    """Something that happened, named in the past tense: `class OrderSubmitted(DomainEvent, name="order.submitted")`."""


class Job(_Emitted):
    """Something to be done after the commit, outside of the transaction: `class SendReceipt(Job)`."""


def result_type(command: type[Command[Any]]) -> type[Result] | None:
    """Return the `R` of a `Command[R]`; None where the class names none."""
    for base in command.__mro__:
        generic: Any = getattr(base, "__pydantic_generic_metadata__", {})
        if generic.get("origin") is Command and isinstance(generic["args"][0], type):
            return generic["args"][0]
    return None


def key_fields(command: type[Command[Any]]) -> dict[str, Key]:
    """Return the fields marked with `Key`, by name, in the order of the declaration."""
    found = {}
    for name, info in command.model_fields.items():
        for mark in info.metadata:
            if isinstance(mark, Key):
                found[name] = mark
    return found
