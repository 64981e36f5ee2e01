"""What tests of an application do with a scenario, on the databases that they run on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import create_engine, text

from tests.accounts import ADA, Account, Close, Closed, Deposit, Deposited, Freeze, Open, SendStatement, SetPin, application
from usecasecore import Runtime
from usecasecore.errors import GuardRejected, TransitionNotAllowed
from usecasecore.testing import NoFactory, Scenario, SetClock, crash_after, crash_before, failpoints, scenario_on
from usecasecore.testing.database import (
    copied_in_memory,
    dialect_of,
    of_its_own,
    prepared_once,
    prepares,
    rolled_back,
    template_in_memory,
)

APP = application()
PREPARE = prepares(APP)


@pytest.fixture
def test_url(request: pytest.FixtureRequest, database_url: str) -> str:
    return "sqlite://" if database_url.startswith("sqlite") else database_url


@pytest.fixture
def scenario(test_url: str) -> Iterator[Scenario]:
    """On the one connection whose test is rolled back, or on a database in memory."""
    if dialect_of(test_url) == "sqlite":
        template = template_in_memory(PREPARE)
        with copied_in_memory(template) as engine, scenario_on(Runtime(engine, APP, clock=SetClock())) as scenario:
            yield scenario
        template.dispose()
        return
    prepared_once(test_url, PREPARE)
    with rolled_back(test_url) as engine, scenario_on(Runtime(engine, APP, clock=SetClock())) as scenario:
        yield scenario


@pytest.fixture
def committing(test_url: str, tmp_path: Path) -> Iterator[Scenario]:
    with of_its_own(test_url, PREPARE, tmp_path) as engine, scenario_on(Runtime(engine, APP)) as scenario:
        yield scenario


def test_given_takes_the_shortest_way_through_use_cases(scenario: Scenario) -> None:
    account = scenario.given("account", state="frozen")
    assert isinstance(account, Account)
    assert (account.state, account.version) == ("frozen", 2)
    assert scenario.assert_audited(aggregate="account", version=2).trigger == "freeze"
    assert scenario.given(Account).state == "open"


def test_given_fields_are_those_of_the_creating_command(scenario: Scenario) -> None:
    assert scenario.given("account", state="closed", owner="grace").owner == "grace"


def test_given_says_what_there_is_instead_of_what_there_is_not(scenario: Scenario) -> None:
    with pytest.raises(LookupError, match=r"no lifecycle 'acount'; did you mean 'account'\? \(known: account\)"):
        scenario.given("acount")
    with pytest.raises(LookupError, match=r"rests in no state 'frozn'; did you mean 'frozen'\? \(states: open, frozen, closed\)"):
        scenario.given("account", state="frozn")


def test_a_refusal_on_the_way_says_which_command_wants_a_factory(scenario: Scenario) -> None:
    scenario.given("account", owner="grace")
    with pytest.raises(AssertionError, match=r"OpenAccount was refused, creating it: .*owner='grace'.*Give a factory for Open"):
        scenario.given("account", owner="grace")


def test_what_a_factory_makes_is_what_is_run(scenario: Scenario) -> None:
    scenario.factories = {Open: lambda: {"owner": "linus"}, "FreezeAccount": lambda account_id: Freeze(account_id=account_id)}
    account = scenario.given("account", state="frozen")
    assert account.owner == "linus"
    assert scenario.assert_audited(trigger="freeze").use_case == "FreezeAccount"


def test_a_factory_for_the_state_itself_goes_before_all(scenario: Scenario) -> None:
    account = scenario.given("account")
    scenario.factories = {("account", "frozen"): lambda one: (one, account)}
    assert scenario.given("account", state="frozen") == (scenario, account)


def test_assert_refused_takes_the_refusal_it_was_told_and_no_other(scenario: Scenario) -> None:
    account = scenario.given("account", state="frozen")
    refusal = scenario.assert_refused(Deposit(account_id=account.id, amount=1), code="transition_not_allowed", actor=ADA)
    assert refusal.refusal.allowed == frozenset({"thaw"})
    scenario.assert_refused(Close(account_id=account.id), TransitionNotAllowed)
    with pytest.raises(
        AssertionError, match=r"Close was to be refused with 'guard_rejected', and was with 'transition_not_allowed': "
    ):
        scenario.assert_refused(Close(account_id=account.id), GuardRejected)
    with pytest.raises(AssertionError, match=r"SetPin was to be refused, and was accepted: Done\("):
        scenario.assert_refused(SetPin(account_id=account.id, pin="1"))


def test_assert_refused_is_not_content_with_a_replay(scenario: Scenario) -> None:
    account = scenario.given("account")
    scenario.execute(Close(account_id=account.id), idempotency_key="k")
    with pytest.raises(AssertionError, match="was accepted, as the replay of an earlier run under the same key"):
        scenario.assert_refused(Close(account_id=account.id), idempotency_key="k")


def test_events_and_jobs_are_found_by_class_value_and_name(scenario: Scenario) -> None:
    account = scenario.given("account")
    scenario.execute(Deposit(account_id=account.id, amount=5))
    event = Deposited(account_id=account.id, amount=5)
    assert scenario.assert_emitted(Deposited) == event
    assert scenario.assert_emitted(event, times=1) == event
    assert scenario.assert_emitted(Deposited, account_id=account.id).amount == 5
    assert scenario.assert_emitted("account.transition.deposit")["to"] == "open"
    assert scenario.assert_enqueued(SendStatement) == SendStatement(account_id=account.id)
    scenario.assert_emitted(Closed, times=0)


def test_a_message_that_is_not_there_is_told_with_those_that_are(scenario: Scenario) -> None:
    account = scenario.given("account")
    with pytest.raises(AssertionError, match="no send_statement was enqueued; what was:\n  nothing"):
        scenario.assert_enqueued(SendStatement)
    scenario.execute(Deposit(account_id=account.id, amount=5))
    with pytest.raises(
        AssertionError, match=r"no account\.closed was emitted; what was:(.|\n)*account\.deposited account_id=.*amount=5"
    ):
        scenario.assert_emitted(Closed)
    with pytest.raises(
        AssertionError, match=r"no account\.deposited with amount=6 was emitted; of this type there is:\n.*amount=5.*<- amount"
    ):
        scenario.assert_emitted(Deposited, amount=6)
    with pytest.raises(AssertionError, match=r"account\.deposited was emitted 1 times, not 2"):
        scenario.assert_emitted(Deposited, times=2)
    with pytest.raises(AssertionError, match=r"account\.deposited was emitted, and must not be"):
        scenario.assert_emitted(Deposited, times=0)
    with pytest.raises(ValueError, match=r"Deposited has no field 'amuont'; did you mean 'amount'\?"):
        scenario.assert_emitted(Deposited, amuont=5)
    with pytest.raises(TypeError, match="is no DomainEvent"):
        scenario.assert_emitted(SendStatement)  # type: ignore[type-var]


def test_only_what_this_scenario_has_seen_is_found(scenario: Scenario) -> None:
    account = scenario.given("account")
    scenario.execute(Deposit(account_id=account.id, amount=5))
    later = Scenario(scenario.runtime)
    with pytest.raises(AssertionError, match="what was:\n  nothing"):
        later.assert_emitted(Deposited)
    with pytest.raises(AssertionError, match="there is:\n  nothing"):
        later.assert_audited()


def test_an_audit_entry_that_is_not_there_is_told_with_those_that_are(scenario: Scenario) -> None:
    account = scenario.given("account")
    entry = scenario.assert_audited(kind="create", aggregate_id=account.id, actor=scenario.actor, to_state=account.state)
    assert entry.version == 1
    with pytest.raises(
        AssertionError, match=r"no audit entry has trigger='close'; there is:\n  use_case=OpenAccount kind=create"
    ):
        scenario.assert_audited(trigger="close")
    with pytest.raises(ValueError, match=r"no 'triger'; did you mean 'trigger'\?"):
        scenario.assert_audited(triger="close")


def test_a_crash_at_any_step_leaves_nothing_of_the_command_in_the_test(scenario: Scenario) -> None:
    account = scenario.given("account")
    passed = [(step, when) for step, when in failpoints() if step not in ("rollback", "idempotency", "commit")]
    for step, when in [*passed, ("commit", "before")]:
        with crash_before(step) if when == "before" else crash_after(step):
            scenario.execute(Deposit(account_id=account.id, amount=5))
    scenario.assert_emitted(Deposited, times=0)
    assert scenario.run(Deposit(account_id=account.id, amount=5)).version == 2


@pytest.mark.parametrize("step", ["audit", "write_audit"])
def test_after_a_crash_the_same_key_goes_through(scenario: Scenario, step: str) -> None:
    account = scenario.given("account")
    with crash_after(step) as point:
        scenario.execute(Deposit(account_id=account.id, amount=5), idempotency_key="k")
    assert (point.step, point.hits) == ("audit", 1)
    scenario.assert_emitted(Deposited, times=0)
    assert not scenario.run(Deposit(account_id=account.id, amount=5), idempotency_key="k").replayed
    scenario.assert_emitted(Deposited, times=1)


def test_a_replay_has_one_effect(scenario: Scenario) -> None:
    account = scenario.given("account")
    outcome = scenario.replay(Deposit(account_id=account.id, amount=5))
    assert (outcome.version, outcome.result.balance) == (2, 5)
    scenario.assert_emitted(Deposited, times=1)


def test_a_race_needs_two_connections(scenario: Scenario) -> None:
    account = scenario.given("account")
    with pytest.raises(ValueError, match=r"single connection.*usecasecore_commits"):
        scenario.race(Close(account_id=account.id), Close(account_id=account.id))


def test_of_two_that_meet_one_wins_and_the_other_gets_its_typed_answer(committing: Scenario) -> None:
    account = committing.given("account")
    race = committing.race(Close(account_id=account.id), Deposit(account_id=account.id, amount=5))
    assert race.won.result.state == "closed"
    assert isinstance(race.lost, TransitionNotAllowed)
    assert race.lost.refusal.params["state"] == "closed"


def test_two_that_are_both_accepted_are_no_race(committing: Scenario) -> None:
    account = committing.given("account")
    with pytest.raises(AssertionError, match="both were accepted"):
        committing.race(Deposit(account_id=account.id, amount=5), Deposit(account_id=account.id, amount=5))


def test_two_of_different_rows_do_not_meet_where_rows_are_locked(committing: Scenario) -> None:
    one, other = committing.given("account"), committing.given("account")
    # On SQLite all writers wait for one lock, and both are accepted then.
    said = (
        "both were accepted"
        if committing.runtime.engine.dialect.name == "sqlite"
        else "they don't meet: the second command waits"
    )
    with pytest.raises(AssertionError, match=said):
        committing.race(Close(account_id=one.id), Close(account_id=other.id))


def test_one_that_is_refused_before_they_meet_is_no_race(committing: Scenario) -> None:
    account = committing.given("account", state="frozen")
    with pytest.raises(
        AssertionError, match=r"the first command did not come to its commit, so they never met: TransitionNotAllowed"
    ):
        committing.race(Close(account_id=account.id), Close(account_id=account.id))


def test_a_test_is_rolled_back_with_everything_that_it_committed(postgres_url: str) -> None:
    prepared_once(postgres_url, PREPARE)
    with rolled_back(postgres_url) as engine, scenario_on(Runtime(engine, APP)) as scenario:
        account = scenario.given("account", state="closed")
        with engine.connect() as connection:
            assert connection.execute(text("select count(*) from accounts")).scalar() == 1
    assert isinstance(account.id, UUID)
    look = create_engine(postgres_url)
    with look.connect() as connection:
        for table in ("accounts", "usecasecore_audit", "usecasecore_outbox", "usecasecore_idempotency", "usecasecore_attempt"):
            assert connection.execute(text(f"select count(*) from {table}")).scalar() == 0, table
    look.dispose()


def test_a_test_that_ends_its_transaction_is_told_so(postgres_url: str) -> None:
    prepared_once(postgres_url, PREPARE)
    with (
        pytest.raises(AssertionError, match="the test's transaction ended before"),
        rolled_back(postgres_url) as engine,
        engine.connect() as connection,
    ):
        connection.exec_driver_sql("commit")


def test_a_deferred_constraint_is_checked_where_the_commit_would(postgres_url: str) -> None:
    with rolled_back(postgres_url) as engine:
        with engine.begin() as connection:
            connection.exec_driver_sql("create table a (id int primary key)")
            connection.exec_driver_sql("create table b (a int references a deferrable initially deferred)")
        with engine.begin() as connection:
            connection.exec_driver_sql("insert into b values (1)")
            connection.exec_driver_sql("insert into a values (1)")
        with pytest.raises(Exception, match="violates foreign key"), engine.begin() as connection:
            connection.exec_driver_sql("insert into b values (2)")
        with engine.connect() as connection:
            assert connection.exec_driver_sql("select count(*) from b").scalar() == 1


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("sqlite:///orders.db", "tests can't run on sqlite:///orders.db"),
        ("postgresql+asyncpg://localhost/orders", "is for asyncio"),
        ("mysql://localhost/x", "tests can't run on|no URL of SQLAlchemy|No module"),
        ("orders", "is no URL of SQLAlchemy"),
    ],
)
def test_what_tests_cannot_run_on_is_refused_with_what_they_can(url: str, said: str) -> None:
    with pytest.raises((ValueError, ModuleNotFoundError), match=said):
        dialect_of(url)


def test_a_command_that_cannot_be_made_up_names_the_field_and_the_factory(scenario: Scenario) -> None:
    with pytest.raises(
        NoFactory, match=r"Open can't be made up: its field 'owner' is refused .*\{Open: lambda: Open\(\.\.\.\)\}"
    ):
        scenario.given("account", owner="x" * 60)
