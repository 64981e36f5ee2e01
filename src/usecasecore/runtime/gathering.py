"""Gathers, command by command, what a batch is going to write, where it needs no flush for that.

How it works. When a command is accepted, the UPDATE of its row and its line for the ledger are made at once, and the object
becomes what it is after a flush. So nothing is kept of a command but these two, and whatever is unwritten at the end was changed by
somebody else: by a later command, or by one that changed more than its own aggregate. The batch then starts anew in another
manner. `Gathering.of` tells where it can't begin: what stands in the way of `folding` or of `batch_lines` does so here.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy.orm import InstanceState
from sqlalchemy.orm.attributes import instance_state

from usecasecore import steps, unofficial
from usecasecore.ledger.lines import Line
from usecasecore.messages import Result
from usecasecore.runtime.batch_lines import LineMaker
from usecasecore.runtime.call import Asked
from usecasecore.runtime.changes import Changes
from usecasecore.runtime.folded_rows import FoldedRows, RowsFolding
from usecasecore.runtime.plan import Plan
from usecasecore.runtime.session import CommandSession
from usecasecore.steps import Step

__all__ = ["Gathering"]


class Gathering:
    """What the commands of one attempt at a batch have come to."""

    def __init__(self, plan: Plan, session: CommandSession, folding: RowsFolding, maker: LineMaker) -> None:
        self._plan, self._session, self._folding, self._maker = plan, session, folding, maker
        self._connection = session.held
        self._rows: dict[tuple[str, ...], list[tuple[Any, ...]]] = {}
        self._lines: list[Line] = []
        self._taken: set[int] = set()

    @classmethod
    def of(cls, plan: Plan, session: CommandSession, asked: Asked) -> Gathering | None:
        """Return one that is empty; None where the session has to flush, or somebody wants to see the entries."""
        if plan.aggregate is None or steps.Record in steps.wanted or not LineMaker.suits(plan):
            return None
        folding = plan.rows_folding_of(plan.aggregate.mapper.class_)
        if folding is None or not folding.is_right_for(session, session.held):
            return None
        return cls(plan, session, folding, LineMaker(plan, asked))

    def take(self, changes: Changes, aggregate: Any, result: Result, version: int | None, detail: dict[str, Any]) -> bool:
        """Take what an accepted command has changed and said; return False where it takes a flush to write that.

        Raises:
            StateWriteRefused: If a protected column was changed past the runtime.
            WrongResult: As `Changes.entries`.
        """
        state: InstanceState[Any] = instance_state(aggregate)
        update = self._folding.row(state)
        if update is None:
            return False
        changed, row = update
        line = self._maker.line(changes, result, version, detail, changed)
        if line is None:
            return False
        self._folding.allow(self._connection, state)
        unofficial.settle(state, self._session)
        self._rows.setdefault(changed, []).append(row)
        self._lines.append(line)
        self._taken.add(id(aggregate))
        return True

    def is_changed_again(self) -> bool:
        """Say whether an aggregate was changed after its command was taken."""
        return any(id(one) in self._taken for one in self._session.dirty)

    def updates(self) -> Sequence[FoldedRows] | None:
        """Return the UPDATEs to send; None where the session has anything to flush, or JSON doesn't carry a value."""
        session = self._session
        if session.new or session.deleted or session.dirty or session.in_nested_transaction():
            return None
        return self._folding.updates(self._rows)

    def send(self, updates: Sequence[FoldedRows], began: datetime | None) -> None:
        """Send the UPDATEs, and write into the ledger.

        Raises:
            StaleDataError: If one of the rows is not there.
            KeyTaken: As `Store.write_many`.
            TransactionGone: Likewise.
        """
        enter = self._session.enter
        for update in updates:
            update.send(self._connection)
        enter(Step.AUDIT)
        if self._lines:
            self._plan.line_writer.write(self._connection, self._maker.shared, self._lines, began=began, enter=enter)
