"""The inner parts of SQLAlchemy that are used, and what is said where they are others."""

from __future__ import annotations

import pytest
import sqlalchemy
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
