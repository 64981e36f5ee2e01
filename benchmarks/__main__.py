"""The command line: `python -m benchmarks --help`."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks import databases, report
from benchmarks.sections import QUICK, SECTIONS, Effort
from benchmarks.table import Results, Table


def main() -> None:
    arguments = _arguments()
    effort = Effort(arguments.rounds, arguments.commands, growth=arguments.growth)
    tables, machine = [], report.machine(databases.sync_milliseconds())
    print("\n".join(machine), flush=True)
    for table in run(arguments.only, QUICK if arguments.quick else effort):
        print(f"\n{table.text()}", flush=True)
        tables.append(table)
    if arguments.json:
        arguments.json.write_text(Results(machine, tuple(tables)).json())


def run(names: Sequence[str], effort: Effort) -> Iterator[Table]:
    """Yield the tables of the sections; those on the same kind of database share one."""
    with ExitStack() as stack:
        made: dict[object, databases.Database] = {}
        for name in names:
            section = SECTIONS[name]
            if section.on not in made:
                made[section.on] = stack.enter_context(section.on())
            yield section.run(made[section.on], effort)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    normal = Effort()
    parser.add_argument("--only", type=_names, default=list(SECTIONS), help=f"some sections of: {','.join(SECTIONS)}")
    parser.add_argument("--rounds", type=int, default=normal.rounds, help=f"how often each has its turn ({normal.rounds})")
    parser.add_argument("--commands", type=int, default=normal.commands, help=f"of each in a round ({normal.commands})")
    parser.add_argument("--growth", type=int, default=normal.growth, help=f"rows of the grown ledger ({normal.growth})")
    parser.add_argument("--quick", action="store_true", help="very little of everything: to see that it runs, not to quote")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep the results, for `python -m benchmarks.report FILE`")
    arguments = parser.parse_args()
    if min(arguments.rounds, arguments.commands) < 2:
        parser.error("--rounds and --commands take numbers from 2")
    return arguments


def _names(text: str) -> list[str]:
    names = text.split(",")
    if unknown := [name for name in names if name not in SECTIONS]:
        raise argparse.ArgumentTypeError(f"no section {', '.join(unknown)}; there are {', '.join(SECTIONS)}")
    return names


if __name__ == "__main__":
    main()
