"""The options of pytransitions' Machine that a lifecycle has no use for, and what to write instead."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, TypedDict

from usecasecore.errors import DefinitionError
from usecasecore.lifecycle.location import Location
from usecasecore.lifecycle.wording import nearest

__all__ = ["MachineOptions", "refuse_options"]


class MachineOptions(TypedDict, total=False):
    """The options that may be given with the only value that a lifecycle runs with, as a declaration that is moved here has them."""

    model: None
    send_event: Literal[True]
    auto_transitions: Literal[False]
    ordered_transitions: Literal[False]
    ignore_invalid_triggers: Literal[False] | None
    queued: Literal[False]


_ASKED_FOR: Mapping[str, Callable[[Any], bool]] = {
    "model": lambda value: value is None or value == [],
    "send_event": lambda value: value is True,
    "auto_transitions": lambda value: value is False,
    "ordered_transitions": lambda value: value is False,
    "ignore_invalid_triggers": lambda value: value in (False, None),
    "queued": lambda value: value is False,
    "before_state_change": lambda value: not value,
    "after_state_change": lambda value: not value,
    "prepare_event": lambda value: not value,
    "finalize_event": lambda value: not value,
    "on_exception": lambda value: not value,
    "on_final": lambda value: not value,
    "model_override": lambda value: not value,
}
_INSTEAD = {
    "model": "a lifecycle is an attribute of the mapped class, and its machine is shared by all rows",
    "send_event": "a callback that takes `event` gets it, one that takes nothing doesn't; leave it out",
    "auto_transitions": "`to_<state>` from everywhere would go around the lifecycle; write the transitions that there are",
    "ordered_transitions": 'write the transitions out: `[["next", "a", "b"], ["next", "b", "c"]]`',
    "ignore_invalid_triggers": "a trigger that is not possible is always refused; where nothing is to happen, "
    "declare an internal transition: `Transition(trigger, source, None)`",
    "queued": "the queue of a shared machine would mix up rows and threads; fire what follows by `context.fire`, "
    "or enqueue a job",
    "before_state_change": "name it in the `before` of each transition",
    "after_state_change": "name it in the `after` of each transition, or do it in the use case's `apply`",
    "prepare_event": "name it in the `prepare` of each transition",
    "finalize_event": "pytransitions swallows what it raises; do it in the use case's `apply`",
    "on_exception": "an error ends the command and nothing is kept; catch it around `runtime.execute`",
    "on_final": "give it to the final states: `{'name': ..., 'final': True, 'on_final': ...}`",
    "model_attribute": "name the attribute of the state column by `column`",
    "model_override": "a lifecycle puts no methods on the class; leave it out",
}
_OWN = ("states", "transitions", "initial", "column", "name", "separator", "description", "enforce", "final", "ignore")


def refuse_options(options: Mapping[str, Any], location: Location) -> None:
    """Let the options pass that ask for what a lifecycle does anyway.

    Raises:
        DefinitionError: With every other one, and what to write instead.
    """
    problems = []
    for name, value in options.items():
        if name in _ASKED_FOR and _ASKED_FOR[name](value):
            continue
        if name in _INSTEAD:
            problems.append(f"{location}: a lifecycle has no `{name}={value!r}`: {_INSTEAD[name]}")
        else:
            problems.append(f"{location}: a lifecycle has no {name!r}{nearest(name, _OWN)}")
    if problems:
        raise DefinitionError(problems)
