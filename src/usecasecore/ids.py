"""Time-ordered identifiers."""

from __future__ import annotations

import os
import time
from uuid import UUID

__all__ = ["uuid7"]

_VERSION_AND_VARIANT = (0x7 << 76) | (0b10 << 62)
_RANDOM_BITS = (1 << 62) - 1


def uuid7() -> UUID:
    """Return a new version 7 UUID: 48 bits of Unix milliseconds, then 74 random bits (RFC 9562, section 5.7).

    Ids of different milliseconds sort by time, which keeps B-tree inserts at the right edge of an index. Ids of one
    millisecond come in no particular order: never derive an order of events from them.
    """
    random = int.from_bytes(os.urandom(10), "big")
    milliseconds = time.time_ns() // 1_000_000
    return UUID(int=(milliseconds << 80) | _VERSION_AND_VARIANT | ((random >> 6) & 0xFFF) << 64 | (random & _RANDOM_BITS))
