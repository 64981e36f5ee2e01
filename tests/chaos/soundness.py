"""What must hold of the accounts and their ledger after any fault: what `verify` promises, and what these accounts do."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Engine, text

from tests.accounts import NOON, application
from usecasecore.verification import verify

__all__ = ["Wrong", "assert_sound", "wrongs"]

Wrong = str

# name of the invariant -> a query whose rows break it
_INVARIANTS = {
    "a deposit without its event and its job": """
        select a.use_case, a.aggregate_id, a.version, o.messages from usecasecore_audit a
        left join (select command_id, count(*) as messages from usecasecore_outbox group by command_id) o on o.command_id = a.command_id
        where a.use_case = 'MakeDeposit' and coalesce(o.messages, 0) <> 3""",
    "a deposit without its posting": """
        select a.owner, a.balance, p.amount from accounts a
        left join (select account_id, sum(amount) as amount from postings group by account_id) p on p.account_id = a.id
        where a.balance <> coalesce(p.amount, 0)""",
}


def wrongs(engine: Engine, acknowledged: Iterable[str] = ()) -> list[Wrong]:
    """Return each invariant that is broken, with the rows that break it."""
    with engine.connect() as connection:
        # As of a time before all of it: no key can have expired.
        report = verify(connection, application(), acknowledged=acknowledged, now=NOON)
        found = [f"{finding.code}: {finding.sentence}" for finding in report.findings]
        rows = {name: connection.execute(text(query)).first() for name, query in _INVARIANTS.items()}
    return found + [f"{name}: {row}" for name, row in rows.items() if row is not None]


def assert_sound(engine: Engine, acknowledged: Iterable[str] = ()) -> None:
    """Make sure that every invariant holds, and that whatever was acknowledged is there."""
    assert wrongs(engine, acknowledged) == []
