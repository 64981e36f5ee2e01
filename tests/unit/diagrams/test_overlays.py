"""From figures to marks: what an overlay says, without a database."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tests.unit.diagrams.drawings import diagram, nested, transition
from usecasecore.diagrams import Guard
from usecasecore.diagrams.history import Flow, Passage, Step
from usecasecore.diagrams.marking import mark_lines, remarks
from usecasecore.diagrams.matching import Matching
from usecasecore.diagrams.overlay import Mark, Status
from usecasecore.diagrams.overlays import flow_overlay, journey_overlay, span_text

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 ms"),
        (0.253, "253 ms"),
        (1, "1 s"),
        (9.96, "10 s"),
        (46, "46 s"),
        (99.4, "99 s"),
        (180, "3 min"),
        (4_380, "73 min"),
        (11_160, "3.1 h"),
        (172_800, "2 d"),
        (216_000, "2.5 d"),
        (86_400 * 12_345, "12,345 d"),
    ],
)
def test_spans_are_told_in_one_unit(seconds: float, text: str) -> None:
    assert span_text(timedelta(seconds=seconds)) == text


def ways(*of: str | None) -> list[tuple[str | None, str]]:
    trigger, source, dest = of
    return [(edge.source, edge.trigger) for edge in Matching(nested()).edges(trigger, source, dest)]


def test_edge_of_a_state_around_is_found_for_the_states_inside() -> None:
    assert ways("reject", "review/legal/second", "draft") == [("review", "reject")]


def test_edge_into_a_composite_state_is_found_by_the_state_that_is_entered() -> None:
    assert ways("submit", "draft", "review/legal/first") == [("draft", "submit")]
    assert ways("submit", "draft", "review/finance") == []


def test_internal_edge_keeps_the_state() -> None:
    assert ways("comment", "review/finance", "review/finance") == [("review", "comment")]


def test_what_a_state_declares_goes_before_what_a_state_around_it_declares() -> None:
    edges = [transition("a", "b", "go", 1), transition("a/x", "b", "go", 2)]
    drawn = diagram(["a", "a/x", "a/y", "b"], edges, parents={"a/x": "a", "a/y": "a"})
    assert [edge.source for edge in Matching(drawn).edges("go", "a/x", "b")] == ["a/x"]
    assert [edge.source for edge in Matching(drawn).edges("go", "a/y", "b")] == ["a"]


def test_deletion_is_found_by_its_use_case_and_from_any_state_if_from_none() -> None:
    matching = Matching(nested())
    assert [edge.id for edge in matching.edges(None, "draft", None, "Drop")] == ["deletion-Drop-draft"]
    assert [edge.id for edge in matching.edges(None, "gone", None, "Purge")] == ["deletion-Purge"]
    assert matching.edges(None, "gone", None, "Drop") == ()


def test_edges_that_the_audit_cannot_tell_apart_are_counted_together_and_say_so() -> None:
    edges = [transition("a", "b", "go", number, guards=(Guard(f"g{number}"),)) for number in (1, 2)]
    overlay = flow_overlay(diagram(["a", "b"], edges), Flow((Passage("go", "a", "b", None, 5),), ()))
    marks = [overlay.edges[edge.id] for edge in edges]
    assert [(mark.text, mark.details) for mark in marks] == [("5 times", ("counted together",))] * 2
    assert any("Counted together" in note for note in overlay.notes)


def test_flow_without_entries_says_never_of_each_edge() -> None:
    overlay = flow_overlay(nested(), Flow((), ()))
    assert {mark.text for mark in overlay.edges.values()} == {"never"}
    assert {mark.status for mark in overlay.edges.values()} == {Status.UNTAKEN}


def step(minutes: int, trigger: str | None, source: str | None, dest: str | None, use_case: str = "Use") -> Step:
    return Step(trigger, source, dest, NOON + timedelta(minutes=minutes), use_case)


def test_way_of_an_aggregate_that_was_deleted_ends_nowhere() -> None:
    steps = (step(0, None, None, "draft"), step(9, None, "draft", None, "Drop"))
    overlay = journey_overlay(nested(), steps, "42")
    assert overlay.edges["deletion-Drop-draft"].steps == (2,)
    assert {mark.status for mark in overlay.states.values()} == {Status.TAKEN, Status.UNTAKEN}
    assert Status.CURRENT not in {item.status for item in overlay.legend}


def test_way_that_starts_where_a_row_was_adopted_took_no_creation() -> None:
    overlay = journey_overlay(nested(), (step(0, None, None, "review/finance"),), "42")
    assert overlay.edges["creation"].status is Status.UNTAKEN
    assert overlay.states["review/finance"].status is Status.CURRENT
    assert not [note for note in overlay.notes if note.startswith("!")]


def test_internal_step_is_on_its_edge_and_enters_no_state() -> None:
    steps = (step(0, None, None, "draft"), step(5, "edit", "draft", "draft"), step(20, "submit", "draft", "review/legal/first"))
    overlay = journey_overlay(nested(), steps, "42")
    assert overlay.states["draft"].steps == (1,)
    assert overlay.states["draft"].details == ("for 20 min",)
    edit = next(edge for edge in nested().edges if edge.trigger == "edit")
    assert overlay.edges[edit.id].steps == (2,)


def test_many_steps_along_one_edge_show_the_first_and_the_last() -> None:
    steps = (step(0, None, None, "draft"), *(step(number, "touch", "draft", "draft") for number in range(1, 500)))
    overlay = journey_overlay(nested(), steps, "42")
    touch = next(edge for edge in nested().edges if edge.trigger == "touch")
    mark = overlay.edges[touch.id]
    assert (mark.steps, mark.text) == ((2, 3, 4, 500), "499 times")
    assert len(mark.title) < 3_000


def test_step_that_is_not_declared_any_more_is_told() -> None:
    overlay = journey_overlay(nested(), (step(0, None, None, "draft"), step(5, "vanish", "draft", "nowhere")), "42")
    assert "! Step 2, vanish (draft → nowhere), is not declared any more." in overlay.notes


def test_less_detail_finds_the_edges_all_the_same() -> None:
    drawn = nested()
    bare = replace(drawn, edges=tuple(replace(edge, trigger="") for edge in drawn.edges))
    overlay = flow_overlay(bare, Flow((Passage("reject", "review/finance", "draft", None, 2),), ()))
    [edge] = [edge for edge in drawn.edges if edge.trigger == "reject"]
    assert overlay.edges[edge.id].text == "2 times"


def test_in_words_a_mark_has_its_sign_its_steps_and_its_details() -> None:
    assert mark_lines(Mark("never", status=Status.UNTAKEN)) == ("○ never",)
    assert mark_lines(Mark("now", ("since noon",), Status.CURRENT, steps=(3,))) == ("◉ #3 now", "since noon")
    # Each step with its time; and a number is a sign of its own.
    assert mark_lines(Mark(details=("at 9", "at 10"), status=Status.TAKEN, steps=(1, 4))) == ("#1 at 9", "#4 at 10")
    assert mark_lines(Mark("9 times", status=Status.TAKEN, steps=(1,))) == ("#1 9 times",)
    assert mark_lines(Mark("two\nlines")) == ("two lines",)
    assert mark_lines(Mark()) == mark_lines(None) == ()


def test_what_the_thickness_of_lines_means_is_told_only_where_they_are_drawn() -> None:
    overlay = flow_overlay(nested(), Flow((), (), False))
    thick, never, newest = (
        "how often; the thicker, the more",
        "○ never taken",
        "! Made from the newest entries only; there are more.",
    )
    assert list(remarks(overlay, drawn=True)) == [thick, never, newest]
    assert list(remarks(overlay)) == [never, newest]
