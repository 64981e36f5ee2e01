"""A nested lifecycle is right under tasks that yield inside a guard: `has_value` loads the lines lazily."""

from __future__ import annotations

import asyncio
from decimal import Decimal

from sqlalchemy import make_url
from sqlalchemy.ext.asyncio import create_async_engine

from examples.orders.app import app
from examples.orders.model import Base
from examples.orders.use_cases import AddLine, CreateOrder, Pack, Pay, Ship, StartFulfilment, Submit
from usecasecore import AsyncRuntime
from usecasecore.errors import GuardRejected

DRIVERS = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg"}


def test_forty_orders_at_once_each_end_where_they_should(database_url: str) -> None:
    url = make_url(database_url)

    async def life(runtime: AsyncRuntime, number: int) -> str:
        order_id = (await runtime.execute(CreateOrder(customer=f"c{number}"))).order_id
        if number % 2:
            try:
                await runtime.execute(Submit(order_id=order_id))
            except GuardRejected:
                return "draft"
        await runtime.execute(AddLine(order_id=order_id, article="lamp", quantity=1, unit_price=Decimal(5)))
        for command in (
            Submit(order_id=order_id),
            Pay(order_id=order_id, amount=Decimal(5), card_token="tok"),
            StartFulfilment(order_id=order_id),
            Pack(order_id=order_id),
        ):
            state = (await runtime.execute(command)).state
        if number % 4 == 0:
            state = (await runtime.execute(Ship(order_id=order_id, tracking="T"))).state
        return state

    async def scenario() -> list[str]:
        engine = create_async_engine(url.set(drivername=DRIVERS[url.get_backend_name()]), pool_size=20, max_overflow=30)
        async with engine.begin() as connection:
            await connection.run_sync(Base.metadata.create_all)
        runtime = AsyncRuntime(engine, app)
        states = await asyncio.gather(*(life(runtime, number) for number in range(40)))
        await engine.dispose()
        return list(states)

    states = asyncio.run(scenario())
    assert states == [("draft" if n % 2 else "shipped" if n % 4 == 0 else "fulfilment_packed") for n in range(40)]
