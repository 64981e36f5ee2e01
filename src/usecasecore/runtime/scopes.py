"""Scopes: locks on what no row stands for, taken before anything is read.

How it works. On PostgreSQL a scope is a transaction-level advisory lock on 64 bits of a hash of its name and values; two scopes that
share them by accident wait for each other, and nothing worse. It is a statement of its own: a statement sees the database as it
was when it began, so whatever reads after a wait must be another one. On SQLite all writers queue up anyway.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, text

from usecasecore.ledger.json_text import canonical
from usecasecore.messages import Command
from usecasecore.usecase import Scope

__all__ = ["lock_scopes"]

_LOCK = text(
    "select pg_advisory_xact_lock(one.key) from (select set_config('lock_timeout', :lock_timeout, true) as set) settings "
    "cross join unnest(cast(:keys as bigint[])) with ordinality as one(key, place) where settings.set is not null order by one.place"
)


def lock_scopes(connection: Connection, scopes: Sequence[Scope], command: Command[Any], lock_timeout: str) -> None:
    """Wait for the scopes of a command and hold them to the end of the transaction, whatever their order always in the same one.

    Raises:
        DBAPIError: If another one holds a scope for longer than the timeout.
    """
    if connection.dialect.name == "postgresql":
        keys = sorted({_key(scope, command) for scope in scopes})
        connection.execute(_LOCK, {"keys": keys, "lock_timeout": lock_timeout})


def _key(scope: Scope, command: Command[Any]) -> int:
    values = command.model_dump(mode="json", include=set(scope.fields))
    name = canonical([scope.name, [values[field] for field in scope.fields]])
    return int.from_bytes(hashlib.sha256(f"usecasecore scope\n{name}".encode()).digest()[:8], signed=True)
