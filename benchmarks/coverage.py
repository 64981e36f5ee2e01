"""What the coverage of transitions costs a command: `python -m benchmarks.coverage`.

Blocks of commands with a recorder and without one, in one process and on one connection, in an order drawn anew in each
round. A ratio is that of the medians of two blocks of one round, of the latency and of the CPU time of the process.
"""

from __future__ import annotations

import argparse
import gc
import random
import statistics
import time
from collections.abc import Callable
from contextlib import nullcontext
from uuid import UUID, uuid4

from sqlalchemy import create_engine, select

from benchmarks import databases, ours, report
from benchmarks.databases import DATABASES
from usecasecore.coverage.recorder import Recorder

WARM_UP = 100


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.coverage", description=__doc__)
    parser.add_argument("--rounds", type=int, default=41, help="how often each side has its turn (default: 41)")
    parser.add_argument("--commands", type=int, default=100, help="commands of a side in each round (default: 100)")
    parser.add_argument("--only", choices=DATABASES, help="measure on one database")
    arguments = parser.parse_args()
    print("\n".join(report.machine(databases.sync_milliseconds())), flush=True)
    for name in [arguments.only] if arguments.only else DATABASES:
        with DATABASES[name]() as database:
            engine = create_engine(database.url, pool_size=1, max_overflow=0)
            with engine.connect() as connection:
                ids = list(connection.scalars(select(ours.Ticket.__table__.c.id)))
            latency, cpu = ratios(ours.runtime(engine), ids, arguments.rounds, arguments.commands)
            engine.dispose()
        print(f"{database.name}: latency {told(latency)}, CPU {told(cpu)}  ({database.settings})", flush=True)


def ratios(
    perform: Callable[[UUID, str], object], ids: list[UUID], rounds: int, commands: int
) -> tuple[list[float], list[float]]:
    """Return for each round how much recording multiplies the median latency, and the CPU time."""
    recorder, lot = Recorder(), random.Random(7)
    block(perform, ids, WARM_UP, lot)
    gc.collect()
    gc.freeze()
    latency, cpu = [], []
    for number in range(rounds):
        recorder.begin_test(f"test {number}")
        seen: dict[bool, tuple[float, float]] = {}
        for recording in random.sample([True, False], 2):
            with recorder.watching() if recording else nullcontext():
                seen[recording] = block(perform, ids, commands, lot)
        latency.append(seen[True][0] / seen[False][0])
        cpu.append(seen[True][1] / seen[False][1])
    return latency, cpu


def block(perform: Callable[[UUID, str], object], ids: list[UUID], commands: int, lot: random.Random) -> tuple[float, float]:
    """Return the median latency, and the CPU time of all of them, in seconds."""
    latencies = []
    began = time.process_time()
    for _ in range(commands):
        started = time.perf_counter()
        perform(lot.choice(ids), str(uuid4()))
        latencies.append(time.perf_counter() - started)
    return statistics.median(latencies), time.process_time() - began


def told(ratios: list[float]) -> str:
    """Return the median and the quartiles in words."""
    low, median, high = statistics.quantiles(ratios, n=4, method="inclusive")
    return f"x {median:.3f} ({low:.3f} to {high:.3f})"


if __name__ == "__main__":
    main()
