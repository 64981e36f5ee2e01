"""Secrets are found again where user code copied them to."""

from __future__ import annotations

from typing import Any

import pytest

from usecasecore.messages import REDACTED
from usecasecore.runtime.redaction import Redactor


def redactor(*secrets: Any) -> Redactor:
    return Redactor.between({"hidden": list(secrets)}, {"hidden": REDACTED})


def test_only_what_the_redacted_form_hides_is_a_secret() -> None:
    clear = {"a": "open", "b": {"c": "hush!", "d": [1, "more"]}, "e": ["x", {"f": "last"}]}
    redacted = {"a": "open", "b": {"c": REDACTED, "d": REDACTED}, "e": ["x", {"f": REDACTED}]}
    assert set(Redactor.between(clear, redacted).secrets) == {"hush!", "1", "more", "last"}


def test_the_names_inside_of_a_secret_object_are_not_secrets_but_its_values_are() -> None:
    assert set(redactor({"user": "ada", "none": None, "yes": True, "empty": ""}).secrets) == {"ada"}


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("hush", REDACTED),
        ("say hush, twice: hush", f"say {REDACTED}, twice: {REDACTED}"),
        (["hush", {"hush": "hush"}], [REDACTED, {REDACTED: REDACTED}]),
        (4711, REDACTED),
        (4712, 4712),
        (None, None),
        (True, True),
        ("7 of 77", "7 of 77"),
        ("7", REDACTED),
    ],
)
def test_a_secret_is_taken_out_wherever_it_stands(value: Any, shown: Any) -> None:
    assert redactor("hush", 4711, 7).value(value) == shown


def test_the_longer_of_two_secrets_goes_first() -> None:
    assert redactor("pass", "password").text("my password") == f"my {REDACTED}"


def test_without_secrets_nothing_is_touched() -> None:
    value = {"a": [1, "b"]}
    assert Redactor().value(value) is value
