"""How long a runtime waits, how often it tries again, and how much it takes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

__all__ = ["Limits"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The limits of a runtime.

    Attributes:
        lock_timeout: How long to wait for a lock that somebody else holds, before `AggregateBusy` or `InProgress`.
        busy_timeout: The same for SQLite, where all writers wait for one lock.
        retries: How often to start anew after a deadlock or a serialization failure.
        backoff: The longest pause before the first new start; it doubles each time, up to `backoff_limit`, and the actual
            pause is drawn from 0 up to it (full jitter: M. Brooker, "Exponential backoff and jitter", AWS 2015).
        backoff_limit: The longest pause of all.
        commit_timeout: How long a COMMIT may stay unanswered on PostgreSQL before its connection is cut; then its key is asked.
        commit_deadline: How long, from when the COMMIT was sent, to ask what became of it, before `OutcomeUnknown`.
        command_bytes: The longest command, as UTF-8 JSON.
        command_depth: How deep a command's values may nest.
        command_items: How many members one list or object of a command may have.
    """

    lock_timeout: timedelta = timedelta(seconds=2)
    busy_timeout: timedelta = timedelta(seconds=5)
    retries: int = 4
    backoff: timedelta = timedelta(milliseconds=20)
    backoff_limit: timedelta = timedelta(milliseconds=500)
    commit_timeout: timedelta = timedelta(seconds=3)
    commit_deadline: timedelta = timedelta(seconds=5)
    command_bytes: int = 256 * 1024
    command_depth: int = 32
    command_items: int = 10_000
