"""The eight ways to tamper with an audit trail, by the owner of the tables: what finds them is the chain, the head or an anchor."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from uuid import uuid4

import pytest
from sqlalchemy import Text, literal_column, select, update

from tests.accounts import NOON
from tests.trails import Books, books, postgres_books, sqlite_books
from usecasecore.ledger import ledger_tables
from usecasecore.ledger.chain import body_sql, hash_of_body
from usecasecore.verification import AnchorTrail, HmacKey, anchor_heads, export_anchors
from usecasecore.verification.anchors import Anchor, Leaf, merkle_root, parse_anchor

__all__ = ["books", "postgres_books", "sqlite_books"]

KEY = HmacKey(b"a secret of thirty-two bytes, or more")
TABLES = ledger_tables()
FIRST = "aggregate_id = :first"


@dataclass
class Vault:
    """Where the anchors are kept: not in the database."""

    documents: list[tuple[str, str]] = field(default_factory=list)

    def export(self, sequence: int, document: str, /) -> None:
        self.documents.append((f"anchor {sequence}", document))

    def trail(self) -> AnchorTrail:
        return AnchorTrail(self.documents, KEY)


def anchored(books: Books, vault: Vault, limit: int = 10_000) -> list[Anchor]:
    """Make anchors of what has changed, and export them."""
    made = []
    while True:
        with books.engine.begin() as connection:
            one = next(anchor_heads(connection, KEY, NOON, limit=limit), None)
        if one is None:
            break
        made.append(one)
    with books.engine.begin() as connection:
        export_anchors(connection, vault, NOON)
    return made


@pytest.fixture
def vault(books: Books) -> Vault:
    vault = Vault()
    anchored(books, vault)
    return vault


def forged_chain(books: Books, start: int, *, head: bool) -> None:
    """Compute the hashes of the first account's chain anew, from a version on."""
    audit = TABLES.audit
    with books.engine.begin() as connection:
        content = literal_column(body_sql(audit, connection.dialect.name, audit.name), Text())
        chain = select(audit.c.id, audit.c.version, audit.c.hash, content).where(audit.c.aggregate_id == str(books.first))
        previous, version = b"", 0
        for entry_id, version, stored, text in connection.execute(chain.order_by(audit.c.version)).all():
            if version < start:
                previous = stored
                continue
            hash_ = hash_of_body(previous or bytes(32), text.encode())
            connection.execute(update(audit).where(audit.c.id == entry_id).values(prev_hash=previous or bytes(32), hash=hash_))
            previous = hash_
        if head:
            of_first = TABLES.head.c.aggregate_id == str(books.first)
            connection.execute(update(TABLES.head).where(of_first).values(version=version, hash=previous))


def edit_a_field(books: Books) -> None:
    books.tamper(f"update usecasecore_audit set actor = 'user:eve' where {FIRST} and version = 3")


def delete_in_the_middle(books: Books) -> None:
    books.tamper(f"delete from usecasecore_audit where {FIRST} and version = 3")


def swap_two(books: Books) -> None:
    for before, after in ((3, 903), (4, 3), (903, 4)):
        books.tamper(f"update usecasecore_audit set version = {after} where {FIRST} and version = {before}")


def insert_a_forged_one(books: Books) -> None:
    columns = [column.name for column in TABLES.audit.c if column.name not in ("id", "version", "prev_hash", "hash")]
    names = ", ".join(f'"{name}"' for name in columns)
    books.tamper(
        f"insert into usecasecore_audit (id, version, prev_hash, hash, {names}) "
        f"select :forged, 8, hash, hash, {names} from usecasecore_audit where {FIRST} and version = 7",
        forged=uuid4().hex if books.engine.dialect.name == "sqlite" else uuid4(),
    )


def truncate_the_tail(books: Books) -> None:
    books.tamper(f"delete from usecasecore_audit where {FIRST} and version > 5")


def delete_the_whole_chain(books: Books) -> None:
    books.tamper(f"delete from usecasecore_audit where {FIRST}")


def rewrite_the_suffix(books: Books) -> None:
    books.tamper(f"update usecasecore_audit set reason = 'all was well' where {FIRST} and version = 4")
    forged_chain(books, 4, head=False)


def rewrite_the_suffix_and_the_head(books: Books) -> None:
    books.tamper(f"update usecasecore_audit set reason = 'all was well' where {FIRST} and version = 4")
    forged_chain(books, 4, head=True)


BY_CHAIN = {"entry_changed", "link_broken"}
BY_HEAD = {"head_differs", "entries_missing"}
BY_ANCHOR = {"anchored_differs"}
WAYS: dict[Callable[[Books], None], tuple[set[str], int]] = {
    edit_a_field: (BY_CHAIN, 3),
    delete_in_the_middle: (BY_CHAIN, 4),
    swap_two: (BY_CHAIN, 3),
    insert_a_forged_one: (BY_CHAIN, 8),
    truncate_the_tail: (BY_HEAD, 7),
    delete_the_whole_chain: (BY_HEAD, 7),
    rewrite_the_suffix: (BY_HEAD, 7),
    rewrite_the_suffix_and_the_head: (BY_ANCHOR, 7),
}


@pytest.mark.parametrize("tamper", WAYS, ids=lambda way: way.__name__)
def test_each_way_is_found_and_where(books: Books, vault: Vault, tamper: Callable[[Books], None]) -> None:
    codes, sequence = WAYS[tamper]
    tamper(books)
    findings = books.verify(anchors=vault.trail()).findings
    found = [one for one in findings if one.code in codes]
    assert found, findings
    assert (found[0].aggregate, found[0].aggregate_id, found[0].sequence) == ("account", str(books.first), sequence)
    alone = books.verify(anchors=vault.trail(), audit_only=True).findings
    assert alone == tuple(one for one in findings if one.code in BY_CHAIN | BY_HEAD | BY_ANCHOR)


def test_the_trail_alone_says_nothing_of_the_rest(books: Books) -> None:
    books.tamper("update accounts set version = 99")
    assert not books.verify().ok
    assert books.verify(audit_only=True).ok


@pytest.mark.parametrize("column", ["prev_hash", "hash"])
def test_text_in_the_place_of_a_hash_is_found_on_sqlite_which_holds_anything(books: Books, column: str) -> None:
    if books.engine.dialect.name != "sqlite":
        pytest.skip("the column holds nothing but bytes")
    books.tamper(f"update usecasecore_audit set {column} = 'none' where {FIRST} and version = 3")
    [found] = [one for one in books.verify().findings if one.code in BY_CHAIN]
    assert (found.code, found.aggregate_id, found.sequence) == ("entry_changed", str(books.first), 3)


def test_what_only_an_anchor_finds_nothing_else_does(books: Books, vault: Vault) -> None:
    rewrite_the_suffix_and_the_head(books)
    assert books.verify().ok
    assert books.verify(anchors=vault.trail()).codes == BY_ANCHOR


def test_what_is_rewritten_before_an_anchor_was_made_nobody_can_find(books: Books) -> None:
    vault = Vault()
    rewrite_the_suffix_and_the_head(books)
    anchored(books, vault)
    assert books.verify(anchors=vault.trail()).ok


def test_anchors_of_a_trail_that_goes_on_find_nothing(books: Books, vault: Vault) -> None:
    for _ in range(3):
        books.deposit(2)
        anchored(books, vault)
    report = books.verify(anchors=vault.trail())
    assert report.findings == ()
    assert report.counted.anchors == 4


def test_an_anchor_holds_the_heads_that_changed_since_the_one_before(books: Books, vault: Vault) -> None:
    assert anchored(books, vault) == []
    books.deposit()
    [anchor] = anchored(books, vault)
    first = parse_anchor(vault.documents[0][1])
    assert (anchor.sequence, anchor.previous) == (2, first.digest())
    assert [(leaf.aggregate_id, leaf.version) for leaf in anchor.leaves] == [(str(books.first), 8)]
    assert {(leaf.aggregate_id, leaf.version) for leaf in first.leaves} == {(str(books.first), 7), (str(books.second), 4)}


def test_many_heads_make_several_anchors(books: Books) -> None:
    vault = Vault()
    assert [len(anchor.leaves) for anchor in anchored(books, vault, limit=1)] == [1, 1]
    assert books.verify(anchors=vault.trail()).ok


def test_an_anchor_that_could_not_be_exported_is_exported_the_next_time_as_it_was(books: Books) -> None:
    class Broken(Vault):
        def export(self, sequence: int, document: str, /) -> None:
            super().export(sequence, document)
            raise OSError("no space left on device")

    broken, vault = Broken(), Vault()
    with pytest.raises(OSError, match="no space"):
        anchored(books, broken)
    books.deposit()
    anchored(books, vault)
    assert [name for name, _ in vault.documents] == ["anchor 1", "anchor 2"]
    assert vault.documents[0] == broken.documents[0]
    assert books.verify(anchors=vault.trail()).ok


def changed(document: str, old: str, new: str) -> str:
    assert old in document
    return document.replace(old, new, 1)


WITH_ANCHORS: dict[str, tuple[Callable[[list[str]], list[str]], set[str]]] = {
    "one is missing": (lambda them: [them[0], them[2]], {"anchor_gap"}),
    "the last one is missing": (lambda them: them[:2], {"anchor_missing", "anchored_by_none"}),
    "all are missing": (lambda them: [], {"anchor_missing", "anchored_by_none"}),
    "two changed places": (lambda them: [them[1], them[0], them[2]], {"anchor_gap"}),
    "one is no JSON": (lambda them: [them[0], "{", them[2]], {"anchor_unreadable", "anchor_gap"}),
    "one was exported twice": (lambda them: [them[0], them[0], *them[1:]], set()),
    "its time was changed": (lambda them: [*them[:2], changed(them[2], "2026-05-04", "2026-05-05")], {"anchor_signature"}),
    "a head in it was changed": (
        lambda them: [*them[:2], changed(them[2], ',9,"', ',8,"')],
        {"anchor_root", "anchored_differs", "anchored_by_none"},
    ),
    "it is by another key": (lambda them: [*them[:2], resigned(them[2], HmacKey(bytes(32)))], {"anchor_signature"}),
}


def resigned(document: str, key: HmacKey) -> str:
    anchor = parse_anchor(document)
    return changed(document, anchor.signature.hex(), key.sign(anchor.signed_content()).hex())


@pytest.mark.parametrize("how", WITH_ANCHORS)
def test_anchors_that_are_not_what_was_exported_are_found(books: Books, vault: Vault, how: str) -> None:
    for _ in range(2):
        books.deposit()
        anchored(books, vault)
    act, codes = WITH_ANCHORS[how]
    documents = act([document for _, document in vault.documents])
    trail = AnchorTrail([(str(index), document) for index, document in enumerate(documents)], KEY)
    report = books.verify(anchors=trail)
    assert report.codes - {"anchored_by_none"} == codes - {"anchored_by_none"}, report.findings
    assert report.codes >= codes


def test_a_head_that_was_marked_to_keep_it_out_of_the_anchors_is_found(books: Books, vault: Vault) -> None:
    books.deposit()
    books.tamper(f"update usecasecore_head set anchored_version = version where {FIRST}")
    anchored(books, vault)
    assert books.verify(anchors=vault.trail()).codes == {"anchored_by_none"}


def test_a_database_that_was_put_back_to_an_older_state_is_found(books: Books, vault: Vault) -> None:
    """As after a restore: everything is whole, and older than what was anchored."""
    books.deposit()
    anchored(books, vault)
    books.tamper(
        f"delete from usecasecore_outbox where {FIRST} and version = 8",
        "delete from usecasecore_idempotency where command_id = "
        "(select command_id from usecasecore_audit where aggregate_id = :first and version = 8)",
        f"delete from usecasecore_audit where {FIRST} and version = 8",
        "update accounts set version = 7 where owner = 'ada'",
        "delete from usecasecore_anchor where sequence = 2",
    )
    forged_chain(books, 1, head=True)
    books.tamper(f"update usecasecore_head set anchored_version = 7 where {FIRST}")
    assert books.verify(anchors=vault.trail()).codes == BY_ANCHOR


def test_the_root_is_that_of_the_standard() -> None:
    """The Merkle tree hash of RFC 6962 over the leaves d0 to d6 of its section 2.1.3, computed as that section writes it."""
    from hashlib import sha256

    d = [Leaf("order", str(number), number, bytes(32)).digest() for number in range(7)]

    def node(left: bytes, right: bytes) -> bytes:
        return sha256(b"\x01" + left + right).digest()

    g, h, i, j = node(d[0], d[1]), node(d[2], d[3]), node(d[4], d[5]), d[6]
    assert merkle_root(d) == node(node(g, h), node(i, j))
    assert merkle_root(d[:1]) == d[0]
    assert merkle_root([*d, d[6]]) != merkle_root(d)
    assert merkle_root([]) == sha256(b"").digest()
