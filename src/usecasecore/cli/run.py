"""`usecasecore run`: a use case on all aggregates that a condition finds, or one command; and what it would do."""

from __future__ import annotations

import asyncio
import inspect
import sys
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from usecasecore.cli.aggregate import actor_of
from usecasecore.cli.command import fields_beside_the_key, one_command, registration_named
from usecasecore.cli.database import Database, find_both
from usecasecore.cli.failure import Failure
from usecasecore.cli.idempotency import interruptible
from usecasecore.cli.options import AppOption, Format, FormatOption, SchemaOption, UrlOption
from usecasecore.cli.output import clean, indented, note, print_json, print_lines, table
from usecasecore.cli.progress import Bar
from usecasecore.cli.rehearsal import Rehearsed, asked, rehearsed_data, rehearsed_text

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection

    from usecasecore.application import Application
    from usecasecore.context import Actor
    from usecasecore.messages import Command
    from usecasecore.registration import Registration
    from usecasecore.runtime.batch import Decided
    from usecasecore.runtime.selection import Found, Progress

__all__ = ["run"]

_SAMPLE = 100
_STORIES = 3


class _Stopped(Exception):
    """Ctrl-C was pressed; the batch before is committed."""


def run(
    use_case: Annotated[str, typer.Argument(metavar="USECASE", help="Name of a use case; `usecase list` shows them.")],
    actor: Annotated[str, typer.Option("--actor", metavar="TYPE:ID", help="Who acts.")],
    where: Annotated[
        str | None,
        typer.Option("--where", metavar="SQL", help="A condition on the table, like `state = 'draft'`; `true` for all rows."),
    ] = None,
    key: Annotated[
        str | None, typer.Option("--key", metavar="KEY", help="Or the key of one aggregate; several columns as `a|b`.")
    ] = None,
    reason: Annotated[str | None, typer.Option("--reason", metavar="TEXT", help="Why, for the audit entries.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say how many there are, and ask of the first 100 whether they would run.")
    ] = False,
    debug: Annotated[
        bool,
        typer.Option("--debug", help="With --dry-run: run the first 3, show step by step what they do, and roll them back."),
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
    """Run a use case on every aggregate that a condition finds, in batches, each command with the whole shell; or one command.

    Without --where it is one command: of the aggregate that --key names, or of what --set says alone. Ctrl-C ends a run after
    the batch that is under way. Exits with 1 where a command was refused, or a row was locked.
    """
    if debug and not dry_run:
        raise Failure(
            "--debug shows what a dry run does, and this is none",
            "add --dry-run; the traceback of an error is shown by `usecasecore --debug run ...`",
        )
    if where is not None and key is not None:
        raise Failure("--where and --key both say on what to run", "give one of them")
    who = actor_of(actor, role, tenant)
    assert who is not None
    database, runtime, application = _found(url, app, schema)
    registration = registration_named(application, use_case, reason)
    said: dict[str, Any] = {"actor": who, "reason": reason}
    if where is None:
        one = one_command(registration, key, given or [])
        said["idempotency_key"] = run_id
        if dry_run:
            _print_dry(registration.name, None, 1, asked(runtime, [one], rehearse=int(debug), **said), output)
        else:
            _print_one(*_run_one(runtime, one, said), output)
        return
    from sqlalchemy import Boolean, literal_column

    command = partial(registration.command.of, fields_beside_the_key(registration, given or []))
    condition = literal_column(f"({where})", Boolean())
    seen = _count(database, runtime, registration, condition, who, command)
    if dry_run:
        answers = asked(runtime, seen.first, rehearse=_STORIES if debug else 0, **said)
        _print_dry(registration.name, seen.number, len(seen.first), answers, output)
        return
    said["run_id"] = run_id or _new_id()
    note(f"run: {clean(said['run_id'])}; {seen.number} found; `--run` with this id goes on where it stops")
    said |= {"batch": batch, "skip_locked": skip_locked, "command": command}
    last, interrupted = _run(runtime, registration.name, condition, said, seen.number)
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


def _run_one(runtime: Any, command: Command[Any], said: dict[str, Any]) -> tuple[Progress, Decided]:
    from usecasecore.errors import Conflict, Rejected, UseCaseError
    from usecasecore.runtime.selection import Progress

    said = {**said, "idempotency_key": said["idempotency_key"] or _new_id()}
    decided: Decided
    try:
        done = runtime.run(command, **said)
        decided = asyncio.run(done) if inspect.iscoroutine(done) else done
    except (Rejected, Conflict) as answer:
        decided = answer
    except UseCaseError as error:
        raise Failure(
            str(error), f"what became of it, `--run {said['idempotency_key']}` tells: it runs it at most once"
        ) from error
    return Progress(said["idempotency_key"]).after({"": decided}), decided


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


def _print_dry(name: str, found: int | None, number: int, answers: Rehearsed, output: Format) -> None:
    """Print what a dry run found out; `found` is None for a single command."""
    against = {**answers.refused, **answers.failed}
    refused, failed = sum(answers.refused.values()), sum(answers.failed.values())
    would = number - refused - failed
    if output is Format.JSON:
        counts: dict[str, Any] = {"found": number if found is None else found, "asked": number, "would_run": would}
        counts |= {"refused": answers.refused, "failed": answers.failed}
        stories = {"stories": [rehearsed_data(one) for one in answers.stories]} if answers.stories else {}
        print_json({"use_case": name, "dry_run": True, **counts, **stories})
        return
    if found is None:
        print_lines([f"{name} would {'run' if would else 'be refused'}"] if not answers.stories else [])
    else:
        which = f"of the first {number}" if number < found else "of these"
        print_lines(
            [f"{found} found; {which} {would} would run, {refused} would be refused{f', {failed} would fail' if failed else ''}"]
        )
    if found is not None or not answers.stories:
        print_lines(indented(table(("", ""), sorted(against.items()))) if against else [])
    for place, one in enumerate(answers.stories):
        print_lines([*([""] if place or found is not None else []), *rehearsed_text(one, name)])
    if shown := len(answers.stories):
        several = f"these are the first {shown} of {found}; " if found is not None and shown < found else ""
        note(f"{several}what is told here was done and rolled back: nothing of it is kept")


def _print_one(last: Progress, decided: Decided, output: Format) -> None:
    from usecasecore.context import Outcome

    if isinstance(decided, Outcome):
        told: dict[str, Any] = {"result": decided.result.model_dump(mode="json"), "refusal": None}
    else:
        told = {"result": None, "refusal": {"code": decided.refusal.code, "message": decided.refusal.message}}
    _print(last, output, interrupted=False, **told)
    if not isinstance(decided, Outcome):
        note(f"refused: {clean(decided.refusal.message)}")
        raise typer.Exit(1)
    if output is Format.TEXT:
        print_lines(indented([clean(repr(decided.result))]))


def _print(last: Progress, output: Format, *, interrupted: bool, **told: Any) -> None:
    counts = {"found": last.selected, "done": last.done, "replayed": last.replayed, "busy": last.busy}
    if output is Format.JSON:
        print_json(
            {"run": last.run_id, "dry_run": False, **counts, "refused": dict(last.refused), "interrupted": interrupted, **told}
        )
    else:
        refused = sum(last.refused.values())
        print_lines([", ".join(f"{number} {name}" for name, number in {**counts, "refused": refused}.items())])
        print_lines(indented(table(("", ""), sorted(last.refused.items()))) if refused else [])
    if interrupted:
        note(f"stopped: interrupted; `--run {clean(last.run_id)}` goes on")
    elif last.busy:
        rows = "row was" if last.busy == 1 else "rows were"
        note(f"{last.busy} {rows} locked by somebody else; `--run {clean(last.run_id)}` tries them again")
