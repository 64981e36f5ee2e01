"""Is every audit entry what was hashed when it was written, and linked to the one before?

How it works. The database gives the bodies of the entries, one text each, in the order of the chains, through a cursor on
its side; the hashes are computed here, so that no function of the database is trusted with it. Memory does not grow with the
trail. A baseline that an adoption wrote below the first entry of a chain is in none: such are counted. Of each chain the first thing that is wrong is reported: what follows on it can't be right.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, groupby
from operator import itemgetter
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Text, literal_column, select

from usecasecore.ledger import LedgerTables
from usecasecore.ledger.chain import GENESIS, HASH_VERSION, body_sql, hash_of_body
from usecasecore.verification.report import Finding

__all__ = ["HashCheck"]

_BATCH = 5_000


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
        facts = (entry.c.hash_version, entry.c.prev_hash, entry.c.hash, self._body())
        rows = self._rows(select(*order, entry.c.kind, *facts).where(entry.c.aggregate.is_not(None)).order_by(*order))
        for (aggregate, key), entries in groupby(rows, itemgetter(0, 1)):
            yield from self._chain(aggregate, key, entries)
        yield from self._single(self._rows(select(entry.c.command_id, *facts).where(entry.c.aggregate.is_(None))))

    def _body(self) -> Any:
        return literal_column(body_sql(self._tables.audit, self._connection.dialect.name, "entry"), Text())

    def _rows(self, statement: Any) -> Iterator[Any]:
        with self._connection.execute(statement.execution_options(yield_per=_BATCH)) as found:
            for part in found.partitions():
                self.hashed += len(part)
                yield from part

    def _chain(self, aggregate: str, key: str, entries: Iterator[Any]) -> Iterator[Finding]:
        below, first = _below(entries)
        if below and (first is None or first.kind in ("create", "baseline")):
            # What begins its chain there is the beginning of the trail: nothing came before an adoption.
            sentence = f"{aggregate} {key}: version {below[0]} {_UNSEALED}"
            yield Finding("hash_missing", sentence, aggregate, key, below[0])
            return
        self.unsealed += len(below)
        expected, last = GENESIS, 0
        for _, _, version, _, kind, previous, stored, body in () if first is None else chain((first,), entries):
            if previous != expected or kind != HASH_VERSION or hash_of_body(expected, body.encode()) != stored:
                code, sentence = _fault(kind, previous, stored, body, expected, last)
                yield Finding(code, f"{aggregate} {key}: version {version} {sentence}", aggregate, key, version)
                return
            expected, last = stored, version

    def _single(self, rows: Iterable[Any]) -> Iterator[Finding]:
        for command_id, kind, previous, stored, body in rows:
            if previous != GENESIS or kind != HASH_VERSION or hash_of_body(GENESIS, body.encode()) != stored:
                code, sentence = _fault(kind, previous, stored, body, GENESIS, 0)
                assert isinstance(command_id, UUID)
                yield Finding(code, f"command {command_id}: its entry {sentence}", command_id=command_id)


_UNSEALED = "has no hash: it was written past the runtime and never sealed"


def _below(entries: Iterator[Any]) -> tuple[list[int], Any]:
    """Return the versions of the baselines without a hash that come first, and the entry after them, if there is one."""
    below: list[int] = []
    for entry in entries:
        if entry.kind != "baseline" or entry.hash is not None:
            return below, entry
        below.append(entry.version)
    return below, None


def _fault(
    kind: int | None, previous: bytes | None, stored: bytes | None, body: str, expected: bytes, last: int
) -> tuple[str, str]:
    if previous is None or stored is None:
        return "hash_missing", _UNSEALED
    if kind != HASH_VERSION:
        return "hash_unknown", f"has a hash of version {kind}, and {HASH_VERSION} is known"
    if hash_of_body(previous, body.encode()) != stored:
        return "entry_changed", "is not what was hashed when it was written"
    before = f"version {last}" if last else "the start of a chain"
    return "link_broken", f"is whole, and not linked to {before} but to something else"
