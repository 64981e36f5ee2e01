"""A command in a transaction that the caller owns."""

from __future__ import annotations

from typing import Any

from sqlalchemy import event
from sqlalchemy.orm import Session

from usecasecore.context import Outcome
from usecasecore.errors import ContractViolation, InProgress, Rejected, RetriesExhausted, UseCaseError
from usecasecore.ledger.store import KeyTaken
from usecasecore.runtime.call import Call
from usecasecore.runtime.plan import Plan
from usecasecore.runtime.retry import Retry
from usecasecore.runtime.session import CommandSession, sole_command
from usecasecore.runtime.shell import Shell

__all__ = ["join"]

_FAILURE = "usecasecore.failure"


def join(shell: Shell, plan: Plan, call: Call, session: Session) -> Outcome[Any]:
    """Run a command on the connection of the caller's session, which commits it or not.

    The command has a session of its own on that connection, so that it sees the rows as they are and not as the caller has
    them; afterwards the caller's objects are expired. After a failure the caller's transaction can only be rolled back: where the
    failure was swallowed, its commit is refused.

    Raises:
        ContractViolation: If the session has changes that are not flushed, is in the hands of a use case, or runs another command,
            in another thread or task.
        Conflict: For what the runtime would try again if the transaction were its own.
    """
    if isinstance(session, CommandSession):
        raise ContractViolation(f"{plan.name}: inside of a use case run it by `context.execute(command)`")
    with sole_command(session, plan.name):
        return _join(shell, plan, call, session)


def _join(shell: Shell, plan: Plan, call: Call, session: Session) -> Outcome[Any]:
    changed = [one for one in session.dirty if session.is_modified(one)]
    if session.new or session.deleted or changed:
        pending = len(session.new) + len(session.deleted) + len(changed)
        raise ContractViolation(f"{plan.name}: the session has {pending} changes that are not flushed; flush it first")
    inner = CommandSession(session.connection(), join_transaction_mode="rollback_only")
    inner.caller = session
    try:
        outcome = shell.run(plan, call, inner)
        inner.hand_over()
    except Exception as error:  # noqa: BLE001 - raised below
        failure = _failure(plan, call, error, inner, shell)
        if isinstance(failure, UseCaseError):
            failure.command_id = call.command_id
        _rule_out_commit(session, failure)
    else:
        session.expire_all()
        return outcome
    finally:
        inner.discard()
    raise failure


def _rule_out_commit(session: Session, failure: Exception) -> None:
    # Not by a rollback of ours: it would take the transaction from under whatever holds it, `session.begin()` say.
    if not event.contains(session, "before_commit", _refuse_commit):
        event.listen(session, "before_commit", _refuse_commit)
        event.listen(session, "after_rollback", _forget)
    session.info[_FAILURE] = failure


def _refuse_commit(session: Session) -> None:
    if failure := session.info.get(_FAILURE):
        raise ContractViolation(
            "a command failed in this transaction, and half of what belongs together must not be committed; roll it back"
        ) from failure


def _forget(session: Session) -> None:
    session.info.pop(_FAILURE, None)


def _failure(plan: Plan, call: Call, error: Exception, session: CommandSession, shell: Shell) -> Exception:
    if isinstance(error, KeyTaken):
        return InProgress(use_case=plan.name, key=call.key, waited=0)
    if isinstance(error, Rejected):
        return error
    decision = Retry(plan.name, call.key, shell.limits).after(error, session.step)
    if decision is None:
        return error
    failure: UseCaseError
    if isinstance(decision, UseCaseError):
        failure = decision
    else:
        failure = RetriesExhausted(use_case=plan.name, attempts=1, last="the transaction is the caller's, to be begun anew")
    if not plan.sensitive:
        failure.__cause__ = error
    return failure
