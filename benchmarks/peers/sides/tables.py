"""The ticket and its bookkeeping for those that bring no tables of their own, mapped with SQLAlchemy."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import JSON, DateTime, Engine, String, insert
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from transitions import Machine

from benchmarks import tickets
from benchmarks.tickets import TicketState

TICKETS = 1_000


class Base(DeclarativeBase):
    pass


class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    customer: Mapped[str] = mapped_column(String(100))
    subject: Mapped[str] = mapped_column(String(200))
    priority: Mapped[int]
    budget: Mapped[int]
    minutes: Mapped[int] = mapped_column(default=0)
    answers: Mapped[int] = mapped_column(default=0)
    answered_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    state: Mapped[str] = mapped_column(String(64), default=TicketState.OPEN.value)
    version: Mapped[int] = mapped_column(default=1)

    def has_budget(self) -> bool:
        return tickets.within_budget(self)


class IdempotencyKey(Base):
    __tablename__ = "idempotency_keys"

    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    result: Mapped[Any] = mapped_column(JSON)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class AuditRecord(Base):
    __tablename__ = "audit_records"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    action: Mapped[str] = mapped_column(String(200))
    actor: Mapped[str] = mapped_column(String(400))
    ticket_id: Mapped[UUID] = mapped_column(index=True)
    payload: Mapped[Any] = mapped_column(JSON)
    occurred_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class OutboxRecord(Base):
    __tablename__ = "outbox_records"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    type: Mapped[str] = mapped_column(String(200))
    ticket_id: Mapped[UUID]
    payload: Mapped[Any] = mapped_column(JSON)
    occurred_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


# Shared by all tickets, as on the hand-written sides.
MACHINE = Machine(
    model=None,
    states=[state.value for state in TicketState],
    initial=TicketState.OPEN.value,
    transitions=[
        {"trigger": "answer", "source": "open", "dest": "waiting", "conditions": "has_budget"},
        {"trigger": "answer", "source": "waiting", "dest": "open", "conditions": "has_budget"},
        {"trigger": "close", "source": ["open", "waiting"], "dest": "closed"},
    ],
    auto_transitions=False,
    model_attribute="state",
)


class Refused(Exception):
    """The policy or the guard said no."""


def change(ticket: Ticket, minutes: int) -> datetime:
    """Fire, and do the work; return when."""
    if not MACHINE.events["answer"].trigger(ticket):
        raise Refused("the budget")
    now = datetime.now(UTC)
    tickets.answer(ticket, minutes, now)
    ticket.version += 1
    return now


def created(engine: Engine) -> list[UUID]:
    """Make the tables and the tickets; return their ids."""
    Base.metadata.create_all(engine)
    ids = [uuid4() for _ in range(TICKETS)]
    with engine.begin() as connection:
        rows = [{"id": one, "customer": "c", "subject": "s", "priority": n % 5, "budget": 10**9} for n, one in enumerate(ids)]
        connection.execute(insert(Ticket), rows)
    return ids
