"""Relay: delivers what is due. Claim, publish outside of any transaction, acknowledge; `leases` says who may."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import groupby
from uuid import UUID, uuid4

from sqlalchemy import Engine

from usecasecore.context import Clock
from usecasecore.errors import DefinitionError
from usecasecore.relay.jobs import JobQueue
from usecasecore.relay.leases import Failed, Leases, Term
from usecasecore.relay.message import OutgoingMessage
from usecasecore.relay.publisher import Publisher, ReceiverUnavailable, publisher_of
from usecasecore.runtime.database import command_engine
from usecasecore.runtime.limits import Limits

__all__ = ["DrainReport", "Relay", "exponential_backoff"]

_LONGEST_BACKOFF = timedelta(hours=1)
_LONGEST_ERROR = 300


def exponential_backoff(attempt: int) -> timedelta:
    """Return how long to wait after the so many-th failure, from 1: 1 s, 2 s, 4 s, up to an hour."""
    return min(timedelta(seconds=2.0 ** min(attempt - 1, 20)), _LONGEST_BACKOFF)


@dataclass(frozen=True, slots=True)
class DrainReport:
    """What one drain did.

    Attributes:
        published: Events that were acknowledged.
        jobs_run: Jobs that were run, or taken over by the queue.
        failed: Deliveries that failed; those that died of it included.
        dead: Rows that were set aside, because they failed too often.
        lost: Deliveries whose lease had ended and was taken by another relay: they are the other's now.
        left: Rows that are neither delivered nor dead: not due yet, held up, leased by others, or jobs without a handler.
        unavailable: What `ReceiverUnavailable` said, where the receiver of the events or of the jobs was away.
    """

    published: int
    jobs_run: int
    failed: int
    dead: int
    lost: int
    left: int
    unavailable: tuple[str, ...] = ()


class Relay:
    """Delivers the outbox of one database. Any number of relays, in any number of processes, may work at the same time.

    At least once: a message may come again, never not at all. Events of one aggregate are delivered first in their order.
    """

    def __init__(
        self,
        engine: Engine,
        publisher: Publisher | Callable[[OutgoingMessage], object] | None = None,
        jobs: JobQueue | None = None,
        *,
        ledger_schema: str | None = None,
        batch: int = 50,
        lease: timedelta = timedelta(seconds=30),
        attempts: int = 12,
        backoff: Callable[[int], timedelta] = exponential_backoff,
        clock: Clock | None = None,
    ) -> None:
        """Set the relay up; nothing is opened yet.

        Args:
            engine: Synchronous. On SQLite its transactions are begun by us from now on, as for a Runtime.
            publisher: Takes the events; without one they stay.
            jobs: Takes the jobs: `JobHandlers`, or a queue. Without it they stay.
            ledger_schema: The schema that the ledger lives in; by default the connection's.
            batch: How many events, and how many jobs, are claimed at once.
            lease: How long a claim is respected by other relays, at least 1 s. It is renewed between two deliveries; one
                delivery that takes longer may be repeated by another relay.
            attempts: After so many failures a row is set aside.
            backoff: How long to wait after the so many-th failure.
            clock: Tells the time, for leases too: the clocks of all relays must agree to well within the lease.

        Raises:
            DefinitionError: If one of them can't be used.
        """
        if not isinstance(engine, Engine):
            raise DefinitionError("a relay works on a synchronous Engine")
        if batch < 1 or attempts < 1 or lease < timedelta(seconds=1):
            raise DefinitionError("a relay wants a batch and attempts of at least 1, and a lease of at least 1 s")
        self.engine = engine
        self._leases = Leases(command_engine(engine, Limits()), ledger_schema)
        self._publisher = None if publisher is None else publisher_of(publisher)
        self._jobs = jobs
        self._batch = batch
        self._lease = lease
        self._attempts = attempts
        self._backoff = backoff
        self._clock = clock
        self._checked = False

    def drain(self, publisher: Publisher | Callable[[OutgoingMessage], object] | None = None) -> DrainReport:
        """Deliver until nothing is left that was due when this began: what fails, and what comes meanwhile, is for the next time.

        Args:
            publisher: Takes the events of this drain instead of the relay's own.

        Raises:
            DefinitionError: If there is neither a publisher nor anything for jobs.
            LedgerOutdated: If the ledger is missing, or of another revision.
            UnsafeDatabase: If the engine commits each statement.
        """
        drain = self._begin(publisher)
        while self._round(drain):
            pass
        return drain.report(self._leases.count_left())

    def drain_once(self, publisher: Publisher | Callable[[OutgoingMessage], object] | None = None) -> DrainReport:
        """Do what `drain` does, for one batch of events and one of jobs."""
        drain = self._begin(publisher)
        self._round(drain)
        return drain.report(self._leases.count_left())

    def _begin(self, publisher: Publisher | Callable[[OutgoingMessage], object] | None) -> _Drain:
        chosen = self._publisher if publisher is None else publisher_of(publisher)
        if chosen is None and self._jobs is None:
            raise DefinitionError("there is nothing to deliver to: give the relay a publisher, jobs, or both")
        due = self._now()
        if not self._checked:
            self._leases.check()
            self._checked = True
        return _Drain(chosen, due)

    def _round(self, drain: _Drain) -> bool:
        """Deliver one batch of each kind; False where there was none."""
        events = drain.publisher is not None and "event" not in drain.away and self._publish_events(drain.publisher, drain)
        jobs = self._jobs is not None and "job" not in drain.away and self._pass_jobs_on(self._jobs, drain)
        return events or jobs

    def _publish_events(self, publisher: Publisher, drain: _Drain) -> bool:
        term = self._term(drain)
        messages = self._leases.claim_events(term, self._batch)
        hold = _Hold(self._leases, term, self._lease, messages)
        for _, run in groupby(messages, lambda message: message.stream or message.id):
            for message in run:
                if not self._deliver(message, publisher.publish, hold, drain):
                    break  # later events of an aggregate must not overtake one that failed or is no longer ours
        hold.give_back()
        return bool(messages)

    def _pass_jobs_on(self, jobs: JobQueue, drain: _Drain) -> bool:
        term = self._term(drain)
        messages = self._leases.claim_jobs(term, self._batch, jobs.types)
        hold = _Hold(self._leases, term, self._lease, messages)
        for message in messages:
            self._deliver(message, jobs.enqueue, hold, drain)
        hold.give_back()
        return bool(messages)

    def _deliver(self, message: OutgoingMessage, send: Callable[[OutgoingMessage], None], hold: _Hold, drain: _Drain) -> bool:
        """Deliver one message; say whether it is delivered and acknowledged."""
        if message.kind in drain.away:
            return False
        if not hold.keeps(message.id, self._now()):
            drain.lost += 1
            return False
        try:
            send(message)
        except ReceiverUnavailable as error:
            drain.away[message.kind] = str(error)
            failed = Failed(_told(error, message), message.attempts)
        except Exception as error:  # noqa: BLE001 - whatever it is, the message wasn't taken
            failed = self._failure(error, message)
        else:
            return drain.count_delivered(message, acknowledged=hold.acknowledge(message.id, self._now()))
        drain.count_failed(failed, written=hold.put_off(message.id, failed))
        return False

    def _failure(self, error: Exception, message: OutgoingMessage) -> Failed:
        attempts, now = message.attempts + 1, self._now()
        # At least something, so that a drain ends.
        pause = max(self._backoff(attempts), timedelta(milliseconds=1))
        dead_at = now if attempts >= self._attempts else None
        return Failed(_told(error, message), attempts, now + pause, dead_at)

    def _term(self, drain: _Drain) -> Term:
        now = self._now()
        return Term(uuid4(), drain.due, now, now + self._lease)

    def _now(self) -> datetime:
        now = datetime.now(UTC) if self._clock is None else self._clock()
        if now.tzinfo is None:
            raise DefinitionError("the relay's clock must tell aware instants")
        return now


@dataclass(slots=True)
class _Drain:
    """One drain: up to when rows are due, and what was done so far."""

    publisher: Publisher | None
    due: datetime
    published: int = 0
    jobs_run: int = 0
    failed: int = 0
    dead: int = 0
    lost: int = 0
    away: dict[str, str] = field(default_factory=dict)
    """The kinds whose receiver is unavailable, and what it said."""

    def count_delivered(self, message: OutgoingMessage, *, acknowledged: bool) -> bool:
        if not acknowledged:
            self.lost += 1
        elif message.kind == "event":
            self.published += 1
        else:
            self.jobs_run += 1
        return acknowledged

    def count_failed(self, failed: Failed, *, written: bool) -> None:
        if written:
            self.failed += 1
            self.dead += failed.dead_at is not None
        else:
            self.lost += 1

    def report(self, left: int) -> DrainReport:
        away = tuple(self.away.values())
        return DrainReport(self.published, self.jobs_run, self.failed, self.dead, self.lost, left, away)


class _Hold:
    """The rows of one claim, until each is let go."""

    def __init__(self, leases: Leases, term: Term, lease: timedelta, messages: Iterable[OutgoingMessage]) -> None:
        self._leases = leases
        self._owner = term.owner
        self._lease = lease
        self._ids = {message.id for message in messages}
        self._renewed_at = term.now

    def keeps(self, message_id: UUID, now: datetime) -> bool:
        """Say whether the row is still ours, and renew all of them as soon as a third of the lease is over."""
        if now - self._renewed_at >= self._lease / 3:
            self._ids = self._leases.renew(self._owner, self._ids, now + self._lease)
            self._renewed_at = now
        return message_id in self._ids

    def acknowledge(self, message_id: UUID, now: datetime) -> bool:
        self._ids.discard(message_id)
        return self._leases.acknowledge(self._owner, message_id, now)

    def put_off(self, message_id: UUID, failed: Failed) -> bool:
        self._ids.discard(message_id)
        return self._leases.put_off(self._owner, message_id, failed)

    def give_back(self) -> None:
        self._leases.give_back(self._owner, self._ids)


def _told(error: Exception, message: OutgoingMessage) -> str:
    """Return an error in one short line that can be stored, without the payload."""
    said = str(error)
    for payload in (message.payload_text, str(message.payload)):
        said = said.replace(payload, "[payload]")
    said = " ".join(said.replace("\x00", "").split()).encode(errors="replace").decode()
    return f"{type(error).__name__}: {said}"[:_LONGEST_ERROR] if said else type(error).__name__
