"""The ticket as a DBOS workflow with one transaction; the client's key is the workflow's id."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

from dbos import DBOS, SetWorkflowID, SQLAlchemyDatasource

from benchmarks import tickets
from benchmarks.peers.sides.tables import Refused, Ticket, change, created


def prepare(url: str) -> tuple[Callable[[UUID, str], object], Sequence[UUID]]:
    DBOS(config={"name": "tickets", "system_database_url": url, "log_level": "ERROR"})
    source = SQLAlchemyDatasource.create(url)

    @source.transaction()
    def answered(ticket_id: str, minutes: int) -> dict[str, Any]:
        ticket = source.sql_session().get_one(Ticket, UUID(ticket_id), with_for_update=True)
        if not tickets.may_answer(tickets.ROLES, ticket):
            raise Refused("the policy")
        change(ticket, minutes)
        return {"ticket_id": ticket_id, "state": ticket.state, "answers": ticket.answers, "minutes": ticket.minutes}

    @DBOS.workflow()
    def answer_ticket(ticket_id: str, minutes: int) -> dict[str, Any]:
        return answered(ticket_id, minutes)

    DBOS.launch()

    def perform(ticket_id: UUID, key: str) -> object:
        with SetWorkflowID(key):
            return answer_ticket(str(ticket_id), tickets.MINUTES)

    return perform, created(source.engine)
