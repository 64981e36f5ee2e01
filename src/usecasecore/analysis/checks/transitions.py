"""Checks of transitions: is each made some time, only one at a time, and to some effect?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from usecasecore.analysis.finding import Finding
from usecasecore.analysis.guard_table import excluded, is_possible, questions
from usecasecore.analysis.source import does_something
from usecasecore.analysis.subject import Subject
from usecasecore.lifecycle import Edge

__all__ = ["excluding_guards", "idle", "nondeterministic", "shadowed"]


def shadowed(subject: Subject) -> Iterator[Finding]:
    """UCC105: whatever the guards say, an earlier candidate is taken instead."""
    for edge in subject.graph.edges:
        if subject.edge_steps[edge] or not is_possible(edge) or _equal_before(subject, edge):
            continue
        by = _before(subject, edge)[0]
        yield subject.finding(
            "UCC105",
            edge.location,
            f"{edge.trigger!r} from {edge.source!r} to {_dest(edge)} is never made: "
            f"{edge.trigger!r} to {_dest(by)} ({by.location}) comes first, whatever the guards say.",
            "Put the one with more guards first, or give the earlier one a guard that leaves something over.",
        )


def nondeterministic(subject: Subject) -> Iterator[Finding]:
    """UCC106: two transitions of one trigger from one state, both unguarded or with the same guards."""
    for edge in subject.graph.edges:
        if first := _equal_before(subject, edge):
            asked = ", ".join([*edge.conditions, *(f"not {name}" for name in edge.unless)])
            same = "the same destination" if first.dest == edge.dest else f"to {_dest(first)} and to {_dest(edge)}"
            yield subject.finding(
                "UCC106",
                edge.location,
                f"{edge.trigger!r} from {edge.source!r} is declared twice, {same}, "
                f"{f'with the same guards ({asked})' if asked else 'both without a guard'} (first at {first.location}).",
                "Guard them by what tells them apart, or leave one out.",
            )


def excluding_guards(subject: Subject) -> Iterator[Finding]:
    """UCC107: a guard that must say yes and no. Where that stops a whole use case, UCC111 tells it instead."""
    for edge in subject.graph.edges:
        names = excluded(edge)
        if names and (not subject.firing[edge.trigger] or _is_alive(subject, edge.trigger)):
            yield subject.finding(
                "UCC107",
                edge.location,
                f"{edge.trigger!r} from {edge.source!r} is never made: "
                f"{' and '.join(map(repr, names))} would have to be true and not true.",
                "Leave the guard out of `conditions` or out of `unless`.",
            )


def idle(subject: Subject) -> Iterator[Finding]:
    """UCC108: a transition that stays in its state and does nothing there."""
    silent = _silent_edges(subject)
    for edge in subject.graph.edges:
        ways = subject.edge_steps[edge]
        if edge not in silent or not ways or any(step.dest != step.source for step in ways):
            continue
        by_accident = edge.dest is not None and any(
            other.location == edge.location and other.trigger == edge.trigger and other.dest == edge.dest != other.source
            for other in subject.graph.edges
        )
        if by_accident:
            yield subject.finding(
                "UCC108",
                edge.location,
                f"{edge.trigger!r} also leads from {edge.source!r} to itself, where nothing is done for it.",
                f"Leave {edge.source!r} out of its sources.",
            )
        elif not any(does_something(one.use_case) for one in subject.firing[edge.trigger]):
            yield subject.finding(
                "UCC108",
                edge.location,
                f"{edge.trigger!r} stays in {edge.source!r}, and neither a callback nor a use case does anything then.",
                "Leave it out, or say what is to happen: in `before`, in `after`, or in the `apply` of its use case.",
            )


def _silent_edges(subject: Subject) -> set[Edge]:
    """Return the edges along which no callback of a transition or of a state is called."""
    machine: Any = subject.lifecycle.machine
    found: set[Edge] = set()
    speaking: set[Edge] = set()
    for event in machine.events.values():
        for path in (path for paths in event.transitions.values() for path in paths):
            calls = (path.before, path.after, path.prepare, path.leaves, path.enters)
            (speaking if any(calls) else found).add(path.edge)
    return found - speaking


def _dest(edge: Edge) -> str:
    return "itself" if edge.dest in (None, edge.source) else repr(edge.dest)


def _equal_before(subject: Subject, edge: Edge) -> Edge | None:
    """Return an earlier edge of the same trigger and source that asks the same."""
    for other in subject.graph.edges[: edge.index]:
        same = (other.trigger, other.source, other.scope) == (edge.trigger, edge.source, edge.scope)
        if same and questions(other) == questions(edge) and is_possible(edge):
            return other
    return None


def _before(subject: Subject, edge: Edge) -> list[Edge]:
    """Return what is tried before an edge, in one of its states."""
    for (_, trigger), some in subject.candidates.items():
        tried = [step.edge for step in some]
        if trigger == edge.trigger and edge in tried:
            return tried[: tried.index(edge)]
    raise LookupError(edge)


def _is_alive(subject: Subject, trigger: str) -> bool:
    return any(step.trigger == trigger and step.source in subject.reached for step in subject.steps)
