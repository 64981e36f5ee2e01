"""Anchors: what vouches for the audit trail from outside of the database.

How it works. An anchor takes the heads that changed since the last one, builds a Merkle tree over them (as RFC 6962 does:
leaves and nodes are hashed with different first bytes), and signs its root together with the digest of the anchor before. It
is made in one transaction, kept in the ledger until it is exported, and exported in order; what is exported once is never made
anew, so a crash in between loses and doubles nothing. A document is one line of JSON, with the heads in it: a verifier can
name the entry that isn't what it was.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Protocol

from sqlalchemy import Connection, or_, select, text, tuple_, update

from usecasecore.ledger import LedgerTables, ledger_tables
from usecasecore.ledger.chain import instant_text
from usecasecore.verification.signing import Signer, Verifier

__all__ = ["Anchor", "AnchorExporter", "AnchorTrail", "Leaf", "anchor_heads", "export_anchors", "merkle_root", "parse_anchor"]

_DOMAIN = b"usecasecore anchor\n"
_FORMAT = "usecasecore-anchor"
_VERSION = 1
_FIRST = bytes(32)


@dataclass(frozen=True, slots=True)
class Leaf:
    """A head as it was anchored."""

    aggregate: str
    aggregate_id: str
    version: int
    hash: bytes

    def digest(self) -> bytes:
        """Return the leaf's place in the tree, 32 bytes."""
        parts = (self.aggregate, self.aggregate_id, str(self.version))
        content = "".join(f"{len(part)}:{part}" for part in parts).encode() + self.hash
        return hashlib.sha256(b"\x00" + content).digest()


@dataclass(frozen=True, slots=True)
class Anchor:
    """What is signed of the heads at one instant.

    Attributes:
        sequence: 1, 2, 3, ..
        created_at: In UTC, as text.
        previous: Digest of the anchor before; 32 zero bytes for the first.
        root: The root of the tree over the leaves.
        leaves: The heads that changed since the anchor before.
        algorithm: Of the signature.
        key_id: Of the key that signed.
        signature: Over `signed_content`.
    """

    sequence: int
    created_at: str
    previous: bytes
    root: bytes
    leaves: tuple[Leaf, ...]
    algorithm: str
    key_id: str
    signature: bytes = b""

    def signed_content(self) -> bytes:
        """Return the bytes that are signed."""
        return _DOMAIN + json.dumps(self._header(), sort_keys=True, separators=(",", ":")).encode()

    def digest(self) -> bytes:
        """Return what the next anchor refers to it by."""
        return hashlib.sha256(self.signed_content()).digest()

    def document(self) -> str:
        """Return the anchor as one line of JSON, without the line's end."""
        leaves = [[one.aggregate, one.aggregate_id, one.version, one.hash.hex()] for one in self.leaves]
        content = {**self._header(), "signature": self.signature.hex(), "leaves": leaves}
        return json.dumps(content, separators=(",", ":"))

    def _header(self) -> dict[str, Any]:
        return {
            "format": _FORMAT,
            "version": _VERSION,
            "sequence": self.sequence,
            "created_at": self.created_at,
            "previous": self.previous.hex(),
            "root": self.root.hex(),
            "heads": len(self.leaves),
            "algorithm": self.algorithm,
            "key": self.key_id,
        }


@dataclass(frozen=True, slots=True)
class AnchorTrail:
    """All anchors that were exported, to be verified.

    Attributes:
        documents: What each is found as (a file's name), and its text; in the order of their sequence.
        verifier: Knows the key.
    """

    documents: Iterable[tuple[str, str]]
    verifier: Verifier


class AnchorExporter(Protocol):
    """Takes anchors out of the database: a port to a directory, a bucket with an object lock, a log."""

    def export(self, sequence: int, document: str, /) -> None:
        """Return when the document is kept for good. The same one may come again; another one under its number never may.

        Raises:
            Exception: Whatever was in the way; it is tried again at the next anchor.
        """
        ...


def merkle_root(digests: Sequence[bytes]) -> bytes:
    """Return the root over the leaves' digests, as in RFC 6962; of no leaves the hash of nothing."""
    level = list(digests)
    if not level:
        return hashlib.sha256(b"").digest()
    while len(level) > 1:
        pairs = zip(level[::2], level[1::2], strict=False)
        # An odd one goes up as it is; doubled, it would make two sets of leaves one root.
        level = [hashlib.sha256(b"\x01" + left + right).digest() for left, right in pairs] + level[len(level) & ~1 :]
    return level[0]


def parse_anchor(document: str) -> Anchor:
    """Return the anchor that a document holds; its signature and its root are not checked.

    Raises:
        ValueError: If it is none.
    """
    content = json.loads(document)
    try:
        if content["format"] != _FORMAT or content["version"] != _VERSION:
            raise ValueError(f"the format is not {_FORMAT} {_VERSION}")
        leaves = tuple(Leaf(str(name), str(key), int(version), bytes.fromhex(of)) for name, key, version, of in content["leaves"])
        return Anchor(
            sequence=int(content["sequence"]),
            created_at=str(content["created_at"]),
            previous=bytes.fromhex(content["previous"]),
            root=bytes.fromhex(content["root"]),
            leaves=leaves,
            algorithm=str(content["algorithm"]),
            key_id=str(content["key"]),
            signature=bytes.fromhex(content["signature"]),
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"a part of it is missing or of another kind: {error}") from error


def anchor_heads(
    connection: Connection, signer: Signer, now: datetime, *, schema: str | None = None, limit: int = 10_000
) -> Iterator[Anchor]:
    """Make anchors until no head is left that changed since the last one; yield each.

    The caller owns the transactions: commit after each one that is yielded. Its heads are locked until then, which holds up
    commands on these aggregates; heads that a command has just locked are left to the next anchor.

    Args:
        connection: For writing; on SQLite with BEGIN IMMEDIATE.
        signer: Signs.
        now: When, aware.
        schema: Where the ledger lives.
        limit: How many heads an anchor has at most.
    """
    tables = ledger_tables(schema)
    while (anchor := _next_anchor(connection, tables, signer, now, limit)) is not None:
        yield anchor


def export_anchors(connection: Connection, exporter: AnchorExporter, now: datetime, *, schema: str | None = None) -> list[int]:
    """Hand out the anchors that nobody has yet, in order; return their numbers. The caller owns the transaction.

    Raises:
        Exception: Whatever the exporter raises.
    """
    table = ledger_tables(schema).anchor
    waiting = select(table.c.sequence, table.c.document).where(table.c.exported_at.is_(None)).order_by(table.c.sequence)
    exported = []
    for sequence, document in connection.execute(waiting).all():
        exporter.export(sequence, document)
        done = update(table).where(table.c.sequence == sequence).values(exported_at=now, document=None)
        connection.execute(done)
        exported.append(sequence)
    return exported


def _next_anchor(connection: Connection, tables: LedgerTables, signer: Signer, now: datetime, limit: int) -> Anchor | None:
    if connection.dialect.name == "postgresql":
        # Two at once would sign the same heads under the same number.
        name = connection.dialect.identifier_preparer.format_table(tables.anchor)
        connection.execute(text(f"lock table {name} in exclusive mode"))
    changed = _take_changed_heads(connection, tables, limit)
    if not changed:
        return None
    leaves = tuple(sorted(changed, key=lambda leaf: (leaf.aggregate, leaf.aggregate_id)))
    last = select(tables.anchor.c.sequence, tables.anchor.c.digest).order_by(tables.anchor.c.sequence.desc()).limit(1)
    sequence, previous = connection.execute(last).one_or_none() or (0, _FIRST)
    root = merkle_root([leaf.digest() for leaf in leaves])
    unsigned = Anchor(sequence + 1, instant_text(now), previous, root, leaves, signer.algorithm, signer.key_id)
    anchor = replace(unsigned, signature=signer.sign(unsigned.signed_content()))
    connection.execute(
        tables.anchor.insert(),
        {
            "sequence": anchor.sequence,
            "created_at": now,
            "heads": len(leaves),
            "digest": anchor.digest(),
            "document": anchor.document(),
        },
    )
    return anchor


def _take_changed_heads(connection: Connection, tables: LedgerTables, limit: int) -> list[Leaf]:
    head = tables.head
    names = (head.c.aggregate, head.c.aggregate_id)
    changed = or_(head.c.anchored_version.is_(None), head.c.anchored_version != head.c.version)
    # `skip_locked` is left out on SQLite, where nobody else can hold a lock.
    some = select(*names).where(changed).limit(limit).with_for_update(skip_locked=True)
    taken = (
        update(head)
        .where(tuple_(*names).in_(some))
        .values(anchored_version=head.c.version)
        .returning(*names, head.c.version, head.c.hash)
    )
    return [Leaf(*row) for row in connection.execute(taken)]
