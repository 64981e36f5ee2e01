"""`usecasecore run --dry-run --debug`: the story of a command, and `run` of one command."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Engine, create_engine, make_url, select

from tests.accounts import ADA, Account, Base, Deposit, Freeze, MakeDeposit, Open, application, deposit_doing
from tests.integration.test_cli_run import ASYNC_DRIVERS
from tests.unit.cli.command_line import CommandLine
from usecasecore import Application, Runtime
from usecasecore.ledger import ledger_tables

APP = ("--app", "tests.accounts:application")
ACTS = ("--actor", "user:ada", "--reason", "x")
DRY = (*ACTS, "--dry-run", "--debug")


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, database_url: str) -> CommandLine:
    monkeypatch.setenv("USECASECORE_URL", database_url)
    return CommandLine(capsys)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = create_engine(database_url)
    Base.metadata.create_all(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def accounts(engine: Engine) -> list[UUID]:
    """Five accounts in the order of their keys, the first of them frozen."""
    runtime = Runtime(engine, application())
    ids = sorted(runtime.execute(Open(owner=f"owner {number}"), actor=ADA).account_id for number in range(5))
    runtime.execute(Freeze(account_id=ids[0]), actor=ADA, reason="x")
    return ids


def everything(engine: Engine) -> list[Any]:
    """All rows there are, of the application and of the ledger."""
    ledger = ledger_tables()
    tables = (*Base.metadata.sorted_tables, *ledger.metadata.sorted_tables)
    with engine.connect() as connection:
        return [(table.name, sorted(map(repr, connection.execute(select(table)).mappings()))) for table in tables]


def broken_application() -> Application:
    """Deposits that write half of what they should, and then fail."""

    def fail(command: Deposit, account: Account, context: Any) -> None:
        account.balance += command.amount
        raise ZeroDivisionError("the rate is 0")

    return application(deposit_doing(fail), instead_of=MakeDeposit)


def test_a_dry_run_with_debug_tells_what_a_command_does_and_keeps_nothing_of_it(
    run: CommandLine, engine: Engine, accounts: list[UUID]
) -> None:
    before = everything(engine)
    ran = run("run", "FreezeAccount", "--key", str(accounts[1]), *DRY, *APP)
    assert ran.code == 0
    lines = [" ".join(line.split()) for line in ran.out.splitlines()]
    assert lines[0] == "FreezeAccount would run: freeze, open to frozen"
    assert lines[1] == f"FreezeAccount: Freeze(account_id=UUID('{accounts[1]}')) by user:ada"
    wanted = ["lock: ", "policy: permitted: yes", "fire fired: freeze on Account: open -> frozen", "UPDATE accounts SET state="]
    wanted += [
        f"change: account {accounts[1]}, version 2, open -> frozen",
        "event: account.transition.freeze",
        "undone: what was written by",
    ]
    assert not [text for text in wanted if not any(text in line for line in lines)]
    assert lines[-1].startswith("rolled back: nothing of it is left (")
    assert everything(engine) == before


def test_of_many_the_first_three_tell_their_stories_and_all_are_counted(
    run: CommandLine, engine: Engine, accounts: list[UUID]
) -> None:
    before = everything(engine)
    ran = run("run", "FreezeAccount", "--where", "true", *DRY, *APP)
    assert ran.code == 0
    assert ran.out.splitlines()[0] == "5 found; of these 4 would run, 1 would be refused"
    assert "these are the first 3 of 5" in ran.err
    told = [line for line in ran.out.splitlines() if line.startswith("FreezeAccount: ")]
    assert told == [f"FreezeAccount: Freeze(account_id=UUID('{one}')) by user:ada" for one in accounts[:3]]
    assert ran.out.count("  1. account: 'freeze' is not possible from 'frozen'") == 1
    assert everything(engine) == before


def test_json_has_the_story_as_data(run: CommandLine, engine: Engine, accounts: list[UUID]) -> None:
    ran = run("run", "MakeDeposit", "--key", str(accounts[1]), "--set", "amount=1000001", *DRY, *APP, "--format", "json")
    assert (ran.data["found"], ran.data["would_run"], ran.data["refused"]) == (1, 0, {"limit_reached": 1})
    (told,) = ran.data["stories"]
    assert [one["code"] for one in told["refusals"]] == ["limit_reached"]
    assert told["story"]["ending"] == "rolled back"
    unfinished = [step["step"] for step in told["story"]["steps"] if not step["done"]]
    assert unfinished == ["apply"]
    facts = [fact for step in told["story"]["steps"] for fact in step["facts"]]
    assert {"kind": "fired", "text": "deposit on Account: open -> open", "trip": None} in facts
    assert told["story"]["statements"] == max(fact["trip"] or 0 for fact in facts)


def test_what_is_sensitive_is_not_told(run: CommandLine, engine: Engine, accounts: list[UUID]) -> None:
    ran = run("run", "ChangePin", "--key", str(accounts[1]), "--set", "pin=secret-pin", *DRY, *APP)
    assert "change: account" in ran.out
    assert "secret-pin" not in ran.out + ran.err
    data = run("run", "ChangePin", "--key", str(accounts[1]), "--set", "pin=secret-pin", *DRY, *APP, "--format", "json")
    assert "secret-pin" not in data.out + data.err


def test_a_defect_is_told_with_the_story_so_far_and_the_line_that_raised_it(
    run: CommandLine, engine: Engine, accounts: list[UUID]
) -> None:
    app = ("--app", f"{__name__}:broken_application")
    before = everything(engine)
    ran = run("run", "MakeDeposit", "--key", str(accounts[1]), "--set", "amount=5", *DRY, *app)
    assert ran.code == 0
    assert ran.out.splitlines()[0] == "MakeDeposit would fail: ZeroDivisionError: the rate is 0"
    assert "unsaved: Account: balance" in ran.out
    assert "test_cli_rehearsal.py:" in ran.out.splitlines()[-1]
    data = run("run", "MakeDeposit", "--key", str(accounts[1]), "--set", "amount=5", *DRY, *app, "--format", "json").data
    assert (data["would_run"], data["refused"], data["failed"]) == (0, {}, {"ZeroDivisionError": 1})
    assert data["stories"][0]["error"]["message"] == "the rate is 0"
    assert everything(engine) == before


def test_an_async_driver_tells_the_same_story(run: CommandLine, engine: Engine, accounts: list[UUID], database_url: str) -> None:
    url = make_url(database_url)
    address = url.set(drivername=ASYNC_DRIVERS[url.get_backend_name()]).render_as_string(hide_password=False)
    before = everything(engine)
    command = ("run", "FreezeAccount", "--where", "state = 'open'", *DRY, *APP, "--format", "json")
    told, there = run(*command).data["stories"], run(*command, "--url", address).data["stories"]
    assert len(told) == len(there) == 3
    for one, other in zip(told, there, strict=True):
        steps = [
            [(step["step"], [fact["kind"] for fact in step["facts"]]) for step in each["story"]["steps"]] for each in (one, other)
        ]
        assert steps[0] == steps[1]
    assert everything(engine) == before


def test_one_command_is_run_by_key_and_its_id_makes_it_run_once(run: CommandLine, engine: Engine, accounts: list[UUID]) -> None:
    command = ("run", "MakeDeposit", "--key", str(accounts[1]), "--set", "amount=5", *ACTS, "--run", "may", *APP)
    ran = run(*command, "--format", "json")
    assert ran.code == 0
    assert (ran.data["done"], ran.data["result"]["balance"]) == (1, 5)
    again = run(*command, "--format", "json")
    assert (again.data["done"], again.data["replayed"], again.data["result"]["balance"]) == (0, 1, 5)
    dry = run(*command, "--dry-run", "--debug")
    assert dry.out.splitlines()[0] == "MakeDeposit would return the stored result of its key"


def test_one_command_that_is_refused_says_why_and_exits_with_1(run: CommandLine, engine: Engine, accounts: list[UUID]) -> None:
    ran = run("run", "FreezeAccount", "--key", str(accounts[0]), *ACTS, *APP)
    assert ran.code == 1
    assert ran.out.splitlines()[0] == "1 found, 0 done, 0 replayed, 0 busy, 1 refused"
    assert "refused: account: 'freeze' is not possible from 'frozen'" in ran.err
    missing = run("run", "FreezeAccount", "--key", str(uuid4()), *ACTS, *APP)
    assert (missing.code, "there is none with the key" in missing.err) == (1, True)


def test_a_command_that_names_no_aggregate_is_made_of_its_fields(run: CommandLine, engine: Engine, accounts: list[UUID]) -> None:
    before = everything(engine)
    dry = run("run", "OpenAccount", "--set", "owner=Grace", *DRY, *APP)
    assert "created: a Account, account open" in dry.out
    assert everything(engine) == before
    assert run("run", "OpenAccount", "--set", "owner=Grace", *ACTS, *APP).code == 0
    with engine.connect() as connection:
        assert connection.scalars(select(Account.owner).where(Account.owner == "Grace")).all() == ["Grace"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("FreezeAccount", "--where", "true", "--debug"), ["--debug shows what a dry run does", "add --dry-run", "`usecasecore --debug run"]),
        (("FreezeAccount",), ["no aggregate is named", "--key KEY", "--where SQL"]),
        (("FreezeAccount", "--key", "1", "--where", "true"), ["--where and --key"]),
        (("FreezeAccount", "--key", "1"), ["'1' is no key of account"]),
        (("OpenAccount", "--key", "1"), ["OpenAccount does not name one aggregate by its key"]),
        (("OpenAccount",), ["Open wants owner too", "add --set owner=VALUE"]),
        (("OpenAccount", "--set", "owner=1"), ["owner: Input should be a valid string"]),
        (("ChangePin", "--key", str(UUID(int=1)), "--set", f"account_id={UUID(int=1)}"), ["account_id is given by --key and by --set"]),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_before_anything_is_done(
    run: CommandLine, engine: Engine, arguments: tuple[str, ...], words: list[str]
) -> None:
    ran = run("run", *arguments, *ACTS, *APP)
    assert ran.code == 2
    assert not [word for word in words if word not in ran.err]
