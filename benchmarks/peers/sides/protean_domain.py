"""The ticket as an aggregate of Protean, with its outbox."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from protean import Domain, handle
from protean.fields import DateTime, Identifier, Integer, Status, String
from protean.utils.globals import current_domain

from benchmarks import tickets
from benchmarks.tickets import TicketState

domain = Domain(name="Tickets")


class Refused(Exception):
    """The policy or the guard said no."""


@domain.event(part_of="Ticket")
class TicketAnswered:
    ticket_id = Identifier(required=True)
    minutes = Integer(required=True)
    by = String(required=True)


@domain.aggregate
class Ticket:
    customer = String(max_length=100)
    subject = String(max_length=200)
    priority = Integer()
    budget = Integer()
    minutes = Integer(default=0)
    answers = Integer(default=0)
    answered_at = DateTime()
    state = Status(
        TicketState,
        default=TicketState.OPEN,
        transitions={
            TicketState.OPEN: [TicketState.WAITING, TicketState.CLOSED],
            TicketState.WAITING: [TicketState.OPEN, TicketState.CLOSED],
        },
    )

    def answer(self, minutes: int, by: str) -> None:
        if not tickets.within_budget(self):
            raise Refused("the budget")
        tickets.answer(self, minutes, datetime.now(UTC))
        self.state = TicketState.WAITING.value if self.state == TicketState.OPEN.value else TicketState.OPEN.value
        self.raise_(TicketAnswered(ticket_id=self.id, minutes=minutes, by=by))


@domain.command(part_of=Ticket)
class Answer:
    ticket_id = Identifier(required=True)
    minutes = Integer(required=True)


@domain.command_handler(part_of=Ticket)
class TicketCommands:
    @handle(Answer)
    def answer(self, command: Answer) -> dict[str, object]:
        repository = current_domain.repository_for(Ticket)
        ticket = repository.get(command.ticket_id)
        if not tickets.may_answer(tickets.ROLES, ticket):
            raise Refused("the policy")
        ticket.answer(command.minutes, tickets.AGENT)
        repository.add(ticket)
        return {"ticket_id": ticket.id, "state": ticket.state, "answers": ticket.answers, "minutes": ticket.minutes}


def prepare(url: str) -> tuple[Callable[[str, str], object], Sequence[str]]:
    domain.config["databases"]["default"] = {"provider": "postgresql", "database_uri": url}
    domain.config["enable_outbox"] = True
    domain.config["server"]["default_subscription_type"] = "stream"  # or the outbox is refused
    domain.config["command_processing"] = "sync"
    domain.init(traverse=False)
    logging.getLogger("protean.access").setLevel(logging.WARNING)
    domain.domain_context().push()
    domain.setup_database()
    repository = domain.repository_for(Ticket)
    ids = []
    for number in range(500):
        ticket = Ticket(customer="c", subject="s", priority=number % 5, budget=10**9)
        repository.add(ticket)
        ids.append(str(ticket.id))
        domain.event_store.store._data_reset()

    def perform(ticket_id: str, _key: str) -> object:
        result = domain.process(Answer(ticket_id=ticket_id, minutes=tickets.MINUTES))
        # The event store in memory copies all that it holds with each command, which no durable one does: it is kept empty.
        domain.event_store.store._data_reset()
        return result

    return perform, ids
