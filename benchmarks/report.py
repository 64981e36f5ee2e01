"""What a run is told by: `python -m benchmarks.report FILE.json` renders the tables that `--json` has kept as Markdown."""

from __future__ import annotations

import argparse
import os
import platform
from importlib.metadata import version
from pathlib import Path

from benchmarks.table import Results

__all__ = ["machine"]

PACKAGES = ("sqlalchemy", "psycopg", "asyncpg", "pydantic", "transitions")


def machine(sync_milliseconds: float) -> tuple[str, ...]:
    """Return what the figures are taken on, from now on."""
    load = f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    return (
        f"{os.cpu_count()} cores, {_processor()}, load {load} at the start, {sync_milliseconds:.2f} ms for an fsync of 8 kB",
        f"Python {platform.python_version()}, {packages}",
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.report", description=__doc__)
    parser.add_argument("file", type=Path, help="what `python -m benchmarks --json` has written")
    print(Results.from_json(parser.parse_args().file.read_text()).markdown(), end="")


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())


if __name__ == "__main__":
    main()
