"""`usecasecore lifecycle`: what aggregates go through."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from usecasecore.cli.check import check
from usecasecore.cli.diff import diff
from usecasecore.cli.discovery import find_application
from usecasecore.cli.failure import unknown
from usecasecore.cli.group import group
from usecasecore.cli.options import AppOption, Format, FormatOption
from usecasecore.cli.output import clean, heading, indented, place, print_json, print_lines, table

if TYPE_CHECKING:
    from usecasecore.application import Application
    from usecasecore.lifecycle import Edge, Lifecycle, Location, StateNode
    from usecasecore.registration import Registration

__all__ = ["commands", "guards_text"]

commands = group("The lifecycles of the application. Opens no database.")


commands.command("check")(check)
commands.command("diff")(diff)


@commands.command("list")
def list_(app: AppOption = None, output: FormatOption = Format.TEXT) -> None:
    """List the lifecycles."""
    application = find_application(app)
    listed = [_summary(one, application) for one in application.lifecycles.values()]
    if output is Format.JSON:
        print_json({"lifecycles": listed})
        return
    rows = [
        (
            one["name"],
            one["aggregate"],
            one["column"],
            one["states"],
            one["transitions"],
            len(one["use_cases"]),
            place(**one["declared"]),
        )
        for one in listed
    ]
    print_lines(table(("LIFECYCLE", "AGGREGATE", "COLUMN", "STATES", "TRANSITIONS", "USE CASES", "DECLARED"), rows))


@commands.command()
def show(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of a lifecycle; `list` shows them.")],
    app: AppOption = None,
    output: FormatOption = Format.TEXT,
) -> None:
    """Show its states, transitions and use cases."""
    application = find_application(app)
    lifecycle = application.lifecycles.get(name)
    if lifecycle is None:
        raise unknown("lifecycle", name, application.lifecycles)
    shown = _details(lifecycle, application)
    if output is Format.JSON:
        print_json({"lifecycle": shown})
    else:
        print_lines(_text(shown))


def guards_text(conditions: list[str], unless: list[str]) -> str:
    """Return the guards of a transition in one line."""
    return ", ".join([*conditions, *(f"not {name}" for name in unless)])


def _summary(lifecycle: Lifecycle, application: Application) -> dict[str, Any]:
    return {
        "name": lifecycle.name,
        "aggregate": lifecycle.aggregate.__name__,
        "column": lifecycle.column,
        "states": len(lifecycle.graph.states),
        "transitions": len(lifecycle.graph.edges),
        "use_cases": [one.name for one in application.registrations if _fired(one, lifecycle) or _creates(one, lifecycle)],
        "declared": _declared(lifecycle.location),
    }


def _details(lifecycle: Lifecycle, application: Application) -> dict[str, Any]:
    graph = lifecycle.graph
    return {
        "name": lifecycle.name,
        "description": graph.description,
        "aggregate": lifecycle.aggregate.__name__,
        "attribute": lifecycle.attribute,
        "column": lifecycle.column,
        "version": lifecycle.version,
        "enforce": lifecycle.declaration.enforce,
        "declared": _declared(lifecycle.location),
        "initial": graph.initial,
        "states": [_state(node) for node in graph.states],
        "transitions": [_transition(edge, lifecycle, application) for edge in graph.edges],
        "guards": [{"name": name, "wanted": wanted, "reason": reason} for (name, wanted), reason in _reasons(lifecycle).items()],
        "created_by": [one.name for one in application.registrations if _creates(one, lifecycle)],
        "deleted_by": [one.name for one in application.registrations if issubclass(lifecycle.aggregate, one.deletes)],
    }


def _state(node: StateNode) -> dict[str, Any]:
    return {
        "name": node.name,
        "label": node.label,
        "value": node.value,
        "parent": node.parent,
        "initial": node.initial,
        "initial_child": node.initial_child,
        "final": node.final,
        "resting": node.resting,
        "description": node.description,
    }


def _transition(edge: Edge, lifecycle: Lifecycle, application: Application) -> dict[str, Any]:
    return {
        "trigger": edge.trigger,
        "source": edge.source,
        "dest": edge.dest,
        "conditions": list(edge.conditions),
        "unless": list(edge.unless),
        "use_cases": [one.name for one in application.registrations if edge.trigger in _fired(one, lifecycle)],
        "description": edge.description,
        "declared": _declared(edge.location),
    }


def _fired(registration: Registration, lifecycle: Lifecycle) -> tuple[str, ...]:
    return next((triggers for one, triggers in registration.fires.items() if one.name == lifecycle.name), ())


def _creates(registration: Registration, lifecycle: Lifecycle) -> bool:
    return issubclass(lifecycle.aggregate, registration.creates)


def _reasons(lifecycle: Lifecycle) -> dict[tuple[str, bool], str]:
    """Return the reason of each guard, by its name and the answer that it must give, in the order declared."""
    found = {}
    paths: list[Any] = lifecycle.machine.get_transitions()
    for path in sorted(paths, key=lambda path: int(path.edge.index)):
        for condition in path.conditions:
            guard = condition.func
            found[guard.name, guard.wanted] = guard.reason
    return found


def _declared(location: Location) -> dict[str, Any]:
    return {"file": location.file, "line": location.line}


def _text(shown: dict[str, Any]) -> Iterator[str]:
    yield f"{heading(shown['name'])}, the lifecycle of {shown['aggregate']} in its column {shown['column']!r}"
    if shown["description"]:
        yield clean(shown["description"])
    yield f"declared at {place(**shown['declared'])}"
    if shown["enforce"] == "observe":
        yield "only observes: changes past the runtime are let through, logged and counted"
    yield ""
    yield heading("States")
    yield from indented(table(("", "", ""), [_state_row(state, shown["states"]) for state in shown["states"]]))
    yield ""
    yield heading("Transitions")
    titles = ("TRIGGER", "FROM", "TO", "GUARDS", "USE CASE", "DECLARED")
    yield from indented(table(titles, _transition_rows(shown)))
    if shown["guards"]:
        yield ""
        yield heading("Guards")
        rows = [
            (guards_text([one["name"]], []) if one["wanted"] else f"not {one['name']}", one["reason"]) for one in shown["guards"]
        ]
        yield from indented(table(("", ""), rows))


def _state_row(state: dict[str, Any], states: list[dict[str, Any]]) -> tuple[str, str, str]:
    depth, above = 0, state["parent"]
    while above is not None:
        depth, above = depth + 1, next(one["parent"] for one in states if one["name"] == above)
    entered = {one["initial_child"] for one in states}
    marks = [
        "initial" if state["initial"] else "",
        "final" if state["final"] else "",
        "entered first" if state["name"] in entered else "",
    ]
    sign = "●" if state["initial"] else "◎" if state["final"] else "○" if state["resting"] else "▾"
    return f"{'  ' * depth}{sign} {state['label']}", ", ".join(filter(None, marks)) or " ", state["description"] or " "


def _transition_rows(shown: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    for name in shown["created_by"]:
        yield "(create)", "", shown["initial"], "", name, ""
    for one in shown["transitions"]:
        yield (
            one["trigger"],
            one["source"],
            one["dest"] or "(stays)",
            guards_text(one["conditions"], one["unless"]),
            ", ".join(one["use_cases"]),
            place(**one["declared"]),
        )
    for name in shown["deleted_by"]:
        yield "(delete)", "", "", "", name, ""
