"""What must hold of the accounts and their ledger after any fault, in plain SQL."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Connection, Engine, text

__all__ = ["Wrong", "assert_sound", "wrongs"]

Wrong = str

# name of the invariant -> a query whose rows break it
_INVARIANTS = {
    "a command took effect twice under its key": """
        select use_case, actor, count(*) from usecasecore_idempotency group by command_id, use_case, actor having count(*) > 1""",
    "a key without the audit entries of its command": """
        select k.use_case, k.key, k.command_id from usecasecore_idempotency k
        where not exists (select 1 from usecasecore_audit a where a.command_id = k.command_id)""",
    "an audit entry whose command has no key": """
        select a.use_case, a.aggregate_id, a.version from usecasecore_audit a
        where not exists (select 1 from usecasecore_idempotency k where k.command_id = a.command_id)""",
    "an event or a job of a command that was not committed": """
        select o.type, o.aggregate_id, o.version from usecasecore_outbox o
        where not exists (select 1 from usecasecore_audit a where a.command_id = o.command_id)""",
    "a key that was claimed and never kept": "select use_case, key, actor from usecasecore_idempotency where result is null",
    "a deposit without its event and its job": """
        select a.use_case, a.aggregate_id, a.version from usecasecore_audit a where a.use_case = 'MakeDeposit' and 3 <> (
            select count(*) from usecasecore_outbox o where o.command_id = a.command_id)""",
    "a deposit without its posting": """
        select a.owner, a.balance, (select coalesce(sum(p.amount), 0) from postings p where p.account_id = a.id) from accounts a
        where a.balance <> (select coalesce(sum(p.amount), 0) from postings p where p.account_id = a.id)""",
    "an account whose version is not the number of its entries": """
        select a.owner, a.version, (
            select count(*) from usecasecore_audit e where e.aggregate = 'account' and replace(e.aggregate_id, '-', '') = {hex}
        ) from accounts a
        where a.version <> (
            select count(*) from usecasecore_audit e where e.aggregate = 'account' and replace(e.aggregate_id, '-', '') = {hex}
        )""",
    "an entry that does not go on where the one before it ended": """
        select later.aggregate_id, later.version, later.from_state from usecasecore_audit later join usecasecore_audit earlier
        on earlier.aggregate = later.aggregate and earlier.aggregate_id = later.aggregate_id and earlier.version = later.version - 1
        where later.from_state <> earlier.to_state""",
}


def wrongs(engine: Engine) -> list[Wrong]:
    """Return each invariant that is broken, with the first row that breaks it."""
    with engine.connect() as connection:
        return [f"{name}: {row}" for name, query in _INVARIANTS.items() if (row := _first(connection, query)) is not None]


def assert_sound(engine: Engine, acknowledged: Iterable[str] = ()) -> None:
    """Make sure that every invariant holds, and that whatever was acknowledged is there."""
    assert wrongs(engine) == []
    with engine.connect() as connection:
        kept = set(connection.execute(text("select key from usecasecore_idempotency")).scalars())
    assert set(acknowledged) - kept == set()


def _first(connection: Connection, query: str) -> object:
    as_hex = "a.id" if connection.dialect.name == "sqlite" else "replace(a.id::text, '-', '')"
    return connection.execute(text(query.replace("{hex}", as_hex))).first()
