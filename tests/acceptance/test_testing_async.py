"""The asynchronous fixtures of the pytest plugin, on a project of a user's."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.exc import IntegrityError

from tests.acceptance.test_testing_plugin import Run, project, run
from usecasecore.testing.async_engines import async_rolled_back

__all__ = ["project", "run"]

# pytester forgets what a run in this process has imported. The drivers are imported here, as an extension module that is imported anew
# may crash the process.
IMPORTED = [import_module(name) for name in ("aiosqlite", "asyncpg", "psycopg")]

DRIVERS = ("sqlite+aiosqlite", "postgresql+psycopg", "postgresql+asyncpg")


@pytest.fixture(params=DRIVERS)
def url(request: pytest.FixtureRequest) -> str:
    if request.param.startswith("sqlite"):
        return "sqlite://"
    address = make_url(request.getfixturevalue("postgres_url"))
    return address.set(drivername=request.param).render_as_string(hide_password=False)


TESTS = """
import asyncio
from datetime import timedelta

import pytest
from plugin_orders import Cancel, Order, OrderPaid, Pay, SendReceipt, Submit
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from usecasecore.errors import TransitionNotAllowed
from usecasecore.testing import crash_after

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend():
    return "asyncio"


async def count(engine):
    async with AsyncSession(engine) as session:
        return await session.scalar(select(func.count()).select_from(Order))


@pytest.mark.parametrize("again", [1, 2])
async def test_each_test_starts_with_an_empty_database(again, async_scenario, usecasecore_async_engine):
    assert await count(usecasecore_async_engine) == 0
    await async_scenario.given("order", state="paid")
    assert await count(usecasecore_async_engine) == 1


async def test_paying(async_scenario, usecasecore_async_runtime, usecasecore_clock):
    order = await async_scenario.given("order", state="submitted", total=7)
    assert (order.total, order.state) == (7, "submitted")
    later = usecasecore_clock.advance(timedelta(days=3))
    await async_scenario.execute(Pay(order_id=order.id), reason="it came")
    await async_scenario.assert_emitted(OrderPaid, order_id=order.id, times=1)
    await async_scenario.assert_enqueued(SendReceipt)
    entry = await async_scenario.assert_audited(trigger="pay", reason="it came")
    assert (entry.actor, entry.occurred_at) == ("user:tester", later)
    refusal = await async_scenario.assert_refused(Pay(order_id=order.id), code="transition_not_allowed")
    assert refusal.version == order.version + 1
    assert (await async_scenario.reload(order)).state == "paid"
    with pytest.raises(AssertionError, match="no order.paid was emitted|was emitted"):
        await async_scenario.assert_emitted(OrderPaid, times=2)


async def test_a_replay_and_a_crash(async_scenario):
    order = await async_scenario.given("order", state="submitted")
    with crash_after("audit"):
        await async_scenario.execute(Pay(order_id=order.id), idempotency_key="k")
    await async_scenario.replay(Pay(order_id=order.id), idempotency_key="k")
    await async_scenario.assert_emitted(OrderPaid, times=1)


async def test_commands_of_several_tasks_queue_up(async_scenario):
    orders = [await async_scenario.given("order", state="submitted") for _ in range(3)]
    commands = [async_scenario.run(Pay(order_id=order.id)) for order in orders]
    assert [one.result.state for one in await asyncio.gather(*commands)] == ["paid"] * 3


@pytest.mark.usecasecore_commits
async def test_with_connections_of_their_own_two_meet(async_scenario):
    order = await async_scenario.given("order", state="submitted")
    both = async_scenario.run(Pay(order_id=order.id)), async_scenario.run(Cancel(order_id=order.id))
    won, lost = sorted(await asyncio.gather(*both, return_exceptions=True), key=lambda one: isinstance(one, Exception))
    assert isinstance(lost, TransitionNotAllowed)
    assert (await async_scenario.reload(order)).state == won.result.state


class TestWithoutAPlugin:
    pytestmark = []

    @pytest.mark.parametrize("again", [1, 2])
    def test_in_a_loop_of_its_own(self, again, async_scenario, usecasecore_async_engine):
        async def main():
            assert await count(usecasecore_async_engine) == 0
            return await async_scenario.given("order", state="submitted")

        assert asyncio.run(main()).state == "submitted"

    def test_that_never_opens_it(self, usecasecore_async_runtime):
        assert usecasecore_async_runtime.application.name == "plugin"
"""


def test_asynchronous_tests_have_everything_at_hand_on_each_driver(run: Run, project: Path, url: str) -> None:
    run(TESTS, f"--usecasecore-url={url}", "-W", "error", "-v").assert_outcomes(passed=9)
    if not url.startswith("sqlite"):
        nothing_is_left(url)


def nothing_is_left(url: str) -> None:
    engine = create_engine(make_url(url).set(drivername="postgresql+psycopg"))
    with engine.connect() as connection:
        for table in ("plugin_orders", "usecasecore_audit", "usecasecore_outbox"):
            assert connection.execute(text(f"select count(*) from {table}")).scalar() == 0
        left = "select count(*) from pg_namespace where nspname like 'usecasecore%'"
        assert connection.execute(text(left)).scalar() == 0
        others = "select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
        assert connection.execute(text(others)).scalar() == 0
    engine.dispose()


@pytest.mark.parametrize("driver", ["postgresql+psycopg", "postgresql+asyncpg"])
def test_a_transaction_that_is_ended_past_the_runtime_fails_the_test(run: Run, postgres_url: str, driver: str) -> None:
    tests = """
import asyncio


def test_that_commits(usecasecore_async_engine):
    async def main():
        async with usecasecore_async_engine.connect() as connection:
            driver = (await connection.get_raw_connection()).driver_connection
            await driver.execute("commit")

    asyncio.run(main())
"""
    url = make_url(postgres_url).set(drivername=driver).render_as_string(hide_password=False)
    result = run(tests, f"--usecasecore-url={url}")
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*the test's transaction ended before the test did*"])


@pytest.mark.parametrize("driver", ["postgresql+psycopg", "postgresql+asyncpg"])
def test_a_deferred_constraint_is_checked_where_the_commit_would_and_spoils_nothing_else(postgres_url: str, driver: str) -> None:
    async def main() -> None:
        async with engine.begin() as connection:
            await connection.execute(
                text("create table nodes (id int primary key, parent int references nodes deferrable initially deferred)")
            )
        with pytest.raises(IntegrityError):
            async with engine.begin() as connection:
                await connection.execute(text("insert into nodes values (1, 2)"))
        async with engine.begin() as connection:
            await connection.execute(text("insert into nodes values (3, 3)"))
        async with engine.connect() as connection:
            assert (await connection.scalars(text("select id from nodes"))).all() == [3]

    with async_rolled_back(make_url(postgres_url).set(drivername=driver).render_as_string(hide_password=False)) as engine:
        asyncio.run(main())


def test_a_failure_shows_the_story_of_an_asynchronous_command(run: Run) -> None:
    tests = """
import asyncio
from plugin_orders import Pay


def test_one(async_scenario):
    async def main():
        order = await async_scenario.given("order")
        await async_scenario.execute(Pay(order_id=order.id))

    asyncio.run(main())
"""
    result = run(tests)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["*- what the last commands did -*", "PayOrder: Pay(order_id=*", "*refused: pay on Order: not declared for draft"]
    )


def test_a_second_event_loop_is_told_that_the_database_went_with_the_first(run: Run) -> None:
    tests = """
import asyncio
import pytest


def test_one(async_scenario):
    async def main():
        await async_scenario.given("order")

    asyncio.run(main())
    with pytest.raises(RuntimeError, match="a test has one event loop"):
        asyncio.run(main())
"""
    run(tests).assert_outcomes(passed=1)


def test_a_synchronous_fixture_on_an_asynchronous_url_names_the_other_one(run: Run) -> None:
    tests = "import pytest\n@pytest.mark.usecasecore_commits\ndef test_one(scenario): ...\ndef test_two(scenario): ...\n"
    result = run(tests, "--usecasecore-url=postgresql+asyncpg://nobody@127.0.0.1/x")
    result.assert_outcomes(errors=2)
    result.stdout.fnmatch_lines(["*is for asyncio, so for `usecasecore_async_runtime` and `async_scenario`; here `sqlite://`*"])


@pytest.mark.parametrize(
    ("missing", "told"),
    [
        ("greenlet", '*pip install "usecasecore?asyncio?"'),
        ("aiosqlite", '*need aiosqlite here: pip install "usecasecore?asyncio?" aiosqlite'),
    ],
)
def test_what_is_not_installed_names_itself(project: Path, missing: str, told: str) -> None:
    (project / "conftest.py").write_text(f"import sys\nsys.modules[{missing!r}] = None\n")
    (project / "test_one.py").write_text("def test_one(async_scenario): ...\n")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:anyio"]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, timeout=100, check=False)
    assert "1 error" in done.stdout
    pytest.LineMatcher(done.stdout.splitlines()).fnmatch_lines([told])
