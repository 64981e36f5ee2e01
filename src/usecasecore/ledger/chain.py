r"""The hash chain of an aggregate's audit entries: how an entry becomes bytes, and how its hash follows from the last one.

How it works. The body of an entry is one text: its fields in a fixed order, each as `length:characters`, or `-` where it is
NULL. JSON columns go in as the text that is stored. Then

    hash = SHA-256("usecasecore audit entry\n" || hash version (1 byte) || previous hash (32 bytes)
                   || length of the body in bytes (8 bytes, big endian) || body in UTF-8)

where the previous hash is that of the same aggregate's entry before, and 32 zero bytes for the first entry and for entries
without an aggregate. PostgreSQL computes it inside of the statement that writes the entry, where alone its clock and the head
can be read under the lock: of a single command it gets the body but for its last field, which is that clock's. On SQLite `entry_hash` does, and
verification makes the whole body in SQL of what is stored. `body` and `body_sql` must agree, and
neither may ever change for a version that was written: `tests/golden/audit_hash.json` holds them to that. A new column of the
audit table that has to be protected makes a new version.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import String, Table, Uuid

from usecasecore.ledger.types import Instant

__all__ = [
    "DOMAIN",
    "FIELDS",
    "GENESIS",
    "HASH_VERSION",
    "body",
    "body_of",
    "body_sql",
    "entry_hash",
    "hash_of_body",
    "hash_sql",
    "instant_text",
    "part_sql",
    "unstamped_body",
]

HASH_VERSION = 1
DOMAIN = b"usecasecore audit entry\n"
GENESIS = bytes(32)

FIELDS = (
    "id",
    "command_id",
    "use_case",
    "key",
    "tenant",
    "actor",
    "on_behalf_of",
    "reason",
    "aggregate",
    "aggregate_id",
    "version",
    "kind",
    "lifecycle",
    "trigger",
    "from_state",
    "to_state",
    "command",
    "changes",
    "detail",
    "messages",
    "request_id",
    "correlation_id",
    "causation_id",
    "occurred_at",
    "recorded_at",
)
"""The fields of version 1, in the order of the body."""

_PREFIX = DOMAIN + bytes([HASH_VERSION])
_UNSTAMPED = FIELDS[:-1]

_USUAL = {
    "id": 32,
    "command_id": 32,
    "key": 36,
    "aggregate_id": 36,
    "version": 1,
    "kind": 6,
    "detail": 2,
    "messages": 1,
    "correlation_id": 36,
    "occurred_at": 26,
    "recorded_at": 26,
}
"""How long the text of a field is in most entries. To write the length is what costs most of the body in SQL; these need none."""


def body(row: Mapping[str, Any]) -> str:
    """Return the body of an entry.

    Args:
        row: The entry's columns; JSON columns as the text that is stored, instants aware or as text of the form `instant_text`
            returns.
    """
    return body_of([row[name] for name in FIELDS])


def unstamped_body(row: Mapping[str, Any]) -> str:
    """Return the body of an entry without its last field, `recorded_at`, which the database knows when it writes the entry."""
    return body_of([row[name] for name in _UNSTAMPED])


def body_of(values: Iterable[Any]) -> str:
    """Return the body of an entry whose fields are these values, in the order of `FIELDS`; for a part of the body, of a part of them."""
    # In one expression, with the kinds by how often they come: this is half of what the chain costs in Python.
    return "".join(["-" if one is None else f"{len(one)}:{one}" if type(one) is str else _part(_text(one)) for one in values])


def entry_hash(previous: bytes | None, row: Mapping[str, Any]) -> bytes:
    """Return the hash of an entry (32 bytes) that follows on the one with the previous hash; None for the first of a chain."""
    return hash_of_body(previous or GENESIS, body(row).encode())


def hash_of_body(previous: bytes, content: bytes) -> bytes:
    """Return the hash of an entry whose body is known, in UTF-8."""
    return hashlib.sha256(_PREFIX + previous + len(content).to_bytes(8) + content).digest()


def instant_text(instant: datetime) -> str:
    """Return an instant as the body has it: UTC, to the microsecond, `2026-05-04 12:00:00.000000`."""
    if instant.tzinfo is not UTC:
        instant = instant.astimezone(UTC)
    return instant.isoformat(" ", "microseconds")[:-6]  # without its "+00:00"


def body_sql(table: Table, dialect: str, row: str, fields: tuple[str, ...] = FIELDS) -> str:
    """Return the SQL expression for the body of an entry.

    Args:
        table: The audit table, for the types of its columns.
        dialect: `postgresql` or `sqlite`.
        row: The name under which the entry's columns are found.
        fields: For a part of the body: the fields of it.
    """
    return " || ".join(part_sql(table, dialect, name, f'{row}."{name}"') for name in fields)


def part_sql(table: Table, dialect: str, name: str, column: str) -> str:
    """Return the SQL expression for what one field adds to the body.

    Args:
        table: As for `body_sql`.
        dialect: Likewise.
        name: The field.
        column: The expression of its value.
    """
    part = _part_sql(table.c[name].type, column, dialect, _USUAL.get(name))
    return f"coalesce({part}, '-')"


def hash_sql(previous: str, content: str) -> str:
    """Return PostgreSQL's expression for `hash_of_body`.

    Args:
        previous: The expression of the previous hash, never NULL.
        content: That of the body's bytes.
    """
    return f"sha256(decode('{_PREFIX.hex()}', 'hex') || {previous} || int8send(length({content})) || {content})"


def _part(text: str) -> str:
    return f"{len(text)}:{text}"


def _text(value: Any) -> str:
    if isinstance(value, UUID):
        return f"{value.int:032x}"
    if isinstance(value, datetime):
        return instant_text(value)
    return value if isinstance(value, str) else str(value)


def _part_sql(kind: Any, column: str, dialect: str, usual: int | None) -> str:
    if dialect == "postgresql" and isinstance(kind, Uuid):
        # The type has but one length.
        return f"'32:' || encode(uuid_send({column}), 'hex')"
    if dialect == "postgresql" and isinstance(kind, Instant):
        return f"'26:' || to_char({column} at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS.US')"
    # SQLite's types are those of the values: to it all of this is text, and so are numbers in `length` and in `||`.
    plain = dialect == "sqlite" or isinstance(kind, String)
    text = column if plain else f"cast({column} as text)"
    if usual is None:
        return f"length({text}) || ':' || {text}"
    return f"case length({text}) when {usual} then '{usual}:' else length({text}) || ':' end || {text}"
