"""What the tests of an application import. It must not be loaded in production: nothing in the library does.

Most names are loaded when they are asked for: pytest imports `usecasecore.testing.fixtures` in every run where usecasecore is
installed, and that must cost nothing where nobody uses it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

# Not lazily: the function `failpoints` has the name of its module.
from usecasecore.testing.failpoints import Crashed, Failpoint, crash_after, crash_before, fail, failpoints

if TYPE_CHECKING:
    from usecasecore.testing.agreement import disagreements
    from usecasecore.testing.async_scenario import AsyncScenario, async_scenario_on
    from usecasecore.testing.clock import CountedIds, SetClock
    from usecasecore.testing.factories import NoFactory
    from usecasecore.testing.machine import lifecycle_machine
    from usecasecore.testing.matrix import Cell
    from usecasecore.testing.paths import lifecycle_paths
    from usecasecore.testing.racing import Race
    from usecasecore.testing.scenario import Scenario, scenario_on
    from usecasecore.testing.walking import Unreachable

__all__ = [
    "AsyncScenario",
    "Cell",
    "CountedIds",
    "Crashed",
    "Failpoint",
    "NoFactory",
    "Race",
    "Scenario",
    "SetClock",
    "Unreachable",
    "async_scenario_on",
    "crash_after",
    "crash_before",
    "disagreements",
    "fail",
    "failpoints",
    "lifecycle_machine",
    "lifecycle_paths",
    "scenario_on",
]

_MODULES = {
    "AsyncScenario": "async_scenario",
    "async_scenario_on": "async_scenario",
    "Cell": "matrix",
    "lifecycle_machine": "machine",
    "lifecycle_paths": "paths",
    "CountedIds": "clock",
    "NoFactory": "factories",
    "Race": "racing",
    "Scenario": "scenario",
    "SetClock": "clock",
    "Unreachable": "walking",
    "disagreements": "agreement",
    "scenario_on": "scenario",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
