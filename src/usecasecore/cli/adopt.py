"""`usecasecore db adopt`: takes the rows of a table that lives already into the ledger."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

import typer

from usecasecore.cli.database import Database, find_database
from usecasecore.cli.db import read_ledger
from usecasecore.cli.discovery import find_application
from usecasecore.cli.failure import unknown
from usecasecore.cli.options import AppOption, Format, FormatOption, SchemaOption, UrlOption
from usecasecore.cli.output import clean, heading, indented, print_hint, print_json, print_lines, table

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from usecasecore.adoption import Finding, LiveRows, Progress

__all__ = ["adopt"]


@dataclass(slots=True)
class _Report:
    """What was found and done about one lifecycle."""

    lifecycle: str
    dialect: str = ""
    missing: list[Finding] = field(default_factory=list)
    undeclared: list[dict[str, Any]] = field(default_factory=list)
    rows: int = 0
    written: int = 0
    again: int = 0
    busy: int = 0

    def add(self, progress: Progress) -> None:
        self.rows += progress.rows
        self.written += progress.written
        self.again += progress.again
        self.busy += progress.busy


def adopt(
    name: Annotated[str, typer.Argument(metavar="LIFECYCLE", help="Of a lifecycle; `lifecycle list` shows them.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what there is to do; write nothing.")] = False,
    batch: Annotated[
        int, typer.Option("--batch", min=1, max=10_000, metavar="N", help="How many rows one transaction looks at.")
    ] = 5_000,
    reason: Annotated[str | None, typer.Option("--reason", metavar="TEXT", help="Why, for the audit entries.")] = None,
    url: UrlOption = None,
    schema: SchemaOption = None,
    app: AppOption = None,
    output: FormatOption = Format.TEXT,
) -> None:
    """Take the rows of a table that lives already into the ledger: an audit entry for each, where its trail begins.

    Before that it says what the table's columns lack, as Alembic operations, and which rows are in states that the lifecycle
    doesn't declare; with either it exits with 1 and writes nothing. Safe beside running commands, to be stopped, and to repeat:
    a second run writes what is missing, and a further entry where a row was changed past the runtime.
    """
    from usecasecore.adoption import rows_of

    application = find_application(app)
    lifecycle = application.lifecycles.get(name)
    if lifecycle is None:
        raise unknown("lifecycle", name, application.lifecycles)
    database = find_database(url, app, schema)
    parts = rows_of(lifecycle)
    report = _Report(name)
    read_ledger(database, lambda connection, _: _examine(connection, parts, report))
    if not report.missing and not report.undeclared:
        for rows in parts:
            _go_through(database, rows, report, dry_run=dry_run, batch=batch, reason=reason)
    _print(report, output, dry_run=dry_run)
    if report.missing or report.undeclared or report.busy:
        raise typer.Exit(1)


def _examine(connection: Connection, parts: tuple[LiveRows, ...], report: _Report) -> None:
    from usecasecore.adoption import column_findings, undeclared_states

    report.dialect = connection.dialect.name
    for rows in parts:
        report.missing += [each for each in column_findings(connection, rows) if each not in report.missing]
    if report.missing:
        return
    for rows in parts:
        for state, count in undeclared_states(connection, rows):
            report.undeclared.append({"lifecycle": rows.lifecycle.name, "state": state, "rows": count})


def _go_through(database: Database, rows: LiveRows, report: _Report, *, dry_run: bool, batch: int, reason: str | None) -> None:
    from usecasecore.adoption import adopt, outstanding

    if dry_run:
        report.add(outstanding(database.read, rows, schema=database.schema, batch=batch))
        return
    total = database.read(rows.count)
    last = None
    with _progress() as tell:
        for last in adopt(database.write, rows, schema=database.schema, reason=reason, batch=batch):
            tell(rows.lifecycle.name, last, total)
    if last is not None:
        report.add(last)


class _progress:  # noqa: N801 - it reads as the block that it is
    """Tells on a terminal how far it is, in one line."""

    def __enter__(self) -> _progress:
        self._shown = sys.stderr.isatty()
        return self

    def __call__(self, name: str, progress: Progress, total: int) -> None:
        if self._shown:
            print(f"\r{name}: {progress.rows:,} of {total:,} rows", end="", file=sys.stderr, flush=True)

    def __exit__(self, *raised: object) -> None:
        if self._shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def _print(report: _Report, output: Format, *, dry_run: bool) -> None:
    from usecasecore.adoption import operations

    text = operations(report.missing, report.dialect) if report.missing else ""
    if output is Format.JSON:
        print_json(_data(report, text, dry_run=dry_run))
    else:
        print_lines(_lines(report, text, dry_run=dry_run))
    if text:
        print_hint("put the operations into a migration of yours, run it, and come back")
    if report.undeclared:
        print_hint("declare these states, or bring the rows into declared ones with `unprotected(reason=...)`")
    if report.busy:
        print_hint(f"{report.busy} rows that were changed past the runtime are locked by somebody; run it again")


def _data(report: _Report, text: str, *, dry_run: bool) -> dict[str, Any]:
    return {
        "lifecycle": report.lifecycle,
        "dry_run": dry_run,
        "missing": [{"table": each.table, "column": each.column, "what": each.sentence} for each in report.missing],
        "operations": text or None,
        "undeclared": report.undeclared,
        "rows": report.rows,
        "written": report.written,
        "written_again": report.again,
        "busy": report.busy,
    }


def _lines(report: _Report, text: str, *, dry_run: bool) -> Iterator[str]:
    if report.missing:
        # All of it can be pasted.
        yield from (f"# {clean(each.sentence)}" for each in report.missing)
        yield from ("", *text.splitlines()) if text else ()
    elif report.undeclared:
        yield heading(f"Rows in states that {report.lifecycle} does not declare")
        rows = [(one["lifecycle"], "NULL" if one["state"] is None else one["state"], one["rows"]) for one in report.undeclared]
        yield from indented(table(("LIFECYCLE", "STATE", "ROWS"), rows))
    else:
        done = "would be written" if dry_run else "written"
        yield f"{report.lifecycle}: {report.rows} rows looked at, {report.written} baselines {done}"
        if report.again:
            yield f"{report.again} further ones {done}, for rows that were changed past the runtime"
