"""Replay the log: `python -m examples.loans.replay PATH [--database URL] [--limit N] [--format text|json]`.

Every event becomes a command, at the log's time, by the log's resource, under a key made of the application and the
event. So a replay that was interrupted goes on where it stopped when it is started again, and one that was finished
changes nothing.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from sqlalchemy import Engine, create_engine, func, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from examples.loans.app import app
from examples.loans.log import Activity, LogEvent, LogUnreadable, read_log
from examples.loans.model import Base, LoanApplication
from examples.loans.use_cases import (
    Accept,
    Activate,
    Approve,
    Cancel,
    Decline,
    Finalize,
    Preaccept,
    Register,
    Standing,
    Submit,
    SubmitPartly,
)
from usecasecore import Actor, Command, Rejected, Runtime, UseCaseError, migrations
from usecasecore.errors import Refusal
from usecasecore.ledger import ledger_tables

__all__ = ["Format", "Refused", "Report", "replay"]

_LISTED = 20


class Format(StrEnum):
    """How the report is printed."""

    TEXT = "text"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class Refused:
    """An event that the lifecycle didn't take, and why."""

    event: LogEvent
    refusal: Refusal

    def __str__(self) -> str:
        return f"{self.event.application} {self.event.activity}: [{self.refusal.code}] {self.refusal.message}"


@dataclass(slots=True)
class Report:
    """What came of a replay.

    Attributes:
        applications: How many the database holds.
        commands: Accepted, whether executed now or replayed.
        replayed: Of these, those that an earlier run had executed.
        refused: The others.
        states: How many applications stand where; see `LoanApplication.standing`.
        audit_entries: In the ledger, from this run and earlier ones.
        events: In the outbox, likewise.
        seconds: How long the commands took.
        refusals: Each of the refused.
    """

    applications: int = 0
    commands: int = 0
    replayed: int = 0
    refused: int = 0
    states: dict[str, int] = field(default_factory=dict)
    audit_entries: int = 0
    events: int = 0
    seconds: float = 0.0
    refusals: list[Refused] = field(default_factory=list)


class _LogClock:
    """Tells the time of the event that is being replayed."""

    def __init__(self) -> None:
        self.now = datetime.min.replace(tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


def replay(events: Iterable[LogEvent], engine: Engine) -> Report:
    """Run each event's use case, in the order given; return what came of it all.

    The database's tables are created where they are missing.

    Raises:
        Conflict: If somebody else holds a lock for too long. What was replayed so far is committed.
        StoreError: If the database fails; likewise.
    """
    clock, report = _LogClock(), Report()
    runtime = Runtime(engine, app, clock=clock, create=engine.dialect.name == "sqlite")
    _create_tables(engine, runtime)
    started = time.monotonic()
    for event in events:
        clock.now = event.occurred_at
        actor = Actor("resource", event.resource or "unknown")
        key = f"{event.application}:{event.activity}"
        try:
            outcome = runtime.run(command_for(event), actor=actor, idempotency_key=key)
        except Rejected as rejected:
            report.refusals.append(Refused(event, rejected.refusal))
        else:
            report.commands += 1
            report.replayed += outcome.replayed
    report.seconds = round(time.monotonic() - started, 3)
    report.refused = len(report.refusals)
    _count(engine, report)
    return report


def command_for(event: LogEvent) -> Command[Standing]:
    """Return the command that an event of the log stands for."""
    if event.activity is Activity.SUBMITTED:
        return Submit(number=event.application, amount_requested=event.amount_requested)
    return _STEPS[event.activity](number=event.application)


_STEPS = {
    Activity.PARTLY_SUBMITTED: SubmitPartly,
    Activity.PREACCEPTED: Preaccept,
    Activity.ACCEPTED: Accept,
    Activity.FINALIZED: Finalize,
    Activity.DECLINED: Decline,
    Activity.CANCELLED: Cancel,
    Activity.APPROVED: Approve,
    Activity.REGISTERED: Register,
    Activity.ACTIVATED: Activate,
}


def _create_tables(engine: Engine, runtime: Runtime) -> None:
    with engine.begin() as connection:
        if engine.dialect.name != "sqlite":  # there the runtime creates its ledger itself
            migrations.upgrade(connection)
        Base.metadata.create_all(connection)
    runtime.check()


def _count(engine: Engine, report: Report) -> None:
    ledger = ledger_tables()
    with Session(engine) as session:
        report.states = dict(Counter(loan.standing for loan in session.scalars(select(LoanApplication))).most_common())
        report.applications = sum(report.states.values())
        report.audit_entries = session.scalar(select(func.count()).select_from(ledger.audit)) or 0
        report.events = session.scalar(select(func.count()).where(ledger.outbox.c.kind == "event")) or 0


def main(
    path: Annotated[Path, typer.Argument(help="The log: CSV, or CSV compressed by gzip.")],
    database: Annotated[str | None, typer.Option(metavar="URL", help="Where to; by default a new SQLite file.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Replay the first N events only.")] = None,
    format: Annotated[Format, typer.Option(help="How to print the report.")] = Format.TEXT,  # noqa: A002 - the option's name
) -> None:
    """Run every A_ event of the log as a use case, in order of time."""
    url = database or f"sqlite:///{Path(tempfile.mkdtemp(prefix='usecasecore-loans-'), 'loans.db')}"
    try:
        events = read_log(path)[:limit]
        with _opened(url, len(events)) as engine, _shown(events) as shown:
            report = replay(shown, engine)
    except (LogUnreadable, UseCaseError, SQLAlchemyError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(2) from error
    print(_as_json(report) if format is Format.JSON else _as_text(report))


@contextmanager
def _opened(url: str, events: int) -> Iterator[Engine]:
    engine = create_engine(url)
    try:
        print(f"{events} events to {engine.url}", file=sys.stderr)
        yield engine
    finally:
        engine.dispose()


@contextmanager
def _shown(events: list[LogEvent]) -> Iterator[Iterable[LogEvent]]:
    console = Console(stderr=True)
    columns = (TextColumn("replaying"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        yield progress.track(events)


def _as_json(report: Report) -> str:
    return json.dumps({one.name: getattr(report, one.name) for one in fields(report) if one.name != "refusals"})


def _as_text(report: Report) -> str:
    executed = report.commands - report.replayed
    lines = [
        f"{report.applications:>8,} applications",
        f"{report.commands:>8,} commands accepted: {executed:,} executed, {report.replayed:,} replayed",
        f"{report.refused:>8,} refused",
        f"{report.audit_entries:>8,} audit entries and {report.events:,} events in the ledger",
        f"{report.seconds:>8.1f} seconds",
        "",
        "where the applications stand:",
        *(f"{count:>8,} {state}" for state, count in report.states.items()),
    ]
    if report.refusals:
        lines += ["", f"refused{f', the first {_LISTED}' if report.refused > _LISTED else ''}:"]
        lines += [f"  {one}" for one in report.refusals[:_LISTED]]
    return "\n".join(lines)


if __name__ == "__main__":
    typer.run(main)
