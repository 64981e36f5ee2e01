"""Lifecycle: declared on a class, bound when the class is mapped, fired by the runtime."""

from __future__ import annotations

import copy
import importlib
from collections import ChainMap
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Self, Unpack

from sqlalchemy.orm import Mapper

from usecasecore import steps
from usecasecore.errors import DefinitionError, GuardRejected, TransitionNotAllowed, UndeclaredState
from usecasecore.lifecycle.binding import Binding, bind
from usecasecore.lifecycle.declaration import Declaration, StateRef, States, Transitions
from usecasecore.lifecycle.grants import write
from usecasecore.lifecycle.graph import Edge, LifecycleGraph
from usecasecore.lifecycle.location import Location
from usecasecore.lifecycle.machine import Attempt, Path, SharedMachine
from usecasecore.lifecycle.machine_options import MachineOptions, refuse_options
from usecasecore.lifecycle.mapping import Bindable, bindables_of, watch_mappers
from usecasecore.lifecycle.observer import Observations
from usecasecore.lifecycle.states import DEFAULT_SEPARATOR
from usecasecore.lifecycle.wording import nearest

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement

__all__ = ["Fired", "Lifecycle", "lifecycles_of"]


@dataclass(frozen=True, slots=True)
class Fired:
    """A transition that was made.

    Attributes:
        lifecycle: Name of the lifecycle.
        trigger: What was fired.
        source: Name of the state before.
        dest: Name of the state after; the same as `source` for an internal transition.
        edge: The declaration that it came from.
    """

    lifecycle: str
    trigger: str
    source: str
    dest: str
    edge: Edge


class Lifecycle(Bindable):
    """The states of an aggregate and the ways between them, as a class attribute of a mapped class.

    The class attribute is replaced by a copy that is bound to the class when the class is mapped, and likewise on each
    mapped class that inherits it or mixes it in. An unbound one knows its declaration only.

    Example:
        >>> from enum import StrEnum
        >>> from usecasecore.lifecycle import Transition
        >>> class OrderState(StrEnum):
        ...     DRAFT, SUBMITTED = "draft", "submitted"
        >>> lifecycle = Lifecycle(
        ...     states=OrderState,
        ...     initial=OrderState.DRAFT,
        ...     transitions=[Transition("submit", OrderState.DRAFT, OrderState.SUBMITTED, conditions="has_value")],
        ... )
    """

    def __init__(
        self,
        *,
        states: States,
        transitions: Transitions,
        initial: StateRef,
        column: str | None = None,
        name: str | None = None,
        separator: str = DEFAULT_SEPARATOR,
        description: str = "",
        enforce: Literal["enforce", "observe"] = "enforce",
        final: StateRef | Sequence[StateRef] = (),
        ignore: Mapping[str, str] | None = None,
        **options: Unpack[MachineOptions],
    ) -> None:
        """Declare; nothing is checked before the class is mapped.

        Args:
            states: An enum, or what pytransitions takes: strings, members, dicts, `State` objects; nested by `children`.
            transitions: `Transition(...)`, or pytransitions' list and dict forms.
            initial: The state in which an aggregate starts, by member, name or value.
            column: Attribute of the state column; by default `state`, else the only state column of the class.
            name: What errors, audit entries and diagrams call it; by default made from the class and the attribute.
            separator: Joins the parts of a nested state's name.
            description: For people.
            enforce: What happens to a change of the state or the version past the runtime: `enforce` refuses it, `observe`
                lets it through, logs it and counts it; see `observed`. What the runtime does is checked either way.
            final: The states in which it ends, besides those that `states` declares final itself.
            ignore: Code of a static check -> why its findings don't matter here; see `usecasecore lifecycle check`.
            options: Those of pytransitions' Machine that ask for what a lifecycle does anyway, such as `auto_transitions=False`.

        Raises:
            DefinitionError: If an option asks for anything else; it says what to write instead.
        """
        refuse_options(options, Location.of_caller())
        self._declaration = Declaration(
            states=states,
            transitions=transitions,
            initial=initial,
            column=column,
            name=name,
            separator=separator,
            description=description,
            enforce=enforce,
            location=Location.of_caller(),
            final=final,
            ignore=dict(ignore or {}),
        )
        self.binding: Binding | None = None
        self._use_cases: ChainMap[str, frozenset[str]] = ChainMap()
        self._deletions: ChainMap[str, None] = ChainMap()
        watch_mappers()

    def __repr__(self) -> str:
        return f"<Lifecycle {self.binding.name!r}>" if self.binding else f"<Lifecycle at {self.location}, not mapped>"

    def __format__(self, format_spec: str) -> str:
        """Return the lifecycle as a diagram in a text format: `format(Order.lifecycle, "mermaid")`.

        Without an application around it no use cases are shown; `usecasecore.diagrams` has the rest.

        Raises:
            ValueError: If there is no such text format.
            DefinitionError: If it isn't mapped.
            GraphvizMissing: If the format is svg, and no Graphviz is installed.
        """
        return _diagrams().as_text(self, format_spec) if format_spec else str(self)

    def _repr_svg_(self) -> str | None:
        # What notebooks ask for. Without a picture, or before it is mapped, they show `repr`.
        return _diagrams().as_notebook_svg(self) if self.binding else None

    @property
    def declaration(self) -> Declaration:
        """The arguments as they were given."""
        return self._declaration

    @property
    def location(self) -> Location:
        """Where it is declared."""
        return self._declaration.location

    @property
    def name(self) -> str:
        """The name: `order`, or `order.payment` if the attribute isn't called `lifecycle`."""
        return self._bound.name

    @property
    def aggregate(self) -> type:
        """The mapped class."""
        return self._bound.aggregate

    @property
    def aggregate_name(self) -> str:
        """The mapped class's name in snake case."""
        return self._bound.aggregate_name

    @property
    def attribute(self) -> str:
        """The class attribute that it is."""
        return self._bound.attribute

    @property
    def column(self) -> str:
        """Attribute key of the state column."""
        return self._bound.column

    @property
    def version(self) -> str:
        """Attribute key of the version column."""
        return self._bound.version

    @property
    def graph(self) -> LifecycleGraph:
        """The read-only view of its states and transitions."""
        return self._bound.graph

    @property
    def machine(self) -> SharedMachine:
        """The pytransitions machine that all instances share."""
        return self._bound.machine

    @property
    def initial(self) -> str:
        """Name of the state in which an aggregate starts."""
        return self._bound.initial

    @property
    def states(self) -> tuple[str, ...]:
        """Names of the states in which an aggregate can be found."""
        return self.graph.resting

    @property
    def triggers(self) -> tuple[str, ...]:
        """Names of the triggers, in the order declared."""
        return self.graph.triggers

    @property
    def observed(self) -> Observations:
        """What was done past the runtime in this process: (call site, what) -> how often. Empty where it is refused instead."""
        observer = self._bound.observer
        return observer.snapshot() if observer is not None else {}

    @property
    def callbacks(self) -> frozenset[str]:
        """Names of all guards and callbacks that are called, as declared."""
        return self._bound.callbacks

    def problems(self) -> tuple[str, ...]:
        """Return what is wrong with the class's columns: what mapping leaves to the application to report, one sentence each."""
        found = list(self._bound.problems)
        sharing = [each.attribute for each in lifecycles_of(self.aggregate) if each is not self and each.column == self.column]
        if sharing:
            names = ", ".join(map(repr, sharing))
            found.append(
                f"{self.location}: lifecycle {self.name!r}: its column {self.column!r} is also that of {names}; give each its own"
            )
        return tuple(found)

    def state_of(self, aggregate: object) -> str:
        """Return the name of the state that an aggregate is in; a new one without a state is in the initial one.

        Raises:
            UndeclaredState: If the attribute holds none of the states.
        """
        bound = self._bound
        held = getattr(aggregate, bound.column)
        name = bound.readings.get(held)
        if name is not None:
            return name
        if held is None:
            return bound.initial
        raise UndeclaredState(lifecycle=bound.name, value=str(held), declared=bound.graph.resting)

    def within(self, state: StateRef, *, of: Any = None) -> ColumnElement[bool]:
        """Return the SQL condition that an aggregate is in a state or in one inside of it: `select(Order).where(...)`.

        It compares the column with the values of the resting states, so an index on the column serves it. A state that isn't
        nested is within itself.

        Args:
            state: By member, name or value; the full name of a nested one.
            of: An alias of the class; by default the class.

        Raises:
            ValueError: If there is no such state.
        """
        values = [self.graph.state(name).value for name in self._inside(state)]
        condition: ColumnElement[bool] = getattr(of if of is not None else self.aggregate, self.column).in_(values)
        return condition

    def is_within(self, aggregate: object, state: StateRef) -> bool:
        """Return whether an aggregate is in a state or in one inside of it.

        Raises:
            ValueError: If there is no such state.
            UndeclaredState: If the attribute holds none of the states.
        """
        return self.state_of(aggregate) in self._inside(state)

    def _inside(self, state: StateRef) -> list[str]:
        """Return the names of the resting states that are a state or inside of it."""
        name = self._bound.spellings.get(state) if isinstance(state, Hashable) else None
        if name is None:
            known = [node.name for node in self.graph.states]
            raise ValueError(f"{self.name}: {state!r} is not a state{nearest(getattr(state, 'value', state), known)}")
        found, waiting = [], [self.graph.state(name)]
        while waiting:
            node = waiting.pop()
            waiting += (self.graph.state(child) for child in reversed(node.children))
            if node.resting:
                found.append(node.name)
        return found

    def allowed(self, state: str) -> frozenset[str]:
        """Return the triggers that are declared for a state, whatever their guards would say.

        Raises:
            ValueError: If an aggregate can't be in such a state.
        """
        try:
            return self._bound.allowed[state]
        except KeyError:
            raise ValueError(f"{self.name}: {state!r} is not a state{nearest(state, self.states)}") from None

    def fire(self, aggregate: object, trigger: str, *, command: object = None, context: object = None) -> Fired:
        """Make a transition: ask the guards, call the callbacks, set the state. Nothing is flushed.

        If a callback raises, its error passes through, and the aggregate may already be in the new state: discard it.

        Args:
            aggregate: An instance of the bound class, or anything with its attributes.
            trigger: What to fire.
            command: Callbacks find it as `event.kwargs["command"]`.
            context: Callbacks find it as `event.kwargs["context"]`.

        Raises:
            TransitionNotAllowed: If the trigger is not declared for the aggregate's state.
            GuardRejected: If guards refused every candidate.
            UndeclaredState: If the aggregate is in none of the states.
            DefinitionError: If there is no such trigger.
        """
        bound = self._bound
        state = self.state_of(aggregate)
        if trigger not in bound.allowed[state]:
            self._require_trigger(trigger)
            if steps.Firing in steps.wanted:
                self._tell(context, aggregate, trigger, state, None)
            raise TransitionNotAllowed(lifecycle=bound.name, trigger=trigger, state=state, allowed=bound.allowed[state])
        try:
            attempt = bound.machine.attempt(state, trigger, aggregate, command, context)
        except BaseException:
            if steps.Firing in steps.wanted:
                self._tell(context, aggregate, trigger, state, Attempt())
            raise
        if steps.Firing in steps.wanted:
            self._tell(context, aggregate, trigger, state, attempt)
        taken = attempt.taken
        if taken is None:
            raise GuardRejected(
                lifecycle=bound.name,
                trigger=trigger,
                state=state,
                failures=attempt.failures,
                allowed=bound.allowed[state],
            )
        return self._fired(taken, trigger, state)

    def _fired(self, taken: Path, trigger: str, state: str) -> Fired:
        known: Fired | None = taken.fired
        if known is None or known.source != state or known.trigger != trigger:
            known = taken.fired = Fired(self._bound.name, trigger, state, taken.dest or state, taken.edge)
        return known

    def enter_initial(self, aggregate: object) -> None:
        """Put a new aggregate into the initial state; no callbacks are called.

        Raises:
            ValueError: If it was given another state.
        """
        bound = self._bound
        held = getattr(aggregate, bound.column, None)
        if held is not None and bound.readings.get(held) != bound.initial:
            raise ValueError(
                f"{bound.name}: a new aggregate starts in {bound.initial!r}, not in {getattr(held, 'value', held)!r}"
            )
        write(aggregate, bound.column, bound.held[bound.initial])

    def note_use_case(self, name: str, triggers: Iterable[str]) -> None:
        """Remember that a use case fires these triggers, so that a refused write can say which use case would do it.

        Raises:
            DefinitionError: If there is no such trigger.
        """
        wanted = frozenset(triggers)
        for trigger in wanted:
            self._require_trigger(trigger)
        self._use_cases[name] = wanted

    def use_cases_between(self, source: str | None, dest: str | None) -> tuple[str, ...]:
        """Return the use cases, as `Name (trigger)`, that lead from one state to another; None stands for any state."""
        ways = [way for way in self._bound.reach if source in (None, way[0]) and dest in (None, way[1])]
        leading = {trigger for way in ways for trigger in self._bound.reach[way]}
        return tuple(
            f"{name} ({', '.join(sorted(fit))})" for name, triggers in self._use_cases.items() if (fit := triggers & leading)
        )

    def note_deletion(self, name: str) -> None:
        """Remember that a use case deletes the aggregate, so that a refused deletion can say so."""
        self._deletions[name] = None

    @property
    def deleted_by(self) -> tuple[str, ...]:
        """The use cases that delete the aggregate."""
        return tuple(self._deletions)

    def bound_to(self, mapper: Mapper[Any], attribute: str, found_on: type) -> Self:
        """Return a copy that is bound to a mapped class; called when that class is mapped.

        Raises:
            DefinitionError: With everything that is wrong with the declaration, for this class.
        """
        bound = copy.copy(self)
        # A use case of the base class also handles instances of its subclasses.
        bound._use_cases = self._use_cases.new_child()
        bound._deletions = self._deletions.new_child()
        bound.binding = bind(self._declaration, mapper, attribute, self.binding.home if self.binding else found_on)
        return bound

    @property
    def _bound(self) -> Binding:
        if self.binding is None:
            raise DefinitionError(
                f"{self.location}: this lifecycle is not mapped yet; it must be in the body of a class that is mapped"
            )
        return self.binding

    def _tell(self, context: Any, aggregate: object, trigger: str, state: str, attempt: Attempt | None) -> None:
        asked, taken = ((), None) if attempt is None else (attempt.asked, attempt.taken)
        dest, edge = (None, None) if taken is None else (taken.dest or state, taken.edge)
        firing = _made(steps.Firing, (self, aggregate, trigger, state, dest, edge, attempt is not None, asked))
        session = getattr(context, "session", None)
        step = getattr(session, "step", steps.Step.FIRE)
        use_case, command_id = getattr(context, "use_case", ""), getattr(context, "command_id", None)
        steps.tell(_made(steps.Moment, (step, steps.When.DURING, use_case, command_id, session, firing)))

    def _require_trigger(self, trigger: str) -> None:
        if trigger not in self.triggers:
            raise DefinitionError(
                f"{self.location}: lifecycle {self.name!r}: there is no trigger {trigger!r}{nearest(trigger, self.triggers)}"
            )


_made = tuple.__new__  # a firing is told in each command while transitions are covered


def _diagrams() -> Any:
    # Pictures are made layers above, from the application on. Who asks a lifecycle to show itself loads them then.
    return importlib.import_module("usecasecore.diagrams.inline")


def lifecycles_of(cls: type) -> tuple[Lifecycle, ...]:
    """Return the lifecycles that are bound to a mapped class, in the order declared; those of its bases come first."""
    found = (lifecycle for _, lifecycle, home in bindables_of(cls) if home is cls)
    return tuple(each for each in found if isinstance(each, Lifecycle) and each.binding is not None)
