"""Pictures of lifecycles, made from the declarations that run."""

from __future__ import annotations

from usecasecore.diagrams.building import diagram_of, reduced
from usecasecore.diagrams.document import digest, from_json, to_json
from usecasecore.diagrams.model import Binding, Detail, Diagram, Edge, EdgeKind, Guard, Node

__all__ = [
    "Binding",
    "Detail",
    "Diagram",
    "Edge",
    "EdgeKind",
    "Guard",
    "Node",
    "diagram_of",
    "digest",
    "from_json",
    "reduced",
    "to_json",
]
