"""The session that a command runs in takes part in its transaction when it is asked something; who listens is asked before."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Connection, Engine, create_engine, event, select, text
from sqlalchemy.orm import Session, SessionTransaction

from tests.accounts import ADA, NOON, Account, Base, Deposit, MakeDeposit, Open, application, deposit_doing
from usecasecore import Limits, Runtime
from usecasecore.errors import AggregateBusy, TransactionEnded
from usecasecore.runtime.session import CommandSession


def put_in(command: Deposit, account: Account, context: Any) -> None:
    account.balance += command.amount


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """An engine with one connection."""
    one = create_engine(database_url, pool_size=1, max_overflow=0, pool_timeout=2)
    Base.metadata.create_all(one)
    yield one
    one.dispose()


def bank(engine: Engine, act: Any = put_in, limits: Limits | None = None) -> Runtime:
    app = application(deposit_doing(act), instead_of=MakeDeposit)
    return Runtime(engine, app, clock=lambda: NOON, limits=limits, create=engine.dialect.name == "sqlite")


def account(runtime: Runtime) -> Any:
    return runtime.execute(Open(owner=str(uuid4())), actor=ADA).account_id


@contextmanager
def listening(name: str, listener: Any) -> Iterator[None]:
    event.listen(CommandSession, name, listener)
    try:
        yield
    finally:
        event.remove(CommandSession, name, listener)


def test_who_listens_to_the_begin_hears_of_it_before_anything_is_read(engine: Engine) -> None:
    heard: list[str] = []

    def note_begin(session: Session, transaction: SessionTransaction, connection: Connection) -> None:
        # As one sets a role, or the tenant for row level security.
        heard.append("told")
        connection.execute(select(1))

    def note_statement(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        heard.append(statement.split()[0].lower())

    runtime = bank(engine)
    account_id = account(runtime)
    event.listen(engine, "before_cursor_execute", note_statement)
    with listening("after_begin", note_begin):
        runtime.execute(Deposit(account_id=account_id, amount=5), actor=ADA)
    statements = [one for one in heard if one != "told"]
    assert heard.count("told") == 1
    # On SQLite the transaction itself is begun by a statement of ours.
    assert heard.index("told") == (1 if engine.dialect.name == "sqlite" else 0), heard
    assert len(statements) > 2


def test_what_user_code_asks_the_session_is_asked_in_the_same_transaction(engine: Engine) -> None:
    seen: list[Any] = []

    def look(command: Deposit, account: Account, context: Any) -> None:
        session = context.session
        seen.append(session.connection() is session.held)
        put_in(command, account, context)
        session.flush()
        seen.append(session.scalars(select(Account.balance)).one())
        with session.begin_nested():
            seen.append(session.connection() is session.held)

    runtime = bank(engine, look)
    account_id = account(runtime)
    assert runtime.execute(Deposit(account_id=account_id, amount=5), actor=ADA).balance == 5
    assert seen == [True, 5, True]
    assert engine.pool.checkedout() == 0  # type: ignore[attr-defined]  # of a pool that counts
    with engine.connect() as connection:
        assert connection.scalar(select(Account.balance)) == 5


@pytest.mark.parametrize("end", ["commit", "rollback", "close"])
def test_the_transaction_of_the_session_can_not_be_ended_unnoticed(engine: Engine, end: str) -> None:
    def tamper(command: Deposit, account: Account, context: Any) -> None:
        put_in(command, account, context)
        getattr(context.session.get_transaction(), end)()

    runtime = bank(engine, tamper)
    account_id = account(runtime)
    with pytest.raises(TransactionEnded):
        runtime.execute(Deposit(account_id=account_id, amount=5), actor=ADA)
    with engine.connect() as connection:
        assert connection.scalar(text("select count(*) from usecasecore_audit where use_case = 'MakeDeposit'")) == 0
    assert engine.pool.checkedout() == 0  # type: ignore[attr-defined]


def test_a_connection_that_can_not_begin_goes_back_to_its_pool(tmp_path: Any) -> None:
    path = tmp_path / "bank.db"
    engine = create_engine(f"sqlite:///{path}", pool_size=1, max_overflow=0, pool_timeout=2)
    Base.metadata.create_all(engine)
    runtime = bank(engine, limits=Limits(busy_timeout=timedelta(milliseconds=50)))
    account_id = account(runtime)
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("begin immediate")
    for _ in range(3):
        with pytest.raises(AggregateBusy):
            runtime.execute(Deposit(account_id=account_id, amount=5), actor=ADA)
        assert engine.pool.checkedout() == 0  # type: ignore[attr-defined]
    holder.rollback()
    holder.close()
    assert runtime.execute(Deposit(account_id=account_id, amount=5), actor=ADA).balance == 5
    engine.dispose()
