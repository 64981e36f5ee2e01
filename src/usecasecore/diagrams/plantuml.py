"""A diagram as a PlantUML state diagram.

PlantUML has no quoting inside of a label, and reads Creole, HTML and calls of its preprocessor there. So every character
that could mean something is written as `<U+003C>`, for which it puts the character when it draws the text.
"""

from __future__ import annotations

import re

from usecasecore.diagrams import stamp
from usecasecore.diagrams.marking import heading
from usecasecore.diagrams.model import Diagram
from usecasecore.diagrams.notation import Notation, state_lines
from usecasecore.diagrams.overlay import Overlay
from usecasecore.diagrams.text import shown

__all__ = ["to_plantuml"]

# Underscores between letters or digits and dots after them are plain; elsewhere they may be Creole.
_UNSAFE = re.compile(r"(?<![^\W_])[_.]|_(?![^\W_])|[^\w ,.\u0080-\U0010ffff]")


def to_plantuml(diagram: Diagram, overlay: Overlay | None = None) -> str:
    """Return the diagram as PlantUML, with the stamp in comments; with an overlay there is none."""
    above, below = stamp.comments(diagram, "'", overlay=overlay)
    title = _escaped(heading(diagram, overlay))
    lines = ["hide empty description", f"title {title}", *state_lines(diagram, _NOTATION, overlay)]
    body = "".join(f"{line}\n" for line in lines)
    return f"@startuml\n{above}{body}{below}@enduml\n"


def _escaped(text: str) -> str:
    return _UNSAFE.sub(lambda found: f"<U+{ord(found.group()):04X}>", shown(text))


def _described(state: str, text: str) -> str:
    return f"{state} : {text}"


_NOTATION = Notation(escape=_escaped, line_break="\\n", unbound_arrow="-[#B45309,dashed]->", composite_note=_described)
