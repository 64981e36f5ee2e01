"""The ledger's rows as a database takes them whose ids and instants are text: tuples, made straight from what a command leaves.

How it works. A command names the same few ids and instants again and again. So each is made text once, where SQLAlchemy's types or a
driver would do it for each value. JSON columns get the text that is stored. SQLite stores all of these texts as they are; PostgreSQL
turns them into its types (see `write_sql`).
"""

from __future__ import annotations

from typing import Any, TypeAlias

from usecasecore.ledger.chain import FIELDS, body_of, instant_text
from usecasecore.ledger.entries import Entries

__all__ = ["AUDIT", "IDEMPOTENCY", "OUTBOX", "PERSONAL", "TextRow", "TextRows"]

TextRow: TypeAlias = tuple[Any, ...]

AUDIT = FIELDS[:-1]
"""The columns of an audit entry that are hashed, in the order of the body; the last of these is known only to the database."""

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
PERSONAL = ("command_id", "tenant", "field", "subject", "value", "salt")


class TextRows:
    """The rows of one command."""

    __slots__ = ("_entries", "_texts")

    def __init__(self, entries: Entries) -> None:
        self._entries, self._texts = entries, entries.said.texts()

    def audit(self) -> list[tuple[TextRow, str]]:
        """Return the audit entries, with the columns `AUDIT`, and what these columns are in the body of each."""
        texts, command = self._texts, self._entries.said.common["command"]
        rows: list[tuple[TextRow, str]] = []
        for one in self._entries.audit:
            id_, kind, aggregate, key, version, lifecycle, trigger, source, dest, changes, detail, messages = one
            id_text = id_.hex
            about = aggregate, key, version, kind, lifecycle, trigger, source, dest
            done = changes, detail, messages
            row = (id_text, *texts.asked, *about, command, *done, *texts.causes)
            body = f"32:{id_text}{texts.asked_body}{body_of(about)}{texts.command_body}{body_of(done)}{texts.causes_body}"
            rows.append((row, body))
        return rows

    def idempotency(self) -> TextRow:
        """Return the row of the key and of the result, with the columns `IDEMPOTENCY`."""
        fingerprint, _, *result = self._entries.stored
        texts = self._texts
        return (*self._entries.said.key, fingerprint, texts.command_id, *result, texts.created_at, texts.expires_at)

    def outbox(self) -> list[TextRow]:
        """Return the events and jobs, with the columns `OUTBOX`."""
        said, now = self._entries.said, self._texts.created_at
        shared = self._texts.command_id, said.common["tenant"], said.headers, now
        return [
            (id_.hex, *message, now if available_at is said.created_at else instant_text(available_at), *shared)
            for id_, *message, available_at in self._entries.outbox
        ]

    def personal(self) -> list[TextRow]:
        """Return the personal values, with the columns `PERSONAL`."""
        shared = self._texts.command_id, self._entries.said.key.tenant
        return [(*shared, one.field, one.subject, one.value, one.salt) for one in self._entries.personal]
