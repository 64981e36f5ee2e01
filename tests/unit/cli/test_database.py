from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.cli.command_line import CommandLine
from tests.unit.cli.conftest import SAMPLE

SECRET = "tops3cret"
UNREACHABLE = f"postgresql+psycopg://ada:{SECRET}@127.0.0.1:1/shop"


@pytest.mark.parametrize(
    ("url", "error"),
    [
        (SECRET, "the database's URL can't be read"),
        (f"postgresql://ada:{SECRET}@host:port/shop", "the database's URL can't be read"),
        (f"postgresql://ada:x@{SECRET}@host/shop", "the database's URL has more than one @"),
        (f"postgrsql://ada:{SECRET}@host/shop", "SQLAlchemy knows no database 'postgrsql'"),
        (f"sqlite://ada:{SECRET}@host/shop", "Invalid SQLite URL"),
        ("", "the database's URL is empty"),
        (UNREACHABLE, "the database can't be reached: connection failed"),
    ],
)
@pytest.mark.parametrize("debug", [[], ["--debug"]])
def test_a_wrong_url_is_an_error_with_a_hint_and_without_the_password(
    run: CommandLine, url: str, error: str, debug: list[str]
) -> None:
    ran = run(*debug, "db", "check", "--url", url)
    assert (ran.code, ran.out) == (2, "")
    assert f"error: {error}" in ran.err
    assert "\nhint: " in ran.err
    assert SECRET not in ran.err


def test_a_password_in_what_the_driver_says_is_struck_out(run: CommandLine) -> None:
    ran = run("--debug", "db", "check", "--url", f"postgresql+psycopg://ada:{SECRET}@127.0.0.1:1/shop?hostaddr={SECRET}")
    assert ran.code == 2
    assert "Traceback" in ran.err
    assert "***" in ran.err
    assert SECRET not in ran.err


def test_a_missing_driver_of_postgresql_names_the_extra(run: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    ran = run("db", "check", "--url", UNREACHABLE)
    assert ran.code == 2
    assert "error: the driver 'psycopg' is not installed\nhint: pip install \"usecasecore[postgres]\"" in ran.err


def test_a_missing_driver_of_another_database_is_named(run: CommandLine) -> None:
    ran = run("db", "check", "--url", "mysql+not_a_driver://ada@host/shop")
    assert ran.code == 2
    assert "error: SQLAlchemy knows no database 'mysql+not_a_driver'" in ran.err


def test_no_database_at_all_says_where_one_can_be_named(run: CommandLine) -> None:
    ran = run("audit", "tail")
    assert ran.code == 2
    assert ran.err.startswith("error: no database is named\nhint: pass --url URL or set USECASECORE_URL")


def test_an_application_has_no_database(run: CommandLine) -> None:
    ran = run("db", "check", "--app", SAMPLE)
    assert ran.code == 2
    assert f"error: no database is named, and {SAMPLE} has none\n" in ran.err


def test_looking_at_a_file_that_is_missing_does_not_make_it(run: CommandLine, nowhere: Path) -> None:
    ran = run("audit", "tail", "--url", "sqlite:///shop.db")
    assert ran.code == 2
    assert "error: there is no file shop.db\nhint: `usecasecore db upgrade --url URL` makes it" in ran.err
    assert not (nowhere / "shop.db").exists()


def test_the_option_wins_over_the_environment(run: CommandLine, monkeypatch: pytest.MonkeyPatch, nowhere: Path) -> None:
    monkeypatch.setenv("USECASECORE_URL", "sqlite:///other.db")
    ran = run("db", "upgrade", "--url", "sqlite:///shop.db")
    assert (ran.code, ran.err) == (0, "database: sqlite:///shop.db (from --url)\n")
    assert [file.name for file in nowhere.glob("*.db")] == ["shop.db"]


def test_the_environment_wins_over_the_runtime(
    run: CommandLine, monkeypatch: pytest.MonkeyPatch, write_module: Callable[[str, str], None]
) -> None:
    write_module("with_runtime", RUNTIME)
    monkeypatch.setenv("USECASECORE_URL", "sqlite:///other.db")
    ran = run("db", "upgrade", "--app", "with_runtime:runtime")
    assert (ran.code, ran.err) == (0, "database: sqlite:///other.db (from USECASECORE_URL)\n")


def test_the_database_of_a_runtime_is_taken_where_nobody_names_one(
    run: CommandLine, nowhere: Path, write_module: Callable[[str, str], None]
) -> None:
    write_module("runtime_only", RUNTIME)
    ran = run("db", "upgrade", "--app", "runtime_only:runtime")
    assert ran.code == 0
    assert ran.err.splitlines()[1] == "database: sqlite:///runtime.db (from the runtime)"
    assert (nowhere / "runtime.db").exists()


def test_what_the_url_asks_of_the_driver_is_not_shown(run: CommandLine) -> None:
    ran = run("db", "upgrade", "--url", f"sqlite:///file:shop.db?uri=true&mode=memory&password={SECRET}")
    assert SECRET not in ran.err


RUNTIME = """
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool
from usecasecore import Runtime
runtime = Runtime(create_engine("sqlite:///runtime.db", poolclass=NullPool), app)
"""
