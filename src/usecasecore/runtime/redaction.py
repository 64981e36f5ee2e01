"""Takes a command's sensitive values out of what is written down about it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from usecasecore.ledger.personal import is_commitment
from usecasecore.messages import REDACTED

__all__ = ["Redactor"]

_SHORTEST = 4
"""From this length on a sensitive text is looked for inside of other texts, below it only as the whole: '7' is in many."""


@dataclass(frozen=True, slots=True)
class Redactor:
    """Knows the sensitive values of one command, and finds them again where user code copied them to.

    Attributes:
        secrets: The values as text, the longest first.
        commitments: What stands for those that are personal.
    """

    secrets: tuple[str, ...] = ()
    commitments: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def between(cls, clear: Any, redacted: Any) -> Redactor:
        """Return the redactor of the values that one JSON form of a command shows, and the other hides or has commitments for."""
        hidden = dict(_hidden(clear, redacted))
        # The longest first: one secret may be a part of another.
        secrets = tuple(sorted(hidden, key=len, reverse=True))
        return cls(secrets, {secret: shown for secret, shown in hidden.items() if shown != REDACTED})

    def text(self, value: str) -> str:
        """Return a text with `[redacted]` in the place of each secret, or its commitment where it has one."""
        for secret in self.secrets:
            shown = self.commitments.get(secret, REDACTED)
            if value == secret:
                return shown
            if len(secret) >= _SHORTEST:
                value = value.replace(secret, shown)
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
        return self.text(str(value)) if str(value) in self.secrets else value


def _hidden(clear: Any, redacted: Any) -> Iterator[tuple[str, str]]:
    if redacted == REDACTED or (redacted != clear and is_commitment(redacted)):
        yield from ((leaf, redacted) for leaf in _leaves(clear))
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
