"""The shared, compiled machine does what a machine of pytransitions for each model does."""

from __future__ import annotations

from enum import Enum
from typing import Any

import pytest
from hypothesis import HealthCheck, event, given, settings
from transitions import Machine, MachineError
from transitions.extensions import HierarchicalMachine

from tests.unit.lifecycle.machines import Example, Model, enumerated, flat_examples, lifecycle_of, nested_examples
from usecasecore.errors import GuardRejected, TransitionNotAllowed
from usecasecore.lifecycle import Lifecycle


def peer_walk(example: Example, machine_class: type[Machine]) -> list[Any]:
    model: Any = Model()
    machine: Any = machine_class(
        model,
        states=example.states,
        transitions=example.transitions,
        initial=example.initial,
        auto_transitions=False,
        send_event=True,
    )

    def state() -> Any:
        """Return the state by the name that a lifecycle gives it."""
        if not isinstance(model.state, Enum):
            return model.state
        if machine_class is not Machine:
            return "_".join(machine._get_enum_path(model.state))
        return model.state.value if isinstance(model.state.value, str) else model.state.name

    steps: list[Any] = [state()]
    for trigger in example.walk:
        outcome: bool | str
        try:
            outcome = (
                machine.events[trigger].trigger(model) if machine_class is Machine else machine.trigger_event(model, trigger)
            )
        except (MachineError, AttributeError, KeyError):
            outcome = "not allowed"  # the two latter: no transition at all has this trigger
        steps.append((outcome, state(), list(model.log)))
    return steps


def our_walk(example: Example, lifecycle: Lifecycle) -> list[Any]:
    row = lifecycle.aggregate()
    row.log = []
    lifecycle.enter_initial(row)
    steps: list[Any] = [lifecycle.state_of(row)]
    for trigger in example.walk:
        outcome: bool | str
        if trigger not in lifecycle.triggers:
            outcome = "not allowed"
        else:
            try:
                lifecycle.fire(row, trigger)
                outcome = True
            except GuardRejected:
                outcome = False
            except TransitionNotAllowed:
                outcome = "not allowed"
        event(f"outcome: {outcome}")
        steps.append((outcome, lifecycle.state_of(row), list(row.log)))
    return steps


# Two minutes are not enough for the longest where eight others are at work on the same cores.
pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]


def sample(examples: int) -> settings:
    return settings(max_examples=examples, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@sample(700)
@given(nested_examples())
def test_a_nested_lifecycle_moves_refuses_and_calls_back_as_a_hierarchical_machine(example: Example) -> None:
    assert our_walk(example, lifecycle_of(example)) == peer_walk(example, HierarchicalMachine)


@sample(400)
@given(enumerated(nested_examples(), texts=False))
def test_a_nested_lifecycle_of_enums_moves_refuses_and_calls_back_as_a_hierarchical_machine(example: Example) -> None:
    assert our_walk(example, lifecycle_of(example)) == peer_walk(example, HierarchicalMachine)


@sample(500)
@given(flat_examples())
def test_a_flat_lifecycle_moves_refuses_and_calls_back_as_a_machine(example: Example) -> None:
    assert our_walk(example, lifecycle_of(example)) == peer_walk(example, Machine)


@sample(400)
@given(enumerated(flat_examples(), texts=True))
def test_a_flat_lifecycle_of_enums_moves_refuses_and_calls_back_as_a_machine(example: Example) -> None:
    assert our_walk(example, lifecycle_of(example)) == peer_walk(example, Machine)
