"""What goes to libpq past psycopg's cursors: the transaction is what the engine was told, the connection what it was, an error what it would have been."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar
from uuid import uuid4

import psycopg
import pytest
from sqlalchemy import Connection, Engine, create_engine, event, inspect, make_url, text
from sqlalchemy.exc import DBAPIError, IntegrityError, PendingRollbackError
from sqlalchemy.orm import Session

from tests.accounts import ADA, NOON, Account, Base, Deposit, Freeze, MakeDeposit, Open, application, deposit_doing
from tests.bank import BlockingRuntime
from usecasecore import Runtime, driver, unofficial
from usecasecore.errors import ConstraintViolated, ContractViolation, IdempotencyKeyReused, TransactionEnded, TransitionNotAllowed
from usecasecore.pipeline import Pipeline, pipeline_of
from usecasecore.runtime.changes import Changes
from usecasecore.steps import Step, watch

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


@dataclass
class Sent:
    """What went to libpq: each text, and whether COMMIT went along."""

    texts: list[str]
    commits: list[bool]


@contextmanager
def sent() -> Iterator[Sent]:
    """Take note of what goes to libpq."""
    seen = Sent([], [])
    original = Pipeline.execute

    def noting(self: Pipeline, text: str, parameters: Any, **how: Any) -> Any:
        seen.texts.append(text)
        seen.commits.append(bool(how.get("commit")))
        return original(self, text, parameters, **how)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Pipeline, "execute", noting)
        yield seen


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
    with sent() as seen:
        runtime.execute(Deposit(account_id=account_id, amount=5), actor=ADA)
    assert seen.commits == [False, True]
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
    with sent() as seen:
        runtime.execute(Deposit(account_id=account_id, amount=5), actor=ADA)
    assert seen.commits == [False, True]
    assert levels == [level.lower()]


def test_a_deferrable_transaction_that_reads_only_is_begun_as_one(engine_with: Callable[..., Engine]) -> None:
    engine = engine_with(isolation_level="SERIALIZABLE")
    with engine.connect() as connection:
        of_driver: Any = connection.connection.driver_connection
        of_driver.read_only, of_driver.deferrable = True, True
        connection.begin()
        shown = "select current_setting('transaction_read_only') || current_setting('transaction_deferrable')"
        assert driver.sole_row(connection, shown, None) == ("onon",)
        of_driver.rollback()
        of_driver.read_only, of_driver.deferrable = None, None


def test_a_first_statement_that_fails_leaves_nothing_open(engine_with: Callable[..., Engine]) -> None:
    engine = engine_with()
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
            with sent() as seen:
                runtime.execute(Deposit(account_id=account_id, amount=5), actor=ADA)
            assert seen.commits == [False, True]
    finally:
        runtime.close()


# What is kept for a connection


def known_to_the_server(connection: Connection) -> list[str]:
    """Return the names of the statements that `Pipeline` has prepared on the connection."""
    found = connection.exec_driver_sql(
        "select name from pg_prepared_statements where name like 'usecasecore%%' order by prepare_time"
    )
    return list(found.scalars())


@pytest.fixture
def one(engine_with: Callable[..., Engine]) -> Iterator[Connection]:
    """A connection in a transaction."""
    with engine_with().connect() as connection:
        connection.begin()
        yield connection


def pipeline_on(connection: Connection) -> Pipeline:
    found = pipeline_of(connection)
    assert found is not None
    return found


def number(connection: Connection, text: str, **values: Any) -> Any:
    [value] = driver.sole_row(connection, text, values)
    return value


def test_a_text_is_prepared_once_for_each_connection_and_kind_of_values(one: Connection) -> None:
    for value in (1, 2, 70_000, 3):
        assert number(one, "select %(a)s::bigint + %(b)s::bigint", a=value, b=1) == value + 1
    assert known_to_the_server(one) == ["usecasecore_1", "usecasecore_2"]  # psycopg sends 70,000 as a larger kind of number


def test_the_statement_that_was_used_longest_ago_makes_way(one: Connection) -> None:
    pipeline_on(one).driver.prepared_max = 2
    for more in (1, 2, 1, 3):
        assert number(one, f"select {more} + %(a)s::int", a=10) == 10 + more
    assert known_to_the_server(one) == ["usecasecore_1", "usecasecore_3"]
    assert number(one, "select 2 + %(a)s::int", a=10) == 12


def test_while_the_database_works_there_is_time_for_something_else(one: Connection) -> None:
    at_work: list[Any] = []
    watching = create_engine(one.engine.url)

    def look() -> None:
        time.sleep(0.05)
        with watching.connect() as other:
            wanted = "select state from pg_stat_activity where query = 'select pg_sleep(0.2)'"
            at_work.append(other.exec_driver_sql(wanted).scalar_one())

    pipeline_on(one).execute("select pg_sleep(0.2)", None, meanwhile=look)
    watching.dispose()
    assert at_work == ["active"]


def test_there_is_time_once_even_where_the_statement_is_sent_again(one: Connection) -> None:
    pipeline, times = pipeline_on(one), []
    for _ in range(2):
        answer = pipeline.execute("select %(a)s::int", {"a": 1}, meanwhile=lambda: times.append(1))
        assert answer.fetchone() == (1,)
        pipeline.driver.execute("deallocate all")
        pipeline.driver.rollback()
    assert times == [1, 1]


@pytest.mark.parametrize(("setting", "value"), [("prepare_threshold", None), ("prepared_max", 0)])
def test_where_psycopg_is_told_to_prepare_nothing_nothing_is_prepared(one: Connection, setting: str, value: Any) -> None:
    setattr(pipeline_on(one).driver, setting, value)
    for _ in range(3):
        assert number(one, "select %(a)s::int", a=7) == 7
    assert known_to_the_server(one) == []


def test_a_statement_that_somebody_deallocated_is_prepared_anew_by_the_next_start(engine_with: Callable[..., Engine]) -> None:
    engine = engine_with()
    runtime = bank(engine)
    account_id = account(runtime)
    deposit = Deposit(account_id=account_id, amount=5)
    runtime.execute(deposit, actor=ADA)
    with engine.connect() as connection:
        connection.exec_driver_sql("deallocate all")
        connection.commit()
    assert runtime.execute(deposit, actor=ADA).balance == 10
    assert runtime.execute(deposit, actor=ADA).balance == 15


def test_a_statement_that_is_gone_in_the_middle_is_a_conflict_and_the_command_starts_anew(
    engine_with: Callable[..., Engine],
) -> None:
    runs: list[int] = []

    def deallocate(command: Deposit, account: Account, context: Any) -> None:
        runs.append(account.balance)
        put_in(command, account, context)
        if len(runs) == 2:
            context.session.connection().exec_driver_sql("deallocate all")

    runtime = bank(engine_with(), deallocate)
    account_id = account(runtime)
    deposit = Deposit(account_id=account_id, amount=5)
    for expected in (5, 10, 15):
        assert runtime.execute(deposit, actor=ADA).balance == expected
    assert runs == [0, 5, 5, 10]


def test_what_is_prepared_stays_so_after_a_refusal(engine_with: Callable[..., Engine]) -> None:
    def fail(command: Deposit, account: Account, context: Any) -> None:
        put_in(command, account, context)
        if command.amount == 13:
            # What psycopg prepares of its own is what it deallocates with everything else when it rolls back.
            context.session.connection().connection.driver_connection.execute("select 1", prepare=True)
            raise LookupError

    engine = engine_with()
    runtime = bank(engine, fail)
    account_id = account(runtime)
    runtime.execute(Deposit(account_id=account_id, amount=5), actor=ADA)
    with engine.connect() as connection:
        before = known_to_the_server(connection)
    with pytest.raises(LookupError):
        runtime.execute(Deposit(account_id=account_id, amount=13), actor=ADA)
    with engine.connect() as connection:
        assert known_to_the_server(connection) == before != []


def test_a_table_that_was_altered_is_no_hindrance(engine_with: Callable[..., Engine]) -> None:
    engine = engine_with()
    runtime = bank(engine)
    account_id = account(runtime)
    deposit = Deposit(account_id=account_id, amount=5)
    runtime.execute(deposit, actor=ADA)
    with engine.begin() as connection:
        connection.exec_driver_sql("alter table accounts alter column owner type text")
    assert runtime.execute(deposit, actor=ADA).balance == 10


def test_a_failure_while_it_is_prepared_leaves_it_unprepared(one: Connection) -> None:
    with pytest.raises(DBAPIError, match="nothing_like_it"):
        driver.first_row(one, "select %(a)s::int from nothing_like_it", {"a": 1})
    one.rollback()
    one.begin()
    one.exec_driver_sql("create temp table nothing_like_it as select 1")
    assert number(one, "select %(a)s::int from nothing_like_it", a=1) == 1


def test_a_statement_that_fails_when_it_is_first_executed_is_prepared_all_the_same(one: Connection) -> None:
    for divisor, expected in ((0, None), (2, 5), (5, 2)):
        if expected is None:
            with pytest.raises(DBAPIError):
                number(one, "select 10 / %(a)s::int", a=divisor)
            one.rollback()
            one.begin()
        else:
            assert number(one, "select 10 / %(a)s::int", a=divisor) == expected
    assert known_to_the_server(one) == ["usecasecore_1"]


def test_values_are_read_by_the_settings_of_the_moment(one: Connection) -> None:
    noon = "select '2026-03-01 12:00+00'::timestamptz"
    one.exec_driver_sql("set time zone 'Asia/Tokyo'")
    assert str(number(one, noon)) == "2026-03-01 21:00:00+09:00"
    one.exec_driver_sql("set time zone 'UTC'")
    assert str(number(one, noon)) == "2026-03-01 12:00:00+00:00"


def test_a_percent_sign_is_one_whether_there_are_parameters_or_none(one: Connection) -> None:
    assert number(one, "select 'a%%b' || %(a)s::text", a="c") == "a%bc"
    assert driver.sole_row(one, "select 'a%%b'", None) == ("a%%b",)


def test_a_large_value_goes_through_while_the_answer_comes(one: Connection) -> None:
    large = "x" * 20_000_000
    assert number(one, "select %(a)s::text", a=large) == large


def test_what_a_channel_says_reaches_whoever_listens(one: Connection) -> None:
    heard: list[str] = []
    of_driver = pipeline_on(one).driver
    of_driver.add_notify_handler(lambda note: heard.append(note.payload))
    one.exec_driver_sql("listen doors")
    one.commit()
    one.begin()
    driver.first_row(one, "select pg_notify('doors', 'open')", None)
    one.commit()
    one.begin()
    driver.first_row(one, "select 1", None)
    assert heard == ["open"]


# Where it is not used


class OwnCursor(psycopg.Cursor[Any]):
    """A cursor that somebody wants to see all statements with."""

    seen: ClassVar[list[str]] = []

    def execute(self, query: Any, *arguments: Any, **options: Any) -> Any:
        self.seen.append(str(query))
        return super().execute(query, *arguments, **options)


def test_a_cursor_of_the_users_gets_each_statement(engine_with: Callable[..., Engine]) -> None:
    OwnCursor.seen.clear()
    runtime = bank(engine_with(connect_args={"cursor_factory": OwnCursor}))
    account_id = account(runtime)
    OwnCursor.seen.clear()
    with sent() as seen:
        runtime.execute(Deposit(account_id=account_id, amount=5), actor=ADA)
    assert seen.texts == []
    assert [text.split()[0].lower() for text in OwnCursor.seen] == ["select", "with"]


def test_in_a_pipeline_of_the_users_nothing_is_done_past_it(one: Connection) -> None:
    of_driver = pipeline_on(one).driver
    with of_driver.pipeline():
        assert pipeline_of(one) is None
    assert pipeline_of(one) is not None


def test_on_a_psycopg_that_is_not_known_cursors_do_it(
    engine_with: Callable[..., Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unofficial, "unknown_parts_of_psycopg", lambda: ("version 4.0",))
    runtime = bank(engine_with())
    account_id = account(runtime)
    with sent() as seen:
        assert runtime.execute(Deposit(account_id=account_id, amount=5), actor=ADA).balance == 5
    assert seen.texts == []


@pytest.mark.parametrize("where", ["dialect", "driver"])
def test_who_puts_something_else_in_the_place_of_a_commit_is_not_passed_by(
    engine_with: Callable[..., Engine], where: str
) -> None:
    engine = engine_with()
    runtime = bank(engine)
    account_id = account(runtime)
    committed: list[str] = []
    with engine.connect() as connection:
        of_driver: Any = connection.connection.driver_connection
    original = of_driver.commit

    def noting(*_: Any) -> None:
        committed.append(where)
        original()

    if where == "dialect":
        engine.dialect.do_commit = noting  # type: ignore[method-assign,assignment]
    else:
        of_driver.commit = noting
    with sent() as seen:
        runtime.execute(Deposit(account_id=account_id, amount=5), actor=ADA)
    assert seen.texts == []
    assert committed == [where]
    assert balance(engine) == 5


# COMMIT goes along with the last statement


def balance(engine: Engine) -> int:
    with engine.connect() as connection:
        return int(connection.exec_driver_sql("select balance from accounts").scalar_one())


def trail(engine: Engine) -> int:
    """Return how many audit entries there are."""
    with engine.connect() as connection:
        return int(connection.exec_driver_sql("select count(*) from usecasecore_audit").scalar_one())


def test_a_row_that_is_gone_commits_nothing(engine_with: Callable[..., Engine]) -> None:
    # The trap of a pipeline: whether the UPDATE found its row is known when COMMIT is sent already.
    def vanish(command: Deposit, account: Account, context: Any) -> None:
        put_in(command, account, context)
        context.session.connection().exec_driver_sql("delete from accounts")

    engine = engine_with()
    runtime = bank(engine, vanish)
    account_id = account(runtime)
    before = trail(engine)
    with sent() as seen, pytest.raises(ContractViolation, match="is gone"):
        runtime.execute(Deposit(account_id=account_id, amount=5), actor=ADA)
    assert seen.commits == [False, True]
    assert (balance(engine), trail(engine)) == (0, before)
    assert is_as_it_was(engine)


def test_a_transaction_that_was_ended_with_sql_commits_nothing_more(engine_with: Callable[..., Engine]) -> None:
    def end(command: Deposit, account: Account, context: Any) -> None:
        put_in(command, account, context)
        context.session.connection().exec_driver_sql("commit; begin")

    engine = engine_with()
    runtime = bank(engine, end)
    account_id = account(runtime)
    before = trail(engine)
    with sent() as seen, pytest.raises(TransactionEnded):
        runtime.execute(Deposit(account_id=account_id, amount=5), actor=ADA)
    assert seen.commits == [False, True]
    assert (balance(engine), trail(engine)) == (0, before)
    assert is_as_it_was(engine)


def test_a_key_that_was_taken_meanwhile_is_answered_as_a_taken_one(engine_with: Callable[..., Engine]) -> None:
    engine = engine_with()
    others = bank(engine_with())
    overtaken: list[Any] = []

    def slowly(command: Deposit, account: Account, context: Any) -> None:
        put_in(command, account, context)
        if not overtaken:
            overtaken.append(others.run(Deposit(account_id=theirs, amount=7), actor=ADA, idempotency_key="k"))

    runtime = bank(engine, slowly)
    ours, theirs = account(runtime), account(runtime)
    before = trail(engine)
    with sent() as seen, pytest.raises(IdempotencyKeyReused):
        runtime.execute(Deposit(account_id=ours, amount=5), actor=ADA, idempotency_key="k")
    assert seen.commits == [False, False, True, True, False]  # ours loads, theirs is done, ours fails and asks the key
    assert trail(engine) == before + 1
    with engine.connect() as connection:
        assert connection.exec_driver_sql("select sum(balance) from accounts").scalar_one() == 7


def test_a_commit_that_fails_is_told_as_what_it_is(engine_with: Callable[..., Engine]) -> None:
    engine = engine_with()
    runtime = bank(engine)
    account_id = account(runtime)
    at_the_commit(engine, "raise exception 'too late' using errcode = '23514'")
    before = trail(engine)
    with sent() as seen, pytest.raises(ConstraintViolated):
        runtime.execute(Deposit(account_id=account_id, amount=5), actor=ADA)
    assert seen.commits == [False, True]
    assert (balance(engine), trail(engine)) == (0, before)
    assert is_as_it_was(engine)


def at_the_commit(engine: Engine, what: str) -> None:
    """Have the server do something at the commit of whoever has updated an account."""
    with engine.begin() as connection:
        connection.exec_driver_sql(
            f"create function late() returns trigger language plpgsql as $$ begin {what}; return null; end $$"
        )
        connection.exec_driver_sql(
            "create constraint trigger late after update on accounts deferrable initially deferred "
            "for each row execute function late()"
        )


@contextmanager
def every_session_tells(what: str, listener: Callable[..., None]) -> Iterator[None]:
    """Have somebody listen to an event of all sessions."""
    event.listen(Session, what, listener)
    try:
        yield
    finally:
        event.remove(Session, what, listener)


@pytest.mark.parametrize("when", ["before_commit", "after_commit"])
def test_who_listens_to_the_session_is_asked_before_it_is_committed(engine_with: Callable[..., Engine], when: str) -> None:
    engine = engine_with()
    runtime = bank(engine)
    account_id = account(runtime)
    seen_there: list[int] = []
    other = engine_with()

    def look(session: Session) -> None:
        seen_there.append(balance(other))

    with every_session_tells(when, look), sent() as seen:
        runtime.execute(Deposit(account_id=account_id, amount=5), actor=ADA)
    assert seen_there == [0 if when == "before_commit" else 5]
    assert seen.commits == [False, when == "after_commit"]


def test_who_listens_to_the_engine_s_commits_is_asked_before(engine_with: Callable[..., Engine]) -> None:
    engine = engine_with()
    runtime = bank(engine)
    account_id = account(runtime)
    seen_there: list[int] = []
    other = engine_with()
    event.listen(engine, "commit", lambda _connection: seen_there.append(balance(other)))
    with sent() as seen:
        runtime.execute(Deposit(account_id=account_id, amount=5), actor=ADA)
    assert seen_there == [0]
    assert seen.commits == [False, False]


@pytest.mark.parametrize("listened", [["commit", "rollback"], ["rollback"]], ids=" and ".join)
def test_who_listens_to_the_engine_s_rollbacks_hears_of_none_where_there_was_a_commit(
    engine_with: Callable[..., Engine], listened: list[str]
) -> None:
    engine = engine_with()
    runtime = bank(engine)
    account_id = account(runtime)
    heard: list[str] = []
    for name in listened:
        event.listen(engine, name, lambda _connection, name=name: heard.append(name))
    runtime.execute(Deposit(account_id=account_id, amount=5), actor=ADA)
    assert heard == [name for name in listened if name == "commit"]
    assert balance(engine) == 5


def test_what_is_left_dirty_by_a_flush_is_flushed_before_the_commit(engine_with: Callable[..., Engine]) -> None:
    engine = engine_with()
    runtime = bank(engine)
    account_id = account(runtime)
    once: list[Any] = []

    def rename(session: Session, _context: Any) -> None:
        if not once:
            [one] = [found for found in session.identity_map.values() if isinstance(found, Account)]
            once.append(one)
            one.owner = "renamed"

    with every_session_tells("after_flush_postexec", rename), sent() as seen:
        runtime.execute(Deposit(account_id=account_id, amount=5), actor=ADA)
    assert not any(seen.commits)
    with engine.connect() as connection:
        assert connection.exec_driver_sql("select owner from accounts").scalar_one() == "renamed"


def test_what_was_loaded_is_let_go_while_the_database_commits(engine_with: Callable[..., Engine]) -> None:
    engine, kept = engine_with(), Kept()
    runtime = bank(engine, kept.put_in)
    account_id = account(runtime)
    with sent() as seen:
        runtime.execute(Deposit(account_id=account_id, amount=5), actor=ADA)
    assert seen.commits == [False, True]
    [one] = kept.accounts
    state = inspect(one)
    assert (state.detached, state.modified, one.balance) == (True, False, 5)


def test_who_listens_to_objects_that_are_let_go_hears_of_it_when_it_is_committed(engine_with: Callable[..., Engine]) -> None:
    engine, other, kept = engine_with(), engine_with(), Kept()
    runtime = bank(engine, kept.put_in)
    account_id = account(runtime)
    at_the_commit(engine, "perform pg_sleep(0.3)")
    seen_then: list[int] = []

    def look(_session: Session, _object: Any) -> None:
        seen_then.append(balance(other))

    with every_session_tells("persistent_to_detached", look), sent() as seen:
        runtime.execute(Deposit(account_id=account_id, amount=5), actor=ADA)
    assert seen.commits == [False, True]
    assert seen_then == [5]


class Kept:
    """Keeps what a use case got, beyond its end."""

    def __init__(self) -> None:
        self.accounts: list[Account] = []

    def put_in(self, command: Deposit, account: Account, context: Any) -> None:
        put_in(command, account, context)
        self.accounts.append(account)


def test_a_session_that_has_asked_the_database_takes_part_in_the_commit(engine_with: Callable[..., Engine]) -> None:
    def look(command: Deposit, account: Account, context: Any) -> None:
        put_in(command, account, context)
        assert context.session.execute(text("select 1")).scalar_one() == 1

    engine = engine_with()
    runtime = bank(engine, look)
    account_id = account(runtime)
    with sent() as seen:
        runtime.execute(Deposit(account_id=account_id, amount=5), actor=ADA)
    assert seen.commits[-1]
    assert balance(engine) == 5
    assert is_as_it_was(engine)


def test_what_fails_before_its_time_fails_in_its_time(
    engine_with: Callable[..., Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = engine_with()
    runtime = bank(engine)
    account_id = account(runtime)
    steps_then: list[Any] = []

    def fail(self: Changes) -> str:
        steps_then.append(self.session.step)
        raise LookupError("nothing is known")

    monkeypatch.setattr(Changes, "_headers", fail)
    with pytest.raises(LookupError, match="nothing is known"):
        runtime.execute(Deposit(account_id=account_id, amount=5), actor=ADA)
    assert steps_then == [Step.LOAD, Step.AUDIT]
    assert balance(engine) == 0
    assert is_as_it_was(engine)


def test_several_commands_in_one_transaction_commit_once_at_its_end(engine_with: Callable[..., Engine]) -> None:
    engine = engine_with()
    runtime = bank(engine)
    account_id = account(runtime)

    other = engine_with()

    def twice(transaction: Any) -> int:
        transaction.execute(Deposit(account_id=account_id, amount=5), actor=ADA)
        assert balance(other) == 0
        return int(transaction.execute(Deposit(account_id=account_id, amount=5), actor=ADA).balance)

    with sent() as seen:
        assert runtime.transaction(twice) == 10
    assert not any(seen.commits)
    assert balance(engine) == 10


def test_a_command_inside_of_another_one_does_not_commit(engine_with: Callable[..., Engine]) -> None:
    def freeze_too(command: Deposit, account: Account, context: Any) -> None:
        put_in(command, account, context)
        if command.amount == 5:
            other = context.execute(Open(owner="other"))
            context.execute(Deposit(account_id=other.account_id, amount=1))
            raise LookupError

    engine = engine_with()
    runtime = bank(engine, freeze_too)
    account_id = account(runtime)
    with sent() as seen, pytest.raises(LookupError):
        runtime.execute(Deposit(account_id=account_id, amount=5), actor=ADA)
    assert len(seen.commits) >= 3
    assert not any(seen.commits)
    assert balance(engine) == 0


def test_in_a_session_of_the_callers_nothing_is_committed(engine_with: Callable[..., Engine]) -> None:
    engine = engine_with()
    runtime = bank(engine)
    account_id = account(runtime)
    with Session(engine) as session, sent() as seen:
        runtime.execute(Deposit(account_id=account_id, amount=5), actor=ADA, session=session)
        session.rollback()
    assert not any(seen.commits)
    assert balance(engine) == 0


@pytest.mark.parametrize("end", ["open", "rolled back"])
def test_after_a_savepoint_of_apply_nothing_goes_past_sqlalchemy(engine_with: Callable[..., Engine], end: str) -> None:
    def in_a_savepoint(command: Deposit, account: Account, context: Any) -> None:
        nested = context.session.begin_nested()
        if end == "rolled back":
            context.session.connection().exec_driver_sql("update accounts set balance = 7")
            nested.rollback()
            nested = context.session.begin_nested()
        put_in(command, account, context)

    engine = engine_with()
    runtime = bank(engine, in_a_savepoint)
    account_id = account(runtime)
    before = trail(engine)
    with sent() as seen:
        runtime.execute(Deposit(account_id=account_id, amount=5), actor=ADA)
    assert seen.commits == [False]
    assert (balance(engine), trail(engine)) == (5, before + 1)
    assert is_as_it_was(engine)


def test_while_somebody_watches_the_steps_the_commit_is_one_of_its_own(engine_with: Callable[..., Engine]) -> None:
    engine = engine_with()
    runtime = bank(engine)
    account_id = account(runtime)
    with watch(lambda _moment: None), sent() as seen:
        runtime.execute(Deposit(account_id=account_id, amount=5), actor=ADA)
    assert seen.commits == [False, False]


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
