"""The ticket by hand, three times: naive, with the ORM, and with Core inserts.

They write into the library's own ledger tables, so that all sides fill the same columns and indexes; of the library
nothing else is used. What the three leave out beside the library stands in README.md.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from pydantic import BaseModel
from sqlalchemy import DateTime, Engine, String, bindparam, event, insert, select
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker
from transitions import Machine

from benchmarks import tickets
from benchmarks.tickets import TicketState
from usecasecore.ids import uuid7
from usecasecore.ledger import ledger_tables

__all__ = ["asynchronous_orm", "core", "naive", "orm", "query"]

Perform = Callable[[UUID, str], object]

LEDGER = ledger_tables()
KEPT_FOR = timedelta(hours=72)
ACTOR = f"user:{tickets.AGENT}"


class Base(DeclarativeBase):
    pass


class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    customer: Mapped[str] = mapped_column(String(100))
    subject: Mapped[str] = mapped_column(String(200))
    priority: Mapped[int]
    budget: Mapped[int]
    minutes: Mapped[int]
    answers: Mapped[int]
    answered_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    state: Mapped[str] = mapped_column(String(64))
    version: Mapped[int]

    def has_budget(self) -> bool:
        return tickets.within_budget(self)


class IdempotencyKey(Base):
    __table__ = LEDGER.idempotency


class AuditEntry(Base):
    __table__ = LEDGER.audit
    # Nobody reads the columns back that the database fills.
    __mapper_args__ = {"eager_defaults": False}


class OutboxMessage(Base):
    __table__ = LEDGER.outbox
    __mapper_args__ = {"eager_defaults": False}


class Answer(BaseModel):
    ticket_id: UUID
    minutes: int


class Answered(BaseModel):
    ticket_id: UUID
    state: TicketState
    answers: int
    minutes: int


# One machine for all tickets, without models: what a careful author would do.
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
    """The policy or a guard said no, or the key was used for something else."""


def naive(engine: Engine) -> Perform:
    """Load, change, commit."""
    sessions = sessionmaker(_immediate(engine), expire_on_commit=False)

    def perform(ticket_id: UUID, _key: str) -> Answered:
        command = Answer(ticket_id=ticket_id, minutes=tickets.MINUTES)
        with sessions.begin() as session:
            ticket = session.get_one(Ticket, command.ticket_id, with_for_update=True)
            _change(ticket, command, datetime.now(UTC))
            return _answered(ticket)

    return perform


def orm(engine: Engine) -> Perform:
    """All eight steps, with everything a mapped object."""
    sessions = sessionmaker(_immediate(engine), expire_on_commit=False)

    def perform(ticket_id: UUID, key: str) -> Answered:
        command = Answer(ticket_id=ticket_id, minutes=tickets.MINUTES)
        with sessions.begin() as session:
            stored = session.get(IdempotencyKey, ("", ACTOR, tickets.ANSWER, key))
            if stored is not None:
                return _replay(stored, command)
            ticket = session.get_one(Ticket, command.ticket_id, with_for_update=True)
            return _kept(session, ticket, command, key)

    return perform


def asynchronous_orm(engine: AsyncEngine) -> Callable[[UUID, str], Awaitable[Answered]]:
    """The same, awaited."""
    sessions = async_sessionmaker(engine, expire_on_commit=False)

    async def perform(ticket_id: UUID, key: str) -> Answered:
        command = Answer(ticket_id=ticket_id, minutes=tickets.MINUTES)
        async with sessions.begin() as session:
            stored = await session.get(IdempotencyKey, ("", ACTOR, tickets.ANSWER, key))
            if stored is not None:
                return _replay(stored, command)
            ticket = await session.get_one(Ticket, command.ticket_id, with_for_update=True)
            return _kept(session, ticket, command, key)

    return perform


def query(engine: Engine) -> Callable[[UUID, str], Ticket]:
    """Not a side, but what the first command is held against: a transaction with a query."""
    sessions = sessionmaker(_immediate(engine), expire_on_commit=False)

    def perform(ticket_id: UUID, _key: str) -> Ticket:
        with sessions.begin() as session:
            return session.get_one(Ticket, ticket_id)

    return perform


def _kept(session: Session | AsyncSession, ticket: Ticket, command: Answer, key: str) -> Answered:
    rows = _Rows(ticket, command, key)
    session.add(AuditEntry(**rows.audit))
    session.add_all(OutboxMessage(**message) for message in rows.outbox)
    session.add(IdempotencyKey(**rows.idempotency))
    return rows.result


_STORED = select(LEDGER.idempotency.c.fingerprint, LEDGER.idempotency.c.result).where(
    *(LEDGER.idempotency.c[name] == bindparam(f"key_{name}") for name in ("tenant", "actor", "use_case", "key"))
)
_LOCKED = select(Ticket).where(Ticket.id == bindparam("ticket_id")).with_for_update(key_share=True)


def core(engine: Engine) -> Perform:
    """All eight steps, with only the ticket a mapped object: statements made once, plain rows."""
    sessions = sessionmaker(_immediate(engine), expire_on_commit=False, autoflush=False)

    def perform(ticket_id: UUID, key: str) -> Answered:
        command = Answer(ticket_id=ticket_id, minutes=tickets.MINUTES)
        with sessions.begin() as session:
            connection = session.connection()
            scope = {"key_tenant": "", "key_actor": ACTOR, "key_use_case": tickets.ANSWER, "key_key": key}
            stored = connection.execute(_STORED, scope).one_or_none()
            if stored is not None:
                return _replay(stored, command)
            ticket = session.scalars(_LOCKED, {"ticket_id": command.ticket_id}).one()
            rows = _Rows(ticket, command, key)
            session.flush()
            connection.execute(_INSERT_AUDIT, rows.audit)
            connection.execute(_INSERT_OUTBOX, rows.outbox)
            connection.execute(_INSERT_KEY, rows.idempotency)
            return rows.result

    return perform


_INSERT_AUDIT, _INSERT_OUTBOX, _INSERT_KEY = insert(LEDGER.audit), insert(LEDGER.outbox), insert(LEDGER.idempotency)


class _Rows:
    """Does the work on a locked ticket, and has the rows that tell of it."""

    def __init__(self, ticket: Ticket, command: Answer, key: str) -> None:
        now, command_id = datetime.now(UTC), uuid7()
        before = {name: getattr(ticket, name) for name in ("minutes", "answers", "answered_at")}
        source = ticket.state
        _change(ticket, command, now)
        aggregate = {"aggregate": "ticket", "aggregate_id": str(ticket.id), "version": ticket.version}
        transition = {"lifecycle": "ticket", "trigger": "answer", "from_state": source, "to_state": ticket.state}
        who = {"use_case": tickets.ANSWER, "actor": ACTOR, "correlation_id": str(command_id)}
        self.result = _answered(ticket)
        self.audit: dict[str, Any] = {
            "id": uuid7(),
            "command_id": command_id,
            "kind": "change",
            **who,
            **aggregate,
            **transition,
            "command": command.model_dump(mode="json"),
            "changes": {name: [_plain(value), _plain(getattr(ticket, name))] for name, value in before.items()},
            "detail": {},
            "occurred_at": now,
        }
        payloads = [
            ("ticket.transition.answer", {"id": str(ticket.id), "version": ticket.version, **transition}),
            ("ticket.answered", {"ticket_id": str(ticket.id), "minutes": command.minutes, "by": ACTOR}),
        ]
        headers = {**who, "causation_id": str(command_id)}
        self.outbox: list[dict[str, Any]] = [
            {
                "id": uuid7(),
                "command_id": command_id,
                "kind": "event",
                "type": name,
                "type_version": 1,
                **aggregate,
                "ordinal": ordinal,
                "payload": payload,
                "headers": headers,
                "occurred_at": now,
                "available_at": now,
            }
            for ordinal, (name, payload) in enumerate(payloads)
        ]
        self.idempotency: dict[str, Any] = {
            "tenant": "",
            "actor": ACTOR,
            "use_case": tickets.ANSWER,
            "key": key,
            "fingerprint": _fingerprint(command),
            "command_id": command_id,
            "version": ticket.version,
            "result_type": "Answered",
            "result": self.result.model_dump_json(),
            "created_at": now,
            "expires_at": now + KEPT_FOR,
        }


def _change(ticket: Ticket, command: Answer, now: datetime) -> None:
    if not tickets.may_answer(tickets.ROLES, ticket):
        raise Refused("the policy")
    if not MACHINE.events["answer"].trigger(ticket):
        raise Refused("the budget")
    tickets.answer(ticket, command.minutes, now)
    ticket.version += 1


def _answered(ticket: Ticket) -> Answered:
    return Answered(ticket_id=ticket.id, state=TicketState(ticket.state), answers=ticket.answers, minutes=ticket.minutes)


def _replay(stored: Any, command: Answer) -> Answered:
    if stored.fingerprint != _fingerprint(command):
        raise Refused("the key was used for another command")
    return Answered.model_validate_json(stored.result)


def _fingerprint(command: Answer) -> bytes:
    return hashlib.sha256(command.model_dump_json().encode()).digest()


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


def _immediate(engine: Engine) -> Engine:
    """Give SQLite the settings that the runtime gives it."""
    if engine.dialect.name != "sqlite":
        return engine

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # transactions are begun below
        for pragma in ("busy_timeout=5000", "journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine
