from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest

import usecasecore
from tests.unit.cli.command_line import CommandLine

HEAVY = ("sqlalchemy", "pydantic", "alembic", "transitions")


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    package = str(Path(usecasecore.__file__).parents[1])
    environment = os.environ | {"PYTHONPATH": package, "COLUMNS": "100"}
    command = [sys.executable, *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True, env=environment, timeout=60)


def test_help_goes_to_stdout_and_names_every_group(run: CommandLine) -> None:
    ran = run("--help")
    assert (ran.code, ran.err) == (0, "")
    for group in ("lifecycle", "usecase", "audit", "db"):
        assert f"\n  {group} " in ran.out


def test_help_is_shown_without_importing_anything_heavy() -> None:
    assert imported_by("--help") == set()


@pytest.mark.parametrize("command", ["lifecycle", "usecase", "audit", "db", "audit tail", "usecase show"])
def test_the_help_of_a_command_is_shown_without_importing_anything_heavy_of_ours(command: str) -> None:
    # Some versions of typer read the options above a command with pydantic.
    assert imported_by(*command.split(), "--help") <= {"pydantic"}


def imported_by(*arguments: str) -> set[str]:
    program = (
        "import sys\nfrom usecasecore.cli import main\n"
        f"try:\n    main({arguments!r})\n"
        f"except SystemExit as left:\n    print(left.code, *({{*{HEAVY!r}}} & set(sys.modules)))\n"
    )
    code, *imported = python("-c", program).stdout.splitlines()[-1].split()
    assert code == "0"
    return set(imported)


def test_the_pytest_plugin_imports_nothing_heavy() -> None:
    done = python("-c", f"import sys, usecasecore.pytest_plugin; print(sorted(set({HEAVY!r}) & set(sys.modules)))")
    assert done.stdout == "[]\n", done.stderr


def test_version_is_that_of_the_installed_package(run: CommandLine) -> None:
    ran = run("--version")
    assert (ran.code, ran.out) == (0, f"usecasecore {version('usecasecore')}\n")


def test_the_package_can_be_run_as_a_module() -> None:
    done = python("-m", "usecasecore", "usecase", "show")
    assert done.returncode == 2
    assert done.stderr.startswith("error: missing argument 'NAME'\nhint: `usecasecore usecase show --help`")


@pytest.mark.parametrize("arguments", [[], ["audit"]])
def test_a_group_that_is_called_alone_shows_its_help_on_stderr_and_exits_with_2(run: CommandLine, arguments: list[str]) -> None:
    ran = run(*arguments)
    assert (ran.code, ran.out) == (2, "")
    assert "Commands:" in ran.err


def test_an_unknown_command_names_the_nearest_and_all_others(run: CommandLine) -> None:
    ran = run("db", "upgrad")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.splitlines() == [
        "error: there is no command 'usecasecore db upgrad'",
        "hint: did you mean 'usecasecore db upgrade'? known: usecasecore db adopt, usecasecore db check, usecasecore db upgrade",
    ]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["--nope"], "no such option: --nope"),
        (["lifecycle", "list", "--nope"], "no such option: --nope"),
        (["lifecycle", "show"], "missing argument 'NAME'"),
        (["lifecycle", "list", "--format", "xml"], "invalid value for '--format': 'xml' is not one of 'text', 'json'"),
        (["audit", "tail", "--url"], "option '--url' requires an argument"),
    ],
)
def test_a_usage_error_is_one_error_and_one_hint(run: CommandLine, arguments: list[str], error: str) -> None:
    ran = run(*arguments)
    assert (ran.code, ran.out) == (2, "")
    first, second = ran.err.splitlines()
    assert first == f"error: {error}"
    assert second.startswith("hint: `usecasecore")
    assert second.endswith("--help` shows what is accepted")


def test_a_number_of_entries_below_one_is_refused(run: CommandLine) -> None:
    ran = run("audit", "tail", "-n", "0")
    assert ran.code == 2
    assert ran.err.startswith("error: invalid value for '-n' / '--number':")


def test_a_defect_of_ours_is_an_error_without_a_traceback(run: CommandLine, write_module: Callable[[str, str], None]) -> None:
    write_module(
        "defective",
        "class Broken(Application):\n    def registration(self, name):\n        return 1 / 0\napp.__class__ = Broken\n",
    )
    ran = run("usecase", "show", "X", "--app", "defective:app")
    assert (ran.code, ran.out) == (2, "")
    assert "error: ZeroDivisionError: division by zero\nhint: " in ran.err
    assert "Traceback" not in ran.err


def test_debug_shows_the_traceback_of_any_error(run: CommandLine, write_module: Callable[[str, str], None]) -> None:
    write_module("raising", "raise ValueError('no such thing')\n")
    ran = run("--debug", "usecase", "list", "--app", "raising:app")
    assert ran.code == 2
    assert "Traceback (most recent call last):" in ran.err
    assert "raising.py" in ran.err
    assert "\nerror: importing raising failed: ValueError: no such thing\n" in ran.err


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "usecasecore", "--version"]
    done = subprocess.run(command, check=False, stdout=writing, stderr=subprocess.PIPE, text=True, timeout=60)
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, "")
