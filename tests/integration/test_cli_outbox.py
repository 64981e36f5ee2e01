"""`usecasecore outbox`, on rows that a runtime has written."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, create_engine, func, make_url, select, text, update

from tests.accounts import Base, Deposit, Open, application
from tests.unit.cli.command_line import CommandLine
from tests.unit.relay.test_webhook import Receiver, serving
from usecasecore import Runtime
from usecasecore.ledger import ledger_tables

OUTBOX = ledger_tables().outbox
ASYNC_DRIVERS = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+psycopg_async"}


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, database_url: str) -> CommandLine:
    """The command line, with the test's database named by the environment."""
    monkeypatch.delenv("USECASECORE_APP", raising=False)
    monkeypatch.setenv("USECASECORE_URL", database_url)
    return CommandLine(capsys)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """A database with an account that was opened, and got a deposit: 3 events and a job."""
    engine = create_engine(database_url)
    Base.metadata.create_all(engine)
    runtime = Runtime(engine, application())
    runtime.execute(Deposit(account_id=runtime.execute(Open(owner="grace")).account_id, amount=5))
    yield engine
    engine.dispose()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    with serving(receiver):
        yield receiver


def delivered(engine: Engine) -> int:
    with engine.connect() as connection:
        return connection.scalar(select(func.count(OUTBOX.c.delivered_at))) or 0


def test_drain_prints_each_event_in_order_and_what_it_did(run: CommandLine, engine: Engine) -> None:
    ran = run("outbox", "drain")
    *events, summary = ran.out.splitlines()
    assert ran.code == 0
    assert [line.split("  ")[1] for line in events] == ["account.created", "account.transition.deposit", "account.deposited"]
    assert '"amount":5' in events[-1]
    assert summary == "3 published, 0 failed, 1 left"
    assert delivered(engine) == 3
    assert run("outbox", "drain").out == "0 published, 0 failed, 1 left\n"


def test_drain_as_json_prints_one_object_and_the_events_aside(run: CommandLine, engine: Engine) -> None:
    ran = run("outbox", "drain", "--format", "json")
    assert ran.code == 0
    assert ran.data == {
        "schema_version": 1,
        "published": 3,
        "jobs_run": 0,
        "failed": 0,
        "dead": 0,
        "lost": 0,
        "left": 1,
        "unavailable": [],
    }
    assert "account.created" in ran.err


def test_drain_posts_to_a_webhook(run: CommandLine, engine: Engine, receiver: Receiver) -> None:
    ran = run("outbox", "drain", "--publisher", f"webhook:{receiver.url}/events", "--source", "/bank")
    assert (ran.code, ran.out) == (0, "3 published, 0 failed, 1 left\n")
    assert [b'"source":"/bank"' in body for _, _, body in receiver.got] == [True] * 3


def test_drain_exits_with_1_when_something_failed(run: CommandLine, engine: Engine, receiver: Receiver) -> None:
    receiver.status = 500
    ran = run("outbox", "drain", "--publisher", f"webhook:{receiver.url}")
    assert (ran.code, ran.out) == (1, "0 published, 1 failed, 4 left\n")


def test_drain_exits_with_1_while_something_is_dead(run: CommandLine, engine: Engine) -> None:
    with engine.begin() as connection:
        dead = update(OUTBOX).where(OUTBOX.c.type == "account.deposited").values(dead_at=OUTBOX.c.occurred_at)
        connection.execute(dead)
    ran = run("outbox", "drain")
    assert ran.code == 1
    assert ran.out == "0 published, 0 failed, 1 dead, 3 left\n"


def test_drain_says_why_it_stopped(run: CommandLine, engine: Engine) -> None:
    ran = run("outbox", "drain", "--publisher", "webhook:http://127.0.0.1:1/hook")
    assert ran.code == 1
    assert "stopped: http://127.0.0.1:1/hook can't be reached (ConnectionRefusedError)" in ran.err


@pytest.mark.parametrize("publisher", ["kafka", "webhook:nowhere", "webhook:", "webhook:http://h:port/", "log:x"])
def test_a_publisher_that_does_not_exist_is_refused_before_anything_is_opened(
    publisher: str, capsys: pytest.CaptureFixture[str]
) -> None:
    ran = CommandLine(capsys)("outbox", "drain", "--publisher", publisher, "--url", "sqlite:////nowhere/at/all.db")
    assert ran.code == 2
    assert "known: `log`, or `webhook:` and a URL" in ran.err
    assert "database:" not in ran.err


def test_drain_works_through_an_asynchronous_driver(run: CommandLine, engine: Engine, database_url: str) -> None:
    url = make_url(database_url)
    driver = ASYNC_DRIVERS[url.get_backend_name()]
    ran = run("outbox", "drain", "--url", url.set(drivername=driver).render_as_string(hide_password=False))
    assert (ran.code, ran.out.splitlines()[-1]) == (0, "3 published, 0 failed, 1 left")


def test_status_counts_what_waits(run: CommandLine, engine: Engine) -> None:
    ran = run("outbox", "status", "--format", "json")
    assert ran.code == 0
    oldest = ran.data["oldest_seconds"]
    assert 0 <= oldest < 100
    assert ran.data["pending"] == {"events": 3, "jobs": 1}
    assert (ran.data["leased"], ran.data["dead"]) == (0, 0)
    assert [(one["kind"], one["type"], one["pending"]) for one in ran.data["types"]] == [
        ("event", "account.created", 1),
        ("event", "account.deposited", 1),
        ("event", "account.transition.deposit", 1),
        ("job", "send_statement", 1),
    ]


def test_status_as_text_is_a_table(run: CommandLine, engine: Engine) -> None:
    run("outbox", "drain")
    lines = run("outbox", "status").out.splitlines()
    assert lines[:3] == ["Waiting for delivery", "  events  0", "  jobs    1"]
    assert lines[-2].split() == ["KIND", "TYPE", "PENDING", "LEASED", "DEAD", "OLDEST"]
    assert lines[-1].split()[:5] == ["job", "send_statement", "1", "0", "0"]


def test_status_of_an_empty_outbox_is_short(run: CommandLine) -> None:
    out = run("outbox", "status").out
    assert out.splitlines()[1:4] == ["  events  0", "  jobs    0", "  oldest  -"]
    assert "TYPE" not in out


@pytest.mark.parametrize("command", ["status", "drain"])
def test_a_missing_ledger_is_an_error_with_its_cure(run: CommandLine, command: str, engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("drop table usecasecore_outbox"))
    ran = run("outbox", command)
    assert ran.code == 2
    assert "error: table usecasecore_outbox is missing" in ran.err
