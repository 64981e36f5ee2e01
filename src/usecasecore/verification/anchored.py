"""Is the audit trail still what was anchored?"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence

from sqlalchemy import Connection, func, select, tuple_

from usecasecore.ledger import LedgerTables
from usecasecore.verification.anchors import Anchor, AnchorTrail, Leaf, merkle_root, parse_anchor
from usecasecore.verification.report import Finding

__all__ = ["AnchorCheck"]

_BATCH = 500


class AnchorCheck:
    """Checks the anchors themselves, then every entry that one of them vouches for. Holds 16 bytes for each of these in memory.

    Attributes:
        anchors: How many were compared so far.
    """

    def __init__(self, connection: Connection, tables: LedgerTables, trail: AnchorTrail) -> None:
        self.anchors = 0
        self._connection, self._tables, self._trail = connection, tables, trail
        self._vouched: set[bytes] = set()

    def findings(self) -> Iterator[Finding]:
        """Yield what is wrong with the anchors, and the entries that are not what they were."""
        last, digest = 0, bytes(32)
        for name, document in self._trail.documents:
            try:
                anchor = parse_anchor(document)
            except (ValueError, json.JSONDecodeError) as error:
                yield Finding("anchor_unreadable", f"{name}: it is no anchor: {error}")
                continue
            if anchor.sequence == last and anchor.digest() == digest:
                continue  # exported twice
            yield from self._faults(name, anchor, last, digest)
            last, digest = anchor.sequence, anchor.digest()
            self.anchors += 1
            for start in range(0, len(anchor.leaves), _BATCH):
                yield from self._compare(anchor, anchor.leaves[start : start + _BATCH])
        yield from self._missing(last)
        yield from self._not_vouched()

    def _faults(self, name: str, anchor: Anchor, last: int, digest: bytes) -> Iterator[Finding]:
        if not self._trail.verifier.verify(anchor.algorithm, anchor.signed_content(), anchor.signature):
            yield Finding(
                "anchor_signature", f"{name}: the signature ({anchor.algorithm}, key {anchor.key_id}) is not by the key"
            )
        if anchor.root != merkle_root([leaf.digest() for leaf in anchor.leaves]):
            yield Finding("anchor_root", f"{name}: the root is not that of the heads in it")
        if anchor.sequence != last + 1:
            yield Finding("anchor_gap", f"{name}: anchor {anchor.sequence} follows on {last or 'nothing'}")
        elif anchor.previous != digest:
            yield Finding("anchor_link", f"{name}: anchor {anchor.sequence} was made after another anchor {last}")

    def _compare(self, anchor: Anchor, leaves: Sequence[Leaf]) -> Iterator[Finding]:
        entry = self._tables.audit.c
        names = (entry.aggregate, entry.aggregate_id, entry.version)
        wanted = [(leaf.aggregate, leaf.aggregate_id, leaf.version) for leaf in leaves]
        rows = self._connection.execute(select(*names, entry.hash).where(tuple_(*names).in_(wanted)))
        found = {(row[0], row[1], row[2]): row[3] for row in rows}
        for leaf, key in zip(leaves, wanted, strict=True):
            self._vouched.add(_mark(*key))
            if found.get(key) != leaf.hash:
                state = "is not the one that" if key in found else "is gone, and"
                sentence = (
                    f"{leaf.aggregate} {leaf.aggregate_id}: version {leaf.version} {state} anchor {anchor.sequence} vouches for"
                )
                yield Finding("anchored_differs", sentence, *key)

    def _missing(self, last: int) -> Iterator[Finding]:
        table = self._tables.anchor
        exported = select(func.max(table.c.sequence)).where(table.c.exported_at.is_not(None))
        made = self._connection.scalar(exported) or 0
        if made > last:
            yield Finding("anchor_missing", f"the ledger has exported {made} anchors, and the last one here is {last or 'none'}")

    def _not_vouched(self) -> Iterator[Finding]:
        # Whoever wants a head to stay out of the anchors can mark it as anchored.
        head, anchor = self._tables.head, self._tables.anchor
        waiting = self._connection.scalar(select(func.count()).where(anchor.c.exported_at.is_(None)))
        if waiting:
            return  # these heads are in an anchor that is not here yet
        marked = select(head.c.aggregate, head.c.aggregate_id, head.c.anchored_version).where(
            head.c.anchored_version.is_not(None)
        )
        with self._connection.execute(marked.execution_options(yield_per=1_000)) as rows:
            for name, key, version in rows:
                if _mark(name, key, version) not in self._vouched:
                    sentence = f"{name} {key}: version {version} is marked as anchored, and no anchor has it"
                    yield Finding("anchored_by_none", sentence, name, key, version)


def _mark(aggregate: str, aggregate_id: str, version: int) -> bytes:
    return hashlib.blake2b(f"{len(aggregate)}:{aggregate}{aggregate_id}:{version}".encode(), digest_size=16).digest()
