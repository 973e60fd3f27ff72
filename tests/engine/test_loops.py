import asyncio
import sys

import pytest

from sockscope.engine.lens.task_watch import TaskWatch
from sockscope.engine.loops import loop_factory, seconds_left


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_a_timer_tells_how_long_it_has_to_go_however_short_that_is(loop: str) -> None:
    async def left() -> list[float]:
        running = asyncio.get_running_loop()
        timers = [running.call_later(delay_s, lambda: None) for delay_s in (0.0, 0.0002, 0.001, 60.0)]
        found = [seconds_left(timer, running) for timer in timers]
        for timer in timers:
            timer.cancel()
        return found

    with asyncio.Runner(loop_factory=loop_factory(loop)) as runner:
        at_once, soon, later, much_later = runner.run(left())
    assert at_once == 0.0
    assert 0.0 <= soon <= later <= 0.002
    assert 50.0 < much_later <= 61.0


@pytest.mark.skipif(
    sys.version_info >= (3, 12), reason="asyncio has other attributes, and CPython keeps them otherwise"
)
def test_a_loop_has_no_more_attributes_than_cpython_reads_in_a_hurry() -> None:
    async def watched() -> int:
        loop = asyncio.get_running_loop()
        watch = TaskWatch()
        watch.begin()
        loop.spare = loop.report = loop.claim = None  # type: ignore[attr-defined]
        watch.end()
        return len(vars(loop))

    with asyncio.Runner(loop_factory=loop_factory("asyncio")) as runner:
        assert runner.run(watched()) <= 30
