"""`usecasecore doctor`: is everything around the commands as they need it?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING

import typer

from usecasecore.cli.database import find_what_is_there
from usecasecore.cli.options import AppOption, Format, FormatOption, SchemaOption, UrlOption
from usecasecore.cli.output import clean, note, painted, print_hint, print_json, print_lines

if TYPE_CHECKING:
    from usecasecore.diagnosis import Diagnosis, Finding

__all__ = ["doctor"]

_COLOURS = {"problem": "1;31", "warning": "1;33", "note": "1"}


def doctor(url: UrlOption = None, schema: SchemaOption = None, app: AppOption = None, output: FormatOption = Format.TEXT) -> None:
    """Look at the environment, the database's settings, the ledger and the mapped classes. Only reads; exits with 1 on problems.

    Looks at what is named: without a database at the environment and the application, without an application at the rest.
    """
    from usecasecore.diagnosis import diagnose

    database, found = find_what_is_there(url, app, schema)
    application = found.application if found else None
    if database is None:
        diagnosis = diagnose(None, application)
    else:
        agreed = bool(getattr(found.runtime if found else None, "asynchronous_commit", False))
        look = partial(diagnose, application=application, schema=database.schema, asynchronous_commit=agreed)
        diagnosis = database.read(look)
    for sentence in diagnosis.unseen:
        note(clean(sentence))
    _print(diagnosis, output)
    if diagnosis.findings:
        print_hint(f"`usecasecore explain {(diagnosis.problems or diagnosis.warnings or diagnosis.findings)[0].code}` says more")
    if diagnosis.problems:
        raise typer.Exit(1)


def _print(diagnosis: Diagnosis, output: Format) -> None:
    if output is Format.JSON:
        findings = [asdict(one) for one in diagnosis.findings]
        print_json({"ok": not diagnosis.problems, "findings": findings, "not_looked_at": list(diagnosis.unseen)})
        return
    for one in (*diagnosis.problems, *diagnosis.warnings, *diagnosis.notes):
        print_lines(_lines(one))
    # Warnings are rare: a sum without them needn't say so.
    warnings = [_counted(len(diagnosis.warnings), "warning")] if diagnosis.warnings else []
    print_lines([", ".join([_counted(len(diagnosis.problems), "problem"), *warnings, _counted(len(diagnosis.notes), "note")])])


def _counted(number: int, what: str) -> str:
    return f"{number or 'no'} {what}{'' if number == 1 else 's'}"


def _lines(finding: Finding) -> Iterator[str]:
    yield f"{painted(f'{finding.code} {finding.severity}:', _COLOURS[finding.severity])} {clean(finding.cause)}"
    yield clean(f"    {finding.cure}")
