"""Waiting for psycopg's asynchronous connections: what psycopg itself promises of that must hold here too."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import psycopg
import pytest
from sqlalchemy import Connection
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from usecasecore.pipeline import Pipeline, pipeline_of


def on_a_connection(postgres_url: str, scenario: Callable[[AsyncConnection], Awaitable[None]]) -> None:
    async def run() -> None:
        engine = create_async_engine(make_url(postgres_url).set(drivername="postgresql+psycopg_async"))
        try:
            async with engine.connect() as connection:
                await scenario(connection)
        finally:
            await engine.dispose()

    asyncio.run(run())


def piped(connection: Connection) -> Pipeline:
    found = pipeline_of(connection)
    assert found is not None
    return found


def fetched(connection: Connection, text: str, /, **parameters: Any) -> Any:
    return piped(connection).execute(text, parameters).fetchone()


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
        with psycopg.connect(make_url(postgres_url).set(drivername="postgresql").render_as_string(hide_password=False)) as other:
            other.execute("select pg_terminate_backend(%s)", [pid])
        assert (await asyncio.wait([asked], timeout=10))[0]
        with pytest.raises(psycopg.Error):
            await asked
        await connection.invalidate()

    on_a_connection(postgres_url, scenario)
