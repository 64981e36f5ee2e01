"""A diagram as Mermaid's stateDiagram-v2, which GitHub, GitLab and many documentation tools draw.

Every character of a name that could mean something to Mermaid, to Markdown in its labels or to HTML is written as an
entity code, `#60;` for `<`; Mermaid puts the character back when it has drawn the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from usecasecore.diagrams import stamp
from usecasecore.diagrams.model import Diagram
from usecasecore.diagrams.notation import Notation, state_lines
from usecasecore.diagrams.text import flat, shown

__all__ = ["mermaid_lines", "to_mermaid"]

_INDENT = "    "
# Safe are letters and digits, spaces and commas, and what isn't ASCII. Underscores are safe between letters or digits, dots after them: elsewhere they are emphasis, lists, links.
_UNSAFE = re.compile(r"(?<![^\W_])[_.]|_(?![^\W_])|(?<=\d)\.(?![^\W_])|(?<=www)\.|[^\w ,.\u0080-\U0010ffff]", re.IGNORECASE)


def to_mermaid(diagram: Diagram) -> str:
    """Return the diagram as Mermaid, with the stamp in comments."""
    above, below = stamp.comments(diagram, "%%")
    return above + "".join(f"{line}\n" for line in mermaid_lines(diagram)) + below


def mermaid_lines(diagram: Diagram) -> Iterator[str]:
    """Yield the lines of the diagram without the stamp."""
    yield "stateDiagram-v2"
    yield f"{_INDENT}accTitle: {_escaped(flat(diagram.title))}"
    if diagram.description:
        yield f"{_INDENT}accDescr: {_escaped(flat(diagram.description))}"
    for line in state_lines(diagram, _NOTATION):
        yield _INDENT + line


def _escaped(text: str) -> str:
    # Mermaid itself keeps entity codes as `ﬂ°60¶ß` while it draws: without its first sign nothing reads like one.
    return _UNSAFE.sub(lambda found: f"#{ord(found.group())};", shown(text).replace("\ufb02", "fl"))


def _note(state: str, text: str) -> str:
    return f"note right of {state} : {text}"


_NOTATION = Notation(escape=_escaped, line_break="<br/>", unbound_arrow="-->", composite_note=_note)
