"""The shell: what happens to every command, in this order, whatever the use case.

    idempotency -> load and lock -> policy -> version -> fire -> apply -> record

Validation comes before it (`call.validated`), the commit and the new starts after a fault come around it (`sync.Runtime`).
Nothing that a user overrides can leave a step out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeAlias

from usecasecore import steps, upcasts
from usecasecore.context import ExecutionContext, FiredTransition, Outcome
from usecasecore.errors import (
    DomainError,
    Forbidden,
    IdempotencyKeyReused,
    ReplayIncompatible,
    StaleVersion,
    WrongResult,
)
from usecasecore.ledger.entries import StoredResult
from usecasecore.messages import Result
from usecasecore.policy import Decision, Policy, PolicyRequest
from usecasecore.runtime.call import Call, undeclared_refusal
from usecasecore.runtime.changes import Changes, Joined
from usecasecore.runtime.load import Loaded
from usecasecore.runtime.plan import Plan
from usecasecore.runtime.scopes import lock_scopes
from usecasecore.runtime.session import CommandSession
from usecasecore.steps import Step

__all__ = ["answer_of", "authorize", "check_version", "chosen_trigger", "decide", "execute", "replay"]

_Answer: TypeAlias = tuple[bool, str, Exception | None]

_YES = Policy.readable


def execute(plan: Plan, call: Call, session: CommandSession, lock_timeout: str, join: Joined) -> Outcome[Any]:
    """Run one attempt in the session's transaction, up to the commit; return its outcome.

    Raises:
        Rejected: The command is refused.
        ContractViolation: The use case broke its own declaration.
        StatementError: The database failed; the caller decides whether to start anew.
        Exception: Whatever user code raises.
    """
    session.start(plan.name, call.command_id)
    session.enter(Step.BEGIN)
    connection = session.hold()  # on SQLite it waits here for the write lock
    if plan.scopes:
        lock_scopes(connection, plan.scopes, call.command, lock_timeout)
    changes = Changes(plan, call, session, join)
    session.meanwhile = changes.prepare
    found = plan.loader.load(session, call, lock_timeout)
    session.meanwhile = None
    if isinstance(found, StoredResult):
        if steps.Replay in steps.wanted:
            session.tell(steps.Replay(found.command_id))
        session.leave()
        return replay(plan, call, found)
    context = changes.context()
    result = decide(plan, call, session, changes, context, found)
    return _record(plan, call, session, changes, context, found, result)


def decide(plan: Plan, call: Call, session: CommandSession, changes: Changes, context: ExecutionContext, found: Loaded) -> Result:
    """Ask the policy, fire the trigger and call `apply` on what was loaded; return the result. Nothing is flushed here.

    Raises:
        Exception: As `execute`, but for what the database raises.
    """
    in_hand = changes.take_in_hand(found)
    try:
        if found.subject is not None:
            name, held = plan.plan_of(type(found.subject)).version, found.subject.__dict__
            session.seen_version = held[name] if name in held else getattr(found.subject, name)
        authorize(plan, call, session, found, context)
        check_version(plan, call, session.seen_version)
        if plan.triggers:
            context.transition = _fire(plan, call, session, found, changes, context)
        result: Result = _apply(plan, call, session, found.state, context)
    finally:
        session.in_hand = in_hand
    changes.check_result(result)
    return result


def replay(plan: Plan, call: Call, stored: StoredResult) -> Outcome[Any]:
    """Return the outcome of the earlier run whose result is stored under the key.

    Raises:
        IdempotencyKeyReused: If it was another command's.
        ReplayIncompatible: If the result can't be read back.
    """
    if stored.fingerprint != call.fingerprint:
        raise IdempotencyKeyReused(use_case=plan.name, key=call.key)
    kind, version, raw = stored.result_type, stored.result_version, stored.result
    try:
        result = upcasts.read(plan.result, plan.result.result_version, plan.result.upcasts, (kind, version), raw)
    except upcasts.Unreadable as error:
        raise ReplayIncompatible(
            use_case=plan.name, key=call.key, stored_type=kind, stored_version=version, raw=raw, reason=str(error)
        ) from error.__cause__
    return Outcome(result, call.key, True, stored.version, stored.command_id)


def authorize(plan: Plan, call: Call, session: CommandSession, found: Loaded, context: ExecutionContext) -> None:
    """Ask the policy about what was loaded.

    Raises:
        AggregateNotFound: If the actor may not know of it.
        Forbidden: If the actor may not do this to it.
    """
    session.enter(Step.POLICY)
    request = PolicyRequest(call.asked.actor, plan.permission, plan.name, call.command, found.state, context)
    for aggregate in found.aggregates if _asks_readable(plan) else ():
        about = request if aggregate is found.state else replace(request, aggregate=aggregate)
        readable, _, _ = _asked(session, plan.policy.readable, about)
        if not readable:
            raise plan.loader.not_found(aggregate, call)
    permitted, reason, cause = _asked(session, plan.policy.permitted, request)
    if not permitted:
        raise Forbidden(use_case=plan.name, permission=plan.permission, actor=str(call.asked.actor), reason=reason) from cause


def _asks_readable(plan: Plan) -> bool:
    # Where the policy has the answer of `Policy` itself, a yes, it need not be asked; who watches is told it all the same.
    return steps.Answer in steps.wanted or getattr(plan.policy.readable, "__func__", None) is not _YES


def _asked(session: CommandSession, question: Callable[[PolicyRequest], Any], request: PolicyRequest) -> _Answer:
    """Return the answer, its reason and what went wrong."""
    yes, reason, cause = answer_of(question, request)
    session.policy_failure = cause
    if steps.Answer in steps.wanted:
        session.tell(steps.Answer(question.__name__, yes, reason))
    return yes, reason, cause


def answer_of(question: Callable[[PolicyRequest], Any], request: PolicyRequest) -> _Answer:
    """Return a policy's answer, its reason, and what it failed with. Only a yes is a yes."""
    try:
        answer = question(request)
    except Exception as error:  # noqa: BLE001 - whatever a policy fails with, it denies
        return False, "the policy failed", error
    if isinstance(answer, Decision):
        return answer.allowed, answer.reason, None
    return answer is True, "", None


def check_version(plan: Plan, call: Call, actual: int | None) -> None:
    """Compare with the version that the caller expects, where they expect one.

    Raises:
        StaleVersion: If it is another one.
    """
    expected = call.asked.expected_version
    if expected is not None and actual is not None and expected != actual:
        raise StaleVersion(aggregate=plan.subject_name, expected=expected, actual=actual)


def chosen_trigger(plan: Plan, command: Any, state: Any, context: ExecutionContext) -> str:
    """Return the trigger that a use case fires, which it may choose itself.

    Raises:
        WrongResult: If it chose one that it doesn't declare.
        Exception: Whatever `choose_trigger` raises.
    """
    if plan.trigger is not None:
        return plan.trigger
    trigger: str = plan.choose_trigger(command, state, context)
    if trigger not in plan.triggers:
        wanted = f"one of its triggers ({', '.join(plan.triggers)}) from `choose_trigger`"
        raise WrongResult(use_case=plan.name, expected=wanted, got=repr(trigger))
    return trigger


def _fire(
    plan: Plan, call: Call, session: CommandSession, found: Loaded, changes: Changes, context: ExecutionContext
) -> FiredTransition:
    session.enter(Step.FIRE)
    trigger = chosen_trigger(plan, call.command, found.state, context)
    return changes.transition(found.subject, plan.lifecycle_of(found.subject), trigger, context)


def _apply(plan: Plan, call: Call, session: CommandSession, state: Any, context: ExecutionContext) -> Any:
    session.enter(Step.APPLY)
    with session.lent(plan.name):
        try:
            return plan.use_case.apply(call.command, state, context)
        except DomainError as refusal:
            if not isinstance(refusal, plan.refuses):
                raise undeclared_refusal(plan, refusal) from refusal
            raise


def _record(
    plan: Plan,
    call: Call,
    session: CommandSession,
    changes: Changes,
    context: ExecutionContext,
    found: Loaded,
    result: Result,
) -> Outcome[Any]:
    version = changes.raise_versions()
    detail = plan.audit(call.command, found.state, context) if plan.audit else {}
    session.enter(Step.FLUSH)
    folded = changes.folded()
    if folded is None:
        session.flush()
    session.enter(Step.AUDIT)
    entries = changes.entries(result, version, dict(detail))
    update = None if folded is None else folded.update
    if steps.Record in steps.wanted:
        session.tell(steps.Record(entries))
    commit = session.committing_along(None if folded is None else folded.settle)
    plan.store.write(
        session.held, entries, began=found.began, claimed=found.claimed, enter=session.enter, update=update, commit=commit
    )
    if commit is None:
        if folded is not None:
            folded.settle()
        session.leave()
    return Outcome(result, call.key, False, version, call.command_id)
