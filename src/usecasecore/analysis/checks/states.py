"""Checks of states: can they be reached, and can they be left as declared?"""

from __future__ import annotations

from collections.abc import Iterator

from usecasecore.analysis.finding import Finding
from usecasecore.analysis.subject import Subject
from usecasecore.lifecycle import StateNode

__all__ = ["dead_ends", "left_finals", "traps", "unreachable"]


def unreachable(subject: Subject) -> Iterator[Finding]:
    """UCC101: no walk from creation leads to a state. Of a composite state of which nothing is reached, only itself is told."""
    told: set[str] = set()
    for node in subject.graph.states:
        if node.parent in told:
            told.add(node.name)
        elif not any(state in subject.reached for state in _resting_within(subject, node)):
            told.add(node.name)
            yield subject.finding(
                "UCC101",
                subject.lifecycle.location,
                f"The state {node.name!r} can't be reached: {_why(subject, node)}.",
                f"Add a transition to {node.name!r}, or leave the state out.",
            )


def dead_ends(subject: Subject) -> Iterator[Finding]:
    """UCC102: nothing leads out of a state, and nobody said that it is meant to be the end."""
    for name in subject.graph.resting:
        ends = _is_final(subject, name) or name in subject.deleted
        if name in subject.reached and not ends and not subject.exits(name):
            yield subject.finding(
                "UCC102",
                subject.lifecycle.location,
                f"Nothing leads out of the state {name!r}, and it is not declared final.",
                f"Declare it by `Lifecycle(..., final=[{name!r}])`, or add the transition that leads on.",
            )


def traps(subject: Subject) -> Iterator[Finding]:
    """UCC103: states that can be left for each other only, where others end. A lifecycle without any end is meant to go on."""
    able = {name for name in subject.graph.resting if _ends(subject, name)}
    if not able:
        return
    grown = True
    while grown:
        before = {step.source for step in subject.steps if step.dest in able} - able
        grown = bool(before)
        able |= before
    caught = [name for name in subject.graph.resting if name in subject.reached and name not in able]
    if caught:
        ways = [step for step in subject.steps if step.dest in caught and step.source not in caught]
        first = f" It is entered by {ways[0].trigger!r} from {ways[0].source!r}." if ways else ""
        names = " and ".join(map(repr, caught))
        yield subject.finding(
            "UCC103",
            ways[0].edge.location if ways else subject.lifecycle.location,
            f"From {names} no final state can be reached.{first}",
            "Add a transition from there towards an end, or declare final where it may end.",
        )


def left_finals(subject: Subject) -> Iterator[Finding]:
    """UCC104: a transition that is declared to lead from a final state to another."""
    final = {node.name for node in subject.graph.states if node.declared_final}
    for edge in subject.graph.edges:
        ways = [step for step in subject.edge_steps[edge] if step.dest != step.source]
        if edge.source in final and ways:
            yield subject.finding(
                "UCC104",
                edge.location,
                f"The state {edge.source!r} is declared final, but {edge.trigger!r} leads on to {ways[0].dest!r}.",
                f"Leave {edge.source!r} out of the sources of {edge.trigger!r}, or don't declare it final.",
            )


def _is_final(subject: Subject, name: str | None) -> bool:
    """Return whether a state, or one around it, is declared final."""
    while name is not None:
        node = subject.graph.state(name)
        if node.declared_final:
            return True
        name = node.parent
    return False


def _ends(subject: Subject, name: str) -> bool:
    """Return whether a lifecycle may end in a state. A final state inside of another ends that one only, if that leads on."""
    if name in subject.deleted or not subject.exits(name):
        return True
    node = subject.graph.state(name)
    return node.declared_final and node.parent is None


def _resting_within(subject: Subject, node: StateNode) -> Iterator[str]:
    if node.resting:
        yield node.name
    for child in node.children:
        yield from _resting_within(subject, subject.graph.state(child))


def _why(subject: Subject, node: StateNode) -> str:
    inside = set(_resting_within(subject, node))
    tried = [step for some in subject.candidates.values() for step in some if step.dest in inside and step.source not in inside]
    if not tried:
        return "no transition leads to it"
    dead = [step for step in tried if step not in subject.steps]
    if len(dead) == len(tried):
        return f"the only transition to it, {dead[0].trigger!r} from {dead[0].source!r}, is never made"
    sources = dict.fromkeys(step.source for step in tried if step in subject.steps)
    return f"what leads to it starts in {' and '.join(map(repr, sources))}, which can't be reached either"
