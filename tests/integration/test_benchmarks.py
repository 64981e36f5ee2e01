"""The benchmarks run: a little of each, so that they still do when somebody wants figures. How fast anything is, is no matter here."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Engine, create_engine, func, insert, select

import benchmarks.__main__ as command_line
from benchmarks import cold, databases, ours, report, rings
from benchmarks.connections import Backends, engine_of
from benchmarks.measurement import Crew, Ratio, measure
from benchmarks.sides import CORE, NAIVE, ORM, ORM_ASYNCPG, ORM_PSYCOPG, OURS, OURS_ASYNCPG, OURS_PSYCOPG, Side, lifecycle_of
from benchmarks.table import Results, Row, Table
from benchmarks.wal import written
from benchmarks.worker import Tasks, Threads
from tests.postgres import drop_database
from usecasecore import migrations, uuid7
from usecasecore.ledger import ledger_tables

TICKETS = 4


@pytest.fixture
def filled(postgres_url: str) -> Iterator[Engine]:
    engine = create_engine(postgres_url)
    with engine.begin() as connection:
        migrations.upgrade(connection)
        ours.Base.metadata.create_all(connection)
        rows = [{"id": uuid7(), "customer": "c", "subject": "s", "priority": 1, "budget": 10**9} for _ in range(TICKETS)]
        connection.execute(insert(ours.Ticket), rows)
    yield engine
    engine.dispose()


def url_of(engine: Engine) -> str:
    return engine.url.render_as_string(hide_password=False)


def counted(engine: Engine) -> dict[str, int]:
    ledger = ledger_tables()
    with engine.connect() as connection:
        return {
            table.name.removeprefix("usecasecore_"): connection.scalar(select(func.count()).select_from(table)) or 0
            for table in (ledger.idempotency, ledger.audit, ledger.outbox)
        }


@pytest.mark.parametrize(
    "side", [ORM, CORE, OURS, ORM_PSYCOPG, ORM_ASYNCPG, OURS_PSYCOPG, OURS_ASYNCPG], ids=lambda side: side.name
)
def test_every_side_that_does_all_steps_writes_the_same_rows_with_several_clients(side: Side, filled: Engine) -> None:
    engine = engine_of(url_of(filled), side.asynchronous, 2)
    backends = Backends(engine)
    clients = (Threads if side.asynchronous is None else Tasks)(side.on(engine), 2)
    with filled.connect() as connection:
        ids = list(connection.scalars(select(ours.Ticket.id)))
    latencies, failures = clients.run([(one, str(uuid4())) for one in ids])
    spent = backends.cpu()
    if isinstance(clients, Tasks):
        clients.close(engine.dispose)
    else:
        engine.dispose()
    assert failures == []
    assert len(latencies) == TICKETS
    if sys.platform == "linux":
        assert spent is not None
        assert spent > 0
    assert counted(filled) == {"idempotency": TICKETS, "audit": TICKETS, "outbox": 2 * TICKETS}


def test_what_fails_is_told_with_the_command(filled: Engine) -> None:
    _, failures = Threads(NAIVE.on(filled), 1).run([(uuid4(), "of no ticket")])
    assert [failure.split("(")[0] for failure in failures] == ["NoResultFound"]


@pytest.mark.parametrize("size", rings.SIZES)
def test_a_ring_is_left_in_its_next_state(size: int, filled: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rings, "ROWS", 1)
    with filled.begin() as connection:
        rings.fill(connection)
        (ring_id,) = connection.exec_driver_sql(f"select id from rings_{size}").scalars()
    lifecycle_of(size).on(filled)(ring_id, str(uuid4()))
    with filled.connect() as connection:
        assert connection.exec_driver_sql(f"select state, version from rings_{size}").one() == ("s1", 2)


def test_processes_are_measured_together_and_one_after_the_other(filled: Engine) -> None:
    crew = Crew(OURS, url_of(filled), clients=2, processes=2)
    seen = measure({"both": crew}, rounds=2, commands=6, warm_up=2)["both"]
    assert [len(block.latencies) for block in seen.blocks] == [6, 6]
    assert seen.failed == 0
    assert seen.rate_to(seen) == Ratio(1, 1, 1)
    assert counted(filled)["audit"] == 2 + 2 * 6


def test_a_side_whose_commands_fail_is_not_measured(filled: Engine) -> None:
    with filled.begin() as connection:
        connection.exec_driver_sql("update tickets set state = 'closed'")
    with pytest.raises(RuntimeError, match=r"^by hand: 3 of 3 commands failed: MachineError"):
        measure({"by hand": Crew(NAIVE, url_of(filled))}, rounds=1, commands=3, warm_up=3)


def test_a_fresh_process_tells_its_first_and_its_second_command(filled: Engine) -> None:
    (start,) = cold.measure([OURS], url_of(filled), 1)["usecasecore"]
    assert start.first > start.second > 0
    assert counted(filled)["audit"] == 2


def test_a_grown_ledger_has_rows_everywhere_and_the_indexes_of_an_empty_one(
    filled: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(databases, "TICKETS", TICKETS)
    grown = databases.grown(databases.Database("PostgreSQL", url_of(filled), ""), 30)
    engine = create_engine(grown.url)
    try:
        assert counted(engine) == {"idempotency": 30, "audit": 30, "outbox": 30}
        assert _indexes(engine) == _indexes(filled)
    finally:
        engine.dispose()
        drop_database(url_of(filled), "grown_30")


def _indexes(engine: Engine) -> list[Any]:
    with engine.connect() as connection:
        query = "select indexdef from pg_indexes where tablename like 'usecasecore%%' order by indexname"
        return list(connection.exec_driver_sql(query).scalars())


def test_what_is_written_ahead_is_counted(filled: Engine) -> None:
    with written(url_of(filled)) as wal, filled.begin() as connection:
        connection.exec_driver_sql("update tickets set answers = answers + 1")
    # An update for each row, and the commit.
    assert wal.records >= TICKETS + 1
    assert wal.bytes >= wal.records * 24  # a record's header


RESULTS = Results(
    ("2 cores",),
    (
        Table(
            "hot",
            "on one row",
            (
                Row("by hand", {"p50 us": 0.0012, "commands/s": 801.7, "x ORM": Ratio(1.0, 1.0, 1.0), "failed": 0}),
                Row("usecasecore", {"p50 us": 0.0004, "commands/s": 2500.2, "x ORM": Ratio(3.119, 2.9, 3.2), "failed": None}),
            ),
            ("a note",),
        ),
    ),
)


def test_results_are_the_same_after_a_way_through_json() -> None:
    assert Results.from_json(RESULTS.json()) == RESULTS


def test_the_page_and_the_terminal_show_the_units_of_the_columns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "run.json").write_text(RESULTS.json())
    monkeypatch.setattr("sys.argv", ["report", str(tmp_path / "run.json")])
    report.main()
    page = capsys.readouterr().out.splitlines()
    assert "| usecasecore | 400 | 2500 | 3.12 (2.90-3.20) | - |" in page
    assert "- a note" in page
    assert RESULTS.tables[0].text().splitlines()[2].split() == ["by", "hand", "1200", "802", "1.00", "(1.00-1.00)", "0"]


def test_a_section_that_does_not_exist_is_refused_with_those_that_do() -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=r"^no section warm; there are one-client, .*, cold$"):
        command_line._names("hot,warm")
