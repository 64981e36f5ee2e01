from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from tests.unit.relay.messages import message
from usecasecore import DomainEvent, Job
from usecasecore.errors import DefinitionError
from usecasecore.relay import JobHandlers, OutgoingMessage


class SendReceipt(Job):
    order_id: int


class Sent(DomainEvent):
    order_id: int


JOB = message(kind="job", type="send_receipt", payload_text='{"order_id":42}')


def test_a_handler_gets_the_job_as_it_was_enqueued() -> None:
    run: list[SendReceipt] = []
    handlers = JobHandlers()
    handlers.register(SendReceipt, run.append)
    handlers.enqueue(JOB)
    assert handlers.types == {"send_receipt"}
    assert run == [SendReceipt(order_id=42)]


def test_a_handler_of_two_gets_the_message_too() -> None:
    run: list[tuple[int, object]] = []

    def send(job: SendReceipt, message: OutgoingMessage) -> None:
        run.append((job.order_id, message.id))

    handlers = JobHandlers()
    handlers.register(SendReceipt, send)
    handlers.enqueue(JOB)
    assert run == [(42, JOB.id)]


def test_a_payload_of_another_shape_fails() -> None:
    handlers = JobHandlers()
    handlers.register(SendReceipt, lambda job: None)
    with pytest.raises(ValidationError):
        handlers.enqueue(message(kind="job", type="send_receipt", payload_text='{"order":42}'))


def test_a_job_without_a_handler_is_not_run() -> None:
    with pytest.raises(DefinitionError, match="no handler is registered for the job 'send_receipt'"):
        JobHandlers().enqueue(JOB)


@pytest.mark.parametrize("kind", [Sent, Job, str, "send_receipt"])
def test_only_jobs_have_handlers(kind: Any) -> None:
    with pytest.raises(DefinitionError, match="subclass of Job"):
        JobHandlers().register(kind, print)


def test_a_second_handler_is_refused() -> None:
    handlers = JobHandlers()
    handlers.register(SendReceipt, lambda job: None)
    with pytest.raises(DefinitionError, match="has a handler already"):
        handlers.register(SendReceipt, lambda job: None)


@pytest.mark.parametrize("handler", [lambda: None, lambda one, two, three: None], ids=["none", "three"])
def test_a_handler_that_takes_something_else_is_refused(handler: Any) -> None:
    with pytest.raises(DefinitionError, match="a handler takes the job"):
        JobHandlers().register(SendReceipt, handler)
