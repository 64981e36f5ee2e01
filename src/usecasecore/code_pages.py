"""CodePages: what each code means, as Markdown that is part of the package: one file for each code."""

from __future__ import annotations

import re
from functools import cached_property
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

__all__ = ["CodePages"]


class CodePages:
    """The pages in the folder `pages` of a package, whose names begin with a prefix."""

    def __init__(self, package: str, prefix: str) -> None:
        self._package, self._prefix = package, prefix

    def codes(self) -> tuple[str, ...]:
        """Return every code, in order."""
        return tuple(sorted(self._pages))

    def page(self, code: str) -> str:
        """Return the page of a code, as Markdown.

        Raises:
            KeyError: If there is no such code.
        """
        return self._pages[code]

    def title(self, code: str) -> str:
        """Return what a code means, in a few words.

        Raises:
            KeyError: If there is no such code.
        """
        return self.page(code).partition("\n")[0].partition(": ")[2]

    def example(self, code: str) -> str:
        """Return the program in a code's page: a module that has exactly this one finding; nothing where there is none.

        Raises:
            KeyError: If there is no such code.
        """
        found = re.search(r"^```python\n(.*?)^```", self.page(code), re.MULTILINE | re.DOTALL)
        return found.group(1) if found else ""

    @cached_property
    def _pages(self) -> dict[str, str]:
        first, *rest = self._package.split(".")
        folder: Traversable = files(first).joinpath(*rest, "pages")
        named = {one.name.removesuffix(".md"): one for one in folder.iterdir() if one.name.startswith(self._prefix)}
        return {code: one.read_text(encoding="utf-8") for code, one in named.items()}
