"""`usecasecore audit erase`: forget the personal values of a subject."""

from __future__ import annotations

import asyncio
import getpass
from typing import TYPE_CHECKING, Annotated

import typer

from usecasecore.cli.database import Database, find_database
from usecasecore.cli.db import read_ledger
from usecasecore.cli.failure import Failure
from usecasecore.cli.options import AppOption, Format, FormatOption, SchemaOption, UrlOption
from usecasecore.cli.output import note, print_json, print_lines

if TYPE_CHECKING:
    from usecasecore import Actor, Outcome
    from usecasecore.verification import ErasedSubject

__all__ = ["erase"]


def erase(
    subject: Annotated[str, typer.Argument(metavar="SUBJECT", help="Whom the values are about: the id that commands name.")],
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; it goes into the audit trail.")],
    actor: Annotated[
        str | None, typer.Option("--actor", metavar="TYPE:ID", help="Who erases. By default the user of this system.")
    ] = None,
    tenant: Annotated[str | None, typer.Option("--tenant", metavar="NAME", help="In which tenant. By default in none.")] = None,
    url: UrlOption = None,
    schema: SchemaOption = None,
    app: AppOption = None,
    output: FormatOption = Format.TEXT,
) -> None:
    """Erase the personal values that the ledger keeps about a subject. The entries and their hashes stay; this becomes one.

    What your own tables, stored results, the outbox and backups hold of the person is not touched.
    """
    who = _actor(actor, tenant)
    database = find_database(url, app, schema)
    read_ledger(database, lambda _connection, _schema: None)
    outcome = _run(database, subject, who, reason)
    if output is Format.JSON:
        print_json({"subject": subject, "values": outcome.result.values, "command_id": str(outcome.command_id)})
    else:
        print_lines([f"{outcome.result.values} values erased; the audit entry is that of command {outcome.command_id}"])
    if not outcome.result.values:
        note("there were none: is that the id that commands name the subject by?")


def _actor(text: str | None, tenant: str | None) -> Actor:
    from usecasecore import Actor

    kind, _, name = (f"operator:{getpass.getuser()}" if text is None else text).partition(":")
    if not kind or not name:
        raise Failure(f"--actor: {text!r} is no actor", "write it as type:id, for example user:ada")
    return Actor(kind, name, tenant=tenant or None)


def _run(database: Database, subject: str, actor: Actor, reason: str) -> Outcome[ErasedSubject]:
    from sqlalchemy import Engine
    from sqlalchemy.exc import SQLAlchemyError

    from usecasecore import AllowAll, Application, AsyncRuntime, Runtime, UseCaseError
    from usecasecore.verification import EraseSubject, SubjectErasure

    application = Application([SubjectErasure(database.schema)], policy=AllowAll(), name="erasure")
    command = EraseSubject(subject=subject)
    try:
        if isinstance(database.engine, Engine):
            runtime = Runtime(database.engine, application, ledger_schema=database.schema)
            return runtime.run(command, actor=actor, reason=reason)

        async def run() -> Outcome[ErasedSubject]:
            asynchronous = AsyncRuntime(database.engine, application, ledger_schema=database.schema)  # type: ignore[arg-type]
            try:
                return await asynchronous.run(command, actor=actor, reason=reason)
            finally:
                await database.engine.dispose()  # type: ignore[misc]

        return asyncio.run(run())
    except (UseCaseError, SQLAlchemyError) as error:
        raise Failure(f"nothing was erased: {error}") from error
