from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.cli import sample_app
from tests.unit.cli.command_line import CommandLine
from tests.unit.cli.conftest import SAMPLE


def shown(run: CommandLine) -> list[str]:
    return run("lifecycle", "show", "order", "--app", SAMPLE).out.splitlines()


def section(lines: list[str], title: str) -> list[str]:
    rest = lines[lines.index(title) + 1 :]
    return [line.strip() for line in rest[: rest.index("") if "" in rest else None]]


def test_list_has_a_line_for_each_lifecycle(run: CommandLine) -> None:
    ran = run("lifecycle", "list", "--app", SAMPLE)
    assert ran.code == 0
    titles, row = (line.split() for line in ran.out.splitlines())
    assert titles == ["LIFECYCLE", "AGGREGATE", "COLUMN", "STATES", "TRANSITIONS", "USE", "CASES", "DECLARED"]
    assert row[:6] == ["order", "Order", "state", "6", "6", "3"]
    assert row[6] == str(sample_app.Order.lifecycle.location)


def test_list_as_json_has_the_same_facts(run: CommandLine) -> None:
    (only,) = run("lifecycle", "list", "--app", SAMPLE, "--format", "json").data["lifecycles"]
    location = sample_app.Order.lifecycle.location
    assert only == {
        "name": "order",
        "aggregate": "Order",
        "column": "state",
        "states": 6,
        "transitions": 6,
        "use_cases": ["CreateOrder", "SubmitOrder", "CancelOrder"],
        "declared": {"file": location.file, "line": location.line},
    }


def test_a_place_below_the_current_directory_is_shown_from_there(run: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    file = Path(sample_app.__file__)
    monkeypatch.chdir(file.parents[1])
    line = sample_app.Order.lifecycle.location.line
    assert f" cli/sample_app.py:{line}\n" in run("lifecycle", "list", "--app", SAMPLE).out


def test_show_marks_initial_final_and_nested_states(run: CommandLine) -> None:
    lines = shown(run)
    start = lines.index("States") + 1
    assert [line.rstrip() for line in lines[start : start + 6]] == [
        "  ● draft      initial        still being written",
        "  ○ submitted",
        "  ▾ shipping",
        "    ○ packed   entered first",
        "    ○ sent",
        "  ◎ cancelled  final",
    ]


def test_show_has_a_line_for_each_transition_with_guards_and_use_case(run: CommandLine) -> None:
    rows = [line.split() for line in section(shown(run), "Transitions")]
    assert [row[:-1] for row in rows] == [
        ["TRIGGER", "FROM", "TO", "GUARDS", "USE", "CASE"],
        ["(create)", "-", "draft", "-", "CreateOrder"],
        ["submit", "draft", "submitted", "has_value,", "not", "is_held", "SubmitOrder"],
        ["ship", "submitted", "shipping", "-", "-"],
        ["send", "shipping/packed", "shipping/sent", "-", "-"],
        ["comment", "shipping", "(stays)", "-", "-"],
        ["cancel", "draft", "cancelled", "-", "CancelOrder"],
        ["cancel", "submitted", "cancelled", "-", "CancelOrder"],
    ]


def test_show_says_where_each_transition_is_declared(run: CommandLine) -> None:
    edge = sample_app.Order.lifecycle.graph.edges[0]
    (line,) = (line for line in shown(run) if line.startswith("  submit "))
    assert line.endswith(f"  {edge.location}")


def test_show_gives_the_reason_of_each_guard(run: CommandLine) -> None:
    assert section(shown(run), "Guards") == [
        "has_value    an order must be worth something before it is submitted",
        "not is_held  the order is held",
    ]


def test_show_as_json_has_the_whole_graph(run: CommandLine) -> None:
    data = run("lifecycle", "show", "order", "--app", SAMPLE, "--format", "json").data["lifecycle"]
    graph = sample_app.Order.lifecycle.graph
    assert [state["name"] for state in data["states"]] == [node.name for node in graph.states]
    assert [(one["trigger"], one["source"], one["dest"]) for one in data["transitions"]] == [
        (edge.trigger, edge.source, edge.dest) for edge in graph.edges
    ]
    assert data["transitions"][0]["conditions"] == ["has_value"]
    assert data["transitions"][0]["unless"] == ["is_held"]
    assert data["transitions"][0]["use_cases"] == ["SubmitOrder"]
    assert data["created_by"] == ["CreateOrder"]
    assert data["guards"][1] == {"name": "is_held", "wanted": False, "reason": "the order is held"}


def test_an_unknown_lifecycle_names_the_nearest_and_exits_with_2(run: CommandLine) -> None:
    ran = run("lifecycle", "show", "ordr", "--app", SAMPLE)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.endswith("error: there is no lifecycle 'ordr'\nhint: did you mean 'order'? known: order\n")


@pytest.mark.parametrize("command", [["lifecycle", "list"], ["lifecycle", "show", "order"], ["usecase", "list"]])
def test_what_is_declared_is_shown_without_a_database(
    run: CommandLine, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    monkeypatch.setenv("USECASECORE_URL", "nonsense")
    assert run(*command, "--app", SAMPLE).code == 0
