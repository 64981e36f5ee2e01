"""What the front doors share: an application on a database, ready to take commands."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import Any

from sqlalchemy import Connection, Engine

from usecasecore import steps
from usecasecore.application import Application
from usecasecore.context import Clock, Outcome
from usecasecore.errors import AggregateNotFound, Conflict, DefinitionError, InvalidCommand, Rejected, StoreError, UseCaseError
from usecasecore.ids import HexIds, uuid7
from usecasecore.ledger import ledger_tables
from usecasecore.ledger import store as ledger_store
from usecasecore.ledger.entries import Attempt
from usecasecore.messages import Command, Result
from usecasecore.runtime.call import Asked, Call, next_of_many, validated
from usecasecore.runtime.changes import Changes
from usecasecore.runtime.execute import execute
from usecasecore.runtime.limits import Limits
from usecasecore.runtime.load import milliseconds
from usecasecore.runtime.plan import Plan, id_text
from usecasecore.runtime.retry import Retry
from usecasecore.runtime.session import CommandSession
from usecasecore.steps import Moment, Step, When
from usecasecore.tenancy import Tenancy

__all__ = ["Shell", "note_version", "system_clock"]


def note_version(error: Rejected, seen_version: int | None) -> None:
    """Have a refusal say which version of the aggregate it was decided on."""
    # Not of what the actor may not even know of: not readable must look like not existing.
    if error.version is None and not isinstance(error, AggregateNotFound):
        error.version = seen_version


def system_clock() -> datetime:
    """Return the current instant, in UTC."""
    return datetime.now(UTC)


class Shell:
    """Plans, limits and ledger of one runtime; what a front door needs for one attempt and after it."""

    def __init__(
        self,
        engine: Engine,
        application: Application,
        clock: Clock | None,
        limits: Limits | None,
        schema: str | None,
        tenancy: Tenancy | None = None,
        fold_updates: bool = True,
    ) -> None:
        if not isinstance(application, Application):
            raise DefinitionError(f"the runtime's application is {application!r}; an Application is wanted")
        self.application = application
        self.clock: Clock = clock or system_clock
        self.limits = limits or Limits()
        self.schema = schema
        self.tenancy = tenancy
        self.store = ledger_store.store_for(engine.dialect, ledger_tables(schema))
        self._lock_timeout = milliseconds(self.limits.lock_timeout.total_seconds())
        if tenancy is not None and (problems := tenancy.problems(application.aggregates)):
            raise DefinitionError(problems)
        mortal = application.deletes
        self._plans = {
            one.command: Plan(one, application.policy, self.store, mortal=mortal, tenancy=tenancy, fold_updates=fold_updates)
            for one in application.registrations
        }

    def call(self, command: Command[Any], asked: Asked) -> tuple[Plan, Call]:
        """Return the plan for a command, and the validated call.

        Raises:
            InvalidCommand: If it isn't valid, or no use case takes it.
            DomainError: From the use case's `validate`.
        """
        plan = self.plan_for(type(command))
        if Step.VALIDATE not in steps.wanted:
            return plan, validated(plan, command, asked, self.clock(), self.limits)
        steps.tell(Moment(Step.VALIDATE, When.BEFORE, plan.name))
        if steps.Request in steps.wanted:
            steps.tell(Moment(Step.VALIDATE, When.DURING, plan.name, fact=steps.Request(command, asked.actor)))
        call = validated(plan, command, asked, self.clock(), self.limits)
        steps.tell(Moment(Step.VALIDATE, When.AFTER, plan.name, call.command_id))
        return plan, call

    def next_call(self, plan: Plan, command: Command[Any], first: Asked, key: str | None, ids: HexIds) -> Call:
        """Return the validated call of a command that is asked for with the same words as a valid one, but for the key; see `call`."""
        if steps.wanted and Step.VALIDATE in steps.wanted:
            return self.call(command, first._replace(idempotency_key=key))[1]
        return next_of_many(plan, command, first, key, self.clock(), self.limits, ids)

    @property
    def plans(self) -> tuple[Plan, ...]:
        """The plans of all use cases, in the order of the application."""
        return tuple(self._plans.values())

    def plan_for(self, command: type[Command[Any]]) -> Plan:
        """Return the plan for commands of a type.

        Raises:
            InvalidCommand: If no use case takes it.
        """
        plan = self._plans.get(command)
        if plan is None:
            names = ", ".join(sorted(kind.__name__ for kind in self._plans))
            message = f"no use case takes it; there are use cases for: {names or 'nothing'}"
            raise InvalidCommand(command=command.__name__, errors=[{"loc": (), "msg": message, "type": "unknown_command"}])
        return plan

    @property
    def lock_timeout(self) -> str:
        """How long to wait for a lock, as PostgreSQL's settings take it."""
        return self._lock_timeout

    def run(self, plan: Plan, call: Call, session: CommandSession) -> Outcome[Any]:
        """Run one command in the session's transaction, without the commit."""
        session.application = self.application
        return execute(plan, call, session, self._lock_timeout, partial(self._joined, call, session))

    def _joined(self, outer: Call, session: CommandSession, command: Command[Any], said: dict[str, Any], place: int) -> Result:
        """Run a command that a use case runs inside of its own: in its transaction, by its actor, under a key made of its key."""
        asked = outer.asked._replace(
            **{
                "idempotency_key": f"{outer.key}/{place}",
                "expected_version": None,
                "correlation_id": outer.asked.correlation_id or str(outer.command_id),
                "causation_id": str(outer.command_id),
                **said,
            },
        )
        try:
            plan, call = self.call(command, asked)
            session.flush()  # what the outer one has created must be there to be found
            if "idempotency_key" not in said:
                call = call._replace(fresh=outer.fresh)
            result: Result = self.run(plan, call, session).result
        except BaseException as error:
            session.doom(error)
            raise
        return result

    def decide(self, run: tuple[Plan, Call] | None, retry: Retry, error: Exception, session: CommandSession) -> float | Exception:
        """Return what follows on a failed attempt: a pause in seconds, or the error that the caller gets.

        Args:
            run: What was run; of several commands the last; None where none was yet.
            retry: The decider of this call.
            error: What ended the attempt.
            session: The attempt's.
        """
        if isinstance(error, Rejected):
            note_version(error, session.seen_version)
        decision = retry.after(error, session.step, session.commit_sent_at)
        # The driver's error quotes values: with sensitive ones in the command it must not travel along.
        if isinstance(decision, UseCaseError) and not (run and run[0].sensitive):
            decision.__cause__ = error
        failure = error if decision is None else decision
        if isinstance(failure, UseCaseError) and run:
            failure.command_id = run[1].command_id
        return failure

    def is_recorded(self, error: BaseException) -> bool:
        """Say whether an error goes into the attempt log: refusals and failures do, what is undecided doesn't."""
        return isinstance(error, Exception) and not isinstance(error, Conflict | StoreError | InvalidCommand)

    def record_attempt(self, connection: Connection, run: tuple[Plan, Call], error: Exception, seen_version: int | None) -> None:
        """Write a refused or failed command into the attempt log, in the transaction that is open."""
        self.store.write_attempt(connection, self.attempt(run, error, seen_version))

    def attempt(self, run: tuple[Plan, Call], error: Exception, seen_version: int | None) -> Attempt:
        """Return what the attempt log says of a refused or failed command."""
        plan, call = run
        refused = isinstance(error, Rejected)
        code = error.code if isinstance(error, UseCaseError) else type(error).__name__
        # An exception of user code may quote anything; of it only the type is kept.
        message = call.redactor.text(str(error)) if isinstance(error, UseCaseError) else f"{type(error).__name__} in user code"
        keys = [getattr(call.command, name) for name in plan.registration.keys.values()]
        return Attempt(
            id=uuid7(),
            common=Changes(plan, call, None).common(),  # type: ignore[arg-type]  # no session is needed for these columns
            key=call.key,
            aggregate=plan.aggregate.name if plan.aggregate else None,
            aggregate_id=id_text(keys)[:400] if keys else None,
            version=seen_version,
            outcome="refused" if refused else "failed",
            code=code,
            message=message.replace("\x00", ""),
        )
