"""The relay, on outbox rows that a runtime has written: what comes out, in which order, and what becomes of failures."""

from __future__ import annotations

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Engine, Row, create_engine, select, text, update

from tests.accounts import Base, Close, Deposit, Open, SendStatement, application
from usecasecore import Runtime
from usecasecore.errors import LedgerOutdated, UnsafeDatabase
from usecasecore.ledger import ledger_tables
from usecasecore.relay import JobHandlers, OutgoingMessage, ReceiverUnavailable, Relay, outbox_status

OUTBOX = ledger_tables().outbox
PENDING = OUTBOX.c.delivered_at.is_(None)


class SetClock:
    """A clock that is set by hand, a minute ahead of the commands at first."""

    def __init__(self) -> None:
        self.now = datetime.now(UTC) + timedelta(minutes=1)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **span: float) -> None:
        self.now += timedelta(**span)


class Inbox:
    """A publisher that keeps what it gets, and refuses the types or aggregates it is told to."""

    def __init__(self) -> None:
        self.got: list[OutgoingMessage] = []
        self.refused: set[str | None] = set()

    def publish(self, message: OutgoingMessage, /) -> None:
        if self.refused & {message.type, message.aggregate_id}:
            raise ValueError(f"no, not {message.payload_text}")
        self.got.append(message)

    @property
    def places(self) -> dict[str | None, list[tuple[int | None, int]]]:
        places: dict[str | None, list[tuple[int | None, int]]] = defaultdict(list)
        for message in self.got:
            places[message.aggregate_id].append((message.version, message.ordinal))
        return places


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = create_engine(database_url, pool_size=20)
    Base.metadata.create_all(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def runtime(engine: Engine) -> Runtime:
    return Runtime(engine, application())


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def inbox() -> Inbox:
    return Inbox()


def account(runtime: Runtime, deposits: int = 0, owner: str = "grace") -> UUID:
    """Open an account: 1 event. Each deposit adds 2 events and 1 job."""
    account_id: UUID = runtime.execute(Open(owner=owner)).account_id
    for amount in range(deposits):
        runtime.execute(Deposit(account_id=account_id, amount=amount + 1))
    return account_id


def rows(engine: Engine, kind: str = "event") -> list[Row[Any]]:
    order = (OUTBOX.c.aggregate_id, OUTBOX.c.version, OUTBOX.c.ordinal)
    with engine.connect() as connection:
        return list(connection.execute(select(OUTBOX).where(OUTBOX.c.kind == kind).order_by(*order)))


# Order


def test_events_come_out_in_the_order_of_their_aggregate(engine: Engine, runtime: Runtime, inbox: Inbox) -> None:
    ids = [account(runtime, deposits=4, owner=f"o{number}") for number in range(3)]

    report = Relay(engine, inbox).drain()

    assert (report.published, report.failed, report.dead, report.left) == (27, 0, 0, 12)  # 4 jobs each stay
    for account_id in ids:
        places = inbox.places[str(account_id)]
        assert places == sorted(places)
        assert len(places) == 9


def test_a_batch_smaller_than_an_aggregates_events_keeps_their_order(engine: Engine, runtime: Runtime, inbox: Inbox) -> None:
    account_id = account(runtime, deposits=5)
    assert Relay(engine, inbox, batch=3).drain_once().published == 3
    assert Relay(engine, inbox, batch=3).drain().published == 8
    places = inbox.places[str(account_id)]
    assert places == sorted(places)
    assert len(places) == 11


def test_an_event_that_is_not_due_holds_up_those_behind_it(
    engine: Engine, runtime: Runtime, inbox: Inbox, clock: SetClock
) -> None:
    account_id = account(runtime, deposits=2)
    with engine.begin() as connection:
        late = update(OUTBOX).where(OUTBOX.c.version == 2, OUTBOX.c.ordinal == 1)
        connection.execute(late.values(available_at=clock.now + timedelta(seconds=1)))
    relay = Relay(engine, inbox, clock=clock)
    assert relay.drain().published == 2
    clock.advance(seconds=1)
    assert relay.drain().published == 3
    places = inbox.places[str(account_id)]
    assert places == sorted(places)


def test_a_message_carries_what_the_use_case_emitted(engine: Engine, runtime: Runtime, inbox: Inbox) -> None:
    account_id = account(runtime, deposits=1)
    Relay(engine, inbox).drain()
    message = next(one for one in inbox.got if one.type == "account.deposited")
    assert message.payload == {"account_id": str(account_id), "amount": 1}
    assert message.payload_text == f'{{"account_id":"{account_id}","amount":1}}'
    assert (message.kind, message.aggregate, message.aggregate_id, message.version) == ("event", "account", str(account_id), 2)
    assert message.headers["use_case"] == "MakeDeposit"
    assert (message.attempts, message.tenant, message.type_version) == (0, None, 1)
    assert message.occurred_at.tzinfo is UTC


def test_what_is_delivered_does_not_come_again(engine: Engine, runtime: Runtime, inbox: Inbox) -> None:
    account(runtime)
    relay = Relay(engine, inbox)
    assert relay.drain().published == 1
    assert relay.drain().published == 0
    assert [row.lease_owner for row in rows(engine)] == [None]


def test_relays_that_race_deliver_each_event_once_and_in_order(engine: Engine, runtime: Runtime) -> None:
    ids = [account(runtime, deposits=7, owner=f"o{number}") for number in range(8)]
    got: list[OutgoingMessage] = []
    lock = threading.Lock()

    def publish(message: OutgoingMessage) -> None:
        with lock:
            got.append(message)
        time.sleep(0.001)

    def work(_: int) -> int:
        return sum(Relay(engine, publish, batch=3).drain().published for _ in range(3))

    with ThreadPoolExecutor(5) as pool:
        published = list(pool.map(work, range(5)))
    Relay(engine, publish).drain()

    assert sum(published) <= len(got) == 8 * 15
    assert max(Counter(message.id for message in got).values()) == 1
    for account_id in ids:
        places = [(message.version, message.ordinal) for message in got if message.aggregate_id == str(account_id)]
        assert places == sorted(places)


def test_an_event_is_not_claimed_while_another_relay_has_an_earlier_one(
    engine: Engine, runtime: Runtime, inbox: Inbox, clock: SetClock
) -> None:
    account(runtime, deposits=2)
    left = iter((7, 6, 5, 4, 3))

    def publish(message: OutgoingMessage) -> None:
        report = Relay(engine, inbox, clock=clock).drain()
        assert (report.published, report.left) == (0, next(left))

    assert Relay(engine, publish, batch=1, clock=clock).drain().published == 5


# Failures


def test_a_failure_holds_up_only_its_aggregate_and_backs_off(
    engine: Engine, runtime: Runtime, inbox: Inbox, clock: SetClock
) -> None:
    stuck, fine = account(runtime, deposits=2, owner="stuck"), account(runtime, deposits=2, owner="fine")
    inbox.refused = {str(stuck)}
    relay = Relay(engine, inbox, clock=clock)

    report = relay.drain()

    assert (report.published, report.failed, report.dead, report.lost, report.left) == (5, 1, 0, 0, 9)
    assert inbox.places.keys() == {str(fine)}
    head, *others = (row for row in rows(engine) if row.aggregate_id == str(stuck))
    assert (head.attempts, head.available_at, head.lease_owner) == (1, clock.now + timedelta(seconds=1), None)
    assert head.last_error == "ValueError: no, not [payload]"
    assert {(row.attempts, row.lease_owner, row.delivered_at) for row in others} == {(0, None, None)}
    assert relay.drain().failed == 0  # not due yet
    clock.advance(seconds=1)
    assert relay.drain().failed == 1
    inbox.refused = set()
    clock.advance(seconds=1)
    assert relay.drain().published == 0  # the second pause is longer
    clock.advance(seconds=1)
    assert relay.drain().published == 5
    places = inbox.places[str(stuck)]
    assert places == sorted(places)
    assert inbox.got[5].attempts == 2


def test_after_the_last_attempt_an_event_is_set_aside_and_holds_up_its_aggregate(
    engine: Engine, runtime: Runtime, inbox: Inbox, clock: SetClock
) -> None:
    account_id = account(runtime, deposits=1)
    other = account(runtime, owner="other")
    inbox.refused = {"account.created"}
    relay = Relay(engine, inbox, attempts=3, clock=clock)
    reports = []
    for _ in range(5):
        reports.append(relay.drain())
        clock.advance(hours=2)
    assert [(report.failed, report.dead) for report in reports] == [(2, 0), (2, 0), (2, 2), (0, 0), (0, 0)]
    assert inbox.got == []
    assert reports[-1].left == 3  # two events behind a dead one, and a job
    dead = [row for row in rows(engine) if row.dead_at is not None]
    assert {row.aggregate_id for row in dead} == {str(account_id), str(other)}
    assert {row.attempts for row in dead} == {3}


def test_an_unavailable_receiver_ends_the_drain_and_charges_nobody(engine: Engine, runtime: Runtime, clock: SetClock) -> None:
    for number in range(3):
        account(runtime, owner=f"o{number}")
    tried = []

    def publish(message: OutgoingMessage) -> None:
        tried.append(message)
        raise ReceiverUnavailable("the broker is down")

    report = Relay(engine, publish, attempts=1, clock=clock).drain()

    assert len(tried) == 1
    assert (report.failed, report.dead, report.left, report.unavailable) == (1, 0, 3, ("the broker is down",))
    assert {(row.attempts, row.dead_at, row.lease_owner) for row in rows(engine)} == {(0, None, None)}
    assert Relay(engine, tried.append, clock=clock).drain().published == 3


def test_an_error_that_no_database_could_store_is_stored_all_the_same(engine: Engine, runtime: Runtime, clock: SetClock) -> None:
    account(runtime)

    def publish(message: OutgoingMessage) -> None:
        raise RuntimeError("a\x00b\ud800" + "x" * 1000)

    assert Relay(engine, publish, clock=clock).drain().failed == 1
    (row,) = rows(engine)
    assert row.last_error.startswith("RuntimeError: ab?xxx")
    assert len(row.last_error) == 300


def test_what_becomes_due_during_a_drain_is_for_the_next_one(engine: Engine, runtime: Runtime) -> None:
    account(runtime)
    got = []

    def publish(message: OutgoingMessage) -> None:
        got.append(message)
        account(runtime, owner=f"o{len(got)}")

    assert Relay(engine, publish).drain().published == 1
    assert Relay(engine, publish).drain().published == 1


# Leases


def test_a_relay_whose_lease_was_taken_over_acknowledges_nothing(
    engine: Engine, runtime: Runtime, inbox: Inbox, clock: SetClock
) -> None:
    account(runtime, deposits=1)
    other = Relay(engine, lambda message: (_ for _ in ()).throw(ValueError("no")), clock=clock)
    tried = []

    def publish(message: OutgoingMessage) -> None:
        tried.append(message)
        if len(tried) == 1:
            clock.advance(seconds=31)
            assert other.drain().failed == 1

    report = Relay(engine, publish, clock=clock).drain()

    # The other one's failure stands, and no later event overtakes it.
    assert (len(tried), report.published, report.lost) == (1, 0, 1)
    head = rows(engine)[0]
    assert (head.attempts, head.delivered_at, head.last_error) == (1, None, "ValueError: no")


def test_a_relay_whose_lease_was_taken_over_writes_no_failure_either(
    engine: Engine, runtime: Runtime, inbox: Inbox, clock: SetClock
) -> None:
    account(runtime)

    def publish(message: OutgoingMessage) -> None:
        clock.advance(seconds=31)
        assert Relay(engine, inbox, clock=clock).drain().published == 1
        raise ValueError("too late")

    report = Relay(engine, publish, clock=clock).drain()

    assert (report.published, report.failed, report.lost) == (0, 0, 1)
    (row,) = rows(engine)
    assert row.delivered_at is not None
    assert row.last_error is None


def test_a_relay_finds_out_before_publishing_that_its_lease_was_taken_over(
    engine: Engine, runtime: Runtime, inbox: Inbox, clock: SetClock
) -> None:
    first = account(runtime, owner="a")
    second = account(runtime, owner="b")
    tried = []

    def publish(message: OutgoingMessage) -> None:
        tried.append(message)
        clock.advance(seconds=31)
        assert Relay(engine, inbox, clock=clock).drain().published == 2

    report = Relay(engine, publish, clock=clock).drain()

    assert (len(tried), report.lost) == (1, 2)
    assert {message.aggregate_id for message in inbox.got} == {str(first), str(second)}


def test_a_lease_is_renewed_between_deliveries(engine: Engine, runtime: Runtime, inbox: Inbox, clock: SetClock) -> None:
    for number in range(5):
        account(runtime, owner=f"o{number}")

    def publish(message: OutgoingMessage) -> None:
        clock.advance(seconds=20)
        assert Relay(engine, inbox, clock=clock).drain().published == 0

    assert Relay(engine, publish, clock=clock).drain().published == 5


def test_an_event_that_was_published_by_a_relay_that_crashed_comes_again_after_the_lease(
    engine: Engine, runtime: Runtime, inbox: Inbox, clock: SetClock
) -> None:
    account(runtime, deposits=1)
    published = []

    class Crash(BaseException):
        pass

    def publish(message: OutgoingMessage) -> None:
        published.append(message.id)
        if len(published) == 2:
            raise Crash

    with pytest.raises(Crash):
        Relay(engine, publish, clock=clock).drain()
    relay = Relay(engine, inbox, clock=clock)
    clock.advance(seconds=29)
    assert relay.drain().published == 0
    clock.advance(seconds=1)
    assert relay.drain().published == 2
    assert inbox.got[0].id == published[1]


def test_nothing_is_published_inside_a_transaction(engine: Engine, runtime: Runtime) -> None:
    account_id = account(runtime, deposits=1)

    def publish(message: OutgoingMessage) -> None:
        if message.version == 1:
            runtime.execute(Deposit(account_id=account_id, amount=5))  # on SQLite it would wait for the relay

    assert Relay(engine, publish).drain().published == 3


# Jobs


def test_jobs_are_run_by_their_handlers_and_once(engine: Engine, runtime: Runtime) -> None:
    account_id = account(runtime, deposits=3)
    run: list[SendStatement] = []
    handlers = JobHandlers()
    handlers.register(SendStatement, run.append)
    relay = Relay(engine, jobs=handlers)

    assert (relay.drain().jobs_run, relay.drain().jobs_run) == (3, 0)

    assert run == [SendStatement(account_id=account_id)] * 3
    assert {row.delivered_at for row in rows(engine)} == {None}  # without a publisher events stay


def test_jobs_without_a_handler_are_left_untouched(engine: Engine, runtime: Runtime, inbox: Inbox) -> None:
    account(runtime, deposits=2)
    before = rows(engine, "job")
    report = Relay(engine, inbox, JobHandlers()).drain()
    assert (report.jobs_run, report.failed, report.left) == (0, 0, 2)
    assert rows(engine, "job") == before


def test_a_job_that_fails_backs_off_alone_and_dies_in_the_end(engine: Engine, runtime: Runtime, clock: SetClock) -> None:
    stuck, fine = account(runtime, deposits=1, owner="stuck"), account(runtime, deposits=1, owner="fine")
    run, keys = [], set()

    def send(job: SendStatement, message: OutgoingMessage) -> None:
        if job.account_id == stuck:
            keys.add(message.id)
            raise OSError("no paper")
        run.append(job.account_id)

    handlers = JobHandlers()
    handlers.register(SendStatement, send)
    relay = Relay(engine, jobs=handlers, attempts=2, clock=clock)
    assert (relay.drain().failed, run) == (1, [fine])
    clock.advance(seconds=1)
    report = relay.drain()
    assert (report.failed, report.dead, len(keys)) == (1, 1, 1)


def test_a_queue_may_take_jobs_of_every_type(engine: Engine, runtime: Runtime) -> None:
    account(runtime, deposits=2)

    class Queue:
        types = None

        def __init__(self) -> None:
            self.ids: list[UUID] = []

        def enqueue(self, message: OutgoingMessage, /) -> None:
            self.ids.append(message.id)

    queue = Queue()
    assert Relay(engine, jobs=queue).drain().jobs_run == 2
    assert {row.id for row in rows(engine, "job")} == set(queue.ids)


# What else there may be


def test_events_without_an_aggregate_are_delivered_past_a_dead_one(
    engine: Engine, runtime: Runtime, inbox: Inbox, clock: SetClock
) -> None:
    account(runtime, deposits=1)
    inbox.refused = {"account.created"}
    Relay(engine, inbox, attempts=1, clock=clock).drain()
    with engine.begin() as connection:
        lone = {"aggregate": None, "aggregate_id": None, "version": None}
        connection.execute(update(OUTBOX).where(OUTBOX.c.type == "account.deposited").values(**lone))
    assert Relay(engine, inbox, clock=clock).drain().published == 1
    assert [message.type for message in inbox.got] == ["account.deposited"]


def test_a_publisher_given_to_drain_is_taken_instead(engine: Engine, runtime: Runtime, inbox: Inbox) -> None:
    account(runtime)
    got: list[OutgoingMessage] = []
    assert Relay(engine, inbox).drain(got.append).published == 1
    assert (len(got), inbox.got) == (1, [])


def test_a_missing_ledger_is_named(engine: Engine, inbox: Inbox) -> None:
    with engine.begin() as connection:
        connection.execute(text("drop table usecasecore_outbox"))
    with pytest.raises(LedgerOutdated):
        Relay(engine, inbox).drain()


@pytest.mark.postgresql
def test_an_engine_that_commits_each_statement_is_refused(postgres_url: str, inbox: Inbox) -> None:
    engine = create_engine(postgres_url, isolation_level="AUTOCOMMIT")
    with pytest.raises(UnsafeDatabase, match="AUTOCOMMIT"):
        Relay(engine, inbox).drain()
    engine.dispose()


def test_an_unavailable_queue_leaves_the_events_their_way(engine: Engine, runtime: Runtime, inbox: Inbox) -> None:
    account(runtime, deposits=3)

    def send(job: SendStatement) -> None:
        raise ReceiverUnavailable("no printer")

    handlers = JobHandlers()
    handlers.register(SendStatement, send)
    report = Relay(engine, inbox, handlers, batch=2, attempts=1).drain()
    assert (report.published, report.failed, report.dead, report.left) == (7, 1, 0, 3)
    assert {(row.attempts, row.lease_owner) for row in rows(engine, "job")} == {(0, None)}


def test_the_status_counts_by_type(engine: Engine, runtime: Runtime, inbox: Inbox, clock: SetClock) -> None:
    account_id = account(runtime, deposits=2)
    with engine.begin() as connection:
        is_job = OUTBOX.c.kind == "job"
        connection.execute(update(OUTBOX).where(is_job).values(lease_owner=uuid4(), lease_until=clock.now + timedelta(seconds=1)))
    inbox.refused = {"account.deposited"}
    Relay(engine, inbox, attempts=1, clock=clock).drain()
    runtime.execute(Deposit(account_id=account_id, amount=-3))
    runtime.execute(Close(account_id=account_id))

    with engine.connect() as connection:
        found = outbox_status(connection, now=clock.now)
        later = outbox_status(connection, now=clock.now + timedelta(seconds=2))

    counts = {each.type: (each.pending, each.leased, each.dead) for each in found.types}
    assert counts == {
        "account.closed": (1, 0, 0),
        "account.deposited": (2, 0, 1),
        "account.transition.close": (1, 0, 0),
        "account.transition.deposit": (2, 0, 0),
        "send_statement": (3, 2, 0),
    }
    assert (found.events, found.jobs, found.leased, found.dead) == (6, 3, 2, 1)
    assert later.leased == 0
    with engine.connect() as connection:
        oldest = connection.scalar(select(OUTBOX.c.occurred_at).where(PENDING).order_by(OUTBOX.c.occurred_at).limit(1))
    assert found.oldest_at == oldest


def test_the_status_of_an_empty_outbox_is_nothing(engine: Engine) -> None:
    with engine.connect() as connection:
        found = outbox_status(connection, now=datetime.now(UTC))
    assert (found.types, found.events, found.jobs, found.oldest_at) == ((), 0, 0, None)
