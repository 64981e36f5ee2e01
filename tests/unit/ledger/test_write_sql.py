"""The text of the statement that writes a command on PostgreSQL."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from sqlalchemy import Dialect
from sqlalchemy.dialects.postgresql import asyncpg, psycopg

from usecasecore import uuid7
from usecasecore.ledger import ledger_tables
from usecasecore.ledger.entries import AuditEntry, Entries, IdempotencyKey, OutboxMessage, Said, StoredResult
from usecasecore.ledger.personal import PersonalValue
from usecasecore.ledger.text_rows import AUDIT as TRAIL
from usecasecore.ledger.text_rows import TextRows
from usecasecore.ledger.write_sql import PSYCOPG_KEEPS, Places, fits_values, value_parameters, write_sql

DIALECTS: list[Dialect] = [psycopg.dialect(), asyncpg.dialect()]  # type: ignore[no-untyped-call]  # SQLAlchemy leaves it untyped


@pytest.mark.parametrize("dialect", DIALECTS, ids=["psycopg", "asyncpg"])
@pytest.mark.parametrize("claimed", [False, True])
def test_psycopg_keeps_what_it_made_of_the_text(dialect: Dialect, claimed: bool) -> None:
    # It parses a longer one for every command, which then costs more than anything else.
    assert len(write_sql(ledger_tables(), dialect, claimed=claimed, personal=True).text) <= PSYCOPG_KEEPS


def test_a_parameter_that_is_named_twice_is_sent_once_where_the_driver_numbers_them() -> None:
    places = Places("numeric_dollar")
    assert [places("began"), places("key"), places("began")] == ["$1", "$2", "$1"]
    assert places.order == ("began", "key")


def test_a_parameter_that_is_named_twice_is_sent_twice_where_the_driver_counts_them() -> None:
    places = Places("qmark")
    assert [places("began"), places("key"), places("began")] == ["?", "?", "?"]
    assert places.order == ("began", "key", "began")


def test_the_text_with_values_names_every_parameter_that_it_gets_and_no_other() -> None:
    rows = TextRows(left(messages=2))
    [(audit, body)] = rows.audit()
    values = value_parameters(rows.idempotency(), audit, body, rows.outbox())
    text = write_sql(ledger_tables(), psycopg.dialect(), claimed=False, personal=False, messages=2).text  # type: ignore[no-untyped-call]  # as above
    assert set(re.findall(r"%\((\w+)\)s", text)) == {*values, "began"}


@pytest.mark.parametrize(
    ("entries", "fits"),
    [
        (lambda: left(messages=0), True),
        (lambda: left(messages=4), True),
        (lambda: left(messages=5), False),
        (lambda: left(messages=0)._replace(audit=left(messages=0).audit * 2), False),
        (lambda: left(messages=0)._replace(personal=(PersonalValue("f", "s", "1", b""),)), False),
    ],
    ids=["nothing sent", "as many messages as may be", "one more", "two audit entries", "a personal value"],
)
def test_what_most_commands_leave_travels_as_values(entries: Callable[[], Entries], fits: bool) -> None:
    assert fits_values(entries()) == fits


def left(*, messages: int) -> Entries:
    """Return what a command with one audit entry leaves."""
    now = datetime.now(UTC)
    message = OutboxMessage(uuid7(), "event", "opened", 1, None, None, None, 0, "{}", now)
    command_id, common = uuid7(), {**dict.fromkeys(TRAIL), "occurred_at": now}
    return Entries(
        said=Said(IdempotencyKey("", "a", "Open", "k"), command_id, now, now, common, "{}"),
        stored=StoredResult(b"", command_id, None, "Opened", 1, "{}"),
        audit=(AuditEntry(uuid7()),),
        outbox=(message,) * messages,
    )
