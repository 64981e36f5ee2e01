"""BEGIN travels with the first statement on psycopg: the transaction is what the engine was told, and the connection what it was."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Engine, create_engine, event, make_url, text
from sqlalchemy.exc import DBAPIError, IntegrityError, PendingRollbackError

from tests.accounts import ADA, NOON, Account, Base, Deposit, Freeze, MakeDeposit, Open, application, deposit_doing
from tests.bank import BlockingRuntime
from usecasecore import Runtime, driver
from usecasecore.errors import TransitionNotAllowed
from usecasecore.opening import can_open, opened_with, restore_on_return

pytestmark = pytest.mark.postgresql


def put_in(command: Deposit, account: Account, context: Any) -> None:
    account.balance += command.amount


@pytest.fixture
def engine_with(postgres_url: str) -> Iterator[Callable[..., Engine]]:
    """Make an engine with one connection."""
    made: list[Engine] = []

    def make(**options: Any) -> Engine:
        made.append(create_engine(postgres_url, pool_size=1, max_overflow=0, **options))
        Base.metadata.create_all(made[0])
        return made[-1]

    yield make
    for one in made:
        one.dispose()


def opened(run: Callable[[], Any]) -> int:
    """Return how many transactions were opened together with a statement."""
    count = 0
    original = opened_with

    def counting(*arguments: Any) -> Any:
        nonlocal count
        count += 1
        return original(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(driver, "opened_with", counting)
        run()
    return count


def is_as_it_was(engine: Engine) -> bool:
    """Say whether the next user of the one connection gets it out of autocommit mode and out of a transaction."""
    with engine.connect() as connection:
        of_driver: Any = connection.connection.driver_connection
        return not of_driver.autocommit and of_driver.pgconn.transaction_status == 0


def bank(engine: Engine, act: Callable[[Deposit, Account, Any], Any] = put_in) -> Runtime:
    return Runtime(engine, application(deposit_doing(act), instead_of=MakeDeposit), clock=lambda: NOON)


def account(runtime: Runtime) -> Any:
    return runtime.execute(Open(owner=str(uuid4())), actor=ADA).account_id


def test_the_connection_is_as_it_was_after_a_commit_a_refusal_and_a_failure(engine_with: Callable[..., Engine]) -> None:
    def fail(command: Deposit, account: Account, context: Any) -> None:
        if command.amount == 13:
            raise LookupError
        put_in(command, account, context)

    engine = engine_with()
    runtime = bank(engine, fail)
    account_id = account(runtime)
    assert opened(lambda: runtime.execute(Deposit(account_id=account_id, amount=5), actor=ADA)) == 1
    assert is_as_it_was(engine)
    with pytest.raises(LookupError):
        runtime.execute(Deposit(account_id=account_id, amount=13), actor=ADA)
    assert is_as_it_was(engine)
    runtime.execute(Freeze(account_id=account_id), actor=ADA, reason="it is late")
    with pytest.raises(TransitionNotAllowed):
        runtime.execute(Deposit(account_id=account_id, amount=5), actor=ADA)
    assert is_as_it_was(engine)


def test_what_others_do_with_the_connection_afterwards_is_not_committed_by_itself(engine_with: Callable[..., Engine]) -> None:
    engine = engine_with()
    runtime = bank(engine)
    account_id = account(runtime)
    runtime.execute(Deposit(account_id=account_id, amount=5), actor=ADA)
    with engine.connect() as connection:
        connection.exec_driver_sql("update accounts set balance = 1000000")
        connection.rollback()
    with engine.connect() as connection:
        assert connection.exec_driver_sql("select balance from accounts").scalars().all() == [5]


@pytest.mark.parametrize("level", ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"])
def test_the_transaction_has_the_isolation_level_of_the_engine(engine_with: Callable[..., Engine], level: str) -> None:
    levels: list[Any] = []

    def look(command: Deposit, account: Account, context: Any) -> None:
        levels.append(context.session.connection().exec_driver_sql("show transaction_isolation").scalar())

    runtime = bank(engine_with(isolation_level=level), look)
    account_id = account(runtime)
    assert opened(lambda: runtime.execute(Deposit(account_id=account_id, amount=5), actor=ADA)) == 1
    assert levels == [level.lower()]


def test_a_deferrable_transaction_that_reads_only_is_begun_as_one(engine_with: Callable[..., Engine]) -> None:
    engine = engine_with(isolation_level="SERIALIZABLE")
    restore_on_return(engine)
    with engine.connect() as connection:
        of_driver: Any = connection.connection.driver_connection
        of_driver.read_only, of_driver.deferrable = True, True
        connection.begin()
        assert can_open(connection)
        shown = "select current_setting('transaction_read_only') || current_setting('transaction_deferrable')"
        assert driver.sole_row(connection, shown, None) == ("onon",)
        of_driver.rollback()
        of_driver.autocommit = False
        of_driver.read_only, of_driver.deferrable = None, None


def test_a_first_statement_that_fails_leaves_nothing_open(engine_with: Callable[..., Engine]) -> None:
    engine = engine_with()
    restore_on_return(engine)
    with engine.connect() as connection:
        connection.begin()
        with pytest.raises(DBAPIError) as caught:
            driver.first_row(connection, "select 1/0", None)
        assert getattr(caught.value.orig, "sqlstate", None) == "22012"
    assert is_as_it_was(engine)


def test_a_server_that_is_gone_is_noticed_and_its_connection_let_go(
    engine_with: Callable[..., Engine], postgres_url: str
) -> None:
    engine = engine_with()
    runtime = bank(engine)
    account_id = account(runtime)
    with engine.connect() as connection:
        pid = connection.exec_driver_sql("select pg_backend_pid()").scalar()
    killer = create_engine(postgres_url, isolation_level="AUTOCOMMIT")
    with killer.connect() as connection:
        connection.execute(text("select pg_terminate_backend(:pid, 5000)"), {"pid": pid})
    killer.dispose()
    runtime.execute(Deposit(account_id=account_id, amount=5), actor=ADA)
    with engine.connect() as connection:
        assert connection.exec_driver_sql("select balance from accounts").scalars().all() == [5]
        assert connection.exec_driver_sql("select pg_backend_pid()").scalar() != pid


def test_on_an_asynchronous_psycopg_it_travels_along_too(engine_with: Callable[..., Engine], postgres_url: str) -> None:
    engine_with()
    url = make_url(postgres_url).set(drivername="postgresql+psycopg_async").render_as_string(hide_password=False)
    runtime = BlockingRuntime(url, application())
    try:
        account_id = runtime.execute(Open(owner="grace"), actor=ADA).account_id
        for _ in range(3):
            assert opened(lambda: runtime.execute(Deposit(account_id=account_id, amount=5), actor=ADA)) == 1
    finally:
        runtime.close()


def test_each_pool_has_its_way_back_whatever_pools_were_before(postgres_url: str) -> None:
    # SQLAlchemy knows listeners by the id of what they listen to, and the id of a pool that is gone is given out again, while
    # its listeners live on: in the pool that a disposed engine has next, for example.
    kept: list[Any] = []
    for _ in range(200):
        engine = create_engine(postgres_url)
        restore_on_return(engine)
        assert len(list(engine.pool.dispatch.reset)) == 1
        kept.append(engine.pool.dispatch.reset)
        del engine


def test_without_the_way_back_nothing_is_opened_like_that(engine_with: Callable[..., Engine]) -> None:
    with engine_with().connect() as connection:
        connection.begin()
        assert not can_open(connection)


# Statements that go to the driver past SQLAlchemy


def test_an_error_is_what_sqlalchemy_would_have_raised(engine_with: Callable[..., Engine]) -> None:
    engine = engine_with()
    account_of = "insert into accounts (id, owner, balance, state, version) values (gen_random_uuid(), 'ada', 0, 'open', 1)"
    found = []
    for execute in (driver.row_count, lambda connection, sql, _: connection.exec_driver_sql(sql)):
        with engine.connect() as connection:
            connection.begin()
            execute(connection, account_of, None)
            with pytest.raises(IntegrityError) as caught:
                execute(connection, account_of, None)
            found.append((type(caught.value), str(caught.value), type(caught.value.orig), caught.value.connection_invalidated))
    assert found[0] == found[1]


def test_listeners_of_the_engine_hear_of_each_statement(engine_with: Callable[..., Engine]) -> None:
    engine = engine_with()
    runtime = bank(engine)
    account_id = account(runtime)
    heard: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        heard.append(statement.split()[0].lower())

    event.listen(engine, "before_cursor_execute", note)
    runtime.execute(Deposit(account_id=account_id, amount=5), actor=ADA)
    event.remove(engine, "before_cursor_execute", note)
    assert heard == ["select", "with"]


def test_statements_are_logged_where_the_engine_logs(
    engine_with: Callable[..., Engine], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", "sqlalchemy.engine"):
        engine = engine_with()
        runtime = bank(engine)
        account_id = account(runtime)
        caplog.clear()
        runtime.execute(Deposit(account_id=account_id, amount=5), actor=ADA)
    logged = [record.getMessage().lower() for record in caplog.records]
    assert any(one.startswith("select accounts.id") for one in logged)
    assert any("insert into usecasecore_audit" in one for one in logged)


def test_in_a_transaction_that_is_over_it_fails_as_sqlalchemy_does(engine_with: Callable[..., Engine]) -> None:
    with engine_with().connect() as connection:
        connection.begin()
        connection.invalidate()
        with pytest.raises(PendingRollbackError):
            driver.sole_row(connection, "select 7", None)


def test_after_a_savepoint_that_failed_it_goes_on(engine_with: Callable[..., Engine]) -> None:
    with engine_with().connect() as connection:
        connection.begin()
        nested = connection.begin_nested()
        with pytest.raises(DBAPIError):
            driver.sole_row(connection, "select 1/0", None)
        nested.rollback()
        assert tuple(driver.sole_row(connection, "select 7", None)) == (7,)
