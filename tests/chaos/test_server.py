"""A server that crashes, restarts, stops writing, is full or has no connection left."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.exc import DBAPIError

from tests.accounts import ADA, Base, Deposit, Open, application
from tests.bank import Bank
from tests.chaos.soundness import assert_sound
from tests.chaos.tally import Tally, rounds, seeded
from tests.conftest import prepare_template
from tests.postgres import PostgresServer, PostgresUnavailable, create_database
from usecasecore import Limits, Runtime, UseCaseError
from usecasecore.errors import Conflict, DatabaseUnavailable, StoreError

pytestmark = pytest.mark.postgresql

LIMITS = Limits(lock_timeout=timedelta(seconds=2), commit_deadline=timedelta(seconds=2))


@pytest.fixture
def shop(own_url: str) -> Iterator[Bank]:
    engine = create_engine(own_url, pool_size=10, max_overflow=20)
    Base.metadata.create_all(engine)
    yield Bank(engine, Runtime(engine, application(), limits=LIMITS))
    engine.dispose()


class Clients:
    """Threads that deposit, each command under a key of its own, again and again until it is acknowledged."""

    def __init__(self, bank: Bank, tally: Tally, count: int = 8) -> None:
        self.bank, self.tally, self.count = bank, tally, count
        self.accounts = [bank.open(f"{number}") for number in range(4)]
        self.acknowledged: list[str] = []
        self.stop = threading.Event()

    def work(self, client: int) -> None:
        number = 0
        while not self.stop.is_set():
            key = f"c{client} n{number}"
            number += 1
            deadline = time.monotonic() + 60
            while True:
                try:
                    command = Deposit(account_id=self.accounts[number % 4], amount=1)
                    self.bank.runtime.execute(command, actor=ADA, idempotency_key=key)
                    self.acknowledged.append(key)
                    break
                except (Conflict, StoreError):
                    time.sleep(0.02)
                except Exception:
                    self.tally.untyped += 1
                    raise
                assert time.monotonic() < deadline, "the runtime never recovered"

    @contextmanager
    def working(self) -> Iterator[None]:
        with ThreadPoolExecutor(self.count) as pool:
            running = [pool.submit(self.work, client) for client in range(self.count)]
            try:
                yield
            finally:
                self.stop.set()
            for one in running:
                one.result()

    def judge(self) -> None:
        """Count what is lost and what is doubled; `acknowledged` is all there is, since nobody gives up."""
        balance = sum(self.bank.account(one).balance for one in self.accounts)
        self.tally.lost += max(0, len(self.acknowledged) - balance)
        self.tally.duplicated += max(0, balance - len(self.acknowledged))
        assert_sound(self.bank.engine, self.acknowledged)
        self.tally.assert_clean(f"{len(self.acknowledged)} acknowledged")


def wait_for(clients: Clients, more: int) -> None:
    """Wait until so many more commands were acknowledged."""
    wanted = len(clients.acknowledged) + more
    deadline = time.monotonic() + 60
    while len(clients.acknowledged) < wanted:
        assert time.monotonic() < deadline, "the clients got nowhere"
        time.sleep(0.005)


def test_a_server_that_is_killed_under_load_loses_nothing_that_was_acknowledged(
    shop: Bank, own_server: PostgresServer, tally: Tally
) -> None:
    clients = Clients(shop, tally)
    with clients.working():
        for _ in range(rounds(2, 60)):
            wait_for(clients, 50)
            own_server.crash()
            tally.faults += 1
            own_server.start()
            wait_for(clients, 10)
    clients.judge()


def test_a_backend_that_is_killed_takes_the_others_with_it_and_nothing_is_lost(
    shop: Bank, own_server: PostgresServer, tally: Tally
) -> None:
    seed, numbers = seeded()
    clients = Clients(shop, tally)
    with clients.working():
        for _ in range(rounds(2, 60)):
            wait_for(clients, 50)
            tally.faults += _kill_a_backend(shop.engine, numbers)
            wait_for(clients, 10)
    clients.judge()
    assert tally.faults > 0, f"seed {seed}"


def _kill_a_backend(engine: Engine, numbers: random.Random) -> int:
    with engine.connect() as connection:
        query = "select pid from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid()"
        pids = list(connection.execute(text(query)).scalars())
        try:
            os.kill(numbers.choice(pids), signal.SIGKILL)
        except ProcessLookupError:
            return 0
        connection.invalidate()
    return 1


def test_a_planned_restart_is_waited_out(shop: Bank, own_server: PostgresServer, tally: Tally) -> None:
    clients = Clients(shop, tally)
    with clients.working():
        for _ in range(rounds(1, 20)):
            wait_for(clients, 50)
            own_server.shut_down()
            tally.faults += 1
            time.sleep(0.2)
            own_server.start()
            wait_for(clients, 10)
    clients.judge()


def test_a_server_that_became_read_only_is_a_typed_error_and_is_left_as_soon_as_another_one_answers(
    shop: Bank, own_server: PostgresServer, tally: Tally
) -> None:
    account_id = shop.open()
    deposit = Deposit(account_id=account_id, amount=1)

    def read_only(value: str) -> None:
        with shop.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("set default_transaction_read_only = off"))
            connection.execute(text(f"alter database shop set default_transaction_read_only = {value}"))

    shop.runtime.execute(deposit)
    read_only("on")
    shop.engine.dispose()
    with pytest.raises(DatabaseUnavailable, match="25006"):
        shop.runtime.execute(deposit, actor=ADA, idempotency_key="k")
    tally.faults += 1
    read_only("off")
    # The connections that were read-only are not used again: the next command finds the server as it is now.
    shop.runtime.execute(deposit, actor=ADA, idempotency_key="k")
    assert shop.account(account_id).balance == 2
    tally.assert_clean()


def test_a_pool_without_a_free_connection_is_a_typed_error(postgres_url: str) -> None:
    engine = create_engine(postgres_url, pool_size=1, max_overflow=0, pool_timeout=0.2)
    Base.metadata.create_all(engine)
    runtime = Runtime(engine, application())
    account_id = runtime.execute(Open(owner="grace")).account_id
    with engine.connect() as holder:
        holder.execute(text("select 1"))
        with pytest.raises(DatabaseUnavailable, match="no free connection"):
            runtime.execute(Deposit(account_id=account_id, amount=1))
    assert runtime.execute(Deposit(account_id=account_id, amount=1)).balance == 1
    assert engine.pool.checkedout() == 0  # type: ignore[attr-defined]  # of a QueuePool
    engine.dispose()


def test_a_server_without_a_free_connection_is_a_typed_error(own_server: PostgresServer, own_url: str) -> None:
    engine = create_engine(own_url, pool_size=1)
    Base.metadata.create_all(engine)
    runtime = Runtime(engine, application())
    account_id = runtime.execute(Open(owner="grace")).account_id
    engine.dispose()
    with _all_connections_of(own_url), pytest.raises(DatabaseUnavailable):
        runtime.execute(Deposit(account_id=account_id, amount=1))
    assert runtime.execute(Deposit(account_id=account_id, amount=1)).balance == 1
    engine.dispose()


@contextmanager
def _all_connections_of(url: str) -> Iterator[None]:
    greedy = create_engine(url, pool_size=100)
    held: list[Any] = []
    try:
        while True:
            try:
                held.append(greedy.connect())
            except DBAPIError:
                break
        yield
    finally:
        for one in held:
            one.close()
        greedy.dispose()


@pytest.mark.sqlite
def test_a_full_sqlite_file_is_a_typed_error_and_leaves_nothing_half_done(sqlite_url: str, tally: Tally) -> None:
    engine = create_engine(sqlite_url)
    Base.metadata.create_all(engine)
    bank = Bank(engine, Runtime(engine, application()))
    account_id = bank.open()
    pages = _cap(engine)
    failures, key = 0, ""
    for number in range(400):
        key = f"k{number}"
        try:
            bank.runtime.execute(Deposit(account_id=account_id, amount=1, note="x" * 2000), actor=ADA, idempotency_key=key)
        except StoreError as error:
            assert "SQLITE_FULL" in str(error)  # noqa: PT017 - which of them fail isn't known
            failures += 1
            if failures == rounds(3, 30):
                break
    tally.faults += failures
    assert failures > 0
    assert_sound(engine)
    _cap(engine, pages * 10)
    bank.runtime.execute(Deposit(account_id=account_id, amount=1), actor=ADA, idempotency_key=key)
    assert_sound(engine, [key])
    tally.assert_clean()
    engine.dispose()


def _cap(engine: Engine, pages: int | None = None) -> int:
    """Let the file grow to so many pages, by default only a little."""
    with engine.connect() as connection:
        now = int(connection.exec_driver_sql("pragma page_count").scalar_one())
    limit = pages or now + 12

    def cap(connection: Any, _record: object, _proxy: object) -> None:
        connection.execute(f"pragma max_page_count = {limit}")

    event.listen(engine, "checkout", cap)
    return now


def test_a_table_that_finds_no_room_to_grow_is_a_typed_error(tally: Tally) -> None:
    # A limit on the size of files ends the growth where a full disk would, in the same place of the server; only its code is another.
    room = 20 * 2**20 + 4096
    try:
        server = PostgresServer(largest_file=room).start()
    except PostgresUnavailable as error:
        pytest.skip(str(error))
    try:
        url = create_database(server.url(), "shop")
        prepare_template(url)
        engine = create_engine(url)
        Base.metadata.create_all(engine)
        shop = Bank(engine, Runtime(engine, application(), limits=LIMITS))
        _fill(engine, room)
        answered, refused = _opened_until_full(shop)
        tally.faults += len(refused)
        assert len(refused) == 3
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("delete from accounts where owner like 'filler%'"))
            connection.execute(text("vacuum accounts"))
        assert_sound(engine, answered)
        for key in refused:
            shop.runtime.execute(Open(owner=key), actor=ADA, idempotency_key=key)
        with engine.connect() as connection:
            assert connection.execute(text("select count(*) from accounts")).scalar_one() == len(answered) + len(refused)
        assert_sound(engine, [*answered, *refused])
        tally.assert_clean()
        engine.dispose()
    finally:
        server.stop()


def _fill(engine: Engine, room: int) -> None:
    """Fill the table of the accounts, but for less than two blocks."""
    filler = """
        insert into accounts (id, owner, balance, pin, state, version)
        select gen_random_uuid(), 'filler ' || gen_random_uuid(), 0, repeat('x', 50), 'open', 1 from generate_series(1, :rows)
    """
    with engine.connect() as connection:
        while (left := room - connection.execute(text("select pg_relation_size('accounts')")).scalar_one()) > 2 * 8192:
            connection.execute(text(filler), {"rows": max(1, (left - 2 * 8192) // 300)})
        connection.commit()


def _opened_until_full(shop: Bank) -> tuple[list[str], list[str]]:
    """Open accounts; return the keys that were acknowledged, and the first three that were not."""
    answered: list[str] = []
    refused: list[str] = []
    for number in range(1000):
        key = f"k{number}"
        try:
            shop.runtime.execute(Open(owner=key), actor=ADA, idempotency_key=key)
            answered.append(key)
        except StoreError as error:
            assert "XX000" in str(error)  # noqa: PT017 - which of them fail isn't known
            refused.append(key)
            if len(refused) == 3:
                break
    return answered, refused


@pytest.mark.parametrize("table", ["usecasecore_audit", "usecasecore_outbox", "usecasecore_idempotency", "accounts", "postings"])
def test_a_disk_that_is_full_while_a_table_is_written_is_a_typed_error(shop: Bank, table: str, tally: Tally) -> None:
    account_id = shop.open()
    body = "begin raise exception 'no space left on device' using errcode = 'disk_full'; end"
    with shop.engine.begin() as connection:
        connection.execute(text(f"create function full_disk() returns trigger language plpgsql as $$ {body} $$"))
        connection.execute(text(f"create trigger full_disk before insert or update on {table} execute function full_disk()"))
    for _ in range(3):
        with pytest.raises(StoreError, match="53100"):
            shop.runtime.execute(Deposit(account_id=account_id, amount=1), actor=ADA, idempotency_key="k")
        tally.faults += 1
    with shop.engine.begin() as connection:
        connection.execute(text("drop function full_disk cascade"))
    shop.runtime.execute(Deposit(account_id=account_id, amount=1), actor=ADA, idempotency_key="k")
    assert shop.account(account_id).balance == 1
    assert_sound(shop.engine, ["k"])
    tally.assert_clean()


def test_a_file_that_is_no_database_is_a_typed_error(tmp_path: Path) -> None:
    file = tmp_path / "no.db"
    file.write_bytes(b"this is not a database" * 1000)
    engine = create_engine(f"sqlite:///{file}")
    with pytest.raises(UseCaseError):
        Runtime(engine, application()).execute(Open(owner="grace"))
    engine.dispose()


Damage = Callable[[Engine], None]
DRIFT = {
    "a table of the application": "drop table postings cascade",
    "a column of the application": "alter table accounts drop column pin",
    "a column of the ledger": "alter table usecasecore_audit drop column detail",
    "a table of the ledger": "drop table usecasecore_outbox",
}


@pytest.mark.parametrize("what", sorted(DRIFT))
def test_a_schema_that_lacks_something_is_named_and_nothing_is_half_done(shop: Bank, what: str) -> None:
    account_id = shop.open()
    with shop.engine.begin() as connection:
        connection.execute(text(DRIFT[what]))
    for runtime in (shop.runtime, Runtime(shop.engine, application())):
        with pytest.raises(StoreError) as error:
            runtime.execute(Deposit(account_id=account_id, amount=1))
        words = {"postings", "pin", "detail", "usecasecore_outbox", "42P01", "42703"}
        assert any(word in str(error.value) for word in words), str(error.value)
    with shop.engine.connect() as connection:
        assert connection.execute(text("select balance, version from accounts")).one() == (0, 1)
