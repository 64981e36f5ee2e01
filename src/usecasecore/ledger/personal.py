"""Personal values: kept apart from the audit trail, which holds commitments to them.

A commitment is `personal:` and HMAC-SHA256(salt, JSON text of the value) in hexadecimal digits, the salt 32 random bytes of that
one value. Without the salt nobody can try out values, so when the row with value and salt is deleted the commitment tells
nothing any more; and the hash chain, which goes over the commitment, stays whole.
"""

from __future__ import annotations

import hmac
import json
import re
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, select

from usecasecore.ledger.json_text import canonical
from usecasecore.ledger.tables import ledger_tables

__all__ = ["Commitments", "PersonalValue", "commitment_of", "is_commitment", "personal_values", "revealed"]

_MARK = "personal:"
_COMMITMENT = re.compile(f"{_MARK}[0-9a-f]{{64}}")


@dataclass(frozen=True, slots=True)
class PersonalValue:
    """A value that the audit trail has a commitment to.

    Attributes:
        field: Where in the command it is, `address.street`.
        subject: Whom it is about.
        value: As JSON text.
        salt: 32 random bytes.
    """

    field: str
    subject: str
    value: str
    salt: bytes


@dataclass(slots=True)
class Commitments:
    """Makes the commitments of one command.

    Attributes:
        subjects: Field of the command -> whom it names.
    """

    subjects: Mapping[str, str]
    _made: dict[str, tuple[str, str, bytes]] = field(default_factory=dict)

    def commit(self, subject: str, value: Any) -> str:
        """Return the commitment to a JSON value about the subject that a field of the command names."""
        text, salt = canonical(value, depth=100, items=1_000_000), secrets.token_bytes(32)
        made = commitment_of(text, salt)
        self._made[made] = (self.subjects[subject], text, salt)
        return made

    def values(self, command: Any) -> tuple[PersonalValue, ...]:
        """Return what was committed to, by the places at which the commitments are in the command's JSON form."""
        return tuple(PersonalValue(place, *self._made[text]) for place, text in _texts(command, ()) if text in self._made)


def commitment_of(value: str, salt: bytes) -> str:
    """Return the commitment to a value, given as JSON text."""
    return _MARK + hmac.digest(salt, value.encode(), "sha256").hex()


def is_commitment(value: object) -> bool:
    """Say whether it looks like a commitment."""
    return isinstance(value, str) and _COMMITMENT.fullmatch(value) is not None


def personal_values(connection: Connection, schema: str | None, command_ids: Iterable[UUID]) -> dict[str, Any]:
    """Return commitment -> value, for what the commands committed to and nobody has erased."""
    table = ledger_tables(schema).personal
    rows = connection.execute(select(table.c.value, table.c.salt).where(table.c.command_id.in_(list(command_ids))))
    return {commitment_of(value, salt): json.loads(value) for value, salt in rows}


def revealed(value: Any, known: Mapping[str, Any]) -> Any:
    """Return JSON values with the known values in the place of their commitments, inside of texts too."""
    if isinstance(value, str):
        if value in known:
            return known[value]
        return _COMMITMENT.sub(lambda found: str(known.get(found[0], found[0])), value) if _MARK in value else value
    if isinstance(value, dict):
        return {name: revealed(member, known) for name, member in value.items()}
    return [revealed(member, known) for member in value] if isinstance(value, list) else value


def _texts(value: Any, path: tuple[str, ...]) -> Iterable[tuple[str, str]]:
    if isinstance(value, str):
        yield ".".join(path)[:200], value
    elif isinstance(value, dict):
        for name, member in value.items():
            yield from _texts(member, (*path, name))
    elif isinstance(value, list):
        for index, member in enumerate(value):
            yield from _texts(member, (*path, str(index)))
