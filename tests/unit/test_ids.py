"""Time-ordered identifiers."""

from __future__ import annotations

import time
from uuid import RFC_4122, UUID

from usecasecore.ids import HexIds, supplied_by, uuid7


def test_many_ids_are_version_7_of_this_moment_and_all_different() -> None:
    before = time.time_ns() // 1_000_000
    made = [UUID(text) for text in HexIds().take(1_000)]
    after = time.time_ns() // 1_000_000

    assert len(set(made)) == 1_000
    assert {(one.version, one.variant) for one in made} == {(7, RFC_4122)}
    assert all(before <= one.int >> 80 <= after for one in made)
    assert HexIds().take(0) == []


def test_many_ids_that_are_asked_for_bit_by_bit_are_all_different_and_tell_the_time_at_which_each_was() -> None:
    ids, made = HexIds(), []
    for number in (1, 3, 299, 0, 2, 700, 4):
        before = time.time_ns() // 1_000_000
        taken = ids.take(number)
        after = time.time_ns() // 1_000_000
        assert len(taken) == number
        assert all(before <= UUID(one).int >> 80 <= after for one in taken)
        made += taken
        time.sleep(0.002)

    assert len({UUID(one).int & ((1 << 74) - 1) for one in made}) == len(made)


def test_many_ids_are_random_in_every_bit_that_is() -> None:
    made = [UUID(text).int for text in HexIds().take(1_000)]
    always = never = made[0]
    for one in made[1:]:
        always, never = always & one, never | one

    free = (always ^ never) & ((1 << 80) - 1)
    assert free == ((1 << 80) - 1) ^ (0xF << 76) ^ (0b11 << 62)


def test_many_ids_come_from_the_supplier_where_there_is_one() -> None:
    wanted = [uuid7() for _ in range(3)]
    supply = iter(wanted)

    with supplied_by(lambda: next(supply)):
        assert HexIds().take(3) == [one.hex for one in wanted]
