"""The lines of a batch say what entries say."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

import pytest

from usecasecore.ledger.chain import unstamped_body
from usecasecore.ledger.lines import MARK, Bodies, Line, MessageLine, Shared

AT = datetime(2026, 5, 4, 12, 30, 1, 23, tzinfo=UTC)
SHARED = Shared(
    tenant=None,
    actor="user:ada",
    on_behalf_of=None,
    use_case="Close",
    reason=None,
    request_id=None,
    correlation_id=MARK,
    causation_id=None,
    aggregate="account",
    headers="{}",
    result_type="Closed",
    result_version=1,
)
SAID = replace(
    SHARED, tenant="acme", on_behalf_of="user:grace", reason="wh\u00fd", request_id="r", correlation_id="c", causation_id="b"
)
MESSAGE = MessageLine("0" * 32, "event", "closed", 1, 0, "{}", AT)
FIRED = Line(
    "0" * 31 + "7",
    str(UUID(int=9)),
    "key",
    bytes(32),
    "4\u2603",
    12,
    "account",
    "close",
    "open",
    "closed",
    '{"a":"\u2603"}',
    "{}",
    '{"b":1}',
    "{}",
    AT,
    AT,
    [MESSAGE, MESSAGE],
)
PLAIN = FIRED._replace(lifecycle=None, trigger=None, from_state=None, to_state=None, messages=[])
ELSEWHERE = FIRED._replace(created_at=AT.astimezone(timezone(timedelta(hours=2))))


@pytest.mark.parametrize("shared", [SHARED, SAID], ids=["little said", "all said"])
@pytest.mark.parametrize("line", [FIRED, PLAIN, ELSEWHERE], ids=["fired", "not fired", "another zone"])
def test_the_body_of_a_line_is_that_of_its_entry(shared: Shared, line: Line) -> None:
    entry = {
        "id": UUID(line.id),
        "command_id": UUID(line.command_id),
        "use_case": shared.use_case,
        "key": line.key,
        "tenant": shared.tenant,
        "actor": shared.actor,
        "on_behalf_of": shared.on_behalf_of,
        "reason": shared.reason,
        "aggregate": shared.aggregate,
        "aggregate_id": line.aggregate_id,
        "version": line.version,
        "kind": "change",
        "lifecycle": line.lifecycle,
        "trigger": line.trigger,
        "from_state": line.from_state,
        "to_state": line.to_state,
        "command": line.command,
        "changes": line.changes,
        "detail": line.detail,
        "messages": len(line.messages),
        "request_id": shared.request_id,
        "correlation_id": shared.correlation_id.replace(MARK, line.command_id),
        "causation_id": shared.causation_id,
        "occurred_at": line.created_at,
    }
    bodies = Bodies(shared)
    assert bodies.of(line) == unstamped_body(entry)
    assert bodies.of(line) == unstamped_body(entry)  # what it remembers of the first one included
