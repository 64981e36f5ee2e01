"""The transitions in an audit entry: the first in its columns, those of further lifecycles of the aggregate in its detail.

An aggregate has one entry for each version, whatever happened in it: a command that moves several of its lifecycles is one
decision, and one entry. `trigger`, `from_state` and `to_state` are those of the first that was fired.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from usecasecore.context import FiredTransition
from usecasecore.ledger.json_text import canonical

__all__ = ["FURTHER_TRANSITIONS", "as_json", "event_payload", "transitions_of"]

FURTHER_TRANSITIONS = "transitions"
"""The key of `detail` that holds the further ones, each as `as_json` makes it."""


def as_json(made: FiredTransition) -> dict[str, str]:
    """Return a transition as JSON values, as events and audit entries have it."""
    return {"lifecycle": made.lifecycle, "trigger": made.trigger, "from": made.source, "to": made.dest}


def event_payload(made: FiredTransition, key: str, version: int) -> str:
    """Return the payload of the event that the runtime sends about a transition, as JSON text.

    Args:
        made: The transition.
        key: Of the aggregate, as the ledger writes it.
        version: Of the aggregate, after it.
    """
    if not _PLAIN.fullmatch(key):
        return canonical({"id": key, "version": version, **as_json(made)})
    before, after = _around_key(made.lifecycle, made.trigger, made.source, made.dest)
    return f'{before},"id":"{key}",{after},"version":{version}}}'


@lru_cache(maxsize=1024)
def _around_key(lifecycle: str, trigger: str, source: str, dest: str) -> tuple[str, str]:
    """Return what the canonical text of a payload has before the key, and between key and version."""
    before = canonical({"from": source})
    after = canonical({"lifecycle": lifecycle, "to": dest, "trigger": trigger})
    return before[:-1], after[1:-1]


_PLAIN = re.compile(r"[\w-]*", re.ASCII)
"""A key that JSON writes as it is."""


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
