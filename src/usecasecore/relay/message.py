"""OutgoingMessage: an event or a job on its way out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

__all__ = ["OutgoingMessage"]


@dataclass(frozen=True, slots=True, kw_only=True)
class OutgoingMessage:
    """A row of the outbox, as publishers and job queues get it.

    Attributes:
        id: The same at each delivery: receivers that must not act twice remember it.
        kind: `event` or `job`.
        type: Name of the event or job, like `order.submitted`.
        type_version: Version of the payload's schema, from 1.
        aggregate: Name of the aggregate that it is about; None where there is none.
        aggregate_id: Its key as text.
        version: Its version after the command; with `ordinal` the order of its events.
        ordinal: From 0, within one version; jobs count too, so that events may have gaps.
        payload_text: The payload as JSON text, character for character as it was written.
        headers: `use_case`, `actor`, `correlation_id`, `causation_id` (the command's id) and, where known, `request_id`.
        tenant: The tenant of the actor; None where there are none.
        occurred_at: The runtime's clock when the command came, aware, UTC.
        attempts: How many deliveries failed before this one.
        payload: The payload as JSON values, parsed from `payload_text`.
    """

    id: UUID
    kind: str
    type: str
    type_version: int
    aggregate: str | None
    aggregate_id: str | None
    version: int | None
    ordinal: int
    payload_text: str = field(repr=False)
    headers: Mapping[str, str]
    tenant: str | None
    occurred_at: datetime
    attempts: int = 0
    payload: Any = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "payload", json.loads(self.payload_text))

    @property
    def stream(self) -> tuple[str, str] | None:
        """The aggregate whose order the event must keep; None where there is no order."""
        if self.kind != "event" or self.aggregate is None or self.aggregate_id is None:
            return None
        return self.aggregate, self.aggregate_id
