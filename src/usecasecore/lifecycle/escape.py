"""The way around the protection, for repairing data."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

__all__ = ["is_unprotected", "unprotected"]

_LOGGER = logging.getLogger("usecasecore")
_ACTIVE: ContextVar[bool] = ContextVar("usecasecore_unprotected", default=False)


@contextmanager
def unprotected(*, reason: str) -> Iterator[None]:
    """Let state and version columns be written, and aggregates be deleted, past the runtime while the block lasts.

    For data repair only: no guard is asked, nothing is audited, no event is sent and the version stays. The block holds
    for the thread or task that it is entered in, and logs one warning with the reason on the logger `usecasecore`.

    Raises:
        ValueError: If the reason is empty.

    Example:
        >>> with unprotected(reason="OPS-123: paid twice by the old importer"):
        ...     pass
    """
    if not reason.strip():
        raise ValueError("`unprotected` needs a reason: it is what the log will say")
    _LOGGER.warning("lifecycle protection is off: %s", reason)
    token = _ACTIVE.set(True)
    try:
        yield
    finally:
        _ACTIVE.reset(token)


def is_unprotected() -> bool:
    """Return whether an `unprotected` block is active here."""
    return _ACTIVE.get()
