"""The sides that are compared."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any
from uuid import UUID

__all__ = [
    "CORE",
    "FIRST_QUERY",
    "NAIVE",
    "ORM",
    "ORM_ASYNCPG",
    "ORM_PSYCOPG",
    "OURS",
    "OURS_ASYNCPG",
    "OURS_PSYCOPG",
    "SIDES",
    "Perform",
    "Side",
    "lifecycle_of",
]

Perform = Callable[[UUID, str], Any]
"""Runs one command, for an aggregate's id and an idempotency key; of an asynchronous side, returns what is to be awaited."""


@dataclass(frozen=True, slots=True)
class Side:
    """One way to do the work.

    Attributes:
        name: In the report.
        module: Where its factory is; loaded only in the process that runs it.
        factory: Takes an engine, returns a `Perform`.
        does: What it does and leaves out.
        asynchronous: The driver, where the engine is an asynchronous one.
        table: Where the aggregates are.
    """

    name: str
    module: str
    factory: str
    does: str
    asynchronous: str | None = None
    table: str = "tickets"

    def on(self, engine: Any) -> Perform:
        """Return what runs a command on a database."""
        perform: Perform = getattr(import_module(self.module), self.factory)(engine)
        return perform


NAIVE = Side(
    "naive",
    "benchmarks.handwritten",
    "naive",
    "locks, asks the policy, fires, updates; NO idempotency, audit entry or outbox",
)
ORM = Side("hand-written ORM", "benchmarks.handwritten", "orm", "all eight steps, each row a mapped object; NO hash chain")
CORE = Side(
    "hand-written Core", "benchmarks.handwritten", "core", "all eight steps, plain rows by prepared Core inserts; NO hash chain"
)
OURS = Side(
    "usecasecore",
    "benchmarks.ours",
    "runtime",
    "all eight steps, the hash chain of the audit trail, and what README.md lists beyond them",
)
SIDES = (NAIVE, ORM, CORE, OURS)


def _asynchronous(side: Side, driver: str) -> Side:
    does = f"as {side.name}, awaited, on {driver}"
    return replace(
        side, name=f"{side.name}, async {driver}", factory=f"asynchronous_{side.factory}", does=does, asynchronous=driver
    )


ORM_PSYCOPG, ORM_ASYNCPG = (_asynchronous(ORM, driver) for driver in ("psycopg", "asyncpg"))
OURS_PSYCOPG, OURS_ASYNCPG = (_asynchronous(OURS, driver) for driver in ("psycopg", "asyncpg"))

FIRST_QUERY = Side(
    "a SQLAlchemy session's query", "benchmarks.handwritten", "query", "one row by its key, in a transaction, and nothing else"
)


def lifecycle_of(states: int) -> Side:
    """Return ours with a lifecycle of so many states, which a ticket goes through in a ring."""
    does = f"usecasecore, one trigger and {states} transitions"
    return Side(f"{states:,} states", "benchmarks.rings", f"ring_{states}", does, table=f"rings_{states}")
