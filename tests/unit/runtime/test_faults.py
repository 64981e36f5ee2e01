"""What a failure of the database means: the table of SQLSTATEs and of SQLite's codes."""

from __future__ import annotations

import sqlite3
from typing import Any

import pytest
from sqlalchemy.exc import (
    DataError,
    DBAPIError,
    IntegrityError,
    InterfaceError,
    OperationalError,
    ProgrammingError,
    StatementError,
)

from usecasecore.errors import (
    AggregateBusy,
    ConstraintViolated,
    DatabaseUnavailable,
    InProgress,
    OutcomeUnknown,
    RetriesExhausted,
)
from usecasecore.ledger.store import KeyTaken
from usecasecore.runtime.faults import Fault, constraint_of, fault_of, is_duplicate, sqlstate_of
from usecasecore.runtime.limits import Limits
from usecasecore.runtime.retry import Retry
from usecasecore.steps import Step


class Driver(Exception):
    def __init__(self, state: str | None, constraint: str | None = None) -> None:
        super().__init__("words that quote 4711")
        self.sqlstate = state
        self.constraint_name = constraint


def failure(state: str | None, kind: type[DBAPIError] = OperationalError, **facts: Any) -> DBAPIError:
    return kind("select 4711", {}, Driver(state, **facts))


@pytest.mark.parametrize(
    ("state", "fault"),
    [
        ("40001", Fault.CONFLICT),
        ("40P01", Fault.CONFLICT),
        ("55P03", Fault.BUSY),
        ("57P01", Fault.LOST),
        ("57P02", Fault.LOST),
        ("57P03", Fault.LOST),
        ("25P03", Fault.LOST),
        ("08006", Fault.LOST),
        ("08003", Fault.LOST),
        (None, Fault.LOST),
        ("25P02", Fault.ABORTED),
        ("22003", Fault.VALUE),
        ("22P02", Fault.VALUE),
        ("57014", Fault.OTHER),
        ("53300", Fault.OTHER),
        ("42P01", Fault.OTHER),
    ],
)
def test_each_sqlstate_has_its_meaning(state: str | None, fault: Fault) -> None:
    assert fault_of(failure(state)) is fault


def test_kinds_of_errors_without_a_state_have_theirs() -> None:
    assert fault_of(failure("23505", IntegrityError)) is Fault.CONSTRAINT
    assert fault_of(failure(None, InterfaceError)) is Fault.LOST
    assert fault_of(failure(None, DataError)) is Fault.VALUE
    assert fault_of(failure(None, ProgrammingError)) is Fault.OTHER
    assert fault_of(StatementError("binding failed", "select", {}, ValueError())) is Fault.VALUE
    gone = failure("42P01")
    gone.connection_invalidated = True
    assert fault_of(gone) is Fault.LOST


def test_sqlite_is_read_by_its_codes() -> None:
    busy = sqlite3.OperationalError("database is locked")
    busy.sqlite_errorname = "SQLITE_BUSY_SNAPSHOT"
    assert fault_of(OperationalError("begin", {}, busy)) is Fault.BUSY
    full = sqlite3.OperationalError("database or disk is full")
    full.sqlite_errorname = "SQLITE_FULL"
    assert fault_of(OperationalError("insert", {}, full)) is Fault.OTHER
    double = sqlite3.IntegrityError("UNIQUE constraint failed: accounts.owner")
    double.sqlite_errorname = "SQLITE_CONSTRAINT_UNIQUE"
    assert is_duplicate(IntegrityError("insert", {}, double))
    assert constraint_of(IntegrityError("insert", {}, double)) == "accounts.owner"


def test_the_constraint_is_named_where_the_driver_tells_it() -> None:
    assert constraint_of(failure("23505", IntegrityError, constraint="uq_owner")) == "uq_owner"
    assert constraint_of(failure("23505", IntegrityError)) == ""
    assert is_duplicate(failure("23505", IntegrityError))
    assert not is_duplicate(failure("23502", IntegrityError))
    assert sqlstate_of(failure(None)) is None


def retry() -> Retry:
    return Retry("Use", "k", Limits())


@pytest.mark.parametrize(
    ("state", "step", "kind"),
    [
        ("55P03", Step.IDEMPOTENCY, InProgress),
        ("55P03", Step.LOAD, AggregateBusy),
        ("22003", Step.RESULT, ConstraintViolated),
        ("42P01", Step.RESULT, DatabaseUnavailable),
    ],
)
def test_a_final_failure_is_one_typed_error_that_quotes_nothing(state: str, step: Step, kind: type[Exception]) -> None:
    error = retry().after(failure(state), step)
    assert isinstance(error, kind)
    assert "4711" not in str(error)


def test_a_lost_connection_is_replaced_once_before_the_commit() -> None:
    one = retry()
    assert one.after(failure("57P01"), Step.LOAD) == 0.0
    assert isinstance(one.after(failure("57P01"), Step.LOAD), DatabaseUnavailable)


def test_conflicts_are_repeated_with_growing_pauses_and_an_end() -> None:
    one = retry()
    pauses = [one.after(failure("40001"), Step.RESULT) for _ in range(4)]
    assert all(isinstance(pause, float) and 0 <= pause <= 0.02 * 2**n for n, pause in enumerate(pauses))
    assert isinstance(one.after(failure("40001"), Step.RESULT), RetriesExhausted)


def test_a_lost_commit_is_asked_about_until_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("usecasecore.runtime.retry.time.monotonic", lambda: now[0])
    one = retry()
    assert one.after(failure(None), Step.COMMIT) == 0.0
    now[0] = 104.0
    assert isinstance(one.after(failure(None), Step.LOAD), float)
    assert isinstance(one.after(failure("55P03"), Step.LOAD), float)
    now[0] = 105.0
    unknown = one.after(failure(None), Step.LOAD)
    assert isinstance(unknown, OutcomeUnknown)
    assert (unknown.key, unknown.waited) == ("k", 5.0)


def test_being_second_is_repeated_at_once_but_not_for_ever() -> None:
    one = retry()
    assert [one.after(KeyTaken(), Step.RESULT) for _ in range(20)] == [0.0] * 20
    assert isinstance(one.after(KeyTaken(), Step.RESULT), RetriesExhausted)


def test_what_is_the_users_own_is_left_to_them() -> None:
    assert retry().after(ValueError("theirs"), Step.APPLY) is None
