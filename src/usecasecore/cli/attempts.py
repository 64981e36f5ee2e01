"""`usecasecore audit attempts`: who was refused what, and why."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from usecasecore.cli.database import find_database
from usecasecore.cli.db import read_ledger
from usecasecore.cli.failure import Failure
from usecasecore.cli.options import AppOption, Format, FormatOption, SchemaOption, UrlOption
from usecasecore.cli.output import note, print_json, print_lines, table

if TYPE_CHECKING:
    from usecasecore.ledger.reading import RecordedAttempt

__all__ = ["attempts"]


class Outcome(StrEnum):
    """What became of the command."""

    REFUSED = "refused"
    FAILED = "failed"


def attempts(
    number: Annotated[int, typer.Option("-n", "--number", min=1, help="How many attempts.")] = 20,
    use_case: Annotated[str | None, typer.Option("--use-case", metavar="NAME", help="Only those of this use case.")] = None,
    actor: Annotated[str | None, typer.Option("--actor", metavar="TYPE:ID", help="Only those of this actor.")] = None,
    aggregate: Annotated[
        str | None, typer.Option("--aggregate", metavar="NAME", help="Only those of aggregates of this name, like `order`.")
    ] = None,
    key: Annotated[str | None, typer.Option("--key", metavar="KEY", help="Only those of the aggregate with this key.")] = None,
    outcome: Annotated[Outcome | None, typer.Option("--outcome", help="Only what was refused, or only what failed.")] = None,
    code: Annotated[
        str | None, typer.Option("--code", metavar="CODE", help="Only those with this code, like `guard_rejected`.")
    ] = None,
    since: Annotated[
        str | None, typer.Option("--since", metavar="INSTANT", help="Only those from then on, like 2026-05-04T12:00Z.")
    ] = None,
    url: UrlOption = None,
    schema: SchemaOption = None,
    app: AppOption = None,
    output: FormatOption = Format.TEXT,
) -> None:
    """Show the latest commands that were refused or failed, the newest last."""
    from usecasecore.ledger.reading import latest_attempts

    instant = None if since is None else _instant(since)
    wanted = {"use_case": use_case, "actor": actor, "aggregate": aggregate, "aggregate_id": key, "code": code}
    found = read_ledger(
        find_database(url, app, schema),
        lambda connection, schema: latest_attempts(connection, schema, limit=number, since=instant, outcome=outcome, **wanted),
    )
    if output is Format.JSON:
        print_json({"attempts": [_data(attempt) for attempt in found]})
    elif found:
        titles = ("OCCURRED", "OUTCOME", "CODE", "USE CASE", "AGGREGATE", "KEY", "VERSION", "ACTOR", "MESSAGE")
        print_lines(table(titles, map(_row, found)))
    else:
        note("no attempts")


def _instant(text: str) -> datetime:
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        raise Failure(f"--since: {text!r} is not an instant", "write it like 2026-05-04, or 2026-05-04T12:00+02:00") from None
    return instant if instant.tzinfo else instant.replace(tzinfo=UTC)


def _row(attempt: RecordedAttempt) -> tuple[object, ...]:
    actor = f"{attempt.actor} for {attempt.on_behalf_of}" if attempt.on_behalf_of else attempt.actor
    return (
        _time(attempt.occurred_at),
        attempt.outcome,
        attempt.code,
        attempt.use_case,
        attempt.aggregate,
        attempt.aggregate_id,
        attempt.version,
        actor,
        attempt.message,
    )


def _data(attempt: RecordedAttempt) -> dict[str, Any]:
    return {name: _time(value) if isinstance(value, datetime) else value for name, value in asdict(attempt).items()}


def _time(instant: datetime) -> str:
    return instant.isoformat(timespec="milliseconds").replace("+00:00", "Z")
