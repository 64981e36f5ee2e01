"""How PostgreSQL finds the ledger's rows: by an index, also with statements that were prepared while there were none.

A connection keeps the plan of a statement. One that was made for an empty table may read all of it, which costs nothing then, and more
with each row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Connection, text

from tests.accounts import ADA, Deposit
from tests.bank import Bank, on_postgres
from tests.postgres import create_database, drop_database
from usecasecore.ledger import ledger_tables

TABLES = ledger_tables()
LEDGER = [table.name for table in (TABLES.idempotency, TABLES.audit, TABLES.head, TABLES.outbox)]


@pytest.fixture
def postgres_url(postgres_server: str, postgres_template: str) -> Iterator[str]:
    """Return the URL of a database that is new: what one of the pool's has counted, and was analysed with, is of other tests."""
    name = f"usecasecore_{uuid4().hex}"
    yield create_database(postgres_server, name, template=postgres_template)
    drop_database(postgres_server, name)


# The first five runs of a prepared statement are planned for their values; then a plan is kept.
ROUNDS = 12


def one_by_one(bank: Bank, ids: list[UUID], rounds: int) -> None:
    for number in range(rounds):
        for one in ids:
            bank.runtime.execute(Deposit(account_id=one, amount=1), actor=ADA, idempotency_key=f"{rounds}/{number}/{one}")


def many_at_once(bank: Bank, ids: list[UUID], rounds: int) -> None:
    for number in range(rounds):
        commands = [Deposit(account_id=one, amount=1) for one in ids]
        key = f"{rounds}/{number}"
        list(bank.runtime.execute_many(commands, actor=ADA, key_of=lambda command, key=key: f"{key}/{command.account_id}"))


def leave_alone(connection: Connection) -> None:
    """Keep autovacuum from the ledger: once it has seen a small table, that may rightly be read as a whole."""
    for name in LEDGER:
        connection.execute(text(f"alter table {name} set (autovacuum_enabled = false)"))


def scans(connection: Connection, names: Sequence[str] = LEDGER) -> tuple[int, int]:
    """Return how often one of the tables was read as a whole, and how often one of their indexes was."""
    # What a server process has counted it tells at its end at the latest.
    others = "from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
    connection.execute(text(f"select pg_terminate_backend(pid, 10000) {others}"))
    counted = "select sum(seq_scan), sum(idx_scan) from pg_stat_user_tables where relname = any(:names)"
    whole, by_index = connection.execute(text(counted), {"names": list(names)}).one()
    return int(whole), int(by_index)


@on_postgres
@pytest.mark.parametrize("work", [one_by_one, many_at_once], ids=["one by one", "many at once"])
def test_statements_that_were_prepared_on_a_new_ledger_find_rows_by_an_index(
    bank: Bank, work: Callable[[Bank, list[UUID], int], None]
) -> None:
    with bank.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        leave_alone(connection)
        ids = [bank.open(f"owner {number}") for number in range(ROUNDS)]
        work(bank, ids, ROUNDS)
        whole, by_index = scans(connection)
    assert whole == 0
    assert by_index > ROUNDS * ROUNDS


@on_postgres
def test_once_an_empty_ledger_s_statistics_are_mended_a_kept_plan_is_made_anew(bank: Bank) -> None:
    # What `doctor` warns of, UCD204, and its cure, with connections that stay open.
    keys = TABLES.idempotency.name
    with bank.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        leave_alone(connection)
        connection.execute(text(f"analyze {keys}"))
        ids = [bank.open(f"owner {number}") for number in range(ROUNDS)]
        one_by_one(bank, ids, ROUNDS)
        connection.execute(text(f"analyze {keys}"))
        one_by_one(bank, ids, 2 * ROUNDS)
        whole, _ = scans(connection, [keys])
    commands_before = ROUNDS + ROUNDS * ROUNDS
    assert ROUNDS * ROUNDS < whole <= commands_before  # the look-ups of each before, and of none after
