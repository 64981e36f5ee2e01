"""The pytransitions machine of one lifecycle: the only module that imports pytransitions.

How it works: one flat `Machine` without models is shared by all instances and threads. It keeps nothing about a call:
pytransitions makes an `EventData` for each, and what a call learns is put into an `Attempt` that travels with it.
pytransitions' hierarchical machine keeps its current scope on itself, so it can't be shared; nested states are compiled
to the flat machine instead. For each resting state and trigger the candidates are listed in the order in which
HierarchicalMachine would find them, and for each candidate the states that it leaves and enters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from transitions import EventData, Machine, State
from transitions.core import Condition
from transitions.core import Transition as PeerTransition

from usecasecore.lifecycle.callbacks import Call
from usecasecore.lifecycle.graph import Edge
from usecasecore.lifecycle.guards import Guard

__all__ = ["Attempt", "Calls", "Path", "Place", "SharedMachine"]


class Attempt:
    """What one call of `fire` learns.

    Attributes:
        asked: (edge, guard, whether the edge may be taken as far as it goes) of each guard that was asked, in order.
        taken: The transition that was made.
    """

    __slots__ = ("asked", "taken")

    def __init__(self) -> None:
        self.asked: list[tuple[Edge, Guard, bool]] = []
        self.taken: Path | None = None

    @property
    def failures(self) -> list[tuple[str, str]]:
        """(guard, reason) of each guard that refused."""
        return [(guard.name, guard.reason) for _, guard, passed in self.asked if not passed]


@dataclass(frozen=True, slots=True)
class Place:
    """A state in which an aggregate can be found.

    Attributes:
        name: Its full name.
        held: What the aggregate's attribute holds in it: a member or a string.
    """

    name: str
    held: Any
    final: bool


@dataclass(frozen=True, slots=True)
class Calls:
    """What is called along an edge, ready to be called with the event."""

    guards: tuple[Guard, ...]
    before: tuple[Call, ...]
    after: tuple[Call, ...]
    prepare: tuple[Call, ...]


class _Asked(Condition):
    """A condition that is taken by its truth value and says who refused."""

    def __init__(self, guard: Guard, edge: Edge) -> None:
        super().__init__(guard, guard.wanted)
        self._guard, self._edge = guard, edge
        self._ask, self._passes = guard.ask, guard.passes

    def check(self, event_data: EventData) -> bool:
        passed = self._passes(self._ask(event_data))
        event_data.kwargs["_attempt"].asked.append((self._edge, self._guard, passed))
        return passed


class Path(PeerTransition):
    """A transition from one resting state to another.

    Attributes:
        edge: The declaration that it comes from.
        guards: What is asked before it is taken, in this order.
        leaves: The exit callbacks of all the states that are left, the innermost first.
        enters: The enter callbacks of all the states that are entered, the outermost first.
        fired: What a lifecycle says when it was made, kept for the next time; None before the first.
    """

    def __init__(
        self,
        source: str,
        dest: str | None,
        edge: Edge,
        calls: Calls,
        *,
        leaves: tuple[Call, ...] = (),
        enters: tuple[Call, ...] = (),
    ) -> None:
        super().__init__(
            source,
            dest,  # type: ignore[arg-type]  # the stub forgets that it may be None
            before=list(calls.before),
            after=list(calls.after),
            prepare=list(calls.prepare),
        )
        self.conditions = [_Asked(guard, edge) for guard in calls.guards]
        self.edge, self.leaves, self.enters = edge, leaves, enters
        self.guards = calls.guards
        self.fired: Any = None

    def execute(self, event_data: EventData) -> bool:
        """Do what pytransitions does where a machine has no callbacks of its own, but for its log; leave a note of what was made."""
        for call in self.prepare:
            call(event_data)  # type: ignore[operator]  # resolved already, as below
        for condition in self.conditions:
            if not condition.check(event_data):
                return False
        for call in self.before:
            call(event_data)  # type: ignore[operator]  # resolved already, as below
        if self.dest:
            self._change_state(event_data)
        for call in self.after:
            call(event_data)  # type: ignore[operator]  # resolved already, as below
        event_data.kwargs["_attempt"].taken = self
        return True

    def _change_state(self, event_data: EventData) -> None:
        machine, dest = event_data.machine, self.dest
        for call in self.leaves:
            call(event_data)
        machine.set_state(dest, event_data.model)  # type: ignore[arg-type]  # only called if dest is not None
        event_data.state = machine.states[dest]  # type: ignore[index]  # likewise
        for call in self.enters:
            call(event_data)


class SharedMachine(Machine):
    """A flat machine for all instances of one class; `add_model` is refused, instances stay plain rows."""

    def __init__(
        self,
        name: str,
        places: Mapping[str, Place],
        readings: Mapping[Any, str],
        initial: str,
        attribute: str,
        write: Callable[[object, str, Any], None],
    ) -> None:
        states = [State(place.name, final=place.final) for place in places.values()]
        super().__init__(
            model=None,
            states=states,
            initial=initial,
            name=name,
            send_event=True,
            auto_transitions=False,
            queued=False,
            model_attribute=attribute,
        )
        self._places, self._readings, self._write = places, readings, write

    def add_path(self, trigger: str, path: Path) -> None:
        """Add a candidate; those of one source and trigger are asked in the order added."""
        event = self.events.get(trigger)
        if event is None:
            event = self.events[trigger] = self._create_event(trigger, self)
        event.add_transition(path)

    def add_model(self, model: Any, initial: Any = None) -> NoReturn:
        """Refuse: a model would be kept for ever, and put back into the initial state.

        Raises:
            TypeError: Always.
        """
        raise TypeError(
            "a lifecycle's machine is shared by all rows and takes no models; use `lifecycle.fire(aggregate, trigger)`"
        )

    def get_state(self, state: Any) -> State:
        """Return the state that a name, a member or a stored value means.

        Raises:
            ValueError: If there is none.
        """
        name = self._readings.get(state)
        if name is None:
            raise ValueError(f"{self.name}{state!r} is not a state; declared: {', '.join(self._places)}")
        return self.states[name]

    def get_model_state(self, model: object) -> State:
        """Return the state that a model is in; a new one whose attribute is unset is in the initial one.

        Raises:
            ValueError: If it is in none of the states.
        """
        held = getattr(model, self.model_attribute)
        return self.get_state(self.initial if held is None else held)

    def set_state(self, state: Any, model: Any = None) -> None:
        """Put a model into a state, in the form in which its attribute holds states."""
        name = state.name if isinstance(state, State) else self._readings[state]
        self._write(model, self.model_attribute, self._places[name].held)

    def attempt(self, state: str, trigger: str, model: object, command: object, context: object) -> Attempt:
        """Fire a trigger that is declared for the state that the model is in; without a `taken` in the answer, guards refused.

        Candidates are tried as pytransitions' `Event` does where the machine has no queue.
        """
        attempt = Attempt()
        event = self.question(state, trigger, model, {"command": command, "context": context, "_attempt": attempt})
        for path in self.events[trigger].transitions[state]:
            event.transition = path
            if path.execute(event):
                break
        return attempt

    def candidates(self, state: str, trigger: str) -> tuple[Path, ...]:
        """Return the paths that a trigger may take from a state, in the order in which they are tried."""
        event = self.events.get(trigger)
        found: Any = () if event is None else event.transitions.get(state, ())
        return tuple(found)

    def question(self, state: str, trigger: str, model: object, said: dict[str, Any]) -> EventData:
        """Return the event with which the guards of a trigger are asked; nothing is fired.

        Args:
            state: The state that the model is in.
            trigger: A trigger that some state declares.
            model: The aggregate.
            said: What guards find as `event.kwargs`.
        """
        event = self.events[trigger]
        return EventData(self.states[state], event, self, model, args=(), kwargs=said)
