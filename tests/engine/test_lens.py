"""The lens: how busy a loop is, and what holds it up."""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from time import perf_counter
from typing import Any

import pytest

from sockscope.core.events import EventKind
from sockscope.core.run.figures import HEARTBEAT_S
from sockscope.core.run.lens import Hold, call_at
from sockscope.core.run.snapshot import ProcessKey
from sockscope.core.run.tasks import OWN, CancelOutcome, TaskView
from sockscope.engine.engine import Engine
from sockscope.engine.lens import hold_log
from sockscope.engine.lens.alarm import Alarm, WaitingAlarm, alarm
from sockscope.engine.lens.clocks import Stand
from sockscope.engine.lens.holds import Evidence, judge
from sockscope.engine.lens.lens import Collector, Lens
from sockscope.engine.lens.stack import Spot, at, frames_of, spot
from sockscope.engine.lens.watchdog import Look
from sockscope.engine.loops import loop_name
from sockscope.engine.own_errors import shown_path
from sockscope.engine.sampler import Sampler
from tests.engine.runs import EVERYTHING, running, swarm_of, tune
from tests.waiting import until


def test_a_stack_ends_where_something_else_is_given_for_a_frame() -> None:
    torn: Any = object()
    assert frames_of(sys._getframe())[0].f_code.co_name.startswith("test_a_stack")
    assert frames_of(torn) == frames_of(None) == []


async def test_a_lens_that_is_switched_on_tells_how_busy_the_loop_is_and_then_no_more() -> None:
    async with running() as engine:
        assert engine.snapshot().processes[0].lens is None
        await tune(engine, lens=True)
        asked = swarm_of(engine).totals.responses
        await until(lambda: swarm_of(engine).totals.responses > asked + 100)
        await tune(engine, lens=False)
        seen = engine.snapshot().processes[0].lens
        assert seen is not None
        assert 0 < seen.busy_s <= seen.looked_s
        counts_turns = loop_name(asyncio.get_running_loop()) == "asyncio"
        assert (seen.busy_by, bool(seen.turns)) == ("select", True) if counts_turns else ("CPU", False)
        assert not counts_turns or (seen.callbacks or 0) >= 100
        await asyncio.sleep(0.01)
        later = engine.snapshot().processes[0].lens
        assert later is not None
        assert (later.is_on, later.looked_s) == (False, seen.looked_s)


async def held_by(block: Callable[[], object], kind: str) -> Hold:
    """Return the first hold of this kind while a callback of the loop calls ``block`` again and again."""
    loop, sampler = asyncio.get_running_loop(), Sampler()
    lens = Lens(sampler)
    sampler.start()
    lens.look(True)
    try:
        async with asyncio.timeout(60):
            while True:
                # Alone among callbacks that are over at once: those do not hold up the loop.
                loop.call_soon(block)
                await asyncio.sleep(0.02)
                view = lens.view()
                assert view is not None
                if found := [hold for hold in view.holds if hold.kind == kind and hold.call]:
                    return found[0]
    finally:
        lens.look(False)
        sampler.stop()


def test_a_lens_ends_although_own_code_has_cleared_the_callbacks_of_the_collector() -> None:
    others, collector = gc.callbacks[:], Collector()
    gc.callbacks[:] = others
    collector.end()
    assert gc.callbacks == others


def sleeps() -> None:
    time.sleep(0.1)


def computes() -> int:
    return sum(len(str(number)) for number in range(400_000))


async def test_a_call_that_blocks_the_loop_is_named_by_its_line() -> None:
    hold = await held_by(sleeps, "call")
    assert call_at(hold) == f"time.sleep at {shown_path(__file__)}:{sleeps.__code__.co_firstlineno + 1}"
    assert hold.duration_s >= 0.1 - 2 * HEARTBEAT_S  # it may be told from the next heartbeat on


async def test_a_callback_that_computes_is_told_from_one_that_waits() -> None:
    hold = await held_by(computes, "computing")
    assert (hold.file, hold.line) == (shown_path(__file__), computes.__code__.co_firstlineno + 1)


async def test_the_garbage_collector_is_told_from_calls() -> None:
    many: list[object] = []
    for _ in range(300_000):
        many.append([many])
    hold = await held_by(gc.collect, "collection")
    assert call_at(hold).startswith("garbage collection of generation 2")


async def test_who_waited_for_the_end_of_a_hold_is_counted_and_it_gets_a_line_of_the_log() -> None:
    # Few enough requests that those are still known that waited, however late they are counted.
    async with running(lens=True, clients=3, service_time_s=0.002) as engine:

        def naps() -> list[Hold]:
            lens = engine.snapshot(EVERYTHING).processes[0].lens
            return [hold for hold in lens.holds if hold.call == "time.sleep"] if lens is not None else []

        def is_told() -> bool:
            events = engine.snapshot(EVERYTHING).events
            lines = [event.text for event in events if event.kind is EventKind.MARKER]
            return any(
                line.startswith("held up ") and ": time.sleep at " in line and "(main)" in line
                for line in lines
            )

        async with asyncio.timeout(60):
            while not (is_told() and any(hold.requests == 3 for hold in naps())):
                sleeps()
                await asyncio.sleep(0.1)


async def test_who_waited_for_a_hold_that_is_over_for_long_enough_is_counted_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hold_log, "COUNTED_AFTER_S", 30.0)
    counted: list[Hold] = []

    async def count(hold: Hold) -> int:
        counted.append(hold)
        return 1

    log = hold_log.HoldLog(lambda *_: None, count)
    old, new = Hold(perf_counter() - 60, 1.0, "call"), Hold(perf_counter(), 0.1, "call")
    log.hear(("server", 1), ("server",), [old, new])
    await log.settle()
    assert counted == [old]
    log.close()


@pytest.mark.parametrize(
    ("sent_s", "answered_s", "waited"),
    [
        (0.9, 1.5, True),  # in flight when it began
        (1.2, 1.51, True),  # sent meanwhile
        (1.2, 0.0, True),  # and never answered
        (1.495, 1.51, False),  # just before its end
        (1.1, 1.2, False),  # answered by another loop
        (0.0, 1.51, False),  # most of its time was before
        (1.6, 1.7, False),
    ],
)
def test_a_request_is_held_up_that_waits_for_the_end_of_a_hold(
    sent_s: float, answered_s: float, waited: bool
) -> None:
    assert Hold(1.0, 0.5, "call").held_up(sent_s, answered_s) == waited


FRAMES = [sys._getframe(0), (lambda: sys._getframe(0))()]


def looks(*callbacks: int | None, late_s: float = 0.0, at_s: Sequence[float] = range(10)) -> list[Look]:
    return [
        Look(1.0 + after_s, 1.0, late_s, None if which is None else FRAMES[which], None, ())
        for after_s, which in zip(at_s, callbacks, strict=False)
    ]


AT_S = (0.0, 0.002, 0.006, 0.01, 0.4)
"""Looks are further apart the longer a hold lasts."""


@pytest.mark.parametrize(
    ("kind", "seen", "used"),
    [
        ("call", looks(0, 0, 0), {}),
        ("callbacks", looks(0, 1, 0, 1), {}),
        ("call", looks(1, 1, 1, 0, 0, at_s=AT_S), {}),
        ("callbacks", looks(0, 0, 0, 0, 1, at_s=AT_S), {}),
        ("computing", looks(0, 0, 0), {"thread_s": 0.9, "process_s": 0.9}),
        ("computing", looks(0, 0), {"thread_s": 0.3, "process_s": 0.3, "core_wait_s": 0.6}),
        ("callbacks", looks(0, 1, 0), {"thread_s": 0.9, "process_s": 0.9}),
        ("step", looks(0, late_s=0.8), {"thread_s": 0.9, "process_s": 0.9}),
        ("core", looks(0), {"thread_s": 0.01, "process_s": 0.01, "core_wait_s": 0.9}),
        ("computing", looks(0, late_s=0.8), {"thread_s": 0.3, "process_s": 0.3, "core_wait_s": 0.6}),
        ("interpreter", looks(None), {"process_s": 0.9}),
        ("interpreter", looks(0, late_s=0.9), {"process_s": 0.4, "core_wait_s": 0.6}),
        ("interpreter", looks(0, 0), {"process_s": 0.9, "switches": 200}),
        ("call", looks(0, 0), {"process_s": 0.9, "switches": 1}),
        ("unseen", [], {}),
    ],
)
def test_what_held_up_a_loop_follows_from_what_was_used(
    kind: str, seen: list[Look], used: dict[str, Any]
) -> None:
    before = Stand(1.0, 0.0, 0.0, 0.0, 0)
    hold = judge(Evidence(before, replace(before, time_s=2.0, **used), 1.01, seen, 0.0, 0))
    assert hold.kind == kind
    assert judge(Evidence(before, replace(before, time_s=2.0), 1.01, seen, 0.9, 1)).kind == "collection"


@pytest.mark.parametrize(
    ("thread_s", "core_wait_s", "kind", "told"),
    [
        (0.9, 0.05, "collection", "garbage collection of generation 2"),
        (
            0.4,
            0.55,
            "collection",
            "garbage collection of generation 2, which waited for a core most of the time",
        ),
        (0.1, 0.9, "core", "other programs that have the cores"),
    ],
)
def test_a_collector_that_lacks_a_core_is_not_to_blame(
    thread_s: float, core_wait_s: float, kind: str, told: str
) -> None:
    before = Stand(1.0, 0.0, 0.0, 0.0, 0)
    after = Stand(2.0, thread_s, thread_s, core_wait_s, 0)
    hold = judge(Evidence(before, after, 1.01, looks(0, 0), 0.95, 2))
    assert (hold.kind, call_at(hold)) == (kind, told)


def test_a_hold_has_not_waited_for_a_core_for_longer_than_it_took() -> None:
    before = Stand(1.0, 0.0, 0.0, 0.0, 0)
    hold = judge(Evidence(before, Stand(2.0, 0.5, 0.5, 0.5, 0), 1.9, looks(0, 0), 0.0, 0))
    assert hold.core_wait_s <= hold.duration_s


def here(*_: object) -> Spot:
    """Return where the caller is."""
    return spot(sys._getframe(1))


def test_among_many_callbacks_what_most_are_at_is_named() -> None:
    before, after = Stand(1.0, 0.0, 0.0, 0.0, 0), Stand(2.0, 0.0, 0.0, 0.0, 0)
    rare = here()
    usual = here()
    frames = [*FRAMES, (lambda: sys._getframe(0))()]
    seen = [
        Look(1.0, 1.0, 0.0, frame, where, ())
        for frame, where in zip(frames, (rare, usual, usual), strict=True)
    ]
    hold = judge(Evidence(before, after, 1.01, seen, 0.0, 0))
    assert (hold.kind, hold.line) == ("callbacks", usual.line)


def test_a_call_has_the_name_that_it_has_in_the_source() -> None:
    class Other:
        here = staticmethod(here)

    names = {"other": Other()}
    assert at(here()).call == "here"
    assert at(Other.here(1, [2])).call == "Other.here"
    assert at(
        names["other"].here(
            "of several lines",
        )
    ).call == "names['other'].here"  # fmt: skip
    assert at(here()).line == sys._getframe().f_lineno


def test_an_alarm_needs_no_descriptor_where_none_is_left() -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1, limits[1]))
    try:
        found = alarm()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    found.set(perf_counter())
    found.wait()
    found.close()


@pytest.mark.parametrize("make", [alarm, WaitingAlarm])
def test_an_alarm_that_is_put_off_goes_off_no_earlier(make: Callable[[], Alarm]) -> None:
    one = make()
    at_s = perf_counter() + 0.05
    one.set(at_s - 0.03)
    woke: list[float] = []

    def wait() -> None:
        one.wait()
        woke.append(perf_counter())

    thread = threading.Thread(target=wait)
    one.set(at_s)
    thread.start()
    thread.join(30)
    one.close()
    assert woke[0] >= at_s - 0.001


def tasks_of(handler: str, engine: Engine) -> list[tuple[ProcessKey, TaskView]]:
    looked = [(use.key, use.lens.tasks) for use in engine.snapshot().processes if use.lens and use.lens.tasks]
    return [(key, one) for key, tasks in looked for one in tasks.tasks if one.coroutine.startswith(handler)]


@pytest.mark.parametrize("place", ["loop", "server"])
async def test_a_task_of_own_code_is_cancelled_wherever_it_runs(place: str) -> None:
    async with running(handler="tests.engine.own_servers:echo", place=place, lens=True) as engine:
        await until(lambda: tasks_of("echo ", engine))
        process, task = tasks_of("echo ", engine)[0]
        assert task.owner == OWN
        assert "own_servers.py:" in task.waits_in
        assert (process[1] == os.getpid()) == (place == "loop")
        cancelled = await engine.cancel_task(process, task.number)
        assert cancelled.outcome is CancelOutcome.ENDED
        told = [event.text for event in engine.snapshot(EVERYTHING).events if event.role == "run"]
        asked = told.index(f"cancel requested: {task.title}")
        assert cancelled.sentence in told[asked + 1 :]
        await tune(engine, lens=False)
        assert (await engine.cancel_task(process, task.number)).outcome is CancelOutcome.OFF
