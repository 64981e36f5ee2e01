"""Time-ordered identifiers."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from uuid import RFC_4122, UUID

import pytest

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


@pytest.mark.parametrize("many", [True, False], ids=["many at once", "each by itself"])
def test_ids_are_random_in_every_bit_that_is(many: bool) -> None:
    made = [UUID(text).int for text in HexIds().take(1_000)] if many else [uuid7().int for _ in range(1_000)]
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


def test_threads_never_get_the_same_random_bits() -> None:
    with ThreadPoolExecutor(8) as threads:
        made = [one for many in threads.map(lambda _: [uuid7() for _ in range(2_000)], range(8)) for one in many]
    assert len({one.int & ((1 << 62) - 1) for one in made}) == len(made)


_FORKING = """
import os
from usecasecore.ids import uuid7
uuid7()
reads, writes = os.pipe()
if not os.fork():
    os.write(writes, uuid7().hex[16:].encode())
    os._exit(0)
print(os.read(reads, 16).decode(), uuid7().hex[16:])
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no process is forked here")
def test_a_forked_process_draws_bits_of_its_own() -> None:
    found = subprocess.run([sys.executable, "-c", _FORKING], capture_output=True, text=True, check=True, timeout=60)
    child, parent = found.stdout.split()
    assert child != parent


def test_an_id_and_its_text_are_the_same_and_of_version_7() -> None:
    ids = HexIds()
    for _ in range(700):
        made, text = ids.with_text()
        assert made == UUID(text)
        assert str(made) == text
        assert (made.version, made.variant) == (7, RFC_4122)

    wanted = uuid7()
    with supplied_by(lambda: wanted):
        assert ids.with_text() == (wanted, str(wanted))
