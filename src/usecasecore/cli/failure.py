"""Failure: why a command can't do what was asked, in the words that the user gets to see."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

__all__ = ["Failure", "unknown"]


class Failure(Exception):
    """Ends the command with exit code 2 and `error: ...` on stderr.

    Attributes:
        message: What is wrong; may have several lines.
        hints: What to do about it, one sentence each.
        secrets: Texts that must not be shown, not even in a traceback.
    """

    def __init__(self, message: str, *hints: str, secrets: Iterable[str] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.hints = hints
        self.secrets = tuple(secrets)


def unknown(kind: str, name: str, known: Iterable[str]) -> Failure:
    """Return the failure for a name that doesn't exist: with the nearest one that does, and all of them."""
    names = sorted(known)
    near = get_close_matches(name, names, n=1) or [each for each in names if each.lower() == name.lower()]
    suggestion = f"did you mean {near[0]!r}? " if near else ""
    return Failure(f"there is no {kind} {name!r}", f"{suggestion}known: {', '.join(names) or 'none'}")
