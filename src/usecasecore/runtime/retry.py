"""What follows on a failed attempt: a new start after a pause, or one typed error."""

from __future__ import annotations

import random
import sqlite3
import time
from dataclasses import dataclass

from sqlalchemy import exc
from sqlalchemy.exc import PendingRollbackError, StatementError
from sqlalchemy.orm.exc import StaleDataError

from usecasecore.errors import (
    AggregateBusy,
    ConstraintViolated,
    ContractViolation,
    DatabaseUnavailable,
    InProgress,
    OutcomeUnknown,
    RetriesExhausted,
    TransactionEnded,
    UseCaseError,
)
from usecasecore.ledger.store import KeyTaken, TransactionGone
from usecasecore.runtime.faults import Fault, constraint_of, fault_of, sqlstate_of
from usecasecore.runtime.limits import Limits
from usecasecore.steps import Step

__all__ = ["Retry", "typed"]

_RECORDING = {Step.FLUSH, Step.AUDIT, Step.MESSAGES, Step.RESULT}
_MOST_TAKEN = 20
"""How often the next start may find that another one was first. The second finds its result; more is somebody deleting rows."""


@dataclass(slots=True)
class Retry:
    """Decides after each failed attempt of one call. Sleeps nowhere itself: sync and async front doors do that their way.

    Attributes:
        use_case: For the errors.
        key: For the errors.
        limits: How often, how long.
        ambiguous_since: When a commit's answer was lost, in seconds of the monotonic clock; None while that didn't happen.
    """

    use_case: str
    key: str
    limits: Limits
    failures: int = 0
    reconnects: int = 0
    taken: int = 0
    ambiguous_since: float | None = None

    def after(self, error: BaseException, step: Step | None, commit_sent_at: float | None = None) -> float | UseCaseError | None:
        """Return what follows on a failed attempt.

        Args:
            error: What ended the attempt.
            step: Where it was; at the commit a lost connection leaves the outcome open.
            commit_sent_at: Since when it does.

        Returns:
            The pause before a new start, in seconds; or the error of ours that this failure stands for; or None where the
            error is the user's own, to be raised as it is.
        """
        if isinstance(error, KeyTaken):
            self.taken += 1
            if self.taken > _MOST_TAKEN:
                last = "somebody else was first with the same key"
                return RetriesExhausted(use_case=self.use_case, attempts=self.taken, last=last)
            return 0.0
        if isinstance(error, StatementError):
            return self._after_fault(error, fault_of(error), step, commit_sent_at)
        if isinstance(error, exc.TimeoutError):
            return DatabaseUnavailable(use_case=self.use_case, detail="no free connection in the pool in time")
        if isinstance(error, TransactionGone):
            return TransactionEnded(use_case=self.use_case, prevented=False, how="SQL that user code sent")
        if isinstance(error, PendingRollbackError):
            return self._swallowed()
        if isinstance(error, StaleDataError):
            return ContractViolation(f"{self.use_case}: a row that was to be changed is gone: somebody deleted it unlocked")
        if isinstance(error, OverflowError) and step in _RECORDING:
            return ConstraintViolated(use_case=self.use_case)
        return None

    def _after_fault(
        self, error: StatementError, fault: Fault, step: Step | None, commit_sent_at: float | None
    ) -> float | UseCaseError:
        if fault is Fault.LOST and step is Step.COMMIT and self.ambiguous_since is None:
            self.ambiguous_since = time.monotonic() if commit_sent_at is None else commit_sent_at
            return 0.0
        if fault in (Fault.LOST, Fault.BUSY) and self.ambiguous_since is not None:
            return self._ask_again(self.ambiguous_since)
        if fault is Fault.CONFLICT:
            self.failures += 1
            if self.failures > self.limits.retries:
                return RetriesExhausted(use_case=self.use_case, attempts=self.failures, last=_name(error, fault))
            return self._jitter(self.failures)
        if fault is Fault.LOST and self.reconnects == 0:
            # Nothing was committed. One new start: pooled connections die with a server's restart.
            self.reconnects = 1
            return 0.0
        return self._typed_fault(error, fault, step)

    def _typed_fault(self, error: StatementError, fault: Fault, step: Step | None) -> UseCaseError:
        waited = (self.limits.busy_timeout if isinstance(error.orig, sqlite3.Error) else self.limits.lock_timeout).total_seconds()
        if fault is Fault.BUSY and step is Step.IDEMPOTENCY:
            return InProgress(use_case=self.use_case, key=self.key, waited=waited)
        if fault is Fault.BUSY:
            return AggregateBusy(use_case=self.use_case, waited=waited)
        if fault in (Fault.CONSTRAINT, Fault.VALUE):
            return ConstraintViolated(use_case=self.use_case, constraint=constraint_of(error))
        if fault is Fault.ABORTED:
            return self._swallowed()
        return DatabaseUnavailable(use_case=self.use_case, detail=_name(error, fault))

    def _swallowed(self) -> TransactionEnded:
        how = "an error of the database that user code swallowed"
        return TransactionEnded(use_case=self.use_case, prevented=True, how=how)

    def _ask_again(self, since: float) -> float | OutcomeUnknown:
        waited = time.monotonic() - since
        if waited >= self.limits.commit_deadline.total_seconds():
            return OutcomeUnknown(use_case=self.use_case, key=self.key, waited=round(waited, 1))
        self.failures += 1
        return self._jitter(self.failures)

    def _jitter(self, attempt: int) -> float:
        longest = self.limits.backoff.total_seconds() * 2 ** min(attempt - 1, 20)
        return random.uniform(0, min(longest, self.limits.backoff_limit.total_seconds()))


def typed(error: Exception, doing: str, limits: Limits) -> Exception:
    """Return the error of ours that a failure outside of any command stands for; the error itself where there is none."""
    retry = Retry(doing, "", limits, reconnects=1)
    decision = retry.after(error, None)
    if isinstance(error, StatementError) and not isinstance(decision, UseCaseError):
        return DatabaseUnavailable(use_case=doing, detail=_name(error, fault_of(error)))
    return decision if isinstance(decision, UseCaseError) else error


def _name(error: StatementError, fault: Fault) -> str:
    # Neither the statement nor the driver's words: both may quote values.
    state = sqlstate_of(error)
    origin = type(error.orig).__name__ if error.orig is not None else type(error).__name__
    code = f"SQLSTATE {state}" if state else getattr(error.orig, "sqlite_errorname", "")
    return f"{fault.value}, {origin}" + (f", {code}" if code else "")
