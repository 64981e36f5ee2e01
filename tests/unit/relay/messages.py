"""Messages as the relay hands them out."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from usecasecore.relay import OutgoingMessage

MESSAGE = OutgoingMessage(
    id=UUID("0198c5a0-0000-7000-8000-000000000001"),
    kind="event",
    type="order.submitted",
    type_version=2,
    aggregate="order",
    aggregate_id="42",
    version=7,
    ordinal=1,
    payload_text='{"customer":"Gräce \\"G\\" 100%","total":39.80}',
    headers={"correlation_id": "c 1", "causation_id": "k1", "actor": "user:ada"},
    tenant="acme",
    occurred_at=datetime(2026, 5, 4, 12, 0, 0, 1500, tzinfo=UTC),
)


def message(**others: Any) -> OutgoingMessage:
    return replace(MESSAGE, **others)
