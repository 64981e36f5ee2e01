"""The loans example: an event log replayed, against what is known of the log without the library.

The full log, which is no part of the project, is read where it is: USECASECORE_LOANS_LOG, else `shared/data` beside the
checkout. Everywhere else the generated log stands for it, which goes all of its ways.
"""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, StaticPool, create_engine, func, select

from examples.loans.generate import WAYS, generate, write_log
from examples.loans.log import Activity, LogEvent, LogUnreadable, read_log
from examples.loans.model import LoanApplication
from examples.loans.replay import Report, replay
from usecasecore.errors import Refusal
from usecasecore.ledger import ledger_tables

ROOT = Path(__file__).parents[2]
FULL_LOG = Path(os.environ.get("USECASECORE_LOANS_LOG", ROOT.parent / "shared" / "data" / "loan-applications.csv.gz"))

# Counted from the log itself, without the library: how often each event is there, and which follows which.
FACTS = {
    "SUBMITTED": 13_087,
    "PARTLYSUBMITTED": 13_087,
    "DECLINED": 7_635,
    "PREACCEPTED": 7_367,
    "ACCEPTED": 5_113,
    "FINALIZED": 5_015,
    "CANCELLED": 2_807,
    "APPROVED": 2_246,
    "REGISTERED": 2_246,
    "ACTIVATED": 2_246,
}
FOLLOWS = {
    ("new", "SUBMITTED"): 13_087,
    ("SUBMITTED", "PARTLYSUBMITTED"): 13_087,
    ("PARTLYSUBMITTED", "PREACCEPTED"): 7_367,
    ("PARTLYSUBMITTED", "DECLINED"): 5_719,
    ("PARTLYSUBMITTED", "CANCELLED"): 1,
    ("PREACCEPTED", "ACCEPTED"): 5_113,
    ("PREACCEPTED", "CANCELLED"): 1_100,
    ("PREACCEPTED", "DECLINED"): 1_085,
    ("ACCEPTED", "FINALIZED"): 5_015,
    ("ACCEPTED", "CANCELLED"): 66,
    ("ACCEPTED", "DECLINED"): 29,
    ("FINALIZED", "CANCELLED"): 1_640,
    ("FINALIZED", "DECLINED"): 802,
}
CONCLUSIONS = {"APPROVED", "REGISTERED", "ACTIVATED"}
ENDS = {
    "declined": 7_635,
    "cancelled": 2_807,
    "approved_registered_activated": 2_246,
    "finalized": 327,
    "preaccepted": 69,
    "accepted": 3,
}


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """On a new database: the test runs on SQLite and on PostgreSQL."""
    with opened(database_url) as engine:
        yield engine


@pytest.fixture
def sqlite(sqlite_url: str) -> Iterator[Engine]:
    """On a new SQLite file, for what doesn't depend on the database."""
    with opened(sqlite_url) as engine:
        yield engine


@contextmanager
def opened(url: str, **options: Any) -> Iterator[Engine]:
    engine = create_engine(url, **options)
    try:
        yield engine
    finally:
        engine.dispose()


def generated(folder: Path) -> list[LogEvent]:
    write_log(folder / "log.csv.gz", generate().rows)
    return read_log(folder / "log.csv.gz")


def tables(engine: Engine) -> dict[str, list[Any]]:
    """Return every row of every table that a replay writes to."""
    with engine.connect() as connection:
        wanted = (*ledger_tables().metadata.sorted_tables, LoanApplication.__table__)
        return {str(table): sorted(map(repr, connection.execute(select(table)))) for table in wanted}


# The made-up log


def test_the_ways_of_the_generated_log_are_those_of_the_real_one() -> None:
    events: Counter[str] = Counter()
    follows: Counter[tuple[str, str]] = Counter()
    ends: Counter[str] = Counter()
    for way in WAYS:
        names = [event.removeprefix("A_") for event in way.events]
        ends[way.ends] += way.count
        for before, after in pairwise(["new", *names]):
            events[after] += way.count
            if after not in CONCLUSIONS:
                follows[before, after] += way.count
    orders = [way.events[-3:] for way in WAYS if way.ends == "approved_registered_activated"]

    assert events == FACTS
    assert follows == FOLLOWS
    assert ends == ENDS
    assert len(set(orders)) == 6


def test_the_generated_log_is_the_same_each_time_and_goes_all_the_ways() -> None:
    log = generate()

    assert log == generate()
    assert set(log.ways.values()) == set(WAYS)


# A replay


def test_a_log_replays_without_a_refusal_and_each_application_ends_where_its_way_leads(engine: Engine, tmp_path: Path) -> None:
    log = generate()
    report = replay(generated(tmp_path), engine)

    assert report.refusals == []
    assert (report.applications, report.commands, report.replayed, report.refused) == (100, log.commands, 0, 0)
    assert report.states == log.states
    assert report.audit_entries == report.events == log.commands
    with engine.connect() as connection:
        rows = connection.execute(select(LoanApplication.number, LoanApplication.version))
        versions = {row.number: row.version for row in rows}
    assert versions == {number: len(way.events) for number, way in log.ways.items()}


def test_the_audit_entries_have_the_log_s_times_and_resources(engine: Engine, tmp_path: Path) -> None:
    events = generated(tmp_path)
    replay(events, engine)

    audit = ledger_tables().audit
    with engine.connect() as connection:
        written = connection.execute(select(audit.c.aggregate_id, audit.c.occurred_at, audit.c.actor)).all()
    assert sorted(map(tuple, written)) == sorted(
        (str(event.application), event.occurred_at.astimezone(UTC), f"resource:{event.resource or 'unknown'}") for event in events
    )


def test_a_second_run_replays_every_command_and_writes_nothing(engine: Engine, tmp_path: Path) -> None:
    events = generated(tmp_path)
    first = replay(events, engine)
    before = tables(engine)

    second = replay(events, engine)

    assert tables(engine) == before
    assert (second.commands, second.replayed, second.refused) == (first.commands, first.commands, 0)
    assert (second.states, second.audit_entries, second.events) == (first.states, first.audit_entries, first.events)


def test_an_interrupted_replay_goes_on_where_it_stopped(engine: Engine, tmp_path: Path) -> None:
    events = generated(tmp_path)
    done = len(events) // 2
    replay(events[:done], engine)

    report = replay(events, engine)

    assert (report.commands, report.replayed, report.refused) == (len(events), done, 0)
    assert report.states == generate().states


# Two events of an application have changed places. What has to be refused then follows from the lifecycle alone:
# a trigger fits one state of the way; what doesn't fit is refused and leaves the application where it is.

SUCCESS = ("SUBMITTED", "PARTLYSUBMITTED", "PREACCEPTED", "ACCEPTED", "FINALIZED", "REGISTERED", "ACTIVATED", "APPROVED")
DECLINED = ("SUBMITTED", "PARTLYSUBMITTED", "PREACCEPTED", "ACCEPTED", "FINALIZED", "DECLINED")
EARLY = ("SUBMITTED", "PARTLYSUBMITTED", "DECLINED")
GIVE_UP = ["cancel", "decline"]


def story(names: Sequence[str], *, application: int = 173_688) -> list[LogEvent]:
    """Return these events of one application, one a minute."""
    start = datetime(2011, 10, 1, tzinfo=UTC)
    return [
        LogEvent(
            occurred_at=start + timedelta(minutes=minute),
            application=application,
            activity=Activity(f"A_{name}"),
            resource="112",
            amount_requested=20_000,
        )
        for minute, name in enumerate(names)
    ]


def swapped(names: Sequence[str], first: str, second: str) -> list[str]:
    """Return the names with two of them in each other's place."""
    places = {first: second, second: first}
    return [places.get(name, name) for name in names]


def not_possible(trigger: str, state: str, allowed: list[str], lifecycle: str = "loan_application") -> tuple[Any, ...]:
    return ("transition_not_allowed", lifecycle, trigger, state, allowed)


def not_finalized(trigger: str, lifecycle: str) -> tuple[Any, ...]:
    return ("guard_rejected", f"loan_application.{lifecycle}", trigger, "pending", [trigger])


UNKNOWN: tuple[Any, ...] = ("aggregate_not_found", None, None, None, None)
NONE_OF_THE_THREE = [
    ("REGISTERED", not_finalized("register", "registration")),
    ("ACTIVATED", not_finalized("activate", "activation")),
    ("APPROVED", not_finalized("approve", "approval")),
]


def reasons(report: Report) -> list[tuple[str, tuple[Any, ...]]]:
    return [(one.event.activity.removeprefix("A_"), reason(one.refusal)) for one in report.refusals]


def reason(refusal: Refusal) -> tuple[Any, ...]:
    facts = refusal.params
    return (
        refusal.code,
        facts.get("lifecycle"),
        facts.get("trigger"),
        facts.get("state"),
        None if refusal.allowed is None else sorted(refusal.allowed),
    )


@pytest.mark.parametrize(
    ("names", "pair", "refused", "ends"),
    [
        pytest.param(
            # ACCEPTED comes too early, at partly submitted. PREACCEPTED then fits; but nothing accepts any more, so
            # FINALIZED comes to a preaccepted application, and the three need a finalized one.
            SUCCESS,
            ("PREACCEPTED", "ACCEPTED"),
            [
                ("ACCEPTED", not_possible("accept", "partly_submitted", [*GIVE_UP, "preaccept"])),
                ("FINALIZED", not_possible("finalize", "preaccepted", ["accept", *GIVE_UP])),
                *NONE_OF_THE_THREE,
            ],
            "preaccepted",
            id="accepted before preaccepted",
        ),
        pytest.param(
            # There is nothing yet that could be partly submitted; and once there is, nothing partly submits it.
            EARLY,
            ("SUBMITTED", "PARTLYSUBMITTED"),
            [
                ("PARTLYSUBMITTED", UNKNOWN),
                ("DECLINED", not_possible("decline", "submitted", ["submit_partly"])),
            ],
            "submitted",
            id="partly submitted before submitted",
        ),
        pytest.param(
            # An accepted application may be declined. Declined is final: FINALIZED comes too late.
            DECLINED,
            ("FINALIZED", "DECLINED"),
            [("FINALIZED", not_possible("finalize", "declined", []))],
            "declined",
            id="declined before finalized",
        ),
        pytest.param(
            # Registered while only accepted; FINALIZED fits all the same, and the other two come after it.
            SUCCESS,
            ("FINALIZED", "REGISTERED"),
            [("REGISTERED", not_finalized("register", "registration"))],
            "approved_activated",
            id="registered before finalized",
        ),
        pytest.param(
            # The three come in any order.
            SUCCESS,
            ("REGISTERED", "APPROVED"),
            [],
            "approved_registered_activated",
            id="approved before registered",
        ),
    ],
)
def test_two_swapped_events_get_the_refusals_that_the_lifecycle_says(
    names: Sequence[str], pair: tuple[str, str], refused: list[Any], ends: str, sqlite: Engine
) -> None:
    report = replay(story(swapped(names, *pair)), sqlite)

    assert reasons(report) == refused
    assert report.states == {ends: 1}
    assert (report.commands, report.refused) == (len(names) - len(refused), len(refused))
    assert report.audit_entries == report.events == report.commands


def test_two_swapped_events_of_one_application_are_no_matter_to_the_others(engine: Engine, tmp_path: Path) -> None:
    others = generated(tmp_path)
    report = replay([*others, *story(swapped(DECLINED, "FINALIZED", "DECLINED"))], engine)

    assert reasons(report) == [("FINALIZED", not_possible("finalize", "declined", []))]
    assert report.commands == len(others) + len(DECLINED) - 1
    states = generate().states
    assert report.states == {**states, "declined": states["declined"] + 1}


@pytest.mark.parametrize("conclusion", sorted(CONCLUSIONS))
@pytest.mark.parametrize(("event", "trigger"), [("DECLINED", "decline"), ("CANCELLED", "cancel")])
def test_an_application_that_one_of_the_three_happened_to_is_neither_declined_nor_cancelled(
    event: str, trigger: str, conclusion: str, sqlite: Engine
) -> None:
    report = replay(story([*DECLINED[:-1], conclusion, event]), sqlite)

    assert reasons(report) == [(event, ("guard_rejected", "loan_application", trigger, "finalized", GIVE_UP))]
    assert report.states == {conclusion.lower(): 1}


def test_a_refused_event_is_refused_again_when_the_log_is_replayed_again(sqlite: Engine) -> None:
    events = story(swapped(DECLINED, "FINALIZED", "DECLINED"))
    first = replay(events, sqlite)
    second = replay(events, sqlite)

    assert [one.refusal for one in second.refusals] == [one.refusal for one in first.refusals]
    assert (second.commands, second.replayed) == (5, 5)


# Reading

HEADER = "occurred_at,application,event,resource,amount_requested"
GOOD = "2011-10-01T00:38:44.546+02:00,173688,A_SUBMITTED,112,20000"


def file_of(folder: Path, *lines: str) -> Path:
    file = folder / "log.csv"
    file.write_text("\n".join(lines) + "\n")
    return file


def test_plain_and_compressed_files_read_the_same(tmp_path: Path) -> None:
    rows = generate().rows
    write_log(tmp_path / "log.csv", rows)

    assert read_log(tmp_path / "log.csv") == generated(tmp_path)


def test_events_are_sorted_by_time_and_those_of_one_instant_keep_their_order(tmp_path: Path) -> None:
    log = file_of(
        tmp_path,
        HEADER,
        "2011-10-30T02:30:00+01:00,1,A_PREACCEPTED,,0",
        "2011-10-30T02:10:00+02:00,1,A_SUBMITTED,,0",
        "2011-10-30T01:10:00+01:00,1,A_PARTLYSUBMITTED,,0",
        "2011-10-30T00:00:00+02:00,1,O_SENT,,0",
    )

    names = [event.activity.removeprefix("A_") for event in read_log(log)]
    assert names == ["SUBMITTED", "PARTLYSUBMITTED", "PREACCEPTED"]


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("yesterday,1,A_SUBMITTED,112,0", "occurred_at 'yesterday' is no time"),
        ("2011-10-01T00:38:44,1,A_SUBMITTED,112,0", "occurred_at '2011-10-01T00:38:44' has no offset"),
        ("2011-10-01T00:38:44Z,one,A_SUBMITTED,112,0", "application 'one' is no whole number"),
        ("2011-10-01T00:38:44Z,1,A_FORGOTTEN,112,0", "event 'A_FORGOTTEN' is unknown; known: A_SUBMITTED, "),
        ("2011-10-01T00:38:44Z,1,A_SUBMITTED,112,-5", "amount_requested '-5' is no whole number"),
        ("2011-10-01T00:38:44Z,1,A_SUBMITTED,112", "another number of columns"),
        ("2011-10-01T00:38:44Z,1,A_SUBMITTED,112,0,0", "another number of columns"),
    ],
)
def test_a_row_that_cannot_be_read_is_named_by_its_line(row: str, problem: str, tmp_path: Path) -> None:
    log = file_of(tmp_path, HEADER, GOOD, row, GOOD)

    with pytest.raises(LogUnreadable, match="line 3: ") as caught:
        read_log(log)
    assert caught.value.line == 3
    assert problem in caught.value.problem


def test_a_header_that_lacks_a_column_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LogUnreadable, match="line 1: the header lacks amount_requested; the columns are occurred_at, "):
        read_log(file_of(tmp_path, HEADER.removesuffix(",amount_requested"), GOOD))


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(gzip.compress(b"x" * 999, mtime=0)[:20], id="cut off"),
        pytest.param(b"\x1f\x8bnot gzip", id="not gzip"),
        pytest.param(b"caf\xe9\n", id="not UTF-8"),
    ],
)
def test_a_file_that_is_no_log_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(content)

    with pytest.raises(LogUnreadable):
        read_log(tmp_path / "log")


# The program


def program(*arguments: object, module: str = "replay") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", f"examples.loans.{module}", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_the_program_ends_with_one_json_object(database_url: str, tmp_path: Path) -> None:
    log = generate()
    write_log(tmp_path / "log.csv.gz", log.rows)

    ran = program(tmp_path / "log.csv.gz", "--database", database_url, "--format", "json")

    assert ran.returncode == 0, ran.stderr
    facts = json.loads(ran.stdout.splitlines()[-1])
    assert facts.pop("seconds") > 0
    assert facts == {
        "applications": 100,
        "commands": log.commands,
        "replayed": 0,
        "refused": 0,
        "states": log.states,
        "audit_entries": log.commands,
        "events": log.commands,
    }


def test_the_program_s_text_names_what_was_refused(sqlite_url: str, tmp_path: Path) -> None:
    names = swapped(DECLINED, "FINALIZED", "DECLINED")
    rows = [(event.occurred_at.isoformat(), str(event.application), event.activity.value, "112", "0") for event in story(names)]
    write_log(tmp_path / "log.csv", rows)

    ran = program(tmp_path / "log.csv", "--database", sqlite_url)

    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines()[-1] == (
        "  173688 A_FINALIZED: [transition_not_allowed] "
        "loan_application: 'finalize' is not possible from 'declined'; possible: nothing, the state is final"
    )


def test_the_program_stops_after_the_limit(sqlite_url: str, tmp_path: Path) -> None:
    write_log(tmp_path / "log.csv", generate().rows)

    ran = program(tmp_path / "log.csv", "--database", sqlite_url, "--limit", 40, "--format", "json")

    facts = json.loads(ran.stdout)
    assert (facts["commands"], facts["audit_entries"], facts["refused"]) == (40, 40, 0)


def test_without_a_database_the_program_says_where_it_made_one(tmp_path: Path) -> None:
    write_log(tmp_path / "log.csv", generate().rows)
    environment = {**os.environ, "TMPDIR": str(tmp_path)}

    command = [sys.executable, "-m", "examples.loans.replay", str(tmp_path / "log.csv"), "--limit", "5"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, env=environment)

    (file,) = tmp_path.glob("*/loans.db")
    assert ran.stderr == f"5 events to sqlite:///{file}\n"


@pytest.mark.parametrize("database", ["sqlite:////nowhere/at/all.db", "nonsense"])
def test_an_unusable_database_is_an_error_without_a_traceback(database: str, tmp_path: Path) -> None:
    ran = program(file_of(tmp_path, HEADER, GOOD), "--database", database)

    assert ran.returncode == 2
    assert "\nerror: " in f"\n{ran.stderr}"
    assert "Traceback" not in ran.stderr


def test_an_unreadable_log_is_an_error_that_names_the_line(tmp_path: Path) -> None:
    log = file_of(tmp_path, HEADER, GOOD, GOOD.replace("A_SUBMITTED", "A_FORGOTTEN"))

    ran = program(log)

    assert ran.returncode == 2
    assert ran.stderr.startswith(f"error: {log}, line 3: event 'A_FORGOTTEN' is unknown")


def test_a_made_up_log_can_be_written_for_the_program(tmp_path: Path) -> None:
    ran = program(tmp_path / "log.csv.gz", "--applications", 50, module="generate")

    assert ran.returncode == 0, ran.stderr
    assert len({event.application for event in read_log(tmp_path / "log.csv.gz")}) == 50


# The log itself


@pytest.mark.skipif(not FULL_LOG.exists(), reason=f"the log is not at {FULL_LOG}; USECASECORE_LOANS_LOG may say where it is")
@pytest.mark.sqlite
@pytest.mark.long
@pytest.mark.timeout(600)
def test_the_log_of_the_bpi_challenge_2012_replays_to_the_facts_that_are_known_of_it() -> None:
    # In memory: that each commit waits for the disk is no matter here, and would take as long again.
    with opened("sqlite://", poolclass=StaticPool) as engine:
        events = read_log(FULL_LOG)
        assert Counter(event.activity.removeprefix("A_") for event in events) == FACTS

        first = replay(events, engine)

        assert first.refusals == []
        assert (first.applications, first.commands, first.replayed, first.refused) == (13_087, 60_849, 0, 0)
        assert first.states == ENDS
        assert (first.audit_entries, first.events) == (60_849, 60_849)
        written = counts_and_versions(engine)
        assert written == (60_849, 60_849, 0, 60_849, 13_087, 60_849)

        second = replay(events, engine)

        assert (second.applications, second.commands, second.replayed, second.refused) == (13_087, 60_849, 60_849, 0)
        assert (second.states, second.audit_entries, second.events) == (ENDS, 60_849, 60_849)
        assert counts_and_versions(engine) == written


def counts_and_versions(engine: Engine) -> tuple[int, ...]:
    """Return how many keys, audit entries, attempts, messages and applications there are, and the sum of all versions."""
    ledger = ledger_tables()
    counted = (ledger.idempotency, ledger.audit, ledger.attempt, ledger.outbox, LoanApplication)
    with engine.connect() as connection:
        counts = [connection.scalar(select(func.count()).select_from(one)) or 0 for one in counted]
        return (*counts, connection.scalar(select(func.sum(LoanApplication.version))) or 0)
