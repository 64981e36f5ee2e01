from __future__ import annotations

import pytest
from sqlalchemy import text

from tests.accounts import ADA, Deposit
from tests.bank import Bank
from tests.chaos.soundness import wrongs


@pytest.mark.parametrize(
    ("damage", "found"),
    [
        pytest.param("select 1", [], id="none"),
        pytest.param("delete from postings", ["a deposit without its posting"], id="the postings"),
        pytest.param("update accounts set balance = balance + 1", ["a deposit without its posting"], id="the balance"),
        pytest.param(
            "delete from usecasecore_outbox where kind = 'job'", ["a deposit without its event and its job"], id="the jobs"
        ),
    ],
)
def test_what_accounts_promise_beyond_the_ledger_is_checked(bank: Bank, damage: str, found: list[str]) -> None:
    bank.runtime.execute(Deposit(account_id=bank.open(), amount=5), actor=ADA)
    with bank.engine.begin() as connection:
        connection.execute(text(damage))
    named = [wrong.partition(":")[0] for wrong in wrongs(bank.engine)]
    assert [name for name in named if name.startswith("a deposit")] == found
