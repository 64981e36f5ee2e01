"""The words in which wrong declarations are reported: names, the nearest right one, the list of problems."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from usecasecore.errors import DefinitionError
from usecasecore.lifecycle.location import Location

__all__ = ["Problems", "nearest"]

_FEW = 8


def nearest(name: object, known: Iterable[str]) -> str:
    """Return the end of a sentence that says what would have been right: the nearest known name, else all of them if few."""
    names = sorted(set(known))
    close = difflib.get_close_matches(str(name), names, n=1, cutoff=0.5)
    if close:
        return f"; did you mean {close[0]!r}?"
    if not names or len(names) > _FEW:
        return ""
    return f"; there is {', '.join(repr(each) for each in names)}"


class Problems:
    """Collects what is wrong with one lifecycle, so that it is reported all at once."""

    def __init__(self, lifecycle: str) -> None:
        self._lifecycle = lifecycle
        self._found: list[str] = []

    def add(self, location: Location, text: str) -> None:
        """Note a problem; the same one is noted once."""
        sentence = f"{location}: lifecycle {self._lifecycle!r}: {text}"
        if sentence not in self._found:
            self._found.append(sentence)

    def raise_if_any(self) -> None:
        """End the definition if anything was noted.

        Raises:
            DefinitionError: With every problem noted so far.
        """
        if self._found:
            raise DefinitionError(self._found)
