"""pytransitions' own objects among the declared states: State, NestedState, and a machine that is reused as children.

They are known by their class's name and module, and read by their attributes: pytransitions is imported by `machine` only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

__all__ = ["behaviour_of_its_own", "fields_of_state", "is_machine", "with_machines"]

_PLAIN = {("transitions.core", "State"), ("transitions.extensions.nesting", "NestedState"), ("builtins", "object")}
_MACHINE = ("transitions.core", "Machine")


def is_machine(one: object) -> bool:
    """Return whether something is a machine of pytransitions."""
    return any((kind.__module__, kind.__name__) == _MACHINE for kind in type(one).__mro__)


def behaviour_of_its_own(state: object) -> str | None:
    """Return the name of a state's class if it is more than a State: entering and leaving it would do what nobody runs."""
    others = [kind for kind in type(state).__mro__ if (kind.__module__, kind.__name__) not in _PLAIN]
    return next((kind.__name__ for kind in others if vars(kind).keys() & {"enter", "exit", "__init__"}), None)


def fields_of_state(state: Any) -> dict[str, Any]:
    """Return a State or a NestedState in the dict form, with the states and the transitions inside of it."""
    keys = ("name", "on_enter", "on_exit", "on_final", "final", "initial", "ignore_invalid_triggers")
    children = getattr(state, "states", None)
    return {
        **{key: getattr(state, key, None) for key in keys},
        "children": list(children.values()) if children else None,
        "transitions": list(_transitions_of(getattr(state, "events", {}), ())),
    }


def with_machines(fields: dict[str, Any], children: Iterable[Any]) -> dict[str, Any]:
    """Return a state's dict form with each machine among its children replaced by that machine's states and transitions.

    The first machine's initial state is the one that is entered, unless the dict names one; automatic transitions stay out.
    """
    states: list[Any] = []
    transitions: list[Any] = []
    initial = fields.get("initial")
    for child in children:
        if is_machine(child):
            states += child.states.values()
            automatic = {f"to_{name}" for name in child.states} if child.auto_transitions else set()
            transitions += _transitions_of(child.events, automatic)
            initial = child.initial if initial is None else initial
        else:
            states.append(child)
    given = fields.get("transitions")
    own = given if isinstance(given, (list, tuple)) else [given] if given is not None else []
    return {**fields, "children": tuple(states), "transitions": [*transitions, *own], "initial": initial}


def _transitions_of(events: Mapping[str, Any], automatic: Iterable[str]) -> Iterator[dict[str, Any]]:
    for name, event in events.items():
        if name in automatic:
            continue
        for source, candidates in event.transitions.items():
            for one in candidates:
                asked = [(condition.func, condition.target) for condition in one.conditions]
                yield {
                    "trigger": name,
                    "source": source,
                    "dest": one.dest,
                    "conditions": [guard for guard, wanted in asked if wanted],
                    "unless": [guard for guard, wanted in asked if not wanted],
                    "prepare": list(one.prepare),
                    "before": list(one.before),
                    "after": list(one.after),
                }
