"""The formats of a diagram, by name: what makes each, and what its files are called."""

from __future__ import annotations

import json
from collections.abc import Callable
from enum import StrEnum
from typing import TYPE_CHECKING

from usecasecore.diagrams import rendering, stamp
from usecasecore.diagrams.document import from_json, to_json
from usecasecore.diagrams.dot import to_dot
from usecasecore.diagrams.markdown import to_markdown
from usecasecore.diagrams.mermaid import to_mermaid
from usecasecore.diagrams.model import Diagram
from usecasecore.diagrams.plantuml import to_plantuml
from usecasecore.diagrams.scxml import to_scxml
from usecasecore.diagrams.svg import to_svg
from usecasecore.errors import DiagramError

if TYPE_CHECKING:
    from usecasecore.diagrams.overlay import Overlay

__all__ = ["DiagramFormat", "render", "shown_by", "stamped_digest"]


class DiagramFormat(StrEnum):
    """What a diagram can be written as. `svg`, `png` and `pdf` take Graphviz, the others nothing."""

    DOT = "dot"
    MERMAID = "mermaid"
    PLANTUML = "plantuml"
    JSON = "json"
    SCXML = "scxml"
    MD = "md"
    SVG = "svg"
    PNG = "png"
    PDF = "pdf"

    @property
    def suffix(self) -> str:
        """What the names of its files end in."""
        return {"mermaid": ".mmd", "plantuml": ".puml"}.get(self.value, f".{self.value}")

    @property
    def is_text(self) -> bool:
        """Whether it can be printed."""
        return self not in (DiagramFormat.PNG, DiagramFormat.PDF)

    @property
    def shows_overlays(self) -> bool:
        """Whether it can show an overlay too. SCXML is there to be run, and has no place for what was seen."""
        return self is not DiagramFormat.SCXML


def render(diagram: Diagram, format: DiagramFormat, overlay: Overlay | None = None) -> bytes:  # noqa: A002 - the word for it
    """Return a file's content: the diagram in that format, stamped.

    Args:
        overlay: What is known about its states and transitions besides. A file that shows one carries no stamp: what a database
            says is no export to check against.

    Raises:
        GraphvizMissing: If the format takes Graphviz, and none is installed that makes it.
        DiagramError: If the format can't show an overlay.
    """
    if format is DiagramFormat.SVG:
        return to_svg(diagram, overlay).encode()
    if overlay is not None and not format.shows_overlays:
        able = ", ".join(each for each in DiagramFormat if each.shows_overlays)
        raise DiagramError(f"{format} can't show an overlay; what can: {able}")
    if format is DiagramFormat.PNG:
        png = rendering.render(to_dot(diagram, overlay), "png")
        return png if overlay else stamp.into_png(png, diagram)
    if format is DiagramFormat.PDF:
        pdf = rendering.render(to_dot(diagram, overlay), "pdf")
        return pdf if overlay else stamp.into_pdf(pdf, diagram)
    if format is DiagramFormat.SCXML:
        return to_scxml(diagram).encode()
    return _TEXTS[format](diagram, overlay).encode()


def shown_by(content: bytes, format: DiagramFormat) -> Diagram | None:  # noqa: A002
    """Return the diagram that a file shows; None if it doesn't say, or not so that this version can read it."""
    if format is not DiagramFormat.JSON:
        return stamp.stamped(content)
    try:
        return from_json(content)
    except ValueError:
        return None


def stamped_digest(content: bytes, format: DiagramFormat) -> str | None:  # noqa: A002
    """Return the digest of the diagram that a file shows; None if it carries none."""
    if format is not DiagramFormat.JSON:
        return stamp.stamped_digest(content)
    try:
        data = json.loads(content)
    except ValueError:
        return None
    found = data.get("digest") if isinstance(data, dict) else None
    return found if isinstance(found, str) else None


_TEXTS: dict[DiagramFormat, Callable[[Diagram, Overlay | None], str]] = {
    DiagramFormat.DOT: to_dot,
    DiagramFormat.MERMAID: to_mermaid,
    DiagramFormat.PLANTUML: to_plantuml,
    DiagramFormat.JSON: to_json,
    DiagramFormat.MD: to_markdown,
}
