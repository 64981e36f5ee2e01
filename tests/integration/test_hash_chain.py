"""The hash chain of the audit entries: how it is computed, who links what, and that it never forks."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, select

from tests.accounts import ADA, NOON, Deposit, Done, LimitReached, Open, application
from tests.bank import Bank, however_busy
from tests.trails import Books, books, postgres_books, sqlite_books
from usecasecore import Actor, Command, ExecutionContext, Transaction, UseCase, migrations
from usecasecore.ledger import ledger_tables
from usecasecore.ledger.chain import GENESIS
from usecasecore.ledger.sealing import seal
from usecasecore.verification import verify

__all__ = ["books", "postgres_books", "sqlite_books"]

AUDIT = ledger_tables().audit


def entries(engine: Engine) -> list[Any]:
    with engine.connect() as connection:
        return list(connection.execute(select(AUDIT).order_by(AUDIT.c.aggregate_id, AUDIT.c.version)))


def test_every_entry_is_linked_to_the_one_before_and_the_head_is_the_last(bank: Bank) -> None:
    account_id = bank.open()
    for amount in (1, 2, 3):
        bank.runtime.execute(Deposit(account_id=account_id, amount=amount), actor=ADA)
    rows = bank.rows("audit")
    assert [row.prev_hash for row in rows] == [GENESIS, *(row.hash for row in rows[:-1])]
    assert [row.messages for row in rows] == [1, 3, 3, 3]
    [head] = bank.rows("head")
    assert (head.aggregate, head.aggregate_id, head.version, head.hash) == ("account", str(account_id), 4, rows[-1].hash)
    with bank.engine.connect() as connection:
        assert verify(connection, bank.runtime.application, now=NOON).ok


def test_commands_in_one_transaction_and_inside_of_each_other_make_one_chain(bank_with: Callable[..., Bank]) -> None:
    class Twice(Command[Done]):
        account_id: UUID

    class DepositTwice(UseCase[Twice, None, Done]):
        def apply(self, command: Twice, state: None, context: ExecutionContext, /) -> Done:
            context.execute(Deposit(account_id=command.account_id, amount=1))
            return context.execute(Deposit(account_id=command.account_id, amount=2))

    bank = bank_with(application(DepositTwice))
    account_id = bank.open()

    def work(transaction: Transaction) -> None:
        transaction.execute(Deposit(account_id=account_id, amount=1))
        transaction.execute(Twice(account_id=account_id))
        opened = transaction.execute(Open(owner="another")).account_id
        transaction.execute(Deposit(account_id=opened, amount=1))

    bank.runtime.transaction(work)
    assert sorted(head.version for head in bank.rows("head")) == [2, 4]
    with bank.engine.connect() as connection:
        report = verify(connection, bank.runtime.application, now=NOON)
    assert report.findings == ()
    assert report.counted.hashed == 7


def test_a_rolled_back_command_leaves_the_head_where_it_was(bank: Bank) -> None:
    account_id = bank.open()
    before = bank.rows("head")
    with pytest.raises(LimitReached):
        bank.runtime.execute(Deposit(account_id=account_id, amount=2_000_000))
    assert bank.rows("head") == before


def test_sixteen_writers_on_one_aggregate_make_one_chain(bank: Bank) -> None:
    account_id = bank.open()
    writers, each = 16, 5

    def write(writer: int) -> None:
        for _ in range(each):
            came = partial(bank.runtime.execute, Deposit(account_id=account_id, amount=1), actor=Actor("user", str(writer)))
            however_busy(came)

    with ThreadPoolExecutor(writers) as pool:
        list(pool.map(write, range(writers)))
    rows = bank.rows("audit")
    assert [row.version for row in rows] == list(range(1, 1 + writers * each + 1))
    assert [row.prev_hash for row in rows] == [GENESIS, *(row.hash for row in rows[:-1])]
    with bank.engine.connect() as connection:
        assert verify(connection, bank.runtime.application, now=NOON).ok


TEXTS = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=30)


@given(reason=TEXTS)
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_text_an_entry_holds_its_hash_is_found_again(books: Books, reason: str) -> None:
    command = Deposit(account_id=books.first, amount=1, note={"text": reason, "numbers": [1e22, -0.0, 0.1, 2**62]})
    books.runtime.execute(command, reason=reason, correlation_id=reason or None)
    assert books.verify().findings == ()


def test_entries_written_past_the_runtime_are_sealed_in_the_order_of_their_versions(books: Books) -> None:
    chained = entries(books.engine)
    books.tamper(
        "delete from usecasecore_head",
        "update usecasecore_audit set hash = null, prev_hash = null, hash_version = null",
    )
    with books.engine.begin() as connection:
        assert seal(connection) == len(chained)
        assert seal(connection) == 0
    assert entries(books.engine) == chained
    books.deposit()
    assert books.verify().findings == ()


def test_what_is_sealed_goes_on_where_the_chain_is(books: Books) -> None:
    books.tamper(
        "update usecasecore_head set version = 4, hash = (select hash from usecasecore_audit a "
        "where a.version = 4 and a.aggregate_id = :first) where aggregate_id = :first",
        "update usecasecore_audit set hash = null, prev_hash = null where aggregate_id = :first and version > 4",
    )
    with books.engine.begin() as connection:
        assert seal(connection) == 3
    assert books.verify().findings == ()


def test_the_upgrade_seals_the_entries_of_the_version_before(books: Books) -> None:
    with books.engine.begin() as connection:
        downgrade(connection, "0003")
    with books.engine.begin() as connection:
        migrations.upgrade(connection)
    # These knew neither their key nor how many messages they sent.
    assert books.verify().findings == ()
    books.deposit(2)
    assert books.verify().findings == ()


def downgrade(connection: Connection, revision: str) -> None:
    from alembic import command

    command.downgrade(migrations._config(connection), revision)
