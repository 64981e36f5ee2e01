"""The fixtures of the pytest plugin, on a project of a user's."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

ROOT = Path(__file__).parents[2]

APP = """
from enum import StrEnum
from typing import Annotated, ClassVar
from uuid import UUID

from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from usecasecore import (
    AllowAll, Application, Command, DomainEvent, ExecutionContext, Job, Key, Lifecycle, Result, Transition, UseCase, guard,
    state_column, uuid7, version_column,
)


class Base(DeclarativeBase):
    pass


class OrderState(StrEnum):
    DRAFT = "draft"
    SUBMITTED = "submitted"
    PAID = "paid"
    CANCELLED = "cancelled"


class Order(Base):
    __tablename__ = "plugin_orders"
    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid7)
    total: Mapped[int]
    note: Mapped[str] = mapped_column(default="")
    state: Mapped[OrderState] = state_column(OrderState)
    version: Mapped[int] = version_column()
    lifecycle: ClassVar = Lifecycle(
        states=OrderState,
        initial="draft",
        transitions=[
            Transition("submit", "draft", "submitted", conditions="has_value"),
            Transition("pay", "submitted", "paid"),
            ["cancel", ["draft", "submitted"], "cancelled"],
        ],
    )

    @guard("an order must be worth something before it is submitted")
    def has_value(self) -> bool:
        return self.total > 0


OrderId = Annotated[UUID, Key(Order.id)]


class Done(Result):
    order_id: UUID
    state: str


class OrderPaid(DomainEvent, name="order.paid"):
    order_id: UUID


class SendReceipt(Job):
    order_id: UUID


class Create(Command[Done]):
    total: int


class Submit(Command[Done]):
    order_id: OrderId


class Pay(Command[Done]):
    order_id: OrderId


class Cancel(Command[Done]):
    order_id: OrderId


class Annotate(Command[Done]):
    order_id: OrderId
    note: str


def done(order):
    return Done(order_id=order.id, state=order.state)


class CreateOrder(UseCase[Create, None, Done]):
    creates = Order

    def apply(self, command, state, context, /):
        return done(context.create(Order(total=command.total, note="")))


class SubmitOrder(UseCase[Submit, Order, Done]):
    trigger = "submit"

    def apply(self, command, order, context, /):
        return done(order)


class PayOrder(UseCase[Pay, Order, Done]):
    trigger = "pay"
    emits = (OrderPaid,)
    enqueues = (SendReceipt,)

    def apply(self, command, order, context, /):
        context.emit(OrderPaid(order_id=order.id))
        context.enqueue(SendReceipt(order_id=order.id))
        return done(order)


class CancelOrder(UseCase[Cancel, Order, Done]):
    trigger = "cancel"

    def apply(self, command, order, context, /):
        return done(order)


class AnnotateOrder(UseCase[Annotate, Order, Done]):
    def apply(self, command, order, context, /):
        order.note = command.note
        return done(order)


app = Application([CreateOrder, SubmitOrder, PayOrder, CancelOrder, AnnotateOrder], policy=AllowAll(), name="plugin")
"""

Run = Callable[..., pytest.RunResult]


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("USECASECORE_APP", "USECASECORE_TEST_URL", "PYTEST_ADDOPTS"):
        monkeypatch.delenv(name, raising=False)
    pytester.makepyprojecttoml('[tool.usecasecore]\napp = "plugin_orders:app"\n')
    pytester.makepyfile(plugin_orders=APP)
    monkeypatch.syspath_prepend(str(pytester.path))
    return pytester.path


@pytest.fixture
def run(project: Path, pytester: pytest.Pytester) -> Run:
    """Run pytest on one file of tests, in this process."""

    def run_tests(tests: str, *arguments: str) -> pytest.RunResult:
        pytester.makepyfile(test_orders=tests)
        return pytester.runpytest_inprocess("-p", "no:cacheprovider", "-p", "no:xdist", *arguments)

    return run_tests


@pytest.fixture
def url(request: pytest.FixtureRequest, database_url: str) -> str:
    return "sqlite://" if database_url.startswith("sqlite") else database_url


TESTS = """
from datetime import timedelta
from uuid import UUID

import pytest
from plugin_orders import Annotate, Cancel, Order, OrderPaid, Pay, SendReceipt, Submit
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from usecasecore.errors import TransitionNotAllowed
from usecasecore.testing import crash_after


@pytest.mark.parametrize("again", [1, 2])
def test_each_test_starts_with_an_empty_database(again, given, usecasecore_engine):
    with Session(usecasecore_engine) as session:
        assert session.scalar(select(func.count()).select_from(Order)) == 0
    given("order", state="paid")
    with Session(usecasecore_engine) as session:
        assert session.scalar(select(func.count()).select_from(Order)) == 1


def test_paying(given, scenario, assert_emitted, assert_enqueued, assert_audited, assert_refused):
    order = given("order", state="submitted", total=7)
    assert order.total == 7
    scenario.execute(Pay(order_id=order.id), reason="it came")
    assert_emitted(OrderPaid, order_id=order.id, times=1)
    assert_enqueued(SendReceipt)
    assert assert_audited(trigger="pay", reason="it came").actor == "user:tester"
    assert_refused(Pay(order_id=order.id), code="transition_not_allowed")


def test_the_clock_and_the_ids_are_the_tests(usecasecore_ids, given, usecasecore_clock, assert_audited):
    first = given("order")
    assert first.id in usecasecore_ids.made and first.id.int & 0xFF < 8
    later = usecasecore_clock.advance(timedelta(days=3))
    given("order", state="submitted")
    assert assert_audited(trigger="submit").occurred_at == later


@pytest.mark.usecasecore_commits
def test_two_meet(given, race):
    order = given("order", state="submitted")
    met = race(Pay(order_id=order.id), Cancel(order_id=order.id))
    assert met.won.result.state == "paid"
    assert isinstance(met.lost, TransitionNotAllowed)


def test_a_replay_and_a_crash(given, replay, scenario, assert_emitted):
    order = given("order", state="submitted")
    with crash_after("audit"):
        scenario.execute(Pay(order_id=order.id), idempotency_key="k")
    replay(Pay(order_id=order.id), idempotency_key="k")
    assert_emitted(OrderPaid, times=1)
"""


def test_a_project_s_tests_have_everything_at_hand_on_both_databases(run: Run, url: str) -> None:
    run(TESTS, f"--usecasecore-url={url}").assert_outcomes(passed=6)


def test_the_tests_of_the_page_on_testing_run_on_both_databases(pytester: pytest.Pytester, project: Path, url: str) -> None:
    page = (ROOT / "docs/guide/testing.md").read_text()
    settings = re.findall(r"^```toml\n(.*?)^```", page, re.DOTALL | re.MULTILINE)[0]
    pytester.makepyprojecttoml(settings)
    tests = "\n".join(re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE))
    pytester.makepyfile(test_page=tests)
    # The machine has tests of its own, which bound it.
    result = pytester.runpytest_inprocess(
        "-p", "no:cacheprovider", "-p", "no:xdist", "-k", "not TestOrder", f"--usecasecore-url={url}"
    )
    outcomes = result.parseoutcomes()
    # Seven states and seven use cases, the six tests that are written out, and the walks of the tour.
    assert outcomes.keys() == {"passed", "deselected"}
    assert outcomes["passed"] > 7 * 7 + 6


def test_transition_coverage_counts_what_a_rolled_back_test_committed(run: Run, url: str) -> None:
    tests = "def test_one(given):\n    given('order', state='paid')\n"
    result = run(tests, f"--usecasecore-url={url}", "--transition-cov")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["order*2*4*50*"])  # submit and pay, of these and two cancellations


def test_on_postgresql_nothing_stays_but_the_empty_tables(run: Run, postgres_url: str) -> None:
    run(TESTS, f"--usecasecore-url={postgres_url}").assert_outcomes(passed=6)
    engine = create_engine(postgres_url)
    with engine.connect() as connection:
        for table in ("plugin_orders", "usecasecore_audit", "usecasecore_outbox"):
            assert connection.execute(text(f"select count(*) from {table}")).scalar() == 0
        left = "select count(*) from pg_namespace where nspname like 'usecasecore%'"
        assert connection.execute(text(left)).scalar() == 0
    engine.dispose()


def test_the_database_is_named_by_option_before_environment_before_ini(
    run: Run, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    tests = "def test_url(usecasecore_url):\n    assert usecasecore_url == 'sqlite://'\n"
    pytester.makeini("[pytest]\nusecasecore_url = postgresql://ini/x")
    run(tests).stdout.fnmatch_lines(["*postgresql://ini/x*"])
    monkeypatch.setenv("USECASECORE_TEST_URL", "postgresql://environment/x")
    run(tests).stdout.fnmatch_lines(["*postgresql://environment/x*"])
    run(tests, "--usecasecore-url=sqlite://").assert_outcomes(passed=1)


def test_a_database_that_tests_cannot_run_on_is_refused_before_anything_is_done(run: Run) -> None:
    result = run("def test_one(scenario):\n    pass\n", "--usecasecore-url=sqlite:///live.db")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*tests can't run on sqlite:///live.db: `sqlite://` (in memory) and*"])
    assert not Path("live.db").exists()


def test_without_an_application_the_failure_says_how_to_name_one(run: Run, pytester: pytest.Pytester) -> None:
    pytester.makepyprojecttoml("[project]\nname = 'x'\n")
    result = run("def test_one(scenario):\n    pass\n")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        ["*no application is named: override the fixture `usecasecore_app`, or name it in pyproject.toml*"]
    )


def test_a_run_that_uses_none_of_it_imports_none_of_it(run: Run, pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        test_light="import sys\ndef test_it():\n    assert not {'sqlalchemy', 'pydantic', 'alembic', 'usecasecore.runtime'} & set(sys.modules)\n"
    )
    pytester.runpytest_subprocess("-p", "no:cacheprovider", "-p", "no:hypothesispytest", "-p", "no:xdist").assert_outcomes(
        passed=1
    )


MATRIX = """
import pytest
from plugin_orders import Annotate, Create, app

from usecasecore.testing import lifecycle_paths


@pytest.fixture
def usecasecore_factories():
    return {Annotate: lambda order_id: {"note": "seen"}}


@pytest.mark.lifecycle_matrix("order", expect={"AnnotateOrder": "accepted"})
def test_matrix(cell):
    cell.check()


@pytest.mark.parametrize("path", lifecycle_paths("order", strategy="tour"), ids=str)
def test_tour(path, scenario):
    order = scenario.walk("order", path)
    assert order.state == path.end
    assert order.version == 1 + len(path.steps)
"""


def test_the_matrix_has_a_test_for_each_use_case_in_each_state(run: Run, url: str) -> None:
    result = run(MATRIX, f"--usecasecore-url={url}", "-v")
    result.assert_outcomes(passed=4 * 4 + 3)
    result.stdout.fnmatch_lines(["*test_matrix?paid-SubmitOrder?*", "*test_tour?draft -submit-> submitted -pay-> paid?*"])


def test_a_cell_that_nothing_declares_fails_and_says_what_to_write(run: Run) -> None:
    result = run(MATRIX.replace(', expect={"AnnotateOrder": "accepted"}', ""), "-k", "paid-Annotate")
    result.assert_outcomes(failed=1, deselected=18)
    result.stdout.fnmatch_lines(
        ["*order: AnnotateOrder in 'paid': nothing declares what happens*expect={('paid', 'AnnotateOrder'): 'accepted'}*"]
    )


def test_a_cell_that_is_declared_otherwise_fails_with_what_happened(run: Run) -> None:
    wrong = MATRIX.replace(
        '{"AnnotateOrder": "accepted"}', '{"AnnotateOrder": "forbidden", ("draft", "SubmitOrder"): "guard_rejected"}'
    )
    result = run(wrong, "-k", "(paid and Annotate) or draft-Submit")
    result.assert_outcomes(failed=2, deselected=17)
    result.stdout.fnmatch_lines(
        [
            "*order: SubmitOrder in 'draft': declared is 'guard_rejected', and it was accepted",
            "*order: AnnotateOrder in 'paid': declared is 'forbidden', and it was accepted",
        ]
    )


def test_a_guard_that_refuses_is_declared_in_the_mark(run: Run) -> None:
    worthless = """
import pytest
from plugin_orders import Create


@pytest.fixture
def usecasecore_factories():
    return {Create: lambda: Create(total=0)}


@pytest.mark.lifecycle_matrix("order", expect={("draft", "SubmitOrder"): "guard_rejected", "AnnotateOrder": "accepted"})
def test_matrix(cell):
    cell.check()
"""
    result = run(worthless, "-k", "draft or paid-Pay")
    result.assert_outcomes(passed=4, failed=1, deselected=11)
    result.stdout.fnmatch_lines(
        ["*SubmitOrder was refused, on the way draft -submit-> submitted: order: *Give a factory for Submit*"]
    )


@pytest.mark.parametrize(
    ("test", "said"),
    [
        ('@pytest.mark.lifecycle_matrix("ordr")\ndef test(cell): ...', "*no lifecycle 'ordr'; did you mean 'order'?*"),
        ('@pytest.mark.lifecycle_matrix("order")\ndef test(): ...', "*with the mark lifecycle_matrix a test takes the argument `cell`*"),
        ('@pytest.mark.lifecycle_matrix\ndef test(cell): ...', "*the mark is written lifecycle_matrix(*"),
        ('@pytest.mark.lifecycle_matrix("order", expect={"Pay": "accepted"})\ndef test(cell): ...', "*order has no cell 'Pay' to expect*"),
        ("def test(cell): ...", "*`cell` is for tests with the mark*"),
        ('@pytest.mark.lifecycle_matrix("order")\ndef test(cell): ...', "*draft-SubmitOrder: the test did not call cell.check()*"),
    ],
)  # fmt: skip
def test_a_mark_that_is_wrong_says_how_it_is_written(run: Run, test: str, said: str) -> None:
    result = run(f"import pytest\n{test}\n", "--maxfail=1")
    assert result.ret != 0
    result.stdout.fnmatch_lines([said])


STORIES = """
from plugin_orders import Create, Submit, app
from sqlalchemy import create_engine
from usecasecore import Runtime


def test_with_our_fixtures(usecasecore_runtime):
    order = usecasecore_runtime.execute(Create(total=0))
    usecasecore_runtime.execute(Submit(order_id=order.order_id))


def test_that_passes(given):
    given("order", total=1)


def test_with_a_runtime_of_its_own(tmp_path):
    from plugin_orders import Base

    engine = create_engine(f"sqlite:///{tmp_path}/own.db")
    Base.metadata.create_all(engine)
    try:
        Runtime(engine, app, create=True).execute(Create(total=17))
        assert False
    finally:
        engine.dispose()
"""


def test_a_failure_shows_what_the_last_commands_did(run: Run, url: str) -> None:
    result = run(STORIES, "--usecasecore-url", url)
    result.assert_outcomes(passed=1, failed=2)
    result.stdout.fnmatch_lines(
        [
            "*- what the last commands did -*",
            "CreateOrder: Create(total=0) by *",
            "*create: order *, version 1, new -> draft",
            "  committed (* statements)",
            "SubmitOrder: Submit(order_id=*",
            "  fire        guard: has_value: no (an order must be worth something before it is submitted)",
            "*it ended here",
            "  rolled back: nothing of it is left (* statement*)",
        ]
    )
    assert result.stdout.str().count("what the last commands did") == 1


@pytest.mark.parametrize(("which", "sections"), [("all", 2), ("none", 0)])
def test_stories_are_shown_of_all_tests_or_of_none(run: Run, which: str, sections: int) -> None:
    shown = run(STORIES, f"--usecasecore-story={which}").stdout.str()
    assert shown.count("what the last commands did") == sections
    assert ("CreateOrder: Create(total=17) by" in shown) == bool(sections)


REPEATABLE_STORIES = """
import pytest
from plugin_orders import Create, Pay, Submit


@pytest.mark.parametrize("total", [0, 1, 2, 3])
def test_paying(total, usecasecore_ids, usecasecore_runtime):
    order_id = usecasecore_runtime.execute(Create(total=total)).order_id
    if total:
        usecasecore_runtime.execute(Submit(order_id=order_id))
    usecasecore_runtime.execute(Pay(order_id=order_id))
    assert total == 3


@pytest.fixture
def unpaid(usecasecore_ids, usecasecore_runtime):
    order_id = usecasecore_runtime.execute(Create(total=1)).order_id
    yield order_id
    usecasecore_runtime.execute(Pay(order_id=order_id))


def test_whose_end_fails(unpaid):
    pass
"""


def test_workers_show_the_stories_that_one_process_does(run: Run, project: Path) -> None:
    def stories(output: str) -> dict[str, str]:
        """Return the story below each failure, by the failure's title."""
        assert "3 failed, 2 passed, 1 error" in output
        failures = re.split(r"^_{3,} (.*?) _{3,}$", output.partition("short test summary")[0], flags=re.MULTILINE)
        told = {}
        for title, failure in zip(failures[1::2], failures[2::2], strict=True):
            _, _, story = failure.partition(" what the last commands did ")
            told[title] = re.split(r"^(?:=|_)", story, flags=re.MULTILINE)[0]
        return told

    serial = stories(run(REPEATABLE_STORIES).stdout.str())
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-n", "2", "test_orders.py"]
    parallel = stories(subprocess.run(command, cwd=project, capture_output=True, text=True, timeout=100, check=False).stdout)
    assert parallel == serial
    refused = {"test_paying[0]", "ERROR at teardown of test_whose_end_fails"}
    assert serial.keys() == {"test_paying[1]", "test_paying[2]"} | refused
    for title, story in serial.items():
        assert "CreateOrder: Create(total=" in story
        assert "PayOrder: Pay(order_id=" in story
        assert ("it ended here" in story) == (title in refused)
