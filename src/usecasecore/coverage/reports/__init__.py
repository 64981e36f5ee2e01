"""Reports: the conclusion as people and programs read it. Each module makes the text of one kind; this one writes the files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from usecasecore.coverage.reports import github, html, junit, lcov, markdown, structured, svg, term
from usecasecore.coverage.settings import Target
from usecasecore.coverage.summary import Summary

__all__ = ["produced"]


def produced(summary: Summary, target: Target, root: Path) -> Iterator[str]:
    """Make a report; yield the lines that are for the terminal, for a file the one that says where it is.

    Raises:
        OSError: If a file can't be written.
        CoverageError: If the report needs something that is not installed.
    """
    match target.type:
        case "term":
            yield from term.lines(summary, with_missing=False)
        case "term-missing":
            yield from term.lines(summary, with_missing=True)
        case "github":
            yield from github.lines(summary)
        case _:
            path = root / target.path
            for name, text in _files(summary, target.type):
                file = path / name if name else path
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(text, encoding="utf-8")
            yield f"wrote {target.type} to {target.path}"


def _files(summary: Summary, kind: str) -> Iterator[tuple[str, str]]:
    """Yield name and text of each file; the name is empty where there is only one."""
    match kind:
        case "html":
            yield "index.html", html.page(summary)
        case "svg":
            yield from svg.pictures(summary)
        case "json":
            yield "", structured.text(summary)
        case "lcov":
            yield "", lcov.text(summary)
        case "junit":
            yield "", junit.text(summary)
        case _:
            yield "", markdown.text(summary)
