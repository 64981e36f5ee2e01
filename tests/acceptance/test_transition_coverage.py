"""`pytest --transition-cov` on a sample project: what it counts, what it says, and what it lets pass."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import usecasecore.coverage.reports
import usecasecore.diagrams.rendering
from tests.acceptance.shop_project import FILES
from usecasecore.cli import main

Run = Callable[..., pytest.RunResult]

# What the sample's tests do, read off them by hand: lifecycle -> covered and declared under each criterion.
ALL = {
    "order": {"state": (4, 5), "transition": (3, 5), "guard": (4, 7), "matrix": (4, 20), "pair": (1, 3)},
    "parcel": {"state": (3, 3), "transition": (2, 2), "guard": (2, 2), "matrix": (2, 6), "pair": (1, 1)},
    "parcel.sealing": {"state": (2, 2), "transition": (1, 1), "guard": (1, 1), "matrix": (1, 2), "pair": (0, 0)},
}


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The sample project in a directory of its own, which is the current one."""
    # The processes of the sample are not those of a run that is recorded itself.
    for name in ("GITHUB_STEP_SUMMARY", "USECASECORE_APP", "PYTEST_ADDOPTS", "USECASECORE_COVERAGE"):
        monkeypatch.delenv(name, raising=False)
    for name, text in FILES.items():
        path = pytester.path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return pytester.path


@pytest.fixture
def run(project: Path, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run pytest on the sample project, in this process."""
    monkeypatch.syspath_prepend(str(project))

    def run_pytest(*arguments: str) -> pytest.RunResult:
        return pytester.runpytest_inprocess("-p", "no:cacheprovider", *arguments)

    return run_pytest


def apart(project: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run pytest on the sample project in a process of its own."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments]
    return subprocess.run(
        command, cwd=project, env=os.environ | environment, capture_output=True, text=True, timeout=100, check=False
    )


def configured(project: Path, lines: str) -> None:
    (project / "pyproject.toml").write_text(FILES["pyproject.toml"] + "[tool.usecasecore.coverage]\n" + lines)


def recorded(project: Path, name: str = ".usecasecore-coverage") -> Any:
    return json.loads((project / name).read_text())


def table(lines: list[str]) -> dict[str, list[str]]:
    """The rows of the table: lifecycle -> cells."""
    start = next(number for number, line in enumerate(lines) if line.startswith("lifecycle "))
    rows = [line.split() for line in lines[start + 1 : start + 5]]
    return {row[0]: row[1:] for row in rows if row}


def cli(capsys: pytest.CaptureFixture[str], *arguments: str, group: str = "coverage") -> tuple[object, str, str]:
    capsys.readouterr()
    with pytest.raises(SystemExit) as left:
        main([group, *arguments])
    said = capsys.readouterr()
    return left.value.code, said.out, said.err


# What is counted


@pytest.mark.parametrize("criterion", ["state", "transition", "guard", "matrix", "pair"])
def test_each_criterion_counts_what_its_name_says(run: Run, project: Path, criterion: str) -> None:
    done = run("--transition-cov", f"--transition-cov-criterion={criterion}", "--transition-cov-report=json:out.json")
    done.assert_outcomes(passed=8)
    report = recorded(project, "out.json")
    found = {one["name"]: (one["covered"], one["total"]) for one in report["lifecycles"]}
    assert found == {name: counts[criterion] for name, counts in ALL.items()}


def test_the_levels_are_kept_apart_and_only_what_was_committed_counts(run: Run, project: Path) -> None:
    (project / "test_orders.py").write_text(
        FILES["test_orders.py"]
        .replace("def test_paid(runtime, order):\n    runtime.execute(Submit(id=order))\n", "def test_x():\n")
        .replace("    runtime.execute(Pay(id=order))\n\n\ndef test_worthless", "    pass\n\n\ndef test_worthless")
        .replace("def test_submitted(runtime, order):\n    runtime.execute(Submit(id=order))\n", "")
        .replace(
            "def test_without_money(runtime, order):\n    runtime.execute(Submit(id=order))\n    with",
            "def test_y(runtime, order):\n    runtime.execute(Submit(id=order))\n    with",
        )
    )
    run("--transition-cov", "--transition-cov-report=json:out.json")
    levels = {one["key"]: one["level"] for one in recorded(project, "out.json")["lifecycles"][0]["items"]}
    assert levels == {
        "draft --submit--> submitted": "committed",
        "submitted --pay--> paid": "rolled_back",
        "paid --refund--> refunded": "declared",
        "draft --cancel--> cancelled": "committed",
        "submitted --cancel--> cancelled": "declared",
    }


def test_a_transition_that_only_a_guard_saw_is_stopped_and_one_in_the_wrong_state_refused(run: Run, project: Path) -> None:
    run("--transition-cov", "-k", "worthless or too_early", "--transition-cov-criterion=matrix", "--transition-cov-report=json:o")
    levels = {one["key"]: (one["level"], one["covered"]) for one in recorded(project, "o")["lifecycles"][0]["items"]}
    assert levels["SubmitOrder in draft"] == ("stopped", False)
    assert levels["PayOrder in draft is refused"] == ("refused", True)
    assert levels["PayOrder in submitted"] == ("declared", False)


def test_named_lifecycles_patterns_and_pragmas_choose_what_counts(run: Run, project: Path) -> None:
    run("--transition-cov=parcel*", "--transition-cov-report=json:out.json")
    assert [one["name"] for one in recorded(project, "out.json")["lifecycles"]] == ["parcel", "parcel.sealing"]
    configured(project, 'exclude = ["parcel.*", "order:refund"]\n')
    run("--transition-cov", "--transition-cov-report=json:out.json")
    report = recorded(project, "out.json")
    assert {one["name"]: (one["covered"], one["total"]) for one in report["lifecycles"]} == {"order": (3, 4), "parcel": (2, 2)}


def test_without_a_named_application_what_the_tests_use_counts(run: Run, project: Path) -> None:
    (project / "pyproject.toml").write_text("")
    run("--transition-cov", "--transition-cov-report=json:out.json", "test_parcels.py")
    names = {one["name"]: (one["covered"], one["total"]) for one in recorded(project, "out.json")["lifecycles"]}
    assert names == {"order": (0, 5), "parcel": (2, 2), "parcel.sealing": (1, 1)}


LOCAL = """
import pytest
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from usecasecore import Lifecycle, state_column, version_column

@pytest.mark.parametrize("states", [["off", "on"], ["off", "on", "broken"]])
def test_lamp(states):
    class Base(DeclarativeBase): pass
    class Lamp(Base):
        __tablename__ = "lamps"
        id: Mapped[int] = mapped_column(primary_key=True)
        state: Mapped[str] = state_column(states)
        version: Mapped[int] = version_column()
        lifecycle = Lifecycle(states=states, initial="off", transitions=[["switch", "off", "on"]])
    Lamp.lifecycle.fire(Lamp(), "switch")
"""


def test_a_class_of_a_test_s_own_does_not_count(run: Run, project: Path) -> None:
    (project / "pyproject.toml").write_text("")
    (project / "test_lamp.py").write_text(LOCAL)
    done = run("test_lamp.py", "test_parcels.py", "--transition-cov", "--transition-cov-fail-under=10")
    done.assert_outcomes(passed=4)
    assert done.ret == 0
    assert "lamp" not in table(done.outlines)


# Where the tests run


@pytest.mark.long
@pytest.mark.timeout(400)
def test_workers_record_what_one_process_does_and_shards_add_up_to_the_whole(
    run: Run, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("--transition-cov")
    serial = (project / ".usecasecore-coverage").read_text()
    for workers in ("2", "4"):
        (project / ".usecasecore-coverage").unlink()
        done = apart(project, "--transition-cov", "-n", workers, "--transition-cov-fail-under=75")
        assert done.returncode == 0, done.stdout
        assert "Required transition coverage of 75% reached. Total transition coverage: 75%" in done.stdout
        assert (project / ".usecasecore-coverage").read_text() == serial
    for number, names in enumerate(["paid or submitted", "not paid and not submitted"]):
        configured(project, f'data_file = ".usecasecore-coverage.{number}"\n')
        run("--transition-cov", "-k", names)
    (project / "pyproject.toml").write_text(FILES["pyproject.toml"])
    assert cli(capsys, "combine")[0] in (0, None)
    assert (project / ".usecasecore-coverage").read_text() == serial
    assert not list(project.glob(".usecasecore-coverage.*"))


def test_below_the_threshold_a_run_on_workers_fails_too(project: Path) -> None:
    done = apart(project, "--transition-cov", "-n", "2", "--transition-cov-fail-under=75.01")
    assert done.returncode == 1
    assert "FAIL Required transition coverage of 75.01% not reached. Total transition coverage: 75%" in done.stdout


CHILDREN = """
import multiprocessing, os, subprocess, sys
import pytest
from shop.app import Cancel, Create, Refund, Pay, Submit, app
from sqlalchemy import create_engine
from usecasecore import Runtime

def refund(url):
    engine = create_engine(url)
    runtime = Runtime(engine, app)
    for command in (Create(id=7, total=5), Submit(id=7), Pay(id=7), Refund(id=7)):
        runtime.execute(command)
    os._exit(9)  # without goodbye, as a process does that is killed

def test_in_a_fork(runtime):
    runtime.check()
    url = runtime.engine.url.render_as_string()
    runtime.engine.dispose()
    child = multiprocessing.get_context("fork").Process(target=refund, args=(url,))
    child.start(); child.join()
    assert child.exitcode == 9

def test_in_a_program(runtime):
    runtime.execute(Create(id=8, total=5))
    runtime.execute(Submit(id=8))
    program = (
        "import sys; from sqlalchemy import create_engine; from usecasecore import Runtime; from shop.app import Cancel, app;"
        "Runtime(create_engine(sys.argv[1]), app).execute(Cancel(id=8))"
    )
    subprocess.run([sys.executable, "-c", program, runtime.engine.url.render_as_string()], check=True)
"""


@pytest.mark.long
@pytest.mark.timeout(400)
def test_processes_that_tests_start_are_counted_for_the_test_that_started_them(project: Path) -> None:
    (project / "test_children.py").write_text(CHILDREN)
    done = apart(
        project, "--transition-cov", "--transition-cov-report=json:out.json", "test_children.py", PYTHONPATH=str(project)
    )
    assert done.returncode == 0, done.stdout + done.stderr
    tests = {one["key"]: one["tests"] for one in recorded(project, "out.json")["lifecycles"][0]["items"]}
    assert tests["paid --refund--> refunded"] == ["test_children.py::test_in_a_fork"]
    assert tests["submitted --cancel--> cancelled"] == ["test_children.py::test_in_a_program"]


# Thresholds


@pytest.mark.parametrize(("wanted", "code"), [("74.99", 0), ("75", 0), ("75.01", 1)])
def test_a_run_fails_below_its_threshold_only(run: Run, wanted: str, code: int) -> None:
    done = run("--transition-cov", f"--transition-cov-fail-under={wanted}")
    assert done.ret == code
    verb = "not reached" if code else "reached"
    done.stdout.fnmatch_lines([f"*Required transition coverage of {wanted}% {verb}. Total transition coverage: 75%"])


def test_each_lifecycle_may_have_a_threshold_and_a_criterion_of_its_own(run: Run, project: Path) -> None:
    configured(
        project,
        'enabled = true\nfail_under = 10\n[tool.usecasecore.coverage.lifecycles.order]\nfail_under = 65\ncriterion = "state"\n',
    )
    done = run()
    assert done.ret == 0
    done.stdout.fnmatch_lines(["Required transition coverage of 65% for order reached. Coverage: 80%"])
    configured(project, "enabled = true\nfail_under = 10\n[tool.usecasecore.coverage.lifecycles.order]\nfail_under = 65\n")
    done = run()
    assert done.ret == 1
    done.stdout.fnmatch_lines(["FAIL Required transition coverage of 65% for order not reached. Coverage: 60%"])


def test_where_nothing_was_found_no_threshold_is_reached(run: Run, project: Path) -> None:
    (project / "pyproject.toml").write_text("")
    (project / "test_nothing.py").write_text("def test_nothing(): pass\n")
    done = run("--transition-cov", "--transition-cov-fail-under=0", "test_nothing.py")
    assert done.ret == 1
    done.stdout.fnmatch_lines(["*No lifecycle was found"])


def test_switched_off_nothing_is_recorded_and_nothing_fails(run: Run, project: Path) -> None:
    configured(project, "enabled = true\nfail_under = 100\n")
    assert run().ret == 1
    (project / ".usecasecore-coverage").unlink()
    done = run("--no-transition-cov")
    assert done.ret == 0
    assert "transition coverage" not in done.stdout.str()
    assert not (project / ".usecasecore-coverage").exists()


def test_in_a_run_that_does_not_ask_for_it_nothing_is_imported_and_nobody_watches(project: Path) -> None:
    (project / "test_small.py").write_text(
        "import sys\n\ndef test_small():\n"
        "    assert not {'sqlalchemy', 'pydantic', 'usecasecore.coverage.session'} & set(sys.modules)\n"
        "    from usecasecore import steps\n"
        "    assert not steps.wanted\n"
    )
    done = apart(project, "--noconftest", "test_small.py")
    assert done.returncode == 0, done.stdout


def test_a_worker_that_dies_is_told_of(project: Path) -> None:
    (project / "test_death.py").write_text("import os\n\ndef test_death():\n    os._exit(3)\n")
    done = apart(project, "test_death.py", "-n", "1", "--transition-cov")
    assert "note: worker gw0 ended before its time; what its tests covered is not counted" in done.stdout


def test_collecting_only_concludes_nothing(run: Run, project: Path) -> None:
    done = run("--transition-cov", "--transition-cov-fail-under=100", "--collect-only", "-q")
    assert done.ret == 0
    assert not (project / ".usecasecore-coverage").exists()


# Options and settings that are wrong


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--transition-cov", "--transition-cov-report=htlm"], "there is no report 'htlm'; did you mean 'html'?"),
        (["--transition-cov", "--transition-cov-report=term:x"], "term goes to the terminal, write term alone"),
        (
            ["--transition-cov", "--transition-cov-criterion=states"],
            "--transition-cov-criterion is 'states'; did you mean 'state'?",
        ),
        (["--transition-cov", "--transition-cov-context=tests"], "--transition-cov-context is 'tests'; did you mean 'test'?"),
        (["--transition-cov", "--transition-cov-fail-under=101"], "--transition-cov-fail-under is 101; a number from 0 to 100"),
        (["--transition-cov-fail-under=90"], "--transition-cov-fail-under has no effect without --transition-cov"),
        (["--transition-cov", "test_orders.py"], "--transition-cov took 'test_orders.py' for a lifecycle"),
    ],
)
def test_a_wrong_option_is_an_error_with_the_nearest_right_one(run: Run, arguments: list[str], told: str) -> None:
    done = run(*arguments)
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    assert told in done.stderr.str()


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ("fail_undr = 1", "has an unknown key 'fail_undr'; did you mean 'fail_under'?"),
        ("fail_under = true", "fail_under is True; a number from 0 to 100 is wanted"),
        ('criterion = "all"', "criterion is 'all'; there is 'state', 'transition', 'guard', 'matrix', 'pair'"),
        ("report = [1]", "report is [1]; a text, or a list of texts is wanted"),
        ("[tool.usecasecore.coverage.lifecycles.order]\nmin = 3", "lifecycles.order] has an unknown key 'min'"),
        ("lifecycles = 3", "lifecycles is 3; a table for each lifecycle is wanted"),
    ],
)
def test_a_wrong_setting_is_an_error_with_the_nearest_right_one(run: Run, project: Path, lines: str, told: str) -> None:
    configured(project, f"{lines}\n")
    done = run()
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    assert "pyproject.toml: [tool.usecasecore.coverage" in done.stderr.str()
    assert told in done.stderr.str()


def test_a_lifecycle_that_does_not_exist_fails_the_run_with_the_nearest(run: Run) -> None:
    done = run("--transition-cov=ordr")
    assert done.ret == 1
    done.stdout.fnmatch_lines(["FAIL there is no lifecycle 'ordr'*"])


def test_an_application_that_can_not_be_imported_stops_the_run_before_the_tests(run: Run, project: Path) -> None:
    configured(project, 'app = "shop.app:nothing"\n')
    done = run("--transition-cov")
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    assert "the application 'shop.app:nothing' can't be imported" in done.stderr.str()
    assert "passed" not in done.stdout.str()
    on_workers = apart(project, "--transition-cov", "-n", "1")
    assert on_workers.returncode == 1
    assert "FAIL the application 'shop.app:nothing' can't be imported" in on_workers.stdout


# What is missing


def test_what_is_missing_is_listed_with_place_way_nearest_test_and_a_test_to_start_from(run: Run) -> None:
    lines = run("--transition-cov").outlines
    assert table(lines)["order"] == ["4/5", "3/5", "2/4", "4/20", "1/3", "60%", "transition"]
    assert table(lines)["TOTAL"] == ["9/10", "6/8", "2/4", "7/28", "2/4", "75%"]
    place = next(number for number, line in enumerate(FILES["shop/model.py"].splitlines(), 1) if '"refund"' in line)
    start = lines.index("missing in order")
    assert lines[start + 1] == f"  paid --refund--> refunded        shop/model.py:{place}  (never fired)"
    assert (
        lines[start + 2] == "    reach it: create → submit → pay → refund    nearest: test_orders.py::test_paid (already in paid)"
    )
    cancel = next(line for line in lines[start:] if "reach it: create → submit → cancel" in line)
    assert cancel.endswith("nearest: test_orders.py::test_submitted (already in submitted)")


def test_the_test_to_start_from_covers_what_is_missing_once_its_values_are_filled_in(run: Run, project: Path) -> None:
    run("--transition-cov", "--transition-cov-criterion=guard", "--transition-cov-report=json:out.json")
    missing = [one for one in recorded(project, "out.json")["lifecycles"][0]["items"] if not one["covered"]]
    assert len(missing) == 3
    for number, one in enumerate(missing):
        total = "5000" if one["key"].endswith("[is_large stops it]") else "5"
        source = one["stub"].replace("id=...", "id=3").replace("total=...", f"total={total}")
        assert "..." not in source
        compile(source, one["key"], "exec")
        (project / f"test_stub_{number}.py").write_text(source)
    done = run("--transition-cov", "--transition-cov-criterion=guard", "--transition-cov-fail-under=100")
    done.assert_outcomes(passed=11)
    assert done.ret == 0


def test_what_no_use_case_does_is_left_open_in_a_test_to_start_from(run: Run, project: Path) -> None:
    app = project / "shop" / "app.py"
    app.write_text(app.read_text().replace('        moving(Refund, Order, "refund"),\n', ""))
    run("--transition-cov=order", "--transition-cov-report=json:out.json")
    (stub,) = [one["stub"] for one in recorded(project, "out.json")["lifecycles"][0]["items"] if "refund" in one["key"]]
    assert stub.endswith("runtime.execute(...)  # no use case does 'refund'")
    compile(stub, "stub", "exec")


# Baselines


def test_less_than_in_the_baseline_fails_and_names_the_test_that_was_deleted(run: Run, project: Path) -> None:
    run("--transition-cov")
    (project / ".usecasecore-coverage").rename(project / "before.json")
    assert run("--transition-cov", "--transition-cov-baseline=before.json").ret == 0
    source = FILES["test_orders.py"]
    (project / "test_orders.py").write_text(source[: source.index("def test_cancelled")])
    (project / "test_parcels.py").write_text(FILES["test_parcels.py"].replace("    runtime.execute(Close(id=1))\n", ""))
    done = run("--transition-cov", "--transition-cov-baseline=before.json")
    assert done.ret == 1
    lines = done.outlines
    start = lines.index("regressed since before.json")
    assert lines[start + 1].startswith("  order: draft --cancel--> cancelled  shop/model.py:")
    assert lines[start + 2] == "    was test_orders.py::test_cancelled, deleted"
    assert lines[start + 4] == "    was test_parcels.py::test_delivered, no longer takes it"
    assert "FAIL Less is covered than in before.json: draft --cancel--> cancelled; open --close--> closed" in lines
    done = run("--transition-cov", "--transition-cov-baseline=before.json", "-k", "orders")
    assert "    was test_parcels.py::test_delivered, did not run" in done.outlines


def test_a_new_transition_without_a_test_fails_against_a_baseline_at_a_git_revision(
    run: Run, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def git(*arguments: str) -> None:
        name = ("-c", "user.name=ada", "-c", "user.email=ada@example.com")
        subprocess.run(["git", *name, *arguments], cwd=project, check=True, capture_output=True)

    run("--transition-cov")
    git("init", "--initial-branch=main")
    git("add", "--force", ".usecasecore-coverage")
    git("commit", "--message=coverage")
    model = project / "shop" / "model.py"
    model.write_text(
        model.read_text().replace(
            'Transition("pay",', 'Transition("recall", "submitted", "draft"),\n            Transition("pay",'
        )
    )
    done = apart(project, "--transition-cov", "--transition-cov-baseline=main")
    assert done.returncode == 1
    assert "FAIL Declared since main and not covered: submitted --recall--> draft" in done.stdout
    code, out, _ = cli(capsys, "diff", "main")
    assert code == 1
    assert "declared since main and not covered\n  order: submitted --recall--> draft" in out
    assert run("--transition-cov", "--transition-cov-baseline=nothing").ret == 1
    assert "neither a file nor a revision of git" in cli(capsys, "diff", "nothing")[2]


def test_the_overlay_of_a_diagram_shows_what_was_recorded(run: Run, project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("--transition-cov")
    app = ("--app", "shop.app:app", "--overlay", "coverage")
    code, out, err = cli(capsys, "export", "order", *app, "-o", "pictures", group="diagram")
    assert (code, out) == (0, "pictures/order.coverage.svg\n"), err
    drawn = (project / "pictures" / "order.coverage.svg").read_text()
    assert (drawn.count('data-status="good"'), drawn.count('data-status="bad"')) == (7, 3)  # 4 + 3 and 1 + 2
    model = project / "shop" / "model.py"
    model.write_text(
        model.read_text().replace(
            'Transition("pay",', 'Transition("recall", "submitted", "draft"),\n            Transition("pay",'
        )
    )
    done = subprocess.run(
        [sys.executable, "-m", "usecasecore", "diagram", "show", "order", *app],
        cwd=project,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "error: order: its transitions have changed since the tests ran" in done.stderr


def test_appending_adds_to_what_was_recorded(run: Run, project: Path) -> None:
    run("--transition-cov")
    whole = (project / ".usecasecore-coverage").read_text()
    run("test_orders.py", "--transition-cov")
    run("test_parcels.py", "--transition-cov", "--transition-cov-append")
    assert (project / ".usecasecore-coverage").read_text() == whole


@pytest.mark.parametrize(("context", "tests"), [("module", ["test_parcels.py"]), ("none", [])])
def test_contexts_can_be_coarser_than_a_test(run: Run, project: Path, context: str, tests: list[str]) -> None:
    run("--transition-cov=parcel", f"--transition-cov-context={context}", "--transition-cov-report=json:out.json")
    (parcel,) = recorded(project, "out.json")["lifecycles"]
    assert [(one["count"], one["tests"]) for one in parcel["items"]] == [(2, tests), (1, tests)]


# Reports


def test_every_report_says_the_same(
    run: Run, project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(project / "step.md"))
    kinds = ("term", "html", "json", "lcov", "junit", "svg", "md", "github")
    done = run("--transition-cov", *(f"--transition-cov-report={kind}" for kind in kinds))
    out = done.stdout.str()
    assert "missing in order" not in out
    assert re.search(
        r"::warning file=shop/model.py,line=\d+,title=transition coverage::order: paid --refund--> refunded is not", out
    )
    page = (project / "transitions-html" / "index.html").read_text()
    assert page.count('data-item="') == 8
    assert "test_orders.py::test_paid" in page
    assert "http" not in page.replace("http://www.w3.org", "")
    report = recorded(project, "transitions.json")
    assert (report["schema_version"], report["covered"], report["total"], report["percent"]) == (1, 6, 8, "75")
    lcov = (project / "transitions.lcov").read_text().splitlines()
    line = next(number for number, text in enumerate(FILES["shop/model.py"].splitlines(), 1) if '"cancel"' in text)
    assert [one for one in lcov if one.startswith(f"BRDA:{line},")] == [f"BRDA:{line},0,0,1", f"BRDA:{line},0,1,0"]
    assert {"SF:shop/model.py", "BRF:8", "BRH:6"} <= set(lcov)
    suites = ElementTree.parse(project / "transitions-junit.xml").getroot()
    assert {one.get("name"): (one.get("tests"), one.get("failures")) for one in suites} == {
        "order": ("5", "2"),
        "parcel": ("2", "0"),
        "parcel.sealing": ("1", "0"),
    }
    drawn = (project / "transitions-svg" / "order.svg").read_text()
    assert (drawn.count('data-status="good"'), drawn.count('data-status="bad"')) == (7, 3)  # 4 + 3 and 1 + 2
    markdown = (project / "transitions.md").read_text()
    assert "| order | 4/5 | 3/5 | 2/4 | 4/20 | 1/3 | 60% | transition |" in markdown
    assert (project / "step.md").read_text() == markdown
    code, out, _ = cli(capsys, "html", "-d", "again")
    assert (project / "again" / "index.html").read_text() == page
    assert json.loads(cli(capsys, "report", "--format", "json")[1]) == report
    code, out, err = cli(capsys, "report", "--fail-under", "80")
    assert (code, err) == (1, "FAIL Required transition coverage of 80% not reached. Total transition coverage: 75%\n")
    assert table(out.splitlines())["TOTAL"][-1] == "75%"


def test_without_graphviz_the_page_has_its_tables_and_says_why_there_is_no_diagram(
    run: Run, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usecasecore.diagrams.rendering, "installed", tuple)
    done = run("--transition-cov", "--transition-cov-report=html")
    assert done.ret == 0
    page = (project / "transitions-html" / "index.html").read_text()
    assert "No diagram: " in page
    assert "<code>paid --refund--&gt; refunded</code>" in page
    assert run("--transition-cov", "--transition-cov-report=svg").ret == 1


def test_the_page_shows_the_tests_of_a_transition_that_is_pointed_at(run: Run, project: Path) -> None:
    chromium = next((path for name in ("chromium", "google-chrome") if (path := _which(name))), None)
    if chromium is None:
        pytest.skip("there is no Chromium")
    run("--transition-cov", "--transition-cov-report=html")
    page = project / "transitions-html" / "index.html"
    pointing = "document.querySelector('[data-item=\"t0-1\"]').dispatchEvent(new MouseEvent('mouseover', {bubbles: true}))"
    page.write_text(page.read_text().replace("</body>", f"<script>{pointing}</script></body>"))
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
    flags += ["--disable-component-update", "--disable-sync", f"--user-data-dir={project / 'browser'}", "--dump-dom"]
    done = subprocess.run([chromium, *flags, page.as_uri()], capture_output=True, text=True, timeout=60, check=True)
    aside = re.search(r"<aside.*?</aside>", done.stdout, re.DOTALL)
    assert aside is not None
    assert "submitted --pay--&gt; paid" in aside.group()
    assert "test_orders.py::test_paid" in aside.group()
    assert '<tr id="t0-1" class="good shown">' in done.stdout


def _which(name: str) -> str | None:
    from shutil import which

    return which(name)


# Damaged files


def test_a_file_that_is_none_of_ours_is_an_error_in_words(project: Path, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert "there is no file" in cli(capsys, "report")[2]
    for text, told in (("{", "is not JSON"), ("{}", "it is not a file of recorded transitions"), ("[]", "recorded transitions")):
        (project / ".usecasecore-coverage").write_text(text)
        code, _, err = cli(capsys, "report")
        assert code == 2
        assert told in err
    run("--transition-cov")
    data = recorded(project)
    data["schema_version"] = 99
    (project / "newer").write_text(json.dumps(data))
    assert "its schema_version is 99" in cli(capsys, "report", "--file", "newer")[2]
    data["schema_version"] = 1
    data["lifecycles"][0]["transitions"][0]["trigger"] = "other"
    (project / "changed").write_text(json.dumps(data))
    code, _, err = cli(capsys, "combine", ".usecasecore-coverage", "changed", "--keep")
    assert code == 2
    assert "lifecycle 'order' was recorded with other states or transitions" in err
