"""The text of the statement that writes a command on PostgreSQL."""

from __future__ import annotations

import pytest
from sqlalchemy import Dialect
from sqlalchemy.dialects.postgresql import asyncpg, psycopg

from usecasecore.ledger import ledger_tables
from usecasecore.ledger.write_sql import PSYCOPG_KEEPS, Places, write_sql

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
