from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.unit.cli import sample_app
from tests.unit.cli.command_line import CommandLine
from tests.unit.cli.conftest import SAMPLE

CHOOSING = """
from tests.unit.cli.sample_app import Cancel, Done, Order, Orders
from usecasecore import UseCase

class CloseOrder(UseCase[Cancel, Order, Done]):
    triggers = ("cancel", "send")
    def choose_trigger(self, command, order, context):
        return "send"
    def apply(self, command, order, context, /):
        return Done(order_id=order.id, state=order.state)

app = Application([CloseOrder], Orders())
"""


def shown(run: CommandLine, name: str) -> str:
    return run("usecase", "show", name, "--app", SAMPLE).out


def described(run: CommandLine, name: str) -> dict[str, Any]:
    data: dict[str, Any] = run("usecase", "show", name, "--app", SAMPLE, "--format", "json").data["use_case"]
    return data


def step(described: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(one for one in described["steps"] if one["step"] == name)
    return found


def test_list_has_a_line_for_each_use_case(run: CommandLine) -> None:
    ran = run("usecase", "list", "--app", SAMPLE)
    assert ran.code == 0
    assert ran.out.splitlines() == [
        "USE CASE     COMMAND  RESULT  LOADS  CREATES  FIRES   PERMISSION",
        "CreateOrder  Create   Done    -      Order    -       CreateOrder",
        "SubmitOrder  Submit   Done    Order  -        submit  order:submit",
        "CancelOrder  Cancel   Done    Order  -        cancel  CancelOrder",
    ]


def test_list_as_json_has_the_same_facts(run: CommandLine) -> None:
    listed = run("usecase", "list", "--app", SAMPLE, "--format", "json").data["use_cases"]
    assert listed[1] == {
        "name": "SubmitOrder",
        "command": "Submit",
        "result": "Done",
        "aggregate": "Order",
        "creates": None,
        "lifecycle": "order",
        "triggers": ["submit"],
        "permission": "order:submit",
    }


def test_show_tells_the_steps_in_order(run: CommandLine) -> None:
    text = shown(run, "SubmitOrder")
    steps = text[text.index("Steps\n") : text.index("\n\nResult")]
    assert steps.splitlines()[1:] == [
        "  1  validate     the command Submit",
        "                    order_id  UUID                  key (Order.id)",
        "                    card      str                   sensitive, to be charged",
        "                    copies    dict[str, list[int]]  default dict()",
        "                  then SubmitOrder.validate",
        "  2  idempotency  a key that was used before gets its result again, for 72 hours",
        "  3  load         Order from orders where id = order_id, locked",
        "                    PostgreSQL  FOR NO KEY UPDATE OF orders",
        "                    SQLite      BEGIN IMMEDIATE, after the validation",
        "  4  policy       Orders is asked for the permission 'order:submit'",
        "  5  fire         submit of the lifecycle order",
        "                    draft → submitted  if has_value, not is_held",
        "  6  apply        SubmitOrder.apply",
        "  7  record       audit   order, with the detail of SubmitOrder.audit",
        "                  events  order.transition.submit, order.submitted",
        "                  jobs    send_receipt",
        "                  result  under the idempotency key",
        "  8  commit       all of it or nothing",
    ]


def test_show_has_the_description_the_result_and_the_refusals(run: CommandLine) -> None:
    text = shown(run, "SubmitOrder")
    assert text.startswith("SubmitOrder, from Submit to Done\nHand a draft order in.\ndeclared at ")
    assert "\nResult: Done\n  order_id  UUID\n  state     str\n" in text
    assert text.endswith("Refusals of its own\n  CreditExceeded  credit_exceeded  The customer owes too much already.\n")


def test_a_use_case_that_creates_fires_nothing_and_locks_nothing(run: CommandLine) -> None:
    told = described(run, "CreateOrder")
    assert "fire" not in [one["step"] for one in told["steps"]]
    assert step(told, "load")["table"] is None
    assert step(told, "apply")["creates"] == ["Order"]
    assert step(told, "record")["events"] == ["order.created"]


def test_the_description_is_not_that_of_a_base_class(run: CommandLine) -> None:
    assert described(run, "CreateOrder")["description"] == ""


def test_a_reason_that_is_required_is_told(run: CommandLine) -> None:
    assert "\n                  the caller must give a reason\n" in shown(run, "CancelOrder")
    assert "must give a reason" not in shown(run, "SubmitOrder")


def test_a_field_with_a_default_shows_it(run: CommandLine) -> None:
    assert "\n                    note      str | None  default None\n" in shown(run, "CancelOrder")


def test_show_as_json_marks_keys_and_sensitive_fields(run: CommandLine) -> None:
    fields = {one["name"]: one for one in step(described(run, "SubmitOrder"), "validate")["fields"]}
    assert {name: (one["key"], one["sensitive"]) for name, one in fields.items()} == {
        "order_id": ("Order.id", False),
        "card": (None, True),
        "copies": (None, False),
    }


def test_show_says_where_the_use_case_is_declared(run: CommandLine) -> None:
    place = described(run, "SubmitOrder")["declared"]
    lines = Path(sample_app.__file__).read_text().splitlines()
    assert (place["file"], lines[place["line"] - 1]) == (
        sample_app.__file__,
        "class SubmitOrder(UseCase[Submit, Order, Done]):",
    )


def test_a_choice_of_triggers_names_each_with_its_transitions(run: CommandLine, write_module: Callable[[str, str], None]) -> None:
    write_module("choosing", CHOOSING)
    text = run("usecase", "show", "CloseOrder", "--app", "choosing:app").out
    assert "cancel or send of the lifecycle order, as CloseOrder.choose_trigger says\n" in text
    assert "                    cancel: draft → cancelled\n" in text
    assert "                    send: shipping/packed → shipping/sent\n" in text


def test_an_unknown_use_case_names_the_nearest_and_exits_with_2(run: CommandLine) -> None:
    ran = run("usecase", "show", "SubmitOder", "--app", SAMPLE)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.splitlines()[1:] == [
        "error: there is no use case 'SubmitOder'",
        "hint: did you mean 'SubmitOrder'? known: CancelOrder, CreateOrder, SubmitOrder",
    ]
