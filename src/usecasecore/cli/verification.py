"""`usecasecore verify`: is the database what the runtime promises?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from usecasecore.cli.database import find_both
from usecasecore.cli.db import read_ledger
from usecasecore.cli.failure import Failure
from usecasecore.cli.keys import KeyOption, read_key, verifier_of
from usecasecore.cli.options import AppOption, Format, FormatOption, SchemaOption, UrlOption
from usecasecore.cli.output import clean, note, print_json, print_lines, table

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from usecasecore.verification import AnchorTrail, Report

__all__ = ["verify"]


def verify(
    audit: Annotated[bool, typer.Option("--audit", help="Look at the audit trail alone: hashes, heads and anchors.")] = False,
    anchors: Annotated[
        str | None,
        typer.Option("--anchors", metavar="DIR", help="Compare with the anchors in this directory or file too."),
    ] = None,
    key: KeyOption = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many findings of each check at most.")] = 100,
    url: UrlOption = None,
    schema: SchemaOption = None,
    app: AppOption = None,
    output: FormatOption = Format.TEXT,
) -> None:
    """Compare the rows, the ledger and its hashes with what the runtime promises. Exits with 1 if anything is wrong.

    Commands may go on meanwhile. Without an application the ledger is compared with itself only.
    """
    from usecasecore import verification

    trail = None if anchors is None else _trail(anchors, key)
    database, found = find_both(url, app, schema)
    application = found.application if found else None
    if application is None and not audit:
        note("no application is named: rows and transitions are not checked")

    def look(connection: Connection, schema: str | None) -> Report:
        return verification.verify(connection, application, schema=schema, audit_only=audit, anchors=trail, limit=limit)

    report = read_ledger(database, look, one_snapshot=True)
    if output is Format.JSON:
        data = {**asdict(report), "ok": report.ok, "more": sorted(report.more), "unknown": list(report.unknown)}
        print_json(data)
    else:
        print_lines(_lines(report, rows=not audit))
    if unsealed := report.counted.unsealed:
        note(f"{_number(unsealed, 'baseline is', 'baselines are')} below the start of a chain: no hash vouches for that")
    for name in report.unknown:
        note(f"the application doesn't know {clean(name)}: its rows and transitions are not checked")
    if not report.ok:
        raise typer.Exit(1)


def _trail(path: str, key: str | None) -> AnchorTrail:
    from usecasecore.verification import AnchorTrail
    from usecasecore.verification.anchor_files import read_documents

    if not Path(path).exists():
        raise Failure(f"there are no anchors at {path}", "`usecasecore audit anchor --out DIR` makes some")
    return AnchorTrail(list(read_documents(Path(path))), read_key(key, verifier_of))


def _lines(report: Report, *, rows: bool) -> Iterator[str]:
    if report.findings:
        yield from table(("CODE", "FINDING"), [(finding.code, finding.sentence) for finding in report.findings])
        yield ""
    if report.more:
        yield f"there are more of: {', '.join(sorted(report.more))}"
    counted = report.counted
    looked_at = [_number(counted.entries, "entry", "entries")]
    looked_at += [_number(counted.rows, "row", "rows")] if rows else []
    looked_at += [_number(counted.hashed, "hash", "hashes")]
    looked_at += [_number(counted.anchors, "anchor", "anchors")] if counted.anchors else []
    result = "nothing is wrong" if report.ok else _number(len(report.findings), "finding", "findings")
    yield f"{result} in {', '.join(looked_at[:-1])} and {looked_at[-1]}"


def _number(count: int, one: str, several: str) -> str:
    return f"{count} {one if count == 1 else several}"
