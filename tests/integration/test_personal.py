"""Personal values: in the audit trail as commitments, beside it in clear until somebody erases them."""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable
from typing import Annotated, Any
from uuid import UUID

import pytest
from pydantic import BaseModel
from sqlalchemy import text

from tests.accounts import ADA, BOB, NOON, Account, AccountId, Done, application, done
from tests.bank import Bank
from tests.unit.cli.command_line import CommandLine
from usecasecore import Actor, Command, DomainError, ExecutionContext, Personal, Sensitive, UseCase
from usecasecore.errors import DefinitionError, InvalidCommand
from usecasecore.ledger.personal import personal_values
from usecasecore.ledger.reading import trail, with_personal_values
from usecasecore.verification import EraseSubject, SubjectErasure, verify

EMAIL, STREET = "ada@example.org", "Analytical Road 1"
BankWith = Callable[..., Bank]


class Address(BaseModel):
    street: Annotated[str, Personal(subject="customer")]
    country: str


class Rename(Command[Done]):
    account_id: AccountId
    customer: int
    owner: Annotated[str, Personal(subject="customer")]
    addresses: list[Address] = []
    pin: Annotated[str | None, Sensitive()] = None


class Refused(DomainError):
    pass


class RenameOwner(UseCase[Rename, Account, Done]):
    refuses = (Refused,)

    def apply(self, command: Rename, account: Account, context: ExecutionContext, /) -> Done:
        if command.pin == "wrong":
            raise Refused(f"{command.owner} may not")
        account.owner = command.owner
        account.pin = command.pin
        return done(account)

    def audit(self, command: Rename, account: Account, context: ExecutionContext) -> dict[str, Any]:
        return {"note": f"told {command.owner}"}


def bank_and_account(bank_with: BankWith) -> tuple[Bank, UUID]:
    bank = bank_with(application(RenameOwner, SubjectErasure()))
    account_id = bank.open()
    command = Rename(
        account_id=account_id, customer=42, owner=EMAIL, addresses=[Address(street=STREET, country="GB")], pin="4711"
    )
    bank.runtime.execute(command, actor=ADA, reason=f"{EMAIL} asked for it")
    return bank, account_id


def everything_but_results_and_values(bank: Bank) -> str:
    names = ("audit", "attempt", "outbox", "head")
    with bank.engine.connect() as connection:
        return "".join(str(list(connection.execute(text(f"select * from usecasecore_{name}")))) for name in names)


def checked(bank: Bank) -> tuple[Any, ...]:
    with bank.engine.connect() as connection:
        return verify(connection, bank.runtime.application, now=NOON).findings


def test_the_trail_holds_commitments_that_the_values_beside_it_fit(bank_with: BankWith) -> None:
    bank, account_id = bank_and_account(bank_with)
    assert EMAIL not in everything_but_results_and_values(bank)
    assert STREET not in everything_but_results_and_values(bank)
    entry = bank.rows("audit")[-1]
    values = {row.field: row for row in bank.rows("personal")}
    assert {name: (row.subject, json.loads(row.value)) for name, row in values.items()} == {
        "owner": ("42", EMAIL),
        "addresses.0.street": ("42", STREET),
    }
    of = {name: "personal:" + hmac.new(row.salt, row.value.encode(), "sha256").hexdigest() for name, row in values.items()}
    assert entry.command == {
        "account_id": str(account_id),
        "customer": 42,
        "owner": of["owner"],
        "addresses": [{"street": of["addresses.0.street"], "country": "GB"}],
        "pin": "[redacted]",
    }
    assert entry.changes == {"owner": ["grace", of["owner"]], "pin": [None, "[redacted]"]}
    assert entry.detail == {"note": f"told {of['owner']}"}
    assert entry.reason == f"{of['owner']} asked for it"
    assert len({row.salt for row in values.values()}) == 2
    assert checked(bank) == ()


def test_whoever_reads_the_trail_sees_the_values_while_they_are_there(bank_with: BankWith) -> None:
    bank, account_id = bank_and_account(bank_with)
    with bank.engine.connect() as connection:
        [_, entry] = with_personal_values(connection, None, trail(connection, None, "account", str(account_id)))
    assert entry.command["owner"] == EMAIL
    assert entry.command["addresses"] == [{"street": STREET, "country": "GB"}]
    assert entry.changes["owner"] == ["grace", EMAIL]
    assert entry.detail == {"note": f"told {EMAIL}"}
    assert entry.reason == f"{EMAIL} asked for it"


def test_erasing_a_subject_leaves_nothing_of_it_and_every_hash_whole(bank_with: BankWith) -> None:
    bank, _ = bank_and_account(bank_with)
    other = bank.open("another")
    bank.runtime.execute(Rename(account_id=other, customer=7, owner="bob@example.org"), actor=ADA)
    before = bank.rows("audit")
    erased = bank.runtime.execute(EraseSubject(subject="42"), actor=BOB, reason="a request under article 17")
    assert erased.values == 2
    assert [(row.subject, row.field) for row in bank.rows("personal")] == [("7", "owner")]
    [entry] = [row for row in bank.rows("audit") if row not in before]
    assert (entry.use_case, entry.actor, entry.reason) == ("SubjectErasure", str(BOB), "a request under article 17")
    assert entry.command == {"subject": "42"}
    assert checked(bank) == ()
    with bank.engine.connect() as connection:
        assert personal_values(connection, None, {row.command_id for row in before}).keys() == {
            row.command["owner"] for row in before if row.command.get("customer") == 7
        }


def test_erasing_wants_a_reason_and_stays_in_the_actors_tenant(bank_with: BankWith) -> None:
    bank, _ = bank_and_account(bank_with)
    with pytest.raises(InvalidCommand, match="reason"):
        bank.runtime.execute(EraseSubject(subject="42"), actor=BOB)
    elsewhere = Actor("user", "eve", tenant="another")
    assert bank.runtime.execute(EraseSubject(subject="42"), actor=elsewhere, reason="no").values == 0
    assert len(bank.rows("personal")) == 2


def test_a_refused_command_leaves_neither_the_value_nor_a_way_to_guess_it(bank_with: BankWith) -> None:
    bank, account_id = bank_and_account(bank_with)
    with pytest.raises(Refused):
        bank.runtime.execute(Rename(account_id=account_id, customer=42, owner="eve@example.org", pin="wrong"), actor=ADA)
    assert "eve@example.org" not in everything_but_results_and_values(bank)
    assert len(bank.rows("personal")) == 2
    [attempt] = bank.rows("attempt")
    assert attempt.command["owner"].startswith("personal:")
    assert attempt.message == f"{attempt.command['owner']} may not"


def test_a_replay_makes_no_second_value(bank_with: BankWith) -> None:
    bank, account_id = bank_and_account(bank_with)
    command = Rename(account_id=account_id, customer=42, owner="ada@example.com")
    results = [bank.runtime.execute(command, actor=ADA, idempotency_key="once") for _ in range(2)]
    assert results[0] == results[1]
    assert len(bank.rows("personal")) == 3


def test_a_subject_that_is_no_field_or_hidden_itself_is_refused() -> None:
    class Wrong(Command[Done]):
        account_id: AccountId
        owner: Annotated[str, Personal(subject="customer")]
        email: Annotated[str, Personal(subject="owner")]

    class Use(UseCase[Wrong, Account, Done]):
        def apply(self, command: Wrong, account: Account, context: ExecutionContext, /) -> Done:
            return done(account)

    with pytest.raises(DefinitionError) as refused:
        application(Use)
    assert "Wrong has values about the subject in 'customer', and no such field; its fields: account_id, owner, email" in str(
        refused.value
    )
    assert "Wrong.owner names the subject of personal values by an id: it can't be sensitive itself" in str(refused.value)


def test_erase_on_the_command_line_says_what_it_did(
    bank_with: BankWith, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    bank, account_id = bank_and_account(bank_with)
    monkeypatch.setenv("USECASECORE_URL", bank.wire.url.render_as_string(hide_password=False))
    run = CommandLine(capsys)
    assert EMAIL in run("audit", "show", "account", str(account_id)).out
    ran = run("audit", "erase", "42", "--reason", "asked", "--actor", "user:dpo", "--format", "json")
    assert (ran.code, ran.data["values"]) == (0, 2)
    assert EMAIL not in run("audit", "show", "account", str(account_id)).out
    assert "personal:" in run("audit", "show", "account", str(account_id)).out
    ran = run("audit", "erase", "42", "--reason", "asked")
    assert ran.code == 0
    assert ran.out.startswith("0 values erased")
    assert ran.err.splitlines()[-1] == "there were none: is that the id that commands name the subject by?"
    assert run("audit", "erase", "42", "--reason", " ").code == 2
    ran = run("audit", "erase", "42", "--reason", "asked", "--actor", "ada")
    assert (ran.code, ran.err.splitlines()[0]) == (2, "error: --actor: 'ada' is no actor")


def test_a_column_said_to_be_sensitive_shows_neither_what_it_was_nor_what_it_is(
    bank_with: BankWith, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(Account.__table__.c.owner.info, "sensitive", True)
    bank, account_id = bank_and_account(bank_with)

    class Forget(Command[Done]):
        account_id: AccountId

    class ForgetOwner(UseCase[Forget, Account, Done]):
        def apply(self, command: Forget, account: Account, context: ExecutionContext, /) -> Done:
            account.owner, account.pin = "nobody", None
            return done(account)

    bank = bank_with(application(RenameOwner, ForgetOwner))
    bank.runtime.execute(Forget(account_id=account_id))
    opened, renamed, forgotten = bank.rows("audit")
    assert opened.changes["owner"] == [None, "[redacted]"]
    assert renamed.changes["owner"] == ["[redacted]", renamed.command["owner"]]
    assert forgotten.changes == {"owner": ["[redacted]", "[redacted]"], "pin": ["4711", None]}
    assert EMAIL not in everything_but_results_and_values(bank)
