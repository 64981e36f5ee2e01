"""Is every audit entry what was hashed when it was written, and linked to the one before?

How it works. The database gives the bodies of the entries, one text each, in the order of the chains, through a cursor on
its side; the hashes are computed here, so that no function of the database is trusted with it. Memory does not grow with the
trail. Of each chain the first thing that is wrong is reported: what follows on it can't be right.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Text, and_, literal_column, or_, select

from usecasecore.ledger import LedgerTables
from usecasecore.ledger.chain import GENESIS, HASH_VERSION, body_sql, hash_of_body
from usecasecore.verification.report import Finding

__all__ = ["HashCheck"]

_BATCH = 5_000


class HashCheck:
    """Computes the hash of every entry anew.

    Attributes:
        hashed: How many so far.
    """

    def __init__(self, connection: Connection, tables: LedgerTables) -> None:
        self.hashed = 0
        self._connection, self._tables = connection, tables

    def findings(self) -> Iterator[Finding]:
        """Yield the first wrong entry of each chain, in the order of the chains; then entries without an aggregate."""
        entry = self._tables.audit.alias("entry")
        # What an adoption writes has no hash until it is sealed; hidden in a chain, such an entry breaks the link after it.
        chained = and_(entry.c.aggregate.is_not(None), or_(entry.c.hash.is_not(None), entry.c.kind != "baseline"))
        order = (entry.c.aggregate, entry.c.aggregate_id, entry.c.version)
        names = (*order, entry.c.hash_version, entry.c.prev_hash, entry.c.hash)
        yield from self._chains(self._rows(select(*names, self._body()).where(chained).order_by(*order)))
        names = (entry.c.command_id, entry.c.id, entry.c.id, entry.c.hash_version, entry.c.prev_hash, entry.c.hash)
        yield from self._single(self._rows(select(*names, self._body()).where(entry.c.aggregate.is_(None))))

    def _body(self) -> Any:
        return literal_column(body_sql(self._tables.audit, self._connection.dialect.name, "entry"), Text())

    def _rows(self, statement: Any) -> Iterator[Any]:
        with self._connection.execute(statement.execution_options(yield_per=_BATCH)) as found:
            for part in found.partitions():
                self.hashed += len(part)
                yield from part

    def _chains(self, rows: Iterable[Any]) -> Iterator[Finding]:
        aggregate = key = None
        expected = GENESIS
        last = 0
        broken = False
        for name, its_key, version, kind, previous, stored, body in rows:
            if its_key != key or name != aggregate:
                aggregate, key, expected, last, broken = name, its_key, GENESIS, 0, False
            elif broken:
                continue
            if previous == expected and kind == HASH_VERSION and hash_of_body(expected, body.encode()) == stored:
                expected, last = stored, version
                continue
            broken = True
            code, sentence = _fault(kind, previous, stored, body, expected, last)
            yield Finding(code, f"{name} {its_key}: version {version} {sentence}", name, its_key, version)

    def _single(self, rows: Iterable[Any]) -> Iterator[Finding]:
        for command_id, _, _, kind, previous, stored, body in rows:
            if previous != GENESIS or kind != HASH_VERSION or hash_of_body(GENESIS, body.encode()) != stored:
                code, sentence = _fault(kind, previous, stored, body, GENESIS, 0)
                assert isinstance(command_id, UUID)
                yield Finding(code, f"command {command_id}: its entry {sentence}", command_id=command_id)


def _fault(
    kind: int | None, previous: bytes | None, stored: bytes | None, body: str, expected: bytes, last: int
) -> tuple[str, str]:
    if previous is None or stored is None:
        return "hash_missing", "has no hash: it was written past the runtime and never sealed"
    if kind != HASH_VERSION:
        return "hash_unknown", f"has a hash of version {kind}, and {HASH_VERSION} is known"
    if hash_of_body(previous, body.encode()) != stored:
        return "entry_changed", "is not what was hashed when it was written"
    before = f"version {last}" if last else "the start of a chain"
    return "link_broken", f"is whole, and not linked to {before} but to something else"
