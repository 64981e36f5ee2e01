"""Erasing what the ledger holds of a person: a use case like any other, with an audit entry of its own."""

from __future__ import annotations

from sqlalchemy import delete

from usecasecore.context import ExecutionContext
from usecasecore.ledger import ledger_tables
from usecasecore.messages import Command, Result
from usecasecore.usecase import UseCase

__all__ = ["EraseSubject", "ErasedSubject", "SubjectErasure"]


class ErasedSubject(Result):
    """How many values are gone."""

    values: int


class EraseSubject(Command[ErasedSubject]):
    """Erase the personal values that the ledger keeps about a subject, in the actor's tenant.

    The subject is written into the audit trail: it is an id, and not itself personal.
    """

    subject: str


class SubjectErasure(UseCase[EraseSubject, None, ErasedSubject]):
    """Erase what the ledger keeps about a subject. Register it in an application, whose policy then says who may.

    The audit entries stay, with commitments that tell nothing any more, and their hash chains stay whole.
    """

    reason_required = True

    def __init__(self, ledger_schema: str | None = None) -> None:
        """Take the schema that the ledger lives in."""
        self._personal = ledger_tables(ledger_schema).personal

    def apply(self, command: EraseSubject, state: None, context: ExecutionContext, /) -> ErasedSubject:
        """Delete the values and their salts."""
        mine = self._personal.c.tenant == (context.tenant or ""), self._personal.c.subject == command.subject
        erased = context.session.execute(delete(self._personal).where(*mine).returning(self._personal.c.field))
        return ErasedSubject(values=len(erased.all()))
