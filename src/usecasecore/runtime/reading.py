"""Looking without touching: a session that only reads, and how what a use case starts from is read through it.

How it works: the transaction itself may only read, so that user code which writes all the same is stopped by the database. On
PostgreSQL it is READ ONLY and REPEATABLE READ: one snapshot for everything that is looked at. On SQLite it is a plain BEGIN
under `PRAGMA query_only`, which belongs to the connection and is therefore switched off again before that goes back to its pool.
It waits for nobody and nobody for it, those who watch the steps of commands aren't told, and what was loaded is discarded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, TypeVar

from sqlalchemy import Connection, Engine, Select
from sqlalchemy.exc import StatementError
from sqlalchemy.orm import Mapper

from usecasecore.context import Doings, ExecutionContext
from usecasecore.errors import UseCaseError, WriteRefused
from usecasecore.ledger.entries import StoredResult
from usecasecore.messages import DomainEvent, Job
from usecasecore.runtime.faults import is_read_only
from usecasecore.runtime.load import Loaded, Loader, new_of, of_tenant, unjoined
from usecasecore.runtime.retry import Retry
from usecasecore.runtime.session import CommandSession, driver_in_transaction
from usecasecore.slots import Slot
from usecasecore.steps import Step

if TYPE_CHECKING:
    from usecasecore.runtime.call import Call

__all__ = ["OnlyAsked", "Question", "ReadingLoader", "ReadingSession", "after_failure", "read_only"]

T_co = TypeVar("T_co", covariant=True)

_SNAPSHOT, _READ_ONLY = "set transaction isolation level repeatable read, read only", "set transaction read only"


class ReadingSession(CommandSession):
    """A session that user code can look through, and neither write through nor keep open.

    Attributes:
        asking: The use case that is asked about.
    """

    def __init__(self, bind: Engine | Connection, **options: Any) -> None:
        super().__init__(bind, **options)
        self.asking = ""
        self._refused: WriteRefused | None = None
        self._query_only: Connection | None = None

    def begin_reading(self) -> None:
        """Begin the transaction."""
        connection = self.connection()
        if connection.dialect.name == "sqlite":
            self._query_only = connection
            if not driver_in_transaction(connection):
                connection.exec_driver_sql("BEGIN")  # of an engine that no runtime has had yet, the driver begins late
            connection.exec_driver_sql("PRAGMA query_only=ON")
        else:
            # Of a transaction that was begun by somebody else it is too late to choose the isolation.
            connection.exec_driver_sql(_READ_ONLY if isinstance(self.bind, Connection) else _SNAPSHOT)

    @contextmanager
    def about(self, use_case: str) -> Iterator[None]:
        """Ask about a use case: everything that its code does with the database is reading.

        Raises:
            WriteRefused: If it tried something else, whatever it made of the error.
            TransactionEnded: If it ended the transaction.
        """
        self.asking, self._refused, self.policy_failure = use_case, None, None
        try:
            with self.lent(use_case):
                yield
        except StatementError as error:
            if is_read_only(error):
                raise self.refusal("a statement that writes or locks") from error
            raise
        self.require_no_write()

    def require_no_write(self) -> None:
        """Make sure that user code only read since it was asked about the use case.

        Raises:
            WriteRefused: If it tried something else, and kept that to itself.
        """
        failure = self.policy_failure
        if isinstance(failure, StatementError) and is_read_only(failure):
            raise self.refusal("a statement of the policy that writes or locks") from failure
        if self._refused is not None:
            raise self._refused

    def refusal(self, how: str) -> WriteRefused:
        """Return the error for an attempt to write, and take note of it."""
        self._refused = WriteRefused(use_case=self.asking, how=how)
        return self._refused

    def flush(self, objects: Any = None) -> None:
        """Refuse, if there is anything to write."""
        if self.new or self.deleted or any(self.is_modified(one) for one in self.dirty):
            raise self.refusal("a flush")

    def enter(self, step: Step) -> None:
        """Go on to a step; nobody is told."""
        self.step = step

    def leave(self) -> None:
        """See `enter`."""
        self.step = None

    def tell(self, fact: Any) -> None:
        """See `enter`."""

    def discard(self) -> None:
        """Give the connection back as it was."""
        connection, self._query_only = self._query_only, None
        try:
            if connection is not None and not connection.closed and not connection.invalidated:
                _allow_writes(connection)
        finally:
            self.committed = True  # there is nothing to roll back that anybody should be told of
            super().discard()


def _allow_writes(connection: Connection) -> None:
    # By the driver: SQLAlchemy's own way may be barred by an error before.
    try:
        cursor = connection.connection.cursor()
        cursor.execute("PRAGMA query_only=OFF")
        cursor.close()
    except Exception:  # noqa: BLE001 - whatever is wrong with it, nobody may get a connection that can't write
        connection.invalidate()


class ReadingLoader(Loader):
    """Finds the rows as `Loader` does, without a lock; what is missing and would be made is made, and added to nothing."""

    def stored(self, session: CommandSession, call: Call) -> StoredResult | None:
        """Return what is stored under the idempotency key."""
        session.enter(Step.IDEMPOTENCY)
        return None if call.fresh else self.store.look_up(session.connection(), call.scoped_key)

    def read(self, session: CommandSession, call: Call) -> Loaded:
        """Return what the use case would start from.

        Raises:
            AggregateNotFound: If a row is missing that has to be there.
        """
        session.enter(Step.LOAD)
        return self._rows(session, call)

    def _plain(self, mapper: Mapper[Any], keys: Mapping[str, str]) -> None:
        return None  # one that reads and locks nothing is asked seldom enough

    def _taken(self, statement: Select[Any], aggregate: type) -> Select[Any]:
        return unjoined(of_tenant(statement, aggregate, self.tenancy), aggregate)

    def _made(self, session: CommandSession, slot: Slot, values: dict[str, Any]) -> Any:
        return new_of(slot, values)


def read_only(context: ExecutionContext, session: ReadingSession) -> ExecutionContext:
    """Return the context for code that is only asked: what would change something is refused; an event or a job goes nowhere."""
    return replace(context, _doings=OnlyAsked(session, context._doings))


class OnlyAsked:
    """What a context does for code that is only asked: nothing but what is sent to nowhere."""

    def __init__(self, session: ReadingSession, doings: Doings | None) -> None:
        """Set it up.

        Args:
            session: Knows who is asked.
            doings: Looks at events and jobs first, whether they are declared; None where nobody does.
        """
        self._session, self._doings = session, doings

    def create(self, _aggregate: Any, /) -> NoReturn:
        """Refuse."""
        raise self._session.refusal("`context.create`")

    def delete(self, _aggregate: Any, /) -> NoReturn:
        """Refuse."""
        raise self._session.refusal("`context.delete`")

    def fire(self, _aggregate: Any, _trigger: str, /) -> NoReturn:
        """Refuse."""
        raise self._session.refusal("`context.fire`")

    def execute(self, _command: Any, _said: dict[str, Any], /) -> NoReturn:
        """Refuse."""
        raise self._session.refusal("`context.execute`")

    def emit(self, event: DomainEvent, about: object | None, /) -> None:
        """Take an event that goes nowhere."""
        if self._doings is not None:
            self._doings.emit(event, about)

    def enqueue(self, job: Job, run_at: datetime | None, /) -> None:
        """Take a job that goes nowhere."""
        if self._doings is not None:
            self._doings.enqueue(job, run_at)


class Question(Protocol[T_co]):
    """Something that is asked in a transaction that only reads; again from the start where the connection was lost.

    Attributes:
        retry: Decides what follows on a failure.
        sensitive: Whether the driver's errors may quote what must not be seen.
    """

    retry: Retry
    sensitive: bool

    def ask(self, session: ReadingSession) -> T_co:
        """Return the answer."""
        ...


def after_failure(question: Question[Any], error: Exception, session: ReadingSession) -> float | Exception:
    """Return what follows on a question that failed: a pause in seconds before it is asked again, or the error to raise."""
    decision = question.retry.after(error, session.step)
    if decision is None:
        return error
    if isinstance(decision, UseCaseError) and not question.sensitive:
        decision.__cause__ = error
    return decision
