"""A progress bar on a terminal, and nothing anywhere else."""

from __future__ import annotations

import os
import shutil
from types import TracebackType
from typing import Self, TextIO

__all__ = ["Bar"]

_WIDTH = 30


class Bar:
    """One line of a terminal that says how far something is; it is gone when the block ends."""

    def __init__(self, stream: TextIO, total: int) -> None:
        """Set it up.

        Args:
            stream: Where to; nothing is written unless it is a terminal that can go back in a line.
            total: What it counts up to.
        """
        self._stream, self._total = stream, total
        self._shown = stream.isatty() and os.environ.get("TERM") != "dumb"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None) -> None:
        self.clear()

    def show(self, done: int, remark: str) -> None:
        """Show that so many are done; more may be done than there were at first."""
        if not self._shown:
            return
        share = min(1.0, done / self._total) if self._total else 1.0
        filled = round(share * _WIDTH)
        line = f"[{'#' * filled}{'-' * (_WIDTH - filled)}] {share:4.0%}  {done:,} of {max(done, self._total):,}  {remark}"
        self._write(line[: max(1, shutil.get_terminal_size().columns - 1)])

    def clear(self) -> None:
        """Take it away."""
        if self._shown:
            self._write("")

    def _write(self, line: str) -> None:
        self._stream.write(f"\r\x1b[K{line}")
        self._stream.flush()
