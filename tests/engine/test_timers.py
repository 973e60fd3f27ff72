"""Nothing that is asked to last so long lasts shorter. There is no upper bound: that is the load's."""

import asyncio
from itertools import pairwise
from time import perf_counter

import pytest

from sockscope.engine.loops import loop_factory
from sockscope.engine.timers import Alarm, punctual, sleep_out
from sockscope.engine.work import burn
from tests.engine.runs import exchanges_of, running
from tests.waiting import until


@pytest.mark.parametrize("name", ["uvloop", "asyncio"])
@pytest.mark.parametrize("delay_s", [0.0004, 0.001, 0.0024, 0.005])
def test_a_timer_is_never_early_however_long_its_turn_has_lasted(name: str, delay_s: float) -> None:
    async def lasted() -> list[float]:
        loop = asyncio.get_running_loop()
        call_later = punctual(loop)
        found: list[float] = []
        for used_s in (0.0, 0.0002, 0.0006, 0.0013) * 5:
            await asyncio.sleep(0)
            burn(used_s)
            began_s = perf_counter()
            call_later(delay_s, lambda began_s=began_s: found.append(perf_counter() - began_s))
            await sleep_out(delay_s, call_later)
            found.append(perf_counter() - began_s)
        await until(lambda: len(found) == 40)
        return found

    with asyncio.Runner(loop_factory=loop_factory(name)) as runner:
        assert min(runner.run(lasted())) >= delay_s


@pytest.mark.parametrize("name", ["uvloop", "asyncio"])
def test_an_alarm_rings_once_for_each_time_it_is_set(name: str) -> None:
    async def rung() -> list[float]:
        rings: list[float] = []

        def ring() -> None:
            rings.append(perf_counter())
            if len(rings) < 3:
                alarm.set(0.001)

        alarm = Alarm(asyncio.get_running_loop(), ring)
        alarm.set(0.001)
        await until(lambda: len(rings) == 3)
        # One that was not set again would have the loop turn for ever.
        for _ in range(20):
            await asyncio.sleep(0)
        alarm.set(0.0)
        await until(lambda: len(rings) == 4)
        alarm.set(0.0)
        alarm.close()
        await asyncio.sleep(0)
        return rings

    with asyncio.Runner(loop_factory=loop_factory(name)) as runner:
        rings = runner.run(rung())
    assert len(rings) == 4
    assert min(after - before for before, after in pairwise(rings[:3])) >= 0.001


@pytest.mark.parametrize("name", ["uvloop", "asyncio"])
def test_a_sleeper_that_is_cancelled_as_it_is_to_wake_up_is_cancelled(name: str) -> None:
    async def slept() -> list[object]:
        loop = asyncio.get_running_loop()
        faults: list[object] = []
        loop.set_exception_handler(lambda _, context: faults.append(context))
        sleeper: asyncio.Task[None] | None = None
        loop.call_later(0.001, lambda: sleeper and sleeper.cancel())
        sleeper = loop.create_task(sleep_out(0.001, punctual(loop)))
        await asyncio.sleep(0)
        # Both are due in the next turn.
        burn(0.005)
        await asyncio.wait([sleeper])
        assert sleeper.cancelled()
        return faults

    with asyncio.Runner(loop_factory=loop_factory(name)) as runner:
        assert runner.run(slept()) == []


@pytest.mark.parametrize("pool", [0, 1])
@pytest.mark.parametrize("think_time_s", [0.001, 0.0035])
async def test_a_client_never_thinks_shorter_than_it_was_asked_to(pool: int, think_time_s: float) -> None:
    async with running(clients=1, think_time_s=think_time_s, pool=pool, requests=30) as engine:
        await engine.wait()
        made = exchanges_of(engine)
    assert len(made) == 30
    for before, after in pairwise(made):
        assert before.service_time_s is not None
        assert after.time_s - (before.time_s + before.service_time_s) >= think_time_s
