"""`usecasecore lifecycle check`: what is wrong with the declarations, known without running them."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from usecasecore.cli.discovery import find_application
from usecasecore.cli.failure import unknown
from usecasecore.cli.options import AppOption
from usecasecore.cli.output import clean, note, place, print_hint, print_json, print_lines

if TYPE_CHECKING:
    from usecasecore.analysis import Finding, Ignored

__all__ = ["check"]


class CheckFormat(StrEnum):
    """How findings are printed."""

    TEXT = "text"
    JSON = "json"
    GITHUB = "github"


def check(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME..]", help="Of lifecycles; by default everything.")] = None,
    app: AppOption = None,
    output: Annotated[
        CheckFormat, typer.Option("--format", help="How to print the findings; github: as annotations of a workflow run.")
    ] = CheckFormat.TEXT,
) -> None:
    """Say what is wrong with lifecycles and use cases before they run. Exits with 1 if anything is."""
    application = find_application(app)
    for name in names or ():
        if name not in application.lifecycles:
            raise unknown("lifecycle", name, application.lifecycles)
    from usecasecore.analysis import examine

    report = examine(application, names or None)
    if output is CheckFormat.JSON:
        print_json({"findings": [_data(one) for one in report.findings], "ignored": [_ignored(one) for one in report.ignored]})
    elif output is CheckFormat.GITHUB:
        print_lines(_annotation(one) for one in report.findings)
    else:
        print_lines(line for one in report.findings for line in _text(one))
    _sum_up(len(report.findings), len(report.ignored), len(names or application.lifecycles))
    if report.findings:
        print_hint(f"`usecasecore explain {report.findings[0].code}` says more, with an example")
        raise typer.Exit(1)


def _sum_up(found: int, ignored: int, lifecycles: int) -> None:
    rest = f", {ignored} ignored" if ignored else ""
    note(f"{_counted(found, 'finding')}{rest}, in {_counted(lifecycles, 'lifecycle')}")


def _counted(number: int, what: str) -> str:
    return f"{number or 'no'} {what}{'' if number == 1 else 's'}"


def _data(finding: Finding) -> dict[str, Any]:
    from usecasecore.analysis import pages

    return {
        "code": finding.code,
        "title": pages.title(finding.code),
        "lifecycle": finding.lifecycle,
        "file": finding.location.file if finding.location else None,
        "line": finding.location.line if finding.location else None,
        "cause": finding.cause,
        "cure": finding.cure,
    }


def _ignored(one: Ignored) -> dict[str, Any]:
    return {**_data(one.finding), "reason": one.reason}


def _text(finding: Finding) -> Iterator[str]:
    where = f"{place(finding.location.file, finding.location.line)}: " if finding.location else ""
    about = f" {finding.lifecycle}" if finding.lifecycle else ""
    yield clean(f"{where}{finding.code}{about}: {finding.cause}")
    yield clean(f"    {finding.cure}")


def _annotation(finding: Finding) -> str:
    """Return the workflow command that puts a finding beside the line that it is about."""
    from usecasecore.analysis import pages

    about = f" ({finding.lifecycle})" if finding.lifecycle else ""
    facts = {"title": f"{finding.code}{about}: {pages.title(finding.code)}"}
    if finding.location:
        file = Path(finding.location.file)
        shown = file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file
        facts = {"file": shown.as_posix(), "line": str(finding.location.line), **facts}
    properties = ",".join(f"{name}={_escaped(value).replace(':', '%3A').replace(',', '%2C')}" for name, value in facts.items())
    return f"::error {properties}::{_escaped(f'{finding.cause} {finding.cure}')}"


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
