"""Pictures of lifecycles, made from the declarations that run."""

from __future__ import annotations

from usecasecore.diagrams.building import diagram_of, reduced
from usecasecore.diagrams.changes import Change, changes
from usecasecore.diagrams.document import digest, from_json, schema, to_json
from usecasecore.diagrams.exporting import Finding, check, export
from usecasecore.diagrams.formats import DiagramFormat, render
from usecasecore.diagrams.model import Binding, Detail, Diagram, Edge, EdgeKind, Guard, Node
from usecasecore.diagrams.scxml import from_scxml

__all__ = [
    "Binding",
    "Change",
    "Detail",
    "Diagram",
    "DiagramFormat",
    "Edge",
    "EdgeKind",
    "Finding",
    "Guard",
    "Node",
    "changes",
    "check",
    "diagram_of",
    "digest",
    "export",
    "from_json",
    "from_scxml",
    "reduced",
    "render",
    "schema",
    "to_json",
]
