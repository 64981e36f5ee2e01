"""How often a command makes PostgreSQL's client wait, and what it makes the server write: counted, exactly.

At most five blocking round trips for a command with a single aggregate are promised, and two where nothing changes but the row that
it has locked: begin and load, write and commit. The numbers beside that are those of today: one that falls is to be written down here,
one that rises has to be explained.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Engine, create_engine, text

from benchmarks.wal import written
from benchmarks.wire import RoundTrip, Wire
from tests.accounts import (
    ADA,
    Account,
    Base,
    Deposit,
    Deposited,
    Done,
    Flip,
    Freeze,
    MakeDeposit,
    Open,
    Ping,
    Posting,
    SetPin,
    application,
    deposit_doing,
)
from usecasecore import Command, ExecutionContext, Runtime
from usecasecore.errors import TransitionNotAllowed

PROMISED = 5

# psycopg's cursors prepare a statement once it has been used five times, which takes a round trip of its own.
WARM_UP = 8


@dataclass
class CountedBank:
    """A runtime on one connection, which is listened to."""

    wire: Wire
    engine: Engine
    runtime: Runtime
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def open(self) -> UUID:
        return self.execute(self.opening()).account_id

    def opening(self) -> Open:
        return Open(owner=f"owner {next(self.numbers)}")

    def execute(self, command: Command[Done], key: str | None = None) -> Done:
        return self.runtime.execute(command, actor=ADA, idempotency_key=key, reason="it is counted")

    def trips_of(self, command: Callable[[], Command[Done]], key: Callable[[], str | None]) -> list[RoundTrip]:
        """Return the round trips of a command, the same three times in a row, when everything is prepared."""
        return self.trips(lambda: self.execute(command(), key()))

    def trips(self, run: Callable[[], object]) -> list[RoundTrip]:
        """Return the round trips of what is run, likewise."""
        for _ in range(WARM_UP):
            run()
        seen = []
        for _ in range(3):
            with self.wire.recording() as trips:
                run()
            seen.append(trips)
        assert seen[0] == seen[1] == seen[2]
        return seen[0]


@pytest.fixture
def bank_doing(postgres_url: str) -> Iterator[Callable[..., CountedBank]]:
    """Make a bank whose deposits call a function."""
    with Wire(postgres_url) as wire:
        engine = create_engine(wire.url, pool_size=1, max_overflow=0)
        Base.metadata.create_all(engine)

        def make(act: Callable[[Deposit, Account, ExecutionContext], object]) -> CountedBank:
            app = application(deposit_doing(act), instead_of=MakeDeposit)
            return CountedBank(wire, engine, Runtime(engine, app))

        yield make
        engine.dispose()


@pytest.fixture
def counted(bank_doing: Callable[..., CountedBank]) -> CountedBank:
    return bank_doing(put_in)


def put_in(command: Deposit, account: Account, context: ExecutionContext) -> None:
    account.balance += command.amount
    context.emit(Deposited(account_id=account.id, amount=command.amount))


def clients_key() -> str:
    return str(uuid4())


def no_key() -> None:
    return None


either_key = pytest.mark.parametrize("key", [clients_key, no_key])


@either_key
def test_a_transition_takes_two_round_trips(counted: CountedBank, key: Callable[[], str | None]) -> None:
    account_id = counted.open()
    trips = counted.trips_of(lambda: Flip(account_id=account_id), key)
    assert len(trips) == 2 <= PROMISED, trips


@either_key
def test_a_re_entrant_transition_with_an_event_takes_two(counted: CountedBank, key: Callable[[], str | None]) -> None:
    account_id = counted.open()
    trips = counted.trips_of(lambda: Deposit(account_id=account_id, amount=1), key)
    assert len(trips) == 2 <= PROMISED, trips


@either_key
def test_a_command_without_a_trigger_takes_two(counted: CountedBank, key: Callable[[], str | None]) -> None:
    account_id = counted.open()
    trips = counted.trips_of(lambda: SetPin(account_id=account_id, pin=clients_key()), key)
    assert len(trips) == 2 <= PROMISED, trips


@either_key
def test_where_a_row_is_new_besides_the_update_and_the_insert_are_trips_of_their_own(
    bank_doing: Callable[..., CountedBank], key: Callable[[], str | None]
) -> None:
    def post(command: Deposit, account: Account, context: ExecutionContext) -> None:
        context.session.add(Posting(amount=command.amount, account_id=account.id))

    bank = bank_doing(post)
    account_id = bank.open()
    trips = bank.trips_of(lambda: Deposit(account_id=account_id, amount=1), key)
    assert len(trips) == 2 + 2, trips


@either_key
def test_a_creation_takes_three(counted: CountedBank, key: Callable[[], str | None]) -> None:
    trips = counted.trips_of(counted.opening, key)
    assert len(trips) == 3 <= PROMISED, trips


@either_key
def test_a_command_that_loads_and_creates_nothing_takes_two(counted: CountedBank, key: Callable[[], str | None]) -> None:
    trips = counted.trips_of(lambda: Ping(owner="nobody"), key)
    assert len(trips) == 2 <= PROMISED, trips


def test_a_replay_takes_two(counted: CountedBank) -> None:
    command = Deposit(account_id=counted.open(), amount=1)
    trips = counted.trips_of(lambda: command, lambda: "once")
    assert len(trips) == 2 <= PROMISED, trips


def test_a_replayed_creation_takes_three(counted: CountedBank) -> None:
    command = counted.opening()
    trips = counted.trips_of(lambda: command, lambda: "once")
    assert len(trips) == 3 <= PROMISED, trips


def test_a_refusal_takes_two_and_its_attempt_three_more(counted: CountedBank) -> None:
    account_id = counted.open()
    counted.execute(Freeze(account_id=account_id))

    def refused() -> None:
        with pytest.raises(TransitionNotAllowed):
            counted.execute(Deposit(account_id=account_id, amount=1), clients_key())

    trips = counted.trips(refused)
    begins = [index for index, trip in enumerate(trips) if trip.statements[0].startswith("BEGIN")]
    assert begins == [0, 2], trips
    assert len(trips) == 2 + 3, trips


def test_a_query_more_is_a_round_trip_more(bank_doing: Callable[..., CountedBank]) -> None:
    def look_around(command: Deposit, account: Account, context: ExecutionContext) -> None:
        context.session.execute(text("select 1"))
        put_in(command, account, context)

    bank = bank_doing(look_around)
    account_id = bank.open()
    assert len(bank.trips_of(lambda: Deposit(account_id=account_id, amount=1), clients_key)) == 2 + 1


def test_a_command_is_four_statements_and_touches_no_row_twice(counted: CountedBank, postgres_url: str) -> None:
    account_id = counted.open()
    trips = counted.trips_of(lambda: Deposit(account_id=account_id, amount=1), clients_key)
    assert [statement.split()[0].upper() for trip in trips for statement in trip.statements] == [
        "BEGIN",
        "SELECT",
        "WITH",
        "COMMIT",
    ]
    seen = []
    for _ in range(9):
        with written(postgres_url) as wal:
            counted.execute(Deposit(account_id=account_id, amount=1), clients_key())
        seen.append(tuple(sorted(wal.kinds.items())))
    # What most of them wrote: a full page, or a vacuum in the background, is a record more now and then.
    assert dict(statistics.mode(seen)) == {
        "Heap/LOCK": 2,  # the account, and the head of its chain
        "Heap/HOT_UPDATE": 2,  # the same: no index is touched by that
        "Heap/INSERT": 1 + 1 + 2,  # the key, the audit entry, the events of the transition and of `apply`
        "Heap/HEAP_CONFIRM": 1,  # of the key, which somebody else may have
        "Btree/INSERT_LEAF": 2 + 3 + 2 * 3,  # their indexes, but for that of what was set aside
        "Transaction/COMMIT": 1,
    }


def test_the_counter_counts_waits_and_not_statements(counted: CountedBank) -> None:
    with counted.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as pooled:
        connection = pooled.connection.driver_connection
        assert connection is not None

        def one_by_one() -> None:
            for _ in range(3):
                connection.execute("select 1").fetchall()

        def together() -> None:
            with connection.pipeline():
                cursors = [connection.execute("select 1") for _ in range(3)]
                connection.execute("select 2")
            for cursor in cursors:
                cursor.fetchall()

        def in_two_parts() -> None:
            with connection.pipeline():
                connection.execute("select 1")
                connection.execute("select 2").fetchall()
                connection.execute("select 3")

        assert len(counted.trips(one_by_one)) == 3
        [trip] = counted.trips(together)
        assert trip.statements == ["select 1", "select 1", "select 1", "select 2"]
        assert len(counted.trips(in_two_parts)) == 2
