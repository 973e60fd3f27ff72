"""The time for which the process was stopped."""

from __future__ import annotations

import time
from typing import Any

import pytest

from sockscope.engine import stops
from sockscope.engine.run_clock import RunClock
from sockscope.engine.standstill import LoopStandstill
from sockscope.engine.stops import STOPS, Stops
from tests.engine.runs import running, swarm_of
from tests.waiting import until


@pytest.mark.parametrize(("continued_s", "told_s"), [(11.5, []), (13.5, [1.5])], ids=["within", "beyond"])
def test_a_standstill_of_the_loop_is_none_of_a_stop(
    monkeypatch: pytest.MonkeyPatch, continued_s: float, told_s: list[float]
) -> None:
    now_s = 10.0
    still, told = LoopStandstill(), list[float]()
    monkeypatch.setattr(stops, "perf_counter", lambda: now_s)
    monkeypatch.setattr("sockscope.engine.standstill.perf_counter", lambda: now_s)
    monkeypatch.setattr(stops, "LOOP_STANDSTILL", still)
    seen = Stops()
    seen.listeners.add(told.append)
    seen.look(0.0)
    with still.noted(2.0):
        now_s = continued_s
        seen.continued()
        now_s = max(12.0, continued_s)
    seen.look()
    assert told == told_s


def test_time_that_was_paused_or_stopped_is_none_of_the_duration() -> None:
    clock = RunClock(10.0, 100.0)
    clock.begin(100.0)
    clock.pause(101.0)
    assert clock.counted_s(105.0) == 1.0
    clock.resume(105.0)
    clock.skip(2.0)
    assert clock.counted_s(110.0) == 4.0


KINDS = [{"rate": 1_000}, {"clients": 20, "permits": 4}, {"clients": 20, "pool": 4}]


@pytest.mark.parametrize("kind", KINDS, ids=["open", "permits", "pool"])
async def test_after_a_stop_nothing_has_waited_less_than_nothing(kind: dict[str, Any]) -> None:
    async with running(**kind) as engine:
        await until(lambda: swarm_of(engine).totals.responses >= 20)
        time.sleep(0.3)  # noqa: ASYNC251  # nothing runs, as in a stop,
        STOPS.continued()  # and this is how it ends
        asked = swarm_of(engine).totals.requests
        await until(lambda: swarm_of(engine).totals.responses >= asked + 200)
    swarm = swarm_of(engine)
    # A duration below nothing is in the last bucket of all.
    assert (swarm.response_time.max_s or 0.0) >= 0
    assert (swarm.schedule_lateness.max_s or 0.0) >= 0
