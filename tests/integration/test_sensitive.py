"""Sensitive values never leave the command in clear."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable
from typing import Annotated, Any
from uuid import UUID

import pytest
from pydantic import ValidationError
from sqlalchemy import text

from tests.accounts import ADA, Account, ChangePin, Done, SetPin, application
from tests.bank import Bank
from usecasecore import (
    AllowAll,
    Application,
    Command,
    DomainError,
    DomainEvent,
    ExecutionContext,
    Key,
    Sensitive,
    UseCase,
)
from usecasecore.errors import ConstraintViolated, DefinitionError

SECRET = "correct-horse-battery"
BankWith = Callable[..., Bank]


def everything_written(bank: Bank) -> str:
    """All that the ledger holds, but the stored results."""
    with bank.engine.connect() as connection:
        names = ("audit", "attempt", "outbox")
        return "".join(str(list(connection.execute(text(f"select * from usecasecore_{name}")))) for name in names)


def test_the_use_case_sees_the_value_and_the_ledger_does_not(bank: Bank) -> None:
    account_id = bank.open()
    bank.runtime.execute(SetPin(account_id=account_id, pin=SECRET), actor=ADA, reason=f"it is {SECRET}")
    assert bank.account(account_id).pin == SECRET
    assert SECRET not in everything_written(bank)
    entry = bank.rows("audit")[-1]
    assert entry.command == {"account_id": str(account_id), "pin": "[redacted]"}
    assert entry.changes == {"pin": [None, "[redacted]"]}
    assert entry.reason == "it is [redacted]"


def test_repr_and_validation_errors_show_nothing() -> None:
    command = SetPin(account_id=UUID(int=1), pin=SECRET)
    assert SECRET not in repr(command) + str(command)
    wrong_fields: tuple[dict[str, Any], ...] = (
        {"pin": SECRET},
        {"account_id": SECRET, "pin": 1},
        {"account_id": 1, "pin": SECRET.encode() + b"\xff"},
    )
    for fields in wrong_fields:
        with pytest.raises(ValidationError) as wrong:
            SetPin(**fields)
        assert SECRET not in repr(wrong.value) + str(wrong.value.errors()) + wrong.value.json()
        assert wrong.value.__context__ is None


class Weak(DomainError):
    pass


def test_a_refusal_that_quotes_it_is_recorded_without(bank_with: BankWith) -> None:
    class Refuse(UseCase[SetPin, Account, Done]):
        name = "ChangePin"
        refuses = (Weak,)

        def apply(self, command: SetPin, account: Account, context: ExecutionContext, /) -> Done:
            raise Weak(f"{command.pin} is too weak")

    bank = bank_with(application(Refuse, instead_of=ChangePin))
    account_id = bank.open()
    with pytest.raises(Weak):
        bank.runtime.execute(SetPin(account_id=account_id, pin=SECRET), actor=ADA)
    assert bank.rows("attempt")[0].message == "[redacted] is too weak"
    assert SECRET not in everything_written(bank)


def test_the_drivers_words_do_not_travel_along(bank_with: BankWith, caplog: pytest.LogCaptureFixture) -> None:
    class Collide(UseCase[SetPin, Account, Done]):
        name = "ChangePin"

        def apply(self, command: SetPin, account: Account, context: ExecutionContext, /) -> Done:
            context.session.add(Account(owner=command.pin))
            context.session.add(Account(owner=command.pin))
            return Done(account_id=account.id, state="open", balance=0)

    bank = bank_with(application(Collide, instead_of=ChangePin))
    account_id = bank.open()
    caplog.set_level(logging.DEBUG)
    with pytest.raises(ConstraintViolated) as refused:
        bank.runtime.execute(SetPin(account_id=account_id, pin=SECRET), actor=ADA)
    shown = "".join(traceback.format_exception(refused.value))
    assert SECRET not in shown
    assert refused.value.__context__ is None
    assert refused.value.__cause__ is None
    assert SECRET not in everything_written(bank)
    # What drivers log of themselves when debugged is theirs: aiosqlite shows every call with its arguments.
    assert SECRET not in "".join(record.getMessage() for record in caplog.records if record.name != "aiosqlite")


class Leaky(DomainEvent):
    token: Annotated[str, Sensitive()]


class Allowed(DomainEvent, allow_sensitive=("token",)):
    token: Annotated[str, Sensitive()]


def with_event(kind: Any) -> type:
    class Emit(ChangePin):
        name = "ChangePin"
        emits = (kind,)

    return Emit


def test_an_event_with_a_sensitive_field_is_a_definition_error_unless_allowed_by_name() -> None:
    with pytest.raises(DefinitionError, match=r"Leaky carries sensitive fields \(token\)"):
        Application([with_event(Leaky)], policy=AllowAll())
    Application([with_event(Allowed)], policy=AllowAll())


def test_a_key_cannot_be_sensitive() -> None:
    class Secretive(Command[Done]):
        account_id: Annotated[str, Key(Account.id), Sensitive()]

    class Use(UseCase[Secretive, Account, Done]):
        def apply(self, command: Secretive, account: Account, context: ExecutionContext, /) -> Done:
            raise NotImplementedError

    with pytest.raises(DefinitionError, match="can't be sensitive"):
        Application([Use], policy=AllowAll())
