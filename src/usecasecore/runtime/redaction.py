"""Takes a command's sensitive values out of what is written down about it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from usecasecore.messages import REDACTED

__all__ = ["Redactor"]

_SHORTEST = 4
"""From this length on a sensitive text is looked for inside of other texts, below it only as the whole: '7' is in many."""


@dataclass(frozen=True, slots=True)
class Redactor:
    """Knows the sensitive values of one command, and finds them again where user code copied them to."""

    secrets: tuple[str, ...] = ()

    @classmethod
    def between(cls, clear: Any, redacted: Any) -> Redactor:
        """Return the redactor of the values that one JSON form of a command shows and the other hides."""
        # The longest first: one secret may be a part of another.
        return cls(tuple(sorted(set(_hidden(clear, redacted)), key=len, reverse=True)))

    def text(self, value: str) -> str:
        """Return a text with `[redacted]` in the place of each secret."""
        for secret in self.secrets:
            if value == secret:
                return REDACTED
            if len(secret) >= _SHORTEST:
                value = value.replace(secret, REDACTED)
        return value

    def value(self, value: Any) -> Any:
        """Return JSON values with `[redacted]` in the place of each secret, names of members included."""
        if not self.secrets or value is None or isinstance(value, bool):
            return value
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {self.text(name): self.value(member) for name, member in value.items()}
        if isinstance(value, list):
            return [self.value(member) for member in value]
        return REDACTED if str(value) in self.secrets else value


def _hidden(clear: Any, redacted: Any) -> Iterator[str]:
    if redacted == REDACTED:
        yield from _leaves(clear)
    elif isinstance(clear, dict):
        for name, member in clear.items():
            yield from _hidden(member, redacted.get(name))
    elif isinstance(clear, list):
        for member, other in zip(clear, redacted, strict=True):
            yield from _hidden(member, other)


def _leaves(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for member in value.values():
            yield from _leaves(member)
    elif isinstance(value, list):
        for member in value:
            yield from _leaves(member)
    elif value is not None and not isinstance(value, bool) and value != "":
        yield str(value)
