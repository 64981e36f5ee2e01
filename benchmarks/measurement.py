"""Runs crews interleaved, and condenses what was seen."""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

from benchmarks.sides import Side
from benchmarks.wire import RoundTrip, Wire
from benchmarks.worker import Block, Worker

__all__ = ["WARM_UP", "Crew", "Ratio", "Runs", "Seen", "interleaved", "measure", "ratio_of", "round_trips", "working"]

WARM_UP = 50
"""Commands of each client before anything counts: drivers prepare a statement only after some uses, and a runtime checks the
database once."""

TOLERATED = 0.01
"""How many of a block's commands may fail, because they lost against others: more, and there is nothing to measure."""


@dataclass(frozen=True, slots=True)
class Ratio:
    """How many times as much as something else, with quartiles over the rounds."""

    median: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen of one crew, a block for each round."""

    blocks: tuple[Block, ...]

    @property
    def rate(self) -> float:
        """Commands per second, stalls included, the median of the rounds."""
        return statistics.median(block.rate for block in self.blocks)

    @property
    def cpu(self) -> float:
        """Python CPU seconds per command, the median of the rounds."""
        return statistics.median(block.cpu / len(block.latencies) for block in self.blocks)

    @property
    def backend_cpu(self) -> float | None:
        """CPU seconds of the server's processes per command, the median of the rounds; None where it isn't known."""
        known = [block.backend_cpu / len(block.latencies) for block in self.blocks if block.backend_cpu is not None]
        return statistics.median(known) if known else None

    @property
    def failed(self) -> int:
        """Commands that failed, of all rounds."""
        return sum(len(block.failures) for block in self.blocks)

    def latency(self, percent: int) -> float:
        """Return a percentile of the latencies of all rounds, in seconds."""
        every = [latency for block in self.blocks for latency in block.latencies]
        return statistics.quantiles(every, n=100, method="inclusive")[percent - 1]

    def speed_to(self, other: Seen) -> Ratio:
        """Return how many times as fast it was: for each round the ratio of the median latencies.

        Of the medians, because one disk that stalls for 20 ms would decide a round's mean.
        """
        return self._to(other, lambda own, theirs: theirs.median_latency / own.median_latency)

    def rate_to(self, other: Seen) -> Ratio:
        """Return how many times as many commands per second: for each round the ratio of the rates, for several clients."""
        return self._to(other, lambda own, theirs: own.rate / theirs.rate)

    def cpu_to(self, other: Seen) -> Ratio:
        """Return how many times as much Python CPU per command."""
        return self._to(other, lambda own, theirs: (own.cpu / len(own.latencies)) / (theirs.cpu / len(theirs.latencies)))

    def _to(self, other: Seen, quotient: Callable[[Block, Block], float]) -> Ratio:
        return ratio_of([quotient(own, theirs) for own, theirs in zip(self.blocks, other.blocks, strict=True)])


class Runs(Protocol):
    """What is measured: it runs blocks of commands, from `with` to its end."""

    def run(self, commands: int, /) -> Block: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> None: ...


class Crew:
    """A side on a database, with so many clients spread evenly over processes; see `Worker`."""

    def __init__(self, side: Side, url: str, *, clients: int = 1, processes: int = 1, hot: bool = False) -> None:
        each = max(clients // processes, 1)
        self.workers = [Worker(side, url, clients=each, hot=hot, number=number) for number in range(processes)]
        self._stack = ExitStack()

    def run(self, commands: int, /) -> Block:
        """Have each process run its part, all at the same time."""
        for worker in self.workers:
            worker.begin(commands // len(self.workers))
        blocks = [worker.end() for worker in self.workers]
        backend_cpu = [block.backend_cpu for block in blocks if block.backend_cpu is not None]
        return Block(
            latencies=[latency for block in blocks for latency in block.latencies],
            seconds=max(block.seconds for block in blocks),
            cpu=sum(block.cpu for block in blocks),
            backend_cpu=sum(backend_cpu) if len(backend_cpu) == len(blocks) else None,
            failures=[failure for block in blocks for failure in block.failures],
        )

    def __enter__(self) -> Self:
        for worker in self.workers:
            self._stack.enter_context(worker)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._stack.close()


@contextmanager
def working(crews: Mapping[str, Runs], *, warm_up: int = WARM_UP) -> Iterator[None]:
    """Have the crews ready, and warm, for a `with` block."""
    with ExitStack() as stack:
        for name, crew in crews.items():
            stack.enter_context(crew)
            _checked(name, crew.run(warm_up))
        yield


def interleaved(crews: Mapping[str, Runs], *, rounds: int, commands: int) -> dict[str, Seen]:
    """Run each of the working crews in each round, in an order drawn anew, one crew at a time."""
    blocks: dict[str, list[Block]] = {name: [] for name in crews}
    order = list(crews)
    for _ in range(rounds):
        random.shuffle(order)
        for name in order:
            blocks[name].append(_checked(name, crews[name].run(commands)))
    return {name: Seen(tuple(seen)) for name, seen in blocks.items()}


def measure(crews: Mapping[str, Runs], *, rounds: int, commands: int, warm_up: int = WARM_UP) -> dict[str, Seen]:
    """Have the crews work, interleaved."""
    with working(crews, warm_up=warm_up):
        return interleaved(crews, rounds=rounds, commands=commands)


def ratio_of(values: Sequence[float]) -> Ratio:
    """Return the median and the quartiles."""
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return Ratio(median, low, high)


def round_trips(side: Side, url: str) -> list[RoundTrip]:
    """Return the blocking round trips of one command; PostgreSQL only."""
    with Wire(url) as wire, Worker(side, wire.url) as worker:
        _checked(side.name, worker.run(WARM_UP))
        with wire.recording() as trips:
            worker.run(1)
    return trips


def _checked(name: str, block: Block) -> Block:
    if len(block.failures) > TOLERATED * len(block.latencies):
        raise RuntimeError(f"{name}: {len(block.failures)} of {len(block.latencies)} commands failed: {block.failures[0]}")
    return block
