"""A message as JSON is what pydantic makes of it where it takes its warnings for errors, whatever way that is found out."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from enum import Enum, IntEnum
from typing import Annotated, Any, Literal
from uuid import UUID

import pytest
from pydantic import ConfigDict, PlainSerializer, computed_field, field_serializer, model_serializer

from usecasecore import Result, messages
from usecasecore.messages import json_fields, json_of


class Colour(Enum):
    RED = "red"
    TWO = 2


class Grade(IntEnum):
    ONE = 1


class Whole(int):
    """An integer, and more."""


VALUES = {
    "None": None,
    "True": True,
    "2": 2,
    "-2**70": -(2**70),
    "an int of its own": Whole(2),
    "x": "x",
    "lone surrogate": "\ud800",
    "date": date(2026, 5, 4),
    "datetime": datetime(2026, 5, 4, 12, tzinfo=UTC),
    "naive": datetime(2026, 5, 4, 12),  # noqa: DTZ001 - one without a zone is meant
    "uuid": UUID(int=7),
    "Colour": Colour.RED,
    "Grade": Grade.ONE,
    "1.5": 1.5,
    "bytes": b"x",
    "list": [1],
    "timedelta": timedelta(1),
}
DECLARED = {
    "bool": bool,
    "int": int,
    "str": str,
    "date": date,
    "datetime": datetime,
    "UUID": UUID,
    "Colour": Colour,
    "Grade": Grade,
    "int or None": int | None,
    "int, str or None": int | str | None,
    "date or datetime": date | datetime,
    "Colour or str": Colour | str,
    "Literal": Literal["y", 2],
    "float": float,
    "list": list[int],
    "marked": Annotated[int, "a mark"],
    "written in its own way": Annotated[int, PlainSerializer(lambda value: f"<{value}>")],
}


def _said(make: Callable[[], object]) -> object:
    try:
        return make()
    except Exception as error:  # noqa: BLE001 - the same error is wanted
        return type(error)


def _same(message: Result) -> None:
    # Twice: what is remembered of the first one included.
    for _ in range(2):
        assert _said(lambda: json_of(message)) == _said(lambda: message.model_dump_json(warnings="error"))
        wanted = _said(lambda: message.model_dump(mode="json", exclude_unset=True, warnings="error"))
        assert _said(lambda: json_fields(message)) == wanted


@pytest.mark.parametrize("declared", DECLARED.values(), ids=DECLARED)
def test_a_value_is_written_or_refused_as_pydantic_does(declared: Any) -> None:
    kind: type[Result] = type("Seen", (Result,), {"__annotations__": {"seen": declared, "last": int}, "__module__": __name__})
    for value in VALUES.values():
        _same(kind.model_construct(seen=value, last=1))


class Pair(Result):
    first: int
    second: str


def test_a_message_without_a_field_or_with_its_fields_in_another_order_is_written_or_refused_as_pydantic_does() -> None:
    _same(Pair(first=1, second="x"))
    _same(Pair.model_construct(first=1))
    turned = Pair(first=1, second="x")
    vars(turned).clear()
    vars(turned).update(second=1, first="x")
    assert isinstance(_said(lambda: json_of(turned)), type)
    _same(turned)


def test_of_many_combinations_of_types_no_more_are_remembered_than_are_worth_it() -> None:
    names = [f"seen{number}" for number in range(10)]
    kind: type[Result] = type("Many", (Result,), {"__annotations__": dict.fromkeys(names, int | None), "__module__": __name__})
    for number in range(2**10):
        message = kind(**{name: 1 if number >> place & 1 else None for place, name in enumerate(names)})
        assert json_of(message) == message.model_dump_json(warnings="error")
    assert 0 < len(messages._form(kind)._known) <= messages._MOST_KNOWN


class Dumped(Pair):
    @field_serializer("first")
    def shout(self, value: int) -> str:
        return "!" * value


class Rewritten(Pair):
    @model_serializer
    def wholly(self) -> dict[str, int]:
        return {"all": self.first}


class Computed(Pair):
    @computed_field  # type: ignore[prop-decorator]  # mypy knows no decorators on properties
    @property
    def third(self) -> int:
        return "no integer"  # type: ignore[return-value]  # on purpose


class Open(Pair):
    model_config = ConfigDict(extra="allow")


class Valued(Result):
    model_config = ConfigDict(use_enum_values=True)

    colour: Colour


@pytest.mark.parametrize(
    "message",
    [
        Dumped(first=3, second="x"),
        Rewritten(first=3, second="x"),
        Computed(first=3, second="x"),
        Open.model_validate({"first": 3, "second": "x", "third": object()}),
        Valued(colour=Colour.RED),
    ],
    ids=lambda message: type(message).__name__,
)
def test_a_message_that_is_written_in_its_own_way_is_so(message: Result) -> None:
    _same(message)
