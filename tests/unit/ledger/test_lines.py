"""The lines of a batch say what entries say."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

import pytest

from usecasecore.ledger.chain import unstamped_body
from usecasecore.ledger.lines import MARK, Bodies, Line, Move, Shared

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
    fingerprinted=b"",
    keep=timedelta(days=1),
)
SAID = replace(
    SHARED, tenant="acme", on_behalf_of="user:grace", reason="wh\u00fd", request_id="r", correlation_id="c", causation_id="b"
)
FIRED: Line = {
    "p": 0,
    "i": "0" * 31 + "7",
    "c": str(UUID(int=9)),
    "k": "key",
    "a": "4\u2603",
    "v": 12,
    "w": 1,
    "m": '{"a":"\u2603"}',
    "x": "{}",
    "z": '{"b":1}',
    "r": "{}",
    "o": AT,
    "n": 2,
}
PLAIN: Line = {**FIRED, "w": 2, "n": 0}
MOVES = (Move("account", "close", "open", "closed"), Move(None, None, None, None))
ELSEWHERE: Line = {**FIRED, "o": AT.astimezone(timezone(timedelta(hours=2)))}


@pytest.mark.parametrize("shared", [SHARED, SAID], ids=["little said", "all said"])
@pytest.mark.parametrize("line", [FIRED, PLAIN, ELSEWHERE], ids=["fired", "not fired", "another zone"])
def test_the_body_of_a_line_is_that_of_its_entry(shared: Shared, line: Line) -> None:
    move = MOVES[line["w"] - 1]
    entry = {
        "id": UUID(line["i"]),
        "command_id": UUID(line["c"]),
        "use_case": shared.use_case,
        "key": line["k"],
        "tenant": shared.tenant,
        "actor": shared.actor,
        "on_behalf_of": shared.on_behalf_of,
        "reason": shared.reason,
        "aggregate": shared.aggregate,
        "aggregate_id": line["a"],
        "version": line["v"],
        "kind": "change",
        "lifecycle": move.lifecycle,
        "trigger": move.trigger,
        "from_state": move.source,
        "to_state": move.dest,
        "command": line["m"],
        "changes": line["x"],
        "detail": line["z"],
        "messages": line["n"],
        "request_id": shared.request_id,
        "correlation_id": shared.correlation_id.replace(MARK, line["c"]),
        "causation_id": shared.causation_id,
        "occurred_at": line["o"],
    }
    assert Bodies(shared).of(line, move.part) == unstamped_body(entry)
