"""Anchors as files: a directory with one for each, or one file with one on each line."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import BinaryIO

__all__ = ["DirectoryExporter", "FileExporter", "exporter_to", "read_documents"]

_NAME = "anchor-{:08}.json"
_CHUNK = 65_536


class DirectoryExporter:
    """Writes `anchor-00000001.json` and so on into a directory, each whole or not at all, and never over another one."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def export(self, sequence: int, document: str, /) -> None:
        """Return when the document is on the disk.

        Raises:
            FileExistsError: If another document is there under its number.
            OSError: If it can't be written.
        """
        self._directory.mkdir(parents=True, exist_ok=True)
        target = self._directory / _NAME.format(sequence)
        content = f"{document}\n".encode()
        with NamedTemporaryFile(dir=self._directory, prefix=".anchor-") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            try:
                os.link(file.name, target)  # fails where it exists, unlike a rename
            except FileExistsError:
                if target.read_bytes() != content:
                    raise
        _sync(self._directory)


class FileExporter:
    """Appends each anchor to one file, as one line."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def export(self, sequence: int, document: str, /) -> None:
        """Return when the line is on the disk.

        Raises:
            OSError: If it can't be written.
        """
        with self._file.open("a+b") as file:
            _drop_torn_line(file)
            file.write(f"{document}\n".encode())
            file.flush()
            os.fsync(file.fileno())


def exporter_to(path: Path) -> DirectoryExporter | FileExporter:
    """Return the exporter for a path: a file if it is one or its name has an ending, else a directory."""
    return FileExporter(path) if path.is_file() or (path.suffix and not path.is_dir()) else DirectoryExporter(path)


def read_documents(path: Path) -> Iterator[tuple[str, str]]:
    """Yield where each anchor is found, and its text, in the order of their numbers.

    Raises:
        OSError: If it can't be read.
    """
    if path.is_dir():
        for file in sorted(path.glob("anchor-*.json")):
            yield file.name, file.read_text(encoding="utf-8", errors="replace")
        return
    with path.open(encoding="utf-8", errors="replace") as lines:
        for number, line in enumerate(lines, 1):
            if line.endswith("\n"):
                yield f"{path.name}:{number}", line


def _drop_torn_line(file: BinaryIO) -> None:
    # What a crash has left of a line is no anchor, and it comes again, whole.
    end = file.seek(0, os.SEEK_END)
    start = max(0, end - _CHUNK)
    while end:
        file.seek(start)
        newline = file.read(end - start).rfind(b"\n")
        if newline >= 0 or start == 0:
            file.truncate(start + newline + 1)
            return
        start, end = max(0, start - _CHUNK), start


def _sync(directory: Path) -> None:
    # Not every system lets a directory be opened.
    with suppress(OSError):
        opened = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)
