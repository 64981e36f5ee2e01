"""The state machine that is made of a lifecycle: it passes where everything agrees, and finds what does not."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import run_state_machine_as_test
from sqlalchemy import text

from tests.accounts import Account, Deposit, MakeDeposit, application, deposit_doing
from usecasecore.testing import lifecycle_machine

AMOUNTS = {"MakeDeposit": st.fixed_dictionaries({"amount": st.sampled_from([-5, 5, 2_000_000])})}
# Without shrinking, which takes a minute where a failure is what is wanted.
FEW = settings(
    max_examples=8,
    stateful_step_count=10,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    database=None,
    phases=[Phase.generate],
)


def run(machine: Any, examples: int = 8) -> None:
    run_state_machine_as_test(machine, settings=settings(FEW, max_examples=examples, derandomize=True))


def test_random_commands_leave_everything_in_agreement(database_url: str) -> None:
    url = "sqlite://" if database_url.startswith("sqlite") else database_url
    run(lifecycle_machine(application(), "account", commands=AMOUNTS, url=url))


def sql(statement: str) -> Any:
    """An application with a use case that goes past the runtime by SQL, when it is done."""

    def act(command: Deposit, account: Account, context: Any) -> None:
        context.session.execute(text(statement), {"id": account.id.hex})

    return application(deposit_doing(act), instead_of=MakeDeposit)


@pytest.mark.sqlite
@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("update accounts set state = 'frozen' where id = :id", r"the row is in 'frozen', and its audit entries end in 'open'"),
        ("update usecasecore_audit set to_state = 'frozen'", r"goes on from 'open', and the one before ended in 'frozen'"),
        ("delete from usecasecore_outbox", r"audited are the transitions \[.*\], and the outbox has"),
        ("delete from usecasecore_audit", r"after version 0 comes the audit entry of 2|its audit entries go to 0"),
    ],
    ids=["state", "audit", "outbox", "version"],
)
def test_what_does_not_agree_is_found_and_told(statement: str, said: str) -> None:
    with pytest.raises(AssertionError, match=said):
        run(lifecycle_machine(sql(statement), "account", commands=AMOUNTS), examples=60)


def test_an_error_that_is_no_refusal_fails_it() -> None:
    def act(command: Deposit, account: Account, context: Any) -> None:
        raise ZeroDivisionError("not a refusal")

    with pytest.raises(ZeroDivisionError, match="not a refusal"):
        run(lifecycle_machine(application(deposit_doing(act), instead_of=MakeDeposit), "account"))


def test_strategies_for_a_use_case_that_there_is_not_are_refused() -> None:
    with pytest.raises(ValueError, match="'MakeDeposits' is none of its use cases"):
        lifecycle_machine(application(), "account", commands={"MakeDeposits": st.just({})})
