"""What is printed."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from benchmarks.databases import Database
from benchmarks.measurement import Ratio, Seen
from benchmarks.sides import CORE, NAIVE, ORM, OURS, SIDES, Side
from benchmarks.wire import RoundTrip

__all__ = ["comparison", "machine", "trips_of_ours"]

PACKAGES = ("sqlalchemy", "psycopg", "pydantic", "transitions")


def machine(sync_milliseconds: float) -> str:
    """Return what the figures were taken on."""
    load = f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    return (
        f"machine: {os.cpu_count()} cores, {_processor()}, load {load} at the start, {sync_milliseconds:.2f} ms for an fsync of 8 kB\n"
        f"versions: Python {platform.python_version()}, {packages}"
    )


def comparison(
    database: Database, seen: Mapping[Side, Seen], trips: Mapping[Side, Sequence[RoundTrip]] | None, rounds: int, commands: int
) -> str:
    """Return the table of one database.

    Args:
        trips: The blocking round trips of a command of each side; None where there is no wire.
    """
    head = ["per command", "p50 us", "p99 us", "Python CPU us"]
    head += ["server CPU us", "round trips"] if trips is not None else []
    head += ["commands/s", "x ORM (quartiles)", "x Core", "x naive"]
    table = [head, *(_row(seen, side, trips) for side in SIDES)]
    lines = [
        f"{database.settings}; {rounds} rounds of {commands} commands for each side, interleaved, one client",
        *_aligned(table),
        _summary(seen),
        *(f"  {side.name}: {side.does}" for side in SIDES),
    ]
    return "\n".join(lines)


def trips_of_ours(trips: Mapping[Side, Sequence[RoundTrip]]) -> str:
    """Return what the library's round trips are made of."""
    lines = [f"  {number}. {trip!r}" for number, trip in enumerate(trips[OURS], 1)]
    return "\n".join(["blocking round trips of a usecasecore command:", *lines])


def _row(seen: Mapping[Side, Seen], side: Side, trips: Mapping[Side, Sequence[RoundTrip]] | None) -> list[str]:
    own = seen[side]
    cells = [side.name, _us(own.latency(50)), _us(own.latency(99)), _us(own.cpu)]
    if trips is not None:
        cells += [_us(own.backend_cpu), str(len(trips[side]))]
    to_orm, to_core, to_naive = (own.ratio_to(seen[other]) for other in (ORM, CORE, NAIVE))
    return [*cells, f"{own.rate:.0f}", _spread(to_orm), f"{to_core.median:.2f}", f"{to_naive.median:.2f}"]


def _summary(seen: Mapping[Side, Seen]) -> str:
    own, others = seen[OURS], [seen[other] for other in (ORM, CORE, NAIVE)]
    speed = ", ".join(f"{own.ratio_to(other).median:.2f}x {other.side.name}" for other in others)
    cpu = ", ".join(f"{own.cpu / other.cpu:.2f}x {other.side.name}" for other in others)
    return f"{OURS.name}: {speed} in speed (more is better)\n{OURS.name}: {cpu} in Python CPU (less is better)"


def _us(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1e6:.0f}"


def _spread(ratio: Ratio) -> str:
    return f"{ratio.median:.2f} ({ratio.low:.2f}-{ratio.high:.2f})"


def _aligned(table: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for first, *others in table:
        yield "  ".join([first.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True))])


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())
