"""What the process uses, and how late its loop is."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import pytest

from sockscope.core.histogram import Histogram
from sockscope.core.run.figures import HEARTBEAT_S
from sockscope.engine.run_queue import RunQueue
from sockscope.engine.sampler import Sampler, time_wait_sockets
from tests.waiting import until

BLOCK_S = 0.2


async def test_a_block_counts_for_as_long_as_it_lasts() -> None:
    sampler = Sampler()
    sampler.start()
    await asyncio.sleep(0)
    time.sleep(BLOCK_S)  # noqa: ASYNC251  # what is measured
    await asyncio.sleep(2 * HEARTBEAT_S)
    sampler.stop()
    lag = sampler.sample().loop_lag
    # Half of the due times that fell into it were late by half of it or more.
    assert _later_than(lag, BLOCK_S / 2) >= BLOCK_S / 2 / HEARTBEAT_S - 1
    assert (lag.max_s or 0.0) >= BLOCK_S - HEARTBEAT_S


def _later_than(lag: Histogram, seconds: float) -> int:
    return sum(count for late_s, count in lag.occupied() if late_s >= seconds)


@pytest.mark.skipif(not Path("/proc/self/schedstat").exists(), reason="the kernel does not tell")
async def test_what_the_busiest_thread_wanted_is_counted_running_or_waiting() -> None:
    queue = RunQueue()
    began_s = time.thread_time()

    def busy() -> bool:
        until_s = time.perf_counter() + 0.01
        while time.perf_counter() < until_s:
            pass
        return time.thread_time() - began_s >= 0.05

    await until(busy)
    wanted = queue.read()
    assert wanted is not None
    assert wanted.busiest_s >= 0.03
    assert wanted.waited_s >= 0


def test_what_cannot_be_read_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    assert RunQueue(os.getpid()).read() is not None
    assert RunQueue(2**22 + 1).read() is None
    with monkeypatch.context() as blind:
        blind.setattr(os, "read", lambda *_: b"")
        assert RunQueue().read() is None


@pytest.mark.skipif(not Path("/proc/self/schedstat").exists(), reason="the kernel does not tell")
def test_a_reading_that_fails_leaves_its_time_to_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    nanoseconds = 0
    monkeypatch.setattr(os, "read", lambda *_: b"%d 0 1" % nanoseconds)
    queue = RunQueue()
    nanoseconds = 2_000_000_000
    with monkeypatch.context() as blind:
        blind.setattr(os, "read", lambda *_: b"")
        assert queue.read() is None
    wanted = queue.read()
    assert wanted is not None
    assert wanted.busiest_s == 2.0


def test_sockets_in_time_wait_are_read_as_the_kernel_writes_them(tmp_path: Path) -> None:
    (tmp_path / "sockstat").write_text("sockets: used 290\nTCP: inuse 5 orphan 0 tw 198 alloc 7 mem 1\n")
    assert time_wait_sockets(tmp_path) == 198
    assert time_wait_sockets(tmp_path / "elsewhere") is None


async def test_time_and_what_was_used_in_it_are_of_one_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    sampler = Sampler()
    before, listed, began_s = sampler.sample(), os.listdir, time.process_time()

    def after_others_computed(path: str) -> list[str]:
        while time.process_time() - began_s < BLOCK_S:
            pass
        return listed(path)

    monkeypatch.setattr(os, "listdir", after_others_computed)
    after = sampler.sample()
    assert after.cpu_s - before.cpu_s >= BLOCK_S / 2
    assert after.time_s - before.time_s >= BLOCK_S / 2
