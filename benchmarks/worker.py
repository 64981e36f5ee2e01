"""The process that runs one side, so that none pays for what another one imports, listens to or leaves on the heap."""

from __future__ import annotations

import gc
import multiprocessing
import random
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Self
from uuid import UUID, uuid4

from sqlalchemy import Engine, Uuid, column, create_engine, select, table

from benchmarks.sides import Side

__all__ = ["Block", "Worker"]


@dataclass(frozen=True, slots=True)
class Block:
    """Commands that ran one after the other.

    Attributes:
        latencies: Seconds of each command.
        seconds: Of all of them.
        cpu: Seconds that the Python process was on a CPU, all threads.
        backend_cpu: The same of PostgreSQL's process for the connection; None where it can't be told.
    """

    latencies: list[float]
    seconds: float
    cpu: float
    backend_cpu: float | None

    @property
    def median_latency(self) -> float:
        """Seconds of the command in the middle."""
        return statistics.median(self.latencies)


class Worker:
    """A side on a database, in a process of its own from `with` to its end."""

    def __init__(self, side: Side, url: str) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, other = context.Pipe()
        self._process = context.Process(target=_serve, args=(other, side, url), daemon=True)
        self._other = other

    def run(self, commands: int) -> Block:
        """Run so many commands, each on a ticket drawn by lot and with an idempotency key of its own."""
        self._pipe.send(commands)
        block: Block = self._pipe.recv()
        return block

    def __enter__(self) -> Self:
        self._process.start()
        self._other.close()  # or the end of a worker that failed would go unnoticed
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._pipe.close()
        self._process.join(timeout=5)


def _serve(pipe: Connection, side: Side, url: str) -> None:
    engine = create_engine(url, pool_size=1, max_overflow=0, connect_args=_arguments(url))
    perform = side.on(engine)
    ids = _ticket_ids(engine)
    backend_cpu = _backend_cpu(engine)
    lot = random.Random(side.name)
    # How much was imported is no part of a command's price: an application's heap is large on any side.
    gc.collect()
    gc.freeze()
    while True:
        try:
            commands: int = pipe.recv()
        except EOFError:
            return
        arguments = [(lot.choice(ids), str(uuid4())) for _ in range(commands)]
        gc.collect()
        backend, cpu, started = backend_cpu(), time.process_time(), time.perf_counter()
        latencies = []
        for ticket_id, key in arguments:
            before = time.perf_counter()
            perform(ticket_id, key)
            latencies.append(time.perf_counter() - before)
        seconds, cpu, after = time.perf_counter() - started, time.process_time() - cpu, backend_cpu()
        pipe.send(Block(latencies, seconds, cpu, None if backend is None or after is None else after - backend))


def _arguments(url: str) -> dict[str, str]:
    # What the runtime sets for each command; by hand one would set it for the connection.
    return {"options": "-c lock_timeout=2s"} if url.startswith("postgresql") else {}


def _ticket_ids(engine: Engine) -> list[UUID]:
    with engine.connect() as connection:
        return sorted(connection.scalars(select(column("id", Uuid)).select_from(table("tickets"))))


def _backend_cpu(engine: Engine) -> Callable[[], float | None]:
    """Return what reads the CPU seconds of the server's process behind the engine's one connection."""
    if engine.dialect.name != "postgresql":
        return lambda: None
    with engine.connect() as connection:
        schedstat = Path(f"/proc/{connection.exec_driver_sql('select pg_backend_pid()').scalar()}/schedstat")

    def read() -> float | None:
        try:
            return int(schedstat.read_text().split()[0]) / 1e9
        except OSError:
            return None

    return read
