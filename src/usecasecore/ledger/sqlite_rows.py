"""The ledger's rows as SQLite stores them: tuples of the driver's values, made straight from what a command leaves.

How it works. SQLite knows neither ids nor instants: both are text, and a command names the same few of them again and again.
So each is made text once, where SQLAlchemy's types would do it for each value. JSON columns get the text that is stored.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from usecasecore.ledger.chain import FIELDS, instant_text
from usecasecore.ledger.entries import Entries

__all__ = [
    "AUDIT",
    "IDEMPOTENCY",
    "OUTBOX",
    "PERSONAL",
    "SqliteRow",
    "audit_rows",
    "idempotency_row",
    "outbox_rows",
    "personal_rows",
]

SqliteRow: TypeAlias = tuple[Any, ...]

AUDIT = FIELDS[:-1]
"""The columns of `audit_rows`: those that are hashed, in the order of the body; the last of them is known only to the database."""


def audit_rows(entries: Entries) -> list[SqliteRow]:
    """Return the audit entries, with the columns `AUDIT`."""
    common = entries.common
    asked = common["command_id"].hex, common["use_case"], entries.key.key, common["tenant"], common["actor"]
    reasons = common["on_behalf_of"], common["reason"]
    causes = common["request_id"], common["correlation_id"], common["causation_id"], instant_text(common["occurred_at"])
    command = common["command"]
    return [
        (
            id_.hex,
            *asked,
            *reasons,
            aggregate,
            aggregate_id,
            version,
            kind,
            lifecycle,
            trigger,
            from_state,
            to_state,
            command,
            changes,
            detail,
            messages,
            *causes,
        )
        for (
            id_,
            kind,
            aggregate,
            aggregate_id,
            version,
            lifecycle,
            trigger,
            from_state,
            to_state,
            changes,
            detail,
            messages,
        ) in entries.audit
    ]


IDEMPOTENCY = (
    "tenant",
    "actor",
    "use_case",
    "key",
    "fingerprint",
    "command_id",
    "version",
    "result_type",
    "result_version",
    "result",
    "created_at",
    "expires_at",
)


def idempotency_row(entries: Entries) -> SqliteRow:
    """Return the row of the key and of the result, with the columns `IDEMPOTENCY`."""
    fingerprint, command_id, *result = entries.stored
    instants = instant_text(entries.created_at), instant_text(entries.expires_at)
    return (*entries.key, fingerprint, command_id.hex, *result, *instants)


OUTBOX = (
    "id",
    "kind",
    "type",
    "type_version",
    "aggregate",
    "aggregate_id",
    "version",
    "ordinal",
    "payload",
    "available_at",
    "command_id",
    "tenant",
    "headers",
    "occurred_at",
)


def outbox_rows(entries: Entries) -> list[SqliteRow]:
    """Return the events and jobs, with the columns `OUTBOX`."""
    now, occurred_at = entries.created_at, instant_text(entries.created_at)
    shared = entries.stored.command_id.hex, entries.common["tenant"], entries.headers, occurred_at
    return [
        (id_.hex, *message, occurred_at if available_at is now else instant_text(available_at), *shared)
        for id_, *message, available_at in entries.outbox
    ]


PERSONAL = ("command_id", "tenant", "field", "subject", "value", "salt")


def personal_rows(entries: Entries) -> list[SqliteRow]:
    """Return the personal values, with the columns `PERSONAL`."""
    shared = entries.stored.command_id.hex, entries.key.tenant
    return [(*shared, one.field, one.subject, one.value, one.salt) for one in entries.personal]
