"""Every error that usecasecore raises, by who must act on it.

    UseCaseError
    ├── DefinitionError            the developer: a wrong declaration, raised when mapped or assembled
    ├── ContractViolation          the developer: code that breaks its own declaration while it runs
    │   ├── StateWriteRefused      a state or version column written past the runtime
    │   ├── TransactionEnded       user code ended the runtime's transaction
    │   ├── Undeclared             an event, a job or a refusal that the use case does not declare
    │   ├── WriteRefused           code that is only asked, by `explain` or `allowed`, wanted to change something
    │   └── WrongResult            a result or a creation other than the declared one
    ├── Rejected                   the caller: decided, nothing changed
    │   ├── InvalidCommand
    │   ├── IdempotencyKeyReused
    │   ├── AggregateNotFound
    │   ├── Forbidden
    │   ├── TransitionNotAllowed
    │   ├── GuardRejected
    │   ├── StaleVersion
    │   ├── ConstraintViolated
    │   └── DomainError            the base of the refusals that users declare
    ├── Conflict                   nobody: running the same command again may succeed
    │   ├── AggregateBusy
    │   ├── InProgress
    │   ├── RetriesExhausted
    │   └── OutcomeUnknown
    ├── DiagramError               the developer: a picture that can't be made
    │   ├── GraphvizMissing
    │   └── GraphvizFailed
    └── StoreError                 the operator: schema, settings or database
        ├── LedgerOutdated
        ├── UnsafeDatabase
        ├── UndeclaredState
        ├── ReplayIncompatible
        └── DatabaseUnavailable

Each error carries its facts as attributes and a stable `code`, and survives pickling. This module imports nothing of ours.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, ClassVar
from uuid import UUID

__all__ = [
    "AggregateBusy",
    "AggregateNotFound",
    "Conflict",
    "ConstraintViolated",
    "ContractViolation",
    "DatabaseUnavailable",
    "DefinitionError",
    "DiagramError",
    "DomainError",
    "Forbidden",
    "GraphvizFailed",
    "GraphvizMissing",
    "GuardRejected",
    "IdempotencyKeyReused",
    "InProgress",
    "InvalidCommand",
    "LedgerOutdated",
    "OutcomeUnknown",
    "Refusal",
    "Rejected",
    "ReplayIncompatible",
    "RetriesExhausted",
    "StaleVersion",
    "StateWriteRefused",
    "StoreError",
    "TransactionEnded",
    "TransitionNotAllowed",
    "Undeclared",
    "UndeclaredState",
    "UnsafeDatabase",
    "UseCaseError",
    "WriteRefused",
    "WrongResult",
]


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a command was not carried out: one value for the error, the attempt log, HTTP and front ends.

    Attributes:
        code: The stable code of the error.
        message: One sentence: what is true and what would be accepted.
        params: The facts, JSON-compatible where the error's own are.
        allowed: The triggers that are possible instead: none where the state is final. None where the refusal isn't about the
            state.
        version: The version of the aggregate that was looked at; None where none was loaded.
        retry_after: Seconds after which the same command, under the same key, may succeed. None where it will be refused again.
        command_id: The execution that it belongs to, as the attempt log knows it; None where it did not come to one. Two
            refusals are equal whatever their executions.
    """

    code: str
    message: str
    params: Mapping[str, Any] = field(default_factory=dict)
    allowed: frozenset[str] | None = None
    version: int | None = None
    retry_after: float | None = None
    command_id: UUID | None = field(default=None, compare=False)

    def __reduce__(self) -> tuple[Any, ...]:
        facts = (self.code, self.message, dict(self.params), self.allowed, self.version, self.retry_after, self.command_id)
        return Refusal, facts


def _restore(cls: type[UseCaseError], args: tuple[Any, ...], facts: dict[str, Any]) -> UseCaseError:
    error = cls.__new__(cls)
    error.args = args
    error.__dict__.update(facts)
    return error


class UseCaseError(Exception):
    """The root of the tree.

    Attributes:
        code: A stable name of the kind of error, in snake case; adapters map it to HTTP, exit and BPMN codes.
        command_id: The execution that ended with it, as the attempt log knows it; None where it did not come to one.
        retry_after: Seconds after which the same command, under the same key, may succeed; None where it will fail again.
    """

    code: ClassVar[str] = "use_case_error"
    command_id: UUID | None = None
    retry_after: float | None = None
    _no_facts: ClassVar[frozenset[str]] = frozenset({"allowed", "version", "retry_after", "command_id", "__notes__"})

    @property
    def refusal(self) -> Refusal:
        """The error as one frozen value."""
        facts = {name: value for name, value in self.__dict__.items() if name not in self._no_facts}
        allowed = getattr(self, "allowed", None) if "allowed" in self._no_facts else None
        version = getattr(self, "version", None)
        return Refusal(self.code, str(self), MappingProxyType(facts), allowed, version, self.retry_after, self.command_id)

    def __reduce__(self) -> tuple[Any, ...]:
        # Keyword-only constructors can't be called again from `args`: restore the facts instead.
        return _restore, (type(self), self.args, dict(self.__dict__))


class DefinitionError(UseCaseError):
    """A declaration is wrong.

    Attributes:
        problems: Every wrong thing that was found, one sentence each.
    """

    code = "definition_error"
    problems: tuple[str, ...]

    def __init__(self, problems: str | Iterable[str], /) -> None:
        self.problems = (problems,) if isinstance(problems, str) else tuple(problems)
        if len(self.problems) == 1:
            super().__init__(self.problems[0])
        else:
            super().__init__("\n".join([f"{len(self.problems)} problems:", *(f"- {problem}" for problem in self.problems)]))


class ContractViolation(UseCaseError):
    """User code did something that its declaration, or the runtime's contract, rules out. Nothing was committed by the runtime."""

    code = "contract_violation"


class StateWriteRefused(ContractViolation):
    """A column that a lifecycle owns was written past the runtime.

    Attributes:
        lifecycle: Name of the lifecycle.
        column: The attribute that was written.
        source: The state before, or None where it isn't known (a bulk statement).
        dest: The state that was to be written, or None where it isn't known.
        use_cases: The use cases that could make this change, as `Name (trigger)`.
    """

    code = "state_write_refused"

    def __init__(
        self,
        *,
        lifecycle: str,
        column: str,
        how: str,
        source: str | None = None,
        dest: str | None = None,
        use_cases: Iterable[str] = (),
    ) -> None:
        self.lifecycle, self.column, self.how = lifecycle, column, how
        self.source, self.dest = source, dest
        self.use_cases = tuple(use_cases)
        change = f", {source!r} to {dest!r}" if source is not None and dest is not None else ""
        cure = "use cases that can: " + ", ".join(self.use_cases) if self.use_cases else "no use case is registered that can"
        super().__init__(
            f"{lifecycle}: {how} past the runtime is refused (column {column!r}{change}); {cure}; "
            "for a data repair, say so with `unprotected(reason=...)`"
        )


class TransactionEnded(ContractViolation):
    """User code committed, rolled back or closed the transaction that belongs to the runtime.

    Attributes:
        use_case: The use case whose code did it.
        prevented: True when the attempt was stopped, so that nothing of it happened; False when the transaction was already
            gone: what user code had written and committed itself is then in the database, without ledger entries.
    """

    code = "transaction_ended"

    def __init__(self, *, use_case: str, prevented: bool, how: str) -> None:
        self.use_case, self.prevented, self.how = use_case, prevented, how
        outcome = (
            "it was stopped before it took effect"
            if prevented
            else "what it committed itself stays, and the ledger has no entry for it"
        )
        super().__init__(
            f"{use_case}: {how} ended the runtime's transaction; {outcome}; leave commit and rollback to the runtime"
        )


class Undeclared(ContractViolation):
    """A use case emitted, enqueued, created, deleted, fired or refused something that it doesn't declare.

    Attributes:
        use_case: The use case.
        what: `emits`, `enqueues`, `creates`, `deletes`, `also_fires` or `refuses`.
        type_name: What was not declared.
        declared: What is.
    """

    code = "undeclared"

    def __init__(self, *, use_case: str, what: str, type_name: str, declared: Iterable[str]) -> None:
        self.use_case, self.what, self.type_name = use_case, what, type_name
        self.declared = tuple(declared)
        listed = ", ".join(self.declared) or "nothing"
        super().__init__(f"{use_case}: {type_name} is not in `{what}` (declared: {listed}); add it there")


class WriteRefused(ContractViolation):
    """A policy, a guard or another part of a use case wanted to change something while it was only asked. Nothing changed.

    Attributes:
        use_case: The use case that was asked about.
        how: What it did.
    """

    code = "write_refused"

    def __init__(self, *, use_case: str, how: str) -> None:
        self.use_case, self.how = use_case, how
        super().__init__(
            f"{use_case}: {how} is refused while the use case is only asked about; policies, guards, `prepare`, `select` and "
            "`choose_trigger` may read, and leave changes to `apply`"
        )


class WrongResult(ContractViolation):
    """`apply` returned, or left behind, something other than its use case declares."""

    code = "wrong_result"

    def __init__(self, *, use_case: str, expected: str, got: str) -> None:
        self.use_case, self.expected, self.got = use_case, expected, got
        super().__init__(f"{use_case}: `apply` owes {expected}, but there is {got}")


class Rejected(UseCaseError):
    """The command was decided upon and refused; nothing changed, and the same command will be refused again.

    Attributes:
        version: The version of the aggregate the refusal was decided on; None where none was loaded.
    """

    code = "rejected"
    version: int | None = None


class InvalidCommand(Rejected):
    """The command, or what goes with it, is not valid; found before any trip to the database.

    Attributes:
        command: Name of the command type.
        errors: One mapping for each fault: `loc` (path of field names and indexes), `msg`, `type`. Whatever else is said of a
            fault is left out: pydantic's `input` and `ctx` hold what was sent.
    """

    code = "invalid_command"

    def __init__(self, *, command: str, errors: Iterable[Mapping[str, Any]]) -> None:
        self.command = command
        self.errors = tuple({name: error[name] for name in ("loc", "msg", "type") if name in error} for error in errors)
        super().__init__(f"{command} is not valid: " + "; ".join(self._sentence(error) for error in self.errors))

    @staticmethod
    def _sentence(error: Mapping[str, Any]) -> str:
        place = ".".join(str(part) for part in error.get("loc", ()))
        return f"{place}: {error['msg']}" if place else str(error["msg"])


class IdempotencyKeyReused(Rejected):
    """The key was used before, by the same actor and use case, for another payload."""

    code = "idempotency_key_reused"

    def __init__(self, *, use_case: str, key: str) -> None:
        self.use_case, self.key = use_case, key
        super().__init__(
            f"{use_case}: idempotency key {key!r} already stands for a command with other fields; send that command again, or take a new key"
        )


class AggregateNotFound(Rejected):
    """There is no such aggregate, or the actor may not know of it: the two can't be told apart."""

    code = "aggregate_not_found"

    def __init__(self, *, aggregate: str, key: str) -> None:
        self.aggregate, self.key = aggregate, key
        super().__init__(f"{aggregate}: there is none with the key {key}")


class Forbidden(Rejected):
    """The policy said no, gave no answer, or failed.

    Attributes:
        permission: What was asked for.
        actor: Who asked, as `type:id`.
        reason: What the policy gave as its reason; may be empty.
    """

    code = "forbidden"

    def __init__(self, *, use_case: str, permission: str, actor: str, reason: str = "") -> None:
        self.use_case, self.permission, self.actor, self.reason = use_case, permission, actor, reason
        why = f": {reason}" if reason else ""
        super().__init__(f"{use_case}: {actor} lacks the permission {permission!r}{why}")


class TransitionNotAllowed(Rejected):
    """The trigger is not possible from the aggregate's state.

    Attributes:
        lifecycle: Name of the lifecycle.
        trigger: What was to be fired.
        state: The state that the aggregate is in.
        allowed: The triggers that are declared for this state, whatever their guards say.
    """

    code = "transition_not_allowed"

    def __init__(self, *, lifecycle: str, trigger: str, state: str, allowed: Iterable[str]) -> None:
        self.lifecycle, self.trigger, self.state = lifecycle, trigger, state
        self.allowed = frozenset(allowed)
        possible = ", ".join(sorted(self.allowed)) or "nothing, the state is final"
        super().__init__(f"{lifecycle}: {trigger!r} is not possible from {state!r}; possible: {possible}")


class GuardRejected(Rejected):
    """The trigger is possible from this state, but a guard said no.

    Attributes:
        lifecycle: Name of the lifecycle.
        trigger: What was to be fired.
        state: The state that the aggregate is in.
        guard: Name of the first guard that said no.
        reason: What that guard's declaration gives as the reason.
        failures: Every (guard, reason) that said no, in the order asked; more than one when a trigger has several candidates.
        allowed: The triggers that are declared for this state, whatever their guards say.
    """

    code = "guard_rejected"

    def __init__(
        self,
        *,
        lifecycle: str,
        trigger: str,
        state: str,
        failures: Iterable[tuple[str, str]],
        allowed: Iterable[str],
    ) -> None:
        self.lifecycle, self.trigger, self.state = lifecycle, trigger, state
        self.failures = tuple((guard, reason) for guard, reason in failures)
        self.guard, self.reason = self.failures[0]
        self.allowed = frozenset(allowed)
        said = "; ".join(f"{reason} (guard {guard!r})" for guard, reason in self.failures)
        super().__init__(f"{lifecycle}: {trigger!r} from {state!r} is refused: {said}")


class StaleVersion(Rejected):
    """The caller decided on an older version than the one in the database."""

    code = "stale_version"

    def __init__(self, *, aggregate: str, expected: int, actual: int) -> None:
        self.aggregate, self.expected, self.actual = aggregate, expected, actual
        super().__init__(f"{aggregate}: version {expected} was expected, but it is at {actual}; look again and decide anew")


class ConstraintViolated(Rejected):
    """The database refused what the command was to write.

    Attributes:
        constraint: The name of the constraint; an empty string where a value did not fit its column.
    """

    code = "constraint_violated"

    def __init__(self, *, use_case: str, constraint: str = "") -> None:
        self.use_case, self.constraint = use_case, constraint
        why = f"the constraint {constraint!r} forbids it" if constraint else "a value is out of the range of its column"
        super().__init__(f"{use_case}: the database refused the change; {why}")


class DomainError(Rejected):
    """The base of users' own refusals: subclass it, list it in `refuses`, raise it from `apply` or `validate`.

    Give the subclass a `code`; without one it is the class name in snake case.
    """

    code = "domain_error"
    _no_facts = UseCaseError._no_facts - {"allowed"}  # theirs may be an amount, say

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "code" not in cls.__dict__:
            cls.code = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in cls.__name__).lstrip("_")


class Conflict(UseCaseError):
    """Nothing is decided: running the same command with the same key again may succeed."""

    code = "conflict"
    retry_after: float | None = 1.0


class AggregateBusy(Conflict):
    """Somebody else holds the lock for longer than the runtime's lock timeout. Nothing was done."""

    code = "aggregate_busy"

    def __init__(self, *, use_case: str, waited: float) -> None:
        self.use_case, self.waited = use_case, waited
        super().__init__(f"{use_case}: waited {waited:g} s for a lock that somebody else holds; try again")


class InProgress(Conflict):
    """A command with the same idempotency key is still running. Nothing was done by this one."""

    code = "in_progress"

    def __init__(self, *, use_case: str, key: str, waited: float) -> None:
        self.use_case, self.key, self.waited = use_case, key, waited
        super().__init__(f"{use_case}: a command with the key {key!r} has been running for more than {waited:g} s; ask again")


class RetriesExhausted(Conflict):
    """Each attempt met a deadlock, a serialization failure or a lost connection. Nothing was done."""

    code = "retries_exhausted"

    def __init__(self, *, use_case: str, attempts: int, last: str) -> None:
        self.use_case, self.attempts, self.last = use_case, attempts, last
        super().__init__(f"{use_case}: gave up after {attempts} attempts (the last: {last}); try again")


class OutcomeUnknown(Conflict):
    """The connection was lost while the commit was under way, and asking again with the same key got no answer in time.

    Attributes:
        key: Send the same command with this key to learn the outcome; it is executed at most once.
    """

    code = "outcome_unknown"

    def __init__(self, *, use_case: str, key: str, waited: float) -> None:
        self.use_case, self.key, self.waited = use_case, key, waited
        super().__init__(
            f"{use_case}: the connection was lost during the commit, and for {waited:g} s nobody could say whether it took place; "
            f"send the same command with the idempotency key {key!r}"
        )


class StoreError(UseCaseError):
    """The database is not in a shape in which commands can run."""

    code = "store_error"


class LedgerOutdated(StoreError):
    """The ledger's tables are missing, or of another revision than this version of the library needs.

    Attributes:
        found: The revision in the database; None where there is none.
        needed: The revision that is needed.
    """

    code = "ledger_outdated"

    def __init__(self, *, found: str | None, needed: str, problems: Iterable[str] = ()) -> None:
        self.found, self.needed = found, needed
        self.problems = tuple(problems)
        state = "is missing" if found is None else f"is at revision {found}"
        listed = "".join(f"; {problem}" for problem in self.problems)
        cure = "restore what was dropped" if found == needed else "run `usecasecore db upgrade --url URL`"
        super().__init__(f"the ledger {state}, revision {needed} is needed{listed}; {cure}")


class UnsafeDatabase(StoreError):
    """A setting of the database breaks a promise of the runtime.

    Attributes:
        setting: Its name.
        value: What it is.
        needed: What to do about it.
        effect: What it does.
    """

    code = "unsafe_database"

    def __init__(self, *, setting: str, value: str, needed: str, effect: str = "may lose what was acknowledged") -> None:
        self.setting, self.value, self.needed, self.effect = setting, value, needed, effect
        super().__init__(f"{setting} is {value}, which {effect}; {needed}")


class UndeclaredState(StoreError):
    """A row holds a state that its lifecycle does not declare."""

    code = "undeclared_state"

    def __init__(self, *, lifecycle: str, value: str, declared: Iterable[str]) -> None:
        self.lifecycle, self.value = lifecycle, value
        self.declared = tuple(declared)
        super().__init__(f"{lifecycle}: the row is in {value!r}, which is not declared; declared: {', '.join(self.declared)}")


class ReplayIncompatible(StoreError):
    """The result stored under the key can't be read back as today's result type. The command was not run again.

    Attributes:
        raw: The stored result, as JSON text.
        stored_type: Full name of the type that was stored.
        stored_version: The version of that type.
        reason: Why it can't be read.
    """

    code = "replay_incompatible"
    _no_facts = UseCaseError._no_facts | {"raw"}  # for whoever repairs it, not for whoever asked

    def __init__(self, *, use_case: str, key: str, stored_type: str, raw: str, stored_version: int, reason: str) -> None:
        self.use_case, self.key, self.raw = use_case, key, raw
        self.stored_type, self.stored_version, self.reason = stored_type, stored_version, reason
        super().__init__(
            f"{use_case}: the result stored under {key!r}, {stored_type} version {stored_version}, can't be read: {reason}; "
            "the command was not run again, and what it returned is in `raw`"
        )


class DatabaseUnavailable(StoreError):
    """The database can't be reached, or failed in a way that is not about the command."""

    code = "database_unavailable"
    retry_after: float | None = 1.0

    def __init__(self, *, use_case: str, detail: str) -> None:
        self.use_case, self.detail = use_case, detail
        super().__init__(f"{use_case}: the database failed ({detail}); nothing was committed")


class DiagramError(UseCaseError):
    """A diagram can't be made or read."""

    code = "diagram_error"


class GraphvizMissing(DiagramError):
    """No installed Graphviz makes the format.

    Attributes:
        format: What was wanted.
        ways: What would make it available, one sentence each.
    """

    code = "graphviz_missing"

    def __init__(self, *, format: str, reason: str, ways: Iterable[str]) -> None:  # noqa: A002 - the word for it
        self.format, self.reason = format, reason
        self.ways = tuple(ways)
        super().__init__(f"{format} is drawn by Graphviz, and {reason}; {', or '.join(self.ways)}")


class GraphvizFailed(DiagramError):
    """Graphviz was run, and made nothing.

    Attributes:
        program: The program that was run.
        detail: What it said.
    """

    code = "graphviz_failed"

    def __init__(self, *, program: str, detail: str) -> None:
        self.program, self.detail = program, detail
        super().__init__(f"{program} failed: {detail}")
