"""Greenlets that are used again: nobody can tell, but by what it costs."""

from __future__ import annotations

import asyncio
import gc
import threading
from contextvars import ContextVar
from typing import Any
from weakref import ref

import pytest

greenlet = pytest.importorskip("greenlet")

from sqlalchemy.util import await_only  # noqa: E402 - only with greenlet

from usecasecore import unofficial  # noqa: E402
from usecasecore.greenlets import Greenlets  # noqa: E402

seen: ContextVar[Any] = ContextVar("seen", default="nothing")


class Something:
    """What a weak reference can be had of."""


def current(*_: object) -> Any:
    return greenlet.getcurrent()


def after_a_turn(*given: Any) -> tuple[Any, ...]:
    await_only(asyncio.sleep(0))
    return given


def after_a_while() -> Any:
    await_only(asyncio.sleep(0.01))
    return greenlet.getcurrent()


def test_a_function_returns_through_what_it_waits_for() -> None:
    greenlets = Greenlets()

    async def twice() -> list[Any]:
        return [await greenlets.run(after_a_turn, n, "a") for n in range(2)]

    assert asyncio.run(twice()) == [(0, "a"), (1, "a")]


def test_one_after_the_other_they_run_in_the_same_greenlet() -> None:
    greenlets = Greenlets()

    async def scenario() -> None:
        assert await greenlets.run(after_a_while) is await greenlets.run(current)

    asyncio.run(scenario())


def test_at_the_same_time_they_run_in_greenlets_of_their_own_and_only_so_many_are_kept() -> None:
    greenlets = Greenlets()

    async def scenario() -> None:
        many = await asyncio.gather(*(greenlets.run(after_a_while) for _ in range(40)))
        assert len(set(many)) == 40
        gone = [ref(one) for one in many]
        many.clear()
        await asyncio.sleep(0)  # what gathered them goes
        assert sum(one() is not None for one in gone) == 32

    asyncio.run(scenario())


def test_what_a_function_raises_ends_its_greenlet_and_no_other() -> None:
    greenlets = Greenlets()
    ended: list[Any] = []

    def fail() -> None:
        ended.append(greenlet.getcurrent())
        await_only(asyncio.sleep(0))
        raise LookupError("not here")

    async def scenario() -> None:
        before = await greenlets.run(current)
        with pytest.raises(LookupError, match="not here"):
            await greenlets.run(fail)
        assert ended == [before]
        assert ended[0].dead
        assert await greenlets.run(after_a_turn, 1) == (1,)

    asyncio.run(scenario())


def test_a_failure_and_a_cancellation_of_what_it_waits_for_reach_the_function_which_may_go_on() -> None:
    greenlets = Greenlets()
    caught: list[str] = []

    async def refuse() -> None:
        raise LookupError("not here")

    def go_on() -> str:
        try:
            await_only(refuse())
        except LookupError as error:
            caught.append(str(error))
        try:
            await_only(asyncio.sleep(60))
        except asyncio.CancelledError as error:
            caught.append(str(error))
        await_only(asyncio.sleep(0))
        return "all the same"

    async def scenario() -> None:
        running = asyncio.ensure_future(greenlets.run(go_on))
        await asyncio.sleep(0.05)
        running.cancel("enough")
        assert await running == "all the same"
        assert await greenlets.run(after_a_turn, 1) == (1,)

    asyncio.run(scenario())
    assert caught == ["not here", "enough"]


def test_a_greenlet_that_waits_for_work_holds_nothing_of_the_last() -> None:
    greenlets = Greenlets()

    async def command() -> list[ref[Something]]:
        given, context = Something(), Something()
        seen.set(context)
        result = (await greenlets.run(lambda *args: (after_a_turn(*args), Something()), given))[1]
        return [ref(given), ref(context), ref(result)]

    async def scenario() -> None:
        await greenlets.run(current)  # makes the greenlet
        for _ in range(2):
            held = await asyncio.create_task(command())
            await asyncio.sleep(0)
            assert [one() for one in held] == [None, None, None]

    asyncio.run(scenario())


def test_a_function_is_in_the_context_of_its_task_before_and_after_a_wait() -> None:
    greenlets = Greenlets()

    def look() -> list[Any]:
        found = [seen.get()]
        await_only(asyncio.sleep(0.01))
        found.append(seen.get())
        seen.set("by the function")
        return found

    async def command(name: str) -> None:
        seen.set(name)
        assert await greenlets.run(look) == [name, name]
        assert seen.get() == "by the function"

    async def scenario() -> None:
        for _ in range(2):
            await asyncio.gather(*(command(name) for name in "abc"))
        assert seen.get() == "nothing"

    asyncio.run(scenario())


def test_a_function_may_wait_for_another() -> None:
    greenlets = Greenlets()

    def outer() -> Any:
        return greenlet.getcurrent(), await_only(greenlets.run(after_a_while))

    async def scenario() -> None:
        mine, other = await greenlets.run(outer)
        assert mine is not other

    asyncio.run(scenario())


def test_they_may_be_used_from_one_greenlet_of_a_thread_after_another() -> None:
    greenlets = Greenlets()

    def in_a_loop() -> Any:
        return asyncio.run(greenlets.run(after_a_while))

    first = in_a_loop()
    assert greenlet.greenlet(in_a_loop).switch() is first
    assert in_a_loop() is first


def test_threads_share_no_greenlet_and_leave_none() -> None:
    greenlets = Greenlets()
    found: list[ref[Any]] = []

    def in_a_loop() -> None:
        async def twice() -> None:
            found.append(ref(await greenlets.run(after_a_while)))
            assert await greenlets.run(after_a_while) is found[-1]()

        asyncio.run(twice())

    in_a_loop()
    for _ in range(2):
        thread = threading.Thread(target=in_a_loop)
        thread.start()
        thread.join()
    gc.collect()
    assert len(found) == 3
    assert [one() is None for one in found] == [False, True, True]


def test_they_go_when_nobody_needs_them() -> None:
    greenlets = Greenlets()
    mine = asyncio.run(greenlets.run(current))
    held = ref(mine)
    del mine, greenlets
    assert held() is None


def test_where_sqlalchemy_does_not_know_the_mark_it_starts_the_greenlets_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unofficial, "marked", lambda one: one)  # as if it looked for another
    unofficial.unknown_parts_of_greenlets.cache_clear()
    try:
        greenlets = Greenlets()
        assert unofficial.unknown_parts_of_greenlets() == ("__sqlalchemy_greenlet_provider__",)
    finally:
        monkeypatch.undo()
        unofficial.unknown_parts_of_greenlets.cache_clear()

    async def run() -> None:
        seen.set("mine")
        assert await greenlets.run(after_a_turn, 1, "a") == (1, "a")
        assert await greenlets.run(lambda: (after_a_turn(), seen.get())[1]) == "mine"
        assert await greenlets.run(current) is not await greenlets.run(current)
        with pytest.raises(ZeroDivisionError):
            await greenlets.run(lambda: 1 // (len(after_a_turn())))

    asyncio.run(run())


def test_with_a_version_that_is_not_known_sqlalchemy_starts_the_greenlets_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unofficial, "is_known", lambda: False)
    greenlets = Greenlets()

    async def run() -> None:
        assert await greenlets.run(after_a_turn, 1) == (1,)
        assert await greenlets.run(current) is not await greenlets.run(current)

    asyncio.run(run())


def test_the_mark_is_known() -> None:
    unofficial.unknown_parts_of_greenlets.cache_clear()
    assert unofficial.unknown_parts_of_greenlets() == ()
