"""Sends statements ahead: the database works on them while Python goes on, and says at the end what became of them.

How it works. psycopg's pipeline mode sends without waiting. PostgreSQL begins with a statement when it comes, and keeps its answer
until it is asked for. All of it is part of the one transaction: an error of any of the statements is raised when the answers are
fetched, and ends it. Statements of user code in between take their turn, and wait for those before them.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from sqlalchemy import Connection

from usecasecore import unofficial
from usecasecore.driver import is_unwatched

__all__ = ["Ahead"]


class Ahead:
    """The statements that were sent on a connection and not asked for yet."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._driver: Any = connection.connection.driver_connection
        self._pipeline: Any = None
        self._sent: list[tuple[str, Any, Any, Callable[[Any], None]]] = []

    @classmethod
    def of(cls, connection: Connection) -> Ahead | None:
        """Return one for a connection in a transaction; None where its driver can't, or somebody watches its statements."""
        if connection.dialect.driver != "psycopg" or connection.dialect.is_async or not is_unwatched(connection):
            return None
        capabilities: Any = getattr(connection.dialect.loaded_dbapi, "capabilities", None)
        return cls(connection) if capabilities is not None and capabilities.has_pipeline() else None

    def send(self, text: str, parameters: Any, take: Callable[[Any], None]) -> None:
        """Send a statement.

        Args:
            text: With the driver's placeholders.
            parameters: As the driver takes them.
            take: Is called with the cursor when the answer is there.

        Raises:
            DBAPIError: As SQLAlchemy raises it; also for a statement that was sent before.
        """
        cursor = None
        try:
            if self._pipeline is None:
                pipeline = self._driver.pipeline()
                pipeline.__enter__()
                self._pipeline = pipeline
            cursor = self._driver.cursor()
            cursor.execute(text, parameters)
        except BaseException as error:  # noqa: BLE001 - SQLAlchemy treats each kind in its way
            self.abandon()
            unofficial.raise_translated(self._connection, error, text, parameters, cursor)
        self._sent.append((text, parameters, cursor, take))

    def fetch(self) -> None:
        """Wait for all answers, and have them taken in the order sent.

        Raises:
            DBAPIError: As SQLAlchemy raises it, for the first statement that failed.
            Exception: Whatever is raised by who takes an answer.
        """
        sent, self._sent = self._sent, []
        try:
            self._leave()
        except BaseException as error:  # noqa: BLE001 - as above
            failed = next((one for one in sent if one[2].pgresult is None), sent[-1])
            unofficial.raise_translated(self._connection, error, *failed[:3])
        for _, _, cursor, take in sent:
            take(cursor)
            cursor.close()

    def abandon(self) -> None:
        """Wait for what was sent, and forget it: the transaction is to be rolled back."""
        self._sent = []
        with suppress(Exception):
            self._leave()

    def _leave(self) -> None:
        pipeline, self._pipeline = self._pipeline, None
        if pipeline is not None:
            pipeline.__exit__(None, None, None)
