"""The ticket as an aggregate of `eventsourcing`: what happened is stored, and the state made from it for each command."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import ClassVar
from uuid import UUID

from eventsourcing.application import Application
from eventsourcing.domain import Aggregate, event
from sqlalchemy.engine import make_url

from benchmarks import tickets
from benchmarks.tickets import TicketState

NEXT = {TicketState.OPEN: TicketState.WAITING, TicketState.WAITING: TicketState.OPEN}


class Refused(Exception):
    """The policy, the guard or the state said no."""


class Ticket(Aggregate):
    @event("Opened")
    def __init__(self, customer: str, subject: str, priority: int, budget: int) -> None:
        self.customer = customer
        self.subject = subject
        self.priority = priority
        self.budget = budget
        self.minutes = 0
        self.answers = 0
        self.answered_at: str | None = None
        self.state: str = TicketState.OPEN

    def answer(self, minutes: int, by: str, now: datetime) -> None:
        to_state = NEXT.get(TicketState(self.state))
        if to_state is None or not tickets.within_budget(self):
            raise Refused("the state or the budget")
        self._answered(minutes=minutes, by=by, from_state=self.state, to_state=to_state.value, at=now.isoformat())

    @event("Answered")
    def _answered(self, minutes: int, by: str, from_state: str, to_state: str, at: str) -> None:
        self.minutes += minutes
        self.answers += 1
        self.answered_at = at
        self.state = to_state


class Tickets(Application):
    def answer(self, ticket_id: UUID, minutes: int) -> dict[str, object]:
        ticket: Ticket = self.repository.get(ticket_id)
        if not tickets.may_answer(tickets.ROLES, ticket):
            raise Refused("the policy")
        ticket.answer(minutes, tickets.AGENT, datetime.now(UTC))
        self.save(ticket)
        return {"ticket_id": ticket.id, "state": ticket.state, "answers": ticket.answers, "minutes": ticket.minutes}


class SnapshottedTickets(Tickets):
    snapshotting_intervals: ClassVar = {Ticket: 100}


def short(url: str) -> tuple[Callable[[UUID, str], object], Sequence[UUID]]:
    return _prepare(Tickets, url, number=500, events=10)


def long(url: str) -> tuple[Callable[[UUID, str], object], Sequence[UUID]]:
    return _prepare(Tickets, url, number=40, events=1_000)


def snapshots(url: str) -> tuple[Callable[[UUID, str], object], Sequence[UUID]]:
    return _prepare(SnapshottedTickets, url, number=40, events=1_000)


def _prepare(
    application: type[Tickets], url: str, *, number: int, events: int
) -> tuple[Callable[[UUID, str], object], Sequence[UUID]]:
    """Make so many tickets with so many events each; all get longer alike while they are answered in turn."""
    where = make_url(url)
    app = application(
        env={
            "PERSISTENCE_MODULE": "eventsourcing.postgres",
            "POSTGRES_DBNAME": str(where.database),
            "POSTGRES_HOST": str(where.host),
            "POSTGRES_PORT": str(where.port),
            "POSTGRES_USER": str(where.username),
            "POSTGRES_PASSWORD": str(where.password),
        }
    )
    ids = []
    for priority in itertools.islice(itertools.cycle(range(5)), number):
        ticket = Ticket("c", "s", priority, 10**9)
        for answered in range(1, events):
            ticket.answer(tickets.MINUTES, tickets.AGENT, datetime.now(UTC))
            if answered % 100 == 0:
                app.save(ticket)
        app.save(ticket)
        ids.append(ticket.id)
    turn = itertools.cycle(ids)
    return lambda _ticket_id, _key: app.answer(next(turn), tickets.MINUTES), ids
