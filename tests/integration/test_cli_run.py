"""`usecasecore run`: a use case on all rows that a condition finds."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, create_engine, make_url, select

from tests.accounts import ADA, Account, Base, Freeze, Open, application
from tests.unit.cli.command_line import CommandLine
from usecasecore import Runtime
from usecasecore.cli.progress import Bar
from usecasecore.ledger import ledger_tables

ASYNC_DRIVERS = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg"}
APP = ("--app", "tests.accounts:application")
ADA_ACTS = ("--actor", "user:ada")


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, database_url: str) -> CommandLine:
    """The command line, with the test's database named by the environment."""
    monkeypatch.setenv("USECASECORE_URL", database_url)
    return CommandLine(capsys)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """A database with four accounts, one of which is frozen."""
    engine = create_engine(database_url)
    Base.metadata.create_all(engine)
    runtime = Runtime(engine, application())
    ids = [runtime.execute(Open(owner=f"owner {number}"), actor=ADA).account_id for number in range(4)]
    runtime.execute(Freeze(account_id=ids[0]), actor=ADA, reason="x")
    yield engine
    engine.dispose()


def states(engine: Engine) -> list[str]:
    with engine.connect() as connection:
        return sorted(connection.scalars(select(Account.state).order_by(Account.id)))


def test_it_runs_on_what_the_condition_finds_with_actor_and_reason(run: CommandLine, engine: Engine) -> None:
    ran = run(
        "run", "FreezeAccount", "--where", "state = 'open'", *ADA_ACTS, "--reason", "audit of May", *APP, "--format", "json"
    )
    assert ran.code == 0
    assert {name: ran.data[name] for name in ("found", "done", "replayed", "busy", "refused")} == {
        "found": 3,
        "done": 3,
        "replayed": 0,
        "busy": 0,
        "refused": {},
    }
    assert states(engine) == ["frozen"] * 4
    audit = ledger_tables().audit
    with engine.connect() as connection:
        found = connection.execute(select(audit.c.actor, audit.c.key).where(audit.c.reason == "audit of May")).all()
    assert {row.actor for row in found} == {"user:ada"}
    assert all(row.key.startswith(f"{ran.data['run']}/") for row in found)


def test_refusals_are_counted_and_exit_with_1(run: CommandLine, engine: Engine) -> None:
    ran = run("run", "FreezeAccount", "--where", "1 = 1", *ADA_ACTS, "--reason", "x", *APP)
    assert ran.code == 1
    assert ran.out.splitlines()[0] == "4 found, 3 done, 0 replayed, 0 busy, 1 refused"
    assert ran.out.split()[-2:] == ["transition_not_allowed", "1"]


def test_a_dry_run_changes_nothing_and_says_what_would_be_refused(run: CommandLine, engine: Engine) -> None:
    ran = run("run", "FreezeAccount", "--where", "1 = 1", *ADA_ACTS, "--reason", "x", "--dry-run", *APP)
    assert ran.code == 0
    assert ran.out.splitlines()[0] == "4 found; of these 3 would run, 1 would be refused"
    assert states(engine) == ["frozen", "open", "open", "open"]


def test_an_async_driver_does_the_same(run: CommandLine, engine: Engine, database_url: str) -> None:
    url = make_url(database_url)
    driver = ASYNC_DRIVERS[url.get_backend_name()]
    address = url.set(drivername=driver).render_as_string(hide_password=False)
    options = (*ADA_ACTS, "--reason", "x", "--url", address, *APP)
    dry = run("run", "FreezeAccount", "--where", "1 = 1", *options, "--dry-run", "--format", "json")
    assert (dry.data["would_run"], dry.data["refused"]) == (3, {"transition_not_allowed": 1})
    assert run("run", "FreezeAccount", "--where", "state = 'open'", *options, "--format", "json").data["done"] == 3


def test_a_second_run_by_the_same_id_replays(run: CommandLine, engine: Engine) -> None:
    options = ("--where", "balance = 0", *ADA_ACTS, "--set", 'pin="1234"', "--run", "may", *APP, "--format", "json")
    assert run("run", "ChangePin", *options).data["done"] == 4
    assert run("run", "ChangePin", *options).data["replayed"] == 4


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("Freeze", "--where", "1 = 1", "--reason", "x"), ["there is no use case 'Freeze'", "did you mean 'FreezeAccount'?"]),
        (("FreezeAccount", "--where", "1 = 1"), ["FreezeAccount wants a reason", "add --reason TEXT"]),
        (("FreezeAccount", "--where", "stat = 1", "--reason", "x"), ["the database refused: ", "stat"]),
        (("ChangePin", "--where", "1 = 1"), ["SetPin wants pin too", "add --set pin=VALUE"]),
        (("ChangePin", "--where", "1 = 1", "--set", "pim=1"), ["there is no field of SetPin 'pim'", "did you mean 'pin'?"]),
        (("ChangePin", "--where", "1 = 1", "--set", "pin"), ["has no `=`", "FIELD=VALUE"]),
        (("ChangePin", "--where", "1 = 1", "--set", "pin=1", "--set", "account_id=1"), ["account_id is the key"]),
        (("OpenAccount", "--where", "1 = 1", "--set", "owner=x"), ["does not name one aggregate by its key"]),
        (("FreezeAccount", "--where", "1 = 1", "--reason", "x", "--run", "ä"), ["1 to 190 printable ASCII characters"]),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_done(
    run: CommandLine, engine: Engine, arguments: tuple[str, ...], words: list[str]
) -> None:
    ran = run("run", *arguments, *ADA_ACTS, *APP)
    assert ran.code == 2
    assert not [word for word in words if word not in ran.err]
    assert states(engine) == ["frozen", "open", "open", "open"]


def test_a_condition_can_not_write(run: CommandLine, engine: Engine) -> None:
    if engine.dialect.name == "sqlite":
        pytest.skip("a SELECT of SQLite can call nothing that writes")
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "create function thaw_all() returns boolean language sql as $$ update accounts set state = 'open' returning true $$"
        )
    ran = run("run", "FreezeAccount", "--where", "thaw_all()", *ADA_ACTS, "--reason", "x", *APP)
    assert ran.code == 2
    assert "read-only transaction" in ran.err
    assert states(engine) == ["frozen", "open", "open", "open"]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_bar_fits_the_terminal_and_is_gone_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "50")
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    with Bar(stream, 2000) as bar:
        bar.show(500, "refused 3, busy 0")
        bar.show(2500, "refused 3, busy 0")
    first, second, last = stream.getvalue().split("\r\x1b[K")[1:]
    assert first == "[########----------------------]  25%  500 of 2,0"
    assert second.startswith("[##############################] 100%")
    assert last == ""


def test_there_is_no_bar_where_there_is_no_terminal() -> None:
    stream = io.StringIO()
    with Bar(stream, 10) as bar:
        bar.show(5, "")
    assert stream.getvalue() == ""
