"""A command of what came from outside: typed refusals without the input, and a body model without the keys."""

from __future__ import annotations

import pickle
from typing import Annotated, Any
from uuid import UUID, uuid4

import pytest
from pydantic import AliasChoices, AliasPath, BaseModel, ConfigDict, Field, ValidationError, field_validator

from usecasecore import Command, CommandBody, DefinitionError, Key, Result, Sensitive
from usecasecore.errors import InvalidCommand

CARD = "tok_4242"
ORDER = uuid4()


class Pay(Command[Result]):
    """Pay for an order."""

    order_id: Annotated[UUID, Key("id")]
    amount: int = Field(ge=0, alias="amountInCents")
    card: Annotated[str, Field(max_length=20), Sensitive()]
    note: str = "none"

    @field_validator("note")
    @classmethod
    def is_decent(cls, note: str) -> str:
        if note == "darn":
            raise ValueError("mind your words")
        return note


class Submit(Command[Result]):
    order_id: Annotated[UUID, Key("id")]


@pytest.mark.parametrize("name", ["amount", "amountInCents"])
def test_a_command_is_made_of_names_or_aliases_and_further_fields(name: str) -> None:
    command = Pay.of({name: 5, "card": CARD}, order_id=ORDER)
    assert (type(command), command.amount, command.card) == (Pay, 5, CARD)
    assert command.model_fields_set == {"order_id", "amount", "card"}


def test_further_fields_alone_will_do() -> None:
    assert Submit.of(order_id=str(ORDER)) == Submit(order_id=ORDER)


def test_what_was_not_set_in_a_model_is_not_set_in_the_command() -> None:
    # A default that was filled in on the way would make another fingerprint than the one the caller sent.
    body = CommandBody[Pay].model_validate({"amountInCents": 5, "card": CARD})
    assert "note" not in Pay.of(body, order_id=ORDER).model_fields_set


def test_each_fault_is_told_and_nothing_of_the_input_kept() -> None:
    with pytest.raises(InvalidCommand) as refused:
        Pay.of({"amount": -1, "card": [CARD], "more": CARD}, order_id=CARD)
    error = refused.value
    assert [(one["loc"], one["type"]) for one in error.errors] == [
        (("order_id",), "uuid_parsing"),
        (("amount",), "greater_than_equal"),
        (("card",), "string_type"),
        (("more",), "extra_forbidden"),
    ]
    assert error.command == "Pay"
    assert {name for one in error.errors for name in one} == {"loc", "msg", "type"}
    assert CARD not in repr(error.__dict__) + str(error)
    assert (error.__context__, error.__cause__) == (None, None)
    assert pickle.loads(pickle.dumps(error)).errors == error.errors


@pytest.mark.parametrize("alias", [None, "orderId", AliasChoices("orderId", "id"), AliasPath("orderId", 0)])
def test_a_body_can_not_overrule_the_path(alias: Any) -> None:
    class Cancel(Command[Result]):
        order_id: Annotated[UUID, Key("id")] = Field(validation_alias=alias)

    for name in ["order_id"] if alias is None else ["order_id", "orderId"]:
        with pytest.raises(InvalidCommand) as refused:
            Cancel.of({name: [uuid4()] if isinstance(alias, AliasPath) else uuid4()}, order_id=ORDER)
        assert refused.value.errors[0]["type"] == "given_twice"
    assert Cancel.of({}, order_id=ORDER).order_id == ORDER


def test_a_body_has_the_fields_of_its_command_without_the_keys() -> None:
    body = CommandBody[Pay]
    assert (body.__name__, body.__module__, body.__doc__) == ("PayBody", __name__, "Pay for an order.")
    assert issubclass(body, CommandBody)
    assert CommandBody[Pay] is body
    assert list(body.model_fields) == ["amount", "card", "note"]
    schema = body.model_json_schema()
    assert schema["required"] == ["amountInCents", "card"]
    assert schema["properties"]["card"]["maxLength"] == 20
    assert schema["additionalProperties"] is False


@pytest.mark.parametrize(
    "fields",
    [{"amountInCents": -1, "card": CARD}, {"amountInCents": 1}, {"amountInCents": 1, "card": CARD, "order_id": str(ORDER)}],
)
def test_a_body_refuses_what_its_command_refuses(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        CommandBody[Pay].model_validate(fields)


def test_what_is_sensitive_in_the_command_is_sensitive_in_the_body() -> None:
    body = CommandBody[Pay].model_validate({"amountInCents": 1, "card": CARD})
    assert CARD not in repr(body)
    with pytest.raises(ValidationError) as refused:
        CommandBody[Pay].model_validate({"amountInCents": 1, "card": CARD * 9})
    assert CARD not in str(refused.value) + repr(refused.value.errors())


def test_the_commands_own_validators_are_asked_by_of() -> None:
    body = CommandBody[Pay].model_validate({"amountInCents": 1, "card": CARD, "note": "darn"})
    with pytest.raises(InvalidCommand, match="note: "):
        Pay.of(body, order_id=ORDER)


def test_the_configuration_of_the_command_is_the_bodys() -> None:
    class Loose(Command[Result]):
        model_config = ConfigDict(extra="ignore", str_strip_whitespace=True, title="Loose one")
        order_id: Annotated[UUID, Key("id")]
        text: str

    body = CommandBody[Loose].model_validate({"text": " a ", "more": 1})
    assert body.model_dump() == {"text": "a"}
    assert body.model_json_schema()["title"] == "LooseBody"
    assert Loose.of(body, order_id=ORDER) == Loose(order_id=ORDER, text="a")


def test_any_other_model_will_do_as_well() -> None:
    class Form(BaseModel):
        amount: int
        card: str

    assert Pay.of(Form(amount=3, card=CARD), order_id=ORDER).amount == 3


def test_a_command_that_is_nothing_but_its_keys_has_no_body() -> None:
    with pytest.raises(DefinitionError, match=r"Submit has no field beside its keys \(order_id\): it needs no body"):
        _ = CommandBody[Submit]
