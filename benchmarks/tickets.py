"""The business that every side does: somebody answers a ticket, and it is the other party's turn.

Nothing here knows the library, so that hand-written code runs in processes that have not loaded it. `ticket` is an object
of either mapped class of the table.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

__all__ = ["AGENT", "ANSWER", "MINUTES", "ROLES", "TicketState", "answer", "may_answer", "within_budget"]

AGENT = "ada"
ROLES = frozenset({"agent"})
ANSWER = "AnswerTicket"
MINUTES = 3
"""How long each answer takes."""


class TicketState(StrEnum):
    OPEN = "open"
    WAITING = "waiting"
    CLOSED = "closed"


def may_answer(roles: frozenset[str], ticket: Any) -> bool:
    """The policy: agents answer all but the most urgent tickets."""
    return "agent" in roles and bool(ticket.priority < 9)


def within_budget(ticket: Any) -> bool:
    """The guard of the transition."""
    return bool(ticket.minutes < ticket.budget)


def answer(ticket: Any, minutes: int, now: datetime) -> None:
    """The work itself."""
    ticket.minutes += minutes
    ticket.answers += 1
    ticket.answered_at = now
