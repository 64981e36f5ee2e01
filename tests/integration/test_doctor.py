"""`usecasecore doctor`: each finding is provoked for real, and a database without any has none."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any
from uuid import UUID

import pytest
import sqlalchemy
from sqlalchemy import JSON, Computed, Engine, ForeignKey, Table, create_engine, event, func, insert, text, update
from sqlalchemy.ext.mutable import MutableDict
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship

from tests.accounts import Account, Base, Open, application
from tests.chaos.test_scopes import LeaveGuarded
from tests.postgres import PostgresServer, PostgresUnavailable
from tests.unit.cli.command_line import CommandLine
from usecasecore import (
    AllowAll,
    Application,
    Command,
    ExecutionContext,
    Key,
    Result,
    Runtime,
    UseCase,
    migrations,
    unofficial,
    version_column,
)
from usecasecore.code_pages import CodePages
from usecasecore.diagnosis import Diagnosis, Finding, Severity, diagnose
from usecasecore.ledger import ledger_tables

TABLES = ledger_tables()
ASYNC_DRIVERS = {"sqlite": ["sqlite+aiosqlite"], "postgresql": ["postgresql+psycopg_async", "postgresql+asyncpg"]}
PAGES = CodePages("usecasecore.diagnosis", "UCD")


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """A database with the accounts' tables and an account that was opened."""
    yield from opened(database_url)


@pytest.fixture
def postgres(postgres_url: str) -> Iterator[Engine]:
    """The same, on PostgreSQL only."""
    yield from opened(postgres_url)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> CommandLine:
    """The command line in an empty directory, with nothing named by the environment."""
    for variable in ("USECASECORE_APP", "USECASECORE_URL"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.chdir(tmp_path)
    return CommandLine(capsys)


def opened(url: str) -> Iterator[Engine]:
    engine = create_engine(url)
    Base.metadata.create_all(engine)
    Runtime(engine, application(), asynchronous_commit=True).execute(Open(owner="grace"))
    yield engine
    engine.dispose()


def examined(engine: Engine, app: Application | None = None, **said: Any) -> tuple[Finding, ...]:
    with engine.connect() as connection:
        return theirs(diagnose(connection, app, **said))


def theirs(diagnosis: Diagnosis) -> tuple[Finding, ...]:
    """What was found beyond how the tests' own server is set, which flushes nothing to the disk."""
    return tuple(one for one in diagnosis.findings if not one.cause.startswith(("fsync is off", "full_page_writes is off")))


def told(findings: tuple[Finding, ...]) -> list[tuple[str, str]]:
    return [(one.code, one.severity.value) for one in findings]


def test_a_database_in_good_order_has_no_finding(engine: Engine) -> None:
    assert examined(engine, application()) == ()


def test_a_database_that_was_just_migrated_has_no_finding(database_url: str) -> None:
    engine = create_engine(database_url)
    assert examined(engine) == ()
    engine.dispose()


def test_on_a_server_that_flushes_its_commits_the_command_says_that_nothing_is_wrong(run: CommandLine) -> None:
    try:
        server = PostgresServer(durable=True).start()
    except PostgresUnavailable as error:
        pytest.skip(str(error))
    with server:
        engine = create_engine(server.url())
        with engine.begin() as connection:
            migrations.upgrade(connection)
        engine.dispose()
        ran = run("doctor", "--url", server.url(), "--app", "tests.unit.cli.sample_app:app")
    assert (ran.code, ran.out) == (0, "no problems, no notes\n")
    assert "not looked at" not in ran.err


def test_a_server_that_flushes_nothing_is_a_problem(postgres_server: str, postgres: Engine) -> None:
    with postgres.connect() as connection:
        off = [name for name in ("fsync", "full_page_writes") if connection.scalar(text(f"show {name}")) == "off"]
        if not off:
            pytest.skip("this server flushes")
        found = [one for one in diagnose(connection, None).findings if one.cause.partition(" ")[0] in off]
    assert told(tuple(found)) == [("UCD201", "problem")] * len(off)


def test_asynchronous_commit_is_a_problem_and_a_note_where_the_runtime_agrees(postgres: Engine) -> None:
    name = postgres.url.database
    with postgres.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(f'alter database "{name}" set synchronous_commit = off'))
    postgres.dispose()
    [refused] = examined(postgres, application())
    assert (refused.code, refused.severity) == ("UCD201", Severity.PROBLEM)
    assert refused.cause == "synchronous_commit is off, which may lose what was acknowledged."
    [agreed] = examined(postgres, application(), asynchronous_commit=True)
    assert (agreed.code, agreed.severity) == ("UCD201", Severity.NOTE)


def test_repeatable_read_is_a_problem_where_there_are_scopes(postgres: Engine) -> None:
    repeatable = create_engine(postgres.url, isolation_level="REPEATABLE READ")
    assert examined(repeatable, application()) == ()
    [finding] = examined(repeatable, Application([LeaveGuarded], policy=AllowAll()))
    assert (finding.code, finding.severity) == ("UCD202", Severity.PROBLEM)
    assert finding.cure == "Scopes take READ COMMITTED or SERIALIZABLE."
    repeatable.dispose()


def test_an_engine_that_commits_each_statement_is_a_problem(postgres: Engine) -> None:
    autocommit = create_engine(postgres.url, isolation_level="AUTOCOMMIT")
    assert told(examined(autocommit, application())) == [("UCD202", "problem")]
    autocommit.dispose()


@pytest.mark.parametrize(("seconds", "codes"), [(5, ["UCD203"]), (-5, ["UCD203"]), (0.5, []), (-0.5, [])])
def test_clocks_that_differ_by_more_than_a_second_are_a_problem(postgres: Engine, seconds: float, codes: list[str]) -> None:
    found = examined(postgres, clock=lambda: datetime.now(UTC) + timedelta(seconds=seconds))
    assert [one.code for one in found] == codes
    for one in found:
        assert ("behind" if seconds > 0 else "ahead of") in one.cause


def test_an_answer_that_took_long_is_no_difference_of_clocks(postgres: Engine) -> None:
    # Each question as if its answer took four seconds; the database's clock is somewhere between.
    readings = iter([-2.0, 2.0] * 10)
    assert examined(postgres, clock=lambda: datetime.now(UTC) + timedelta(seconds=next(readings))) == ()


@pytest.mark.parametrize("table", [TABLES.outbox, Account.__table__], ids=lambda table: table.name)
def test_a_table_that_was_analysed_while_it_was_empty_is_a_problem_once_it_has_rows(postgres: Engine, table: Table) -> None:
    runtime = Runtime(postgres, application())
    with postgres.begin() as connection:
        connection.execute(text(f"truncate {table.name} cascade"))
        connection.execute(text(f"analyze {table.name}"))
    assert examined(postgres, application()) == ()
    runtime.execute(Open(owner="ada"))
    [finding] = examined(postgres, application())
    assert (finding.code, finding.severity) == ("UCD204", Severity.PROBLEM)
    with postgres.begin() as connection:
        connection.execute(text(finding.cure.removeprefix("Run `").removesuffix("`.")))
    assert examined(postgres, application()) == ()


def test_the_statistics_of_a_ledger_in_a_schema_of_its_own_are_seen(postgres: Engine) -> None:
    with postgres.begin() as connection:
        migrations.upgrade(connection, "Book keeping")
        connection.execute(text('analyze "Book keeping".usecasecore_audit'))
    Runtime(postgres, application(), ledger_schema="Book keeping").execute(Open(owner="ada"))
    found = examined(postgres, application(), schema="Book keeping")
    assert [(one.code, one.cure) for one in found] == [("UCD204", 'Run `ANALYZE "Book keeping".usecasecore_audit`.')]


def test_a_ledger_that_is_missing_is_a_problem_with_the_cure_of_db_check(run: CommandLine, engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("drop table usecasecore_version"))
    [finding] = examined(engine)
    assert (finding.code, finding.severity, finding.cause) == ("UCD301", Severity.PROBLEM, "The ledger is missing.")
    said = run("db", "check", "--url", engine.url.render_as_string(hide_password=False)).err
    assert finding.cure.removeprefix("Run ").removesuffix(".") in said


def test_a_table_that_is_missing_is_named(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("drop table usecasecore_personal"))
    assert [one.cause for one in examined(engine)] == ["Table usecasecore_personal is missing."]


def test_messages_that_were_set_aside_are_a_problem_and_not_due_besides(engine: Engine) -> None:
    long_ago = datetime.now(UTC) - timedelta(days=1)
    with engine.begin() as connection:
        connection.execute(update(TABLES.outbox).values(dead_at=long_ago, available_at=long_ago))
    assert told(examined(engine)) == [("UCD302", "problem")]


@pytest.mark.parametrize(("minutes", "codes"), [(14, []), (16, ["UCD303"])])
def test_messages_that_have_been_due_for_more_than_15_minutes_are_a_problem(
    engine: Engine, minutes: int, codes: list[str]
) -> None:
    due = datetime.now(UTC) - timedelta(minutes=minutes)
    with engine.begin() as connection:
        # How old it is doesn't count: it may have been tried, and put off.
        values = {"available_at": due, "occurred_at": due - timedelta(days=1)}
        connection.execute(update(TABLES.outbox).values(values))
    assert [one.code for one in examined(engine)] == codes


def test_messages_that_were_delivered_are_not_due(engine: Engine) -> None:
    long_ago = datetime.now(UTC) - timedelta(days=1)
    with engine.begin() as connection:
        connection.execute(update(TABLES.outbox).values(available_at=long_ago, delivered_at=long_ago))
    assert examined(engine) == ()


def test_more_than_10000_expired_keys_are_a_note(engine: Engine) -> None:
    key = {"tenant": "", "actor": "user:ada", "use_case": "X", "fingerprint": b"f" * 32, "command_id": UUID(int=1)}
    then = datetime.now(UTC) - timedelta(days=1)
    rows = [{**key, "key": str(number), "created_at": then, "expires_at": then} for number in range(10_001)]
    with engine.begin() as connection:
        connection.execute(insert(TABLES.idempotency), rows[:10_000])
    assert examined(engine) == ()
    with engine.begin() as connection:
        connection.execute(insert(TABLES.idempotency), rows[10_000:])
    [finding] = examined(engine)
    assert (finding.code, finding.severity) == ("UCD304", Severity.NOTE)
    assert finding.cause.startswith("10,001 ")


def test_an_unknown_sqlalchemy_is_a_warning_with_the_versions_known(run: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlalchemy, "__version__", "2.9.0")
    ran = run("doctor")
    assert ran.code == 0
    assert ran.out.startswith("UCD101 warning: SQLAlchemy's inner parts are not as they are known (version 2.9.0): ")
    assert "Install SQLAlchemy 2.0.x or 2.1.x," in ran.out
    assert "no problems, 1 warning, " in ran.out


def test_an_unknown_psycopg_is_a_warning_with_the_versions_known(run: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unofficial, "unknown_parts_of_psycopg", lambda: ("version 4.0.1",))
    ran = run("doctor")
    assert ran.code == 0
    assert ran.out.startswith("UCD103 warning: psycopg is not as it is known (version 4.0.1): ")
    assert "Install psycopg 3.2.x or 3.3.x," in ran.out


def test_psycopg_in_python_is_a_note() -> None:
    environment = {**os.environ, "PSYCOPG_IMPL": "python"}
    command = [sys.executable, "-c", "import psycopg"]
    if subprocess.run(command, env=environment, capture_output=True, check=False).returncode:
        pytest.skip("there is no libpq for psycopg in Python")
    command = [sys.executable, "-m", "usecasecore", "doctor"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("UCD102 note: ")


def test_where_there_is_no_psycopg_nothing_is_said_of_it(run: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg.pq", None)
    assert (run("doctor").code, run("doctor").out) == (0, "no problems, no notes\n")


class Tables(DeclarativeBase):
    pass


class Shelf(Tables):
    __tablename__ = "shelves"
    id: Mapped[int] = mapped_column(primary_key=True)
    stamped_at: Mapped[datetime | None] = mapped_column(onupdate=func.now())
    labels: Mapped[dict[str, Any]] = mapped_column(MutableDict.as_mutable(JSON))
    version: Mapped[int] = version_column()


class Book(Tables):
    __tablename__ = "books"
    id: Mapped[int] = mapped_column(primary_key=True)
    shelf_id: Mapped[int] = mapped_column(ForeignKey("shelves.id"))
    pages: Mapped[int]
    leaves: Mapped[int] = mapped_column(Computed("pages / 2"))
    shelf: Mapped[Shelf] = relationship(lazy="joined")
    version: Mapped[int] = version_column()


class Comic(Book):
    __tablename__ = "comics"
    id: Mapped[int] = mapped_column(ForeignKey("books.id"), primary_key=True)


class Touched(Result):
    id: int


def touching(*classes: Any) -> Application:
    """An application with a use case for each of the classes."""
    use_cases = []
    for cls in classes:
        fields = {"__annotations__": {"id": Annotated[int, Key(cls.id)]}, "__module__": __name__}
        command: Any = type(f"Touch{cls.__name__}", (Command[Touched],), fields)

        class DoTouch(UseCase[command, cls, Touched]):  # type: ignore[valid-type]  # made in the loop
            name = f"DoTouch{cls.__name__}"

            def apply(self, command: Any, aggregate: Any, context: ExecutionContext) -> Touched:
                return Touched(id=aggregate.id)

        use_cases.append(DoTouch)
    return Application(use_cases, policy=AllowAll())


def reasons(app: Application) -> list[tuple[str, str]]:
    findings = diagnose(None, app).findings
    assert {one.severity for one in findings} <= {Severity.NOTE}
    return sorted((one.code, one.cause) for one in findings)


def test_each_aggregate_that_goes_the_slower_way_is_a_note_with_the_reasons() -> None:
    assert reasons(touching(Shelf, Book, Comic)) == [
        ("UCD401", "Book is read by a query of the ORM, which takes longer: the relationship 'shelf', which loads at once."),
        ("UCD401", "Comic is read by a query of the ORM, which takes longer: inheritance."),
        (
            "UCD401",
            "Shelf is read by a query of the ORM, which takes longer: "
            "a listener to `load`, which mutable and composite attributes are too.",
        ),
        ("UCD402", "The UPDATE of Book is a statement of its own: the column 'leaves', which the database fills."),
        ("UCD402", "The UPDATE of Comic is a statement of its own: inheritance."),
        ("UCD402", "The UPDATE of Shelf is a statement of its own: `onupdate` of the column 'stamped_at'."),
    ]


@pytest.mark.parametrize(
    ("target", "name", "codes"),
    [
        (Account, "load", ["UCD401"]),
        (Session, "loaded_as_persistent", ["UCD401"]),
        (Session, "do_orm_execute", ["UCD401"]),
        (Account, "before_update", ["UCD402"]),
        (Account, "after_update", ["UCD402"]),
        (Session, "before_flush", ["UCD402"]),
    ],
)
def test_a_listener_that_commands_must_not_pass_by_is_named(target: Any, name: str, codes: list[str]) -> None:
    def listener(*arguments: Any) -> None:
        pass

    event.listen(target, name, listener)
    try:
        found = reasons(application())
    finally:
        event.remove(target, name, listener)
    assert [code for code, _ in found] == codes
    kind = "flush" if "flush" in name else f"`{name}`"
    assert kind in found[0][1]
    assert reasons(application()) == []


def test_text_shows_the_problems_first_and_json_has_the_same(run: CommandLine, engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(update(TABLES.outbox).values(dead_at=TABLES.outbox.c.occurred_at))
    address = engine.url.render_as_string(hide_password=False)
    ran = run("doctor", "--url", address)
    assert ran.code == 1
    assert "UCD302 problem: 1 message was set aside, because it failed too often.\n    See `usecasecore outbox status`" in ran.out
    assert "no application is named: its aggregates were not looked at\n" in ran.err
    assert "hint: `usecasecore explain UCD" in ran.err
    as_json = run("doctor", "--url", address, "--format", "json")
    assert (as_json.code, as_json.data["ok"], as_json.data["schema_version"]) == (1, False, 1)
    assert as_json.data["findings"][-1] == {
        "code": "UCD302",
        "severity": "problem",
        "cause": "1 message was set aside, because it failed too often.",
        "cure": "See `usecasecore outbox status`, and `last_error` of these rows.",
    }
    assert as_json.data["not_looked_at"] == ["no application is named: its aggregates were not looked at"]


def test_it_looks_through_an_asynchronous_driver(run: CommandLine, engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(update(TABLES.outbox).values(dead_at=TABLES.outbox.c.occurred_at))
    for driver in ASYNC_DRIVERS[engine.url.get_backend_name()]:
        ran = run("doctor", "--url", engine.url.set(drivername=driver).render_as_string(hide_password=False), "--format", "json")
        # The server's own are no part of this: statistics, for one, depend on when autovacuum comes by.
        assert [one["code"] for one in ran.data["findings"] if not one["code"].startswith("UCD2")] == ["UCD302"]


def test_what_the_runtime_says_of_itself_is_taken_from_it(
    run: CommandLine, postgres: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    lossy = create_engine(postgres.url, connect_args={"options": "-c synchronous_commit=off"})
    module = ModuleType("lossy_app")
    module.runtime = Runtime(lossy, application(), asynchronous_commit=True)  # type: ignore[attr-defined]  # a module of the test's
    monkeypatch.setitem(sys.modules, "lossy_app", module)
    ran = run("doctor", "--app", "lossy_app:runtime", "--format", "json")
    noted = [one["cause"] for one in ran.data["findings"] if one["severity"] == "note"]
    assert noted == [
        "synchronous_commit is off, which may lose what was acknowledged; the runtime agrees to that by asynchronous_commit=True."
    ]
    lossy.dispose()


def test_without_anything_named_the_environment_is_looked_at_and_the_rest_is_said_to_be_not(run: CommandLine) -> None:
    ran = run("doctor", "--format", "json")
    assert (ran.code, ran.data["findings"]) == (0, [])
    assert ran.data["not_looked_at"] == [
        "no database is named: its settings, its clock, its statistics and the ledger were not looked at",
        "no application is named: its aggregates were not looked at",
    ]
    assert ran.err.splitlines() == ran.data["not_looked_at"]


def test_an_application_without_a_database_is_looked_at(run: CommandLine) -> None:
    ran = run("doctor", "--app", "tests.unit.cli.sample_app:app")
    assert ran.code == 0
    assert "no database is named" in ran.err
    assert "no application is named" not in ran.err


def test_a_database_that_is_away_is_an_error(run: CommandLine) -> None:
    ran = run("doctor", "--url", "postgresql+psycopg://ada:x@127.0.0.1:1/shop")
    assert (ran.code, ran.out) == (2, "")
    assert "error: the database can't be reached" in ran.err


@pytest.mark.parametrize("code", PAGES.codes())
def test_explain_shows_the_page_of_a_code(run: CommandLine, code: str) -> None:
    ran = run("explain", code.lower())
    assert ran.code == 0
    assert ran.out.startswith(f"{code}: {PAGES.title(code)}\n\n")
    assert not PAGES.title(code).endswith(".")


def test_every_finding_has_a_page_that_the_documentation_shows_and_every_page_a_finding() -> None:
    sources = [one for one in (files("usecasecore") / "diagnosis").iterdir() if one.name.endswith(".py")]
    named = {code for one in sources for code in re.findall(r'"(UCD\d+)"', one.read_text(encoding="utf-8"))}
    assert len(named) == 13
    assert named == set(PAGES.codes())
    documented = (Path(__file__).parents[2] / "docs/reference/doctor.md").read_text(encoding="utf-8")
    assert re.findall(r'--8<-- "(UCD\d+)\.md"', documented) == list(PAGES.codes())
