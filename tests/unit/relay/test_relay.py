from __future__ import annotations

import io
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import create_engine
from sqlalchemy.ext.asyncio import create_async_engine

from tests.unit.relay.messages import MESSAGE, message
from usecasecore.errors import DefinitionError
from usecasecore.relay import LogPublisher, OutgoingMessage, ReceiverUnavailable, Relay, exponential_backoff
from usecasecore.relay.publisher import publisher_of

ENGINE = create_engine("sqlite://")


def test_pauses_double_from_a_second_to_an_hour() -> None:
    seconds = [exponential_backoff(attempt).total_seconds() for attempt in (1, 2, 3, 11, 12, 13, 10_000)]
    assert seconds == [1, 2, 4, 1024, 2048, 3600, 3600]


def test_a_log_line_says_what_happened_to_what() -> None:
    lines: list[str] = []
    LogPublisher(lines.append).publish(MESSAGE)
    LogPublisher(lines.append).publish(message(aggregate=None))
    assert lines == [
        f"2026-05-04T12:00:00.001Z  order.submitted  order 42 v7.1  {MESSAGE.payload_text}",
        f"2026-05-04T12:00:00.001Z  order.submitted  {MESSAGE.payload_text}",
    ]


def test_a_log_goes_to_stdout_by_default(capsys: pytest.CaptureFixture[str]) -> None:
    LogPublisher().publish(MESSAGE)
    assert capsys.readouterr().out.endswith(f"{MESSAGE.payload_text}\n")


def test_a_log_that_can_not_be_written_acknowledges_nothing() -> None:
    def write(line: str) -> None:
        raise BrokenPipeError

    with pytest.raises(ReceiverUnavailable, match="BrokenPipeError"):
        LogPublisher(write).publish(MESSAGE)


def test_a_function_is_a_publisher() -> None:
    got: list[OutgoingMessage] = []
    publisher_of(got.append).publish(MESSAGE)
    assert got == [MESSAGE]


@pytest.mark.parametrize("given", [LogPublisher, dict, "log", io.StringIO()])
def test_what_publishes_nothing_is_refused(given: Any) -> None:
    with pytest.raises(DefinitionError, match="a publisher has a method `publish`"):
        publisher_of(given)


def test_a_message_does_not_show_its_payload_by_accident() -> None:
    assert "39.80" not in repr(MESSAGE)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Relay(ENGINE, print, batch=0),
        lambda: Relay(ENGINE, print, attempts=0),
        lambda: Relay(ENGINE, print, lease=timedelta(milliseconds=999)),
        lambda: Relay(create_async_engine("sqlite+aiosqlite://"), print),  # type: ignore[arg-type]  # what must be refused
        lambda: Relay(ENGINE).drain(),
        lambda: Relay(ENGINE, print, clock=lambda: datetime(2026, 1, 1)).drain(),  # noqa: DTZ001 - what must be refused
    ],
    ids=["batch", "attempts", "lease", "async", "nobody", "clock"],
)
def test_what_can_not_work_is_refused(make: Callable[[], object]) -> None:
    with pytest.raises(DefinitionError):
        make()
