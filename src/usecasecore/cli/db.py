"""`usecasecore db`: is the ledger there, and bring it there."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import typer

from usecasecore.cli.database import Database, find_database
from usecasecore.cli.discovery import find
from usecasecore.cli.failure import Failure
from usecasecore.cli.group import group
from usecasecore.cli.options import AppOption, Format, FormatOption, SchemaOption, UrlOption
from usecasecore.cli.output import clean, print_hint, print_json, print_lines

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from usecasecore.verification.stored_states import StateFinding

__all__ = ["commands", "read_ledger"]

T = TypeVar("T")

commands = group("The ledger's tables in a database.")


@commands.command()
def upgrade(
    url: UrlOption = None, schema: SchemaOption = None, app: AppOption = None, output: FormatOption = Format.TEXT
) -> None:
    """Create the ledger, or bring it to the revision that this version needs. Safe to repeat."""
    from usecasecore import migrations

    database = find_database(url, app, schema)
    before, after = database.write(lambda connection: migrations.upgrade(connection, database.schema))
    if output is Format.JSON:
        print_json({"before": before, "after": after, "changed": before != after})
    elif before == after:
        print_lines([f"the ledger is at revision {after} already"])
    else:
        print_lines([f"the ledger is now at revision {after} (before: {before or 'none'})"])


@commands.command()
def check(url: UrlOption = None, schema: SchemaOption = None, app: AppOption = None, output: FormatOption = Format.TEXT) -> None:
    """Say what is missing of the ledger, and where an application is named, which rows are not as declared. Exits with 1 then."""
    from usecasecore import migrations
    from usecasecore.diagnosis.ledger import ledger_cure, ledger_problems
    from usecasecore.errors import LedgerOutdated

    database = find_database(url, app, schema)
    try:
        database.read(lambda connection: migrations.check(connection, database.schema))
    except LedgerOutdated as error:
        _print_check(output, error.found, error.needed, ledger_problems(error))
        print_hint(ledger_cure(error, database.schema))
        raise typer.Exit(1) from None
    found = _of_states(database, app)
    _print_check(output, migrations.head(), migrations.head(), [], found)
    if found:
        raise typer.Exit(1)


def _of_states(database: Database, app: str | None) -> tuple[StateFinding, ...]:
    """Return what differs between the application's lifecycles and the rows; nothing where no application is named."""
    from usecasecore.verification.stored_states import state_findings

    application = database.application
    if application is None and (found := find(app)) is not None:
        application = found.application
    if application is None:
        return ()
    known = application
    return database.read(lambda connection: state_findings(connection, known, database.schema))


def _print_check(
    output: Format, found: str | None, needed: str, problems: list[str], states: tuple[StateFinding, ...] = ()
) -> None:
    if output is Format.JSON:
        told = [
            {"kind": one.kind, "lifecycle": one.lifecycle, "rows": one.rows, "cause": one.cause, "cure": one.cure}
            for one in states
        ]
        ok = not problems and not states
        print_json({"ok": ok, "found": found, "needed": needed, "problems": problems, "states": told})
    elif problems:
        print_lines([*problems, f"revision {needed} is needed"])
    else:
        print_lines([f"the ledger is whole, at revision {found}"])
        print_lines(line for one in states for line in (clean(f"{one.lifecycle}: {one.cause}"), clean(f"    {one.cure}")))


def read_ledger(database: Database, read: Callable[[Connection, str | None], T], *, one_snapshot: bool = False) -> T:
    """Return what `read` finds in a ledger that is whole; else fail with what is missing and its cure."""
    from usecasecore import migrations, verification
    from usecasecore.diagnosis.ledger import ledger_cure, ledger_problems
    from usecasecore.errors import LedgerOutdated

    def checked(connection: Connection) -> T:
        if one_snapshot:
            verification.one_snapshot(connection)
        migrations.check(connection, database.schema)
        return read(connection, database.schema)

    try:
        return database.read(checked)
    except LedgerOutdated as error:
        raise Failure("; ".join(ledger_problems(error)), ledger_cure(error, database.schema)) from error
