"""What one accepted command leaves in the ledger.

Each command makes some of these, and a named tuple is made in a fifth of the time of a frozen dataclass. `Said` is known before anything
is decided, and whoever runs a command has time while the database looks for the row (see `Changes.prepare`): what the rows will
hold of it is made text then.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, NamedTuple, TypeAlias
from uuid import UUID

from usecasecore.ledger.chain import body_of, instant_text
from usecasecore.ledger.personal import PersonalValue

__all__ = [
    "Attempt",
    "AuditEntry",
    "Entries",
    "EntryKind",
    "IdempotencyKey",
    "OutboxMessage",
    "Said",
    "SaidTexts",
    "StoredResult",
]

EntryKind: TypeAlias = Literal["create", "change", "delete", "baseline"]
"""What an audit entry is about. `create` has no state before, `delete` none after and nothing follows on it; `baseline` is
the first entry of a row that was there before the library, with the version and the state that it had then."""


class IdempotencyKey(NamedTuple):
    """The scope of an idempotency key: two actors with the same key never meet."""

    tenant: str
    actor: str
    use_case: str
    key: str


@dataclass(slots=True)
class Said:
    """What was said with a command, and when.

    Attributes:
        common: Columns that all of its audit entries share (who, why, when, the command as JSON text).
        headers: The outbox headers, as JSON text.
    """

    key: IdempotencyKey
    command_id: UUID
    created_at: datetime
    expires_at: datetime
    common: dict[str, Any]
    headers: str
    _texts: SaidTexts | None = field(default=None, repr=False, compare=False)

    def texts(self) -> SaidTexts:
        """Return it as text, made once."""
        if self._texts is None:
            self._texts = _texts_of(self)
        return self._texts


class SaidTexts(NamedTuple):
    """What was said, as text.

    Attributes:
        command_id: 32 hexadecimal digits.
        created_at: As `chain.instant_text` returns it; so are all instants here.
        asked: The columns of an audit entry from `command_id` to `reason`, in the order of `chain.FIELDS`.
        causes: Those from `request_id` to `occurred_at`.
        asked_body: What the first are in the body of an entry.
        command_body: What the command is there.
        causes_body: What the last are there.
    """

    command_id: str
    created_at: str
    expires_at: str
    asked: tuple[Any, ...]
    causes: tuple[Any, ...]
    asked_body: str
    command_body: str
    causes_body: str


def _texts_of(said: Said) -> SaidTexts:
    common, command_id, created_at = said.common, said.command_id.hex, instant_text(said.created_at)
    occurred_at = created_at if common["occurred_at"] is said.created_at else instant_text(common["occurred_at"])
    who = common["tenant"], common["actor"], common["on_behalf_of"], common["reason"]
    asked = (command_id, common["use_case"], said.key.key, *who)
    causes = common["request_id"], common["correlation_id"], common["causation_id"], occurred_at
    bodies = body_of(asked), body_of((common["command"],)), body_of(causes)
    return SaidTexts(command_id, created_at, instant_text(said.expires_at), asked, causes, *bodies)


class StoredResult(NamedTuple):
    """What is stored under an idempotency key.

    Attributes:
        fingerprint: 32 bytes: SHA-256 of the fields that the caller set.
        command_id: Id of the execution.
        version: The aggregate's version after it; None where there is no single one.
        result_type: Name of the result's type.
        result_version: The version of that type; 1 where it declares none.
        result: The result as JSON text, byte for byte what is replayed.
    """

    fingerprint: bytes
    command_id: UUID
    version: int | None
    result_type: str
    result_version: int
    result: str


class AuditEntry(NamedTuple):
    """One aggregate's part in a command; without an aggregate where the command has none. JSON columns hold JSON text.

    Attributes:
        kind: `create`, `change`, `delete`, or `baseline` for a row that was there before the runtime.
        messages: How many events and jobs the command emitted, on its first entry; 0 on the others.
    """

    id: UUID
    kind: EntryKind = "change"
    aggregate: str | None = None
    aggregate_id: str | None = None
    version: int | None = None
    lifecycle: str | None = None
    trigger: str | None = None
    from_state: str | None = None
    to_state: str | None = None
    changes: str = "{}"
    detail: str = "{}"
    messages: int = 0


class OutboxMessage(NamedTuple):
    """An event or a job. `payload` is JSON text."""

    id: UUID
    kind: str
    type: str
    type_version: int
    aggregate: str | None
    aggregate_id: str | None
    version: int | None
    ordinal: int
    payload: str
    available_at: datetime


class Entries(NamedTuple):
    """Everything that one accepted command writes beside its aggregates.

    Attributes:
        personal: The personal values that the audit entries hold commitments to.
    """

    said: Said
    stored: StoredResult
    audit: tuple[AuditEntry, ...]
    outbox: tuple[OutboxMessage, ...] = ()
    personal: tuple[PersonalValue, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """A command that was refused (`refused`) or went wrong (`failed`)."""

    id: UUID
    common: dict[str, Any]
    key: str
    aggregate: str | None
    aggregate_id: str | None
    version: int | None
    outcome: str
    code: str
    message: str
