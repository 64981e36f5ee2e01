"""What the commands of a batch leave in the ledger, without what they have in common: a line for each, a constant for the rest.

How it works. A command of a batch changes one aggregate of one class, so that it leaves one audit entry and messages about that
aggregate; and all were asked for at once, by one actor. What that makes the same is in `Shared` and is sent once, what differs
is a `Line`. Both say the same as `Entries`, a tenth as long. Texts that name the command's id have `MARK` in its place.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NotRequired, TypedDict
from uuid import uuid4

from usecasecore.ledger.chain import instant_text

__all__ = ["MARK", "Bodies", "Line", "Lines", "MessageLine", "Shared"]

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


class MessageLine(TypedDict):
    """An event or a job; see `OutboxMessage`. The names are short, as they travel with each.

    Attributes:
        p: The place of its line.
        i: Its id, 32 hexadecimal digits.
        k: Kind.
        t: Type.
        s: Version of the type.
        n: Ordinal.
        y: Payload.
        w: From when it is available; without it, from the line's `o` on.
    """

    p: int
    i: str
    k: str
    t: str
    s: int
    n: int
    y: str
    w: NotRequired[datetime]


class Line(TypedDict):
    """What one command leaves; see `AuditEntry` and `StoredResult`. A dict, since the garbage collector leaves dicts of plain values alone.

    Attributes:
        p: Its place, by which its messages find it; no two of a statement have the same.
        i: The id of the entry, 32 hexadecimal digits.
        c: The id of the command, with its hyphens.
        k: The idempotency key.
        g: The fingerprint, as hexadecimal digits.
        a: The aggregate's key.
        v: Its version.
        h: Lifecycle.
        t: Trigger.
        f: The state before.
        d: The state after.
        m: The command.
        x: The changes.
        z: The detail.
        r: The result.
        o: When it occurred: `created_at` of the key.
        e: Until when the key is kept: `expires_at`.
        n: How many messages it has.
        b: The body of the entry; see `Bodies`.
    """

    p: int
    i: str
    c: str
    k: str
    g: str
    a: str
    v: int
    h: str | None
    t: str | None
    f: str | None
    d: str | None
    m: str
    x: str
    z: str
    r: str
    o: datetime
    e: datetime
    n: int
    b: str


class Lines:
    """Lines that are written together, and all their messages."""

    __slots__ = ("lines", "messages")

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self.messages: list[MessageLine] = []

    def __len__(self) -> int:
        return len(self.lines)


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
        """Return the body of a line's entry; what the line has as its body is not looked at."""
        command_id, key, aggregate_id, at = line["c"], line["k"], line["a"], line["o"]
        command, changes, detail = line["m"], line["x"], line["z"]
        version, messages, move = str(line["v"]), str(line["n"]), (line["h"], line["t"], line["f"], line["d"])
        moved = self._moves.get(move)
        if moved is None:
            moved = self._moves[move] = "6:change" + "".join(map(_part, move))
        correlation_id, command_hex = self._correlation_id or f"36:{command_id}", command_id.replace("-", "")
        instant = at.isoformat(" ", "microseconds")[:26] if at.tzinfo is UTC else instant_text(at)
        return (
            f"32:{line['i']}32:{command_hex}{self._use_case}{len(key)}:{key}{self._owners}"
            f"{len(aggregate_id)}:{aggregate_id}{len(version)}:{version}{moved}{len(command)}:{command}{len(changes)}:{changes}"
            f"{len(detail)}:{detail}{len(messages)}:{messages}{self._request_id}{correlation_id}{self._causation_id}26:{instant}"
        )


def _part(text: str | None) -> str:
    return "-" if text is None else f"{len(text)}:{text}"
