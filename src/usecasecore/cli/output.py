"""What is printed: data on stdout, talk on stderr.

Nothing is ever cut off. On a terminal the last column of a table is wrapped; anywhere else each row is one line.
"""

from __future__ import annotations

import io
import json
import locale
import os
import shutil
import sys
import textwrap
import traceback
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TextIO

from usecasecore.cli.failure import Failure

__all__ = [
    "age",
    "clean",
    "heading",
    "indented",
    "knows_unicode",
    "note",
    "painted",
    "place",
    "print_bytes",
    "print_failure",
    "print_hint",
    "print_json",
    "print_lines",
    "print_traceback",
    "seconds_since",
    "speak_utf8",
    "table",
    "terminal_width",
]

SCHEMA_VERSION = 1
NOTHING = "-"
_GAP = "  "
_NARROWEST = 24
_MARGIN = 4  # tables are set in
# What steers a terminal, or turns the direction of the text around, is shown instead of obeyed.
_STEERING = {*range(0x20), *range(0x7F, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A)}
_VISIBLE = {code: chr(code).encode("unicode_escape").decode() for code in _STEERING}
_JSON_ESCAPES = {code: f"\\u{code:04x}" for code in _STEERING if code >= 0x7F}


def speak_utf8() -> None:
    """Make both streams UTF-8, whatever the locale says, and never fail for a character."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")


def print_json(data: Mapping[str, Any]) -> None:
    """Print data as one JSON object, with the version of its shape on top."""
    text = json.dumps({"schema_version": SCHEMA_VERSION, **data}, indent=2, ensure_ascii=False, default=str)
    _write(text.translate(_JSON_ESCAPES) + "\n")


def print_lines(lines: Iterable[str]) -> None:
    """Print lines of data."""
    _write("".join(f"{line}\n" for line in lines))


def print_bytes(content: bytes) -> None:
    """Print a file's content as it is."""
    sys.stdout.flush()
    try:
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        _hang_up()


def note(text: str) -> None:
    """Say something that isn't data."""
    print(text, file=sys.stderr)


def print_failure(failure: Failure) -> None:
    """Print `error: ...` and a `hint: ...` for each hint."""
    note(f"{_paint('error:', '1;31', sys.stderr)} {failure.message}")
    for hint in failure.hints:
        print_hint(hint)


def print_hint(text: str) -> None:
    """Print `hint: ...`."""
    note(f"{_paint('hint:', '1', sys.stderr)} {text}")


def print_traceback(error: BaseException, secrets: Iterable[str] = ()) -> None:
    """Print where an error comes from, without the secrets."""
    text = "".join(traceback.format_exception(error))
    for secret in secrets:
        text = text.replace(secret, "***")
    note(text.rstrip())


def painted(text: str, code: str) -> str:
    """Return a text of the data in a colour, by its SGR code; as it is where no colours are wanted or shown."""
    return _paint(text, code, sys.stdout)


def terminal_width() -> int:
    """Return how many columns there are: of the terminal, by COLUMNS, or 100 where there is neither."""
    return shutil.get_terminal_size((100, 24)).columns


def knows_unicode() -> bool:
    """Return whether whoever shows the data can be expected to show more than ASCII."""
    # What the streams were made for by the locale, whatever `speak_utf8` made of them.
    wanted = os.environ.get("PYTHONIOENCODING", "").partition(":")[0] or locale.getencoding()
    return os.environ.get("TERM") != "dumb" and wanted.lower().replace("-", "").replace("_", "").startswith("utf")


def heading(text: str) -> str:
    """Return a line that stands above others."""
    return _paint(text, "1", sys.stdout)


def indented(lines: Iterable[str]) -> list[str]:
    """Return the lines, set in by two columns."""
    return [f"  {line}" if line else "" for line in lines]


def table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """Return aligned lines; None and empty texts become a dash. Without headings where all of them are empty."""
    cells = [[_cell(value) for value in row] for row in rows]
    titled = any(headings)
    columns = list(zip(*([headings] if titled else []), *cells, strict=True))
    widths = [max(map(_width, column)) for column in columns]
    lines = [line for row in cells for line in _row(row, widths)]
    return [heading(_row(headings, widths)[0]), *lines] if titled else lines


def place(file: str, line: int) -> str:
    """Return `file:line`, the file as seen from the current directory where it is below it."""
    path = Path(file)
    here = Path.cwd()
    return f"{path.relative_to(here) if path.is_relative_to(here) else path}:{line}"


def seconds_since(instant: datetime | None, now: datetime) -> int | None:
    """Return how many whole seconds ago it was; 0 for the future, None for None."""
    return None if instant is None else max(0, int((now - instant).total_seconds()))


def age(instant: datetime | None, now: datetime) -> str | None:
    """Return how long ago it was, as `3 days, 4:05:06`; None for None."""
    seconds = seconds_since(instant, now)
    return None if seconds is None else str(timedelta(seconds=seconds))


def clean(value: object) -> str:
    """Return a text that can't steer the terminal, in one line."""
    return str(value).translate(_VISIBLE)


def _cell(value: object) -> str:
    return NOTHING if value is None or value == "" else clean(value)


def _row(cells: Sequence[str], widths: Sequence[int]) -> list[str]:
    start = "".join(cell + " " * (width - _width(cell)) + _GAP for cell, width in zip(cells[:-1], widths[:-1], strict=True))
    room = _columns() - _MARGIN - _width(start) if sys.stdout.isatty() else 0
    if room < _NARROWEST or _width(cells[-1]) <= room:
        return [(start + cells[-1]).rstrip()]
    first, *others = textwrap.wrap(cells[-1], room, break_on_hyphens=False)
    return [start + first, *(" " * _width(start) + line for line in others)]


def _columns() -> int:
    return shutil.get_terminal_size().columns


def _width(text: str) -> int:
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(each) else 2 if unicodedata.east_asian_width(each) in "WF" else 1 for each in text)


def _paint(text: str, code: str, stream: TextIO) -> str:
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" or not stream.isatty()
    return text if plain or not code else f"\x1b[{code}m{text}\x1b[0m"


def _write(text: str) -> None:
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        _hang_up()


def _hang_up() -> None:
    # Whoever reads has seen enough. Python would complain when it flushes at exit.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
