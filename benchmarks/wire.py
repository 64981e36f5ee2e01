"""Counts blocking round trips: a proxy between a PostgreSQL client and its server that sees who speaks when.

How it works. A client that waits for an answer is silent until it has one. So a blocking round trip begins when the client
speaks and the server has spoken since the client last did; whatever the client sends before the next answer belongs to the
same trip, be it one message or a pipeline. The server's first answer could overtake a client that is still sending, so the
proxy holds answers back until the client has been silent for a while (`PATIENCE`). For a client that waits, the count is
exact whatever the patience: nothing is timed. Only one that does not wait, and dawdles, is counted too high, never too low.

Messages are looked into as well, so that each trip can name its statements; the count does not depend on that. For it the
connection must not be encrypted, which `url` takes care of.
"""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from sqlalchemy.engine import make_url

__all__ = ["RoundTrip", "Wire"]

PATIENCE = 0.002
"""Seconds of the client's silence after which it is taken to wait."""


@dataclass(slots=True)
class RoundTrip:
    """What the client sent before it waited.

    Attributes:
        statements: The SQL texts, in order.
    """

    statements: list[str] = field(default_factory=list)

    def __repr__(self) -> str:
        shown = (" ".join(statement.split()) for statement in self.statements)
        return " + ".join(text if len(text) <= 60 else f"{text[:57]}..." for text in shown) or "(no statement)"


class Wire:
    """A proxy on a loopback port, from `with` to its end, for any number of connections.

    Args:
        url: The SQLAlchemy URL of the server's database.
    """

    def __init__(self, url: str) -> None:
        self._behind = make_url(url)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._trips: list[RoundTrip] = []
        self._closing = False
        self._threads = [threading.Thread(target=self._accept, daemon=True)]

    @property
    def url(self) -> str:
        """The same database, by way of the proxy, unencrypted."""
        port = self._listener.getsockname()[1]
        through = self._behind.set(host="127.0.0.1", port=port).update_query_dict({"sslmode": "disable", "gssencmode": "disable"})
        return through.render_as_string(hide_password=False)

    @contextlib.contextmanager
    def recording(self) -> Iterator[list[RoundTrip]]:
        """Yield a list; at the end of the block it holds the round trips that began in it.

        Nothing else may be under way on the wire.
        """
        recorded: list[RoundTrip] = []
        start = len(self._trips)
        yield recorded
        recorded += self._trips[start:]

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._closing = True
        # A shut-down listener lets `accept` return, a closed one would not.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(timeout=5)

    def _accept(self) -> None:
        while not self._closing:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(client,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            server = socket.create_connection((self._behind.host or "127.0.0.1", self._behind.port or 5432))
            with server:
                for one in (client, server):
                    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._pass_on(client, server)

    def _pass_on(self, client: socket.socket, server: socket.socket) -> None:
        requests, trip, held = _Requests(), RoundTrip(), b""
        answered, silent_since = True, time.monotonic()
        while not self._closing:
            wait = max(0.0, silent_since + PATIENCE - time.monotonic()) if held else 0.1
            ready, _, _ = select.select([client, server], [], [], wait)
            if client in ready:
                if not (data := client.recv(1 << 16)):
                    return
                if answered:
                    trip, answered = RoundTrip(), False
                    self._trips.append(trip)
                trip.statements += requests.statements_in(data)
                server.sendall(data)
                silent_since = time.monotonic()
            elif server in ready:
                if not (data := server.recv(1 << 16)):
                    client.sendall(held)
                    return
                held += data
            if held and time.monotonic() - silent_since >= PATIENCE:
                answered = True  # before it is: the client may speak at once
                client.sendall(held)
                held = b""


class _Requests:
    """Reads the client's messages, which come in pieces of any size."""

    def __init__(self) -> None:
        self._bytes = b""
        self._started = False
        self._prepared: dict[bytes, str] = {}

    def statements_in(self, data: bytes) -> Iterator[str]:
        """Yield the SQL texts of the messages that these bytes complete."""
        self._bytes += data
        while (message := self._next()) is not None:
            kind, body = message
            if kind == b"Q":
                yield body.rstrip(b"\0").decode(errors="replace")
            elif kind == b"P":
                name, text, _ = body.split(b"\0", 2)
                self._prepared[name] = text.decode(errors="replace")
            elif kind == b"B":
                _, name, _ = body.split(b"\0", 2)
                yield self._prepared.get(name, "(unknown)")

    def _next(self) -> tuple[bytes, bytes] | None:
        # Up to the start-up message there is no type byte. Requests for encryption come before it.
        head = 1 if self._started else 0
        if len(self._bytes) < head + 4:
            return None
        (length,) = struct.unpack_from("!i", self._bytes, head)
        if len(self._bytes) < head + length:
            return None
        kind, body = self._bytes[:head], self._bytes[head + 4 : head + length]
        self._bytes = self._bytes[head + length :]
        if not self._started:
            (code,) = struct.unpack_from("!i", body)
            self._started = code >> 16 == 3
        return kind, body
