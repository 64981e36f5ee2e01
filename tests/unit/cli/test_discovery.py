from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.cli.command_line import CommandLine
from tests.unit.cli.conftest import SAMPLE

WriteModule = Callable[[str, str], None]


def configure(directory: Path, reference: str) -> None:
    (directory / "pyproject.toml").write_text(f'[tool.usecasecore]\napp = "{reference}"\n')


def test_the_option_wins_over_the_environment(run: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("USECASECORE_APP", "elsewhere:app")
    ran = run("usecase", "list", "--app", SAMPLE)
    assert (ran.code, ran.err) == (0, f"application: {SAMPLE} (from --app)\n")


def test_the_environment_wins_over_pyproject(run: CommandLine, nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    configure(nowhere, "elsewhere:app")
    monkeypatch.setenv("USECASECORE_APP", SAMPLE)
    ran = run("usecase", "list")
    assert (ran.code, ran.err) == (0, f"application: {SAMPLE} (from USECASECORE_APP)\n")


def test_the_nearest_pyproject_above_is_read_and_its_directory_can_be_imported_from(
    run: CommandLine, nowhere: Path, write_module: WriteModule, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_module("beside_pyproject", "")
    configure(nowhere, "beside_pyproject:app")
    below = nowhere / "deep" / "below"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    ran = run("usecase", "list", "--format", "json")
    assert (ran.code, ran.data) == (0, {"schema_version": 1, "use_cases": []})
    assert ran.err == f"application: beside_pyproject:app (from {nowhere / 'pyproject.toml'})\n"


def test_a_nearer_pyproject_without_the_setting_hides_those_above(
    run: CommandLine, nowhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(nowhere, SAMPLE)
    below = nowhere / "below"
    below.mkdir()
    (below / "pyproject.toml").write_text("[project]\n")
    monkeypatch.chdir(below)
    ran = run("usecase", "list")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("error: no application is named\nhint: pass --app module:attribute, set USECASECORE_APP")


@pytest.mark.parametrize(
    ("content", "error"),
    [("[tool", "can't be read"), ("[tool.usecasecore]\napp = 3", "[tool.usecasecore] app is 3, not a text")],
)
def test_a_wrong_pyproject_is_an_error(run: CommandLine, nowhere: Path, content: str, error: str) -> None:
    (nowhere / "pyproject.toml").write_text(content)
    ran = run("usecase", "list")
    assert ran.code == 2
    assert error in ran.err.splitlines()[0]


@pytest.mark.parametrize("reference", ["", "shop", "shop:", ":app"])
def test_a_reference_without_module_or_attribute_says_how_it_is_written(run: CommandLine, reference: str) -> None:
    ran = run("usecase", "list", "--app", reference)
    assert ran.code == 2
    assert f"error: {reference!r} doesn't name an application\nhint: write it as module:attribute" in ran.err


def test_a_missing_module_says_where_it_was_looked_for(run: CommandLine, nowhere: Path) -> None:
    ran = run("usecase", "list", "--app", "not_there.app:app")
    assert ran.code == 2
    assert "error: there is no module 'not_there'\n" in ran.err
    assert str(nowhere) in ran.err.splitlines()[-1]


def test_a_module_that_lacks_another_one_is_not_called_missing(run: CommandLine, write_module: WriteModule) -> None:
    write_module("lacking", "import not_there\n")
    ran = run("usecase", "list", "--app", "lacking:app")
    assert ran.code == 2
    assert "error: importing lacking failed: ModuleNotFoundError: No module named 'not_there'\n" in ran.err


@pytest.mark.parametrize("end", ["raise SystemExit(3)", "import sys; sys.exit(3)"])
def test_a_module_that_exits_when_it_is_imported_is_an_error(run: CommandLine, write_module: WriteModule, end: str) -> None:
    write_module("exiting", end)
    ran = run("usecase", "list", "--app", "exiting:app")
    assert ran.code == 2
    assert "error: importing exiting failed: SystemExit: 3\n" in ran.err


def test_a_wrong_declaration_shows_all_of_its_problems(run: CommandLine, write_module: WriteModule) -> None:
    write_module("declaring", "Application([int, str], None)\n")
    ran = run("usecase", "list", "--app", "declaring:app")
    assert ran.code == 2
    assert "error: importing declaring failed: DefinitionError: 3 problems:\n- " in ran.err
    assert "Traceback" not in ran.err


def test_a_missing_attribute_names_the_applications_that_are_there(run: CommandLine, write_module: WriteModule) -> None:
    write_module("other_names", "other = app\nnumber = 3\n")
    ran = run("usecase", "list", "--app", "other_names:ap")
    assert ran.code == 2
    assert ran.err.splitlines()[1:] == [
        "error: other_names has no 'ap'",
        "hint: did you mean 'app'? applications and runtimes in it: app, other",
    ]


def test_a_proxy_that_raises_is_passed_over_when_names_are_suggested(run: CommandLine, write_module: WriteModule) -> None:
    write_module("proxies", "class Proxy:\n    def __getattr__(self, name):\n        raise RuntimeError\nproxy = Proxy()\n")
    ran = run("usecase", "list", "--app", "proxies:nothing")
    assert ran.err.splitlines()[-1] == "hint: applications and runtimes in it: app"


def test_an_object_of_another_type_is_an_error(run: CommandLine, write_module: WriteModule) -> None:
    write_module("typed", "number = 3\n")
    ran = run("usecase", "list", "--app", "typed:number")
    assert ran.code == 2
    assert "error: typed:number is of type int, and neither an Application nor a Runtime\n" in ran.err


def test_a_function_that_makes_an_application_is_called(run: CommandLine, write_module: WriteModule) -> None:
    write_module("making", "def make():\n    return app\n")
    assert run("usecase", "list", "--app", "making:make").code == 0


def test_a_function_that_fails_is_an_error(run: CommandLine, write_module: WriteModule) -> None:
    write_module("failing", "def make(settings):\n    return app\n")
    ran = run("usecase", "list", "--app", "failing:make")
    assert ran.code == 2
    assert "error: calling failing:make failed: TypeError: make() missing 1 required positional argument" in ran.err


def test_an_attribute_of_an_attribute_is_found(run: CommandLine, write_module: WriteModule) -> None:
    write_module("nesting", "class services:\n    inner = app\n")
    assert run("usecase", "list", "--app", "nesting:services.inner").code == 0


def test_whatever_has_an_application_will_do_for_a_runtime(run: CommandLine, write_module: WriteModule) -> None:
    write_module("running", "class Service:\n    application = app\nservice = Service()\n")
    assert run("usecase", "list", "--app", "running:service").code == 0


def test_what_a_module_prints_does_not_mix_with_the_data(run: CommandLine, write_module: WriteModule) -> None:
    write_module("printing", "print('hello')\ndef make():\n    print('made')\n    return app\n")
    ran = run("usecase", "list", "--app", "printing:make", "--format", "json")
    assert ran.data["use_cases"] == []
    assert "hello\nmade\n" in ran.err
