"""Looks at everything that is named, and says what was not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from usecasecore.application import Application
from usecasecore.diagnosis.environment import environment_findings
from usecasecore.diagnosis.finding import Finding, Severity
from usecasecore.diagnosis.ledger import ledger_findings
from usecasecore.diagnosis.mapping import mapping_findings
from usecasecore.diagnosis.server import clock_findings, setting_findings
from usecasecore.diagnosis.statistics import statistics_findings
from usecasecore.runtime.shell import system_clock

__all__ = ["Diagnosis", "diagnose"]


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What was found.

    Attributes:
        findings: Sorted by code.
        unseen: What was not looked at, one sentence each.
    """

    findings: tuple[Finding, ...]
    unseen: tuple[str, ...]

    @property
    def problems(self) -> tuple[Finding, ...]:
        """What must be done something about."""
        return tuple(one for one in self.findings if one.severity is Severity.PROBLEM)

    @property
    def warnings(self) -> tuple[Finding, ...]:
        """What works on another way than it is meant to."""
        return tuple(one for one in self.findings if one.severity is Severity.WARNING)

    @property
    def notes(self) -> tuple[Finding, ...]:
        """What is good to know."""
        return tuple(one for one in self.findings if one.severity is Severity.NOTE)


def diagnose(
    connection: Connection | None,
    application: Application | None,
    *,
    schema: str | None = None,
    asynchronous_commit: bool = False,
    clock: Callable[[], datetime] = system_clock,
) -> Diagnosis:
    """Return what is wrong around the commands, and what could be quicker. Reads only.

    Args:
        connection: To the database, as the runtime gets them; None where only the rest is looked at.
        application: Whose aggregates and scopes; None where there is none.
        schema: Where the ledger lives; None for the connection's default.
        asynchronous_commit: As the runtime has it.
        clock: The current instant, aware; of the machine that the commands run on.
    """
    found = [*environment_findings(connection.dialect.driver if connection is not None else None)]
    if connection is not None:
        scopes = application is not None and any(one.use_case.guards for one in application.registrations)
        found += setting_findings(connection, asynchronous_commit=asynchronous_commit, scopes=scopes)
        found += clock_findings(connection, clock)
        found += statistics_findings(connection, application, schema)
        found += ledger_findings(connection, schema, clock())
    found += mapping_findings(application) if application is not None else ()
    return Diagnosis(tuple(sorted(found, key=lambda one: one.code)), tuple(_unseen(connection, application)))


def _unseen(connection: Connection | None, application: Application | None) -> Iterator[str]:
    if connection is None:
        yield "no database is named: its settings, its clock, its statistics and the ledger were not looked at"
    if application is None:
        yield "no application is named: its aggregates were not looked at"
