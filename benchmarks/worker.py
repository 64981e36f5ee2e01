"""The process that runs one side, so that none pays for what another one imports, listens to or leaves on the heap."""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import random
import statistics
import time
import tracemalloc
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Protocol, Self
from uuid import uuid4

from benchmarks.connections import Backends, engine_of, ids_in
from benchmarks.sides import Perform, Side

__all__ = ["Block", "Held", "Tasks", "Threads", "Worker", "serve"]


@dataclass(frozen=True, slots=True)
class Block:
    """Commands that ran, one after the other for each client.

    Attributes:
        latencies: Seconds of each command.
        seconds: Of all of them.
        cpu: Seconds that the Python processes were on a CPU, all threads.
        backend_cpu: The same of PostgreSQL's processes for the connections; None where it can't be told.
        failures: What the commands that failed raised.
    """

    latencies: Sequence[float]
    seconds: float
    cpu: float
    backend_cpu: float | None
    failures: Sequence[str] = ()

    @property
    def median_latency(self) -> float:
        """Seconds of the command in the middle."""
        return statistics.median(self.latencies)

    @property
    def rate(self) -> float:
        """Commands per second, stalls included."""
        return len(self.latencies) / self.seconds


@dataclass(frozen=True, slots=True)
class Held:
    """A question: how many bytes do Python's objects take more after so many commands?"""

    commands: int


class Worker:
    """A side on a database, in a process of its own from `with` to its end.

    Args:
        clients: How many run commands at the same time: threads, or tasks of an asynchronous side.
        hot: Whether all of them want the same aggregate.
        number: Among the processes of its side.
    """

    def __init__(self, side: Side, url: str, *, clients: int = 1, hot: bool = False, number: int = 0) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, other = context.Pipe()
        self._process = context.Process(target=_work, args=(other, side, url, clients, hot, number), daemon=True)
        self._other = other

    def begin(self, commands: int) -> None:
        """Have so many commands run, each on an aggregate drawn by lot and with an idempotency key of its own."""
        self._pipe.send(commands)

    def end(self) -> Block:
        """Return what `begin` has begun, when it is over."""
        block: Block = self._pipe.recv()
        return block

    def run(self, commands: int) -> Block:
        """Do both."""
        self.begin(commands)
        return self.end()

    def held(self, commands: int) -> int:
        """Return by how many bytes Python's objects grow while so many commands run, the garbage collected."""
        self._pipe.send(Held(commands))
        grown: int = self._pipe.recv()
        return grown

    def __enter__(self) -> Self:
        self._process.start()
        self._other.close()  # or the end of a worker that failed would go unnoticed
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._pipe.close()
        self._process.join(timeout=5)


def serve(pipe: Connection, clients: Clients, ids: Sequence[Any], backend_cpu: Callable[[], float | None], seed: str) -> None:
    """Do what comes through the pipe, until nothing can come any more."""
    lot = random.Random(seed)

    def block(commands: int) -> Block:
        arguments = [(lot.choice(ids), str(uuid4())) for _ in range(commands)]
        gc.collect()
        backend, cpu, started = backend_cpu(), time.process_time(), time.perf_counter()
        latencies, failures = clients.run(arguments)
        seconds, cpu, after = time.perf_counter() - started, time.process_time() - cpu, backend_cpu()
        return Block(latencies, seconds, cpu, None if backend is None or after is None else after - backend, failures)

    # How much was imported is no part of a command's price: an application's heap is large on any side.
    gc.collect()
    gc.freeze()
    while True:
        try:
            wanted: int | Held = pipe.recv()
        except EOFError:
            return
        pipe.send(_grown(block, wanted.commands) if isinstance(wanted, Held) else block(wanted))


class Clients(Protocol):
    """Whoever runs the commands."""

    def run(self, arguments: Sequence[tuple[Any, str]], /) -> tuple[list[float], list[str]]:
        """Run a command for each; return the seconds that each took, and what those that failed raised."""
        ...


class Threads:
    """Clients that wait, each in a thread of its own; a single one in the calling thread."""

    def __init__(self, perform: Perform, clients: int) -> None:
        self._perform = perform
        self._clients = clients
        self._pool = ThreadPoolExecutor(clients)

    def run(self, arguments: Sequence[tuple[Any, str]], /) -> tuple[list[float], list[str]]:
        queue, latencies, failures = deque(arguments), list[float](), list[str]()

        def work() -> None:
            while queue:
                try:
                    aggregate_id, key = queue.popleft()
                except IndexError:  # another one took the last
                    return
                before = time.perf_counter()
                try:
                    self._perform(aggregate_id, key)
                except Exception as error:  # noqa: BLE001 - the parent decides how many are too many
                    failures.append(repr(error))
                latencies.append(time.perf_counter() - before)

        if self._clients == 1:
            work()
        else:
            for done in [self._pool.submit(work) for _ in range(self._clients)]:
                done.result()
        return latencies, failures


class Tasks:
    """Clients that await, all in one event loop."""

    def __init__(self, perform: Perform, clients: int) -> None:
        self._perform = perform
        self._clients = clients
        self._loop = asyncio.Runner()

    def run(self, arguments: Sequence[tuple[Any, str]], /) -> tuple[list[float], list[str]]:
        queue, latencies, failures = deque(arguments), list[float](), list[str]()

        async def work() -> None:
            while queue:
                aggregate_id, key = queue.popleft()
                before = time.perf_counter()
                try:
                    await self._perform(aggregate_id, key)
                except Exception as error:  # noqa: BLE001 - the parent decides how many are too many
                    failures.append(repr(error))
                latencies.append(time.perf_counter() - before)

        async def together() -> None:
            await asyncio.gather(*(work() for _ in range(self._clients)))

        self._loop.run(together())
        return latencies, failures

    def close(self, last: Callable[[], Coroutine[Any, Any, object]]) -> None:
        """Run what is to be awaited last, and end the loop."""
        self._loop.run(last())
        self._loop.close()


def _work(pipe: Connection, side: Side, url: str, clients: int, hot: bool, number: int) -> None:
    engine = engine_of(url, side.asynchronous, clients)
    backends = Backends(engine)
    perform = side.on(engine)
    ids = ids_in(url, side.table)
    kind = Threads if side.asynchronous is None else Tasks
    serve(pipe, kind(perform, clients), ids[:1] if hot else ids, backends.cpu, f"{side.name} {number}")


def _grown(block: Callable[[int], Block], commands: int) -> int:
    tracemalloc.start()
    block(max(commands // 10, 10))  # what is made once by the first commands is no growth
    gc.collect()
    before, _ = tracemalloc.get_traced_memory()
    block(commands)
    gc.collect()
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return after - before
