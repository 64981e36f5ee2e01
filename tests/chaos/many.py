"""A process that runs many commands and is killed on the way: python -m tests.chaos.many URL STEP WHEN BATCH IDS..."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any
from uuid import UUID

from sqlalchemy import create_engine

from tests.accounts import ADA, Flip, application
from usecasecore import Runtime
from usecasecore.steps import Moment
from usecasecore.testing import fail

__all__ = ["SIZE", "by_account"]

SIZE = 4


def by_account(command: Any) -> str:
    """Return the key of a command: the account's id."""
    return str(command.account_id)


def _main(url: str, step: str, when: str, ids: list[str]) -> None:
    sessions: list[Any] = []

    def die_in_the_second_batch(moment: Moment) -> None:
        if not any(moment.session is one for one in sessions):
            sessions.append(moment.session)
        if len(sessions) == 2:
            os.kill(os.getpid(), signal.SIGKILL)

    runtime = Runtime(create_engine(url), application())
    with fail(step, when, die_in_the_second_batch, times=None):
        list(runtime.execute_many([Flip(account_id=UUID(one)) for one in ids], actor=ADA, key_of=by_account, batch=SIZE))


if __name__ == "__main__":
    _main(sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4:])
