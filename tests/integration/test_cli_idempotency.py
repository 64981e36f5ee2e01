"""`usecasecore idempotency`, on keys that a runtime has written."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, event, make_url, select, text, update

from tests.accounts import ADA, NOON, Base, Open, Ping, application
from tests.unit.cli.command_line import CommandLine
from usecasecore import Runtime
from usecasecore.ledger import ledger_tables
from usecasecore.ledger.keys import prune_keys

KEYS = ledger_tables().idempotency
ASYNC_DRIVERS = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+psycopg_async"}


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, database_url: str) -> CommandLine:
    """The command line, with the test's database named by the environment."""
    monkeypatch.delenv("USECASECORE_APP", raising=False)
    monkeypatch.setenv("USECASECORE_URL", database_url)
    return CommandLine(capsys)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """A database with five pings whose keys have expired long since, and an account that was opened just now."""
    engine = create_engine(database_url)
    Base.metadata.create_all(engine)
    old = Runtime(engine, application(), clock=lambda: NOON - timedelta(days=365))
    for number in range(5):
        old.execute(Ping(owner="x"), actor=ADA, idempotency_key=f"k{number}")
    Runtime(engine, application()).execute(Open(owner="grace"), actor=ADA, idempotency_key="new")
    yield engine
    engine.dispose()


def left(engine: Engine) -> list[str]:
    with engine.connect() as connection:
        return list(connection.scalars(select(KEYS.c.key).order_by(KEYS.c.key)))


def test_status_counts_by_use_case(run: CommandLine, engine: Engine) -> None:
    ran = run("idempotency", "status", "--format", "json")
    assert ran.code == 0
    assert (ran.data["keys"], ran.data["expired"]) == (6, 5)
    assert [(one["use_case"], one["keys"], one["expired"]) for one in ran.data["use_cases"]] == [
        ("OpenAccount", 1, 0),
        ("PingOwner", 5, 5),
    ]
    opened, pinged = (one["oldest_seconds"] for one in ran.data["use_cases"])
    assert 0 <= opened < 100 < pinged == ran.data["oldest_seconds"]


def test_status_as_text_is_a_table(run: CommandLine, engine: Engine) -> None:
    lines = run("idempotency", "status").out.splitlines()
    assert [line.split()[:2] for line in lines[1:3]] == [["keys", "6"], ["expired", "5"]]
    assert lines[-3].split() == ["USE", "CASE", "KEYS", "EXPIRED", "OLDEST"]
    assert lines[-1].split()[:3] == ["PingOwner", "5", "5"]


def test_status_of_nothing_is_short(run: CommandLine) -> None:
    lines = run("idempotency", "status").out.splitlines()
    assert [line.split() for line in lines[1:]] == [["keys", "0"], ["expired", "0"], ["oldest", "-"]]


def test_prune_deletes_what_has_expired_and_nothing_else(run: CommandLine, engine: Engine) -> None:
    ran = run("idempotency", "prune", "--batch", "2")
    assert (ran.code, ran.out) == (0, "5 deleted, 0 left\n")
    assert left(engine) == ["new"]
    assert run("idempotency", "prune").out == "0 deleted, 0 left\n"


def test_a_dry_run_deletes_nothing(run: CommandLine, engine: Engine) -> None:
    ran = run("idempotency", "prune", "--dry-run")
    assert (ran.code, ran.out) == (0, "5 expired, none deleted\n")
    ran = run("idempotency", "prune", "--dry-run", "--format", "json")
    assert ran.data == {"schema_version": 1, "deleted": 0, "left": 5, "interrupted": False, "dry_run": True}
    assert len(left(engine)) == 6


def test_prune_works_through_an_asynchronous_driver(run: CommandLine, engine: Engine, database_url: str) -> None:
    url = make_url(database_url)
    driver = url.set(drivername=ASYNC_DRIVERS[url.get_backend_name()]).render_as_string(hide_password=False)
    ran = run("idempotency", "prune", "--batch", "3", "--url", driver, "--format", "json")
    assert ran.data == {"schema_version": 1, "deleted": 5, "left": 0, "interrupted": False, "dry_run": False}
    assert left(engine) == ["new"]


@contextmanager
def interrupting_the_first_delete(times: int) -> Iterator[None]:
    """Press Ctrl-C while the first batch is under way."""
    seen: list[str] = []

    def press(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        if "DELETE FROM usecasecore_idempotency" in statement and not seen:
            seen.append(statement)
            for _ in range(times):
                signal.raise_signal(signal.SIGINT)

    event.listen(Engine, "after_cursor_execute", press)
    try:
        yield
    finally:
        event.remove(Engine, "after_cursor_execute", press)
    assert seen


def test_ctrl_c_ends_it_after_the_batch_which_stays_deleted_and_counted(run: CommandLine, engine: Engine) -> None:
    before = signal.getsignal(signal.SIGINT)
    with interrupting_the_first_delete(times=1):
        ran = run("idempotency", "prune", "--batch", "2")
    assert (ran.code, ran.out) == (1, "2 deleted, 3 left\n")
    assert "stopped: interrupted; run it again to go on" in ran.err
    assert len(left(engine)) == 4
    assert signal.getsignal(signal.SIGINT) is before


def test_a_second_ctrl_c_gives_the_batch_up(run: CommandLine, engine: Engine) -> None:
    with interrupting_the_first_delete(times=2):
        ran = run("idempotency", "prune", "--batch", "2")
    assert (ran.code, ran.out) == (130, "")
    assert len(left(engine)) == 6


@pytest.mark.parametrize("batch", ["0", "-1", "100001", "many"])
def test_a_batch_that_makes_no_sense_is_refused(run: CommandLine, batch: str) -> None:
    ran = run("idempotency", "prune", "--batch", batch)
    assert ran.code == 2
    assert "--batch" in ran.err


@pytest.mark.parametrize("command", ["status", "prune"])
def test_a_missing_ledger_is_an_error_with_its_cure(run: CommandLine, command: str, engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("drop table usecasecore_idempotency"))
    ran = run("idempotency", command)
    assert ran.code == 2
    assert "error: table usecasecore_idempotency is missing" in ran.err


def test_a_batch_takes_the_oldest_first_and_no_more_than_it_may(engine: Engine) -> None:
    counts: list[int] = []
    for limit in (2, 2, 2, 2):
        with engine.begin() as connection:
            if not counts:
                oldest = update(KEYS).where(KEYS.c.key == "k4").values(expires_at=NOON - timedelta(days=3_650))
                connection.execute(oldest)
            counts.append(prune_keys(connection, now=NOON, limit=limit))
        if len(counts) == 1:
            assert "k4" not in left(engine)
    assert counts == [2, 2, 1, 0]
