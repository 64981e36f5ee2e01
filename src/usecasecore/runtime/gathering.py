"""Gathers, command by command, what a batch is going to write, where it needs no flush for that.

How it works. When a command is accepted, the UPDATE of its row and its line for the ledger are made at once, and the object
becomes what it is after a flush. So nothing is kept of a command but these two, and whatever is unwritten at the end was changed by
somebody else: by a later command, or by one that changed more than its own aggregate. The batch then starts anew in another
manner. Where the driver can send without waiting (see `ahead`), what was gathered is sent in parts, and the database works on
one while Python decides the next; all in the one transaction of the batch. `Gathering.of` tells where it can't begin: what stands in the way of `folding` or of `batch_lines` does so here.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Any

from sqlalchemy.orm import InstanceState
from sqlalchemy.orm.attributes import instance_state

from usecasecore import steps, unofficial
from usecasecore.ledger.lines import Lines
from usecasecore.messages import Result
from usecasecore.runtime.ahead import Ahead
from usecasecore.runtime.batch_lines import LineMaker
from usecasecore.runtime.call import Asked
from usecasecore.runtime.changes import Changes
from usecasecore.runtime.folded_rows import FoldedRows, RowsFolding
from usecasecore.runtime.plan import Plan
from usecasecore.runtime.session import CommandSession
from usecasecore.steps import Step

__all__ = ["LEAST", "PART", "Gathering"]


class Gathering:
    """What the commands of one attempt at a batch have come to."""

    def __init__(
        self, plan: Plan, session: CommandSession, folding: RowsFolding, maker: LineMaker, began: datetime | None
    ) -> None:
        self._plan, self._session, self._folding, self._maker, self._began = plan, session, folding, maker, began
        self._connection = session.held
        # Who watches the steps sees them one after the other.
        self._ahead = None if steps.wanted_steps else Ahead.of(self._connection)
        self._rows: dict[tuple[str, ...], list[tuple[Any, ...]]] = {}
        self._lines = Lines(maker.moves)
        self._taken: set[int] = set()

    @classmethod
    def of(cls, plan: Plan, session: CommandSession, asked: Asked, began: datetime | None) -> Gathering | None:
        """Return one that is empty; None where the session has to flush, or somebody wants to see the entries."""
        if plan.aggregate is None or steps.Record in steps.wanted or not LineMaker.suits(plan):
            return None
        folding = plan.rows_folding_of(plan.aggregate.mapper.class_)
        if folding is None or not folding.is_right_for(session, session.held):
            return None
        return cls(plan, session, folding, LineMaker(plan, asked), began)

    def take(self, changes: Changes, aggregate: Any, result: Result, version: int | None, detail: dict[str, Any]) -> bool:
        """Take what an accepted command has changed and said; return False where it takes a flush to write that.

        Raises:
            StateWriteRefused: If a protected column was changed past the runtime.
            WrongResult: As `Changes.entries`.
        """
        state: InstanceState[Any] = instance_state(aggregate)
        update = self._folding.row(state, aggregate.__dict__)
        if update is None:
            return False
        changed, row = update
        left = self._maker.line(changes, result, version, detail, changed)
        if left is None:
            return False
        self._folding.allow(self._connection, state)
        unofficial.settle(state, self._session)
        self._rows.setdefault(changed, []).append(row)
        line, messages = left
        self._lines.lines.append(line)
        self._lines.messages += messages
        self._taken.add(id(aggregate))
        return True

    def is_changed_again(self) -> bool:
        """Say whether an aggregate was changed after its command was taken."""
        return any(id(one) in self._taken for one in self._session.dirty)

    def send_ahead(self, left: int) -> bool:
        """Send what was gathered so far, where that is worth a statement and the database can work on it meanwhile.

        Args:
            left: How many commands are not decided yet. Towards the end the parts get smaller, each a quarter of what is left, so that the
                database is done with one when the next one comes, and there is little to wait for after the last.

        Returns:
            False where it takes a flush, or something was changed again; see `is_changed_again`.
        """
        gathered = len(self._lines.lines)
        if self._ahead is None or (gathered < PART and (gathered * 4 < left or gathered < LEAST)):
            return True
        updates = self._updates()
        if updates is None:
            return False
        self._session.enter(Step.FLUSH)
        self._hand_to(self._ahead, updates)
        self._session.leave()
        return True

    def send(self) -> bool:
        """Send the rest, and wait until everything is written.

        Returns:
            As `send_ahead`; then nothing was sent.

        Raises:
            StaleDataError: If one of the rows is not there.
            KeyTaken: As `Store.write_many`.
            TransactionGone: Likewise.
        """
        updates = self._updates()
        if updates is None:
            return False
        enter = self._session.enter
        enter(Step.FLUSH)
        if self._ahead is not None:
            self._hand_to(self._ahead, updates)
            enter(Step.AUDIT)
            self._ahead.fetch()
            return True
        for update in updates:
            update.send(self._connection)
        enter(Step.AUDIT)
        if self._lines:
            writer = self._plan.line_writer
            writer.write(self._connection, self._maker.shared, self._lines, began=self._began, enter=enter)
        return True

    def close(self) -> None:
        """Leave the connection as it was, whatever was sent."""
        if self._ahead is not None:
            self._ahead.abandon()

    def _updates(self) -> Sequence[FoldedRows] | None:
        session = self._session
        if session.new or session.deleted or session.dirty or session.in_nested_transaction():
            return None
        return self._folding.updates(self._rows)

    def _hand_to(self, ahead: Ahead, updates: Sequence[FoldedRows]) -> None:
        writer, lines = self._plan.line_writer, len(self._lines)
        for update in updates:
            sent = update.statement()
            assert sent is not None
            ahead.send(*sent, partial(_require_rows, update))
        if lines:
            statement = writer.statement(self._maker.shared, self._lines, self._began)
            assert statement is not None
            ahead.send(*statement, lambda cursor: writer.require(cursor.fetchone(), lines))
        self._rows, self._lines = {}, Lines(self._maker.moves)


PART = 100
"""How many commands are worth a statement of their own, sent while the next ones are decided."""
LEAST = 25
"""How many at the least, near the end of a batch."""


def _require_rows(update: FoldedRows, cursor: Any) -> None:
    update.require(cursor.rowcount)
