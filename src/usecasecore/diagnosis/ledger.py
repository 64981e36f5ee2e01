"""The ledger: is it there, and does what must be done with it regularly get done?"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from sqlalchemy import Connection

from usecasecore import migrations
from usecasecore.diagnosis.finding import Finding, Severity
from usecasecore.errors import LedgerOutdated
from usecasecore.ledger.keys import expired_keys
from usecasecore.relay.status import outbox_status, overdue

__all__ = ["ledger_cure", "ledger_findings", "ledger_problems"]

LATE = timedelta(minutes=15)
MANY_EXPIRED = 10_000


def ledger_findings(connection: Connection, schema: str | None, now: datetime) -> Iterator[Finding]:
    """Yield what is missing of the ledger; where nothing is, what stays undone in it."""
    try:
        migrations.check(connection, schema)
    except LedgerOutdated as error:
        problems, cure = "; ".join(ledger_problems(error)), ledger_cure(error, schema)
        yield Finding("UCD301", Severity.PROBLEM, f"{_upper(problems)}.", f"{_upper(cure)}.")
        return
    yield from _outbox(connection, schema, now)
    if (expired := expired_keys(connection, schema, now=now)) > MANY_EXPIRED:
        yield Finding(
            "UCD304",
            Severity.NOTE,
            f"{expired:,} idempotency keys have expired, and take up room.",
            "Run `usecasecore idempotency prune` regularly.",
        )


def ledger_problems(error: LedgerOutdated) -> list[str]:
    """Return what is wrong with the ledger, one sentence each."""
    if error.found is None:
        return ["the ledger is missing"]
    other = [f"the ledger is at revision {error.found}"] if error.found != error.needed else []
    return [*other, *error.problems]


def ledger_cure(error: LedgerOutdated, schema: str | None) -> str:
    """Return what to do about a ledger that isn't as it must be."""
    if error.found == error.needed:
        return "an upgrade adds nothing at this revision; restore what is missing from a backup"
    return "run `usecasecore db upgrade --url URL" + (f" --schema {schema}`" if schema else "`")


def _outbox(connection: Connection, schema: str | None, now: datetime) -> Iterator[Finding]:
    if dead := outbox_status(connection, schema, now=now).dead:
        yield Finding(
            "UCD302",
            Severity.PROBLEM,
            f"{_counted(dead, 'message', 'was', 'were')} set aside, because {_it(dead)} failed too often.",
            "See `usecasecore outbox status`, and `last_error` of these rows.",
        )
    if late := overdue(connection, schema, since=now - LATE):
        yield Finding(
            "UCD303",
            Severity.PROBLEM,
            f"{_counted(late, 'message', 'has', 'have')} been due for more than {LATE.total_seconds() / 60:.0f} minutes.",
            "See whether a relay runs and what it says; `usecasecore outbox status` shows what waits.",
        )


def _counted(number: int, what: str, one: str, several: str) -> str:
    return f"{number:,} {what} {one}" if number == 1 else f"{number:,} {what}s {several}"


def _it(number: int) -> str:
    return "it" if number == 1 else "they"


def _upper(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]
