"""A TCP proxy before PostgreSQL that hurts a connection when a chosen message of the client passes."""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import threading
import time
from collections.abc import Callable
from enum import StrEnum
from typing import Self

from sqlalchemy import URL, make_url

__all__ = ["Hurt", "Proxy", "is_commit"]

_ENCRYPTION = {80877103, 80877104}  # SSLRequest, GSSENCRequest


class Hurt(StrEnum):
    """What happens to the connection."""

    CUT_BEFORE = "cut before the server gets the message"
    CUT_AFTER = "cut after the server has answered, before the answer is passed on"
    HALF_CLOSE = "the message is passed on, and the client is told that the server says no more"
    HANG_BEFORE = "the message is kept, and nothing passes any more"
    HANG_AFTER = "the answer is kept, and nothing passes any more"
    DELAY = "the message is passed on late"


def is_commit(kind: bytes, payload: bytes) -> bool:
    """Say whether a message of the client's is a COMMIT: a simple query, or the Parse of an extended one."""
    return kind in (b"Q", b"P") and b"COMMIT" in payload.upper()


class Proxy:
    """Listens on a loopback port of its own and passes on what comes, until a fault is due.

    Attributes:
        port: Where it listens.
        hurt: How many connections were hurt.
    """

    def __init__(self, url: str) -> None:
        self._target = make_url(url)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.hurt = 0
        self._due: list[tuple[Hurt, Callable[[bytes, bytes], bool]]] = []
        self._lock = threading.Lock()
        self._released = threading.Event()
        self._sockets: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self.delay = 0.2

    @property
    def url(self) -> URL:
        """The URL of the database, through the proxy."""
        return self._target.set(port=self.port)

    def __enter__(self) -> Self:
        self._run(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._released.set()
        _close(self._listener)  # closing alone would not wake who waits in `accept`
        for one in list(self._sockets):
            _close(one)
        for thread in self._threads:
            thread.join(timeout=5)

    def next(self, hurt: Hurt, when: Callable[[bytes, bytes], bool] = is_commit, times: int = 1) -> None:
        """Hurt the next so many connections on which such a message passes."""
        with self._lock:
            self._due += [(hurt, when)] * times

    def forgive(self) -> None:
        """Hurt nobody any more."""
        with self._lock:
            self._due.clear()

    def release(self) -> None:
        """Close what hangs."""
        self._released.set()

    def _run(self, target: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                assert self._target.host is not None
                assert self._target.port is not None
                try:
                    server = socket.create_connection((self._target.host, self._target.port), timeout=5)
                except OSError:
                    _close(client)
                    continue
                server.settimeout(None)
                for one in (
                    client,
                    server,
                ):  # messages are passed on one by one: together they would wait for each other's receipt
                    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._sockets |= {client, server}
                line = _Line(client, server)
                self._run(self._forth, line)
                self._run(self._back, line)

    def _forth(self, line: _Line) -> None:
        with contextlib.suppress(OSError, EOFError):
            self._begin(line)
            while True:
                kind = _exactly(line.client, 1)
                length = _exactly(line.client, 4)
                payload = _exactly(line.client, struct.unpack("!I", length)[0] - 4)
                fault = self._fault(kind, payload)
                if fault is not None and not self._suffer(line, fault, kind + length + payload):
                    return
                if fault is None:
                    line.server.sendall(kind + length + payload)
        line.close()

    def _begin(self, line: _Line) -> None:
        while True:
            length = _exactly(line.client, 4)
            payload = _exactly(line.client, struct.unpack("!I", length)[0] - 4)
            line.server.sendall(length + payload)
            if struct.unpack("!I", payload[:4])[0] not in _ENCRYPTION:
                return

    def _fault(self, kind: bytes, payload: bytes) -> Hurt | None:
        with self._lock:
            for index, (hurt, when) in enumerate(self._due):
                if when(kind, payload):
                    del self._due[index]
                    self.hurt += 1
                    return hurt
        return None

    def _suffer(self, line: _Line, hurt: Hurt, message: bytes) -> bool:
        """Return whether the connection goes on."""
        if hurt is Hurt.CUT_BEFORE:
            line.close()
            return False
        if hurt is Hurt.DELAY:
            time.sleep(self.delay)
            line.server.sendall(message)
            return True
        if hurt is Hurt.HANG_BEFORE:
            self._hang(line)
            line.close()
            return False
        line.hurt = hurt
        line.server.sendall(message)
        return True

    def _hang(self, line: _Line) -> None:
        # Until the client gives up: what it has sent is kept, that it is gone is passed on.
        while not self._released.is_set():
            readable, _, _ = select.select([line.client], [], [], 0.05)
            if readable and not line.client.recv(65536):  # what comes behind the message goes nowhere either
                return

    def _back(self, line: _Line) -> None:
        with contextlib.suppress(OSError):
            while data := line.server.recv(65536):
                if line.hurt is Hurt.CUT_AFTER:
                    break
                if line.hurt is Hurt.HANG_AFTER:
                    self._released.wait()
                    break
                if line.hurt is Hurt.HALF_CLOSE:
                    line.client.shutdown(socket.SHUT_WR)
                    line.server.recv(1)  # until the client is gone
                    break
                line.client.sendall(data)
        line.close()


class _Line:
    """A connection of a client, and ours to the server for it."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.client, self.server = client, server
        self.hurt: Hurt | None = None

    def close(self) -> None:
        _close(self.client)
        _close(self.server)


def _close(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()


def _exactly(source: socket.socket, count: int) -> bytes:
    parts = b""
    while len(parts) < count:
        part = source.recv(count - len(parts))
        if not part:
            raise EOFError
        parts += part
    return parts
