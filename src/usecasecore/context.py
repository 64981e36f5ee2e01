"""Who asks, what they get back, and what a use case has at hand while it runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar
from uuid import UUID

from usecasecore.messages import Command, DomainEvent, Job, Result

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

__all__ = ["ANONYMOUS", "Actor", "Clock", "Doings", "ExecutionContext", "FiredTransition", "Outcome"]

A = TypeVar("A")
R = TypeVar("R", bound=Result)
R_co = TypeVar("R_co", bound=Result, covariant=True)


class Clock(Protocol):
    """Tells the time that audit entries, events and results are written with."""

    def __call__(self) -> datetime:
        """Return the current instant, aware."""
        ...


@dataclass(frozen=True, slots=True)
class Actor:
    """Who asks. Comes from the caller's authenticated context, never from a command's fields.

    Attributes:
        type: What kind of actor: `user`, `service`, `system`.
        id: Its id, unique for the type.
        tenant: The tenant it acts in; None where there are no tenants.
        roles: What a policy may look at.
        on_behalf_of: The actor for whom it acts, as `type:id`; None where it acts for itself.
    """

    type: str
    id: str
    tenant: str | None = None
    roles: frozenset[str] = frozenset()
    on_behalf_of: str | None = None

    def __str__(self) -> str:
        return f"{self.type}:{self.id}"


ANONYMOUS = Actor("anonymous", "anonymous")
"""Who asks where nobody was named. A policy that lets it do anything says so."""


@dataclass(frozen=True, slots=True, init=False)
class Outcome(Generic[R_co]):
    """What became of an accepted command.

    Attributes:
        result: What `apply` returned; on a replay what it returned then.
        key: The idempotency key, the caller's or the one that the runtime made.
        replayed: True where the result is that of an earlier run under the same key, and nothing was done now.
        version: The version of the aggregate after the command; None where there is no single one.
        command_id: The id under which the ledger knows the execution.
    """

    result: R_co
    key: str
    replayed: bool
    version: int | None
    command_id: UUID

    def __init__(self, result: R_co, key: str, replayed: bool, version: int | None, command_id: UUID) -> None:
        # What a frozen dataclass would do here looks each field up by its name, and takes three times as long.
        _set_result(self, result)
        _set_key(self, key)
        _set_replayed(self, replayed)
        _set_version(self, version)
        _set_command_id(self, command_id)


_set_result, _set_key, _set_replayed, _set_version, _set_command_id = (
    vars(Outcome)[name].__set__ for name in ("result", "key", "replayed", "version", "command_id")
)


@dataclass(frozen=True, slots=True)
class FiredTransition:
    """The transition that the command fired.

    Attributes:
        lifecycle: Name of the lifecycle.
        trigger: Name of the trigger.
        source: Name of the state before.
        dest: Name of the state after; the same as `source` for an internal transition.
    """

    lifecycle: str
    trigger: str
    source: str
    dest: str


class Doings(Protocol):
    """What is done where a use case asks its context for it; see there."""

    def create(self, aggregate: Any, /) -> None:
        """See `ExecutionContext.create`."""
        ...

    def delete(self, aggregate: Any, /) -> None:
        """See `ExecutionContext.delete`."""
        ...

    def emit(self, event: DomainEvent, about: object | None, /) -> None:
        """See `ExecutionContext.emit`."""
        ...

    def enqueue(self, job: Job, run_at: datetime | None, /) -> None:
        """See `ExecutionContext.enqueue`."""
        ...

    def fire(self, aggregate: Any, trigger: str, /) -> FiredTransition:
        """See `ExecutionContext.fire`."""
        ...

    def execute(self, command: Any, said: dict[str, Any], /) -> Any:
        """See `ExecutionContext.execute`."""
        ...


@dataclass(slots=True, kw_only=True)
class ExecutionContext:
    """What a use case has at hand while it runs. Valid until `apply` returns.

    Attributes:
        actor: Who asks.
        use_case: Name of the use case.
        command_id: Id of this execution; events and jobs carry it as their causation.
        key: The idempotency key.
        now: The runtime's clock at the start, aware; the same for the whole command.
        session: The session of the runtime's transaction. Query and change through it; commit and rollback are the runtime's.
        reason: Why, in the caller's words; may be None.
        request_id: Id of the request that brought the command; may be None.
        correlation_id: Id of the conversation; the command's own id where the caller gave none.
        causation_id: Id of the message that caused the command; may be None.
        transition: What was fired; None where the use case has no trigger, or while it isn't fired yet.
    """

    actor: Actor
    use_case: str
    command_id: UUID
    key: str
    now: datetime
    session: Session
    reason: str | None = None
    request_id: str | None = None
    correlation_id: str
    causation_id: str | None = None
    transition: FiredTransition | None = None
    _doings: Doings = field(repr=False)

    @property
    def tenant(self) -> str | None:
        """The actor's tenant."""
        return self.actor.tenant

    def create(self, aggregate: A) -> A:
        """Add a new aggregate: in its initial state, at version 1, with its key set; return it.

        Raises:
            Undeclared: If the use case's `creates` doesn't name its class.
            WrongResult: If it was built in a state other than the initial one.
        """
        self._doings.create(aggregate)
        return aggregate

    def delete(self, aggregate: object) -> None:
        """Delete a loaded aggregate: its row is gone with the commit, its trail ends with an entry of the kind `delete`.

        Nothing more can be fired on it; events about it may still be emitted.

        Raises:
            Undeclared: If the use case's `deletes` doesn't name its class.
            WrongResult: If it is not one that was loaded, or is deleted already.
        """
        self._doings.delete(aggregate)

    def fire(self, aggregate: object, trigger: str) -> FiredTransition:
        """Fire a trigger on a further aggregate that is loaded too, or of a further lifecycle of the same; return the transition.

        One for each lifecycle of an aggregate. All that an aggregate makes in a command are one version and one audit entry.

        Args:
            aggregate: One that was loaded.
            trigger: As `also_fires` has it: the name, or `shipping.cancel` where several lifecycles of the class have it.

        Raises:
            Undeclared: If `also_fires` doesn't name it, or the aggregate is not one that was loaded.
            TransitionNotAllowed: If the trigger is not possible from its state.
            GuardRejected: If a guard says no.
            WrongResult: If the lifecycle has made a transition in this command already.
        """
        return self._doings.fire(aggregate, trigger)

    def execute(self, command: Command[R], /, **said: Any) -> R:
        """Run another use case inside of this one, in the same transaction; return its result.

        It gets the whole shell: its own policy question, locks, audit entries and events, by the same actor unless `said`
        otherwise. Where it fails, this command fails with it, even if the error is swallowed here. Locks are then taken in the
        order of the calls: keep that order the same everywhere.

        Args:
            command: A command of the application's.
            said: What `Runtime.execute` takes: `actor`, `idempotency_key`, `expected_version`, `reason`, ...
        """
        result: R = self._doings.execute(command, said)
        return result

    def emit(self, event: DomainEvent, *, about: object | None = None) -> None:
        """Write an event to the outbox, with the commit.

        Args:
            event: One of the types in the use case's `emits`.
            about: The aggregate it belongs to, whose version orders it; by default the one loaded (of several, the
                one whose trigger is fired), else the first created.

        Raises:
            Undeclared: If `emits` doesn't name its type, or `about` is not an aggregate of this command.
        """
        self._doings.emit(event, about)

    def enqueue(self, job: Job, *, run_at: datetime | None = None) -> None:
        """Write a job to the outbox, with the commit.

        Args:
            job: One of the types in the use case's `enqueues`.
            run_at: The first instant at which it may run, aware; by default at once.

        Raises:
            Undeclared: If `enqueues` doesn't name its type.
        """
        self._doings.enqueue(job, run_at)
