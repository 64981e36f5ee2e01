"""Applications at random: a machine, guards that are tables of truth, a policy, and use cases of each shape, all from one seed."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from types import new_class
from typing import Annotated, Any

from sqlalchemy import Select, select
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from usecasecore import (
    Actor,
    Application,
    Command,
    Decision,
    DomainError,
    ExecutionContext,
    Key,
    Lifecycle,
    Load,
    Policy,
    PolicyRequest,
    Result,
    Transition,
    UseCase,
    guard,
    state_column,
    version_column,
)

BITS = 16
"""How many different commands and rows there are, as far as guards and policies care."""


class Moved(Result):
    key: int
    state: str


class TooMuch(DomainError):
    """Only the command itself knows it."""


@dataclass(frozen=True)
class Made:
    """An application of one seed.

    Attributes:
        thing: The mapped class.
        commands: Makes a command of each use case that loads a thing: from its key, a number below `BITS` and a further key.
    """

    application: Application
    base: type[DeclarativeBase]
    thing: Any
    create: Callable[[int, int], Command[Moved]]
    commands: dict[str, Callable[[int, int, int], Command[Moved]]]


def table(chance: random.Random, size: int, likely: float) -> tuple[bool, ...]:
    return tuple(chance.random() < likely for _ in range(size))


def make(seed: int) -> Made:
    chance = random.Random(seed)
    base, thing, triggers = _thing(chance)
    keyed = Annotated[int, Key(thing.id)]
    made: list[Any] = []
    commands: dict[str, Any] = {}

    def add(name: str, fields: dict[str, Any], loads: Any, body: dict[str, Any], build: Any) -> None:
        command = _command(name, fields)
        made.append(_use_case(name, command, loads, {"apply": _apply, "refuses": (TooMuch,), **body}))
        commands[name] = lambda key, number, other: build(command, key, number, other)

    def whole(command: Any, key: int, number: int, _other: int) -> Any:
        return command(key=key, number=number)

    def bare(command: Any, key: int, _number: int, _other: int) -> Any:
        return command(key=key)

    for trigger in triggers:
        add(f"Do{trigger}", {"key": keyed, "number": int}, thing, {"trigger": trigger}, whole)
        add(f"Just{trigger}", {"key": keyed}, thing, {"trigger": trigger}, bare)
    chooses = table(chance, BITS * BITS, 0.5)
    for name, looks in (("Choose", True), ("ChooseByRow", False)):
        body = {"triggers": tuple(triggers[:2]), "choose_trigger": _chooser(triggers[:2], chooses, looks)}
        add(name, {"key": keyed, "number": int}, thing, body, whole)
    add("Touch", {"key": keyed, "number": int}, thing, {}, whole)
    invalid = table(chance, BITS, 0.2)
    add("Checked", {"key": keyed, "number": int}, thing, {"trigger": triggers[0], "validate": _validator(invalid)}, whole)
    add("Find", {"key": int, "number": int}, thing, {"trigger": triggers[-1], "select": _finder(thing)}, whole)
    pair = _pair(thing, chance)
    add("Pair", {"key": int, "other": int, "number": int}, pair, {"also_fires": {thing: triggers}}, _both)
    create = _command("Create", {"key": int, "flags": int})
    made.append(_use_case("Create", create, None, {"creates": thing, "apply": _creator(thing)}))
    policy = _policy(chance, [one.__name__ for one in made])
    app = Application(made, policy=policy, name=f"seed {seed}")
    return Made(app, base, thing, lambda key, flags: create(key=key, flags=flags), commands)


def _both(command: Any, key: int, number: int, other: int) -> Any:
    return command(key=key, other=other, number=number)


def _thing(chance: random.Random) -> tuple[Any, Any, list[str]]:
    states = [f"s{number}" for number in range(chance.randint(3, 5))]
    triggers = [f"t{number}" for number in range(chance.randint(3, 4))]
    guards = {f"g{number}": _guard(f"g{number}", chance) for number in range(6)}
    transitions = []
    for trigger in triggers:
        for _ in range(chance.randint(2, 4)):
            source = "*" if trigger == "t2" and chance.random() < 0.3 else chance.choice(states)
            dest = chance.choice([*states, "=", None])
            asked = chance.sample(sorted(guards), chance.choice([0, 1, 1, 2, 3]))
            split = chance.randint(0, len(asked))
            prepare = "keep_number" if "g5" in asked else None
            transitions.append(Transition(trigger, source, dest, conditions=asked[:split], unless=asked[split:], prepare=prepare))

    base: Any = type("Base", (DeclarativeBase,), {})
    lifecycle = Lifecycle(states=states, initial=states[0], transitions=transitions)
    body = {
        "__tablename__": "things",
        "__annotations__": {
            "id": Mapped[int],
            "flags": Mapped[int],
            "touched": Mapped[int],
            "state": Mapped[str],
            "version": Mapped[int],
        },
        "id": mapped_column(primary_key=True, autoincrement=False),
        "flags": mapped_column(),
        "touched": mapped_column(default=0),
        "state": state_column(states),
        "version": version_column(),
        "lifecycle": lifecycle,
        "keep_number": _keep_number,
        **guards,
    }
    return base, type("Thing", (base,), body), triggers


def _keep_number(self: Any, event: Any) -> None:
    command = event.kwargs["command"]
    self.kept = getattr(command, "number", 0)


def _guard(name: str, chance: random.Random) -> Any:
    """g0 and g1 look at the row, g2 at the actor too, g3 at the command, g4 at it for some rows only, g5 at what was prepared."""
    rows, both, likely = table(chance, BITS, 0.7), table(chance, BITS * BITS, 0.6), table(chance, BITS, 0.5)

    def by_row(self: Any) -> bool:
        return bool(rows[self.flags])

    def by_actor(self: Any, event: Any) -> bool:
        return bool(rows[self.flags] or event.kwargs["context"].actor.id == "ada")

    def by_command(self: Any, event: Any) -> bool:
        return bool(both[self.flags * BITS + getattr(event.kwargs["command"], "number", 0)])

    def at_times(self: Any, event: Any) -> bool:
        return by_command(self, event) if likely[self.flags] else by_row(self)

    def by_prepared(self: Any) -> bool:
        return bool(both[self.flags * BITS + self.kept])

    function = {"g2": by_actor, "g3": by_command, "g4": at_times, "g5": by_prepared}.get(name, by_row)
    return guard(f"the reason of {name}")(function)


def _chooser(triggers: list[str], chooses: tuple[bool, ...], looks: bool) -> Any:
    def choose_trigger(self: Any, command: Any, state: Any, context: ExecutionContext, /) -> str:
        number = command.number if looks else 0
        return triggers[int(chooses[state.flags * BITS + number])]

    return choose_trigger


def _validator(invalid: tuple[bool, ...]) -> Any:
    def validate(self: Any, command: Any, /) -> None:
        if invalid[command.number]:
            raise TooMuch(f"{command.number} is not valid")

    return validate


def _finder(thing: Any) -> Any:
    def find(self: Any, command: Any, /) -> Select[Any]:
        return select(thing).where(thing.id == command.key)

    return find


def _pair(thing: Any, chance: random.Random) -> Any:
    further = chance.choice([Load, Load.or_none])
    hints = {"one": Annotated[thing, Load(id="key")], "other": Annotated[thing | None, further(id="other")]}
    return dataclass(frozen=True)(type("Pair", (), {"__annotations__": hints, "__module__": __name__}))


def _apply(self: Any, command: Any, state: Any, context: ExecutionContext, /) -> Moved:
    thing = getattr(state, "one", state)
    thing.touched += 1
    if thing.touched % 11 == 0:
        raise TooMuch("apply says no")
    return Moved(key=thing.id, state=thing.state)


def _command(name: str, fields: dict[str, Any]) -> Any:
    return new_class(
        f"{name}Command", (Command[Moved],), {}, lambda body: body.update(__annotations__=fields, __module__=__name__)
    )


def _use_case(name: str, command: Any, loads: Any, declared: dict[str, Any]) -> Any:
    generic: Any = UseCase
    return new_class(name, (generic[command, loads, Moved],), {}, lambda body: body.update(declared, __module__=__name__))


def _creator(thing: Any) -> Any:
    def apply(self: Any, command: Any, state: None, context: ExecutionContext, /) -> Moved:
        context.create(thing(id=command.key, flags=command.flags))
        return Moved(key=command.key, state="")

    return apply


def _policy(chance: random.Random, names: list[str]) -> Policy:
    seen, may = table(chance, BITS, 0.85), table(chance, BITS, 0.8)
    special = {name: chance.choice(["rows", "all", "command", "hidden", "all"]) for name in names}

    class Random(Policy):
        def readable(self, request: PolicyRequest, /) -> bool:
            if request.actor.id == "root":
                return True
            if special[request.use_case] == "hidden" and request.actor.id == "ada":
                command: Any = request.command
                return bool(getattr(command, "number", 0) % 2)
            return bool(seen[(request.aggregate.flags + len(request.actor.id)) % BITS])

        def permitted(self, request: PolicyRequest, /) -> Decision | bool:
            if request.actor.id == "root" or request.use_case == "Create":
                return True
            kind = special[request.use_case]
            command: Any = request.command if kind == "command" else None
            if kind == "command" and getattr(command, "number", 0) % 3 == 0:
                return Decision.deny("not that number")
            if kind == "rows":
                subject = getattr(request.aggregate, "one", request.aggregate)
                return bool(may[subject.flags])
            return request.actor.id != "eve" or Decision.deny("not Eve")

    return Random()


ACTORS = tuple(Actor("user", name) for name in ("root", "root", "ada", "bob", "eve"))
