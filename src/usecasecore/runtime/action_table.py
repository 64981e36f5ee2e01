"""The table that is compiled from the machines: for each use case, mapped class and state, what needs no question any more."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from operator import attrgetter
from typing import Any

from pydantic import ValidationError
from pydantic.errors import PydanticInvalidForJsonSchema

from usecasecore.errors import AggregateNotFound, DefinitionError, Refusal, TransitionNotAllowed
from usecasecore.lifecycle import Lifecycle
from usecasecore.lifecycle.guards import Guard
from usecasecore.messages import Command
from usecasecore.policy import AllowAll, Policy
from usecasecore.runtime.explanation import Action, Possibility
from usecasecore.runtime.plan import AggregatePlan, Plan
from usecasecore.slots import aggregate_name
from usecasecore.usecase import UseCase

__all__ = ["About", "ActionTable", "Cell", "Row"]


class ActionTable:
    """What can be done, by mapped class; filled as it is asked for.

    Attributes:
        policy: Who is asked.
        asks_readable: Whether the policy may say no to that; its default never does.
        asks_permitted: Likewise: `AllowAll` never does.
    """

    def __init__(self, plans: tuple[Plan, ...], policy: Policy) -> None:
        self.policy = policy
        self.asks_readable = type(policy).readable is not Policy.readable
        self.asks_permitted = type(policy).permitted is not AllowAll.permitted
        self._plans = plans
        self._known: dict[type, Known] = {}

    def require(self, mapped: type) -> None:
        """Make sure that something can be said about a class.

        Raises:
            DefinitionError: If no use case loads it: there is nothing to ask, and nobody to ask whether it may be seen.
        """
        loaded = dict.fromkeys(one for plan in self._plans for one in plan.registration.loads)
        if not any(issubclass(mapped, one) or issubclass(one, mapped) for one in loaded):
            names = ", ".join(sorted(one.__name__ for one in loaded)) or "nothing"
            raise DefinitionError(f"no use case of the application loads {mapped.__name__}; what is loaded: {names}")

    def known_of(self, mapped: type) -> Known:
        """Return what is known of the instances of a class."""
        found = self._known.get(mapped)
        if found is None:
            rows = [row for plan in self._plans if (row := _row(plan, mapped)) is not None]
            plan = AggregatePlan.of(mapped)
            states = tuple(_reader(lifecycle) for lifecycle in plan.lifecycles)
            found = self._known[mapped] = Known(plan, tuple(rows), states, attrgetter(plan.version))
        return found


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """What is known of the instances of a mapped class.

    Attributes:
        plan: The class.
        rows: One for each use case that loads them.
        states: Each reads the state of one lifecycle; raises UndeclaredState.
        version: Reads the version.
    """

    plan: AggregatePlan
    rows: tuple[Row, ...]
    states: tuple[Callable[[Any], str], ...]
    version: Callable[[Any], int]


def _reader(lifecycle: Lifecycle) -> Callable[[Any], str]:
    binding, held = lifecycle.binding, attrgetter(lifecycle.column)
    assert binding is not None
    readings = binding.readings

    def read(aggregate: Any) -> str:
        name = readings.get(held(aggregate))
        return lifecycle.state_of(aggregate) if name is None else name

    return read


@dataclass(slots=True)
class About:
    """What a guard that doesn't take the event needs of it."""

    model: object = None


@dataclass(frozen=True, slots=True)
class Cell:
    """A use case on an aggregate in a state.

    Attributes:
        refusals: Where none of its triggers is declared for the state, what `execute` would raise for each, without the version.
        free: The yes that nobody but the policy can refuse; None where there is something to ask.
        guarded: The candidates, where their guards need nothing but the aggregate: the guards of each, and the yes that says where
            it leads. Empty otherwise.
    """

    refusals: tuple[Refusal, ...]
    free: Action | None
    guarded: tuple[tuple[tuple[Guard, ...], Action], ...]

    def yes(self, about: About) -> Action | None:
        """Return the yes of the first candidate whose guards all say so; None where none does, or that wants a closer look.

        Raises:
            Exception: Whatever a guard raises.
        """
        for guards, action in self.guarded:
            for guard in guards:
                if not guard(about):
                    break
            else:
                return action
        return None


@dataclass
class Row:
    """A use case on aggregates of a mapped class.

    Attributes:
        lifecycle: The lifecycle of that class whose trigger is fired; None where none is fired, or not on this aggregate.
        name: The name of that lifecycle, by which the state is found.
        sole: Whether the aggregate is all that the use case loads.
        slots: The slots of the use case that such an aggregate may stand in.
    """

    plan: Plan
    mapped: type
    lifecycle: Lifecycle | None
    sole: bool
    slots: tuple[Any, ...]
    cells: dict[str | None, Cell] = field(default_factory=dict)

    @cached_property
    def name(self) -> str | None:
        """The lifecycle's name."""
        return None if self.lifecycle is None else self.lifecycle.name

    @property
    def triggers(self) -> tuple[str, ...]:
        """What may be fired on this aggregate."""
        return () if self.lifecycle is None else self.plan.triggers

    @cached_property
    def is_complete(self) -> bool:
        """Whether the aggregate's key is all that the command says."""
        keys = set(self.plan.registration.keys.values())
        return self.sole and bool(keys) and keys == set(self.plan.command.model_fields)

    @cached_property
    def checks_command(self) -> bool:
        """Whether the use case has a `validate` of its own."""
        return type(self.plan.use_case).validate is not UseCase.validate

    @cached_property
    def schema(self) -> dict[str, Any] | None:
        """The command's JSON schema; None where a field has none."""
        try:
            return self.plan.command.model_json_schema()
        except PydanticInvalidForJsonSchema:
            return None

    def command(self, aggregate: object) -> Command[Any] | None:
        """Return the command, if the key is all that it says and such a key is valid."""
        if not self.is_complete:
            return None
        keys = self.plan.registration.keys
        try:
            return self.plan.command(**{name: getattr(aggregate, column) for column, name in keys.items()})
        except ValidationError:
            return None

    def cell(self, state: str | None) -> Cell:
        """Return what is known in a state; None where it has no lifecycle."""
        found = self.cells.get(state)
        if found is None:
            found = self.cells[state] = self._compiled(state)
        return found

    def action(self, possibility: Possibility, **known: Any) -> Action:
        """Return an answer about this use case."""
        plan = self.plan
        return Action(
            use_case=plan.name,
            answer=possibility,
            triggers=plan.triggers,
            reason_required=plan.reason_required,
            command=plan.command.__name__,
            schema=self.schema,
            **known,
        )

    def not_found(self, aggregate: object) -> AggregateNotFound:
        """Return the refusal that a missing row would be."""
        if self.plan.registration.finds:
            return AggregateNotFound(aggregate=self.plan.loader.aggregate_name, key="that `select` asks for")
        slot = self.slots[0] if self.slots else None
        columns = self.plan.registration.keys if slot is None else slot.keys
        name = self.plan.loader.aggregate_name if slot is None else aggregate_name(slot.aggregate)
        return AggregateNotFound(aggregate=name, key=", ".join(str(getattr(aggregate, column)) for column in columns))

    def _compiled(self, state: str | None) -> Cell:
        unasked = self.sole and not (self.is_complete and self.checks_command)
        lifecycle = self.lifecycle
        if lifecycle is None or state is None:
            return Cell((), self.action(Possibility.YES) if unasked and not self.plan.triggers else None, ())
        paths = {trigger: lifecycle.machine.candidates(state, trigger) for trigger in self.plan.triggers}
        if not any(paths.values()):
            allowed = lifecycle.allowed(state)
            wrong = [
                TransitionNotAllowed(lifecycle=lifecycle.name, trigger=trigger, state=state, allowed=allowed).refusal
                for trigger in self.plan.triggers
            ]
            return Cell(tuple(wrong), None, ())
        if not unasked or self.plan.trigger is None:
            return Cell((), None, ())
        candidates = paths[self.plan.trigger]
        if any(path.prepare or any(guard.takes_event for guard in path.guards) for path in candidates):
            return Cell((), None, ())
        yes = [self.action(Possibility.YES, destinations=(path.dest or state,)) for path in candidates]
        guarded = tuple((path.guards, action) for path, action in zip(candidates, yes, strict=True))
        return Cell((), None if candidates[0].guards else yes[0], guarded)


def _row(plan: Plan, mapped: type) -> Row | None:
    registration = plan.registration
    if registration.aggregate is not None and issubclass(mapped, registration.aggregate):
        return Row(plan, mapped, _own(plan.lifecycle, mapped), True, ())
    slots = tuple(slot for slot in registration.slots if issubclass(mapped, slot.aggregate))
    if not slots:
        return None
    # One that may stand in several places is known to be fired on in none.
    fired = len(slots) == 1 and slots[0].name == registration.subject
    return Row(plan, mapped, _own(plan.lifecycle, mapped) if fired else None, False, slots)


def _own(lifecycle: Lifecycle | None, mapped: type) -> Lifecycle | None:
    return None if lifecycle is None else getattr(mapped, lifecycle.attribute)
