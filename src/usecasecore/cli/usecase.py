"""`usecasecore usecase`: what can be done."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from usecasecore.cli.discovery import find_application
from usecasecore.cli.failure import unknown
from usecasecore.cli.group import group
from usecasecore.cli.lifecycle import guards_text
from usecasecore.cli.options import AppOption, Format, FormatOption
from usecasecore.cli.output import clean, heading, indented, place, print_json, print_lines, table

if TYPE_CHECKING:
    from usecasecore.registration import Registration

__all__ = ["commands"]

commands = group("The use cases of the application. Opens no database.")


@commands.command("list")
def list_(app: AppOption = None, output: FormatOption = Format.TEXT) -> None:
    """List the use cases."""
    listed = [_summary(one) for one in find_application(app).registrations]
    if output is Format.JSON:
        print_json({"use_cases": listed})
        return
    rows = [
        (
            one["name"],
            one["command"],
            one["result"],
            one["aggregate"],
            one["creates"],
            ", ".join(one["triggers"]),
            one["permission"],
        )
        for one in listed
    ]
    print_lines(table(("USE CASE", "COMMAND", "RESULT", "LOADS", "CREATES", "FIRES", "PERMISSION"), rows))


@commands.command()
def show(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of a use case; `list` shows them.")],
    app: AppOption = None,
    output: FormatOption = Format.TEXT,
) -> None:
    """Show what happens when it runs, step by step."""
    application = find_application(app)
    registration = application.registration(name)
    if registration is None:
        raise unknown("use case", name, (one.name for one in application.registrations))
    from usecasecore.cli.steps import described

    shown = described(registration, application)
    if output is Format.JSON:
        print_json({"use_case": shown})
    else:
        print_lines(_text(shown))


def _summary(registration: Registration) -> dict[str, Any]:
    return {
        "name": registration.name,
        "command": registration.command.__name__,
        "result": registration.result.__name__,
        "aggregate": ", ".join(cls.__name__ for cls in registration.loads) or None,
        "creates": ", ".join(cls.__name__ for cls in registration.creates) or None,
        "lifecycle": registration.lifecycle.name if registration.lifecycle else None,
        "triggers": list(registration.triggers),
        "permission": registration.permission,
    }


def _text(shown: dict[str, Any]) -> Iterator[str]:
    yield f"{heading(shown['name'])}, from {shown['command']} to {shown['result']['type']}"
    if shown["description"]:
        yield clean(shown["description"])
    if shown["declared"]:
        yield f"declared at {place(**shown['declared'])}"
    yield ""
    yield heading("Steps")
    for number, step in enumerate(shown["steps"], 1):
        first, *others = _STEPS[step["step"]](step, shown)
        yield f"  {number}  {step['step']:<11}  {first}"
        yield from (f"     {'':<11}  {line}" for line in others)
    yield ""
    yield heading(f"Result: {shown['result']['type']}")
    yield from indented(_field_lines(shown["result"]["fields"]))
    if shown["refuses"]:
        yield ""
        yield heading("Refusals of its own")
        rows = [(one["type"], one["code"], one["description"]) for one in shown["refuses"]]
        yield from indented(table(("", "", ""), rows))


def _validate(step: dict[str, Any], shown: dict[str, Any]) -> Iterator[str]:
    yield f"the command {step['command']}"
    yield from indented(_field_lines(step["fields"]))
    if shown["reason_required"]:
        yield "the caller must give a reason"
    if step["own_checks"]:
        yield f"then {shown['name']}.validate"


def _scopes(step: dict[str, Any], shown: dict[str, Any]) -> Iterator[str]:
    for scope in step["scopes"]:
        of = f" of {', '.join(scope['fields'])}" if scope["fields"] else ""
        yield f"{scope['name']}{of}: one such command after the other"
    yield f"  PostgreSQL  {step['lock']['postgresql']}"
    yield f"  SQLite      {step['lock']['sqlite']}"


def _idempotency(step: dict[str, Any], shown: dict[str, Any]) -> Iterator[str]:
    yield f"a key that was used before gets its result again, for {_span(step['keep_results'])}"


def _load(step: dict[str, Any], shown: dict[str, Any]) -> Iterator[str]:
    if several := step.get("several"):
        missing = {"refuse": "", "create": ", created where it is missing", "none": ", or None"}
        for one in several:
            keys = " and ".join(f"{column} = {field}" for column, field in one["keys"].items())
            yield f"{one['name']}: {one['aggregate']} from {one['table']} where {keys}, locked{missing[one['missing']]}"
    elif step["aggregate"] is None:
        yield "nothing; duplicates wait for each other"
    elif not step["keys"]:
        yield f"{step['aggregate']} from {step['table']}, as {shown['name']}.select finds it, locked"
    else:
        keys = " and ".join(f"{column} = {field}" for column, field in step["keys"].items())
        yield f"{step['aggregate']} from {step['table']} where {keys}, locked"
    yield f"  PostgreSQL  {step['lock']['postgresql']}"
    yield f"  SQLite      {step['lock']['sqlite']}"


def _policy(step: dict[str, Any], shown: dict[str, Any]) -> Iterator[str]:
    yield f"{step['policy']} is asked for the permission {step['permission']!r}"


def _fire(step: dict[str, Any], shown: dict[str, Any]) -> Iterator[str]:
    chosen = f", as {shown['name']}.choose_trigger says" if len(step["triggers"]) > 1 else ""
    yield f"{' or '.join(step['triggers'])} of the lifecycle {step['lifecycle']}{chosen}"
    several = len(step["triggers"]) > 1
    rows = [(f"{one['trigger']}: {_arrow(one)}" if several else _arrow(one), _guards(one)) for one in step["transitions"]]
    yield from indented(table(("", ""), rows))


def _apply(step: dict[str, Any], shown: dict[str, Any]) -> Iterator[str]:
    does = [(verb, " or ".join(step[verb])) for verb in ("creates", "deletes") if step[verb]]
    told = " and ".join(f"{verb} at least one {names}" for verb, names in does)
    yield f"{shown['name']}.apply{f', which {told}' if told else ''}"


def _record(step: dict[str, Any], shown: dict[str, Any]) -> Iterator[str]:
    detail = f", with the detail of {shown['name']}.audit" if step["own_detail"] else ""
    yield from table(
        ("", ""),
        [
            ("audit", f"{' and '.join(step['audit']) or 'the command'}{detail}"),
            *([("events", ", ".join(step["events"]))] if step["events"] else []),
            *([("jobs", ", ".join(step["jobs"]))] if step["jobs"] else []),
            ("result", "under the idempotency key"),
        ],
    )


def _commit(step: dict[str, Any], shown: dict[str, Any]) -> Iterator[str]:
    yield "all of it or nothing"


_STEPS: dict[str, Callable[[dict[str, Any], dict[str, Any]], Iterator[str]]] = {
    "validate": _validate,
    "scopes": _scopes,
    "idempotency": _idempotency,
    "load": _load,
    "policy": _policy,
    "fire": _fire,
    "apply": _apply,
    "record": _record,
    "commit": _commit,
}


def _field_lines(fields: list[dict[str, Any]]) -> list[str]:
    return table(("", "", ""), [(one["name"], one["type"], _field_marks(one) or " ") for one in fields])


def _field_marks(field: dict[str, Any]) -> str:
    marks = [
        f"key ({field['key']})" if field.get("key") else "",
        "sensitive" if field.get("sensitive") else "",
        "" if field["required"] else f"default {field['default']}",
        field["description"],
    ]
    return ", ".join(filter(None, marks))


def _arrow(transition: dict[str, Any]) -> str:
    return f"{transition['source']} → {transition['dest'] or 'the same'}"


def _guards(transition: dict[str, Any]) -> str:
    guards = guards_text(transition["conditions"], transition["unless"])
    return f"if {guards}" if guards else " "


def _span(seconds: int) -> str:
    hours, rest = divmod(seconds, 3600)
    return f"{hours} hours" if hours and not rest else str(timedelta(seconds=seconds))
