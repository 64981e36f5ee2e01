"""What is said beforehand is what happens: on random machines, policies, aggregates, actors and walks, without one exception."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pytest
from sqlalchemy import StaticPool, create_engine, text
from sqlalchemy.engine import Engine

from tests.chaos.tally import LONG
from tests.properties.machines import ACTORS, BITS, Made, TooMuch, make
from usecasecore import Actor, Rejected, Runtime
from usecasecore.errors import AggregateNotFound
from usecasecore.runtime.explanation import Actions, Possibility

STEPS = 500
"""Of each of the 20 machines: 10,000 in all on SQLite, and as many on PostgreSQL where `make chaos` asks for the full numbers."""

QUICK = {1: 100, 2: 100}
"""Seed -> steps on PostgreSQL, elsewhere."""


@dataclass
class Walk:
    """One machine's random walk, and what was met on it."""

    made: Made
    engine: Engine
    chance: random.Random
    met: Counter[str] = field(default_factory=Counter)
    keys: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.made.base.metadata.create_all(self.engine)
        self.runtime = Runtime(self.engine, self.made.application, create=self.engine.dialect.name == "sqlite")
        for key in range(12):
            self.runtime.execute(self.made.create(key, self.chance.randrange(BITS)), actor=ACTORS[0])
        self.keys = [*range(12), 99]  # one is missing

    def step(self) -> None:
        key, actor, name = self.chance.choice(self.keys), self.chance.choice(ACTORS), self.chance.choice(list(self.made.commands))
        command = self.made.commands[name](key, self.chance.randrange(BITS), self.chance.choice(self.keys))
        said: dict[str, Any] = {"actor": actor}
        if self.chance.random() < 0.15:
            said["expected_version"] = self.chance.randint(1, 6)
        if self.chance.random() < 0.15:
            said["idempotency_key"] = self.chance.choice("abc")
        if name == "Pair":
            said.pop("expected_version", None)
        self._agree(command, said)

    def _agree(self, command: Any, said: dict[str, Any]) -> None:
        told = self.runtime.explain(command, **said)
        outcome: Any = None
        error: Rejected | None = None
        try:
            outcome = self.runtime.run(command, **said)
        except Rejected as refusal:
            error = refusal
        if error is None:
            assert told.would_run, (command, said, told)
            assert told.replays is outcome.replayed
            assert told.trigger is None or told.destination == outcome.result.state
            self.met["replayed" if outcome.replayed else "executed"] += 1
        elif told.would_run:
            # What `apply` says nobody can foresee.
            assert isinstance(error, TooMuch), (command, said, error)
            self.met["apply"] += 1
        else:
            assert told.refusals[0] == error.refusal
            self.met[error.code] += 1

    def compare_allowed(self) -> None:
        """Ask what is possible with an aggregate, and then for each use case with several commands."""
        key, actor = self.chance.choice(self.keys), self.chance.choice(ACTORS)
        actions = self._allowed(key, actor)
        for name, command in self.made.commands.items():
            others = [one for one in self.keys if one != key]
            for number in self.chance.sample(range(BITS), 4):
                told = self.runtime.explain(command(key, number, self.chance.choice(others)), actor=actor)
                if actions is None:
                    # Not even one use case is sure that the actor may know of it.
                    self.met["hidden"] += 1
                    continue
                action = actions[name]
                self.met[f"allowed {action.answer}"] += 1
                if action.answer is Possibility.YES:
                    assert told.would_run or told.refusals[0].code == TooMuch.code, (name, told)
                elif action.answer is Possibility.NO:
                    assert not told.would_run, (name, action, told)
                    if told.refusals[0].code != TooMuch.code and len(action.refusals) == 1:
                        codes = {action.refusals[0].code, "aggregate_not_found", "forbidden"}
                        assert told.refusals[0].code in codes, (name, action, told)
                if set(action.schema["properties"]) == {"key"}:  # type: ignore[index]
                    assert action.answer is not Possibility.DEPENDS
                    assert action.refusals == told.refusals, name

    def _allowed(self, key: int, actor: Actor) -> Actions | None:
        many = self.runtime.allowed_many(self.made.thing, [key], actor=actor)
        try:
            one = self.runtime.allowed(self.made.thing, key, actor=actor)
        except AggregateNotFound:
            assert many == ()
            return None
        assert many == (one,)
        return one

    def contents(self) -> dict[str, list[Any]]:
        names = ("things", *(f"usecasecore_{name}" for name in ("idempotency", "audit", "attempt", "outbox")))
        with self.engine.connect() as connection:
            return {name: list(connection.execute(text(f"select * from {name}"))) for name in names}


def walk(made: Made, engine: Engine, seed: int, steps: int) -> Counter[str]:
    one = Walk(made, engine, random.Random(seed))
    for number in range(steps):
        one.step()
        if number % 50 == 0:
            before = one.contents()
            one.compare_allowed()
            assert one.contents() == before
    return one.met


@pytest.mark.parametrize("seed", range(20))
def test_explain_tells_what_execute_does_and_allowed_tells_what_explain_does(seed: int) -> None:
    engine = create_engine("sqlite://", poolclass=StaticPool)
    met = walk(make(seed), engine, seed, STEPS)
    engine.dispose()
    assert {"executed", "aggregate_not_found", "stale_version"} <= set(met), met
    assert {"guard_rejected", "transition_not_allowed"} & set(met), met
    assert all(met[f"allowed {answer}"] for answer in Possibility), met


@pytest.mark.parametrize(("seed", "steps"), (dict.fromkeys(range(20), STEPS) if LONG else QUICK).items())
def test_on_postgresql_it_is_the_same(postgres_url: str, seed: int, steps: int) -> None:
    engine = create_engine(postgres_url)
    met = walk(make(seed), engine, seed, steps)
    engine.dispose()
    assert {"executed", "aggregate_not_found"} <= set(met), met
