"""The ledger's rows as a database takes them whose ids and instants are text: tuples, made straight from what a command leaves.

How it works. A command names the same few ids and instants again and again. So each is made text once, where SQLAlchemy's types or a
driver would do it for each value. JSON columns get the text that is stored. SQLite stores all of these texts as they are; PostgreSQL
turns them into its types (see `write_sql`).
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, TypeAlias

from usecasecore.ledger.chain import FIELDS, instant_text
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

    __slots__ = ("_command_id", "_entries", "_now", "_now_text")

    def __init__(self, entries: Entries) -> None:
        self._entries, self._now = entries, entries.created_at
        self._command_id, self._now_text = entries.stored.command_id.hex, instant_text(self._now)

    def audit(self) -> list[TextRow]:
        """Return the audit entries, with the columns `AUDIT`."""
        common = self._entries.common
        asked = self._command_id, common["use_case"], self._entries.key.key, common["tenant"], common["actor"]
        reasons, command = (common["on_behalf_of"], common["reason"]), common["command"]
        causes = common["request_id"], common["correlation_id"], common["causation_id"], self._text(common["occurred_at"])
        rows: list[TextRow] = []
        for one in self._entries.audit:
            id_, kind, aggregate, key, version, lifecycle, trigger, source, dest, changes, detail, messages = one
            moved = kind, lifecycle, trigger, source, dest
            said = command, changes, detail, messages
            rows.append((id_.hex, *asked, *reasons, aggregate, key, version, *moved, *said, *causes))
        return rows

    def idempotency(self) -> TextRow:
        """Return the row of the key and of the result, with the columns `IDEMPOTENCY`."""
        fingerprint, _, *result = self._entries.stored
        instants = self._now_text, self._text(self._entries.expires_at)
        return (*self._entries.key, fingerprint, self._command_id, *result, *instants)

    def outbox(self) -> list[TextRow]:
        """Return the events and jobs, with the columns `OUTBOX`."""
        shared = self._command_id, self._entries.common["tenant"], self._entries.headers, self._now_text
        return [(id_.hex, *message, self._text(available_at), *shared) for id_, *message, available_at in self._entries.outbox]

    def personal(self) -> list[TextRow]:
        """Return the personal values, with the columns `PERSONAL`."""
        shared = self._command_id, self._entries.key.tenant
        return [(*shared, one.field, one.subject, one.value, one.salt) for one in self._entries.personal]

    def _text(self, instant: datetime) -> str:
        return self._now_text if instant is self._now else instant_text(instant)
