"""`usecasecore outbox`: what waits for delivery, and deliver it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from usecasecore.cli.database import Database, find_database
from usecasecore.cli.db import read_ledger
from usecasecore.cli.failure import Failure
from usecasecore.cli.group import group
from usecasecore.cli.options import AppOption, Format, FormatOption, SchemaOption, UrlOption
from usecasecore.cli.output import age, clean, heading, indented, note, print_json, print_lines, seconds_since, table

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from usecasecore.relay import DrainReport, OutboxStatus, Publisher

__all__ = ["commands"]

commands = group("Events and jobs that wait for delivery.")

_PUBLISHERS = "`log`, or `webhook:` and a URL like webhook:https://example.org/events"


@commands.command()
def status(url: UrlOption = None, schema: SchemaOption = None, app: AppOption = None, output: FormatOption = Format.TEXT) -> None:
    """Show how much waits, by type, and what was set aside."""
    from usecasecore.relay import outbox_status

    now = datetime.now(UTC)
    found = read_ledger(find_database(url, app, schema), lambda connection, schema: outbox_status(connection, schema, now=now))
    if output is Format.JSON:
        print_json(_data(found, now))
    else:
        print_lines(_text(found, now))


@commands.command()
def drain(
    publisher: Annotated[
        str, typer.Option("--publisher", metavar="PUBLISHER", help=f"Where the events go: {_PUBLISHERS}.")
    ] = "log",
    source: Annotated[
        str, typer.Option("--source", metavar="URI", help="For a webhook: what the events name as their source.")
    ] = "usecasecore",
    url: UrlOption = None,
    schema: SchemaOption = None,
    app: AppOption = None,
    output: FormatOption = Format.TEXT,
) -> None:
    """Deliver the events that are due, and mark them as delivered; jobs stay. Exits with 1 if one failed or is set aside.

    `log` prints them, one a line, with `--format json` to stderr.
    """
    from usecasecore.relay import outbox_status

    receiver = _publisher(publisher, source, output)
    database = find_database(url, app, schema)
    read_ledger(database, lambda _connection, _schema: None)
    report = _drain(database, receiver)
    after = read_ledger(database, lambda connection, schema: outbox_status(connection, schema, now=datetime.now(UTC)))
    if output is Format.JSON:
        print_json({**asdict(report), "dead": after.dead})
    else:
        print_lines(_report_lines(replace(report, dead=after.dead)))
    for reason in report.unavailable:
        note(f"stopped: {clean(reason)}")
    if report.failed or after.dead:
        raise typer.Exit(1)


def _publisher(text: str, source: str, output: Format) -> Publisher:
    from usecasecore.errors import DefinitionError
    from usecasecore.relay import LogPublisher, WebhookPublisher

    kind, _, target = text.partition(":")
    if text == "log":
        return LogPublisher(_print_line if output is Format.TEXT else lambda line: note(clean(line)))
    if kind != "webhook":
        raise Failure(f"there is no publisher {clean(text)!r}", f"known: {_PUBLISHERS}")
    try:
        return WebhookPublisher(target, source=source)
    except (DefinitionError, ValueError) as error:
        raise Failure(str(error), f"known: {_PUBLISHERS}") from error


def _print_line(line: str) -> None:
    # Not `print_lines`: it lets a reader that is gone pass, and an event that nobody saw must not count as delivered.
    sys.stdout.write(f"{clean(line)}\n")
    sys.stdout.flush()


def _drain(database: Database, publisher: Publisher) -> DrainReport:
    import asyncio

    from sqlalchemy import Engine
    from sqlalchemy.exc import SQLAlchemyError

    from usecasecore.relay import Relay

    def drain(engine: Engine) -> DrainReport:
        return Relay(engine, publisher, ledger_schema=database.schema).drain()

    engine = database.engine

    async def drain_async() -> DrainReport:
        assert not isinstance(engine, Engine)
        try:
            async with engine.connect() as connection:
                return await connection.run_sync(lambda inner: drain(inner.engine))
        finally:
            await engine.dispose()

    try:
        return drain(engine) if isinstance(engine, Engine) else asyncio.run(drain_async())
    except SQLAlchemyError as error:
        what = type(getattr(error, "orig", None) or error).__name__
        raise Failure(
            f"the database failed while events were delivered ({what})", "run it again; the last event may come twice"
        ) from error


def _data(found: OutboxStatus, now: datetime) -> dict[str, Any]:
    return {
        "pending": {"events": found.events, "jobs": found.jobs},
        "leased": found.leased,
        "dead": found.dead,
        "oldest_seconds": seconds_since(found.oldest_at, now),
        "types": [
            {
                "kind": each.kind,
                "type": each.type,
                "pending": each.pending,
                "leased": each.leased,
                "dead": each.dead,
                "oldest_seconds": seconds_since(each.oldest_at, now),
            }
            for each in found.types
        ],
    }


def _text(found: OutboxStatus, now: datetime) -> Iterator[str]:
    rows = [
        ("events", found.events),
        ("jobs", found.jobs),
        ("oldest", age(found.oldest_at, now)),
        ("leased", found.leased),
        ("dead", found.dead),
    ]
    yield heading("Waiting for delivery")
    yield from indented(table(("", ""), rows))
    if found.types:
        yield ""
        types = [(each.kind, each.type, each.pending, each.leased, each.dead, age(each.oldest_at, now)) for each in found.types]
        yield from table(("KIND", "TYPE", "PENDING", "LEASED", "DEAD", "OLDEST"), types)


def _report_lines(report: DrainReport) -> list[str]:
    words = {
        "published": report.published,
        "failed": report.failed,
        "lost": report.lost,
        "dead": report.dead,
        "left": report.left,
    }
    return [", ".join(f"{count} {word}" for word, count in words.items() if count or word in ("published", "failed", "left"))]
