"""The aggregates that a condition finds, page by page, and the commands about them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, literal, select, tuple_

from usecasecore.context import Actor, Outcome
from usecasecore.errors import DefinitionError, Rejected
from usecasecore.ids import uuid7
from usecasecore.messages import Command
from usecasecore.runtime.batch import Decided
from usecasecore.runtime.call import is_key
from usecasecore.runtime.plan import Plan, id_text
from usecasecore.runtime.reading import ReadingSession
from usecasecore.runtime.retry import Retry
from usecasecore.runtime.shell import Shell
from usecasecore.usecase import UseCase

__all__ = ["Found", "Page", "Progress", "Selection", "found_by"]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run over many aggregates has come.

    Attributes:
        run_id: Names the run; a second one by the same id goes on where this one stopped.
        selected: How many aggregates the condition has found so far.
        done: How many commands took effect.
        replayed: How many had taken effect in an earlier run by this id.
        refused: Code of the refusal -> how many.
        busy: How many were left out because somebody else had the row locked.
        latest: Key of the aggregate -> what became of its command, for the last batch only.
    """

    run_id: str
    selected: int = 0
    done: int = 0
    replayed: int = 0
    refused: Mapping[str, int] = field(default_factory=dict)
    busy: int = 0
    latest: Mapping[str, Decided] = field(default_factory=dict)

    def after(self, latest: Mapping[str, Decided]) -> Progress:
        """Return it with a further batch counted."""
        outcomes = [one for one in latest.values() if isinstance(one, Outcome)]
        refused = dict(self.refused)
        for one in latest.values():
            if isinstance(one, Rejected):
                refused[one.code] = refused.get(one.code, 0) + 1
        replayed = sum(one.replayed for one in outcomes)
        return Progress(
            run_id=self.run_id,
            selected=self.selected + len(latest),
            done=self.done + len(outcomes) - replayed,
            replayed=self.replayed + replayed,
            refused=refused,
            busy=self.busy + len(latest) - len(outcomes) - sum(isinstance(one, Rejected) for one in latest.values()),
            latest=latest,
        )


class Selection:
    """What a condition finds of the aggregate of one use case, in the order of its key."""

    def __init__(
        self,
        shell: Shell,
        use_case: type[UseCase[Any, Any, Any]] | str,
        where: Sequence[ColumnElement[bool]],
        *,
        actor: Actor,
        command: Callable[..., Command[Any]] | None = None,
        run_id: str | None = None,
    ) -> None:
        """Set it up.

        Raises:
            DefinitionError: If the application has no such use case, or its command doesn't name one aggregate by the key.
            ValueError: If the run's id can't be part of a key.
        """
        self.plan = _plan_of(shell, use_case)
        self.run_id = run_id if run_id is not None else str(uuid7())
        if not is_key(f"{self.run_id}/{'0' * 64}") or not is_key(self.run_id) or len(self.run_id) > 190:
            raise ValueError(f"the run's id is {self.run_id!r}; 1 to 190 printable ASCII characters are accepted")
        self._command = command or self.plan.command
        aggregate: Any = self.plan.registration.aggregate
        self._columns = [getattr(aggregate, name) for name in self.plan.registration.keys]
        self._fields = tuple(self.plan.registration.keys.values())
        statement: Any = select(*self._columns).select_from(aggregate).where(*where)
        tenancy = self.plan.tenancy
        if tenancy is not None and tenancy.scopes(aggregate):
            statement = statement.where(getattr(aggregate, tenancy.column) == tenancy.value(aggregate, actor))
        self._statement = statement
        self._limits = shell.limits

    def page(self, after: tuple[Any, ...] | None, size: int) -> Page:
        """Return the question for the keys that come next.

        Args:
            after: The last key of the page before; None for the first one.
            size: How many at most.
        """
        statement = self._statement.order_by(*self._columns).limit(size)
        if after is not None:
            last = [literal(value, column.type) for value, column in zip(after, self._columns, strict=True)]
            here = self._columns[0] > last[0] if len(last) == 1 else tuple_(*self._columns) > tuple_(*last)
            statement = statement.where(here)
        return Page(statement, Retry(self.plan.name, "", self._limits))

    def found(self, connection: Connection, sample: int) -> Found:
        """Return how many there are, and commands about the first ones; read in a transaction that can only read."""
        session = ReadingSession(connection)
        try:
            session.begin_reading()
            number = connection.scalar(select(func.count()).select_from(self._statement.subquery())) or 0
            first = connection.execute(self._statement.order_by(*self._columns).limit(sample)).all()
        finally:
            session.discard()
        return Found(number, tuple(self.command(tuple(row)) for row in first))

    def command(self, key: tuple[Any, ...]) -> Command[Any]:
        """Return the command about an aggregate."""
        return self._command(**dict(zip(self._fields, key, strict=True)))

    def key_of(self, command: Command[Any]) -> str:
        """Return the idempotency key of the command about an aggregate: the run's id and the aggregate's key."""
        text = self.text_of(tuple(getattr(command, name) for name in self._fields))
        key = f"{self.run_id}/{text}"
        # A key is short and printable; what an aggregate's is not is told apart by its hash.
        return key if is_key(key) else f"{self.run_id}/{hashlib.sha256(text.encode()).hexdigest()}"

    def text_of(self, key: tuple[Any, ...]) -> str:
        """Return an aggregate's key as the ledger writes it."""
        return id_text(list(key))


@dataclass(slots=True)
class Page:
    """Asks for the keys of one page; see `reading.Question`."""

    statement: Any
    retry: Retry
    sensitive: bool = False

    def ask(self, session: ReadingSession) -> list[tuple[Any, ...]]:
        """Return the keys."""
        session.begin_reading()
        return [tuple(row) for row in session.connection().execute(self.statement)]


@dataclass(frozen=True, slots=True)
class Found:
    """What a condition finds.

    Attributes:
        number: How many aggregates.
        first: The commands about the first ones, in the order of their keys.
    """

    number: int
    first: tuple[Command[Any], ...]


def found_by(
    connection: Connection,
    shell: Shell,
    use_case: str,
    where: ColumnElement[bool],
    *,
    actor: Actor,
    command: Callable[..., Command[Any]],
    sample: int,
) -> Found:
    """Return what a condition finds for a use case, without running it.

    Raises:
        DefinitionError: As `Selection`.
        StatementError: If the database refuses the condition.
        InvalidCommand: If no command can be made of a key.
    """
    return Selection(shell, use_case, (where,), actor=actor, command=command).found(connection, sample)


def _plan_of(shell: Shell, use_case: type[UseCase[Any, Any, Any]] | str) -> Plan:
    name = use_case if isinstance(use_case, str) else use_case.name
    plan = next((one for one in shell.plans if one.name == name), None)
    if plan is None:
        raise DefinitionError(f"the application has no use case {name!r}; it has: {', '.join(one.name for one in shell.plans)}")
    if plan.registration.aggregate is None or plan.registration.finds:
        raise DefinitionError(
            f"{name} can't be run on what a condition finds: its command does not name one aggregate by its key; "
            "build the commands and pass them to `execute_many`"
        )
    return plan
