"""WebhookPublisher: events as CloudEvents over HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Literal
from urllib.parse import urlsplit

from usecasecore.errors import DefinitionError
from usecasecore.relay.cloudevents import binary, structured
from usecasecore.relay.message import OutgoingMessage
from usecasecore.relay.publisher import NotPublished, ReceiverUnavailable

__all__ = ["WebhookFailed", "WebhookPublisher"]


class WebhookFailed(NotPublished):
    """The receiver answered something other than 2xx, or nothing.

    Attributes:
        url: Where the event was sent, without the query.
        status: The HTTP status; None where there was no answer.
    """

    code = "webhook_failed"

    def __init__(self, *, url: str, status: int | None, detail: str = "") -> None:
        self.url, self.status, self.detail = url, status, detail
        said = f"answered {status}" if status is not None else f"gave no answer ({detail})"
        super().__init__(f"{url} {said}; 2xx is what acknowledges an event")


class WebhookPublisher:
    """Posts each event to a URL, as CloudEvents 1.0. Any 2xx acknowledges it; redirects are not followed."""

    def __init__(
        self,
        url: str,
        *,
        mode: Literal["structured", "binary"] = "structured",
        source: str = "usecasecore",
        timeout: timedelta = timedelta(seconds=10),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Take where to post, and how; nothing is opened yet.

        Args:
            url: `http` or `https`, without a user in it.
            mode: `structured` puts all into the body; `binary` the payload into the body and the rest into headers.
            source: The URI reference that tells this outbox from others; (source, id) is unique.
            timeout: How long to wait for each step of the exchange; keep it well below the relay's lease.
            headers: Further headers, such as `Authorization`.

        Raises:
            DefinitionError: If one of them can't be used.
        """
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
            raise DefinitionError("a webhook's URL is http://host/path or https://host/path; a user goes into `headers`")
        if mode not in ("structured", "binary"):
            raise DefinitionError(f"a webhook's mode is 'structured' or 'binary', not {mode!r}")
        if not source or timeout <= timedelta(0):
            raise DefinitionError("a webhook's source is a URI reference, and its timeout is longer than nothing")
        self._shown = f"{parts.scheme}://{parts.netloc}{parts.path}"
        self._host, self._port = parts.hostname, parts.port
        self._connection = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        self._target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._encode = structured if mode == "structured" else binary
        self._source = source
        self._seconds = timeout.total_seconds()
        self._headers = dict(headers or {})

    def publish(self, message: OutgoingMessage, /) -> None:
        """Post the event.

        Raises:
            ReceiverUnavailable: If no connection can be made.
            WebhookFailed: If the answer is another than 2xx, or doesn't come.
        """
        headers, body = self._encode(message, self._source)
        connection = self._connection(self._host, self._port, timeout=self._seconds)
        try:
            self._connect(connection)
            status = self._post(connection, {**headers, **self._headers}, body)
        finally:
            connection.close()
        if not 200 <= status < 300:
            raise WebhookFailed(url=self._shown, status=status)

    def _connect(self, connection: HTTPConnection) -> None:
        try:
            connection.connect()
        except OSError as error:
            raise ReceiverUnavailable(f"{self._shown} can't be reached ({type(error).__name__})") from error

    def _post(self, connection: HTTPConnection, headers: dict[str, str], body: bytes) -> int:
        try:
            connection.request("POST", self._target, body, headers)
            return connection.getresponse().status
        except (OSError, HTTPException) as error:
            raise WebhookFailed(url=self._shown, status=None, detail=type(error).__name__) from error
