from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from usecasecore.context import FiredTransition
from usecasecore.ledger.json_text import canonical
from usecasecore.ledger.transitions import as_json, event_payload

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=12)


@given(names=st.tuples(texts, texts, texts, texts), key=texts | st.uuids().map(str), version=st.integers(1, 2**62))
def test_the_payload_of_a_transition_is_its_facts_in_the_one_form_of_the_ledger(
    names: tuple[str, str, str, str], key: str, version: int
) -> None:
    made = FiredTransition(*names)
    text = event_payload(made, key, version)
    assert text == canonical(json.loads(text))
    assert json.loads(text) == {"id": key, "version": version, **as_json(made)}
