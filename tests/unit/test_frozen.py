"""Values that are made by the thousand set their fields by themselves, and are frozen dataclasses all the same."""

from __future__ import annotations

import inspect
import pickle
from dataclasses import FrozenInstanceError, fields, replace
from typing import Any
from uuid import UUID

import pytest

from usecasecore import Actor, Outcome, PolicyRequest, Result

OUTCOME: Any = Outcome(Result(), "key", False, 3, UUID(int=7))
REQUEST: Any = PolicyRequest(Actor("user", "ada"), "order.pay", "PayOrder", "the command", "the order", "the context")  # type: ignore[arg-type]


@pytest.mark.parametrize("made", [OUTCOME, REQUEST], ids=["outcome", "request"])
def test_each_field_holds_what_it_was_given(made: Any) -> None:
    kind, names = type(made), [one.name for one in fields(made)]
    given = {name: object() for name in names}
    assert list(inspect.signature(kind).parameters) == names
    for other in (kind(**given), kind(*given.values())):
        assert {name: getattr(other, name) for name in names} == given


@pytest.mark.parametrize("made", [OUTCOME, REQUEST], ids=["outcome", "request"])
def test_it_is_a_frozen_dataclass(made: Any) -> None:
    name = fields(made)[0].name
    with pytest.raises(FrozenInstanceError):
        setattr(made, name, None)
    with pytest.raises(TypeError, match="missing"):
        type(made)(**{name: None})
    assert not hasattr(made, "__dict__")
    assert pickle.loads(pickle.dumps(made)) == made
    other = replace(made, **{name: None})
    assert other != made
    assert replace(other, **{name: getattr(made, name)}) == made
    assert repr(other).startswith(f"{type(made).__name__}({name}=None, ")
