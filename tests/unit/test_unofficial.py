"""The inner parts of SQLAlchemy that are used, and what is said where they are others."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
import sqlalchemy
from psycopg import errors
from sqlalchemy import Connection
from sqlalchemy.orm import InstanceState

from usecasecore import unofficial


def test_the_version_of_sqlalchemy_that_is_installed_is_known() -> None:
    assert unofficial.unknown_parts() == ()
    assert unofficial.is_known()


def test_a_version_that_nothing_was_tested_with_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlalchemy, "__version__", "2.9.0")
    assert unofficial.unknown_parts() == ("version 2.9.0",)


def test_an_inner_part_that_has_changed_or_is_gone_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(InstanceState, "_commit_all", lambda self, other: None)
    monkeypatch.delattr(Connection, "_handle_dbapi_exception")
    assert unofficial.unknown_parts() == ("InstanceState._commit_all", "Connection._handle_dbapi_exception")


def test_what_is_read_of_a_statement_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unofficial, "set_values", lambda _: iter(()))
    monkeypatch.setattr(unofficial, "is_prefixed", lambda *_: False)
    assert {"Update.values", "Insert.prefix_with"} <= set(unofficial.unknown_parts())


@pytest.fixture
def anew() -> Iterator[None]:
    """Psycopg is looked at once for each process; here, and after it, anew."""
    unofficial.unknown_parts_of_psycopg.cache_clear()
    yield
    unofficial.unknown_parts_of_psycopg.cache_clear()


def test_the_version_of_psycopg_that_is_installed_is_known(anew: None) -> None:
    assert unofficial.unknown_parts_of_psycopg() == ()


def test_a_psycopg_that_nothing_was_tested_with_is_not_known(anew: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psycopg, "__version__", "4.0.1")
    assert unofficial.unknown_parts_of_psycopg() == ("version 4.0.1",)


def test_a_part_of_psycopg_that_is_gone_is_named(anew: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(errors, "error_from_result")
    assert unofficial.unknown_parts_of_psycopg() == ("psycopg.errors.error_from_result",)


def test_a_libpq_without_pipelines_is_not_known(anew: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psycopg.Pipeline, "is_supported", classmethod(lambda _: False))
    assert unofficial.unknown_parts_of_psycopg() == ("a libpq without pipeline mode",)


def test_what_statements_hold_is_tried_whatever_the_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unofficial, "_VERSIONS", ("0.1.",))
    assert unofficial.unknown_parts() != ()
    assert unofficial._unknown_of_statements() == ()


@pytest.mark.parametrize(
    ("name", "gone"),
    [
        ("set_values", {"Update.values", "Update.ordered_values"}),
        ("selected_sources", {"Select.columns", "Select.select_from", "Select.add_cte"}),
    ],
)
def test_what_is_not_found_in_a_statement_is_named(monkeypatch: pytest.MonkeyPatch, name: str, gone: set[str]) -> None:
    monkeypatch.setattr(unofficial, name, lambda _: iter(()))
    unofficial.reads_statements.cache_clear()
    try:
        assert set(unofficial._unknown_of_statements()) == gone
        assert not unofficial.reads_statements()
    finally:
        unofficial.reads_statements.cache_clear()
