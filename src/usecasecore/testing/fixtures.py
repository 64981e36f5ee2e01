"""The fixtures and marks of the pytest plugin. Everything is imported when a test asks for it."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import Engine
    from sqlalchemy.ext.asyncio import AsyncEngine

    from usecasecore.application import Application
    from usecasecore.context import Actor
    from usecasecore.runtime import Runtime
    from usecasecore.runtime.asynchronous import AsyncRuntime
    from usecasecore.runtime.storyteller import Storyteller
    from usecasecore.testing.async_scenario import AsyncScenario
    from usecasecore.testing.clock import CountedIds, SetClock
    from usecasecore.testing.database import Prepare
    from usecasecore.testing.factories import Factories
    from usecasecore.testing.matrix import Cell
    from usecasecore.testing.scenario import Scenario

_COMMITS = "usecasecore_commits"
_MATRIX = "lifecycle_matrix"
_VARIABLE = "USECASECORE_TEST_URL"
_STORIES = 3
_ENGINES = {"usecasecore_engine", "usecasecore_async_engine"}
_TELLER: pytest.StashKey[Storyteller] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that says which database to test on."""
    told = "the database that the fixtures of usecasecore run on: sqlite:// (in memory, the default) or a PostgreSQL URL"
    parser.getgroup("usecasecore", "tests of use cases (usecasecore)").addoption("--usecasecore-url", metavar="URL", help=told)
    parser.getgroup("usecasecore").addoption(
        "--usecasecore-story",
        choices=("fixtures", "all", "none"),
        default="fixtures",
        help="show what the last commands of a failed test did: of tests that use the fixtures of usecasecore (the default), "
        "of all, or of none",
    )
    parser.addini("usecasecore_url", f"{told}; --usecasecore-url and ${_VARIABLE} win over it", default="")


def pytest_configure(config: pytest.Config) -> None:
    """Make the marks known."""
    config.addinivalue_line(
        "markers", f"{_COMMITS}: the test's runtime has real connections and commits, on a database or schema of its own"
    )
    config.addinivalue_line(
        "markers", f"{_MATRIX}(lifecycle, expect=None, app=None): one test, with the fixture `cell`, for each state and use case"
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make one test of each cell, where the mark asks for it."""
    mark = metafunc.definition.get_closest_marker(_MATRIX)
    if mark is None:
        return
    if "cell" not in metafunc.fixturenames:
        pytest.fail(f"{metafunc.function.__name__}: with the mark {_MATRIX} a test takes the argument `cell`", pytrace=False)
    if len(mark.args) != 1 or not mark.kwargs.keys() <= {"expect", "app"}:
        pytest.fail(
            f'the mark is written {_MATRIX}("order", expect={{...}}, app=...); the last two may be left out', pytrace=False
        )
    from usecasecore.testing.application import find_application
    from usecasecore.testing.matrix import cells_of

    try:
        application = mark.kwargs.get("app") or find_application(metafunc.config.rootpath)
        cells = cells_of(application, mark.args[0], mark.kwargs.get("expect"))
    except (LookupError, ValueError) as error:
        pytest.fail(str(error), pytrace=False)
    metafunc.parametrize("cell", cells, ids=map(str, cells), indirect=True)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Write down what the commands of a test do, where that may be shown."""
    which = item.config.getoption("usecasecore_story")
    if which == "none" or (which == "fixtures" and _ENGINES.isdisjoint(getattr(item, "fixturenames", ()))):
        return (yield)
    from usecasecore.runtime.storyteller import Storyteller

    item.stash[_TELLER] = teller = Storyteller(_STORIES)
    with teller.listening():
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the stories to the report of a failure."""
    report = yield
    teller = item.stash.get(_TELLER, None)
    if report.failed and teller is not None and (stories := teller.stories):
        report.sections.append(("what the last commands did", "\n\n".join(map(str, stories))))
    return report


@pytest.fixture(scope="session")
def usecasecore_url(pytestconfig: pytest.Config) -> str:
    """The database to test on; --usecasecore-url > USECASECORE_TEST_URL > the ini's usecasecore_url > SQLite in memory."""
    from usecasecore.testing.database import dialect_of

    ini: str = pytestconfig.getini("usecasecore_url")
    url: str = pytestconfig.getoption("usecasecore_url") or os.environ.get(_VARIABLE) or ini or "sqlite://"
    try:
        dialect_of(url, asynchronous=True)
    except ValueError as error:
        pytest.fail(str(error), pytrace=False)
    return url


@pytest.fixture(scope="session")
def usecasecore_app(pytestconfig: pytest.Config) -> Application:
    """The application; override it, or name it by `[tool.usecasecore] app` in pyproject.toml."""
    from usecasecore.testing.application import NoApplication, find_application

    try:
        return find_application(pytestconfig.rootpath)
    except NoApplication as error:
        pytest.fail(str(error), pytrace=False)


@pytest.fixture(scope="session")
def usecasecore_prepare(usecasecore_app: Application) -> Prepare:
    """Called with a connection, makes the tables and the ledger where they are missing; override it to run your migrations."""
    from usecasecore.testing.database import prepares

    return prepares(usecasecore_app)


@pytest.fixture(scope="session")
def _usecasecore_database(usecasecore_url: str, usecasecore_prepare: Prepare) -> Iterator[Any]:
    """Make what each test has a new copy of, or is rolled back on: a function that yields an engine."""
    from functools import partial

    from usecasecore.testing import database

    try:
        dialect = database.dialect_of(usecasecore_url)
    except ValueError as error:
        pytest.fail(str(error), pytrace=False)
    if dialect == "postgresql":
        database.prepared_once(usecasecore_url, usecasecore_prepare)
        yield partial(database.rolled_back, usecasecore_url)
        return
    template = database.template_in_memory(usecasecore_prepare)
    yield partial(database.copied_in_memory, template)
    template.dispose()


@pytest.fixture
def usecasecore_engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """The test's engine: of one connection whose test leaves nothing behind; with the mark `usecasecore_commits` of many."""
    if request.node.get_closest_marker(_COMMITS) is None:
        make = request.getfixturevalue("_usecasecore_database")
        with make() as engine:
            yield engine
        return
    from usecasecore.testing.database import dialect_of, of_its_own

    directory: Path = request.getfixturevalue("tmp_path")
    url, prepare = request.getfixturevalue("usecasecore_url"), request.getfixturevalue("usecasecore_prepare")
    try:
        dialect_of(url)
    except ValueError as error:
        pytest.fail(str(error), pytrace=False)
    with of_its_own(url, prepare, directory) as engine:
        yield engine


@pytest.fixture
def usecasecore_options() -> dict[str, Any]:
    """Further arguments of `Runtime`, such as `tenancy` and `limits`; override it."""
    return {}


@pytest.fixture
def usecasecore_clock() -> SetClock:
    """The runtime's clock, which stands still until the test sets it."""
    from usecasecore.testing.clock import SetClock

    return SetClock()


@pytest.fixture
def usecasecore_ids() -> Iterator[CountedIds]:
    """Has all ids counted from 1, while the test runs that asks for it."""
    from usecasecore.ids import supplied_by
    from usecasecore.testing.clock import CountedIds

    counted = CountedIds()
    with supplied_by(counted):
        yield counted


@pytest.fixture
def usecasecore_runtime(
    usecasecore_engine: Engine, usecasecore_app: Application, usecasecore_clock: SetClock, usecasecore_options: dict[str, Any]
) -> Runtime:
    """A runtime of the application, on a database that is as if no test had run before."""
    from usecasecore.runtime import Runtime

    return Runtime(usecasecore_engine, usecasecore_app, **{"clock": usecasecore_clock, **usecasecore_options})


@pytest.fixture
def usecasecore_actor() -> Actor:
    """Who asks, where the test names nobody; override it."""
    from usecasecore.testing.scenario import TESTER

    return TESTER


@pytest.fixture
def usecasecore_factories() -> Factories:
    """How commands are made that can't be made up: {Pay: lambda order_id: Pay(order_id=order_id, card="4242")}; override it."""
    return {}


@pytest.fixture
def scenario(usecasecore_runtime: Runtime, usecasecore_actor: Actor, usecasecore_factories: Factories) -> Iterator[Scenario]:
    """The runtime with everything to test with; what follows is one of its methods each."""
    from usecasecore.testing.scenario import scenario_on

    with scenario_on(usecasecore_runtime, actor=usecasecore_actor, factories=usecasecore_factories) as made:
        yield made


@pytest.fixture(scope="session")
def usecasecore_async_url(usecasecore_url: str) -> str:
    """The same database for an `AsyncRuntime`, on aiosqlite, psycopg or asyncpg; override it to choose."""
    try:
        from usecasecore.testing.async_engines import asynchronous

        return asynchronous(usecasecore_url)
    except (ImportError, ValueError) as error:
        pytest.fail(str(error), pytrace=False)


@pytest.fixture(scope="session")
def _usecasecore_async_database(usecasecore_async_url: str, usecasecore_prepare: Prepare) -> Iterator[Any]:
    """Do what `_usecasecore_database` does: a function that yields an asynchronous engine."""
    from functools import partial

    from usecasecore.testing import async_engines

    if not usecasecore_async_url.startswith("sqlite"):
        async_engines.async_prepared_once(usecasecore_async_url, usecasecore_prepare)
        yield partial(async_engines.async_rolled_back, usecasecore_async_url)
        return
    template = async_engines.async_template(usecasecore_prepare)
    yield partial(async_engines.async_copied_in_memory, template)
    template.close()


@pytest.fixture
def usecasecore_async_engine(request: pytest.FixtureRequest) -> Iterator[AsyncEngine]:
    """The test's asynchronous engine, as `usecasecore_engine`; its database is open as long as the test's event loop."""
    if request.node.get_closest_marker(_COMMITS) is None:
        make = request.getfixturevalue("_usecasecore_async_database")
        with make() as engine:
            yield engine
        return
    url: str = request.getfixturevalue("usecasecore_async_url")
    from usecasecore.testing.async_engines import async_of_its_own

    directory: Path = request.getfixturevalue("tmp_path")
    with async_of_its_own(url, request.getfixturevalue("usecasecore_prepare"), directory) as engine:
        yield engine


@pytest.fixture
def usecasecore_async_runtime(
    usecasecore_async_engine: AsyncEngine,
    usecasecore_app: Application,
    usecasecore_clock: SetClock,
    usecasecore_options: dict[str, Any],
) -> AsyncRuntime:
    """An `AsyncRuntime` of the application, on a database that is as if no test had run before."""
    from usecasecore.runtime.asynchronous import AsyncRuntime

    return AsyncRuntime(usecasecore_async_engine, usecasecore_app, **{"clock": usecasecore_clock, **usecasecore_options})


@pytest.fixture
def async_scenario(
    usecasecore_async_runtime: AsyncRuntime, usecasecore_actor: Actor, usecasecore_factories: Factories
) -> Iterator[AsyncScenario]:
    """The asynchronous runtime with everything to test with: `await async_scenario.given("order", state="paid")`."""
    from usecasecore.testing.async_scenario import async_scenario_on

    with async_scenario_on(usecasecore_async_runtime, actor=usecasecore_actor, factories=usecasecore_factories) as made:
        yield made


@pytest.fixture
def given(scenario: Scenario) -> Callable[..., Any]:
    """`given("order", state="paid")`, see `Scenario.given`."""
    return scenario.given


@pytest.fixture
def assert_refused(scenario: Scenario) -> Callable[..., Any]:
    """`assert_refused(command, code="guard_rejected")`, see `Scenario.assert_refused`."""
    return scenario.assert_refused


@pytest.fixture
def assert_emitted(scenario: Scenario) -> Callable[..., Any]:
    """`assert_emitted(OrderPaid, order_id=...)`, see `Scenario.assert_emitted`."""
    return scenario.assert_emitted


@pytest.fixture
def assert_enqueued(scenario: Scenario) -> Callable[..., Any]:
    """`assert_enqueued(SendReceipt, order_id=...)`, see `Scenario.assert_enqueued`."""
    return scenario.assert_enqueued


@pytest.fixture
def assert_audited(scenario: Scenario) -> Callable[..., Any]:
    """`assert_audited(trigger="pay", actor="user:ada")`, see `Scenario.assert_audited`."""
    return scenario.assert_audited


@pytest.fixture
def race(scenario: Scenario) -> Callable[..., Any]:
    """`race(command_a, command_b)`, see `Scenario.race`; for tests with the mark `usecasecore_commits`."""
    return scenario.race


@pytest.fixture
def replay(scenario: Scenario) -> Callable[..., Any]:
    """`replay(command)`, see `Scenario.replay`."""
    return scenario.replay


@pytest.fixture
def cell(request: pytest.FixtureRequest, scenario: Scenario) -> Iterator[Cell]:
    """A use case in a state, for tests with the mark `lifecycle_matrix`; `cell.check()` is the test."""
    from dataclasses import replace

    if not hasattr(request, "param"):
        pytest.fail(f'`cell` is for tests with the mark @pytest.mark.{_MATRIX}("order")', pytrace=False)
    one: Cell = replace(request.param, scenario=scenario)
    yield one
    if not one.checked:
        pytest.fail(f"{one}: the test did not call cell.check()", pytrace=False)
