"""The drawing for a terminal: everything is in it, nothing is cut off, and each line leads where it says."""

from __future__ import annotations

import unicodedata

import pytest

from tests.unit.diagrams.drawings import chain, diagram, hostile, nested, randomly, transition
from usecasecore.diagrams import Diagram
from usecasecore.diagrams.lettering import printable
from usecasecore.diagrams.overlay import Mark, Overlay
from usecasecore.diagrams.terminal import NARROWEST, draw

SEEDS = range(40)
WIDTHS = (1, 24, 40, 80, 200)


def lines(drawn: Diagram, width: int, *, unicode: bool = True, overlay: Overlay | None = None) -> list[str]:
    return ["".join(piece.text for piece in line) for line in draw(drawn, width, unicode=unicode, overlay=overlay)]


def columns(text: str) -> int:
    wide = sum(2 if unicodedata.east_asian_width(each) in "WF" else 1 for each in text)
    return wide - sum(unicodedata.category(each) in ("Mn", "Me", "Cf") for each in text)


def squeezed(text: str) -> str:
    """Only what names are made of: wrapping adds line ends, frames and spaces."""
    return "".join(each for each in text if each.isalnum() or each in "_/")


def drawings(seed: int) -> Diagram:
    return randomly(seed, states=3 + seed % 14, edges=seed % 31)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("unicode", [True, False], ids=["unicode", "ascii"])
def test_no_line_is_wider_than_the_terminal(width: int, unicode: bool) -> None:
    for drawn in (*map(drawings, SEEDS), nested(), hostile(), chain(40, 80)):
        assert max(map(columns, lines(drawn, width, unicode=unicode))) <= max(width, NARROWEST)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("seed", SEEDS)
def test_each_state_and_each_edge_is_drawn_with_all_that_is_said_about_it(seed: int, width: int) -> None:
    drawn = drawings(seed)
    # Lanes would stand between the parts of what is wrapped.
    text = squeezed("".join(_without_lane(line) for line in lines(drawn, width)))
    for node in drawn.nodes:
        assert text.count(squeezed(node.label)) >= 1
    for edge in drawn.edges:
        said = [edge.trigger, *map(str, edge.guards), *edge.use_cases]
        assert all(squeezed(part) in text for part in said)
    for trigger in {edge.trigger for edge in drawn.edges if edge.trigger}:
        assert text.count(trigger) >= sum(edge.trigger == trigger for edge in drawn.edges)


def _without_lane(line: str) -> str:
    return line.partition("◀")[0].partition(" ──")[0]


@pytest.mark.parametrize("seed", SEEDS)
def test_each_lane_leads_from_its_row_to_the_state_that_the_row_names(seed: int) -> None:
    drawn = drawings(seed)
    grid = lines(drawn, 400)
    wanted = [
        edge.dest
        for edge in drawn.edges
        if edge.source is not None and edge.dest not in (None, edge.source) and edge.dest != _next_below(drawn, edge.source)
    ]
    led = [(line, index) for index, line in enumerate(grid) if "↑ " in line or "↓ " in line]
    named = [line.split("↑ " if "↑ " in line else "↓ ")[1].split()[0] for line, _ in led]
    reached = [_followed(grid, index) for _, index in led]
    labels = {node.name: node.label for node in drawn.nodes}
    assert [labels[name] for name in named] == reached
    # Of several edges to the state right below, one is the line down to it; the others are led like any.
    assert set(wanted) <= set(named)


def _next_below(drawn: Diagram, name: str) -> str | None:
    node = drawn.node(name)
    siblings = drawn.node(node.parent).children if node.parent else tuple(root.name for root in drawn.roots)
    following = siblings[siblings.index(name) + 1 :]
    return following[0] if following else None


def _followed(grid: list[str], row: int) -> str:
    """Walk along a line from the end of its row to the arrow that it ends in; return what stands there."""
    line = grid[row]
    column = line.index("──", max(line.rfind("↑ "), line.rfind("↓ ")))
    while line[column] in "─┼":
        column += 1
    assert line[column] in "╮╯┤", line
    ways = {"╮": [1], "╯": [-1], "┤": [1, -1]}[line[column]]
    ends = [end for way in ways if (end := _along(grid, row, column, way)) is not None]
    assert len(ends) == 1, line
    return ends[0]


def _along(grid: list[str], row: int, column: int, way: int) -> str | None:
    while True:
        row += way
        line = grid[row].ljust(column + 1)
        assert line[column] in "│┼┤╮╯", line
        if line[column] in "┤╮╯":
            if "◀" in line and set(line[line.index("◀") + 1 : column]) <= {"─", "┼"}:
                return line.partition("◀")[0].strip("│║╭─╔ ")
            if line[column] in "╮╯":
                return None


def test_next_state_is_led_to_by_the_line_below() -> None:
    assert lines(diagram(["open", "closed"], [transition("open", "closed", "close")], name="door"), 40) == [
        "Door",
        "",
        "● OpenCase",
        "▼",
        "╭──────╮",
        "│ open │",
        "╰─┬────╯",
        "  │ close",
        "  ▼",
        "╔════════╗",
        "║ closed ║",
        "╚════════╝",
    ]


def test_ascii_is_all_there_is_where_a_terminal_shows_no_more() -> None:
    for drawn in (nested(), hostile()):
        assert "\n".join(lines(drawn, 100, unicode=False)).isascii()


def test_no_name_steers_the_terminal() -> None:
    for unicode in (True, False):
        for line in lines(hostile(), 80, unicode=unicode):
            assert line == printable(line)


def test_deletions_say_from_where() -> None:
    text = "\n".join(lines(nested(), 100))
    assert "├─ delete ✕  Drop" in text
    assert "any state delete ✕  Purge" in text


def test_lanes_are_drawn_where_there_is_room_only() -> None:
    assert "◀" in "\n".join(lines(nested(), 100))
    assert "◀" not in "\n".join(lines(nested(), 40))


def test_overlay_is_written_into_states_and_rows() -> None:
    drawn = nested()
    edge = next(edge for edge in drawn.edges if edge.trigger == "reject")
    overlay = Overlay("flow", "since May", {"gone": Mark("327 rows")}, {edge.id: Mark("12 times")}, notes=("Since May.",))
    text = "\n".join(lines(drawn, 100, overlay=overlay))
    assert "Case: since May" in text
    assert "║ 327 rows ║" in text
    assert "reject ↑ draft  12 times" in text
    assert "\nSince May.\n" in text
