"""usecasecore 0.1.0a3 as it was published: hooks in a fixed order, and what they do is written by its user."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import create_engine
from sqlalchemy.orm import Session, sessionmaker

from benchmarks import tickets
from benchmarks.peers.sides.tables import AuditRecord, IdempotencyKey, OutboxRecord, Refused, Ticket, change, created
from usecasecore import AuditEntry, Command, ExecutionContext, Result, UseCase


@dataclass(frozen=True, slots=True)
class Answer(Command):
    ticket_id: UUID
    minutes: int


@dataclass(frozen=True, slots=True)
class Event:
    type: str
    ticket_id: UUID
    payload: dict[str, Any]


class Results:
    """Its port for idempotency, kept in the database."""

    def __init__(self, session: Session) -> None:
        self.session = session

    def get(self, key: str) -> object | None:
        stored = self.session.get(IdempotencyKey, key)
        return None if stored is None else Result.ok(stored.result)

    def save(self, key: str, result: Any) -> None:
        self.session.add(IdempotencyKey(key=key, result=result.value, created_at=datetime.now(UTC)))


class Audit:
    def __init__(self, session: Session) -> None:
        self.session = session

    def write(self, entry: AuditEntry) -> None:
        payload = dict(entry.payload)
        ticket_id = UUID(payload.pop("ticket_id"))
        self.session.add(
            AuditRecord(
                action=entry.action, actor=entry.actor_id, ticket_id=ticket_id, payload=payload, occurred_at=datetime.now(UTC)
            )
        )


class Outbox:
    def __init__(self, session: Session) -> None:
        self.session = session

    def publish(self, event: Any) -> None:
        self.session.add(OutboxRecord(**asdict(event), occurred_at=datetime.now(UTC)))


class AnswerTicket(UseCase[Answer, Ticket, Result[dict[str, Any]]]):
    def __init__(self, session: Session, context: ExecutionContext) -> None:
        super().__init__(
            context=context,
            idempotency_store=Results(session),
            audit_sink=Audit(session),
            event_bus=Outbox(session),
            transaction_manager=lambda: _committed(session),
        )
        self.session = session

    def load_state(self, command: Answer) -> Ticket:
        return self.session.get_one(Ticket, command.ticket_id, with_for_update=True)

    def check_policies(self, command: Answer, state: Ticket | None) -> None:
        if not tickets.may_answer(tickets.ROLES, state):
            raise Refused("the policy")

    def apply(self, command: Answer, state: Ticket | None) -> Result[dict[str, Any]]:
        assert state is not None
        before = {"minutes": state.minutes, "answers": state.answers, "state": state.state}
        change(state, command.minutes)
        after = {name: getattr(state, name) for name in before}
        transition = {"trigger": "answer", "from_state": before["state"], "to_state": state.state, "version": state.version}
        answered = {"minutes": command.minutes, "by": self.context.actor_id}
        value = {"ticket_id": str(state.id), "state": state.state, "answers": state.answers, "minutes": state.minutes}
        return (
            Result.ok(value)
            .with_event(Event("ticket.transition.answer", state.id, transition))
            .with_event(Event("ticket.answered", state.id, answered))
            .with_audit({"ticket_id": str(state.id), "before": before, "after": after, "minutes": command.minutes})
        )


def prepare(url: str) -> tuple[Callable[[UUID, str], object], Sequence[UUID]]:
    engine = create_engine(url)
    sessions = sessionmaker(engine, expire_on_commit=False)

    def perform(ticket_id: UUID, key: str) -> object:
        with sessions() as session:
            context = ExecutionContext(actor_id=tickets.AGENT, idempotency_key=key)
            return AnswerTicket(session, context).execute(Answer(ticket_id=ticket_id, minutes=tickets.MINUTES))

    return perform, created(engine)


@contextmanager
def _committed(session: Session) -> Iterator[None]:
    # The session has begun by itself: the state was loaded, and locked, before the use case opens its transaction.
    try:
        yield
        session.commit()
    except BaseException:
        session.rollback()
        raise
