"""What can be said about an application without running it."""

from __future__ import annotations

from usecasecore.analysis.check import check, examine
from usecasecore.analysis.finding import Finding, Ignored, Report
from usecasecore.analysis.paths import Step, Walk, candidates, shortest_to_edges, shortest_to_states, simple_paths, steps, tour
from usecasecore.analysis.use_cases import creators, firing, told

__all__ = [
    "Finding",
    "Ignored",
    "Report",
    "Step",
    "Walk",
    "candidates",
    "check",
    "creators",
    "examine",
    "firing",
    "shortest_to_edges",
    "shortest_to_states",
    "simple_paths",
    "steps",
    "told",
    "tour",
]
