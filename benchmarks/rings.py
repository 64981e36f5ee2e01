"""Lifecycles of 10, 100 and 1,000 states, each a ring that one trigger leads around: does a command take longer in a large one?"""

from collections.abc import Callable
from enum import StrEnum
from functools import cache, partial
from typing import Annotated, Any, ClassVar, cast
from uuid import UUID

from sqlalchemy import Connection, Engine, Uuid, insert
from sqlalchemy.orm import DeclarativeBase, mapped_column

from usecasecore import (
    AllowAll,
    Application,
    Command,
    ExecutionContext,
    Key,
    Lifecycle,
    Result,
    Runtime,
    Transition,
    UseCase,
    state_column,
    uuid7,
    version_column,
)

__all__ = ["SIZES", "fill", "ring_10", "ring_100", "ring_1000"]

SIZES = (10, 100, 1000)
ROWS = 1_000


class Moved(Result):
    ring_id: UUID


@cache
def _ring(size: int) -> tuple[type[Any], type[Any], type[Any]]:
    """Return the aggregate, the command and the use case."""
    # pyright doesn't know enums with names that are only known when they are made.
    states = cast(Any, StrEnum)(f"Ring{size}State", [f"s{number}" for number in range(size)])
    ways = [Transition("move", state, after) for state, after in zip(states, [*list(states)[1:], states.s0], strict=True)]

    class Base(DeclarativeBase):
        pass

    class Ring(Base):
        __tablename__ = f"rings_{size}"

        id = mapped_column(Uuid, primary_key=True, default=uuid7)
        state = state_column(states)
        version = version_column()

        lifecycle: ClassVar = Lifecycle(states=states, initial=states.s0, transitions=ways)

    class Move(Command[Moved]):
        ring_id: Annotated[UUID, Key(Ring.id)]

    class MoveRing(UseCase[Move, Ring, Moved]):
        trigger = "move"

        def apply(self, command: Move, ring: Ring, context: ExecutionContext, /) -> Moved:
            return Moved(ring_id=command.ring_id)

    return Ring, Move, MoveRing


def fill(connection: Connection) -> None:
    """Make the tables, with rows in states from all over the ring."""
    for size in SIZES:
        ring, _, _ = _ring(size)
        ring.metadata.create_all(connection)
        states = ring.lifecycle.states
        connection.execute(insert(ring), [{"id": uuid7(), "state": states[number % size]} for number in range(ROWS)])


def _runtime(size: int, engine: Engine) -> Callable[[UUID, str], object]:
    _, move, use_case = _ring(size)
    runs = Runtime(engine, Application([use_case], policy=AllowAll(), name="rings"))
    return lambda ring_id, key: runs.execute(move(ring_id=ring_id), idempotency_key=key)


ring_10, ring_100, ring_1000 = (partial(_runtime, size) for size in SIZES)
