"""Runs the sides interleaved, and condenses what was seen."""

from __future__ import annotations

import random
import statistics
from contextlib import ExitStack
from dataclasses import dataclass

from benchmarks.databases import Database
from benchmarks.sides import SIDES, Side
from benchmarks.wire import RoundTrip, Wire
from benchmarks.worker import Block, Worker

__all__ = ["Ratio", "Seen", "measure", "round_trips"]

WARM_UP = 50
"""Commands before anything counts: drivers prepare a statement only after some uses, and a runtime checks the database once."""


@dataclass(frozen=True, slots=True)
class Ratio:
    """How many times as fast as another side, with quartiles over the rounds."""

    median: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen of one side, a block for each round."""

    side: Side
    blocks: tuple[Block, ...]

    @property
    def rate(self) -> float:
        """Commands per second, stalls included, the median of the rounds."""
        return statistics.median(len(block.latencies) / block.seconds for block in self.blocks)

    @property
    def cpu(self) -> float:
        """Python CPU seconds per command, the median of the rounds."""
        return statistics.median(block.cpu / len(block.latencies) for block in self.blocks)

    @property
    def backend_cpu(self) -> float | None:
        """CPU seconds of the server's process per command, the median of the rounds; None where it isn't known."""
        known = [block.backend_cpu / len(block.latencies) for block in self.blocks if block.backend_cpu is not None]
        return statistics.median(known) if known else None

    def latency(self, percent: int) -> float:
        """Return a percentile of the latencies of all rounds, in seconds."""
        every = [latency for block in self.blocks for latency in block.latencies]
        return statistics.quantiles(every, n=100, method="inclusive")[percent - 1]

    def ratio_to(self, other: Seen) -> Ratio:
        """Return how many times as fast it was: for each round the ratio of the median latencies.

        Of the medians, because one disk that stalls for 20 ms would decide a round's mean.
        """
        pairs = zip(self.blocks, other.blocks, strict=True)
        ratios = [theirs.median_latency / own.median_latency for own, theirs in pairs]
        low, median, high = statistics.quantiles(ratios, n=4, method="inclusive")
        return Ratio(median, low, high)


def measure(database: Database, *, rounds: int, commands: int) -> dict[Side, Seen]:
    """Run each side in each round, in an order drawn anew, one side at a time."""
    blocks: dict[Side, list[Block]] = {side: [] for side in SIDES}
    with ExitStack() as stack:
        workers = [(side, stack.enter_context(Worker(side, database.url))) for side in SIDES]
        for _, worker in workers:
            worker.run(WARM_UP)
        for _ in range(rounds):
            random.shuffle(workers)
            for side, worker in workers:
                blocks[side].append(worker.run(commands))
    return {side: Seen(side, tuple(seen)) for side, seen in blocks.items()}


def round_trips(database: Database) -> dict[Side, list[RoundTrip]]:
    """Return the blocking round trips of one command of each side; PostgreSQL only."""
    found: dict[Side, list[RoundTrip]] = {}
    for side in SIDES:
        with Wire(database.url) as wire, Worker(side, wire.url) as worker:
            worker.run(WARM_UP)
            with wire.recording() as trips:
                worker.run(1)
        found[side] = trips
    return found
