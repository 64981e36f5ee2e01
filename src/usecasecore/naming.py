"""How class names become names in the ledger, in events and in errors."""

from __future__ import annotations

import re

__all__ = ["snake_case"]

_WORD_START = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def snake_case(name: str) -> str:
    """Return a class name in snake case: `HTTPOrder` becomes `http_order`."""
    return _WORD_START.sub("_", name).lower()
