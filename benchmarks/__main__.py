"""The command line: `python -m benchmarks --help`."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from contextlib import AbstractContextManager

from benchmarks import databases, measurement, report
from benchmarks.databases import Database

DATABASES: dict[str, Callable[[], AbstractContextManager[Database]]] = {
    "postgresql": databases.postgresql,
    "sqlite": databases.sqlite,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=31, help="how often each side has its turn (default: 31)")
    parser.add_argument("--commands", type=int, default=100, help="commands of a side in each round (default: 100)")
    parser.add_argument("--only", choices=DATABASES, help="measure on one database")
    parser.add_argument("--quick", action="store_true", help="5 rounds of 40 commands: to see that it runs, not to quote")
    arguments = parser.parse_args()
    rounds, commands = (5, 40) if arguments.quick else (arguments.rounds, arguments.commands)
    if min(rounds, commands) < 2:
        parser.error("--rounds and --commands take numbers from 2")
    print(report.machine(databases.sync_milliseconds()), flush=True)
    for name in [arguments.only] if arguments.only else DATABASES:
        with DATABASES[name]() as database:
            trips = measurement.round_trips(database) if name == "postgresql" else None
            seen = measurement.measure(database, rounds=rounds, commands=commands)
        print(f"\n{report.comparison(database, seen, trips, rounds, commands)}", flush=True)
        if trips is not None:
            print(report.trips_of_ours(trips), flush=True)


if __name__ == "__main__":
    main()
