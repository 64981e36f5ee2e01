"""`usecasecore aggregate show`: one aggregate, for somebody who wants to know what is wrong with it."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Engine, create_engine, make_url, text

from tests import claims
from tests.unit.cli.command_line import CommandLine
from tests.unit.cli.sample_app import Base, Create, Submit, app
from usecasecore import Actor, AllowAll, Runtime, Tenancy

ADA = Actor("user", "ada")
APP = "tests.unit.cli.sample_app:app"
ASYNC_DRIVERS = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+psycopg_async"}


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, database_url: str) -> Callable[..., Any]:
    """The command line, with the test's application and database named by the environment."""
    monkeypatch.setenv("USECASECORE_APP", APP)
    monkeypatch.setenv("USECASECORE_URL", database_url)
    return CommandLine(capsys)


@pytest.fixture
def order_id(database_url: str) -> UUID:
    """A submitted order, at version 2."""
    engine = create_engine(database_url)
    Base.metadata.create_all(engine)
    runtime = Runtime(engine, app)
    order_id: UUID = runtime.execute(Create(total=Decimal(10)), actor=ADA).order_id
    runtime.execute(Submit(order_id=order_id, card="4111"), actor=ADA, reason="checked")
    engine.dispose()
    return order_id


def test_it_shows_where_the_order_is_what_is_possible_and_what_is_not(run: CommandLine, order_id: UUID) -> None:
    shown = run("aggregate", "show", "order", str(order_id))
    assert shown.code == 0
    lines = [line.split() for line in shown.out.splitlines() if line.strip()]
    assert lines[0] == ["order", str(order_id)]
    assert lines[1][:3] == ["state", "submitted,", "since"]
    assert lines[2] == ["version", "2"]
    assert "CancelOrder  cancel → cancelled" in shown.out
    assert "order: 'submit' is not possible from 'submitted'; possible: cancel, ship" in shown.out
    assert "submit: draft → submitted" in lines_of(shown.out, "Last entries")[-1]
    assert "no policy is asked" in shown.err


def lines_of(out: str, title: str) -> list[str]:
    """The lines below a title."""
    return out.split(f"{title}\n")[1].split("\n\n")[0].splitlines()


def test_it_says_why_one_use_case_is_not_possible(run: CommandLine, order_id: UUID) -> None:
    shown = run("aggregate", "show", "order", str(order_id), "--why", "SubmitOrder")
    assert shown.code == 0
    assert "SubmitOrder is not possible" in shown.out
    assert "  1  order: 'submit' is not possible from 'submitted'; possible: cancel, ship" in shown.out
    assert "     'submit' is possible from: draft" in shown.out
    assert "Last entries" not in shown.out
    assert "CancelOrder is possible" in run("aggregate", "show", "order", str(order_id), "--why", "CancelOrder").out
    wrong = run("aggregate", "show", "order", str(order_id), "--why", "SubmitOrdr")
    assert (wrong.code, wrong.out) == (2, "")
    assert "did you mean 'SubmitOrder'?" in wrong.err


def test_with_an_actor_the_policy_is_asked(run: CommandLine, order_id: UUID) -> None:
    shown = run("aggregate", "show", "order", str(order_id), "--actor", "user:mallory", "--format", "json")
    found = shown.data["aggregate"]
    answers = {one["name"]: (one["answer"], [refusal["code"] for refusal in one["refusals"]]) for one in found["use_cases"]}
    assert answers["CancelOrder"] == ("no", ["forbidden"])
    assert answers["SubmitOrder"] == ("no", ["forbidden", "transition_not_allowed"])
    assert (found["actor"], found["policy_asked"], found["version"], found["state"]) == ("user:mallory", True, 2, "submitted")
    assert [entry["version"] for entry in found["entries"]] == [1, 2]
    assert found["since"] == found["entries"][1]["occurred_at"]
    alone = run("aggregate", "show", "order", str(order_id), "--format", "json").data["aggregate"]
    assert (alone["actor"], alone["policy_asked"]) == (None, False)
    assert next(one for one in alone["use_cases"] if one["name"] == "CancelOrder")["answer"] == "yes"


def test_an_asynchronous_url_will_do_and_nothing_is_changed(run: CommandLine, order_id: UUID, database_url: str) -> None:
    plain = run("aggregate", "show", "order", str(order_id)).out
    url = make_url(database_url)
    asynchronous = url.set(drivername=ASYNC_DRIVERS[url.get_backend_name()]).render_as_string(hide_password=False)
    assert run("aggregate", "show", "order", str(order_id), "--url", asynchronous).out == plain


def test_what_is_typed_wrong_is_named(run: CommandLine, order_id: UUID) -> None:
    missing = uuid4()
    for arguments, said in (
        (("ordr", str(order_id)), "there is no lifecycle 'ordr'"),
        (("order", "12"), "'12' is no key of order: input should be a valid UUID"),
        (("order", str(missing)), f"order: there is none with the key {missing}"),
        (("order", str(order_id), "--actor", "ada"), "'ada' is no actor"),
        (("order", str(order_id), "--role", "clerk"), "--role and --tenant are an actor's"),
    ):
        shown = run("aggregate", "show", *arguments)
        assert (shown.code, shown.out) == (2, "")
        assert said in shown.err
        assert "Traceback" not in shown.err


def test_a_database_without_a_ledger_is_named(run: CommandLine, order_id: UUID, database_url: str) -> None:
    engine: Engine = create_engine(database_url)
    with engine.begin() as connection:
        connection.execute(text("drop table usecasecore_audit"))
    engine.dispose()
    shown = run("aggregate", "show", "order", str(order_id))
    assert shown.code == 2
    assert "usecasecore_audit" in shown.err


def tenants() -> Runtime:
    """A runtime that keeps tenants apart; the note of a claim plays its tenant."""
    return Runtime(create_engine("sqlite://"), claims.application(AllowAll()), tenancy=Tenancy("note"))


@pytest.fixture
def of_tenants(run: CommandLine, monkeypatch: pytest.MonkeyPatch, database_url: str) -> CommandLine:
    """The command line, with a runtime that keeps tenants apart, and one claim, of the tenant `acme`."""
    engine = create_engine(database_url)
    claims.Base.metadata.create_all(engine)
    runtime = Runtime(engine, claims.application(AllowAll()), tenancy=Tenancy("note"))
    runtime.execute(claims.File(claim_id=1, amount=5, note="acme"), actor=Actor("user", "ada", tenant="acme"))
    engine.dispose()
    monkeypatch.setenv("USECASECORE_APP", f"{__name__}:tenants")
    return run


def test_an_aggregate_of_another_tenant_is_one_that_does_not_exist(of_tenants: CommandLine) -> None:
    asked = ("aggregate", "show", "claim")
    foreign = of_tenants(*asked, "1", "--actor", "user:eve", "--tenant", "umbrella")
    missing = of_tenants(*asked, "2", "--actor", "user:eve", "--tenant", "umbrella")
    assert (foreign.code, foreign.out) == (2, "")
    assert "claim: there is none with the key 1" in foreign.err
    assert foreign.err == missing.err.replace("key 2", "key 1")
    own = of_tenants(*asked, "1", "--actor", "user:ada", "--tenant", "acme", "--format", "json")
    assert (own.code, own.data["aggregate"]["state"]) == (0, "filed")


def test_an_actor_without_a_tenant_is_told_what_is_missing(of_tenants: CommandLine) -> None:
    shown = of_tenants("aggregate", "show", "claim", "1", "--actor", "user:ada")
    assert (shown.code, shown.out) == (2, "")
    assert "the runtime keeps tenants apart, and user:ada acts in none" in shown.err
    assert "add --tenant NAME" in shown.err


def test_where_nobody_is_named_the_tenants_are_not_kept_apart(of_tenants: CommandLine) -> None:
    assert of_tenants("aggregate", "show", "claim", "1", "--format", "json").data["aggregate"]["state"] == "filed"
