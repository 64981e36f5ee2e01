"""A diagram as Mermaid's stateDiagram-v2, which GitHub, GitLab and many documentation tools draw.

Every character of a name that could mean something to Mermaid, to Markdown in its labels or to HTML is written as an
entity code, `#60;` for `<`; Mermaid puts the character back when it has drawn the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from usecasecore.diagrams import stamp
from usecasecore.diagrams.marking import heading, mark_of
from usecasecore.diagrams.model import Diagram
from usecasecore.diagrams.notation import Notation, state_lines
from usecasecore.diagrams.overlay import Overlay, Status
from usecasecore.diagrams.text import flat, shown

__all__ = ["mermaid_lines", "to_mermaid"]

_INDENT = "    "
# Safe are letters and digits, spaces and commas, and what isn't ASCII. Underscores are safe between letters or digits, dots after them: elsewhere they are emphasis, lists, links.
_UNSAFE = re.compile(r"(?<![^\W_])[_.]|_(?![^\W_])|(?<=\d)\.(?![^\W_])|(?<=www)\.|[^\w ,.\u0080-\U0010ffff]", re.IGNORECASE)


def to_mermaid(diagram: Diagram, overlay: Overlay | None = None) -> str:
    """Return the diagram as Mermaid, with the stamp in comments; with an overlay there is none."""
    above, below = stamp.comments(diagram, "%%", overlay=overlay)
    return above + "".join(f"{line}\n" for line in mermaid_lines(diagram, overlay)) + below


def mermaid_lines(diagram: Diagram, overlay: Overlay | None = None) -> Iterator[str]:
    """Yield the lines of the diagram without the stamp."""
    yield "stateDiagram-v2"
    yield f"{_INDENT}accTitle: {_escaped(flat(heading(diagram, overlay)))}"
    if diagram.description:
        yield f"{_INDENT}accDescr: {_escaped(flat(diagram.description))}"
    for line in (*state_lines(diagram, _NOTATION, overlay), *_classes(diagram, overlay)):
        yield _INDENT + line


def _classes(diagram: Diagram, overlay: Overlay | None) -> Iterator[str]:
    """Yield the looks of the states; Mermaid has none for composite ones and for arrows."""
    marked: dict[Status, list[str]] = {}
    for node in diagram.nodes:
        mark = mark_of(overlay, node)
        if mark is not None and mark.status is not None and not node.composite:
            marked.setdefault(mark.status, []).append(node.id.replace("-", "_"))
    for status, ids in marked.items():
        yield f"classDef uc_{status} {_LOOKS[status]}"
        yield f"class {','.join(ids)} uc_{status}"


def _escaped(text: str) -> str:
    # Mermaid itself keeps entity codes as `ﬂ°60¶ß` while it draws: without its first sign nothing reads like one.
    return _UNSAFE.sub(lambda found: f"#{ord(found.group())};", shown(text).replace("\ufb02", "fl"))


def _note(state: str, text: str) -> str:
    return f"note right of {state} : {text}"


# No text colour: Mermaid's themes are light and dark, and these lines can be seen on both.
_LOOKS = {
    Status.GOOD: "stroke:#17702f,stroke-width:3px",
    Status.PARTIAL: "stroke:#b7791f,stroke-width:3px",
    Status.BAD: "stroke:#c5392f,stroke-width:3px",
    Status.CURRENT: "stroke:#2f74e0,stroke-width:4px",
    Status.TAKEN: "stroke:#2f74e0,stroke-width:2px",
    Status.UNTAKEN: "stroke-dasharray:3 3",
}
_NOTATION = Notation(escape=_escaped, line_break="<br/>", unbound_arrow="-->", composite_note=_note)
