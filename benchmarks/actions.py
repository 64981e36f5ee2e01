"""What can be done with 1,000 aggregates: `allowed_many` beside pytransitions' own may-check, interleaved.

Run it: `python -m benchmarks.actions`. Both sides answer the same question, for each aggregate and each of the nine triggers, on
the same rows of a SQLite database in memory, and each is measured twice: on instances that are loaded already, and as a whole, with the
query and the mapped instances. pytransitions returns booleans then; ours also has a transaction that can only read, and the answers.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import time
from collections.abc import Callable
from enum import StrEnum
from functools import partial
from types import new_class
from typing import Annotated, Any, ClassVar

from sqlalchemy import Engine, StaticPool, create_engine, insert, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from transitions import Machine

from usecasecore import (
    AllowAll,
    Application,
    Command,
    ExecutionContext,
    Key,
    Lifecycle,
    Policy,
    PolicyRequest,
    Result,
    Runtime,
    Transition,
    UseCase,
    state_column,
    version_column,
)
from usecasecore.context import ANONYMOUS
from usecasecore.runtime.actions import Asking
from usecasecore.runtime.reading import ReadingSession

AGGREGATES = 1_000
ON_LOADED, AS_A_WHOLE = "pytransitions, on loaded rows", "pytransitions, rows loaded too"


class ClaimState(StrEnum):
    DRAFT = "draft"
    FILED = "filed"
    REVIEW = "review"
    APPROVED = "approved"
    REJECTED = "rejected"
    PAID = "paid"
    CLOSED = "closed"
    WITHDRAWN = "withdrawn"


S = ClaimState
WAYS: list[tuple[str, list[ClaimState], ClaimState]] = [
    ("edit", [S.DRAFT], S.DRAFT),
    ("file", [S.DRAFT], S.FILED),
    ("review", [S.FILED], S.REVIEW),
    ("approve", [S.REVIEW], S.APPROVED),
    ("reject", [S.REVIEW], S.REJECTED),
    ("appeal", [S.REJECTED], S.REVIEW),
    ("pay", [S.APPROVED], S.PAID),
    ("close", [S.PAID, S.REJECTED], S.CLOSED),
    ("withdraw", [S.DRAFT, S.FILED, S.REVIEW], S.WITHDRAWN),
]


class Base(DeclarativeBase):
    pass


class Claim(Base):
    __tablename__ = "claims"

    id: Mapped[int] = mapped_column(primary_key=True)
    amount: Mapped[int]
    state: Mapped[ClaimState] = state_column(ClaimState)
    version: Mapped[int] = version_column()

    lifecycle: ClassVar = Lifecycle(
        states=ClaimState,
        initial=ClaimState.DRAFT,
        transitions=[Transition(name, list(sources), dest, conditions="is_sane") for name, sources, dest in WAYS],
    )

    def is_sane(self) -> bool:
        return self.amount >= 0


class Done(Result):
    claim_id: int


def apply(self: Any, command: Any, claim: Claim, context: ExecutionContext, /) -> Done:
    return Done(claim_id=claim.id)


def use_cases() -> list[Any]:
    """One for each trigger."""
    made = []
    for name, _, _ in WAYS:
        fields = {"claim_id": Annotated[int, Key(Claim.id)], "note": str}
        command: Any = type(f"{name.title()}Command", (Command[Done],), {"__annotations__": fields, "__module__": __name__})
        generic: Any = UseCase
        body = {"trigger": name, "apply": apply, "__module__": __name__}
        made.append(new_class(name.title(), (generic[command, Claim, Done],), {}, partial(_fill, body)))
    return made


def _fill(body: dict[str, Any], namespace: dict[str, Any]) -> None:
    namespace.update(body)


class AskedEachTime(Policy):
    """The cheapest policy that has to be asked."""

    def readable(self, request: PolicyRequest, /) -> bool:
        return True

    def permitted(self, request: PolicyRequest, /) -> bool:
        return request.actor.type != "nobody"


def peer() -> Machine:
    """The same machine in pytransitions, shared by all instances: its fastest way."""
    transitions = [
        {"trigger": name, "source": list(sources), "dest": dest, "conditions": "is_sane"} for name, sources, dest in WAYS
    ]
    return Machine(
        model=None,
        states=ClaimState,
        transitions=transitions,
        initial=ClaimState.DRAFT,
        auto_transitions=False,
        send_event=False,
    )


def may(machine: Machine, claims: list[Claim]) -> list[list[str]]:
    """Ask pytransitions for each aggregate and trigger."""
    names = [name for name, _, _ in WAYS]
    return [[name for name in names if machine._can_trigger(claim, name)] for claim in claims]


def load_and_may(machine: Machine, engine: Engine, keys: list[int]) -> list[list[str]]:
    """Load them, and do the same."""
    with Session(engine) as session:
        return may(machine, list(session.scalars(select(Claim).where(Claim.id.in_(keys)))))


def of_loaded(runtime: Runtime, claims: list[Claim]) -> list[Any]:
    """Do what `allowed_many` does with rows that it has loaded."""
    asking = Asking(runtime._actions, ANONYMOUS, runtime._shell.clock(), ReadingSession(runtime.engine))
    return [asking.actions(claim) for claim in claims]


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.actions", description=__doc__)
    parser.add_argument("--rounds", type=int, default=21, help="how often each side has its turn (default: 21)")
    rounds = parser.parse_args().rounds
    engine = create_engine("sqlite://", poolclass=StaticPool)
    Base.metadata.create_all(engine)
    made = use_cases()
    ours = Runtime(engine, Application(made, policy=AllowAll()), create=True)
    asked = Runtime(engine, Application(made, policy=AskedEachTime()))
    states = list(ClaimState)
    rows = [{"id": n, "amount": n, "state": states[n % len(states)], "version": 1 + n % 10} for n in range(AGGREGATES)]
    with engine.begin() as connection:
        connection.execute(insert(Claim), rows)
    machine = peer()
    with Session(engine) as session:
        claims = list(session.scalars(select(Claim).order_by(Claim.id)))
    keys = [claim.id for claim in claims]
    theirs: dict[str, Callable[[], Any]] = {
        ON_LOADED: lambda: may(machine, claims),
        AS_A_WHOLE: lambda: load_and_may(machine, engine, keys),
    }
    sides: dict[str, Callable[[], Any]] = {
        "the table, on loaded rows": lambda: of_loaded(ours, claims),
        "allowed_many, AllowAll": lambda: ours.allowed_many(Claim, keys),
        "allowed_many, a policy that is asked": lambda: asked.allowed_many(Claim, keys),
    }
    expected = [ask() for ask in theirs.values()]
    for ask in sides.values():
        assert [[[action.triggers[0] for action in one.possible] for one in ask()]] * 2 == expected
    report(measured(theirs | sides, rounds))


def measured(sides: dict[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Return seconds for all aggregates, by side and round."""
    seen: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, ask in sides.items():
            gc.collect()
            start = time.perf_counter()
            ask()
            seen[name].append(time.perf_counter() - start)
    return seen


def report(seen: dict[str, list[float]]) -> None:
    print(
        f"{AGGREGATES} aggregates, {len(WAYS)} triggers, {len(seen[ON_LOADED])} rounds; medians, and the quartiles of a ratio\n"
    )
    print(f"| side | ms | times as fast as {ON_LOADED} | times as fast as {AS_A_WHOLE} |")
    print("|---|---|---|---|")
    for name, seconds in seen.items():
        ratios = [_ratio(seen[base], seconds) if name != base else "1" for base in (ON_LOADED, AS_A_WHOLE)]
        print(f"| {name} | {statistics.median(seconds) * 1000:.1f} | {' | '.join(ratios)} |")


def _ratio(theirs: list[float], ours: list[float]) -> str:
    low, middle, high = statistics.quantiles([one / other for one, other in zip(theirs, ours, strict=True)], n=4)
    return f"{middle:.1f} ({low:.1f} to {high:.1f})"


if __name__ == "__main__":
    main()
