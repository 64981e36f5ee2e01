"""The databases to measure on: new, durable, and not empty."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from sqlalchemy import Connection, create_engine, insert

from benchmarks import history, ours, rings, tickets
from tests.postgres import PostgresServer, create_database
from usecasecore import migrations, uuid7
from usecasecore.ledger import ledger_tables

__all__ = ["DATABASES", "Database", "grown", "postgresql", "sqlite", "sync_milliseconds"]

TICKETS = 10_000
LEDGER_ROWS = 10_000


@dataclass(frozen=True, slots=True)
class Database:
    """A database with tickets and a ledger that has been in use.

    Attributes:
        settings: Version, and the settings that decide what a commit costs.
    """

    name: str
    url: str
    settings: str


@contextmanager
def postgresql() -> Iterator[Database]:
    """Run a server of its own, default settings, fsync and synchronous_commit on."""
    with PostgresServer(durable=True) as server:
        url = server.url()
        engine = create_engine(url)
        with engine.begin() as connection:
            _fill(connection)
            rings.fill(connection)
        # Plans are cached by the connections to come: an empty table without statistics would leave them a bad one.
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("vacuum analyze")
            names = ("server_version", "fsync", "synchronous_commit", "full_page_writes")
            values = {name: connection.exec_driver_sql(f"show {name}").scalar() for name in names}
        engine.dispose()
        version = values.pop("server_version")
        settings = ", ".join(f"{name} {value}" for name, value in values.items())
        yield Database("PostgreSQL", url, f"PostgreSQL {version}, {settings}, loopback TCP")


@contextmanager
def sqlite() -> Iterator[Database]:
    """Make a file; each side sets WAL, synchronous=FULL and BEGIN IMMEDIATE on its own connection."""
    with tempfile.TemporaryDirectory(prefix="usecasecore-bench-") as directory:
        url = f"sqlite:///{directory}/tickets.db"
        engine = create_engine(url)
        with engine.begin() as connection:
            _fill(connection)
        with engine.connect() as connection:
            connection.exec_driver_sql("analyze")
            version = connection.exec_driver_sql("select sqlite_version()").scalar()
        engine.dispose()
        yield Database("SQLite", url, f"SQLite {version}, a file, WAL, synchronous=FULL, BEGIN IMMEDIATE")


DATABASES = {"postgresql": postgresql, "sqlite": sqlite}


def grown(database: Database, rows: int) -> Database:
    """Make another database on the same server: as many tickets, and a ledger with so many rows in each table.

    With none it is as after the installation: nothing has been analysed either.
    """
    url = create_database(database.url, f"grown_{rows}")
    engine = create_engine(url)
    with engine.begin() as connection:
        _fill_tickets(connection)
    if rows:
        history.write(engine, rows)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("vacuum analyze" if rows else "vacuum analyze tickets")
        connection.exec_driver_sql("checkpoint")  # now, not while something is measured
    engine.dispose()
    return Database(database.name, url, database.settings)


def sync_milliseconds() -> float:
    """Return how long the disk below the databases takes to keep 8 kB, the median in milliseconds."""
    taken = []
    with tempfile.TemporaryDirectory(prefix="usecasecore-bench-") as directory:
        file = os.open(Path(directory) / "probe", os.O_CREAT | os.O_WRONLY)
        for _ in range(200):
            started = time.perf_counter()
            os.write(file, bytes(8192))
            os.fsync(file)
            taken.append(time.perf_counter() - started)
        os.close(file)
    return statistics.median(taken) * 1000


def _fill_tickets(connection: Connection) -> None:
    migrations.upgrade(connection)
    ours.Base.metadata.create_all(connection)
    rows = [
        {"id": uuid7(), "customer": f"customer {n}", "subject": f"subject {n}", "priority": n % 5, "budget": 10**9}
        for n in range(TICKETS)
    ]
    connection.execute(insert(ours.Ticket), rows)


def _fill(connection: Connection) -> None:
    _fill_tickets(connection)
    ledger, now = ledger_tables(), datetime.now(UTC)
    actor = f"user:{tickets.AGENT}"
    keys = [
        {
            "tenant": "",
            "actor": actor,
            "use_case": tickets.ANSWER,
            "key": str(uuid4()),
            "fingerprint": bytes(32),
            "command_id": uuid7(),
            "result_type": "Answered",
            "result": "{}",
            "created_at": now,
            "expires_at": now,
        }
        for _ in range(LEDGER_ROWS)
    ]
    audit = [
        {
            "id": uuid7(),
            "command_id": row["command_id"],
            "use_case": tickets.ANSWER,
            "actor": actor,
            "aggregate": "ticket",
            "aggregate_id": row["key"],
            "version": 1,
            "command": {},
            "changes": {},
            "detail": {},
            "correlation_id": str(row["command_id"]),
            "occurred_at": now,
        }
        for row in keys
    ]
    outbox = [
        {
            "id": uuid7(),
            "command_id": row["command_id"],
            "kind": "event",
            "type": "ticket.answered",
            "type_version": 1,
            "aggregate": "ticket",
            "aggregate_id": row["key"],
            "version": 1,
            "ordinal": 0,
            "payload": {},
            "headers": {},
            "occurred_at": now,
            "available_at": now,
            "delivered_at": now,
        }
        for row in keys
    ]
    heads = [{name: row[name] for name in ("aggregate", "aggregate_id", "version")} | {"hash": bytes(32)} for row in audit]
    for table, seeds in ((ledger.idempotency, keys), (ledger.audit, audit), (ledger.head, heads), (ledger.outbox, outbox)):
        connection.execute(insert(table), seeds)
