"""The pages that say what a check finds, why it matters and what to do: one Markdown file for each code."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

__all__ = ["codes", "example", "page", "title"]


def codes() -> tuple[str, ...]:
    """Return every code, in order."""
    return tuple(sorted(_pages()))


def page(code: str) -> str:
    """Return the page of a code, as Markdown.

    Raises:
        KeyError: If there is no such code.
    """
    return _pages()[code]


def title(code: str) -> str:
    """Return what a code means, in a few words.

    Raises:
        KeyError: If there is no such code.
    """
    return page(code).partition("\n")[0].partition(": ")[2]


def example(code: str) -> str:
    """Return the program in a code's page: a module whose `app` has exactly this one finding.

    Raises:
        KeyError: If there is no such code.
    """
    found = re.search(r"^```python\n(.*?)^```", page(code), re.MULTILINE | re.DOTALL)
    return found.group(1) if found else ""


@cache
def _pages() -> dict[str, str]:
    folder: Traversable = files("usecasecore") / "analysis" / "pages"
    named = {one.name.removesuffix(".md"): one for one in folder.iterdir() if one.name.startswith("UCC")}
    return {code: one.read_text(encoding="utf-8") for code, one in named.items()}
