"""What the commands of a batch leave in the ledger, without what they have in common: a line for each, a constant for the rest.

How it works. A command of a batch changes one aggregate of one class, so that it leaves one audit entry and messages about that
aggregate; and all were asked for at once, by one actor. What that makes the same is in `Shared` and is sent once, what differs
is a `Line`. Of the transitions there are but a few different ones: each is a `Move`, which lines name by its place. All of it says
the same as `Entries`, a tenth as long. Texts that name the command's id have `MARK` in its place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, NotRequired, TypedDict
from uuid import uuid4

from usecasecore.ledger.chain import instant_text
from usecasecore.ledger.transitions import event_around_key

__all__ = ["MARK", "Bodies", "Line", "Lines", "MessageLine", "Move", "Shared"]

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
        fingerprinted: What the fingerprint of a command is made of, before its JSON text.
        keep: For how long their keys are kept.
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
    fingerprinted: bytes
    keep: timedelta


class Move(NamedTuple):
    """What an entry's own columns tell of a lifecycle."""

    lifecycle: str | None
    trigger: str | None
    source: str | None
    dest: str | None

    @property
    def part(self) -> str:
        """What the body of an entry has of it, with the entry's kind, which comes first."""
        return "6:change" + "".join(map(_part, self))

    @property
    def event_around_key(self) -> tuple[str, str]:
        """What the payload of the event about it has around a plain key; see `transitions`. Two empty texts where there is none."""
        lifecycle, trigger, source, dest = self
        if lifecycle is None or trigger is None or source is None or dest is None:
            return "", ""
        return event_around_key(lifecycle, trigger, source, dest)

    def event_type(self, aggregate: str) -> str:
        """Return the type of the event about it."""
        return f"{aggregate}.transition.{self.trigger}"


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
        a: The aggregate's key.
        v: Its version.
        w: The place of its move in `Lines.moves`, from 1 on, as SQL counts.
        m: The command, which its fingerprint is made of, too.
        x: The changes.
        z: The detail.
        r: The result.
        o: When it occurred: `created_at` of the key.
        n: How many messages it has.
        j: The id of the event about its transition, 32 hexadecimal digits; that is message 0 then, and is made of the rest of the
            line. Without it, that event is among the messages.
    """

    p: int
    i: str
    c: str
    k: str
    a: str
    v: int
    w: int
    m: str
    x: str
    z: str
    r: str
    o: datetime
    n: int
    j: NotRequired[str]


class Lines:
    """Lines that are written together, and all their messages.

    Attributes:
        moves: What lines name by its place. May hold more than they name.
    """

    __slots__ = ("lines", "messages", "moves")

    def __init__(self, moves: Sequence[Move]) -> None:
        self.moves = moves
        self.lines: list[Line] = []
        self.messages: list[MessageLine] = []

    def __len__(self) -> int:
        return len(self.lines)


class Bodies:
    """The bodies of entries without their last field, as `chain.unstamped_body` makes them.

    Attributes:
        use_case: What of each body comes from the name of the use case.
        owners: What comes from tenant, actor, reason and aggregate.
        said: What comes from the ids that the caller gave, with `MARK` where a command's own id is.
    """

    def __init__(self, shared: Shared) -> None:
        self.use_case = _part(shared.use_case)
        self.owners = "".join(map(_part, (shared.tenant, shared.actor, shared.on_behalf_of, shared.reason, shared.aggregate)))
        correlation_id = f"36:{MARK}" if shared.correlation_id == MARK else _part(shared.correlation_id)
        self.said = f"{_part(shared.request_id)}{correlation_id}{_part(shared.causation_id)}"

    def of(self, line: Line, moved: str) -> str:
        """Return the body of a line's entry; the part of its move is given."""
        command_id, key, aggregate_id, at = line["c"], line["k"], line["a"], line["o"]
        command, changes, detail = line["m"], line["x"], line["z"]
        version, messages = str(line["v"]), str(line["n"])
        instant = at.isoformat(" ", "microseconds")[:26] if at.tzinfo is UTC else instant_text(at)
        return (
            f"32:{line['i']}32:{command_id.replace('-', '')}{self.use_case}{len(key)}:{key}{self.owners}"
            f"{len(aggregate_id)}:{aggregate_id}{len(version)}:{version}{moved}{len(command)}:{command}{len(changes)}:{changes}"
            f"{len(detail)}:{detail}{len(messages)}:{messages}{self.said.replace(MARK, command_id)}26:{instant}"
        )


def _part(text: str | None) -> str:
    return "-" if text is None else f"{len(text)}:{text}"
