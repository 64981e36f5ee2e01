"""JSON as the ledger stores it."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from usecasecore.ledger.json_text import NotStorable, canonical, canonical_of_any, jsonable

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=20)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(), max_size=8), inner, max_size=4)
)


def is_storable(value: Any) -> bool:
    if isinstance(value, str):
        return "\x00" not in value and not any("\ud800" <= one <= "\udfff" for one in value)
    if isinstance(value, dict):
        return all(is_storable(name) and is_storable(member) for name, member in value.items())
    if isinstance(value, list):
        return all(map(is_storable, value))
    if isinstance(value, float):
        return math.isfinite(value)
    return not isinstance(value, int) or -(2**63) <= value < 2**63


@given(VALUES | st.dictionaries(st.text(st.characters(), max_size=8), SCALARS | st.lists(SCALARS, max_size=3)))
def test_the_text_is_that_of_sorted_names_without_spaces_or_a_refusal(value: Any) -> None:
    if is_storable(value):
        expected = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False)
        assert canonical(value) == expected
    else:
        with pytest.raises(NotStorable):
            canonical(value)


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ({"a": 1, "b": ["x", "a\x00b"]}, ("b", 1)),
        ({"a": "\ud800"}, ("a",)),
        ({"a": [2**63]}, ("a", 0)),
        ({"a\x00": 1}, ()),
        ({"a": [1, 2, 3, 4]}, ("a",)),
        ({"a": 1, "b": 2, "c": 3, "d": 4}, ()),
        ({"a": [[1]]}, ("a", 0)),
        ({"a": [1]}, ("a",)),
    ],
)
def test_what_can_not_be_stored_is_named_by_its_place(value: Any, path: tuple[str | int, ...]) -> None:
    depth = 1 if path == ("a",) and value == {"a": [1]} else 2

    with pytest.raises(NotStorable) as refused:
        canonical(value, depth=depth, items=3)

    assert refused.value.path == path


def test_a_text_that_looks_like_an_escape_is_none() -> None:
    assert canonical({"a": "\\u0000"}) == '{"a":"\\\\u0000"}'


@given(
    st.dictionaries(
        st.text(st.characters(), max_size=8), st.lists(SCALARS | st.datetimes() | st.uuids() | st.dates(), max_size=3)
    )
)
def test_what_is_made_at_once_is_what_is_made_in_two_steps(value: dict[str, list[Any]]) -> None:
    try:
        expected = canonical(jsonable(value), depth=100)
    except (NotStorable, ValueError) as error:
        with pytest.raises(type(error)):
            canonical_of_any(value)
    else:
        assert canonical_of_any(value) == expected
