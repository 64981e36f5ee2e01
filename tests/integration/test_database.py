"""What the runtime checks, sets and creates on a database."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Engine, create_engine, insert, inspect, select, text
from sqlalchemy.dialects import mysql
from sqlalchemy.orm import Session
from sqlalchemy.pool import StaticPool

from tests.accounts import ADA, NOON, Account, Base, Deposit, Open, application
from usecasecore import Runtime, migrations
from usecasecore.errors import DefinitionError, LedgerOutdated, UnsafeDatabase
from usecasecore.ledger import ledger_tables
from usecasecore.ledger.store import store_for


@pytest.fixture
def empty(database_url: str) -> Iterator[Engine]:
    """A database without a ledger."""
    engine = create_engine(database_url)
    Base.metadata.create_all(engine)
    with engine.begin() as connection:
        for table in (*ledger_tables().metadata.tables, "usecasecore_version"):
            connection.execute(text(f"drop table {table}"))
    yield engine
    engine.dispose()


def test_a_missing_ledger_is_refused_with_its_cure(empty: Engine) -> None:
    runtime = Runtime(empty, application())
    for call in (runtime.check, lambda: runtime.execute(Open(owner="x"))):
        with pytest.raises(
            LedgerOutdated, match=f"the ledger is missing, revision {migrations.head()} is needed; run `usecasecore db upgrade"
        ):
            call()
    assert not inspect(empty).has_table("usecasecore_audit")


def test_a_ledger_of_another_revision_is_refused(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("update usecasecore_version set version_num = '0000'"))
    with pytest.raises(LedgerOutdated) as wrong:
        Runtime(engine, application()).check()
    assert (wrong.value.found, wrong.value.needed) == ("0000", migrations.head())


def test_what_is_missing_from_the_ledger_is_named(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("drop table usecasecore_attempt"))
        connection.execute(text("alter table usecasecore_audit drop column detail"))
    with pytest.raises(LedgerOutdated) as wrong:
        Runtime(engine, application()).check()
    assert sorted(wrong.value.problems) == ["column usecasecore_audit.detail is missing", "table usecasecore_attempt is missing"]


def test_upgrading_makes_exactly_the_declared_tables_and_is_safe_to_repeat(empty: Engine) -> None:
    with empty.begin() as connection:
        assert migrations.upgrade(connection) == (None, migrations.head())
    with empty.begin() as connection:
        assert migrations.upgrade(connection) == (migrations.head(), migrations.head())
        migrations.check(connection)
        options = {"version_table": migrations.VERSION_TABLE, "include_object": _is_ledger, "compare_type": True}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, ledger_tables().metadata) == []


def _is_ledger(item: Any, name: str, kind: str, *rest: Any) -> bool:
    return kind != "table" or name.startswith("usecasecore_")


def test_the_migrations_can_be_undone(engine: Engine) -> None:
    with engine.begin() as connection:
        command.downgrade(migrations._config(connection), "base")
    assert not [name for name in inspect(engine).get_table_names() if name.startswith("usecasecore_a")]


def test_entries_from_before_the_kinds_are_told_apart_by_what_they_hold(engine: Engine) -> None:
    audit = ledger_tables().audit
    common = {
        "use_case": "u",
        "actor": "a",
        "correlation_id": "c",
        "command": {},
        "changes": {},
        "detail": {},
        "occurred_at": NOON,
    }
    with engine.begin() as connection:
        command.downgrade(migrations._config(connection), "0002")
        for number, version, state in ((1, 1, None), (2, 2, "open"), (3, None, None), (4, 2, None)):
            row = {"id": UUID(int=number), "command_id": UUID(int=9), "aggregate_id": str(number)}
            connection.execute(insert(audit), {**common, **row, "version": version, "from_state": state})
        migrations.upgrade(connection)
        kinds = connection.execute(select(audit.c.kind).order_by(audit.c.id)).scalars().all()
    assert kinds == ["create", "change", "change", "change"]


def test_the_ledger_may_live_in_a_schema(postgres_url: str) -> None:
    engine = create_engine(postgres_url)
    Base.metadata.create_all(engine)
    with engine.begin() as connection:
        migrations.upgrade(connection, "book keeping")
    runtime = Runtime(engine, application(), ledger_schema="book keeping")
    first = runtime.run(Open(owner="x"), actor=ADA, idempotency_key="k")
    assert runtime.run(Open(owner="x"), actor=ADA, idempotency_key="k").result == first.result
    runtime.execute(Deposit(account_id=first.result.account_id, amount=5))
    with engine.connect() as connection:
        assert len(connection.execute(select(ledger_tables("book keeping").audit)).all()) == 2
        assert connection.execute(select(ledger_tables().audit)).all() == []
    engine.dispose()


def test_asynchronous_commit_is_refused_unless_asked_for(postgres_url: str) -> None:
    engine = create_engine(postgres_url, connect_args={"options": "-c synchronous_commit=off"})
    Base.metadata.create_all(engine)
    with pytest.raises(UnsafeDatabase, match="synchronous_commit is off"):
        Runtime(engine, application()).execute(Open(owner="x"))
    assert Runtime(engine, application(), asynchronous_commit=True).run(Open(owner="x")).version == 1
    engine.dispose()


def test_an_autocommit_engine_is_refused(postgres_url: str) -> None:
    engine = create_engine(postgres_url, isolation_level="AUTOCOMMIT")
    with pytest.raises(UnsafeDatabase, match="AUTOCOMMIT"):
        Runtime(engine, application()).check()
    engine.dispose()


@pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
def test_stricter_isolation_works_too(postgres_url: str, level: Any) -> None:
    engine = create_engine(postgres_url, isolation_level=level, pool_size=8)
    Base.metadata.create_all(engine)
    runtime = Runtime(engine, application())
    account_id = runtime.execute(Open(owner="x")).account_id
    with ThreadPoolExecutor(4) as pool:
        outcomes = list(
            pool.map(lambda _: runtime.run(Deposit(account_id=account_id, amount=5), actor=ADA, idempotency_key="k"), range(4))
        )
    assert sorted(outcome.replayed for outcome in outcomes) == [False, True, True, True]
    engine.dispose()


def test_create_makes_the_ledger_of_a_new_sqlite_file(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'new.db'}")
    Base.metadata.create_all(engine)
    assert Runtime(engine, application(), create=True).run(Open(owner="x")).version == 1
    assert Runtime(engine, application(), create=True).run(Open(owner="y")).version == 1
    engine.dispose()


def test_create_is_refused_elsewhere(postgres_url: str) -> None:
    engine = create_engine(postgres_url)
    with pytest.raises(DefinitionError, match="create=True is for SQLite"):
        Runtime(engine, application(), create=True).check()
    engine.dispose()


def test_a_database_that_is_not_supported_is_refused() -> None:
    with pytest.raises(DefinitionError, match="commands run on PostgreSQL and SQLite, not on mysql"):
        store_for(mysql.dialect(), ledger_tables())


def test_something_else_than_an_application_is_refused(sqlite_url: str) -> None:
    with pytest.raises(DefinitionError, match="an Application is wanted"):
        Runtime(create_engine(sqlite_url), "app")  # type: ignore[arg-type]


@pytest.fixture
def sqlite(sqlite_url: str) -> Iterator[Engine]:
    engine = create_engine(sqlite_url)
    Base.metadata.create_all(engine)
    yield engine
    engine.dispose()


def test_sqlite_is_set_to_keep_what_it_commits(sqlite: Engine) -> None:
    Runtime(sqlite, application()).check()
    with sqlite.connect() as connection:
        settings = {
            name: connection.scalar(text(f"pragma {name}"))
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    assert settings == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 5000}


def test_commands_on_sqlite_begin_immediately_and_others_do_not(sqlite: Engine) -> None:
    from sqlalchemy import event

    sent: list[str] = []
    event.listen(sqlite, "before_cursor_execute", lambda c, cursor, statement, *rest: sent.append(statement))
    runtime = Runtime(sqlite, application())
    Runtime(sqlite, application())  # a second one on the engine begins nothing twice
    runtime.execute(Open(owner="x"))
    assert "BEGIN IMMEDIATE" in sent
    sent.clear()
    with Session(sqlite) as session:
        session.scalars(select(Account)).all()
    assert [statement for statement in sent if statement.startswith("BEGIN")] == ["BEGIN"]


def test_the_applications_own_sessions_keep_their_rollback(sqlite: Engine) -> None:
    runtime = Runtime(sqlite, application())
    runtime.execute(Open(owner="x"))
    with Session(sqlite) as session:
        session.add(Account(owner="y"))
        session.flush()
        session.rollback()
        assert [account.owner for account in session.scalars(select(Account))] == ["x"]


def test_threads_that_share_one_connection_in_memory_queue_up() -> None:
    engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
    Base.metadata.create_all(engine)
    runtime = Runtime(engine, application(), create=True)
    account_id = runtime.execute(Open(owner="x")).account_id
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: runtime.execute(Deposit(account_id=account_id, amount=1)), range(80)))
    assert runtime.run(Deposit(account_id=account_id, amount=0)).result.balance == 80
    assert runtime.run(Deposit(account_id=account_id, amount=0)).version == 83
    engine.dispose()
