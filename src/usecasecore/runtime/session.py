"""The session of one attempt: its transaction belongs to the runtime."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any, NoReturn
from uuid import UUID

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from usecasecore import steps, unofficial
from usecasecore.application import Application
from usecasecore.driver import commit_along, commit_with, roll_back
from usecasecore.errors import ContractViolation, TransactionEnded
from usecasecore.ledger.store import CommitAlong
from usecasecore.pipeline import Pipeline
from usecasecore.runtime.commit_watch import commit_watch
from usecasecore.steps import Moment, Step, When

__all__ = ["CommandSession", "driver_in_transaction", "sole_command"]

_RUNNING = "_usecasecore_running"
_made = tuple.__new__  # what a named tuple's own `__new__` calls; where somebody watches, it is called in each command


class CommandSession(Session):
    """A session whose transaction user code can't end by accident.

    Attributes:
        step: Where the attempt is; None between commands.
        running: Name and id of the command that runs, or ran last; an empty name before the first one.
        commit_sent_at: When the COMMIT was sent, in seconds of the monotonic clock; None while it wasn't.
        application: Whose command that is; None before the first one.
        caller: The session of the caller's whose transaction this is; None where it is the runtime's own.
        seen_version: The version of the aggregate that was looked at; None before it is loaded.
        policy_failure: What the policy failed with when it was last asked; None where it answered.
        committed: Whether its transaction, or its part of the caller's, is.
        discarded: Whether the connection is given back.
        meanwhile: What to do while the database looks for the command's row; None where that is done, or not wanted.
        in_hand: The aggregates that running commands have loaded; more than one command's where one runs inside of another.
    """

    def __init__(self, bind: Engine | Connection, **options: Any) -> None:
        # No autoflush: a query in `apply` must not write half an aggregate. Closed for good: a thread that `apply` left running
        # must not begin a transaction of its own with it.
        # Where it takes part in a transaction that was begun without it, it may end it: `hold`.
        mode = {"join_transaction_mode": "control_fully", **options}
        super().__init__(bind, **mode, autoflush=False, expire_on_commit=False, close_resets_only=False)
        self.step: Step | None = None
        self.running: tuple[str, UUID | None] = ("", None)
        self.commit_sent_at: float | None = None
        self.application: Application | None = None
        self.caller: Session | None = None
        self.seen_version: int | None = None
        self.policy_failure: Exception | None = None
        self.meanwhile: Callable[[], None] | None = None
        self.in_hand: list[object] = []
        self._is_own = isinstance(bind, Engine)
        self._held: Connection | None = None
        self._alone: Connection | None = None
        self._committing: Connection | None = None
        self._commit_timeout: float | None = None
        self._commit_went_along = self._parted = False
        self.committed = False
        self.discarded = False
        self._flushed = False
        self._doomed_by: BaseException | None = None
        self._lent_to: str | None = None
        self._root: Any = None
        self._transaction_seen: Any = None
        self._pooled: Any = None
        self._asks: Callable[[], bool] = bool

    def start(self, use_case: str, command_id: UUID) -> None:
        """Take note of the command that runs from now on."""
        self.step, self.running = None, (use_case, command_id)

    def hold(self) -> Connection:
        """Return the connection, with the transaction begun; `held` is the same from then on.

        The session itself takes part in it as soon as anybody asks it for something of the database: it costs as much as the rest.
        """
        if not self._is_own or self.in_transaction() or self.dispatch.after_begin:
            self._held = self.connection()
            return self._held
        assert isinstance(self.bind, Engine)
        connection = self.bind.connect()
        try:
            connection.begin()
        except BaseException:
            connection.close()
            raise
        self.bind = self._held = self._alone = connection
        return connection

    @property
    def held(self) -> Connection:
        """The connection of the transaction. To ask the session for it is dear, and the runtime needs it in each step."""
        return self._held or self.hold()

    def enter(self, step: Step) -> None:
        """Go on to a step: the one before it is done."""
        if wanted := steps.wanted_steps:
            if self.step in wanted:
                self.leave()
            if step in wanted:
                self._tell(step, When.BEFORE)
        self.step = step

    def leave(self) -> None:
        """Say that the step is done, where no other follows at once."""
        if (wanted := steps.wanted_steps) and self.step in wanted:  # to look a step up calls a method of Python's
            assert self.step is not None
            self._tell(self.step, When.AFTER)
        self.step = None

    def tell(self, fact: steps.Answer | steps.Creation | steps.Record | steps.Replay | steps.Serialised) -> None:
        """Tell who watches what was decided in this step."""
        assert self.step is not None
        self._tell(self.step, When.DURING, fact)

    def _tell(self, step: Step, when: When, fact: Any = None) -> None:
        use_case, command_id = self.running
        steps.tell(_made(Moment, (step, when, use_case, command_id, self, fact)))

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Have another command run inside of this one's step."""
        step, running, timeout = self.step, self.running, self._commit_timeout
        self._commit_timeout = None  # it isn't the last word of the transaction
        try:
            yield
        finally:
            self.step, self.running, self._commit_timeout = step, running, timeout

    def lent(self, use_case: str) -> AbstractContextManager[None]:
        """Give the session to user code, and make sure afterwards that the transaction is still the one it got.

        Raises:
            TransactionEnded: If user code ended it in a way that could not be prevented.
        """
        return _Lent(self, use_case)

    def lend(self, use_case: str | None) -> str | None:
        """See `lent`; return to whom it was lent before."""
        if self._root is None:  # it is one and the same for as long as the session is there, which is looked at after each loan
            self._transaction_seen = self.held.get_transaction()
            self._root = self.get_transaction() or self.begin()
        return self.take_back(use_case)

    def take_back(self, to: str | None) -> str | None:
        """Lend it to whom it was lent before, or to nobody; return to whom it was lent."""
        before, self._lent_to = self._lent_to, to
        return before

    def require_open(self, use_case: str) -> None:
        """See `lent`."""
        if self._doomed_by is not None:
            raise self._doomed_by  # whether or not user code swallowed it
        self._still_open(use_case)

    def doom(self, error: BaseException) -> None:
        """Rule out the commit: a command inside of this one failed."""
        if self._doomed_by is None:
            self._doomed_by = error

    def flush(self, objects: Any = None) -> None:
        """Write what is unwritten, and remember that there was something; see `Session.flush`."""
        self._flushed = True
        super().flush(objects)

    def ends_with_the_command(self, timeout: float) -> None:
        """Allow the command that begins now to commit with its last statement; see `finish`."""
        self._commit_timeout = timeout

    def committing_along(self, settle: Callable[[], None] | None) -> CommitAlong | None:
        """Return what commits with the next statement, where that is the last and nobody would notice the difference; else None.

        Args:
            settle: Makes the session's object what it is after a flush; called when the statement is sent.
        """
        if self._commit_timeout is None or Step.RESULT in steps.wanted or not self._is_own or self.dispatch.before_commit:
            return None
        if self._flushed and (self.new or self.dirty or self.deleted):
            return None
        pipeline = commit_along(self.held)
        return None if pipeline is None else _CommitAlong(self, pipeline, self._commit_timeout, settle)

    def _part(self) -> None:
        """Close the session while the database commits, where it has no part in that, and nobody would notice."""
        if not self._is_told_of_commits() and not self.dispatch.persistent_to_detached and unofficial.takes_no_part(self):
            super().close()
            self._parted = True

    def _commit_not_reached(self) -> None:
        self.step, self._committing, self.commit_sent_at = Step.RESULT, None, None

    def finish(self, timeout: float) -> None:
        """Commit, where that did not go along with the last statement; cut the connection where it stays unanswered for so many seconds."""
        if self._commit_went_along:
            if self._alone is None or self._is_told_of_commits():
                self._end()
            else:
                unofficial.take_for_ended(self._alone)
        else:
            watched = self._begin_commit(timeout)
            try:
                self._end()
            finally:
                commit_watch.end(watched)
        self._committing = None
        self.committed = True
        if steps.Ended in steps.wanted:
            self._tell(Step.COMMIT, When.DURING, steps.COMMITTED)
        self.leave()

    def _begin_commit(self, timeout: float) -> int | None:
        self.enter(Step.COMMIT)
        self._committing = self.held
        self.commit_sent_at = time.monotonic()
        return commit_watch.begin(self._committing, timeout)

    def _end(self) -> None:
        transaction = self.held.get_transaction()
        if self._is_told_of_commits() or transaction is None or not self._is_own:
            super().commit()
            if self._alone is None or transaction is None or not transaction.is_active:
                return
        transaction.commit()  # the session has no part in it: closing it is all that is left

    def _is_told_of_commits(self) -> bool:
        """Say whether the session is to end its part itself, as objects of it were written or somebody listens; else closing it will do."""
        return self._flushed or bool(self.dispatch.before_commit or self.dispatch.after_commit)

    def hand_over(self) -> None:
        """Leave what was done to the caller's transaction, which goes on: of that one, this session is a part."""
        super().commit()
        self.committed = True

    def discard(self) -> None:
        """Roll back what isn't committed and give the connection back, whatever state it is in."""
        try:
            if Step.ROLLBACK in steps.wanted and not self.committed:
                self._tell(Step.ROLLBACK, When.BEFORE)
        finally:
            if self._committing is not None:
                _roll_back(self._committing)
            elif not self.committed and self._held is not None and self._is_own:
                _roll_back_lightly(self._held)
            # A connection that is already dead can't roll back; the pool drops it.
            if not self._parted:
                with suppress(DBAPIError):
                    super().close()
            if self._alone is not None:
                with suppress(DBAPIError):
                    self._alone.close()
            if steps.Ended in steps.wanted and not self.committed:
                self._tell(Step.ROLLBACK, When.DURING, steps.ROLLED_BACK)
        self.discarded = True
        if Step.ROLLBACK in steps.wanted and not self.committed:
            self._tell(Step.ROLLBACK, When.AFTER)

    def commit(self) -> None:
        """Refuse: the runtime commits."""
        self._refuse("commit()") if self._lent_to else super().commit()

    def rollback(self) -> None:
        """Refuse: the runtime rolls back."""
        self._refuse("rollback()") if self._lent_to else super().rollback()

    def close(self) -> None:
        """Refuse: the runtime closes."""
        self._refuse("close()") if self._lent_to else super().close()

    def reset(self) -> None:
        """Refuse: the runtime closes."""
        self._refuse("reset()") if self._lent_to else super().reset()

    def invalidate(self) -> None:
        """Refuse: the runtime closes."""
        self._refuse("invalidate()") if self._lent_to else super().invalidate()

    def prepare(self) -> None:
        """Refuse: the runtime commits."""
        self._refuse("prepare()") if self._lent_to else super().prepare()

    def _refuse(self, call: str) -> NoReturn:
        assert self._lent_to is not None
        raise TransactionEnded(use_case=self._lent_to, prevented=True, how=f"session.{call}")

    def _still_open(self, use_case: str) -> None:
        root = self.get_transaction()
        if root is not self._root or root is None:
            raise TransactionEnded(use_case=use_case, prevented=False, how="user code")
        if not root.is_active:
            how = "an error of the database that `apply` swallowed"
            raise TransactionEnded(use_case=use_case, prevented=True, how=how)
        connection = self.held
        transaction = connection.get_transaction()
        same = transaction is not None and transaction is self._transaction_seen and transaction.is_active
        if not same or not self._driver_in_transaction(connection):
            raise TransactionEnded(use_case=use_case, prevented=False, how="a commit or rollback on the connection")

    def _driver_in_transaction(self, connection: Connection) -> bool:
        pooled = connection.connection
        if pooled is not self._pooled:  # to find out each time whom to ask is dearer than to ask
            self._pooled, self._asks = pooled, _asking(pooled.driver_connection)
        return self._asks()


class _Lent:
    """See `CommandSession.lent`. Not a generator: that would cost more than all that is done here."""

    __slots__ = ("_outer", "_session", "_use_case")

    def __init__(self, session: CommandSession, use_case: str) -> None:
        self._session, self._use_case = session, use_case

    def __enter__(self) -> None:
        self._outer = self._session.lend(self._use_case)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._session.take_back(self._outer)
        if kind is None:
            self._session.require_open(self._use_case)


class _CommitAlong:
    """See `CommandSession.committing_along`. Not a generator either."""

    __slots__ = ("_pipeline", "_session", "_settle", "_timeout", "_watched")

    def __init__(self, session: CommandSession, pipeline: Pipeline, timeout: float, settle: Callable[[], None] | None) -> None:
        self._session, self._pipeline, self._timeout, self._settle = session, pipeline, timeout, settle

    def __enter__(self) -> _CommitAlong:
        self._watched = self._session._begin_commit(self._timeout)
        return self

    def send(self, text: str, parameters: Any) -> None:
        session = self._session
        refused = session._commit_not_reached
        commit_with(self._pipeline, session.held, text, parameters, refused=refused, meanwhile=self._meanwhile)

    def _meanwhile(self) -> None:
        # If it fails all the same, nobody sees the session or its objects again.
        if self._settle is not None:
            self._settle()
        self._session._part()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        commit_watch.end(self._watched)
        if kind is None:
            self._session._commit_went_along = True


@contextmanager
def sole_command(session: Session, use_case: str) -> Iterator[None]:
    """Have the session to oneself, as far as commands go.

    Raises:
        ContractViolation: If another command is running on it: in one transaction their row locks don't keep them apart.
    """
    mine = [use_case]
    # One atomic step, whichever thread comes first. Not `session.info`, which comes into being with its first use.
    running = vars(session).setdefault(_RUNNING, mine)
    if running is not mine:
        raise ContractViolation(
            f"{use_case}: the session is running {running[0]} already, and takes one command at a time; give each thread and task a "
            "session of its own, and run a command inside of a use case by `context.execute(command)`"
        )
    try:
        yield
    finally:
        del vars(session)[_RUNNING]


def _roll_back(connection: Connection) -> None:
    # After a commit that was interrupted SQLAlchemy takes its transaction for ended and returns the connection as it is:
    # still in it, perhaps, and the next user of the connection would commit our half.
    if connection.invalidated or connection.closed:
        return
    driver: Any = connection.connection.dbapi_connection
    try:
        driver.rollback()
    except Exception:  # noqa: BLE001 - whatever is wrong with it, nobody may use it again
        connection.invalidate()


def _roll_back_lightly(connection: Connection) -> None:
    # What is prepared on the connection stays so; whatever goes wrong, SQLAlchemy's own rollback comes next.
    with suppress(Exception):
        if not connection.invalidated and not connection.closed and connection.in_transaction():
            roll_back(connection)


def driver_in_transaction(connection: Connection) -> bool:
    """Say whether the driver has a transaction open, whatever SQLAlchemy thinks."""
    # A first look, by what the drivers know. If user code has begun another transaction since, the ledger's own statement
    # finds out, by the time at which the transaction began.
    return _asking(connection.connection.driver_connection)()


def _asking(driver: Any) -> Callable[[], bool]:
    if hasattr(driver, "is_in_transaction"):  # asyncpg
        return lambda: bool(driver.is_in_transaction())
    if hasattr(driver, "pgconn"):  # psycopg; 0 is "idle"
        return lambda: bool(driver.pgconn.transaction_status)
    return lambda: getattr(driver, "in_transaction", True) is not False  # sqlite3, aiosqlite
