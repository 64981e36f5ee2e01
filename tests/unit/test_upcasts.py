"""Stored results of earlier deploys: what is read, how, and what is not guessed at."""

from __future__ import annotations

import json
from decimal import Decimal
from time import time
from typing import Any, Generic, TypeVar

import pytest
from pydantic import ConfigDict, Field, field_validator

from usecasecore import AllowAll, Application, Command, DefinitionError, ExecutionContext, Result, Upcast, UseCase
from usecasecore.upcasts import Unreadable, problems_of, read, stored_name

T = TypeVar("T")
OLD = "shop.old.Done"


def in_cents(stored: dict[str, Any]) -> dict[str, Any]:
    stored["cents"] = int(Decimal(stored.pop("total")) * 100)
    return stored


def with_currency(stored: dict[str, Any]) -> dict[str, Any]:
    return {**stored, "currency": "EUR"}


class Paid(Result, version=3):
    cents: int
    currency: str
    note: str = "none"

    upcasts = (Upcast(1, in_cents), Upcast(2, with_currency), Upcast(4, in_cents, of=OLD, to=2))


PAID = stored_name(Paid)


def reading(stored: tuple[str, int], value: Any, model: type[Result] = Paid) -> Any:
    text = value if isinstance(value, str) else json.dumps(value)
    return read(model, model.result_version, model.upcasts, stored, text)


@pytest.mark.parametrize(
    ("stored", "value"),
    [
        pytest.param((PAID, 3), {"cents": 150, "currency": "EUR"}, id="today's"),
        pytest.param((PAID, 2), {"cents": 150}, id="the one before"),
        pytest.param((PAID, 1), {"total": "1.50"}, id="two before, by a chain"),
        pytest.param((OLD, 4), {"total": "1.50"}, id="another type's"),
        pytest.param((PAID, 3), {"cents": 150, "currency": "EUR", "tax": 5}, id="with a field that is gone, or not there yet"),
    ],
)
def test_each_declared_form_is_read_as_todays(stored: tuple[str, int], value: Any) -> None:
    assert reading(stored, value) == Paid(cents=150, currency="EUR")


@pytest.mark.parametrize(
    ("stored", "value", "reason"),
    [
        ((PAID, 4), {"cents": 150, "currency": "EUR"}, "it is newer than this program, which knows version 3"),
        ((OLD, 3), {"cents": 150, "currency": "EUR"}, "another type, and not as Paid would be stored; add an upcast"),
        ((OLD, 5), {"cents": 150, "currency": "EUR"}, f"no upcast leads from there to {PAID} version 3"),
        ((PAID, 3), {"cents": "secret"}, r"it doesn't fit Paid: cents \(int_parsing\), currency \(missing\)"),
        ((PAID, 2), {"cents": None}, r"it doesn't fit Paid: cents \(int_type\)"),
        ((PAID, 1), {}, r"its upcast from version 1 failed \(KeyError\)"),
        ((PAID, 1), [1], "it is no JSON object"),
        ((PAID, 1), "{", "it is no JSON"),
        ((PAID, 3), "{", r"it doesn't fit Paid: it \(json_invalid\)"),
    ],
)
def test_what_is_not_declared_or_does_not_fit_is_not_guessed_at(stored: tuple[str, int], value: Any, reason: str) -> None:
    with pytest.raises(Unreadable, match=reason) as unreadable:
        reading(stored, value)
    assert "secret" not in str(unreadable.value)


def test_a_result_that_was_only_renamed_or_moved_is_read_where_it_would_be_stored_like_that_today() -> None:
    stored = Paid(cents=150, currency="EUR").model_dump_json()
    assert reading(("shop.moved.Paid", 3), stored) == Paid(cents=150, currency="EUR")
    with pytest.raises(Unreadable):
        reading(("shop.moved.Paid", 2), stored)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda stored: None, "returned a NoneType, not an object"),
        (lambda stored: [stored], "returned a list, not an object"),
        (lambda stored: {"total": object()}, "what its upcast returned has no JSON form"),
    ],
)
def test_an_upcast_must_return_an_object(change: Any, reason: str) -> None:
    class Done(Result, version=2):
        total: int = 0
        upcasts = (Upcast(1, change),)

    with pytest.raises(Unreadable, match=reason):
        reading((stored_name(Done), 1), {}, Done)


def test_an_upcast_may_return_python_values_that_have_a_json_form() -> None:
    class Done(Result, version=2):
        model_config = ConfigDict(strict=True)
        total: Decimal
        upcasts = (Upcast(1, lambda stored: {"total": Decimal(stored["cents"]) / 100}),)

    assert reading((stored_name(Done), 1), {"cents": 150}, Done) == Done(total=Decimal("1.5"))


def test_a_validator_that_fails_in_its_own_way_makes_a_result_unreadable() -> None:
    class Done(Result):
        total: int

        @field_validator("total")
        @classmethod
        def look_up(cls, total: int) -> int:
            raise KeyError(total)

    with pytest.raises(Unreadable, match=r"a validator of Done failed \(KeyError\)"):
        reading((stored_name(Done), 1), {"total": 1}, Done)


def test_a_field_with_an_alias_is_read_by_the_name_it_was_stored_under() -> None:
    class Done(Result):
        total: int = Field(alias="totalCents")

    done = Done(totalCents=5)
    assert reading((stored_name(Done), 1), done.model_dump_json(), Done) == done


def test_a_subclass_has_versions_and_upcasts_of_its_own_and_a_generic_with_its_types_filled_in_keeps_them() -> None:
    class More(Paid):
        more: int

    class Page(Result, Generic[T], version=2):
        items: list[T]
        upcasts = (Upcast(1, lambda stored: {"items": [stored]}),)

    assert (More.result_version, len(More.upcasts)) == (1, 0)
    assert (Page[int].result_version, len(Page[int].upcasts)) == (2, 1)
    assert list(problems_of(Page[int], Page[int].result_version, Page[int].upcasts)) == []


def declared(version: int, *upcasts: Any) -> list[str]:
    class Done(Result):
        pass

    return [one.replace(stored_name(Done), "Done") for one in problems_of(Done, version, upcasts)]


def same(stored: dict[str, Any]) -> dict[str, Any]:
    return stored


NOTHING_TAKEN: Any = time
NO_FUNCTION: Any = "same"


@pytest.mark.parametrize(
    "fine",
    [
        (1,),
        (1, Upcast(1, of=OLD)),
        (1, Upcast(7, same, of=OLD, to=1)),
        (2, Upcast(1, same)),
        (2, Upcast(1, same, of=OLD)),
        (3, Upcast(1, same), Upcast(2, same), Upcast(1, same, of=OLD)),
        (3, Upcast(2, same)),
        (3, Upcast(1, same, to=3), Upcast(2, same)),
    ],
)
def test_chains_that_lead_to_the_version_of_today_are_fine(fine: tuple[Any, ...]) -> None:
    assert declared(*fine) == []


@pytest.mark.parametrize(
    ("upcasts", "problem"),
    [
        ((2,), "Done is at version 2, but nothing leads on from version 1; add `Upcast(1, ...)`"),
        ((3, Upcast(1, same)), "Done is at version 3, but nothing leads on from version 2; add `Upcast(2, ...)`"),
        (
            (4, Upcast(1, same), Upcast(3, same)),
            "Done is at version 4, but nothing leads on from version 2; add `Upcast(2, ...)`",
        ),
        ((3, Upcast(1, same, of=OLD), Upcast(3, of=OLD)), "nothing leads on from version 2; add `Upcast(2, ...)`"),
        ((2, Upcast(1, same), Upcast(1, same)), "Done has two upcasts of version 1"),
        ((1, Upcast(1, of=OLD), Upcast(1, of=OLD)), f"Done has two upcasts of {OLD} version 1"),
        (
            (2, Upcast(1, same), Upcast(2, same)),
            "the upcast of version 2 leads to version 3, which doesn't exist; Done is at version 2",
        ),
        ((1, Upcast(1, of=OLD, to=0)), f"the upcast of {OLD} version 1 leads to version 0, which doesn't exist"),
        ((2, Upcast(1, same), Upcast(2, same, to=1)), "the upcast of version 2 leads to version 1, which isn't later"),
        ((2, Upcast(1, None)), "the upcast of version 1 leads to version 1, which isn't later"),
        ((1, Upcast(0, same)), "an upcast of version 0; versions begin with 1"),
        ((1, Upcast(1, of="Done")), "an upcast of 'Done'; types are stored by their full names, `module.Class`"),
        ((2, Upcast(1, NOTHING_TAKEN)), "a function of one argument, the stored object, is wanted"),
        ((2, Upcast(1, NO_FUNCTION)), "the upcast of version 1 is 'same'; a function of one argument"),
        ((2, {1: same}), "a tuple of Upcast is wanted"),
    ],
)
def test_each_wrong_declaration_is_told(upcasts: tuple[Any, ...], problem: str) -> None:
    assert any(problem in found for found in declared(*upcasts)), declared(*upcasts)


def test_a_wrong_declaration_is_found_when_the_application_is_assembled() -> None:
    class Done(Result, version=3):
        upcasts = (Upcast(1, same),)

    class Do(Command[Done]):
        pass

    class DoIt(UseCase[Do, None, Done]):
        def apply(self, command: Do, state: None, context: ExecutionContext, /) -> Done:
            return Done()

    with pytest.raises(DefinitionError, match="Done is at version 3, but nothing leads on from version 2"):
        Application([DoIt], policy=AllowAll())
