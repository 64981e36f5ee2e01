from __future__ import annotations

import json

from tests.unit.relay.messages import MESSAGE, message
from usecasecore.relay.cloudevents import binary, cloud_event_attributes, structured

ATTRIBUTES = {
    "specversion": "1.0",
    "id": "0198c5a0-0000-7000-8000-000000000001",
    "source": "/shop",
    "type": "order.submitted",
    "subject": "42",
    "time": "2026-05-04T12:00:00.001500Z",
    "datacontenttype": "application/json",
    "typeversion": 2,
    "correlationid": "c 1",
    "causationid": "k1",
    "tenant": "acme",
    "aggregate": "order",
    "partitionkey": "order/42",
    "sequence": "0000000000000000007.0000000001",
}


def test_an_event_has_the_attributes_of_cloudevents() -> None:
    assert cloud_event_attributes(MESSAGE, "/shop") == ATTRIBUTES


def test_names_of_attributes_are_lower_case_letters_and_digits() -> None:
    for name in ATTRIBUTES:
        assert name.isascii()
        assert name.isalnum()
        assert name == name.lower()
        assert len(name) <= 20


def test_an_event_without_an_aggregate_has_no_order_and_no_subject() -> None:
    lone = message(aggregate=None, aggregate_id=None, version=None, tenant=None, headers={})
    kept = {"specversion", "id", "source", "type", "time", "datacontenttype", "typeversion"}
    assert cloud_event_attributes(lone, "/shop").keys() == kept


def test_sequences_sort_as_text_like_versions_and_ordinals() -> None:
    places = [(1, 0), (1, 9), (1, 10), (2, 0), (10, 3), (9_000_000_000_000_000_000, 0)]
    texts = [str(cloud_event_attributes(message(version=one, ordinal=two), "s")["sequence"]) for one, two in places]
    assert sorted(texts) == texts


def test_the_structured_mode_puts_everything_into_the_body_and_the_payload_as_it_is() -> None:
    headers, body = structured(MESSAGE, "/shop")
    assert headers == {"Content-Type": "application/cloudevents+json; charset=utf-8"}
    assert json.loads(body) == {**ATTRIBUTES, "data": MESSAGE.payload}
    assert MESSAGE.payload_text.encode() in body


def test_the_binary_mode_puts_the_payload_into_the_body_and_the_rest_into_headers() -> None:
    headers, body = binary(MESSAGE, "/shop")
    assert body == MESSAGE.payload_text.encode()
    assert headers["Content-Type"] == "application/json"
    assert headers["ce-id"] == ATTRIBUTES["id"]
    assert headers["ce-typeversion"] == "2"
    assert "ce-datacontenttype" not in headers


def test_the_binary_mode_escapes_what_a_header_can_not_hold() -> None:
    headers, _ = binary(message(aggregate_id='ä|"50%"\r\nx'), "s")
    assert headers["ce-subject"] == "%C3%A4|%2250%25%22%0D%0Ax"
    assert headers["ce-correlationid"] == "c%201"
