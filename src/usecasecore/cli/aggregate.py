"""`usecasecore aggregate`: where one aggregate is, what can be done with it, and why not more."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from usecasecore.cli.database import Database, find_both
from usecasecore.cli.db import read_ledger
from usecasecore.cli.discovery import Found, no_application
from usecasecore.cli.failure import Failure, unknown
from usecasecore.cli.group import group
from usecasecore.cli.options import AppOption, Format, FormatOption, SchemaOption, UrlOption
from usecasecore.cli.output import clean, heading, indented, note, print_json, print_lines, table

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from usecasecore.context import Actor
    from usecasecore.lifecycle import Lifecycle
    from usecasecore.runtime.explanation import Action
    from usecasecore.runtime.view import View

__all__ = ["actor_of", "commands"]

commands = group("One aggregate: where it is, and what can be done with it. Changes nothing.")


@commands.command()
def show(
    lifecycle: Annotated[str, typer.Argument(metavar="LIFECYCLE", help="Name of a lifecycle, like `order`.")],
    key: Annotated[str, typer.Argument(metavar="KEY", help="The aggregate's key; several columns as `a|b`.")],
    why: Annotated[str | None, typer.Option("--why", metavar="USECASE", help="Show only what is in the way of this one.")] = None,
    actor: Annotated[
        str | None, typer.Option("--actor", metavar="TYPE:ID", help="Who would act. Without one no policy is asked.")
    ] = None,
    role: Annotated[list[str] | None, typer.Option("--role", metavar="NAME", help="A role of the actor; repeatable.")] = None,
    tenant: Annotated[str | None, typer.Option("--tenant", metavar="NAME", help="The tenant the actor acts in.")] = None,
    number: Annotated[int, typer.Option("-n", "--number", min=0, help="How many audit entries.")] = 5,
    url: UrlOption = None,
    schema: SchemaOption = None,
    app: AppOption = None,
    output: FormatOption = Format.TEXT,
) -> None:
    """Show its state, since when, its version, what is possible and what is not, with the reasons, and its last entries."""
    database, where = find_both(url, app, schema)
    if where is None:
        raise no_application()
    found = where.application.lifecycles.get(lifecycle)
    if found is None:
        raise unknown("lifecycle", lifecycle, where.application.lifecycles)
    who = actor_of(actor, role, tenant)
    note(
        f"actor: {clean(who)}"
        if who
        else "actor: none is named, so no policy is asked; --actor TYPE:ID asks on somebody's behalf"
    )
    view = _view(database, where, found, key, who, number)
    actions = view.actions.actions if why is None else (_one(view, why),)
    if output is Format.JSON:
        print_json({"aggregate": _data(view, found, who, actions, None if why is None else 0)})
    elif why is None:
        print_lines(_text(view, found, actions))
    else:
        print_lines(_why_text(view, found, actions[0]))


def actor_of(text: str | None, roles: list[str] | None, tenant: str | None) -> Actor | None:
    """Return the actor that the options name; None where they name none.

    Raises:
        Failure: If the text is no actor, or only a role or a tenant is named.
    """
    from usecasecore.context import Actor

    if text is None:
        if roles or tenant:
            raise Failure("--role and --tenant are an actor's, and none is named", "add --actor TYPE:ID")
        return None
    kind, _, name = text.partition(":")
    if not kind or not name:
        raise Failure(f"{text!r} is no actor", "write it as TYPE:ID, for example user:ada")
    return Actor(kind, name, tenant=tenant, roles=frozenset(roles or ()))


def _view(database: Database, where: Found, lifecycle: Lifecycle, text: str, actor: Actor | None, number: int) -> View:
    from usecasecore.errors import AggregateNotFound, UseCaseError
    from usecasecore.runtime.shell import Shell
    from usecasecore.runtime.view import key_of_text, view_of

    try:
        key = key_of_text(lifecycle.aggregate, text)
    except ValueError as error:
        raise Failure(f"{text!r} is no key of {lifecycle.aggregate_name}: {error}") from error

    # Where nobody is named there is nobody to hide another tenant's rows from.
    tenancy = None if actor is None else getattr(where.runtime, "tenancy", None)
    if tenancy is not None and actor is not None and actor.tenant is None:
        raise Failure(f"the runtime keeps tenants apart, and {actor} acts in none", "add --tenant NAME")

    def read(connection: Connection, schema: str | None) -> View:
        shell = Shell(connection.engine, where.application, None, None, schema, tenancy)
        return view_of(connection, shell, lifecycle, key, actor=actor, entries=number)

    try:
        return read_ledger(database, read)
    except AggregateNotFound as error:
        hints = () if actor is None else (f"or {actor} may not know of it",)
        raise Failure(str(error), *hints) from error
    except UseCaseError as error:
        raise Failure(str(error)) from error


def _one(view: View, name: str) -> Action:
    for action in view.actions:
        if action.use_case == name:
            return action
    raise unknown(f"use case on a {view.actions.aggregate}", name, (action.use_case for action in view.actions))


def _data(
    view: View, lifecycle: Lifecycle, actor: Actor | None, actions: tuple[Action, ...], entries: int | None
) -> dict[str, Any]:
    return {
        "name": view.actions.aggregate,
        "key": view.actions.key,
        "lifecycle": lifecycle.name,
        "state": view.actions.states[lifecycle.name],
        "states": dict(view.actions.states),
        "since": None if view.since is None else _time(view.since),
        "version": view.actions.version,
        "actor": None if actor is None else str(actor),
        "policy_asked": actor is not None,
        "use_cases": [_action_data(action) for action in actions],
        "entries": [
            {name: _time(value) if isinstance(value, datetime) else value for name, value in asdict(entry).items()}
            for entry in view.entries[:entries]
        ],
    }


def _action_data(action: Action) -> dict[str, Any]:
    return {
        "name": action.use_case,
        "answer": action.answer.value,
        "triggers": list(action.triggers),
        "destinations": list(action.destinations),
        "depends_on": list(action.depends_on),
        "refusals": [
            {"code": one.code, "message": one.message, "params": dict(one.params), "version": one.version}
            for one in action.refusals
        ],
        "reason_required": action.reason_required,
        "command": action.command,
        "schema": action.schema,
    }


def _text(view: View, lifecycle: Lifecycle, actions: tuple[Action, ...]) -> Iterator[str]:
    yield from _heading(view, lifecycle)
    possible = [action for action in actions if action]
    if possible:
        yield ""
        yield heading("Possible")
        yield from indented(table(("", "", ""), [(one.use_case, _effect(one), _conditions(one) or " ") for one in possible]))
    refused = [action for action in actions if not action]
    if refused:
        yield ""
        yield heading("Not possible")
        rows = [
            (one.use_case if number == 0 else " ", refusal.message)
            for one in refused
            for number, refusal in enumerate(one.refusals)
        ]
        yield from indented(table(("", ""), rows))
    if view.entries:
        yield ""
        yield heading("Last entries")
        latest = [
            (entry.version, _time(entry.occurred_at), _change(entry), entry.use_case, entry.actor, entry.reason)
            for entry in view.entries
        ]
        yield from indented(table(("", "", "", "", "", ""), latest))


def _heading(view: View, lifecycle: Lifecycle) -> Iterator[str]:
    actions = view.actions
    yield heading(f"{actions.aggregate} {clean(actions.key)}")
    since = "" if view.since is None else f", since {_time(view.since)}"
    rows = [("state", f"{actions.states[lifecycle.name]}{since}")]
    rows += [(name, state) for name, state in actions.states.items() if name != lifecycle.name]
    yield from indented(table(("", ""), [*rows, ("version", actions.version)]))


def _why_text(view: View, lifecycle: Lifecycle, action: Action) -> Iterator[str]:
    from usecasecore.lifecycle.examination import sources_of

    yield from _heading(view, lifecycle)
    yield ""
    if action:
        yield heading(f"{action.use_case} is possible")
        yield from indented(table(("", ""), [(_effect(action), _conditions(action) or " ")]))
        return
    yield heading(f"{action.use_case} is not possible")
    for number, refusal in enumerate(action.refusals, 1):
        yield f"  {number}  {clean(refusal.message)}"
        if refusal.code == "transition_not_allowed":
            trigger = refusal.params["trigger"]
            known = sources_of(lifecycle, trigger) if refusal.params["lifecycle"] == lifecycle.name else ()
            yield from ([f"     {trigger!r} is possible from: {', '.join(known)}"] if known else [])


def _effect(action: Action) -> str:
    fired = " or ".join(action.triggers)
    return f"{fired} → {' or '.join(action.destinations)}" if action.destinations else fired


def _conditions(action: Action) -> str:
    wanted = [f"if the command suits: {', '.join(action.depends_on)}"] if action.depends_on else []
    return "; ".join([*wanted, *(["a reason is wanted"] if action.reason_required else [])])


def _change(entry: Any) -> str:
    if entry.to_state is None:
        return ""
    begun = [f"({entry.kind}) → {entry.to_state}"] if entry.trigger is None else []
    return ", ".join([*begun, *(f"{made.trigger}: {made.source} → {made.dest}" for made in entry.transitions)])


def _time(instant: datetime) -> str:
    return instant.isoformat(timespec="milliseconds").replace("+00:00", "Z")
