"""The panel of tasks: which there are, where they wait, and how one is cancelled."""

from __future__ import annotations

from dataclasses import replace

from sockscope.core.run.lens import LensView
from sockscope.core.run.raised import Raised
from sockscope.core.run.snapshot import ProcessUse
from sockscope.core.run.tasks import (
    OURS,
    OWN,
    AwaitedView,
    CallView,
    ExecutorView,
    Growth,
    TaskState,
    TasksView,
    TaskView,
    Unclosed,
)
from sockscope.faces.tui.panels.tasks import _how_many
from tests.tui.driving import FakeDriver, dashboard

PID = 4_321
"""Of two processes, which are on two machines."""


WAITING = TaskView(
    number=1,
    name="first \x1b[2J",
    coroutine="handle mine.py:18",
    owner=OWN,
    state=TaskState.WAITING,
    age_s=90.0,
    age_known=False,
    waits_s=0.5,
    waits_in="mine.py:31 sleep",
    waits_for="future",
    chain=("handle mine.py:20", "step mine.py:31", "sleep asyncio/tasks.py:649"),
    made_at="mine.py:7",
)
TASKS = TasksView(
    1_000.0,
    alive=1_003,
    own=2,
    tasks=(
        WAITING,
        replace(WAITING, number=2, name="second", age_s=3.0, age_known=True, waits_in="mine.py:40 Queue.get"),
        replace(WAITING, number=3, name="ours", age_s=99.0, owner=OURS),
    ),
    growing=(Growth("handle mine.py:18", 900, 12.0),),
    awaited=(AwaitedView("Semaphore", "locked", "mine.py:40", 5, 2.0, ("second",), 1),),
    unretrieved=(Raised("ValueError", "mine.py:9", "no [b]such[/] key", 7),),
    unclosed=(Unclosed("mine.py:14", 3, 12.0),),
    executor=ExecutorView(
        2, 3, 3, (CallView("resize mine.py:50", 4.0, True), CallView("resize", 1.0, False))
    ),
)


SCREEN = TasksView(1_000.0, alive=1, tasks=(replace(WAITING, number=2, name="pump", age_s=5.0, owner=OURS),))


async def look(driver: FakeDriver) -> None:
    used = driver.snapshot().resources
    driver.source.processes = tuple(
        ProcessUse(
            name, pid, (), used, "uvloop", {}, lens=LensView(True, "CPU", 1.0, 0.5, None, None, tasks=one)
        )
        for name, pid, one in (("main", PID, SCREEN), ("server", PID, TASKS))
    )
    await driver.press("T")
    await driver.ticks()


def test_the_title_tells_how_old_a_look_is() -> None:
    assert _how_many([TasksView(1.0, alive=5, own=3)], 1.5).startswith("5 alive  3 of own code")
    assert _how_many([TasksView(1.0, alive=5, own=3), TasksView(9.0)], 10.0).startswith(
        "5 alive 9.0 s ago  3 of"
    )


async def test_tasks_are_told_with_what_they_wait_for_and_without_a_lens_how_to_switch_it_on() -> None:
    async with dashboard(size=(160, 48)) as driver:
        await driver.press("T")
        await driver.sees("The lens is off.")
        await driver.press("9")
        await driver.sees("begin with --lens.")
        assert "no loop was held up" not in driver.screen
        await look(driver)
        shown = driver.part("tasks")
        for text in (
            "1,004 alive  2 of own code  4 are here",
            "Semaphore at mine.py:40: locked, 5 wait, 2.0 s the longest, held by 1 (second)",
            "default executor of server: 3 running, 2 queued, 3 threads used, longest resize mine.py:50",
            "3 transports of ended tasks open, 12.0 s the oldest: made at mine.py:14",
            "nobody asked for ValueError at mine.py:9: no [b]such[/] key  ×7",
            "tasks alive grow by 12 per second: handle mine.py:18 (900 now)",
            "≥ 1:30",
        ):
            assert text in shown
        assert "\x1b" not in shown
        await driver.press("enter")
        await driver.sees("handle mine.py:20", "step mine.py:31", "made at  mine.py:7", "x twice cancels it")
        await driver.press("escape", "s")
        await driver.until(
            lambda: any(
                "mine.py:" in line and "waiting" in line for line in driver.part("tasks").splitlines()
            )
        )
        await driver.press("slash")
        await driver.type("Queue")
        await driver.until(lambda: "≥ 1:30" not in driver.part("tasks"))
        await driver.until(lambda: "second" in driver.part("tasks"))


async def test_a_task_of_own_code_is_cancelled_when_the_key_is_pressed_twice() -> None:
    async with dashboard() as driver:
        await look(driver)
        source = driver.source
        await driver.press("x")
        await driver.hears("x again cancels first")
        assert source.cancelled == []
        await driver.press("down", "x")
        await driver.hears("x again cancels second")
        assert source.cancelled == []
        await driver.press("x")
        await driver.until(lambda: source.cancelled == [(("server", PID), 2)])
        await driver.hears("CancelledError arrived after 1.00 ms")
        await driver.press("down", "down", "x", "x")
        await driver.hears(f"ours (handle mine.py:18) is not cancelled: it is of {OURS}")
        assert len(source.cancelled) == 1
