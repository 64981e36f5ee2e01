"""What goes in and out of a use case: commands, results, events and jobs, as frozen pydantic models."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from enum import Enum
from functools import cache
from types import UnionType
from typing import Any, ClassVar, Generic, Self, TypeVar, Union, get_args, get_origin
from uuid import UUID

from pydantic import AliasChoices, AliasPath, BaseModel, ConfigDict, GetCoreSchemaHandler, ValidationError, create_model
from pydantic_core import CoreSchema, InitErrorDetails, PydanticCustomError, core_schema

from usecasecore.errors import DefinitionError, InvalidCommand
from usecasecore.naming import snake_case
from usecasecore.upcasts import Upcast

__all__ = [
    "REDACT",
    "REDACTED",
    "Command",
    "CommandBody",
    "DomainEvent",
    "Job",
    "Key",
    "Message",
    "Personal",
    "Result",
    "Sensitive",
    "json_fields",
    "json_of",
    "key_fields",
    "personal_subjects",
    "result_type",
    "sensitive_fields",
]

REDACTED = "[redacted]"
REDACT = "usecasecore.redact"
"""The member of a serialization context under which sensitive values are written as `REDACTED`; personal ones as what its value,
a function, makes of the name of their subject's field and the value. None hides both alike."""

R = TypeVar("R", bound="Result")
C = TypeVar("C", bound="Command[Any]")


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


@dataclass(frozen=True, slots=True)
class Personal(Sensitive):
    """Mark a field whose value is about a person, and must be erasable: `Annotated[str, Personal(subject="customer_id")]`.

    It is sensitive. Beyond that the ledger keeps the value apart for as long as nobody erases what it has of the subject, and
    the audit trail holds a commitment to it, which vouches for the value while it is there and tells nothing when it is gone.

    Attributes:
        subject: The command's field that says whom the value is about, by an id that is not itself personal.
    """

    subject: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        schema = handler(source)

        def serialize(value: Any, handler: core_schema.SerializerFunctionWrapHandler, info: core_schema.SerializationInfo) -> Any:
            if not _redacts(info):
                return handler(value)
            assert isinstance(info.context, dict)
            commit = info.context[REDACT]
            return REDACTED if commit is None or value is None else commit(self.subject, handler(value))

        committing = core_schema.wrap_serializer_function_ser_schema(serialize, info_arg=True)
        return core_schema.no_info_wrap_validator_function(_pass_on, schema, serialization=committing)


def personal_subjects(command: type[Command[Any]]) -> frozenset[str]:
    """Return the names of the fields that say whom a command's personal values are about."""
    return frozenset(_subjects(command, ()))


def _subjects(annotation: Any, above: tuple[Any, ...]) -> Iterator[str]:
    if isinstance(annotation, type) and get_origin(annotation) is None and issubclass(annotation, BaseModel):
        for info in () if annotation in above else annotation.__pydantic_fields__.values():
            yield from (mark.subject for mark in info.metadata if isinstance(mark, Personal))
            yield from _subjects(info.annotation, (*above, annotation))
        return
    yield from (mark.subject for mark in getattr(annotation, "__metadata__", ()) if isinstance(mark, Personal))
    for inner in get_args(annotation):
        yield from _subjects(inner, above)


def _redacts(info: core_schema.SerializationInfo) -> bool:
    return isinstance(info.context, dict) and REDACT in info.context


def _pass_on(value: Any, handler: core_schema.ValidatorFunctionWrapHandler) -> Any:
    return handler(value)


def _serialize_sensitive(
    value: Any, handler: core_schema.SerializerFunctionWrapHandler, info: core_schema.SerializationInfo
) -> Any:
    return REDACTED if _redacts(info) else handler(value)


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

    @classmethod
    def of(cls, fields: BaseModel | Mapping[str, Any] | None = None, /, **more: Any) -> Self:
        """Return the command of what came from outside: `Pay.of(body, order_id=order_id)`.

        Args:
            fields: A model, such as a `CommandBody`, of which the fields that were set are taken; or names, or aliases, with values.
            more: Further fields, by name: those that came another way, in the path of a URL say. None may be given twice, so
                that a body can't overrule a path.

        Raises:
            InvalidCommand: If it isn't valid. Where the constructor raises pydantic's ValidationError, which holds what was sent,
                this tells the place and the kind of each fault, and keeps nothing of the input. The words of a validator of
                yours are passed on as they are, unless the field is sensitive.
        """
        given = _given(fields)
        faults = [_twice(name) for name in more if not given.keys().isdisjoint(_names_of(cls, name))]
        if not faults:
            try:
                return cls.model_validate({**given, **more}, by_alias=True, by_name=True)
            except ValidationError as error:
                faults = [dict(one) for one in error.errors(include_url=False, include_context=False, include_input=False)]
        # Outside of the handler: pydantic's error, with the input, must not hang on as the context.
        raise InvalidCommand(command=cls.__name__, errors=faults)


def _given(fields: BaseModel | Mapping[str, Any] | None) -> dict[str, Any]:
    if isinstance(fields, BaseModel):
        # What was left out stays left out: a default that was filled in is no part of what the caller said.
        return {name: getattr(fields, name) for name in fields.model_fields_set}
    return dict(fields or {})


def _names_of(command: type[Command[Any]], name: str) -> Iterator[str]:
    yield name
    info = command.model_fields.get(name)
    alias = info.validation_alias if info is not None else None
    for one in alias.choices if isinstance(alias, AliasChoices) else [alias]:
        first = one.path[0] if isinstance(one, AliasPath) else one
        if isinstance(first, str):
            yield first


def _twice(name: str) -> dict[str, Any]:
    return {"loc": (name,), "msg": "It is given in another place; leave it out", "type": "given_twice"}


class CommandBody(Message, Generic[C]):
    """What of a command comes in a body, all fields but its keys: `body: CommandBody[Pay]`, then `Pay.of(body, order_id=...)`.

    `CommandBody[Pay]` is a pydantic model `PayBody` with the fields of `Pay` as they are declared there (types, limits, defaults,
    aliases, what is sensitive, whether others are refused), without those marked with `Key`. Validators that are methods of the
    command are asked by `of`, which validates all fields, these ones for the second time.
    """

    def __class_getitem__(cls, command: Any) -> Any:
        """Return the model.

        Raises:
            DefinitionError: If the command has nothing but its keys.
        """
        if isinstance(command, type) and issubclass(command, Command):
            return _body_of(command)
        return super().__class_getitem__(command)


@cache
def _body_of(command: type[Command[Any]]) -> type[CommandBody[Any]]:
    keys = key_fields(command)
    fields: dict[str, Any] = {name: (info.annotation, info) for name, info in command.model_fields.items() if name not in keys}
    if not fields:
        raise DefinitionError(f"{command.__name__} has no field beside its keys ({', '.join(keys) or 'none'}): it needs no body")
    config: dict[str, Any] = {name: value for name, value in command.model_config.items() if name != "title"}
    return create_model(
        f"{command.__name__}Body",
        __base__=CommandBody,
        __module__=command.__module__,
        __doc__=command.__doc__,
        __cls_kwargs__=config,
        **fields,
    )


class Result(Message):
    """What a use case returns. It is stored as JSON under the idempotency key, so it must survive the way there and back.

    Class argument: `version` of the schema (from 1), stored beside it: `class Submitted(Result, version=2)`. Raise it for a change
    after which the one form must not be read as the other, and say in `upcasts` how the earlier ones become later ones. A new field
    with a default, or one that is gone, needs neither.
    """

    result_version: ClassVar[int] = 1
    upcasts: ClassVar[tuple[Upcast, ...]] = ()

    def __init_subclass__(cls, *, version: int = 1, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "[" in cls.__name__:  # a generic with its types filled in is what the generic is
            return
        cls.result_version = version
        if "upcasts" not in cls.__dict__:
            cls.upcasts = ()


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


def json_of(message: Message) -> str:
    """Return `model_dump_json(warnings="error")`, by pydantic's serializer itself where the class hasn't its own way to it."""
    form = _form(type(message))
    if form.own_text:
        return message.model_dump_json(warnings="error")
    if form.is_plain(message.__dict__):
        return message.__pydantic_serializer__.to_json(message).decode()
    return message.__pydantic_serializer__.to_json(message, warnings="error").decode()


def json_fields(message: Message) -> dict[str, Any]:
    """Return the fields that were set as JSON values, `model_dump(mode="json", exclude_unset=True, warnings="error")`; likewise."""
    form = _form(type(message))
    if form.own_fields:
        return message.model_dump(mode="json", exclude_unset=True, warnings="error")
    fields: dict[str, Any]
    if form.is_plain(message.__dict__):
        fields = message.__pydantic_serializer__.to_python(message, mode="json", exclude_unset=True)
    else:
        fields = message.__pydantic_serializer__.to_python(message, mode="json", exclude_unset=True, warnings="error")
    return fields


class _Form:
    """What is known of how the messages of a class become JSON.

    Where its fields are plain, what pydantic would warn of is told by the types of the values alone. To be asked for an error in
    the place of a warning costs pydantic more than all else that it does with a small message.

    Attributes:
        own_text: Whether it has its own way to JSON text.
        own_fields: Whether it has its own way to JSON values.
    """

    __slots__ = ("_kinds", "_known", "_names", "own_fields", "own_text")

    def __init__(self, message: type[Message]) -> None:
        self.own_text = message.model_dump_json is not BaseModel.model_dump_json
        self.own_fields = message.model_dump is not BaseModel.model_dump
        self._kinds = _plain_fields(message)
        self._names = list(self._kinds)
        self._known: list[list[type]] = []

    def is_plain(self, held: Mapping[str, Any]) -> bool:
        """Say whether each field is there, in its order, with a value of exactly a type that it is declared with.

        Pydantic has nothing to warn of then, and need not be asked.
        """
        kinds = [*map(type, held.values())]
        if [*held] != self._names or not kinds:
            return False
        if kinds in self._known:
            return True
        if not all(kind in declared for kind, declared in zip(kinds, self._kinds.values(), strict=True)):
            return False
        if len(self._known) < _MOST_KNOWN:  # of many optional fields there are more combinations than are worth their room
            self._known.append(kinds)
        return True


_form = cache(_Form)


def _plain_fields(message: type[Message]) -> dict[str, frozenset[type]]:
    """Return the types of a class's fields; nothing where one is not plain, or something is written in another way than pydantic's."""
    decorators, own = message.__pydantic_decorators__, getattr(message.__get_pydantic_core_schema__, "__func__", None)
    written = decorators.field_serializers or decorators.model_serializers or message.model_computed_fields
    if (
        written
        or own is not _CORE_SCHEMA
        or message.model_config.get("json_encoders")
        or message.model_config.get("extra") == "allow"
    ):
        return {}
    kinds = {name: _plain_types(info.annotation) for name, info in message.model_fields.items()}
    marks = [mark for info in message.model_fields.values() for mark in info.metadata]
    if not all(kinds.values()) or any(hasattr(mark, name) for mark in marks for name in _HOOKS):
        return {}
    return kinds


def _plain_types(annotation: Any) -> frozenset[type]:
    """Return the types that an annotation names, where all of them are plain; nothing where one isn't."""
    if get_origin(annotation) in (Union, UnionType):
        members = [_plain_types(one) for one in get_args(annotation)]
        return frozenset[type]().union(*members) if all(members) else frozenset()
    if not isinstance(annotation, type):
        return frozenset()
    is_enum = issubclass(annotation, Enum) and not any(hasattr(annotation, name) for name in _HOOKS)
    return frozenset({annotation}) if annotation in _PLAIN or is_enum else frozenset()


_CORE_SCHEMA = getattr(Message.__get_pydantic_core_schema__, "__func__", None)
_MOST_KNOWN = 8
_HOOKS = ("__get_pydantic_core_schema__", "__prepare_pydantic_annotations__")
_PLAIN: frozenset[type] = frozenset({type(None), bool, int, str, date, datetime, UUID})
"""Types whose values pydantic never warns of, in a field of that type; beside them enums. Of a `Literal` it depends on the value."""


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
