"""Is every audit entry what was hashed when it was written, and linked to the one before?

How it works. The database gives the bodies of the entries, one text each, in the order of the chains, through a cursor on
its side; the hashes are computed here, so that no function of the database is trusted with it. Memory does not grow with the
trail. A baseline that an adoption wrote below the first entry of a chain is in none: such are counted. Of each chain the first thing that is wrong is reported: what follows on it can't be right.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Text, literal_column, select, type_coerce
from sqlalchemy.types import NullType

from usecasecore.ledger import LedgerTables
from usecasecore.ledger.chain import GENESIS, HASH_VERSION, body_sql, hash_of_body
from usecasecore.verification.report import Finding

__all__ = ["HashCheck"]

_BATCH = 1_000
_START = ("create", "baseline")


class HashCheck:
    """Computes the hash of every entry anew.

    Attributes:
        hashed: How many so far.
        unsealed: How many baselines are in no chain, as they were written below entries that were there already.
    """

    def __init__(self, connection: Connection, tables: LedgerTables) -> None:
        self.hashed = self.unsealed = 0
        self._connection, self._tables = connection, tables

    def findings(self) -> Iterator[Finding]:
        """Yield the first wrong entry of each chain, in the order of the chains; then entries without an aggregate."""
        entry = self._tables.audit.alias("entry")
        order = (entry.c.aggregate, entry.c.aggregate_id, entry.c.version)
        # The driver's bytes as they are: to have each of them turned into bytes would cost as much as its hash.
        hashes = (type_coerce(entry.c.prev_hash, NullType()), type_coerce(entry.c.hash, NullType()))
        facts = (entry.c.hash_version, *hashes, self._body())
        yield from self._chains(select(*order, entry.c.kind, *facts).where(entry.c.aggregate.is_not(None)).order_by(*order))
        yield from self._single(select(entry.c.command_id, *facts).where(entry.c.aggregate.is_(None)))

    def _body(self) -> Any:
        return literal_column(body_sql(self._tables.audit, self._connection.dialect.name, "entry"), Text())

    def _parts(self, statement: Any) -> Iterator[Sequence[Any]]:
        with self._connection.execute(statement.execution_options(yield_per=_BATCH)) as found:
            for part in found.partitions():
                self.hashed += len(part)
                yield part

    def _chains(self, statement: Any) -> Iterator[Finding]:
        chain = _Chain(None, None)
        for part in self._parts(statement):
            for entry in part:
                aggregate, key, version, _, number, previous, stored, body = entry
                if key != chain.key or aggregate != chain.aggregate:
                    yield from _ended(chain)
                    chain = _Chain(aggregate, key)
                # Of a million entries a million go through these few lines, and through no others.
                follows = previous == chain.hash and number == HASH_VERSION
                if follows and chain.plain and hash_of_body(previous, body.encode()) == stored:
                    chain.version, chain.hash = version, stored
                elif not chain.told:
                    yield from self._odd(chain, entry)
        yield from _ended(chain)

    def _odd(self, chain: _Chain, entry: Any) -> Iterator[Finding]:
        """Say what an entry is that doesn't follow on the one before, or that comes after baselines without a hash."""
        _, _, version, kind, number, previous, stored, body = entry
        if chain.version is None and kind == "baseline" and stored is None:
            chain.below.append(version)
            chain.plain = False
            return
        if chain.below and kind in ("create", "baseline"):
            # What begins its chain there is the beginning of the trail: nothing came before an adoption.
            yield from _ended(chain)
            return
        self.unsealed += len(chain.below)
        chain.below = []
        fault = _fault(number, previous, stored, body, chain.hash, chain.version)
        if fault is None:
            chain.version, chain.hash, chain.plain = version, stored, True
        else:
            yield chain.fault(fault[0], version, fault[1])

    def _single(self, statement: Any) -> Iterator[Finding]:
        for part in self._parts(statement):
            for command_id, number, previous, stored, body in part:
                fault = _fault(number, previous, stored, body, GENESIS, None)
                if fault is not None:
                    assert isinstance(command_id, UUID)
                    yield Finding(fault[0], f"command {command_id}: its entry {fault[1]}", command_id=command_id)


class _Chain:
    """How far the entries of one aggregate have been looked at.

    Attributes:
        version: Of the last entry that is right; None before the first one.
        hash: Its hash, on which the next one follows.
        below: Versions of the baselines without a hash that came first, until it is known what follows on them.
        told: Whether something was wrong: of each chain only the first is told.
        plain: Whether nothing is odd about it so far.
    """

    __slots__ = ("aggregate", "below", "hash", "key", "plain", "told", "version")

    def __init__(self, aggregate: str | None, key: str | None) -> None:
        self.aggregate, self.key = aggregate, key
        self.version: int | None = None
        self.hash = GENESIS
        self.below: list[int] = []
        self.told, self.plain = False, True

    def fault(self, code: str, version: int, sentence: str) -> Finding:
        self.told, self.plain = True, False
        return Finding(code, f"{self.aggregate} {self.key}: version {version} {sentence}", self.aggregate, self.key, version)


_UNSEALED = "has no hash: it was written past the runtime and never sealed"


def _ended(chain: _Chain) -> Iterator[Finding]:
    """Yield the first of the baselines on which no chain follows."""
    if chain.below and not chain.told:
        yield chain.fault("hash_missing", chain.below[0], _UNSEALED)


def _fault(
    number: int | None, previous: Any, stored: Any, body: str, expected: bytes, last: int | None
) -> tuple[str, str] | None:
    """Return what is wrong with an entry, as a code and the rest of a sentence; None where nothing is.

    The hashes are what the columns hold: on SQLite that may be anything.
    """
    if previous is None or stored is None:
        return "hash_missing", _UNSEALED
    if number != HASH_VERSION:
        return "hash_unknown", f"has a hash of version {number}, and {HASH_VERSION} is known"
    if not isinstance(previous, bytes) or hash_of_body(previous, body.encode()) != stored:
        return "entry_changed", "is not what was hashed when it was written"
    if previous != expected:
        before = "the start of a chain" if last is None else f"version {last}"
        return "link_broken", f"is whole, and not linked to {before} but to something else"
    return None
