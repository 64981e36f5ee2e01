"""What the hash chain costs: the same commands with and without it, interleaved in one process, one client and several.

python -m benchmarks.chain [--rounds 15] [--commands 100] [--clients 4] [--only postgresql|sqlite]
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Connection, create_engine, insert, select

from benchmarks import databases, ours, tickets
from usecasecore import Actor, Application, Runtime
from usecasecore.driver import DriverSql, InTurn
from usecasecore.ledger import ledger_tables, store, text_rows, write_sql
from usecasecore.ledger.chain import GENESIS
from usecasecore.ledger.row_update import RowUpdate
from usecasecore.ledger.text_rows import TextRow

Perform = Callable[[UUID, str], object]


class UnchainedPostgres(store.PostgresStore):
    """Writes what the ledger had before there was a chain."""

    def _statement(
        self, claimed: bool, personal: bool, update: RowUpdate | None, fails: bool, messages: int | None = None
    ) -> DriverSql:
        wanted = claimed, personal, fails, messages, "" if update is None else update.text
        if wanted not in self._statements:
            tables, dialect = self.tables, self.dialect
            made = (
                _Unchained(tables, dialect, update) if messages is None else _UnchainedValues(tables, dialect, update, messages)
            )
            self._statements[wanted] = made.statement(claimed=claimed, personal=personal, fails=fails)
        return self._statements[wanted]


class _Unchained(write_sql._Writing):
    def _chained(self, began: str) -> str:
        return f"audited as ({self._inserted('audit', 'audit', began)})"


class _UnchainedValues(write_sql._WritingValues):
    _chained = _Unchained._chained


class UnchainedSqlite(store.SqliteStore):
    """Likewise."""

    def __init__(self, tables: Any, dialect: Any) -> None:
        super().__init__(tables, dialect)
        self._audit = store._Prepared(tables.audit, dialect, text_rows.AUDIT)

    def _chain(self, sending: InTurn, row: TextRow, body: str) -> None:
        self._audit.insert(sending, [row])


def performer(url: str, *, chained: bool, clients: int) -> Perform:
    engine = create_engine(url, pool_size=clients, max_overflow=0)
    agent = Actor("user", tickets.AGENT, roles=tickets.ROLES)
    runtime = Runtime(engine, Application([ours.AnswerTicket], policy=ours.AgentsOnly(), name="tickets"))
    if not chained:
        tables, dialect = ledger_tables(), engine.dialect
        without = UnchainedPostgres(tables, dialect) if dialect.name == "postgresql" else UnchainedSqlite(tables, dialect)
        for plan in runtime._shell._plans.values():
            plan.store = without
    return lambda ticket_id, key: runtime.execute(
        ours.Answer(ticket_id=ticket_id, minutes=tickets.MINUTES), actor=agent, idempotency_key=key
    )


def rate(perform: Perform, ids: list[UUID], commands: int, clients: int) -> float:
    """Return commands per second; each client answers tickets of its own."""
    parts = [random.sample(ids[client::clients], commands) for client in range(clients)]

    def work(part: list[UUID]) -> None:
        for ticket_id in part:
            perform(ticket_id, str(uuid4()))

    started = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(work, parts))
    return commands * clients / (time.perf_counter() - started)


def with_heads(connection: Connection, ids: list[UUID]) -> None:
    """Give each ticket the head that it would have since it was created: what a command does is to move one."""
    head = ledger_tables().head
    there = set(connection.scalars(select(head.c.aggregate_id).where(head.c.aggregate == "ticket")))
    new = [str(one) for one in ids if str(one) not in there]
    if new:
        connection.execute(
            insert(head), [{"aggregate": "ticket", "aggregate_id": one, "version": 1, "hash": GENESIS} for one in new]
        )


def measure(url: str, *, rounds: int, commands: int, clients: int) -> str:
    engine = create_engine(url)
    with engine.begin() as connection:
        ids = list(connection.scalars(select(ours.Ticket.id)))
        with_heads(connection, ids)
    engine.dispose()
    # Each side has tickets of its own: what one writes past the chain the other must not find.
    sides = {chained: (performer(url, chained=chained, clients=clients), ids[chained::2]) for chained in (False, True)}
    for perform, own in sides.values():
        rate(perform, own, 50, clients)
    ratios = []
    for _ in range(rounds):
        order = list(sides)
        random.shuffle(order)
        seen = {chained: rate(*sides[chained], commands, clients) for chained in order}
        ratios.append(seen[True] / seen[False])
    low, median, high = statistics.quantiles(ratios, n=4)
    return (
        f"{clients} clients: {median:.3f} of the throughput without a chain (quartiles {low:.3f} to {high:.3f}, {rounds} rounds)"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--commands", type=int, default=100)
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--only", choices=["postgresql", "sqlite"])
    asked = parser.parse_args()
    for name in [asked.only] if asked.only else ["postgresql", "sqlite"]:
        with getattr(databases, name)() as database:
            print(f"{database.settings}:", flush=True)
            for clients in dict.fromkeys([1, asked.clients] if name == "postgresql" else [1]):
                print("  " + measure(database.url, rounds=asked.rounds, commands=asked.commands, clients=clients), flush=True)


if __name__ == "__main__":
    main()
