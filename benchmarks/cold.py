"""The first command of a process, which pays for all that is made only once."""

from __future__ import annotations

import multiprocessing
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from multiprocessing.connection import Connection
from uuid import UUID, uuid4

from benchmarks.connections import engine_of, ids_in
from benchmarks.sides import Side

__all__ = ["Start", "measure"]


@dataclass(frozen=True, slots=True)
class Start:
    """One fresh process, in seconds.

    Attributes:
        imports: The side's modules, where SQLAlchemy is loaded already.
        first: From the making of the engine to the first answer.
        second: The second answer.
    """

    imports: float
    first: float
    second: float


def measure(sides: Sequence[Side], url: str, starts: int) -> dict[str, list[Start]]:
    """Start a process for each side so many times, one at a time, in an order drawn anew."""
    ids = ids_in(url, "tickets")[:2]
    seen: dict[str, list[Start]] = {side.name: [] for side in sides}
    order = list(sides)
    for _ in range(starts):
        random.shuffle(order)
        for side in order:
            seen[side.name].append(_start(side, url, ids))
    return seen


def _start(side: Side, url: str, ids: Sequence[UUID]) -> Start:
    context = multiprocessing.get_context("spawn")
    pipe, other = context.Pipe(duplex=False)
    process = context.Process(target=_run, args=(other, side, url, ids), daemon=True)
    process.start()
    other.close()
    start: Start = pipe.recv()
    process.join(timeout=5)
    return start


def _run(pipe: Connection, side: Side, url: str, ids: Sequence[UUID]) -> None:
    begun = time.perf_counter()
    import_module(side.module)
    imported = time.perf_counter()
    perform = side.on(engine_of(url, side.asynchronous, 1))
    perform(ids[0], str(uuid4()))
    first = time.perf_counter()
    perform(ids[1], str(uuid4()))
    pipe.send(Start(imported - begun, first - imported, time.perf_counter() - first))
