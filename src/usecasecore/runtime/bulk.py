"""Many commands of one use case: gathered into batches, whatever front door runs these."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from usecasecore.errors import Conflict, InvalidCommand, Rejected
from usecasecore.ids import HexIds
from usecasecore.messages import Command
from usecasecore.runtime.batch import Batch, Decided, Manner
from usecasecore.runtime.call import Asked, Call
from usecasecore.runtime.locked_rows import LockedRows
from usecasecore.runtime.plan import Plan
from usecasecore.runtime.shell import Shell

__all__ = ["ANSWERS", "LARGEST_BATCH", "Bulk", "KeyOf", "all_decided", "together"]

KeyOf: TypeAlias = Callable[[Any], str]
"""Returns the idempotency key of a command."""

LARGEST_BATCH = 5_000
ANSWERS = (Rejected, Conflict)
"""The errors that a command run alone may be answered with, without an end to the run."""


def together(plan: Plan) -> bool:
    """Say whether commands of a use case can share a transaction, as far as its declaration tells.

    They can where it loads one aggregate by its key, and neither creates nor deletes any.
    """
    registration = plan.registration
    several = registration.aggregate is None or registration.finds
    return not (several or plan.scopes or plan.creates or plan.deletes)


class Bulk:
    """Gathers commands, in the order in which they come, into batches."""

    def __init__(self, shell: Shell, asked: Asked, *, batch: int, skip_locked: bool, key_of: KeyOf | None) -> None:
        """Set it up.

        Raises:
            ValueError: If the size of a batch is out of its range.
        """
        if not 1 <= batch <= LARGEST_BATCH:
            raise ValueError(f"a batch of {batch} commands; 1 to {LARGEST_BATCH} are accepted")
        self._shell, self._asked, self._size, self._key_of = shell, asked, batch, key_of
        self._manner = Manner(skip_locked=skip_locked, together=True)
        self._well_asked = False
        self._ids = HexIds()
        self._plan: Plan | None = None
        self._rows: LockedRows | None = None
        self._batch: Batch | None = None

    def take(self, command: Command[Any]) -> Batch | None:
        """Take the next command; return the batch that is to be run now, where one is.

        Raises:
            TypeError: If it is of another type than those before it.
        """
        plan = self._plan
        if plan is None or type(command) is not plan.command:
            plan = self._plan_for(command)
        key = None if self._key_of is None else self._key_of(command)
        try:
            call = self._call(plan, command, key)
        except Rejected as refusal:
            batch, full = self._open(plan), None
            batch.add_refused(refusal)
        else:
            batch = self._open(plan)
            full = None
            if not batch.add(call):
                full, self._batch = batch, None
                batch = self._open(plan)
                batch.add(call)
        if full is None and len(batch.results) >= self._size:
            full, self._batch = batch, None
        return full

    def rest(self) -> Batch | None:
        """Return what was taken and is in no batch yet; None where there is nothing."""
        batch, self._batch = self._batch, None
        return batch

    def _call(self, plan: Plan, command: Command[Any], key: str | None) -> Call:
        if self._well_asked:
            return self._shell.next_call(plan, command, self._asked, key, self._ids)
        _, call = self._shell.call(command, self._asked._replace(idempotency_key=key))
        self._well_asked = True
        return call

    def _plan_for(self, command: Command[Any]) -> Plan:
        if self._plan is None:
            try:
                self._plan = self._shell.plan_for(type(command))
            except InvalidCommand as error:
                raise TypeError(str(error)) from None
            self._rows = LockedRows(self._plan) if together(self._plan) else None
        elif type(command) is not self._plan.command:
            wanted = self._plan.command.__name__
            raise TypeError(f"a {type(command).__name__} among commands of the type {wanted}; run those by themselves")
        return self._plan

    def _open(self, plan: Plan) -> Batch:
        if self._batch is None:
            self._ids = HexIds()  # what was drawn for one batch is not kept for the next, which may run in another process
            self._batch = Batch(self._shell, plan, self._rows, self._manner)
        return self._batch


def all_decided(batch: Batch) -> list[Decided]:
    """Return the results of a batch that was run, with those of the commands that were run alone."""
    decided = [result for result in batch.results if result is not None]
    assert len(decided) == len(batch.results)
    return decided
