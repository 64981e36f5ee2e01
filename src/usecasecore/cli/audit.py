"""`usecasecore audit`: who did what."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from usecasecore.cli.database import Database, find_database
from usecasecore.cli.db import read_ledger
from usecasecore.cli.failure import Failure, unknown
from usecasecore.cli.group import group
from usecasecore.cli.options import AppOption, Format, FormatOption, SchemaOption, UrlOption
from usecasecore.cli.output import clean, heading, indented, note, print_json, print_lines, table

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from usecasecore.ledger.reading import RecordedEntry

__all__ = ["commands"]

commands = group("The audit entries in the ledger.")


@commands.command()
def tail(
    number: Annotated[int, typer.Option("-n", "--number", min=1, help="How many entries.")] = 20,
    use_case: Annotated[str | None, typer.Option("--use-case", metavar="NAME", help="Only those of this use case.")] = None,
    actor: Annotated[str | None, typer.Option("--actor", metavar="TYPE:ID", help="Only those of this actor.")] = None,
    aggregate: Annotated[
        str | None, typer.Option("--aggregate", metavar="NAME", help="Only those of aggregates of this name, like `order`.")
    ] = None,
    url: UrlOption = None,
    schema: SchemaOption = None,
    app: AppOption = None,
    output: FormatOption = Format.TEXT,
) -> None:
    """Show the latest entries, the newest last."""
    from usecasecore.ledger.reading import latest_entries

    def read(connection: Connection, schema: str | None) -> list[RecordedEntry]:
        entries = latest_entries(connection, schema, limit=number, use_case=use_case, actor=actor, aggregate=aggregate)
        if not entries and aggregate is not None:
            _require_aggregate(aggregate, connection, schema)
        return entries

    entries = read_ledger(find_database(url, app, schema), read)
    if output is Format.JSON:
        print_json({"entries": [_data(entry) for entry in entries]})
    elif entries:
        titles = ("OCCURRED", "AGGREGATE", "KEY", "VERSION", "CHANGE", "USE CASE", "ACTOR", "REASON")
        print_lines(table(titles, map(_row, entries)))
    else:
        note("no entries")


@commands.command()
def show(
    aggregate: Annotated[str | None, typer.Argument(metavar="AGGREGATE", help="Name of an aggregate, like `order`.")] = None,
    key: Annotated[str | None, typer.Argument(metavar="KEY", help="Its key; several columns as `a|b`.")] = None,
    command: Annotated[
        str | None, typer.Option("--command", metavar="ID", help="Show the entries of this command instead.")
    ] = None,
    url: UrlOption = None,
    schema: SchemaOption = None,
    app: AppOption = None,
    output: FormatOption = Format.TEXT,
) -> None:
    """Show the whole trail of one aggregate, or everything about one command."""
    if command is not None and aggregate is None:
        _show_command(_uuid(command), find_database(url, app, schema), output)
    elif command is None and aggregate is not None and key is not None:
        _show_trail(aggregate, key, find_database(url, app, schema), output)
    else:
        raise Failure(
            "either an aggregate and its key, or a command is to be shown",
            "`usecasecore audit show order 42`, or `usecasecore audit show --command ID`",
        )


def _show_trail(aggregate: str, key: str, database: Database, output: Format) -> None:
    from usecasecore.ledger.reading import trail, with_personal_values

    def read(connection: Connection, schema: str | None) -> list[RecordedEntry]:
        entries = with_personal_values(connection, schema, trail(connection, schema, aggregate, key))
        if not entries:
            _require_aggregate(aggregate, connection, schema)
            raise Failure(
                f"there are no entries of {aggregate} {key!r}", f"`usecasecore audit tail --aggregate {aggregate}` shows some"
            )
        return entries

    entries = read_ledger(database, read)
    if output is Format.JSON:
        print_json({"aggregate": aggregate, "key": key, "entries": [_data(entry) for entry in entries]})
    else:
        print_lines(_trail_text(aggregate, key, entries))


def _show_command(command_id: UUID, database: Database, output: Format) -> None:
    from usecasecore.ledger.reading import command_entries, with_personal_values

    def read(connection: Connection, schema: str | None) -> list[RecordedEntry]:
        return with_personal_values(connection, schema, command_entries(connection, schema, command_id))

    entries = read_ledger(database, read)
    if not entries:
        raise Failure(f"there are no entries of the command {command_id}", "a refused command leaves none")
    if output is Format.JSON:
        print_json({"command_id": str(command_id), "entries": [_data(entry) for entry in entries]})
    else:
        print_lines(_command_text(entries))


def _require_aggregate(name: str, connection: Connection, schema: str | None) -> None:
    from usecasecore.ledger.reading import audited_aggregates

    known = list(audited_aggregates(connection, schema))
    if name not in known:
        raise unknown("aggregate with entries", name, known)


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise Failure(
            f"{text!r} is not the id of a command", "it is a UUID; `usecasecore audit tail --format json` shows them"
        ) from None


def _data(entry: RecordedEntry) -> dict[str, Any]:
    return {name: _time(value) if isinstance(value, datetime) else value for name, value in asdict(entry).items()}


def _row(entry: RecordedEntry) -> tuple[object, ...]:
    return (
        _time(entry.occurred_at),
        entry.aggregate,
        entry.aggregate_id,
        entry.version,
        _change(entry),
        entry.use_case,
        _actor(entry),
        entry.reason,
    )


def _trail_text(aggregate: str, key: str, entries: list[RecordedEntry]) -> Iterator[str]:
    yield heading(f"{aggregate} {clean(key)}")
    for entry in entries:
        yield ""
        reason = f': "{clean(entry.reason)}"' if entry.reason else ""
        yield f"  {heading(f'{entry.version}')}  {_time(entry.occurred_at)}  {entry.use_case} by {_actor(entry)}{reason}"
        yield from indented(indented(_entry_lines(entry)))


def _command_text(entries: list[RecordedEntry]) -> Iterator[str]:
    first = entries[0]
    yield heading(f"command {first.command_id}")
    facts = {
        "use case": first.use_case,
        "actor": first.actor,
        "on behalf of": first.on_behalf_of,
        "tenant": first.tenant,
        "reason": first.reason,
        "occurred": _time(first.occurred_at),
        "recorded": _time(first.recorded_at),
        "request": first.request_id,
        "correlation": first.correlation_id,
        "causation": first.causation_id,
    }
    yield from indented(table(("", ""), facts.items()))
    yield ""
    yield heading("Fields")
    yield from indented(_value_lines(first.command))
    for entry in entries:
        yield ""
        yield heading(
            f"{entry.aggregate} {clean(entry.aggregate_id)}, version {entry.version}" if entry.aggregate else "No aggregate"
        )
        yield from indented(_entry_lines(entry))


def _entry_lines(entry: RecordedEntry) -> Iterator[str]:
    if change := _change(entry):
        yield clean(change if entry.lifecycle == entry.aggregate else f"{change} ({entry.lifecycle})")
    for made in entry.transitions[1 if entry.trigger else 0 :]:
        yield clean(f"{made.trigger}: {made.source} → {made.dest} ({made.lifecycle})")
    rows = [(name, f"{_json(before)} → {_json(after)}") for name, (before, after) in entry.changes.items()]
    yield from table(("", ""), rows) if rows else ()
    if entry.detail:
        yield "detail"
        yield from indented(_value_lines(entry.detail))


def _value_lines(value: dict[str, Any]) -> list[str]:
    return table(("", ""), [(name, _json(member)) for name, member in value.items()]) if value else ["none"]


def _change(entry: RecordedEntry) -> str:
    kind = "" if entry.kind == "change" else f"({entry.kind})"
    if entry.from_state is None:
        return f"{kind} → {entry.to_state}" if entry.to_state else kind
    name = f"{entry.trigger}:" if entry.trigger else ""
    return " ".join(part for part in (name, entry.from_state, "→", entry.to_state, kind) if part)


def _actor(entry: RecordedEntry) -> str:
    return clean(f"{entry.actor} for {entry.on_behalf_of}" if entry.on_behalf_of else entry.actor)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _time(instant: datetime) -> str:
    return instant.isoformat(timespec="milliseconds").replace("+00:00", "Z")
