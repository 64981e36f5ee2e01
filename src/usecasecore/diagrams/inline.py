"""A lifecycle shown where it stands: in `format(...)`, f-strings and notebooks."""

from __future__ import annotations

from usecasecore.diagrams.building import diagram_of
from usecasecore.diagrams.formats import DiagramFormat, render
from usecasecore.errors import GraphvizMissing
from usecasecore.lifecycle import Lifecycle

__all__ = ["as_notebook_svg", "as_text"]


def as_text(lifecycle: Lifecycle, format: str) -> str:  # noqa: A002 - the word for it
    """Return the lifecycle in a text format.

    Raises:
        ValueError: If there is no such text format.
        DefinitionError: If it isn't mapped.
        GraphvizMissing: If the format is svg, and no Graphviz is installed.
    """
    known = [each.value for each in DiagramFormat if each.is_text]
    if format not in known:
        raise ValueError(f"a lifecycle can't be formatted as {format!r}; possible: {', '.join(known)}")
    return render(diagram_of(lifecycle), DiagramFormat(format)).decode()


def as_notebook_svg(lifecycle: Lifecycle) -> str | None:
    """Return the lifecycle as SVG; None where no Graphviz is installed, so that a notebook shows its `repr`."""
    try:
        return as_text(lifecycle, DiagramFormat.SVG)
    except GraphvizMissing:
        return None
