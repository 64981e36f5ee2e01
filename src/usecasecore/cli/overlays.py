"""The options of `usecasecore diagram` that show what a database knows, and what they read there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from usecasecore.cli.database import Database, find_database
from usecasecore.cli.db import read_ledger
from usecasecore.cli.failure import Failure, unknown

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from usecasecore.application import Application
    from usecasecore.diagrams import Diagram
    from usecasecore.diagrams.history import Step
    from usecasecore.diagrams.overlay import Overlay
    from usecasecore.lifecycle import Lifecycle

__all__ = ["AggregateOption", "OverlayOption", "OverlayWanted", "SinceOption", "overlays_of"]


_RECORD = "`pytest --transition-cov` records it"


class OverlayName(StrEnum):
    """What can be shown on diagrams."""

    COUNTS = "counts"
    FLOW = "flow"
    COVERAGE = "coverage"


OverlayOption: TypeAlias = Annotated[
    OverlayName | None,
    typer.Option(
        "--overlay",
        help="Show what a database knows: `counts`, the rows in each state now; "
        "`flow`, how often each transition was taken, and the median of the time in each state. "
        "Or what the tests took, as `pytest --transition-cov` recorded it: `coverage`.",
    ),
]
AggregateOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--aggregate",
        metavar="LIFECYCLE:KEY",
        help="Show the way of one aggregate, from a database; several key columns as `a|b`.",
    ),
]
SinceOption: TypeAlias = Annotated[
    str | None,
    typer.Option("--since", metavar="TIME", help="With `flow`: only what happened since, like 2026-05-01 or 2026-05-01T12:00Z."),
]


@dataclass(frozen=True, slots=True)
class OverlayWanted:
    """What is to be shown on diagrams, and where it is known.

    Attributes:
        name: Which overlay.
        aggregate: `LIFECYCLE:KEY` instead.
        since: With `flow`.
        url: `--url`.
        schema: `--schema`.
        app: `--app`.
    """

    name: OverlayName | None = None
    aggregate: str | None = None
    since: str | None = None
    url: str | None = None
    schema: str | None = None
    app: str | None = None

    def __post_init__(self) -> None:
        """Refuse options that don't fit together.

        Raises:
            Failure: If they don't.
        """
        if self.name is not None and self.aggregate is not None:
            raise Failure("--overlay and --aggregate exclude each other", "leave one of them out")
        if self.since is not None and self.name is not OverlayName.FLOW:
            raise Failure("--since goes with --overlay flow only", "add it, or leave --since out")
        if self.label is None and (self.url or self.schema):
            raise Failure("a database is named, but diagrams without an overlay open none", "add --overlay or --aggregate")
        if self.name is OverlayName.COVERAGE and (self.url or self.schema):
            raise Failure("--overlay coverage shows what tests recorded, and opens no database", "leave --url and --schema out")

    @property
    def label(self) -> str | None:
        """What stands in the names of files; None if no overlay is wanted."""
        return self.name.value if self.name is not None else None if self.aggregate is None else "aggregate"

    def narrowed(self, names: tuple[str, ...], application: Application) -> tuple[str, ...]:
        """Return the lifecycles to be drawn: with an aggregate, the one that it goes through.

        Raises:
            Failure: If that isn't among `names`, where these are given.
        """
        if self.aggregate is None:
            return names
        lifecycle, _ = _named(self.aggregate, application)
        if names and names != (lifecycle,):
            raise Failure(f"--aggregate shows the lifecycle {lifecycle!r} only", "leave the other names out")
        return (lifecycle,)


def overlays_of(wanted: OverlayWanted, diagrams: tuple[Diagram, ...], application: Application) -> dict[str, Overlay]:
    """Return the overlay of each diagram, by the name of its lifecycle; none where none is wanted.

    Raises:
        Failure: If no database is named, if it can't be read, or if it has no such aggregate; if the tests recorded nothing.
    """
    if wanted.label is None:
        return {}
    if wanted.name is OverlayName.COVERAGE:
        return _coverage(diagrams)
    since = _instant(wanted.since) if wanted.since is not None else None
    key = _named(wanted.aggregate, application)[1] if wanted.aggregate is not None else ""
    database = find_database(wanted.url, wanted.app, wanted.schema)
    return {
        diagram.name: _overlay(wanted, diagram, application.lifecycles[diagram.name], database, since, key)
        for diagram in diagrams
    }


def _coverage(diagrams: tuple[Diagram, ...]) -> dict[str, Overlay]:
    from usecasecore.cli.coverage import recorded_coverage
    from usecasecore.coverage.overlay import OtherDeclaration, recorded_overlay

    recorded = {one.declared.name: one for one in recorded_coverage().lifecycles.values()}
    overlays = {}
    for diagram in diagrams:
        if diagram.name not in recorded:
            known = ", ".join(sorted(recorded)) or "nothing"
            raise Failure(f"the tests recorded nothing of the lifecycle {diagram.name!r} (recorded: {known})", _RECORD)
        try:
            overlays[diagram.name] = recorded_overlay(recorded[diagram.name], diagram)
        except OtherDeclaration as error:
            raise Failure(str(error), _RECORD) from error
    return overlays


def _overlay(
    wanted: OverlayWanted, diagram: Diagram, lifecycle: Lifecycle, database: Database, since: datetime | None, key: str
) -> Overlay:
    from usecasecore.diagrams.history import flow, rows_per_state
    from usecasecore.diagrams.overlays import counts_overlay, flow_overlay, journey_overlay

    if wanted.name is OverlayName.COUNTS:
        return counts_overlay(diagram, database.read(lambda connection: rows_per_state(connection, lifecycle)))
    if wanted.name is OverlayName.FLOW:
        found = read_ledger(database, lambda connection, schema: flow(connection, lifecycle, schema, since=since))
        return flow_overlay(diagram, found)
    return journey_overlay(diagram, read_ledger(database, _journey(lifecycle, key)), key)


def _journey(lifecycle: Lifecycle, key: str) -> Callable[[Connection, str | None], tuple[Step, ...]]:
    from usecasecore.diagrams.history import journey

    def read(connection: Connection, schema: str | None) -> tuple[Step, ...]:
        steps = journey(connection, lifecycle, key, schema)
        if not steps:
            name = lifecycle.aggregate_name
            raise Failure(f"there are no entries of {name} {key!r}", f"`usecasecore audit tail --aggregate {name}` shows some")
        return steps

    return read


def _named(text: str, application: Application) -> tuple[str, str]:
    """Return the lifecycle and the key of `LIFECYCLE:KEY`."""
    known = sorted(application.lifecycles, key=len, reverse=True)
    for name in known:
        if text.startswith(f"{name}:") and len(text) > len(name) + 1:
            return name, text[len(name) + 1 :]
    name, colon, key = text.partition(":")
    if not colon or not key:
        raise Failure(f"{text!r} doesn't name an aggregate", "write it as lifecycle:key, for example order:42")
    raise unknown("lifecycle", name, application.lifecycles)


def _instant(text: str) -> datetime:
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        raise Failure(f"--since {text!r} is no time", "write it like 2026-05-01 or 2026-05-01T12:00Z") from None
    return instant if instant.tzinfo is not None else instant.replace(tzinfo=UTC)
