"""Waiting for psycopg's asynchronous connections: what psycopg itself promises of that must hold here too."""

from __future__ import annotations

import asyncio
import gc
import select
import selectors
import time
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any
from weakref import ref

import psycopg
import pytest
from sqlalchemy import Connection
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from usecasecore import awaiting
from usecasecore.pipeline import Pipeline, pipeline_of

with_epoll = pytest.mark.parametrize("way", ["epoll"], indirect=True)


@pytest.fixture(autouse=True, params=["epoll", "readers"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """How sockets are watched: by an epoll, or as where there is none."""
    if request.param == "readers":
        monkeypatch.delattr(select, "epoll", raising=False)
    elif not hasattr(select, "epoll"):
        pytest.skip("there is no epoll")
    return str(request.param)


@pytest.fixture
def asleep(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is woken by looking again from time to time."""
    monkeypatch.setattr(awaiting, "_LOOK_AGAIN", 60)


class CountingSelector(selectors.DefaultSelector):
    """Counts the turns of an event loop."""

    turns = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.turns += 1
        return super().select(timeout)


def async_engine(postgres_url: str, **options: Any) -> AsyncEngine:
    return create_async_engine(make_url(postgres_url).set(drivername="postgresql+psycopg_async"), **options)


def on_a_connection(
    postgres_url: str,
    scenario: Callable[[AsyncConnection], Awaitable[None]],
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
) -> None:
    async def run() -> None:
        engine = async_engine(postgres_url)
        try:
            async with engine.connect() as connection:
                await scenario(connection)
        finally:
            await engine.dispose()

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(run())


def piped(connection: Connection) -> Pipeline:
    found = pipeline_of(connection)
    assert found is not None
    return found


def fetched(connection: Connection, text: str, /, **parameters: Any) -> Any:
    return piped(connection).execute(text, parameters).fetchone()


def with_another(postgres_url: str, text: str, *parameters: Any) -> None:
    with psycopg.connect(make_url(postgres_url).set(drivername="postgresql").render_as_string(hide_password=False)) as other:
        other.execute(text.encode(), parameters)


def test_a_statement_that_fills_the_socket_s_buffer_is_sent_to_its_end(postgres_url: str) -> None:
    async def scenario(connection: AsyncConnection) -> None:
        long = "x" * 30_000_000
        assert await connection.run_sync(fetched, "select length(%(long)s::text)", long=long) == (30_000_000,)
        assert await connection.run_sync(fetched, "select 1") == (1,)

    on_a_connection(postgres_url, scenario)


def test_an_answer_that_comes_in_many_parts_is_read_to_its_end(postgres_url: str) -> None:
    async def scenario(connection: AsyncConnection) -> None:
        [text] = await connection.run_sync(fetched, "select repeat('y', 30000000)")
        assert len(text) == 30_000_000

    on_a_connection(postgres_url, scenario)


def test_the_event_loop_goes_on_while_the_server_works(postgres_url: str) -> None:
    async def scenario(connection: AsyncConnection) -> None:
        asked = asyncio.ensure_future(connection.run_sync(fetched, "select pg_sleep(0.5)::text"))
        turns = 0
        while not asked.done():
            await asyncio.sleep(0.01)
            turns += 1
        await asked
        assert turns > 10

    on_a_connection(postgres_url, scenario)


def test_a_cancellation_has_the_server_cancel_the_statement_and_leaves_the_connection_usable(postgres_url: str) -> None:
    async def scenario(connection: AsyncConnection) -> None:
        asked = asyncio.ensure_future(connection.run_sync(fetched, "select pg_sleep(60)"))
        await asyncio.sleep(0.2)
        began = time.monotonic()
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        assert time.monotonic() - began < 30
        await connection.run_sync(lambda one: piped(one).roll_back())
        assert await connection.run_sync(fetched, "select 1") == (1,)

    on_a_connection(postgres_url, scenario)


def test_a_connection_that_another_task_closes_is_noticed_by_who_waits_for_it(postgres_url: str) -> None:
    # The loop says nothing of a socket that is closed on this side.
    async def scenario(connection: AsyncConnection) -> None:
        driver: Any = (await connection.get_raw_connection()).driver_connection
        asked = asyncio.ensure_future(connection.run_sync(fetched, "select pg_sleep(60)"))
        await asyncio.sleep(0.2)
        driver.pgconn.finish()
        assert (await asyncio.wait([asked], timeout=10))[0]
        with pytest.raises(psycopg.Error):
            await asked
        await connection.invalidate()

    on_a_connection(postgres_url, scenario)


def test_a_connection_that_the_server_ends_is_noticed_by_who_waits_for_it(postgres_url: str) -> None:
    async def scenario(connection: AsyncConnection) -> None:
        [pid] = await connection.run_sync(fetched, "select pg_backend_pid()")
        asked = asyncio.ensure_future(connection.run_sync(fetched, "select pg_sleep(60)"))
        await asyncio.sleep(0.2)
        with_another(postgres_url, "select pg_terminate_backend(%s)", pid)
        assert (await asyncio.wait([asked], timeout=10))[0]
        with pytest.raises(psycopg.Error):
            await asked
        await connection.invalidate()

    on_a_connection(postgres_url, scenario)


@pytest.mark.usefixtures("asleep")
def test_a_cancellation_with_the_answer_there_already_leaves_the_connection_usable(postgres_url: str) -> None:
    async def scenario(connection: AsyncConnection) -> None:
        asked = asyncio.ensure_future(connection.run_sync(fetched, "select 1"))
        await asyncio.sleep(0)
        time.sleep(0.2)  # the loop has not looked yet  # noqa: ASYNC251
        asked.cancel("that will do")
        with pytest.raises(asyncio.CancelledError, match="that will do"):
            await asked
        await connection.run_sync(lambda one: piped(one).roll_back())
        assert await connection.run_sync(fetched, "select 2") == (2,)

    on_a_connection(postgres_url, scenario)


@pytest.mark.usefixtures("asleep")
def test_a_second_cancellation_in_the_same_turn_changes_nothing(postgres_url: str) -> None:
    async def scenario(connection: AsyncConnection) -> None:
        asked = asyncio.ensure_future(connection.run_sync(fetched, "select pg_sleep(60)"))
        await asyncio.sleep(0.1)
        assert [asked.cancel(), asked.cancel()] == [True, True]
        assert (await asyncio.wait([asked], timeout=30))[0]
        assert asked.cancelled()
        await connection.run_sync(lambda one: piped(one).roll_back())
        assert await connection.run_sync(fetched, "select 2") == (2,)

    on_a_connection(postgres_url, scenario)


@pytest.mark.usefixtures("asleep")
def test_a_time_limit_of_asyncio_s_ends_the_wait(postgres_url: str) -> None:
    async def scenario(connection: AsyncConnection) -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await connection.run_sync(fetched, "select pg_sleep(60)")
        await connection.run_sync(lambda one: piped(one).roll_back())
        assert await connection.run_sync(fetched, "select 1") == (1,)

    on_a_connection(postgres_url, scenario)


@pytest.mark.usefixtures("asleep")
def test_psycopg_may_wait_for_the_same_connection_in_between(postgres_url: str) -> None:
    async def scenario(connection: AsyncConnection) -> None:
        for n in range(3):
            assert await connection.run_sync(fetched, "select 1") == (1,)
            assert (await connection.exec_driver_sql("select pg_sleep(0.05)::text, 2")).scalars(1).one() == 2
            asked = asyncio.ensure_future(connection.run_sync(fetched, "select pg_sleep(60)"))
            await asyncio.sleep(0.05)
            asked.cancel()  # psycopg goes on with the wait
            await asyncio.wait([asked])
            assert asked.cancelled(), n
            await connection.run_sync(lambda one: piped(one).roll_back())

    on_a_connection(postgres_url, scenario)


@pytest.mark.usefixtures("asleep")
def test_answers_that_come_together_wake_everybody(postgres_url: str) -> None:
    async def scenario() -> list[Any]:
        engine = async_engine(postgres_url, pool_size=20)

        async def one(n: int) -> Any:
            async with engine.connect() as connection:
                return await connection.run_sync(fetched, "select %(n)s::int", n=n)

        async def later() -> None:
            await asyncio.sleep(0.3)
            time.sleep(0.3)  # all of them are answered when the loop looks again  # noqa: ASYNC251

        try:
            await asyncio.gather(*(one(n) for n in range(20)))
            _, *found = await asyncio.gather(later(), *(one(n) for n in range(20)))
        finally:
            await engine.dispose()
        return found

    assert asyncio.run(scenario()) == [(n,) for n in range(20)]


@with_epoll
@pytest.mark.usefixtures("asleep")
def test_who_waits_for_a_socket_with_the_number_of_one_that_was_closed_is_woken(postgres_url: str) -> None:
    async def scenario(connection: AsyncConnection) -> None:
        driver: Any = (await connection.get_raw_connection()).driver_connection
        number = driver.fileno()
        abandoned = asyncio.ensure_future(connection.run_sync(fetched, "select pg_sleep(60)"))
        await asyncio.sleep(0.1)
        driver.pgconn.finish()
        engine = async_engine(postgres_url)
        async with engine.connect() as successor:
            assert (await successor.get_raw_connection()).driver_connection.fileno() == number  # type: ignore[union-attr]
            asked = asyncio.ensure_future(successor.run_sync(fetched, "select 1 from pg_sleep(0.3)"))
            await asyncio.sleep(0.1)
            abandoned.cancel()
            assert (await asyncio.wait([abandoned]))[0]
            assert await asyncio.wait_for(asked, 10) == (1,)
        await engine.dispose()
        await connection.invalidate()

    on_a_connection(postgres_url, scenario)


def test_a_notification_that_nobody_waits_for_does_not_keep_the_event_loop_busy(postgres_url: str) -> None:
    selector = CountingSelector()

    async def scenario(connection: AsyncConnection) -> None:
        await connection.run_sync(fetched, "select 1")
        await connection.exec_driver_sql("listen news")
        await connection.commit()
        with_another(postgres_url, "notify news")
        before = selector.turns
        await asyncio.sleep(0.3)
        assert selector.turns - before < 10
        assert await connection.run_sync(fetched, "select 2") == (2,)

    on_a_connection(postgres_url, scenario, lambda: asyncio.SelectorEventLoop(selector))


@pytest.mark.usefixtures("asleep")
def test_an_answer_takes_one_turn_of_the_event_loop(postgres_url: str) -> None:
    selector = CountingSelector()

    async def scenario(connection: AsyncConnection) -> None:
        await connection.run_sync(fetched, "select 1")
        before = selector.turns
        for _ in range(50):
            await connection.run_sync(fetched, "select 1")
        assert 50 <= selector.turns - before < 75  # some come in two parts

    on_a_connection(postgres_url, scenario, lambda: asyncio.SelectorEventLoop(selector))


class Witness:
    """Something to be seen in a context."""


def test_a_task_keeps_its_context_over_a_wait_and_the_event_loop_does_not_keep_it(postgres_url: str) -> None:
    variable: ContextVar[Witness] = ContextVar("variable")

    async def scenario(connection: AsyncConnection) -> None:
        async def ask() -> ref[Witness]:
            variable.set(witness := Witness())
            await connection.run_sync(fetched, "select pg_sleep(0.05)::text")
            assert variable.get() is witness
            return ref(witness)

        seen = [await asyncio.create_task(ask()) for _ in range(3)]
        await asyncio.sleep(2 * awaiting._LOOK_AGAIN)
        gc.collect()
        assert [one() for one in seen] == [None, None, None]

    on_a_connection(postgres_url, scenario)


def test_a_connection_may_be_used_in_one_event_loop_after_another_and_keeps_none_of_those_before(postgres_url: str) -> None:
    engine = async_engine(postgres_url, pool_size=1)

    async def ask() -> Any:
        async with engine.connect() as connection:
            return await connection.run_sync(lambda one: (fetched(one, "select 1"), fetched(one, "select pg_backend_pid()")))

    def in_a_loop() -> tuple[ref[asyncio.AbstractEventLoop], Any]:
        with asyncio.Runner() as runner:
            return ref(runner.get_loop()), runner.run(ask())

    seen = [in_a_loop() for _ in range(3)]
    asyncio.run(engine.dispose())
    assert len({answer for _, answer in seen}) == 1
    gc.collect()
    assert [one() for one, _ in seen[:-1]] == [None, None]
