"""The shell: what happens to every command, in this order, whatever the use case.

    idempotency -> load and lock -> policy -> version -> fire -> apply -> record

Validation comes before it (`call.validated`), the commit and the new starts after a fault come around it (`sync.Runtime`).
Nothing that a user overrides can leave a step out.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

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
from usecasecore.policy import Decision, PolicyRequest
from usecasecore.runtime.call import Call, undeclared_refusal
from usecasecore.runtime.changes import Changes, Joined
from usecasecore.runtime.load import Loaded
from usecasecore.runtime.plan import Plan
from usecasecore.runtime.session import CommandSession

__all__ = ["execute"]


def execute(plan: Plan, call: Call, session: CommandSession, lock_timeout: str, join: Joined) -> Outcome[Any]:
    """Run one attempt in the session's transaction, up to the commit; return its outcome.

    Raises:
        Rejected: The command is refused.
        ContractViolation: The use case broke its own declaration.
        StatementError: The database failed; the caller decides whether to start anew.
        Exception: Whatever user code raises.
    """
    found = plan.loader.load(session, call, lock_timeout)
    if isinstance(found, StoredResult):
        return _replay(plan, call, found)
    changes = Changes(plan, call, session, join)
    context = changes.context()
    with changes.having(found):
        if found.subject is not None:
            session.seen_version = getattr(found.subject, plan.plan_of(type(found.subject)).version)
        _authorize(plan, call, found, context)
        _check_version(plan, call, session.seen_version)
        if plan.triggers:
            context.transition = _fire(plan, call, found, changes, context)
        result = _apply(plan, call, found.state, context)
    changes.check_result(result)
    return _record(plan, call, session, changes, context, found, result)


def _replay(plan: Plan, call: Call, stored: StoredResult) -> Outcome[Any]:
    if stored.fingerprint != call.fingerprint:
        raise IdempotencyKeyReused(use_case=plan.name, key=call.key.key)
    try:
        result = plan.result.model_validate_json(stored.result)
    except ValueError:
        raise ReplayIncompatible(
            use_case=plan.name, key=call.key.key, stored_type=stored.result_type, raw=stored.result
        ) from None
    return Outcome(result, call.key.key, True, stored.version, stored.command_id)


def _authorize(plan: Plan, call: Call, found: Loaded, context: ExecutionContext) -> None:
    context.session.step = "policy"  # type: ignore[attr-defined]  # it is a CommandSession, which user code need not know
    request = PolicyRequest(call.asked.actor, plan.permission, plan.name, call.command, found.state, context)
    for aggregate in found.aggregates:
        readable, _, _ = _asked(plan.policy.readable, replace(request, aggregate=aggregate))
        if not readable:
            raise plan.loader.not_found(aggregate, call)
    permitted, reason, cause = _asked(plan.policy.permitted, request)
    if not permitted:
        raise Forbidden(use_case=plan.name, permission=plan.permission, actor=str(call.asked.actor), reason=reason) from cause


def _asked(question: Any, request: PolicyRequest) -> tuple[bool, str, Exception | None]:
    """Return the answer, its reason and what went wrong. Only a yes is a yes."""
    try:
        answer = question(request)
    except Exception as error:  # noqa: BLE001 - whatever a policy fails with, it denies
        return False, "the policy failed", error
    if isinstance(answer, Decision):
        return answer.allowed, answer.reason, None
    return answer is True, "", None


def _check_version(plan: Plan, call: Call, actual: int | None) -> None:
    expected = call.asked.expected_version
    if expected is not None and actual is not None and expected != actual:
        raise StaleVersion(aggregate=plan.subject_name, expected=expected, actual=actual)


def _fire(plan: Plan, call: Call, found: Loaded, changes: Changes, context: ExecutionContext) -> FiredTransition:
    context.session.step = "fire"  # type: ignore[attr-defined]
    trigger = plan.trigger
    if trigger is None:
        trigger = plan.choose_trigger(call.command, found.state, context)
        if trigger not in plan.triggers:
            wanted = f"one of its triggers ({', '.join(plan.triggers)}) from `choose_trigger`"
            raise WrongResult(use_case=plan.name, expected=wanted, got=repr(trigger))
    return changes.transition(found.subject, plan.lifecycle_of(found.subject), trigger, context)


def _apply(plan: Plan, call: Call, state: Any, context: ExecutionContext) -> Any:
    session: Any = context.session
    session.step = "apply"
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
    session.step = "record"
    version = changes.raise_versions()
    detail = plan.audit(call.command, found.state, context) if plan.audit else {}
    session.flush()
    entries = changes.entries(result, version, dict(detail))
    plan.store.write(session.connection(), entries, began=found.began, claimed=found.claimed)
    return Outcome(result, call.key.key, False, version, call.command_id)
