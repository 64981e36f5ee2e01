"""Where a declaration stands in the source."""

from __future__ import annotations

import sys
from dataclasses import dataclass

__all__ = ["Location"]

_PACKAGE = __name__.rpartition(".")[0]


@dataclass(frozen=True, slots=True)
class Location:
    """A line of a source file.

    Attributes:
        file: The file name as the interpreter knows it.
        line: Counted from 1; for a call over several lines, the one where the call starts.
    """

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"

    @classmethod
    def of_caller(cls) -> Location:
        """Return the line that is calling into this package: the first frame outside of it."""
        frame = sys._getframe(1)
        while frame.f_back is not None and _is_ours(frame.f_globals.get("__name__", "")):
            frame = frame.f_back
        return cls(frame.f_code.co_filename, frame.f_lineno)


def _is_ours(module: str) -> bool:
    return module == _PACKAGE or module.startswith(f"{_PACKAGE}.")
