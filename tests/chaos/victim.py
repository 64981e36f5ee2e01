"""A process to be killed: runs each command it is told in a child of its own, which a failpoint kills.

One line of JSON in: what to run and where to die. One line out: the signal that ended the child, or its exit code.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import Any, Self
from uuid import UUID

from sqlalchemy import create_engine

from tests.accounts import ADA, Deposit, Freeze, Open, Ping, SetPin, application
from usecasecore import Command, Runtime
from usecasecore.steps import Step, When
from usecasecore.testing import fail

__all__ = ["COMMANDS", "Victim"]

COMMANDS: dict[str, Any] = {
    "deposit": lambda one: Deposit(account_id=one, amount=5),
    "freeze": lambda one: Freeze(account_id=one),
    "pin": lambda one: SetPin(account_id=one, pin="1234"),
    "open": lambda one: Open(owner=f"of {one}"),
    "ping": lambda one: Ping(owner="x"),
}


class Victim:
    """The other end: starts the process and tells it what to run."""

    def __init__(self, url: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(timeout=30)
        self._process.stdout.close()

    def run(self, command: str, account_id: UUID, key: str, step: Step, when: When) -> int:
        """Run a command in a new process that is killed at the point; return how it ended: -9, or 0 where it didn't come by."""
        order = {"command": command, "account_id": str(account_id), "key": key, "step": step, "when": when}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())


def _main(url: str) -> None:
    for line in sys.stdin:
        order = json.loads(line)
        child = os.fork()
        if child == 0:
            _die(url, order)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)  # noqa: T201 - the answer


def _die(url: str, order: dict[str, str]) -> None:
    code = 1
    try:
        runtime = Runtime(create_engine(url), application())
        command: Command[Any] = COMMANDS[order["command"]](UUID(order["account_id"]))
        with fail(order["step"], order["when"], lambda _: os.kill(os.getpid(), signal.SIGKILL)):
            runtime.execute(command, actor=ADA, idempotency_key=order["key"], reason="x")
        code = 0
    finally:
        os._exit(code)


if __name__ == "__main__":
    _main(sys.argv[1])
