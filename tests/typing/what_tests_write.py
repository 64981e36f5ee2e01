"""What users' tests write with `usecasecore.testing`, as a type checker sees it. Never run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, assert_type
from uuid import UUID

from sqlalchemy import Engine
from sqlalchemy.ext.asyncio import AsyncEngine

from usecasecore import Application, AsyncRuntime, Command, DomainEvent, Job, Outcome, Result, Runtime
from usecasecore.errors import GuardRejected, Rejected
from usecasecore.ledger.reading import RecordedEntry
from usecasecore.testing import AsyncScenario, Scenario, async_scenario_on, scenario_on


class Paid(Result):
    order_id: UUID


class Pay(Command[Paid]):
    order_id: UUID


class OrderPaid(DomainEvent):
    order_id: UUID


class SendReceipt(Job):
    order_id: UUID


def synchronous(scenario: Scenario, pay: Pay) -> None:
    assert_type(scenario.runtime, Runtime)
    assert_type(scenario.execute(pay), Paid)
    assert_type(scenario.run(pay, reason="it came"), Outcome[Paid])
    assert_type(scenario.assert_refused(pay, GuardRejected), Rejected)
    assert_type(scenario.assert_emitted(OrderPaid), OrderPaid)
    assert_type(scenario.assert_emitted("order.paid", times=1), Mapping[str, Any])
    assert_type(scenario.assert_enqueued(SendReceipt), SendReceipt)
    assert_type(scenario.assert_audited(trigger="pay"), RecordedEntry)
    assert_type(scenario.replay(pay), Outcome[Paid])


async def asynchronous(scenario: AsyncScenario, pay: Pay) -> None:
    assert_type(scenario.runtime, AsyncRuntime)
    assert_type(await scenario.execute(pay), Paid)
    assert_type(await scenario.run(pay, reason="it came"), Outcome[Paid])
    assert_type(await scenario.assert_refused(pay, GuardRejected), Rejected)
    assert_type(await scenario.assert_emitted(OrderPaid), OrderPaid)
    assert_type(await scenario.assert_emitted("order.paid", times=1), Mapping[str, Any])
    assert_type(await scenario.assert_enqueued(SendReceipt), SendReceipt)
    assert_type(await scenario.assert_audited(trigger="pay"), RecordedEntry)
    assert_type(await scenario.replay(pay), Outcome[Paid])


def made(engine: Engine, async_engine: AsyncEngine, application: Application) -> None:
    with scenario_on(Runtime(engine, application)) as one:
        assert_type(one, Scenario)
    with async_scenario_on(AsyncRuntime(async_engine, application)) as other:
        assert_type(other, AsyncScenario)


async def misuse(scenario: AsyncScenario, pay: Pay) -> None:
    await scenario.execute("pay")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await scenario.assert_emitted(SendReceipt)  # type: ignore[type-var]  # pyright: ignore[reportArgumentType, reportCallIssue]
