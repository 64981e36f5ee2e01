"""A run over many aggregates whose process is killed: whole batches are there, and the next run does the rest."""

from __future__ import annotations

import subprocess
import sys

import pytest
from sqlalchemy import create_engine

from tests.accounts import ADA, Base, Flip, Open, application
from tests.chaos.many import SIZE, by_account
from tests.chaos.soundness import assert_sound
from usecasecore import Runtime
from usecasecore.steps import Step, When


@pytest.mark.parametrize(
    ("step", "when", "committed"),
    [
        (Step.RESULT, When.AFTER, SIZE),
        (Step.COMMIT, When.BEFORE, SIZE),
        (Step.COMMIT, When.AFTER, 2 * SIZE),
    ],
)
def test_after_a_kill_whole_batches_are_there_and_the_next_run_goes_on(
    database_url: str, step: Step, when: When, committed: int
) -> None:
    engine = create_engine(database_url)
    Base.metadata.create_all(engine)
    runtime = Runtime(engine, application())
    ids = [runtime.execute(Open(owner=f"owner {number}")).account_id for number in range(3 * SIZE)]
    arguments = [database_url, step, when, *map(str, ids)]
    ended = subprocess.run([sys.executable, "-m", "tests.chaos.many", *arguments], check=False, timeout=60)
    assert ended.returncode == -9
    commands = [Flip(account_id=one) for one in ids]
    results = list(runtime.execute_many(commands, actor=ADA, key_of=by_account, batch=5))
    assert [one.replayed for one in results if not isinstance(one, Exception)] == [True] * committed + [False] * (
        3 * SIZE - committed
    )
    assert_sound(engine)
    engine.dispose()
