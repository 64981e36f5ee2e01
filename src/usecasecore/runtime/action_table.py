"""The table that is compiled from the machines: for each use case, mapped class and state, what needs no question any more."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
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

__all__ = ["About", "ActionTable", "Cell", "Outline", "Row", "dated"]

_MOST_OUTLINES = 1_000
"""Of a class; some kilobytes each. Beyond that they are made anew."""


class ActionTable:
    """What can be done, by mapped class; filled as it is asked for.

    Attributes:
        policy: Who is asked.
        asks_readable: Whether the policy may say no to that; its default never does.
        asks_permitted: Likewise: `AllowAll` never does.
        asks_policy: Whether it may say no to either.
    """

    def __init__(self, plans: tuple[Plan, ...], policy: Policy) -> None:
        self.policy = policy
        self.asks_readable = type(policy).readable is not Policy.readable
        self.asks_permitted = type(policy).permitted is not AllowAll.permitted
        self.asks_policy = self.asks_readable or self.asks_permitted
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
            found = self._known[mapped] = Known(plan, tuple(rows), tuple(map(_reader, plan.lifecycles)), self.asks_policy)
        return found


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """What is known of the instances of a mapped class.

    Attributes:
        plan: The class.
        rows: One for each use case that loads them.
        states: Each reads the state of one lifecycle, from an aggregate and its `__dict__`; raises UndeclaredState.
        asks_policy: Whether the policy is asked about everything.
    """

    plan: AggregatePlan
    rows: tuple[Row, ...]
    states: tuple[Callable[[Any, dict[str, Any]], str], ...]
    asks_policy: bool
    _outlines: dict[tuple[Any, ...], Outline] = field(default_factory=dict)

    def outline(self, found: tuple[Any, ...]) -> Outline:
        """Return what is the same for all aggregates at a version, in these states; both are given, in one tuple."""
        outline = self._outlines.get(found)
        if outline is None:
            if len(self._outlines) >= _MOST_OUTLINES:
                self._outlines.clear()
            outline = self._outlines[found] = self._outlined(*found)
        return outline

    def _outlined(self, version: int, *found: str) -> Outline:
        states = {lifecycle.name: state for lifecycle, state in zip(self.plan.lifecycles, found, strict=True)}
        actions: list[Any] = []
        to_ask = []
        for place, row in enumerate(self.rows):
            cell = row.cell(states.get(row.name) if row.name else None)
            known = cell.free
            if cell.refusals and not self.asks_policy:
                known = row.action(Possibility.NO, refusals=tuple(dated(refusal, version) for refusal in cell.refusals))
            if known is None or self.asks_policy:
                to_ask.append((place, row, cell))
            actions.append(known)
        return Outline(states, tuple(actions), tuple(to_ask))

    def version(self, aggregate: Any, held: dict[str, Any]) -> int:
        """Return the version of an aggregate, whose `__dict__` is given."""
        # What is loaded stands there; an attribute of a mapped class takes several times as long to say so.
        found: int | None = held.get(self.plan.version)
        return getattr(aggregate, self.plan.version) if found is None else found

    def key(self, aggregate: Any, held: dict[str, Any]) -> str:
        """Return the key of an aggregate as the ledger writes it."""
        keys = self.plan.keys
        found = held.get(keys[0]) if len(keys) == 1 else None
        return self.plan.id_of(aggregate) if found is None else str(found)


def _reader(lifecycle: Lifecycle) -> Callable[[Any, dict[str, Any]], str]:
    binding, column = lifecycle.binding, lifecycle.column
    assert binding is not None
    readings = binding.readings

    def read(aggregate: Any, held: dict[str, Any]) -> str:
        name = readings.get(held.get(column))
        return lifecycle.state_of(aggregate) if name is None else name

    return read


@dataclass(frozen=True, slots=True, eq=False)
class Outline:
    """What is the same for all aggregates of a class, in the same states and at the same version.

    Attributes:
        states: Lifecycle -> state.
        actions: The answers, as far as the table has them; what stands in the place of one that is open means nothing.
        open: What is still to be asked, with its place among them.
    """

    states: Mapping[str, str]
    actions: tuple[Action, ...]
    open: tuple[tuple[int, Row, Cell], ...]


def dated(refusal: Refusal, version: int) -> Refusal:
    """Return a refusal that says which version of the aggregate it was decided on."""
    # Written out: `dataclasses.replace` takes three times as long, and a list of aggregates has many versions.
    return Refusal(refusal.code, refusal.message, refusal.params, refusal.allowed, version)


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
                answer = guard.ask(about)
                if answer is not guard.wanted and not guard.passes(answer):
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
