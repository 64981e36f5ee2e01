"""The overlays there are: from what is known about a lifecycle to marks for the states and edges of its diagram."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta

from usecasecore.diagrams.history import Flow, Passage, Step
from usecasecore.diagrams.matching import Matching
from usecasecore.diagrams.model import Diagram
from usecasecore.diagrams.overlay import LegendItem, Mark, Overlay, Status

__all__ = ["counts_overlay", "flow_overlay", "journey_overlay", "span_text"]

_DAY = 86_400
# Name, seconds, and from how many seconds on the next one is taken.
_UNITS = (("ms", 0.001, 1), ("s", 1, 100), ("min", 60, 6_000), ("h", 3_600, 2 * _DAY))
_FEW = 3
"""How many steps or tests are named where there are many."""


def counts_overlay(diagram: Diagram, rows: Mapping[str | None, int]) -> Overlay:
    """Return how many rows stand in each state.

    Args:
        diagram: Of the lifecycle.
        rows: By the full name of the state; under None those that hold no declared one.
    """
    total = sum(rows.values())
    marks = {}
    for node in diagram.nodes:
        if node.resting:
            count = rows.get(node.name, 0)
            title = f"{_several(count, 'row')} of {total:,} now"
            marks[node.name] = Mark(f"{count:,}", share=_share(count, total), title=title, data=(("count", str(count)),))
    lost = rows.get(None, 0)
    notes = [f"{_several(total, 'row')} in all."]
    if lost:
        notes.append(f"! {_several(lost, 'row')} {'holds' if lost == 1 else 'hold'} no declared state.")
    return Overlay("counts", "rows per state", marks, legend=(), notes=tuple(notes))


def flow_overlay(diagram: Diagram, flow: Flow) -> Overlay:
    """Return how often each edge was taken, and the median of the time in each state."""
    matching = Matching(diagram)
    taken: dict[str, int] = {}
    together: set[str] = set()
    strange: list[Passage] = []
    for passage in flow.passages:
        edges = matching.edges(passage.trigger, passage.source, passage.dest, passage.use_case)
        if not edges:
            strange.append(passage)
        for edge in edges:
            taken[edge.id] = taken.get(edge.id, 0) + passage.count
        together |= {edge.id for edge in edges} if len(edges) > 1 else set()
    most = max(taken.values(), default=0)
    edges_marks = {edge.id: _taken(taken.get(edge.id, 0), most, together=edge.id in together) for edge in diagram.edges}
    stays = {stay.state: stay for stay in flow.stays}
    states = {
        node.name: Mark(
            f"median {span_text(stays[node.name].median)}",
            title=f"median time {span_text(stays[node.name].median)}, over {_several(stays[node.name].count, 'stay')} that ended",
            data=(("median-seconds", f"{stays[node.name].median.total_seconds():.3f}"), ("stays", str(stays[node.name].count))),
        )
        for node in diagram.nodes
        if node.name in stays
    }
    legend = [LegendItem("how often; the thicker, the more")]
    if any(mark.status is Status.UNTAKEN for mark in edges_marks.values()):
        legend.append(LegendItem("never taken", Status.UNTAKEN))
    return Overlay("flow", "how often, how long", states, edges_marks, tuple(legend), tuple(_flow_notes(flow, strange, together)))


def journey_overlay(diagram: Diagram, steps: Sequence[Step], key: str) -> Overlay:
    """Return the way that one aggregate went.

    Args:
        diagram: Of the lifecycle.
        steps: Its steps, in their order.
        key: The aggregate's key.
    """
    walk = _Walk(Matching(diagram))
    for number, step in enumerate(steps, 1):
        walk.go(number, step)
    untaken = Mark(status=Status.UNTAKEN)
    states = {node.name: walk.state_mark(node.name, steps) or untaken for node in diagram.nodes if not node.composite}
    edges = {edge.id: walk.edge_mark(edge.id, steps) or untaken for edge in diagram.edges}
    now = [LegendItem("where it is now", Status.CURRENT)] if walk.now is not None else []
    legend = (*now, LegendItem("where it has been", Status.TAKEN), LegendItem("where it hasn't", Status.UNTAKEN))
    return Overlay("aggregate", f"the way of {key}", states, edges, legend, tuple(walk.notes(steps)))


def span_text(span: timedelta) -> str:
    """Return a span of time in two digits or three and one unit: `340 ms`, `12 s`, `4.2 min`, `3.1 h`, `2.5 d`."""
    seconds = span.total_seconds()
    for unit, size, until in _UNITS:
        if seconds < until:
            return f"{_amount(seconds / size)} {unit}"
    return f"{_amount(seconds / _DAY)} d"


class _Walk:
    """Collects where an aggregate went."""

    def __init__(self, matching: Matching) -> None:
        self.matching = matching
        self.states: dict[str, list[int]] = {}
        self.edges: dict[str, list[int]] = {}
        self.strange: list[int] = []
        self.now: str | None = None

    def go(self, number: int, step: Step) -> None:
        adopted = number == 1 and step.trigger is None and step.source is None and step.dest != self.matching.diagram.initial.name
        edges = () if adopted else self.matching.edges(step.trigger, step.source, step.dest, step.use_case)
        for edge in edges[:1]:
            self.edges.setdefault(edge.id, []).append(number)
        if not edges and not adopted:
            self.strange.append(number)
        stays = bool(edges) and edges[0].internal
        if step.dest is not None and not stays:
            self.states.setdefault(step.dest, []).append(number)
        self.now = step.dest

    def state_mark(self, name: str, steps: Sequence[Step]) -> Mark | None:
        visits = self.states.get(name)
        if visits is None:
            return None
        now = name == self.now
        details = [f"since {_instant(steps[visits[-1] - 1])}"] if now else []
        details += _stayed(visits, steps) if not now else []
        status = Status.CURRENT if now else Status.TAKEN
        title = "; ".join(f"step {number}: entered {_instant(steps[number - 1])}" for number in visits[:50])
        return Mark("now" if now else "", tuple(details), status, steps=_shown(visits), title=title, data=_visited(visits))

    def edge_mark(self, identity: str, steps: Sequence[Step]) -> Mark | None:
        taken = self.edges.get(identity)
        if taken is None:
            return None
        shown = _shown(taken)
        text = "" if len(taken) == len(shown) else f"{len(taken):,} times"
        details = tuple(_instant(steps[number - 1]) for number in shown)
        title = "; ".join(f"step {number}: {_instant(steps[number - 1])}, {steps[number - 1].use_case}" for number in taken[:50])
        return Mark(text, details, Status.TAKEN, 0.3, shown, title, _visited(taken))

    def notes(self, steps: Sequence[Step]) -> Iterator[str]:
        yield f"{_several(len(steps), 'step')}; times in UTC."
        for number in self.strange[:_FEW]:
            step = steps[number - 1]
            yield f"! Step {number}, {_way(step.trigger, step.source, step.dest)}, is not declared any more."
        if len(self.strange) > _FEW:
            yield f"! {len(self.strange) - _FEW} further steps are not declared any more."


def _amount(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0") if value < 10 else f"{value:,.0f}"


def _taken(count: int, most: int, *, together: bool) -> Mark:
    data = (("count", str(count)),)
    if not count:
        return Mark("never", status=Status.UNTAKEN, title="never taken", data=data)
    title = f"taken {count:,} {'time' if count == 1 else 'times'}"
    details = ("counted together",) if together else ()
    return Mark(f"{count:,} {'time' if count == 1 else 'times'}", details, share=_share(count, most), title=title, data=data)


def _flow_notes(flow: Flow, strange: Sequence[Passage], together: Iterable[str]) -> Iterator[str]:
    if not flow.whole:
        yield "! Made from the newest entries only; there are more."
    if together:
        yield "Counted together: the audit doesn't say which of several edges with the same trigger and ends was taken."
    for passage in strange[:_FEW]:
        times = f"{passage.count:,} {'time' if passage.count == 1 else 'times'}"
        yield f"! Not declared any more: {_way(passage.trigger, passage.source, passage.dest)}, {times}."
    if len(strange) > _FEW:
        yield f"! And {len(strange) - _FEW} further ways that are not declared any more."


def _way(trigger: str | None, source: str | None, dest: str | None) -> str:
    action = trigger or ("delete" if dest is None else "create")
    return f"{action} ({source or '-'} → {dest or '-'})"


def _stayed(visits: Sequence[int], steps: Sequence[Step]) -> list[str]:
    if len(visits) > 1:
        return [f"{len(visits):,} visits"]
    entered = steps[visits[0] - 1].occurred_at
    left = next((step.occurred_at for step in steps[visits[0] :] if step.dest != steps[visits[0] - 1].dest), None)
    return [] if left is None else [f"for {span_text(left - entered)}"]


def _shown(numbers: Sequence[int]) -> tuple[int, ...]:
    return tuple(numbers) if len(numbers) <= _FEW + 1 else (*numbers[:_FEW], numbers[-1])


def _visited(numbers: Sequence[int]) -> tuple[tuple[str, str], ...]:
    return (("steps", " ".join(map(str, numbers[:1000]))),)


def _instant(step: Step) -> str:
    return f"{step.occurred_at:%Y-%m-%d %H:%M:%S}"


def _share(count: int, total: int) -> float:
    return count / total if total else 0.0


def _several(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
