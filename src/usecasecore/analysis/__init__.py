"""What can be said about an application without running it."""

from __future__ import annotations

from usecasecore.analysis.paths import Step, Walk, candidates, shortest_to_edges, shortest_to_states, simple_paths, steps, tour
from usecasecore.analysis.use_cases import creators, firing, told

__all__ = [
    "Step",
    "Walk",
    "candidates",
    "creators",
    "firing",
    "shortest_to_edges",
    "shortest_to_states",
    "simple_paths",
    "steps",
    "told",
    "tour",
]
