"""The commands that open a database: on ledger rows that a runtime has written."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Engine, create_engine, event, make_url, text

from tests.unit.cli.command_line import CommandLine
from tests.unit.cli.sample_app import Base, Cancel, Create, Submit, app
from usecasecore import Actor, Result, Runtime
from usecasecore.ledger import ledger_tables
from usecasecore.messages import Command
from usecasecore.migrations import VERSION_TABLE, head

ADA = Actor("user", "ada")
BOB = Actor("user", "bob", tenant="acme", on_behalf_of="user:ada")
ASYNC_DRIVERS = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+psycopg_async"}


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, database_url: str) -> Callable[..., Any]:
    """The command line, with the test's database named by the environment."""
    monkeypatch.delenv("USECASECORE_APP", raising=False)
    monkeypatch.setenv("USECASECORE_URL", database_url)
    return CommandLine(capsys)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = create_engine(database_url)
    yield engine
    engine.dispose()


@pytest.fixture
def without_ledger(engine: Engine) -> None:
    """Takes away the ledger that a test's database may start with."""
    with engine.begin() as connection:
        ledger_tables().metadata.drop_all(connection)
        connection.execute(text(f"drop table if exists {VERSION_TABLE}"))


@pytest.fixture
def runtime(run: CommandLine, engine: Engine) -> Runtime:
    """A runtime on a database with a ledger that the command line made."""
    run("db", "upgrade", "--url", engine.url.render_as_string(hide_password=False))
    Base.metadata.create_all(engine)
    return Runtime(engine, app)


@pytest.fixture
def order_id(runtime: Runtime) -> UUID:
    """An order with three entries: created, submitted, cancelled."""
    order_id: UUID = do(runtime, Create(total=Decimal(10), note="a\x1b[2Jb"), actor=ADA).order_id
    do(runtime, Submit(order_id=order_id, card="4111"), actor=BOB, reason="checked", request_id="r1")
    do(runtime, Cancel(order_id=order_id, note="no"), actor=ADA, reason="日本 changed its mind")
    return order_id


def do(runtime: Runtime, command: Command[Any], **asked: Any) -> Any:
    # What is the newest is known to the millisecond.
    time.sleep(0.002)
    result: Result = runtime.execute(command, **asked)
    return result


@contextmanager
def statements(engine: Engine) -> Iterator[list[str]]:
    seen: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda *call: seen.append(call[2]))
    yield seen


@pytest.mark.usefixtures("without_ledger")
def test_check_of_a_database_without_a_ledger_finds_it_missing(run: CommandLine) -> None:
    ran = run("db", "check")
    assert ran.code == 1
    assert ran.out == f"the ledger is missing\nrevision {head()} is needed\n"
    assert ran.err.splitlines()[1] == "hint: run `usecasecore db upgrade --url URL`"


@pytest.mark.usefixtures("without_ledger")
def test_check_after_an_upgrade_finds_nothing(run: CommandLine) -> None:
    upgraded = run("db", "upgrade")
    assert (upgraded.code, upgraded.out) == (0, f"the ledger is now at revision {head()} (before: none)\n")
    checked = run("db", "check")
    assert (checked.code, checked.out) == (0, f"the ledger is whole, at revision {head()}\n")


def test_a_second_upgrade_changes_nothing(run: CommandLine) -> None:
    run("db", "upgrade")
    ran = run("db", "upgrade", "--format", "json")
    assert ran.code == 0
    assert ran.data == {"schema_version": 1, "before": head(), "after": head(), "changed": False}


def test_check_names_a_table_that_is_missing_and_does_not_advise_an_upgrade(run: CommandLine, engine: Engine) -> None:
    run("db", "upgrade")
    with engine.begin() as connection:
        connection.execute(text("drop table usecasecore_attempt"))
    ran = run("db", "check", "--format", "json")
    assert ran.code == 1
    assert ran.data["ok"] is False
    assert ran.data["problems"] == ["table usecasecore_attempt is missing"]
    assert "restore what is missing" in ran.err


def test_a_ledger_of_a_later_version_is_refused(run: CommandLine, engine: Engine) -> None:
    run("db", "upgrade")
    with engine.begin() as connection:
        connection.execute(text("update usecasecore_version set version_num = '9999'"))
    checked = run("db", "check")
    assert (checked.code, checked.out.splitlines()[0]) == (1, "the ledger is at revision 9999")
    upgraded = run("db", "upgrade")
    assert upgraded.code == 2
    assert "error: the ledger can't be upgraded:" in upgraded.err
    assert "hint: it may be newer than this usecasecore" in upgraded.err


@pytest.mark.usefixtures("without_ledger")
def test_an_upgrade_that_fails_leaves_nothing_behind(run: CommandLine, engine: Engine) -> None:
    # In the way of the last of the four tables.
    with engine.begin() as connection:
        connection.execute(text("create table usecasecore_outbox (id integer)"))
    ran = run("db", "upgrade")
    assert (ran.code, ran.out) == (2, "")
    assert "error: the database refused: " in ran.err
    assert run("db", "check").out.startswith("the ledger is missing\n")
    with engine.begin() as connection:
        connection.execute(text("drop table usecasecore_outbox"))
    assert run("db", "upgrade").code == 0


def test_a_schema_of_its_own_is_made_and_looked_at(capsys: pytest.CaptureFixture[str], postgres_url: str) -> None:
    run = CommandLine(capsys)
    assert run("db", "upgrade", "--url", postgres_url, "--schema", "books").code == 0
    assert run("db", "check", "--url", postgres_url, "--schema", "books").code == 0
    assert run("audit", "tail", "--url", postgres_url, "--schema", "books").err.endswith("no entries\n")
    elsewhere = run("db", "check", "--url", postgres_url, "--schema", "other")
    assert elsewhere.code == 1
    assert elsewhere.err.endswith("hint: run `usecasecore db upgrade --url URL --schema other`\n")


@pytest.mark.usefixtures("without_ledger")
def test_the_url_of_an_async_driver_will_do(run: CommandLine, database_url: str) -> None:
    url = make_url(database_url)
    url = url.set(drivername=ASYNC_DRIVERS[url.get_backend_name()])
    text = url.render_as_string(hide_password=False)
    assert run("db", "upgrade", "--url", text).code == 0
    assert run("db", "check", "--url", text).code == 0
    assert run("audit", "tail", "--url", text).code == 0


def test_a_wrong_password_is_not_shown(capsys: pytest.CaptureFixture[str], postgres_url: str) -> None:
    url = make_url(postgres_url).set(password="tops3cret").render_as_string(hide_password=False)
    ran = CommandLine(capsys)("--debug", "db", "check", "--url", url)
    assert ran.code == 2
    assert "error: the database can't be reached: " in ran.err
    assert "tops3cret" not in ran.err


@pytest.mark.usefixtures("without_ledger")
def test_tail_without_a_ledger_says_how_to_make_one(run: CommandLine) -> None:
    ran = run("audit", "tail")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.endswith("error: the ledger is missing\nhint: run `usecasecore db upgrade --url URL`\n")


def test_tail_without_entries_prints_no_data(run: CommandLine, runtime: Runtime) -> None:
    ran = run("audit", "tail")
    assert (ran.code, ran.out) == (0, "")
    assert ran.err.endswith("\nno entries\n")


def test_tail_shows_the_newest_last(run: CommandLine, order_id: UUID) -> None:
    ran = run("audit", "tail")
    assert ran.code == 0
    titles, *rows = ran.out.splitlines()
    assert titles.split() == ["OCCURRED", "AGGREGATE", "KEY", "VERSION", "CHANGE", "USE", "CASE", "ACTOR", "REASON"]
    assert [row.partition("Z  ")[2].split() for row in rows] == [
        f"order {order_id} 1 (create) → draft CreateOrder user:ada -".split(),
        f"order {order_id} 2 submit: draft → submitted SubmitOrder user:bob for user:ada checked".split(),
        f"order {order_id} 3 cancel: submitted → cancelled CancelOrder user:ada 日本 changed its mind".split(),
    ]


def test_tail_shows_no_more_than_asked_for(run: CommandLine, order_id: UUID) -> None:
    entries = run("audit", "tail", "-n", "2", "--format", "json").data["entries"]
    assert [entry["use_case"] for entry in entries] == ["SubmitOrder", "CancelOrder"]


def test_tail_shows_twenty_unless_told(run: CommandLine, runtime: Runtime) -> None:
    for _ in range(21):
        do(runtime, Create(total=Decimal(1)))
    assert len(run("audit", "tail", "--format", "json").data["entries"]) == 20


@pytest.mark.parametrize(
    ("filters", "versions"),
    [
        (["--use-case", "SubmitOrder"], [2]),
        (["--actor", "user:ada"], [1, 3]),
        (["--aggregate", "order"], [1, 2, 3]),
        (["--actor", "user:ada", "--use-case", "CancelOrder"], [3]),
        (["--actor", "user:nobody"], []),
    ],
)
def test_tail_shows_what_all_of_its_filters_let_through(
    run: CommandLine, order_id: UUID, filters: list[str], versions: list[int]
) -> None:
    entries = run("audit", "tail", *filters, "--format", "json").data["entries"]
    assert [entry["version"] for entry in entries] == versions


@pytest.mark.parametrize("arguments", [["tail", "--aggregate", "ordr"], ["show", "ordr", "1"]])
def test_an_unknown_aggregate_names_the_nearest(run: CommandLine, order_id: UUID, arguments: list[str]) -> None:
    ran = run("audit", *arguments)
    assert ran.code == 2
    assert ran.err.splitlines()[1:] == [
        "error: there is no aggregate with entries 'ordr'",
        "hint: did you mean 'order'? known: order",
    ]


def test_show_tells_the_trail_of_an_aggregate_by_version(run: CommandLine, order_id: UUID) -> None:
    ran = run("audit", "show", "order", str(order_id))
    assert ran.code == 0
    title, *blocks = [block.splitlines() for block in ran.out.split("\n\n")]
    assert title == [f"order {order_id}"]
    assert [block[0].split()[0] for block in blocks] == ["1", "2", "3"]
    assert blocks[1][0].endswith('Z  SubmitOrder by user:bob for user:ada: "checked"')
    assert blocks[1][1:] == ["    submit: draft → submitted", "    detail", '      channel  "web"']
    assert '    note  "a\\u001b[2Jb" → "no"' in blocks[2]


def test_show_of_a_trail_as_json_has_the_changes(run: CommandLine, order_id: UUID) -> None:
    data = run("audit", "show", "order", str(order_id), "--format", "json").data
    assert (data["aggregate"], data["key"]) == ("order", str(order_id))
    assert [entry["version"] for entry in data["entries"]] == [1, 2, 3]
    assert data["entries"][2]["changes"] == {"note": ["a\x1b[2Jb", "no"]}


def test_show_of_another_key_says_that_there_is_nothing(run: CommandLine, order_id: UUID) -> None:
    ran = run("audit", "show", "order", "42")
    assert (ran.code, ran.out) == (2, "")
    assert "error: there are no entries of order '42'\nhint: `usecasecore audit tail --aggregate order`" in ran.err


def test_show_of_a_command_has_everything_about_it(run: CommandLine, order_id: UUID) -> None:
    (entry,) = run("audit", "tail", "--use-case", "SubmitOrder", "--format", "json").data["entries"]
    ran = run("audit", "show", "--command", entry["command_id"])
    assert ran.code == 0
    assert ran.out.startswith(f"command {entry['command_id']}\n")
    for fact in (
        "\n  use case      SubmitOrder\n",
        "\n  actor         user:bob\n  on behalf of  user:ada\n  tenant        acme\n  reason        checked\n",
        "\n  request       r1\n",
        '\nFields\n  card      "[redacted]"\n',
        f"\norder {order_id}, version 2\n  submit: draft → submitted\n",
    ):
        assert fact in ran.out
    assert "4111" not in ran.out


def test_show_of_a_command_as_json_has_its_entries(run: CommandLine, order_id: UUID) -> None:
    (entry,) = run("audit", "tail", "-n", "1", "--format", "json").data["entries"]
    data = run("audit", "show", "--command", entry["command_id"], "--format", "json").data
    assert data == {"schema_version": 1, "command_id": entry["command_id"], "entries": [entry]}


@pytest.mark.parametrize(
    ("command_id", "error"),
    [("42", "'42' is not the id of a command"), (str(UUID(int=0)), f"there are no entries of the command {UUID(int=0)}")],
)
def test_show_of_an_unknown_command_is_an_error(run: CommandLine, runtime: Runtime, command_id: str, error: str) -> None:
    ran = run("audit", "show", "--command", command_id)
    assert (ran.code, ran.out) == (2, "")
    assert f"error: {error}\n" in ran.err


@pytest.mark.parametrize("arguments", [[], ["order"], ["order", "42", "--command", str(UUID(int=0))]])
def test_show_of_neither_or_both_is_an_error(run: CommandLine, arguments: list[str]) -> None:
    ran = run("audit", "show", *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert "error: either an aggregate and its key, or a command is to be shown\n" in ran.err


def test_the_lock_that_is_shown_is_the_one_that_is_taken(run: CommandLine, runtime: Runtime, engine: Engine) -> None:
    order_id = do(runtime, Create(total=Decimal(10))).order_id
    with statements(engine) as seen:
        do(runtime, Submit(order_id=order_id, card="4111"))
    told = run("usecase", "show", "SubmitOrder", "--app", "tests.unit.cli.sample_app:app", "--format", "json").data
    (load,) = (step for step in told["use_case"]["steps"] if step["step"] == "load")
    lock = load["lock"][engine.dialect.name].partition(",")[0]
    assert any(statement.rstrip().endswith(lock) for statement in seen), seen


def test_the_events_that_are_shown_are_those_that_are_written(run: CommandLine, order_id: UUID, engine: Engine) -> None:
    told = run("usecase", "show", "SubmitOrder", "--app", "tests.unit.cli.sample_app:app", "--format", "json").data
    (record,) = (step for step in told["use_case"]["steps"] if step["step"] == "record")
    with engine.connect() as connection:
        written = connection.execute(text("select type from usecasecore_outbox where version = 2 order by ordinal")).scalars()
        assert [*record["events"], *record["jobs"]] == written.all()
