"""The ticket on the library: aggregate, lifecycle, command, policy and use case."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, ClassVar
from uuid import UUID

from sqlalchemy import DateTime, Engine, String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from benchmarks import tickets
from benchmarks.tickets import TicketState
from usecasecore import (
    Actor,
    Application,
    Command,
    DomainEvent,
    ExecutionContext,
    Key,
    Lifecycle,
    Policy,
    PolicyRequest,
    Result,
    Runtime,
    Transition,
    UseCase,
    guard,
    state_column,
    uuid7,
    version_column,
)

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

__all__ = ["Base", "Ticket", "asynchronous_runtime", "runtime"]


class Base(DeclarativeBase):
    pass


class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid7)
    customer: Mapped[str] = mapped_column(String(100))
    subject: Mapped[str] = mapped_column(String(200))
    priority: Mapped[int]
    budget: Mapped[int]
    minutes: Mapped[int] = mapped_column(default=0)
    answers: Mapped[int] = mapped_column(default=0)
    answered_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    state: Mapped[TicketState] = state_column(TicketState)
    version: Mapped[int] = version_column()

    lifecycle: ClassVar = Lifecycle(
        states=TicketState,
        initial=TicketState.OPEN,
        transitions=[
            Transition("answer", TicketState.OPEN, TicketState.WAITING, conditions="has_budget"),
            Transition("answer", TicketState.WAITING, TicketState.OPEN, conditions="has_budget"),
            Transition("close", [TicketState.OPEN, TicketState.WAITING], TicketState.CLOSED),
        ],
    )

    @guard("no time is left for this ticket")
    def has_budget(self) -> bool:
        return tickets.within_budget(self)


class Answered(Result):
    ticket_id: UUID
    state: TicketState
    answers: int
    minutes: int


class Answer(Command[Answered]):
    ticket_id: Annotated[UUID, Key(Ticket.id)]
    minutes: int


class TicketAnswered(DomainEvent, name="ticket.answered"):
    ticket_id: UUID
    minutes: int
    by: str


class AnswerTicket(UseCase[Answer, Ticket, Answered]):
    name = tickets.ANSWER
    trigger = "answer"
    emits = (TicketAnswered,)

    def apply(self, command: Answer, ticket: Ticket, context: ExecutionContext, /) -> Answered:
        tickets.answer(ticket, command.minutes, context.now)
        context.emit(TicketAnswered(ticket_id=ticket.id, minutes=command.minutes, by=str(context.actor)))
        return Answered(ticket_id=ticket.id, state=ticket.state, answers=ticket.answers, minutes=ticket.minutes)


class AgentsOnly(Policy):
    def permitted(self, request: PolicyRequest, /) -> bool:
        return tickets.may_answer(request.actor.roles, request.aggregate)


AGENT = Actor("user", tickets.AGENT, roles=tickets.ROLES)


def runtime(engine: Engine) -> Callable[[UUID, str], object]:
    """Return what runs one command for a ticket's id and an idempotency key."""
    runs = Runtime(engine, _application())

    def perform(ticket_id: UUID, key: str) -> Answered:
        return runs.execute(Answer(ticket_id=ticket_id, minutes=tickets.MINUTES), actor=AGENT, idempotency_key=key)

    return perform


def asynchronous_runtime(engine: AsyncEngine) -> Callable[[UUID, str], Awaitable[object]]:
    """Return the same, to be awaited."""
    from usecasecore import AsyncRuntime  # so that the processes of the others don't load what it needs

    runs = AsyncRuntime(engine, _application())

    def perform(ticket_id: UUID, key: str) -> Awaitable[Answered]:
        return runs.execute(Answer(ticket_id=ticket_id, minutes=tickets.MINUTES), actor=AGENT, idempotency_key=key)

    return perform


def _application() -> Application:
    return Application([AnswerTicket], policy=AgentsOnly(), name="tickets")
