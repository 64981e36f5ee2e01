"""What the commands of a batch leave in the ledger, without what they have in common: a line for each, a constant for the rest.

How it works. A command of a batch changes one aggregate of one class, so that it leaves one audit entry and messages about that
aggregate; and all were asked for at once, by one actor. What that makes the same is in `Shared` and is sent once, what differs
is a `Line`. Both say the same as `Entries`, a tenth as long. Texts that name the command's id have `MARK` in its place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple
from uuid import uuid4

from usecasecore.ledger.chain import instant_text

__all__ = ["MARK", "Bodies", "Line", "MessageLine", "Shared"]

MARK = f"usecasecore-{uuid4().hex}"
"""Stands for the id of a command. Of this process, so that no text that comes from elsewhere holds it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """What all commands of a batch have in common.

    Attributes:
        aggregate: Name of the aggregate's class in the ledger.
        correlation_id: As in the audit entries; `MARK` where each command's own id is.
        headers: The outbox headers as JSON text, with `MARK` for the command's id.
        result_type: As in `StoredResult`.
        result_version: As in `StoredResult`.
    """

    tenant: str | None
    actor: str
    on_behalf_of: str | None
    use_case: str
    reason: str | None
    request_id: str | None
    correlation_id: str
    causation_id: str | None
    aggregate: str
    headers: str
    result_type: str
    result_version: int


class MessageLine(NamedTuple):
    """An event or a job; see `OutboxMessage`. Its id is 32 hexadecimal digits."""

    id: str
    kind: str
    type: str
    type_version: int
    ordinal: int
    payload: str
    available_at: datetime


class Line(NamedTuple):
    """What one command leaves; see `AuditEntry` and `StoredResult`. The id of the entry is 32 hexadecimal digits, that of the command has its hyphens."""

    id: str
    command_id: str
    key: str
    fingerprint: bytes
    aggregate_id: str
    version: int
    lifecycle: str | None
    trigger: str | None
    from_state: str | None
    to_state: str | None
    command: str
    changes: str
    detail: str
    result: str
    created_at: datetime
    expires_at: datetime
    messages: Sequence[MessageLine]


class Bodies:
    """Makes what `chain.unstamped_body` makes of an entry: its fields but the last, for the hash."""

    def __init__(self, shared: Shared) -> None:
        self._use_case = _part(shared.use_case)
        owners = (shared.tenant, shared.actor, shared.on_behalf_of, shared.reason, shared.aggregate)
        self._owners = "".join(map(_part, owners))
        self._request_id, self._causation_id = _part(shared.request_id), _part(shared.causation_id)
        self._correlation_id = None if shared.correlation_id == MARK else _part(shared.correlation_id)
        self._moves: dict[tuple[str | None, ...], str] = {}

    def of(self, line: Line) -> str:
        """Return the body of a line's entry."""
        id_, command_id, key, _, aggregate_id, number, *_, command, changes, detail, _, at, _, sent = line
        version, messages, move = str(number), str(len(sent)), line[6:10]
        moved = self._moves.get(move)
        if moved is None:
            moved = self._moves[move] = "6:change" + "".join(map(_part, move))
        correlation_id, command_hex = self._correlation_id or f"36:{command_id}", command_id.replace("-", "")
        instant = at.isoformat(" ", "microseconds")[:26] if at.tzinfo is UTC else instant_text(at)
        return (
            f"32:{id_}32:{command_hex}{self._use_case}{len(key)}:{key}{self._owners}"
            f"{len(aggregate_id)}:{aggregate_id}{len(version)}:{version}{moved}{len(command)}:{command}{len(changes)}:{changes}"
            f"{len(detail)}:{detail}{len(messages)}:{messages}{self._request_id}{correlation_id}{self._causation_id}26:{instant}"
        )


def _part(text: str | None) -> str:
    return "-" if text is None else f"{len(text)}:{text}"
