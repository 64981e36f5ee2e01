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

__all__ = [
    "FURTHER_TRANSITIONS",
    "as_json",
    "event_around_key",
    "event_payload",
    "is_plain_key",
    "plain_payload",
    "transitions_of",
]

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
    if not is_plain_key(key):
        return canonical({"id": key, "version": version, **as_json(made)})
    return plain_payload(event_around_key(made.lifecycle, made.trigger, made.source, made.dest), key, version)


def plain_payload(around_key: tuple[str, str], key: str, version: int) -> str:
    """Return `event_payload` from what `event_around_key` returned, for a plain key."""
    before, between = around_key
    return f"{before}{key}{between}{version}}}"


@lru_cache(maxsize=1024)
def event_around_key(lifecycle: str, trigger: str, source: str, dest: str) -> tuple[str, str]:
    """Return what `event_payload` has before a plain key, and between it and the version, after which comes `}`."""
    before = canonical({"from": source})
    after = canonical({"lifecycle": lifecycle, "to": dest, "trigger": trigger})
    return f'{before[:-1]},"id":"', f'",{after[1:-1]},"version":'


def is_plain_key(key: str) -> bool:
    """Say whether JSON writes a key as it is."""
    return _PLAIN.fullmatch(key) is not None


_PLAIN = re.compile(r"[\w-]*", re.ASCII)


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
