"""The sides that are compared."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from uuid import UUID

from sqlalchemy import Engine

__all__ = ["CORE", "NAIVE", "ORM", "OURS", "SIDES", "Perform", "Side"]

Perform = Callable[[UUID, str], object]
"""Runs one command, for a ticket's id and an idempotency key."""


@dataclass(frozen=True, slots=True)
class Side:
    """One way to do the work.

    Attributes:
        name: In the report.
        module: Where its factory is; loaded only in the process that runs it.
        factory: Takes an engine, returns a `Perform`.
        does: What it does and leaves out.
    """

    name: str
    module: str
    factory: str
    does: str

    def on(self, engine: Engine) -> Perform:
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
