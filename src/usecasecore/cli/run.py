"""`usecasecore run`: a use case on all aggregates that a condition finds."""

from __future__ import annotations

import asyncio
import inspect
import json
import sys
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from usecasecore.cli.aggregate import actor_of
from usecasecore.cli.database import Database, find_both
from usecasecore.cli.failure import Failure, unknown
from usecasecore.cli.idempotency import interruptible
from usecasecore.cli.options import AppOption, Format, FormatOption, SchemaOption, UrlOption
from usecasecore.cli.output import clean, indented, note, print_json, print_lines, table
from usecasecore.cli.progress import Bar

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection

    from usecasecore.application import Application
    from usecasecore.context import Actor
    from usecasecore.messages import Command
    from usecasecore.registration import Registration
    from usecasecore.runtime.selection import Found, Progress

__all__ = ["run"]

_SAMPLE = 100


class _Stopped(Exception):
    """Ctrl-C was pressed; the batch before is committed."""


def run(
    use_case: Annotated[str, typer.Argument(metavar="USECASE", help="Name of a use case; `usecase list` shows them.")],
    where: Annotated[
        str, typer.Option("--where", metavar="SQL", help="A condition on the table, like `state = 'draft'`; `true` for all rows.")
    ],
    actor: Annotated[str, typer.Option("--actor", metavar="TYPE:ID", help="Who acts.")],
    reason: Annotated[str | None, typer.Option("--reason", metavar="TEXT", help="Why, for the audit entries.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say how many there are, and ask of the first 100 whether they would run.")
    ] = False,
    run_id: Annotated[
        str | None, typer.Option("--run", metavar="ID", help="Go on with the run of this id, or name a new one.")
    ] = None,
    given: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="FIELD=VALUE", help="A further field of the command, as JSON or as a text; repeatable."),
    ] = None,
    role: Annotated[list[str] | None, typer.Option("--role", metavar="NAME", help="A role of the actor; repeatable.")] = None,
    tenant: Annotated[str | None, typer.Option("--tenant", metavar="NAME", help="The tenant the actor acts in.")] = None,
    batch: Annotated[int, typer.Option("--batch", min=1, max=5_000, metavar="N", help="How many share a transaction.")] = 500,
    skip_locked: Annotated[
        bool, typer.Option("--skip-locked", help="Don't wait for rows that somebody else has locked.")
    ] = False,
    url: UrlOption = None,
    schema: SchemaOption = None,
    app: AppOption = None,
    output: FormatOption = Format.TEXT,
) -> None:
    """Run a use case on every aggregate that a condition finds, in batches, each command with the whole shell.

    Ctrl-C ends it after the batch that is under way. Exits with 1 where a command was refused, or a row was locked.
    """
    from sqlalchemy import Boolean, literal_column

    who = actor_of(actor, role, tenant)
    assert who is not None
    database, runtime, application = _found(url, app, schema)
    registration = _registration(application, use_case, reason)
    command = partial(registration.command.of, _fields(registration, given or []))
    condition = literal_column(f"({where})", Boolean())
    seen = _count(database, runtime, registration, condition, who, command)
    if dry_run:
        _print_dry(registration.name, seen, _asked(runtime, seen, who, reason), output)
        return
    options: dict[str, Any] = {"actor": who, "reason": reason, "run_id": run_id or _new_id()}
    note(f"run: {clean(options['run_id'])}; {seen.number} found; `--run` with this id goes on where it stops")
    options |= {"batch": batch, "skip_locked": skip_locked, "command": command}
    last, interrupted = _run(runtime, registration.name, condition, options, seen.number)
    _print(last, output, interrupted=interrupted)
    if last.busy or last.refused or interrupted:
        raise typer.Exit(1)


def _found(url: str | None, app: str | None, schema: str | None) -> tuple[Database, Any, Application]:
    from sqlalchemy import Engine

    database, found = find_both(url, app, schema)
    if found is None:
        raise Failure("no application is named", "pass --app module:attribute")
    if getattr(found.runtime, "engine", None) is database.engine and hasattr(found.runtime, "transition_where"):
        return database, found.runtime, found.application
    options: dict[str, Any] = {"ledger_schema": database.schema, "tenancy": getattr(found.runtime, "tenancy", None)}
    if isinstance(database.engine, Engine):
        from usecasecore.runtime import Runtime

        return database, Runtime(database.engine, found.application, **options), found.application
    from usecasecore.runtime.asynchronous import AsyncRuntime

    return database, AsyncRuntime(database.engine, found.application, **options), found.application


def _registration(application: Application, name: str, reason: str | None) -> Registration:
    registration = application.registration(name)
    if registration is None:
        raise unknown("use case", name, (one.name for one in application.registrations))
    if registration.use_case.reason_required and not reason:
        raise Failure(f"{name} wants a reason", "add --reason TEXT")
    return registration


def _fields(registration: Registration, given: list[str]) -> dict[str, Any]:
    known = registration.command.model_fields
    fields: dict[str, Any] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals:
            raise Failure(f"--set {text!r} has no `=`", "write it as FIELD=VALUE")
        if name not in known:
            raise unknown(f"field of {registration.command.__name__}", name, known)
        try:
            fields[name] = json.loads(value)
        except ValueError:
            fields[name] = value
    by_key = set(registration.keys.values())
    if both := sorted(by_key & fields.keys()):
        raise Failure(f"{', '.join(both)} is the key, which is taken from each row", "leave it out of --set")
    if missing := [name for name, one in known.items() if one.is_required() and name not in by_key | fields.keys()]:
        raise Failure(f"{registration.command.__name__} wants {', '.join(missing)} too", f"add --set {missing[0]}=VALUE")
    return fields


def _count(
    database: Database,
    runtime: Any,
    registration: Registration,
    condition: ColumnElement[bool],
    actor: Actor,
    command: Callable[..., Command[Any]],
) -> Found:
    from usecasecore.errors import DefinitionError, InvalidCommand
    from usecasecore.runtime.selection import found_by
    from usecasecore.runtime.shell import Shell

    def read(connection: Connection) -> Found:
        shell = Shell(connection.engine, runtime.application, None, None, database.schema, runtime.tenancy)
        return found_by(connection, shell, registration.name, condition, actor=actor, command=command, sample=_SAMPLE)

    try:
        return database.read(read)
    except (DefinitionError, InvalidCommand) as error:
        raise Failure(str(error)) from error


def _asked(runtime: Any, seen: Found, actor: Actor, reason: str | None) -> dict[str, int]:
    """Return code of the refusal -> how many of the first ones would be refused with it."""
    from usecasecore.errors import UseCaseError

    async def ask_all() -> list[Any]:
        return [await runtime.explain(one, actor=actor, reason=reason) for one in seen.first]

    try:
        if inspect.iscoroutinefunction(runtime.explain):
            answers = asyncio.run(ask_all())
        else:
            answers = [runtime.explain(one, actor=actor, reason=reason) for one in seen.first]
    except UseCaseError as error:
        raise Failure(str(error)) from error
    counted: dict[str, int] = {}
    for answer in answers:
        if answer.refusals:
            counted[answer.refusals[0].code] = counted.get(answer.refusals[0].code, 0) + 1
    return counted


def _run(runtime: Any, name: str, condition: ColumnElement[bool], options: dict[str, Any], number: int) -> tuple[Progress, bool]:
    from usecasecore.errors import UseCaseError
    from usecasecore.runtime.selection import Progress

    last = Progress(options["run_id"])
    with interruptible() as interrupted, Bar(sys.stderr, number) as bar:

        def progress(done: Progress) -> None:
            nonlocal last
            last = done
            bar.show(done.selected, f"refused {sum(done.refused.values())}, busy {done.busy}")
            if interrupted:
                raise _Stopped

        try:
            done = runtime.transition_where(name, condition, progress=progress, **options)
            return (asyncio.run(done) if inspect.iscoroutine(done) else done), False
        except _Stopped:
            return last, True
        except (UseCaseError, ValueError) as error:
            bar.clear()
            hint = f"{last.done} are done; `--run {last.run_id}` goes on" if last.done else "nothing is done"
            raise Failure(str(error), hint) from error


def _new_id() -> str:
    from usecasecore.ids import uuid7

    return str(uuid7())


def _print_dry(name: str, seen: Found, refused: dict[str, int], output: Format) -> None:
    asked = len(seen.first)
    would = asked - sum(refused.values())
    if output is Format.JSON:
        counts = {"found": seen.number, "asked": asked, "would_run": would, "refused": refused}
        print_json({"use_case": name, "dry_run": True, **counts})
        return
    which = f"of the first {asked}" if asked < seen.number else "of these"
    print_lines([f"{seen.number} found; {which} {would} would run, {asked - would} would be refused"])
    print_lines(indented(table(("", ""), sorted(refused.items()))) if refused else [])


def _print(last: Progress, output: Format, *, interrupted: bool) -> None:
    counts = {"found": last.selected, "done": last.done, "replayed": last.replayed, "busy": last.busy}
    if output is Format.JSON:
        print_json({"run": last.run_id, "dry_run": False, **counts, "refused": dict(last.refused), "interrupted": interrupted})
    else:
        refused = sum(last.refused.values())
        print_lines([", ".join(f"{number} {name}" for name, number in {**counts, "refused": refused}.items())])
        print_lines(indented(table(("", ""), sorted(last.refused.items()))) if refused else [])
    if interrupted:
        note(f"stopped: interrupted; `--run {clean(last.run_id)}` goes on")
    elif last.busy:
        note(f"{last.busy} rows were locked by somebody else; `--run {clean(last.run_id)}` tries them again")
