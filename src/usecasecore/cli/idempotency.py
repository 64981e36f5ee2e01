"""`usecasecore idempotency`: which keys are remembered, and forget those that have expired."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from usecasecore.cli.database import Database, find_database
from usecasecore.cli.db import read_ledger
from usecasecore.cli.group import group
from usecasecore.cli.options import AppOption, Format, FormatOption, SchemaOption, UrlOption
from usecasecore.cli.output import age, heading, indented, note, print_json, print_lines, seconds_since, table

if TYPE_CHECKING:
    from usecasecore.ledger.keys import KeyStatus

__all__ = ["commands", "interruptible"]

commands = group("The idempotency keys, and the results that are stored under them.")


@commands.command()
def status(url: UrlOption = None, schema: SchemaOption = None, app: AppOption = None, output: FormatOption = Format.TEXT) -> None:
    """Show how many keys are remembered, by use case, and how many of them have expired."""
    from usecasecore.ledger.keys import key_status

    now = datetime.now(UTC)
    found = read_ledger(find_database(url, app, schema), lambda connection, schema: key_status(connection, schema, now=now))
    if output is Format.JSON:
        print_json(_data(found, now))
    else:
        print_lines(_text(found, now))


@commands.command()
def prune(
    batch: Annotated[
        int, typer.Option("--batch", min=1, max=100_000, metavar="N", help="How many keys one transaction deletes.")
    ] = 1000,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say how many keys have expired.")] = False,
    url: UrlOption = None,
    schema: SchemaOption = None,
    app: AppOption = None,
    output: FormatOption = Format.TEXT,
) -> None:
    """Delete the keys that have expired, in short transactions that block no command.

    Ctrl-C ends it after the batch that is under way; what is deleted stays deleted. Exits then with 1. A command that comes again under
    a key that was deleted is executed anew.
    """
    from usecasecore.ledger.keys import expired_keys

    now = datetime.now(UTC)
    database = find_database(url, app, schema)
    read_ledger(database, lambda _connection, _schema: None)
    deleted, interrupted = (0, False) if dry_run else _prune(database, now, batch)
    left = read_ledger(database, lambda connection, schema: expired_keys(connection, schema, now=now))
    if output is Format.JSON:
        print_json({"deleted": deleted, "left": left, "interrupted": interrupted, "dry_run": dry_run})
    else:
        print_lines([f"{left} expired, none deleted" if dry_run else f"{deleted} deleted, {left} left"])
    if interrupted:
        note("stopped: interrupted; run it again to go on")
        raise typer.Exit(1)


def _prune(database: Database, now: datetime, batch: int) -> tuple[int, bool]:
    from usecasecore.ledger.keys import prune_keys

    deleted = 0
    with interruptible() as interrupted:
        while not interrupted:
            found = database.write(lambda connection: prune_keys(connection, database.schema, now=now, limit=batch))
            deleted += found
            if not found:
                return deleted, False
    return deleted, True


@contextmanager
def interruptible() -> Iterator[list[int]]:
    """Yield a list that Ctrl-C puts something into, so that the batch is finished and counted; a second Ctrl-C interrupts at once."""
    seen: list[int] = []

    def interrupt(number: int, _frame: Any) -> None:
        if seen:
            raise KeyboardInterrupt
        seen.append(number)

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield seen
    finally:
        signal.signal(signal.SIGINT, before)


def _data(found: KeyStatus, now: datetime) -> dict[str, Any]:
    return {
        "keys": found.keys,
        "expired": found.expired,
        "oldest_seconds": seconds_since(found.oldest_at, now),
        "use_cases": [
            {
                "use_case": each.use_case,
                "keys": each.keys,
                "expired": each.expired,
                "oldest_seconds": seconds_since(each.oldest_at, now),
            }
            for each in found.use_cases
        ],
    }


def _text(found: KeyStatus, now: datetime) -> Iterator[str]:
    rows = [("keys", found.keys), ("expired", found.expired), ("oldest", age(found.oldest_at, now))]
    yield heading("Idempotency keys")
    yield from indented(table(("", ""), rows))
    if found.use_cases:
        yield ""
        use_cases = [(each.use_case, each.keys, each.expired, age(each.oldest_at, now)) for each in found.use_cases]
        yield from table(("USE CASE", "KEYS", "EXPIRED", "OLDEST"), use_cases)
