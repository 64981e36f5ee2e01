"""Many at once: `execute_many` beside hand-written code that does the same row by row, interleaved, each in a process of its own.

python -m benchmarks.bulk [--rows 100000] [--rounds 4] [--sample 500] [--batch 1000] [--only postgresql|sqlite]

Both sides ask the policy and the guard in Python for each row and write the same rows into the same ledger tables; ours adds the hash
chain. A round is a sample of the hand-written side, then `rows / rounds` commands of ours. The row-by-row side is a sample.
"""

from __future__ import annotations

import argparse
import gc
import os
import statistics
import time
from uuid import UUID

from sqlalchemy import Engine, create_engine, insert

from benchmarks import databases, ours, tickets
from benchmarks.sides import ORM
from benchmarks.worker import Worker
from usecasecore import Actor, Application, Outcome, Runtime, uuid7

AGENT = Actor("user", tickets.AGENT, roles=tickets.ROLES)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--sample", type=int, default=500)
    parser.add_argument("--batch", type=int, default=1000)
    parser.add_argument("--only", choices=("postgresql", "sqlite"), default="postgresql")
    said = parser.parse_args()
    with (databases.postgresql if said.only == "postgresql" else databases.sqlite)() as database:
        print(f"{database.settings}; load before: {os.getloadavg()[0]:.1f}")
        run(database.url, said.rows, said.rounds, said.sample, said.batch)


def run(url: str, rows: int, rounds: int, sample: int, batch: int) -> None:
    """Measure both sides on one database."""
    engine = create_engine(url)
    ids = more_tickets(engine, rows)
    runtime = Runtime(engine, Application([ours.AnswerTicket], policy=ours.AgentsOnly(), name="tickets"))
    gc.collect()
    gc.freeze()
    ratios = []
    with Worker(ORM, url) as by_hand:
        by_hand.run(50)
        for _ in range(rounds):
            block = by_hand.run(sample)
            part = [ids.pop() for _ in range(rows // rounds)]
            begun, used = time.perf_counter(), time.process_time()
            done = answer_all(runtime, part, batch)
            seconds, cpu = time.perf_counter() - begun, time.process_time() - used
            ratios.append((done / seconds) / (sample / block.seconds))
            print(
                f"row by row {sample / block.seconds:7.0f}/s {block.cpu / sample * 1e6:5.0f} us CPU   many {done / seconds:7.0f}/s "
                f"{cpu / done * 1e6:4.0f} us CPU   {ratios[-1]:5.1f}x   {resident():.0f} MB   load {os.getloadavg()[0]:.1f}",
                flush=True,
            )
    print(f"median {statistics.median(ratios):.1f}x ({min(ratios):.1f} to {max(ratios):.1f}); {rows} rows in batches of {batch}")


def answer_all(runtime: Runtime, ids: list[UUID], batch: int) -> int:
    """Answer the tickets; return how many were answered."""
    commands = (ours.Answer(ticket_id=one, minutes=tickets.MINUTES) for one in ids)
    results = runtime.execute_many(commands, actor=AGENT, batch=batch, key_of=lambda _: str(uuid7()))
    return sum(isinstance(one, Outcome) for one in results)


def more_tickets(engine: Engine, number: int) -> list[UUID]:
    """Insert tickets; return their keys."""
    ids = [uuid7() for _ in range(number)]
    with engine.begin() as connection:
        for first in range(0, number, 5000):
            connection.execute(insert(ours.Ticket), [_row(one) for one in ids[first : first + 5000]])
    return ids


def _row(ticket_id: UUID) -> dict[str, object]:
    return {
        "id": ticket_id,
        "customer": "grace",
        "subject": "the printer is on fire",
        "priority": 3,
        "budget": 1_000_000,
        "minutes": 0,
        "answers": 0,
        "answered_at": None,
        "state": "open",
        "version": 1,
    }


def resident() -> float:
    """Return how much memory the process has, in MB."""
    with open("/proc/self/statm", encoding="ascii") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


if __name__ == "__main__":
    main()
