"""CloudEvents 1.0: an event as its attributes, and as an HTTP body and headers in either content mode.

https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md
"""

from __future__ import annotations

import json
from typing import TypeAlias
from urllib.parse import quote

from usecasecore.relay.message import OutgoingMessage

__all__ = ["binary", "cloud_event_attributes", "structured"]

Attributes: TypeAlias = dict[str, str | int]

# What the HTTP binding leaves as it is: printable ASCII but the space, the double quote and the percent sign.
_PLAIN = "!#$&'()*+,-./:;<=>?@[\\]^_`{|}~"


def cloud_event_attributes(message: OutgoingMessage, source: str) -> Attributes:
    """Return all attributes but the data.

    `sequence` sorts as text in the order of the aggregate's events: 19 digits of the version, 10 of the ordinal.
    """
    attributes: dict[str, str | int | None] = {
        "specversion": "1.0",
        "id": str(message.id),
        "source": source,
        "type": message.type,
        "subject": message.aggregate_id,
        "time": message.occurred_at.isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "datacontenttype": "application/json",
        "typeversion": message.type_version,
        "correlationid": message.headers.get("correlation_id"),
        "causationid": message.headers.get("causation_id"),
        "tenant": message.tenant,
    }
    if message.aggregate is not None:
        attributes["aggregate"] = message.aggregate
        attributes["partitionkey"] = f"{message.aggregate}/{message.aggregate_id}"
    if message.version is not None:
        attributes["sequence"] = f"{message.version:019d}.{message.ordinal:010d}"
    return {name: value for name, value in attributes.items() if value is not None and value != ""}


def structured(message: OutgoingMessage, source: str) -> tuple[dict[str, str], bytes]:
    """Return headers and body: everything is in the body."""
    attributes = json.dumps(cloud_event_attributes(message, source), ensure_ascii=False, separators=(",", ":"))
    # The payload goes in as the text that it is: parsed and written anew, a number might look different.
    body = f'{attributes[:-1]},"data":{message.payload_text}}}'
    return {"Content-Type": "application/cloudevents+json; charset=utf-8"}, body.encode()


def binary(message: OutgoingMessage, source: str) -> tuple[dict[str, str], bytes]:
    """Return headers and body: the attributes are `ce-` headers, the body is the payload."""
    attributes = cloud_event_attributes(message, source)
    content_type = str(attributes.pop("datacontenttype"))
    headers = {f"ce-{name}": quote(str(value), safe=_PLAIN) for name, value in attributes.items()}
    return {"Content-Type": content_type, **headers}, message.payload_text.encode()
