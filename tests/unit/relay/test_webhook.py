"""The webhook publisher, against a real server on the loopback interface."""

from __future__ import annotations

import json
import pickle
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.unit.relay.messages import MESSAGE
from usecasecore.errors import DefinitionError
from usecasecore.relay import ReceiverUnavailable, WebhookFailed, WebhookPublisher


@dataclass
class Receiver:
    """What a server got, and what it answers."""

    url: str = ""
    status: int = 204
    delay: float = 0
    got: list[tuple[str, Message, bytes]] = field(default_factory=list)


@contextmanager
def serving(receiver: Receiver) -> Iterator[None]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            receiver.got.append((self.path, self.headers, body))
            time.sleep(receiver.delay)
            self.send_response(receiver.status)
            if receiver.status in (301, 302, 303, 307, 308):
                self.send_header("Location", f"{receiver.url}/elsewhere")
            self.end_headers()

        do_GET = do_POST  # noqa: N815 - the name that http.server looks for

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's own
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    receiver.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    with serving(receiver):
        yield receiver


def test_a_structured_event_arrives_as_one_json_object(receiver: Receiver) -> None:
    WebhookPublisher(f"{receiver.url}/events?k=1", source="/shop").publish(MESSAGE)
    ((path, headers, body),) = receiver.got
    assert path == "/events?k=1"
    assert headers["Content-Type"] == "application/cloudevents+json; charset=utf-8"
    event = json.loads(body)
    assert (event["id"], event["source"], event["data"]) == (str(MESSAGE.id), "/shop", MESSAGE.payload)


def test_a_binary_event_arrives_as_headers_and_the_payload(receiver: Receiver) -> None:
    WebhookPublisher(receiver.url, mode="binary", source="/shop", headers={"Authorization": "Bearer t"}).publish(MESSAGE)
    ((path, headers, body),) = receiver.got
    assert path == "/"
    assert (headers["ce-id"], headers["ce-type"], headers["ce-source"]) == (str(MESSAGE.id), "order.submitted", "/shop")
    assert (headers["ce-specversion"], headers["ce-sequence"]) == ("1.0", "0000000000000000007.0000000001")
    assert (headers["Content-Type"], headers["Authorization"]) == ("application/json", "Bearer t")
    assert json.loads(body) == MESSAGE.payload


@pytest.mark.parametrize("status", [200, 202, 204])
def test_any_2xx_acknowledges(receiver: Receiver, status: int) -> None:
    receiver.status = status
    WebhookPublisher(receiver.url).publish(MESSAGE)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 400, 404, 409, 429, 500, 503])
def test_another_status_is_a_failure_and_redirects_are_not_followed(receiver: Receiver, status: int) -> None:
    receiver.status = status
    with pytest.raises(WebhookFailed) as caught:
        WebhookPublisher(f"{receiver.url}/hook?token=secret").publish(MESSAGE)
    assert (caught.value.status, caught.value.url) == (status, f"{receiver.url}/hook")
    assert str(caught.value) == f"{receiver.url}/hook answered {status}; 2xx is what acknowledges an event"
    assert len(receiver.got) == 1


def test_an_answer_that_does_not_come_in_time_is_a_failure(receiver: Receiver) -> None:
    receiver.delay = 0.5
    with pytest.raises(WebhookFailed, match="gave no answer") as caught:
        WebhookPublisher(receiver.url, timeout=timedelta(seconds=0.1)).publish(MESSAGE)
    assert caught.value.status is None


def test_nobody_at_the_address_is_no_fault_of_the_event() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}/hook?token=secret"
    with pytest.raises(ReceiverUnavailable, match=r"/hook can't be reached \(ConnectionRefusedError\)$"):
        WebhookPublisher(url).publish(MESSAGE)


def test_the_failure_survives_pickling() -> None:
    error = WebhookFailed(url="http://h/p", status=500)
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), again.status) == (WebhookFailed, str(error), 500)


@pytest.mark.parametrize(
    "make",
    [
        lambda: WebhookPublisher("ftp://host/x"),
        lambda: WebhookPublisher("https://"),
        lambda: WebhookPublisher("https://user:pw@host/"),
        lambda: WebhookPublisher("https://host/", mode="batched"),  # type: ignore[arg-type]  # what must be refused
        lambda: WebhookPublisher("https://host/", source=""),
        lambda: WebhookPublisher("https://host/", timeout=timedelta(0)),
    ],
    ids=["scheme", "host", "user", "mode", "source", "timeout"],
)
def test_what_can_not_work_is_refused_at_once(make: Callable[[], WebhookPublisher]) -> None:
    with pytest.raises(DefinitionError):
        make()
