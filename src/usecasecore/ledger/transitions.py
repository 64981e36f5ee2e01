"""The transitions in an audit entry: the first in its columns, those of further lifecycles of the aggregate in its detail.

An aggregate has one entry for each version, whatever happened in it: a command that moves several of its lifecycles is one
decision, and one entry. `trigger`, `from_state` and `to_state` are those of the first that was fired.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from usecasecore.context import FiredTransition

__all__ = ["FURTHER_TRANSITIONS", "as_json", "transitions_of"]

FURTHER_TRANSITIONS = "transitions"
"""The key of `detail` that holds the further ones, each as `as_json` makes it."""


def as_json(made: FiredTransition) -> dict[str, str]:
    """Return a transition as JSON values, as events and audit entries have it."""
    return {"lifecycle": made.lifecycle, "trigger": made.trigger, "from": made.source, "to": made.dest}


def transitions_of(entry: Mapping[str, Any]) -> tuple[FiredTransition, ...]:
    """Return every transition of an audit entry, in the order in which they were fired; none for a creation.

    Args:
        entry: The columns of the entry by name; `detail` as JSON text or as what it means.
    """
    detail: Any = entry["detail"]
    if isinstance(detail, str):
        detail = json.loads(detail)
    held = detail.get(FURTHER_TRANSITIONS) if isinstance(detail, dict) else None
    # What isn't of the form that the runtime writes is somebody else's; `moves` passes it over, too.
    further = [
        FiredTransition(*(one.get(name, "") for name in ("lifecycle", "trigger", "from", "to")))
        for one in (held if isinstance(held, list) else ())
        if isinstance(one, dict)
    ]
    if entry["trigger"] is None:
        return tuple(further)
    return (FiredTransition(entry["lifecycle"], entry["trigger"], entry["from_state"], entry["to_state"]), *further)
