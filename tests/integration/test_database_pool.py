"""A database is handed out again only where nothing tells it from a new one."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from sqlalchemy.engine import make_url

from tests.databases import DatabasePool

pytestmark = pytest.mark.postgresql


@pytest.fixture
def pool(postgres_server: str, postgres_template: str) -> Iterator[DatabasePool]:
    one = DatabasePool(postgres_server, postgres_template)
    yield one
    one.close()


def run(url: str, *statements: str) -> list[tuple[object, ...]]:
    plain = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(plain, autocommit=True) as connection:
        for statement in statements[:-1]:
            connection.execute(statement.encode())
        return connection.execute(statements[-1].encode()).fetchall()


def test_what_a_test_leaves_is_gone_and_the_database_is_used_again(pool: DatabasePool) -> None:
    name, url = pool.take()
    run(
        url,
        "create table t (id serial primary key)",
        "create view v as select * from t",
        "create type colour as enum ('red')",
        "create schema s",
        "create table s.u (id int)",
        "create function f() returns trigger language plpgsql as $$ begin return new; end $$",
        "create trigger g before insert on usecasecore_audit for each row execute function f()",
        "insert into usecasecore_head (aggregate, aggregate_id, version, hash) values ('a', 'b', 1, 'c')",
        "select 1",
    )
    pool.give_back(name, url)
    again, url = pool.take()
    assert (again, pool.made, pool.used_again) == (name, 1, 1)
    assert run(url, "select count(*) from usecasecore_head") == [(0,)]
    assert run(url, "select count(*) from pg_trigger where tgname = 'g'") == [(0,)]
    assert run(url, "select count(*) from pg_class where relnamespace = 'public'::regnamespace and relname in ('t', 'v')") == [
        (0,)
    ]
    pool.give_back(again, url)


@pytest.mark.parametrize(
    "damage",
    [
        "alter table usecasecore_audit drop column detail",
        "alter table usecasecore_audit alter column detail drop not null",
        "drop table usecasecore_outbox",
        "drop index ix_usecasecore_outbox_pending",
        "create trigger g before update on usecasecore_audit for each row execute function suppress_redundant_updates_trigger()",
        "update usecasecore_version set version_num = 'other'",
        "create table usecasecore_more (id int)",
    ],
)
def test_a_database_that_is_not_as_new_is_dropped(pool: DatabasePool, damage: str) -> None:
    name, url = pool.take()
    run(url, damage, "select 1")
    pool.give_back(name, url)
    other, url = pool.take()
    assert (other == name, pool.made) == (False, 2)
    pool.give_back(other, url)


def test_a_setting_of_the_database_makes_it_another_one(pool: DatabasePool) -> None:
    name, url = pool.take()
    run(url, f"alter database {name} set synchronous_commit = off", "select 1")
    pool.give_back(name, url)
    other, url = pool.take()
    assert other != name
    pool.give_back(other, url)


def test_connections_that_a_test_forgot_are_closed(pool: DatabasePool) -> None:
    name, url = pool.take()
    plain = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    forgotten = psycopg.connect(plain)
    forgotten.execute("lock table usecasecore_audit")
    pool.give_back(name, url)
    assert pool.take()[0] == name
    with pytest.raises(psycopg.OperationalError):
        forgotten.execute("select 1")
    forgotten.close()
    pool.give_back(name, url)
