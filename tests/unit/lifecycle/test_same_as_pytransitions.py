"""The shared, compiled machine does what a machine of pytransitions for each model does."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, event, given, settings
from transitions import Machine, MachineError
from transitions.extensions import HierarchicalMachine

from tests.unit.lifecycle.machines import Example, Model, flat_examples, lifecycle_of, nested_examples
from usecasecore.errors import GuardRejected, TransitionNotAllowed
from usecasecore.lifecycle import Lifecycle


def peer_walk(example: Example, machine_class: type[Machine]) -> list[Any]:
    model: Any = Model()
    machine = machine_class(
        model,
        states=example.states,
        transitions=example.transitions,
        initial=example.initial,
        auto_transitions=False,
        send_event=True,
    )
    steps: list[Any] = [model.state]
    for trigger in example.walk:
        outcome: bool | str
        try:
            outcome = (
                machine.events[trigger].trigger(model) if machine_class is Machine else machine.trigger_event(model, trigger)
            )
        except (MachineError, AttributeError, KeyError):
            outcome = "not allowed"  # the two latter: no transition at all has this trigger
        steps.append((outcome, model.state, list(model.log)))
    return steps


def our_walk(example: Example, lifecycle: Lifecycle) -> list[Any]:
    row = lifecycle.aggregate()
    row.log = []
    lifecycle.enter_initial(row)
    steps: list[Any] = [row.state]
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
        steps.append((outcome, row.state, list(row.log)))
    return steps


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(nested_examples())
def test_a_nested_lifecycle_moves_refuses_and_calls_back_as_a_hierarchical_machine(example: Example) -> None:
    assert our_walk(example, lifecycle_of(example)) == peer_walk(example, HierarchicalMachine)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(flat_examples())
def test_a_flat_lifecycle_moves_refuses_and_calls_back_as_a_machine(example: Example) -> None:
    assert our_walk(example, lifecycle_of(example)) == peer_walk(example, Machine)
