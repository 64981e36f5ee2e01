"""AsyncRuntime: the front door for asynchronous code. The shell behind it is the synchronous one, run inside a greenlet."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable
from contextlib import nullcontext
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Connection, Select
from sqlalchemy.exc import SQLAlchemyError

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

try:
    from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

    from usecasecore.greenlets import Greenlets
except ImportError as error:
    raise ImportError('AsyncRuntime needs greenlet: pip install "usecasecore[asyncio]"') from error

__all__ = ["AsyncRuntime"]

R = TypeVar("R", bound=Result)
T = TypeVar("T")


class AsyncRuntime:
    """Runs the use cases of an application on an asynchronous engine. One instance serves all tasks of an event loop.

    Use cases, guards and policies stay plain functions; lazy loading works in them.

    Attributes:
        application: What it runs.
        engine: On what.
        ledger_schema: The schema that the ledger lives in; None for the connection's default.
        tenancy: Which column of the aggregates is the tenant; None where tenants are not kept apart.
        asynchronous_commit: Whether the last commits before a crash of PostgreSQL may be lost.
    """

    def __init__(
        self,
        engine: AsyncEngine,
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
        """Set the runtime up; see `Runtime`."""
        self.application = application
        self.engine = engine
        self.ledger_schema = ledger_schema
        self.tenancy = tenancy
        self.asynchronous_commit = asynchronous_commit
        self._shell = Shell(engine.sync_engine, application, clock, limits, ledger_schema, tenancy, fold_updates)
        self._commands = AsyncEngine(command_engine(engine.sync_engine, self._shell.limits))
        self._greenlets = Greenlets()
        self._actions = ActionTable(self._shell.plans, application.policy)
        self._create = create
        self._checked = False
        self._checking = asyncio.Lock()
        self._queue = asyncio.Lock() if shares_one_connection(engine.sync_engine) else nullcontext()

    async def execute(
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
        session: AsyncSession | None = None,
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
            CancelledError: If the task was cancelled; nothing is half-done, and the same command with the same key says what
                became of it.
            Exception: Whatever else user code raised; nothing changed.
        """
        outcome = await self.run(
            command,
            actor=actor,
            idempotency_key=idempotency_key,
            expected_version=expected_version,
            reason=reason,
            request_id=request_id,
            correlation_id=correlation_id,
            causation_id=causation_id,
            session=session,
        )
        return outcome.result

    async def run(
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
        session: AsyncSession | None = None,
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
                await (await session.connection()).run_sync(self._check_on)
            return await session.run_sync(lambda one: join(self._shell, plan, call, one))
        return await self._until_decided(OneCommand(self._shell, plan, call))

    def execute_many(
        self,
        commands: Iterable[Command[R]] | AsyncIterable[Command[R]],
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
    ) -> AsyncIterator[Outcome[R] | Rejected | Conflict]:
        """Run commands of one use case, many in each transaction; yield what became of each. See `Runtime.execute_many`."""
        asked = Asked(
            actor=actor,
            reason=reason,
            request_id=request_id,
            correlation_id=correlation_id,
            causation_id=causation_id,
        )
        return self._many(Bulk(self._shell, asked, batch=batch, skip_locked=skip_locked, key_of=key_of), commands)

    async def transition_where(
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
        """Run a use case on every aggregate that the conditions find, in batches. See `Runtime.transition_where`."""
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
        while keys := await self._ask(selection.page(after, batch)):
            after = keys[-1]
            decided = [one async for one in self._many(bulk, map(selection.command, keys))]
            so_far = so_far.after(dict(zip(map(selection.text_of, keys), decided, strict=True)))
            if progress is not None:
                progress(so_far)
        return so_far

    async def explain(
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
        """Return what `execute` would do with a command, and every reason why it would refuse it; see `Runtime.explain`."""
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
            return await self._rehearse(command, asked)
        question = WouldItRun(self._shell, command, asked)
        return question.known if question.known is not None else await self._ask(question)

    async def _rehearse(self, command: Command[Any], asked: Asked) -> Explanation:
        rehearsal = Rehearsal.of(self._shell, command, asked)
        if isinstance(rehearsal, Explanation):
            return rehearsal
        try:
            with rehearsal.watched():
                outcome = await self._until_decided(rehearsal)
        except Exception as error:  # noqa: BLE001 - raised there, unless it is a refusal
            return rehearsal.refused(error)
        return rehearsal.accepted(outcome)

    async def allowed(self, aggregate: type[Any], key: Any, *, actor: Actor = ANONYMOUS) -> Actions:
        """Return what can be done with an aggregate, as it is now; see `Runtime.allowed`."""
        question = WhatIsPossible(self._shell, self._actions, aggregate, [key], actor)
        for answer in await self._ask(question):
            return answer
        raise question.not_found()

    async def allowed_many(
        self, aggregate: type[Any], keys: Iterable[Any] | Select[Any], *, actor: Actor = ANONYMOUS
    ) -> tuple[Actions, ...]:
        """Do what `allowed` does for many aggregates, with one query for the rows; see `Runtime.allowed_many`."""
        return await self._ask(WhatIsPossible(self._shell, self._actions, aggregate, keys, actor))

    async def check(self) -> None:
        """Make sure that the database keeps the runtime's promises; see `Runtime.check`."""
        try:
            async with self._checking, self._queue:
                if self._create:
                    async with self._commands.begin() as connection:
                        await connection.run_sync(create_ledger, self._shell.schema)
                async with self._commands.connect() as connection:
                    await connection.run_sync(self._check_on)
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

    async def transaction(self, work: Callable[[Transaction], T], /, *, idempotency_key: str | None = None) -> T:
        """Run several commands in one transaction; see `Runtime.transaction`. `work` is a plain function, as use cases are."""
        return await self._until_decided(SeveralCommands(self._shell, work, idempotency_key))

    async def _many(self, bulk: Bulk, commands: Iterable[Command[Any]] | AsyncIterable[Command[Any]]) -> AsyncIterator[Any]:
        async for command in _each(commands):
            if (full := bulk.take(command)) is not None:
                for decided in await self._batch(full):
                    yield decided
        if (rest := bulk.rest()) is not None:
            for decided in await self._batch(rest):
                yield decided

    async def _batch(self, batch: Batch) -> list[Decided]:
        if batch.together:
            await self._until_decided(batch)
        for place, work in batch.alone():
            try:
                batch.results[place] = await self._until_decided(work)
            except ANSWERS as answer:
                batch.results[place] = answer
        return all_decided(batch)

    async def _ask(self, question: Question[T]) -> T:
        if not self._checked:
            await self.check()
        async with self._queue:
            while True:
                session = ReadingSession(self.engine.sync_engine)
                try:
                    return await self._greenlets.run(question.ask, session)
                except Exception as error:  # noqa: BLE001 - raised below, or asked again
                    decision = after_failure(question, error, session)
                finally:
                    await asyncio.shield(self._greenlets.run(session.discard))
                if isinstance(decision, Exception):
                    raise decision
                await asyncio.sleep(decision)

    async def _until_decided(self, work: Work[T]) -> T:
        if not self._checked:
            await self.check()
        async with self._queue:
            while True:
                session = CommandSession(self._commands.sync_engine)
                try:
                    return await self._greenlets.run(_run, work, session)
                except Exception as error:  # noqa: BLE001 - raised below, or the work is done again
                    decision = self._shell.decide(work.last, work.retry, error, session)
                finally:
                    if not session.discarded:
                        # A second cancellation must not leave the connection with a transaction in it.
                        await asyncio.shield(self._greenlets.run(session.discard))
                if isinstance(decision, Exception):
                    if work.recorded:
                        await self._record(work.last, decision, session)
                    raise decision
                if session.step is Step.COMMIT:
                    work.ask_the_key()
                await asyncio.sleep(decision)

    async def _record(self, run: tuple[Plan, Call] | None, failure: Exception, session: CommandSession) -> None:
        if run is None or not self._shell.is_recorded(failure):
            return
        try:
            async with self._commands.begin() as connection:
                await connection.run_sync(self._shell.record_attempt, run, failure, session.seen_version)
        except Exception as error:  # noqa: BLE001 - the refusal stands, whether or not it could be written down
            failure.add_note(f"the attempt could not be recorded: {type(error).__name__}")


async def _each(commands: Iterable[Command[Any]] | AsyncIterable[Command[Any]]) -> AsyncIterator[Command[Any]]:
    if isinstance(commands, AsyncIterable):
        async for command in commands:
            yield command
    else:
        for command in commands:
            yield command


def _run(work: Work[T], session: CommandSession) -> T:
    done = work.run(session)
    if session.committed:
        session.discard()  # nothing is rolled back, so it needs no shield: a task and a greenlet less
    return done
