"""Runtime: the front door for synchronous code."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Connection, Engine, Select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from usecasecore.application import Application
from usecasecore.context import ANONYMOUS, Actor, Clock, Outcome
from usecasecore.errors import Conflict, Rejected
from usecasecore.messages import Command, Result
from usecasecore.runtime.action_table import ActionTable
from usecasecore.runtime.batch import Batch, Decided
from usecasecore.runtime.bulk import ANSWERS, Bulk, KeyOf, all_decided
from usecasecore.runtime.call import Asked, Call
from usecasecore.runtime.caller import join
from usecasecore.runtime.database import check_database, command_engine, create_ledger, shares_one_connection
from usecasecore.runtime.explain import WouldItRun
from usecasecore.runtime.explanation import Actions, Explanation
from usecasecore.runtime.limits import Limits
from usecasecore.runtime.plan import Plan
from usecasecore.runtime.possible import WhatIsPossible
from usecasecore.runtime.reading import Question, ReadingSession, after_failure
from usecasecore.runtime.rehearsal import Rehearsal
from usecasecore.runtime.retry import typed
from usecasecore.runtime.selection import Progress, Selection
from usecasecore.runtime.session import CommandSession
from usecasecore.runtime.shell import Shell
from usecasecore.runtime.transaction import Transaction
from usecasecore.runtime.work import OneCommand, SeveralCommands, Work
from usecasecore.steps import Step
from usecasecore.tenancy import Tenancy
from usecasecore.usecase import UseCase

__all__ = ["Runtime"]

R = TypeVar("R", bound=Result)
T = TypeVar("T")


class Runtime:
    """Runs the use cases of an application on a database. One instance serves all threads.

    Attributes:
        application: What it runs.
        engine: On what.
        ledger_schema: The schema that the ledger lives in; None for the connection's default.
        tenancy: Which column of the aggregates is the tenant; None where tenants are not kept apart.
        asynchronous_commit: Whether the last commits before a crash of PostgreSQL may be lost.
    """

    def __init__(
        self,
        engine: Engine,
        application: Application,
        *,
        clock: Clock | None = None,
        limits: Limits | None = None,
        create: bool = False,
        ledger_schema: str | None = None,
        asynchronous_commit: bool = False,
        tenancy: Tenancy | None = None,
        fold_updates: bool = True,
    ) -> None:
        """Set the runtime up; the database is checked at the first command, or by `check`.

        Args:
            engine: Of SQLAlchemy. On SQLite its transactions are begun by the runtime from now on, see `docs`.
            application: The use cases and the policy.
            clock: Tells the time; by default the system's.
            limits: How long to wait, how often to try again, how much to take.
            create: Whether to create the ledger where it is missing; on SQLite only.
            ledger_schema: The schema that the ledger lives in; by default the connection's.
            asynchronous_commit: Whether PostgreSQL may have `synchronous_commit=off`, so that a crash loses the last commits
                although they were acknowledged.
            tenancy: Which column of the aggregates is the tenant; then actors without a tenant are refused.
            fold_updates: Whether the UPDATE of a single locked row may travel in the ledger's statement, where the session would
                flush nothing else. A table with rules of PostgreSQL's on UPDATE takes False.

        Raises:
            DefinitionError: If an aggregate has no such column.
        """
        self.application = application
        self.engine = engine
        self.ledger_schema = ledger_schema
        self.tenancy = tenancy
        self.asynchronous_commit = asynchronous_commit
        self._shell = Shell(engine, application, clock, limits, ledger_schema, tenancy, fold_updates)
        self._commands = command_engine(engine, self._shell.limits)
        self._actions = ActionTable(self._shell.plans, application.policy)
        self._create = create
        self._checked = False
        self._checking = threading.Lock()
        self._queue = threading.RLock() if shares_one_connection(engine) else nullcontext()

    def execute(
        self,
        command: Command[R],
        /,
        *,
        actor: Actor = ANONYMOUS,
        idempotency_key: str | None = None,
        expected_version: int | None = None,
        reason: str | None = None,
        request_id: str | None = None,
        correlation_id: str | None = None,
        causation_id: str | None = None,
        session: Session | None = None,
    ) -> R:
        """Run the command's use case in a transaction of its own; return its result, committed.

        Args:
            command: A command of the application's.
            actor: Who asks, as the caller has authenticated them.
            idempotency_key: 1 to 255 printable ASCII characters. The same command under the same key, from the same actor,
                takes effect once, whatever races or fails; each further call returns the first one's result.
            expected_version: The version of the aggregate that the caller has seen; another one is refused.
            reason: Why, for the audit entry.
            request_id: Id of the request that brought the command, for the audit entry.
            correlation_id: Id of the conversation it belongs to; events and jobs carry it on.
            causation_id: Id of the message that caused it.
            session: A session of the caller's whose transaction to join: nothing is committed here. Refused with changes that
                are not flushed; after a failure it can only be rolled back. New starts, the truth about the commit and the order of locks are then
                the caller's, and refusals leave no attempt.

        Raises:
            Rejected: The command is refused, for good: nothing changed. See `usecasecore.errors` for the kinds.
            Conflict: Nothing is decided; the same command with the same key may succeed later.
            StoreError: The database or the ledger is not as it must be.
            ContractViolation: The use case broke its own declaration; nothing changed.
            Exception: Whatever else user code raised; nothing changed.
        """
        return self.run(
            command,
            actor=actor,
            idempotency_key=idempotency_key,
            expected_version=expected_version,
            reason=reason,
            request_id=request_id,
            correlation_id=correlation_id,
            causation_id=causation_id,
            session=session,
        ).result

    def run(
        self,
        command: Command[R],
        /,
        *,
        actor: Actor = ANONYMOUS,
        idempotency_key: str | None = None,
        expected_version: int | None = None,
        reason: str | None = None,
        request_id: str | None = None,
        correlation_id: str | None = None,
        causation_id: str | None = None,
        session: Session | None = None,
    ) -> Outcome[R]:
        """Do what `execute` does; return the outcome: the result, its key, the version, and whether it is a replay."""
        asked = Asked(
            actor=actor,
            idempotency_key=idempotency_key,
            expected_version=expected_version,
            reason=reason,
            request_id=request_id,
            correlation_id=correlation_id,
            causation_id=causation_id,
        )
        plan, call = self._shell.call(command, asked)
        if session is not None:
            if not self._checked:
                self._check_on(session.connection())
            return join(self._shell, plan, call, session)
        return self._until_decided(OneCommand(self._shell, plan, call))

    def execute_many(
        self,
        commands: Iterable[Command[R]],
        /,
        *,
        actor: Actor = ANONYMOUS,
        key_of: KeyOf | None = None,
        batch: int = 500,
        skip_locked: bool = False,
        reason: str | None = None,
        request_id: str | None = None,
        correlation_id: str | None = None,
        causation_id: str | None = None,
    ) -> Iterator[Outcome[R] | Rejected | Conflict]:
        """Run commands of one use case, many in each transaction; yield what became of each, in their order.

        Nothing is run before the results are asked for; they come batch by batch, when the batch is committed. `commands` is read as far as
        that needs, so that neither it nor the results have to fit into memory. Each command has the whole shell: validation, key, lock,
        policy, version, guards, `apply`, audit entry, events. A refusal is that command's result, and spoils nothing.

        A use case shares transactions where it loads one aggregate by its key and creates and deletes none, and as long as its code
        (policy, guards, `apply`) asks the database nothing; any other works too, with a transaction for each command. Of two commands on
        the same aggregate the second one goes into the next batch. See `docs/guide/bulk.md`.

        Args:
            commands: Of one type.
            actor: Who asks.
            key_of: Returns a command's idempotency key. A second run under the same keys goes on where the first one stopped.
            batch: How many commands share a transaction, 1 to 5,000.
            skip_locked: Whether a row that somebody else has locked is `AggregateBusy` at once; else when it still is after the
                runtime's `lock_timeout`.
            reason: Why, for the audit entries.
            request_id: As for `execute`.
            correlation_id: As for `execute`.
            causation_id: As for `execute`.

        Raises:
            ValueError: If the size of a batch is out of its range.
            TypeError: If a command is of another type than the first.
            UseCaseError: As `execute`, for what is no one command's: the batches before it are committed, nothing of this one.
            Exception: Whatever else user code raised; likewise.
        """
        asked = Asked(
            actor=actor,
            reason=reason,
            request_id=request_id,
            correlation_id=correlation_id,
            causation_id=causation_id,
        )
        return self._many(Bulk(self._shell, asked, batch=batch, skip_locked=skip_locked, key_of=key_of), commands)

    def transition_where(
        self,
        use_case: type[UseCase[Any, Any, Any]] | str,
        /,
        *where: ColumnElement[bool],
        actor: Actor = ANONYMOUS,
        command: Callable[..., Command[Any]] | None = None,
        run_id: str | None = None,
        batch: int = 500,
        skip_locked: bool = False,
        progress: Callable[[Progress], object] | None = None,
        reason: str | None = None,
        request_id: str | None = None,
        correlation_id: str | None = None,
        causation_id: str | None = None,
    ) -> Progress:
        """Run a use case on every aggregate that the conditions find, in batches; return how many it took effect on.

        The keys are read page by page, in their order, without a lock: whether the conditions still hold when a row is locked is not looked
        at again; what must hold then is for guards and policies to say. The keys of the commands are made of the run's id and the aggregate's key.

        Args:
            use_case: One whose command names one aggregate by its key; or its name.
            where: Conditions on the aggregate's columns.
            actor: Who asks.
            command: Makes the command of the fields of the key, for a command that wants further ones; by default its class.
            run_id: Names the run, 1 to 190 printable ASCII characters. A second one by the same id goes on where the first one stopped.
            batch: As for `execute_many`.
            skip_locked: As for `execute_many`.
            progress: Is called after each batch, with what has been done so far.
            reason: As for `execute_many`.
            request_id: As for `execute`.
            correlation_id: As for `execute`.
            causation_id: As for `execute`.

        Raises:
            DefinitionError: If the application has no such use case, or its command doesn't name one aggregate by the key.
            ValueError: If the run's id can't be part of a key, or the size of a batch is out of its range.
            UseCaseError: As `execute_many`.
            Exception: Whatever else user code raised.
        """
        selection = Selection(self._shell, use_case, where, actor=actor, command=command, run_id=run_id)
        asked = Asked(
            actor=actor,
            reason=reason,
            request_id=request_id,
            correlation_id=correlation_id,
            causation_id=causation_id,
        )
        bulk = Bulk(self._shell, asked, batch=batch, skip_locked=skip_locked, key_of=selection.key_of)
        so_far, after = Progress(selection.run_id), None
        while keys := self._ask(selection.page(after, batch)):
            after = keys[-1]
            decided = self._many(bulk, map(selection.command, keys))
            so_far = so_far.after(dict(zip(map(selection.text_of, keys), decided, strict=True)))
            if progress is not None:
                progress(so_far)
        return so_far

    def explain(
        self,
        command: Command[Any],
        /,
        *,
        actor: Actor = ANONYMOUS,
        idempotency_key: str | None = None,
        expected_version: int | None = None,
        reason: str | None = None,
        request_id: str | None = None,
        correlation_id: str | None = None,
        causation_id: str | None = None,
        rehearse: bool = False,
    ) -> Explanation:
        """Return what `execute` would do with a command, as things are now, and every reason why it would refuse it.

        Nothing is run, written, locked or sent: the question is asked in a transaction of its own that can only read, of a private
        copy of what the command loads. Of the use case's code `validate`, `select` and `choose_trigger` are called; of the lifecycle's
        the guards, and `prepare` callbacks, on that copy. What `apply` itself would refuse is out of reach.

        Who may not read the aggregate learns nothing but that there is none; who may read but not act, nothing of its guards.

        Args:
            command: A command.
            actor: Who would ask.
            idempotency_key: The key that it would be sent with; it may stand for a stored result, or for another command.
            expected_version: The version of the aggregate that the caller has seen.
            reason: Why, where the use case wants to know.
            request_id: As for `execute`.
            correlation_id: As for `execute`.
            causation_id: As for `execute`.
            rehearse: Whether to run it all, `apply` and the writing included, and to roll it back instead of committing: the answer then
                holds the story of what it did, which is for developers and not for the actor. It locks, as `execute` does. What
                your code does outside of the transaction is done.

        Raises:
            Conflict: If the database could not be asked; asking again may succeed.
            StoreError: If `execute` would: the database or the ledger is not as it must be.
            ContractViolation: If `execute` would; or a `WriteRefused`, where user code wanted to write while it was only asked.
            Exception: Whatever else user code raised that `execute` would have called.
        """
        asked = Asked(
            actor=actor,
            idempotency_key=idempotency_key,
            expected_version=expected_version,
            reason=reason,
            request_id=request_id,
            correlation_id=correlation_id,
            causation_id=causation_id,
        )
        if rehearse:
            return self._rehearse(command, asked)
        question = WouldItRun(self._shell, command, asked)
        return question.known if question.known is not None else self._ask(question)

    def _rehearse(self, command: Command[Any], asked: Asked) -> Explanation:
        rehearsal = Rehearsal.of(self._shell, command, asked)
        if isinstance(rehearsal, Explanation):
            return rehearsal
        try:
            with rehearsal.watched():
                outcome = self._until_decided(rehearsal)
        except Exception as error:  # noqa: BLE001 - raised there, unless it is a refusal
            return rehearsal.refused(error)
        return rehearsal.accepted(outcome)

    def allowed(self, aggregate: type[Any], key: Any, *, actor: Actor = ANONYMOUS) -> Actions:
        """Return what can be done with an aggregate, as it is now: yes, no with the reasons, or that it depends on the command.

        An answer for each use case that loads such an aggregate, in the order of the application. The policy, guards and
        `choose_trigger` are asked as for a command that is not there yet: where they look for it, the answer depends. See `explain` for
        what is called, and what is not.

        Args:
            aggregate: The mapped class.
            key: Its primary key; several columns as a tuple in the order of the primary key, or as a mapping.
            actor: Who would ask.

        Raises:
            AggregateNotFound: If there is none, or the actor may not know of it.
            DefinitionError: If no use case loads such an aggregate.
            UndeclaredState: If it is in none of the states of its lifecycle.
            WriteRefused: If user code wanted to write.
            Exception: Whatever a guard raises.
        """
        question = WhatIsPossible(self._shell, self._actions, aggregate, [key], actor)
        for answer in self._ask(question):
            return answer
        raise question.not_found()

    def allowed_many(
        self, aggregate: type[Any], keys: Iterable[Any] | Select[Any], *, actor: Actor = ANONYMOUS
    ) -> tuple[Actions, ...]:
        """Do what `allowed` does for many aggregates: one query for the rows, then the questions that their states leave open.

        Without guards and with `AllowAll` nothing is left to ask. Any other policy is asked about each aggregate and use case. What
        guards and policies load lazily is loaded for each row: say so in the query, by `options(selectinload(...))`.

        Args:
            aggregate: The mapped class.
            keys: Keys, in any of the forms of `allowed`; or a `select(aggregate)` that finds the rows.
            actor: Who would ask.

        Returns:
            The answers in the order of the keys or of the query; what is missing, or not to be seen by the actor, is left out.

        Raises:
            TypeError: If the query finds something else.
            UseCaseError: As `allowed`.
            Exception: Whatever a guard raises.
        """
        return self._ask(WhatIsPossible(self._shell, self._actions, aggregate, keys, actor))

    def check(self) -> None:
        """Make sure that the database keeps the runtime's promises; create the ledger where that was asked for.

        Raises:
            LedgerOutdated: If the ledger is missing, incomplete or of another revision.
            UnsafeDatabase: If a setting of the database breaks a promise.
            DatabaseUnavailable: If it can't be reached, or is no database.
        """
        try:
            with self._checking, self._queue:
                if self._create:
                    with self._commands.begin() as connection:
                        create_ledger(connection, self._shell.schema)
                with self._commands.connect() as connection:
                    self._check_on(connection)
        except SQLAlchemyError as error:
            raise typed(error, "check", self._shell.limits) from error

    def _check_on(self, connection: Connection) -> None:
        check_database(
            connection,
            self._shell.schema,
            asynchronous_commit=self.asynchronous_commit,
            scopes=any(one.use_case.guards for one in self.application.registrations),
        )
        self._checked = True

    def transaction(self, work: Callable[[Transaction], T], /, *, idempotency_key: str | None = None) -> T:
        """Run several commands in one transaction: all of them are committed, or none; return what `work` returns.

        The runtime owns begin, commit and new starts: `work` may be called again from the start, so it does nothing outside of
        the transaction.

        Args:
            work: Is called with the `Transaction`, and runs commands by its `execute` and `run`.
            idempotency_key: From which the commands' keys are made, with their place; by default one of the runtime's own.

        Raises:
            UseCaseError: What a command raised, even where `work` swallowed it; nothing changed.
            Exception: Whatever `work` raised; nothing changed.
        """
        return self._until_decided(SeveralCommands(self._shell, work, idempotency_key))

    def _many(self, bulk: Bulk, commands: Iterable[Command[Any]]) -> Iterator[Any]:
        for command in commands:
            if (full := bulk.take(command)) is not None:
                yield from self._batch(full)
        if (rest := bulk.rest()) is not None:
            yield from self._batch(rest)

    def _batch(self, batch: Batch) -> list[Decided]:
        if batch.together:
            self._until_decided(batch)
        for place, work in batch.alone():
            try:
                batch.results[place] = self._until_decided(work)
            except ANSWERS as answer:
                batch.results[place] = answer
        return all_decided(batch)

    def _ask(self, question: Question[T]) -> T:
        if not self._checked:
            self.check()
        with self._queue:
            while True:
                session = ReadingSession(self.engine)
                try:
                    return question.ask(session)
                except Exception as error:  # noqa: BLE001 - raised below, or asked again
                    decision = after_failure(question, error, session)
                finally:
                    session.discard()
                if isinstance(decision, Exception):
                    raise decision
                time.sleep(decision)

    def _until_decided(self, work: Work[T]) -> T:
        if not self._checked:
            self.check()
        with self._queue:
            while True:
                session = CommandSession(self._commands)
                try:
                    return work.run(session)
                except Exception as error:  # noqa: BLE001 - raised below, or the work is done again
                    decision = self._shell.decide(work.last, work.retry, error, session)
                finally:
                    session.discard()
                # Raised here and not in the handler: an error of ours must not drag the driver's along as its context.
                if isinstance(decision, Exception):
                    if work.recorded:
                        self._record(work.last, decision, session)
                    raise decision
                if session.step is Step.COMMIT:
                    work.ask_the_key()
                time.sleep(decision)

    def _record(self, run: tuple[Plan, Call] | None, failure: Exception, session: CommandSession) -> None:
        if run is None or not self._shell.is_recorded(failure):
            return
        try:
            with self._commands.begin() as connection:
                self._shell.record_attempt(connection, run, failure, session.seen_version)
        except Exception as error:  # noqa: BLE001 - the refusal stands, whether or not it could be written down
            failure.add_note(f"the attempt could not be recorded: {type(error).__name__}")
