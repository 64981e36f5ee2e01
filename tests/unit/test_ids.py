"""Time-ordered identifiers."""

from __future__ import annotations

import time
from uuid import RFC_4122, UUID

from usecasecore.ids import hex_ids, supplied_by, uuid7


def test_many_ids_are_version_7_of_this_moment_and_all_different() -> None:
    before = time.time_ns() // 1_000_000
    made = [UUID(text) for text in hex_ids(1_000)]
    after = time.time_ns() // 1_000_000

    assert len(set(made)) == 1_000
    assert {(one.version, one.variant) for one in made} == {(7, RFC_4122)}
    assert all(before <= one.int >> 80 <= after for one in made)
    assert hex_ids(0) == []


def test_many_ids_are_random_in_every_bit_that_is() -> None:
    made = [UUID(text).int for text in hex_ids(1_000)]
    always = never = made[0]
    for one in made[1:]:
        always, never = always & one, never | one

    free = (always ^ never) & ((1 << 80) - 1)
    assert free == ((1 << 80) - 1) ^ (0xF << 76) ^ (0b11 << 62)


def test_many_ids_come_from_the_supplier_where_there_is_one() -> None:
    wanted = [uuid7() for _ in range(3)]
    supply = iter(wanted)

    with supplied_by(lambda: next(supply)):
        assert hex_ids(3) == [one.hex for one in wanted]
