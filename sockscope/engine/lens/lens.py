"""The lens on the loop of this process: how busy it is, and who holds it up."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from time import perf_counter

from sockscope.core.run.adding import joined
from sockscope.core.run.lens import MOST_HOLDS, Hold, LensView
from sockscope.core.run.tasks import Cancelled, CancelOutcome
from sockscope.engine.lens.clocks import Clocks, Reading
from sockscope.engine.lens.holds import Evidence, judge
from sockscope.engine.lens.meter import Meter, meter_of
from sockscope.engine.lens.task_watch import TaskWatch
from sockscope.engine.lens.watchdog import OVERDUE_S, Watchdog
from sockscope.engine.sampler import Sampler


class Collector:
    """Times the collections of the garbage collector, in whatever thread, until it is ended."""

    def __init__(self) -> None:
        self.count = 0
        self.total_s = 0.0
        self.generation = 0
        """That of the longest collection since :meth:`begin_anew`."""
        self._longest_s = self._began_s = 0.0
        gc.callbacks.append(self._collects)

    def _collects(self, phase: str, info: Mapping[str, int]) -> None:
        if phase == "start":
            self._began_s = perf_counter()
            return
        took_s = perf_counter() - self._began_s
        self.count += 1
        self.total_s += took_s
        if took_s > self._longest_s:
            self._longest_s, self.generation = took_s, info["generation"]

    def begin_anew(self) -> None:
        """Forget the longest."""
        self._longest_s = 0.0

    def end(self) -> None:
        """Hear of no more collections."""
        with suppress(ValueError):  # own code has cleared the list
            gc.callbacks.remove(self._collects)


class _Look:
    """What looks into the loop while the lens is on."""

    def __init__(self, loop: asyncio.AbstractEventLoop, on_hold: Callable[[Hold], object]) -> None:
        self.began_s = perf_counter()
        self.meter: Meter = meter_of(loop)
        self.collector = Collector()
        self.tasks = TaskWatch()
        self.tasks.begin()
        self._clocks = Clocks()
        self._watchdog = Watchdog(self.meter)
        self._on_hold = on_hold
        self._before: Reading | None = None
        self._collected_s = 0.0

    def expect(self, due_s: float) -> None:
        """The heartbeat begins."""
        self._note(self._clocks.read())
        self._watchdog.expect(due_s)

    def beaten(self, due_s: float, now_s: float, next_s: float) -> None:
        """Note where things stand; tell of the hold that has ended if the heartbeat was overdue."""
        if not self._watchdog.depth:
            self._watchdog.learn_depth(sys._getframe(1))
        now = self._clocks.read()
        if now_s - due_s >= OVERDUE_S:
            self._held(now, due_s)
        self._note(now)
        self.meter.beat()
        self._watchdog.expect(next_s)

    def _held(self, now: Reading, due_s: float) -> None:
        looks, collecting_s = self._watchdog.take(), self.collector.total_s - self._collected_s
        if self._before is None:
            return
        seen = Evidence(
            self._before.stand(), now.stand(), due_s, looks, collecting_s, self.collector.generation
        )
        self.meter.held(seen.duration_s, seen.duration_s - seen.computed_s - seen.core_wait_s)
        self._on_hold(judge(seen))

    def _note(self, now: Reading) -> None:
        self._before = now
        if self._collected_s != self.collector.total_s:
            self._collected_s = self.collector.total_s
            self.collector.begin_anew()

    def rest(self) -> None:
        """There is no heartbeat for now."""
        self._watchdog.expect(float("inf"))

    def end(self) -> None:
        """Leave everything as it was."""
        self.tasks.end()
        self._watchdog.close()
        self._clocks.close()
        self.collector.end()
        self.meter.end()


class Lens:
    """Looks into the running loop while it is on; what it has counted stays when it is off.

    ``sampler`` has the heartbeat by which holds are told.
    """

    def __init__(self, sampler: Sampler) -> None:
        self._loop = asyncio.get_running_loop()
        self._sampler = sampler
        self._look: _Look | None = None
        self._past: LensView | None = None
        self._holds: deque[Hold] = deque(maxlen=MOST_HOLDS)
        self._held, self._held_s = 0, 0.0

    def look(self, on: bool) -> None:
        """Switch it on or off; on the loop."""
        if on == (self._look is not None):
            return
        if on:
            self._look = _Look(self._loop, self._add)
            self._sampler.listen(self._look, threads=1)
        elif self._look is not None:
            self._sampler.listen(None)
            view = self.view()
            self._past = replace(view, is_on=False, tasks=None) if view is not None else None
            self._look.end()
            self._look = None

    def _add(self, hold: Hold) -> None:
        self._holds.append(hold)
        self._held += 1
        self._held_s += hold.duration_s

    @property
    def holds(self) -> Sequence[Hold]:
        """The latest holds, the earliest first."""
        return self._holds

    def view(self) -> LensView | None:
        """Return what it has seen so far; None when it was never on."""
        look = self._look
        if look is None:
            return self._past
        # The clock of the CPU time and that of the time are two: what was never idle may be a little more.
        looked_s = perf_counter() - look.began_s
        busy_s = min(look.meter.busy_s(), looked_s)
        now = LensView(
            is_on=True,
            busy_by=look.meter.busy_by,
            looked_s=looked_s,
            busy_s=busy_s,
            turns=look.meter.turns,
            callbacks=look.meter.callbacks,
            collections=look.collector.count,
            collecting_s=look.collector.total_s,
            tasks=look.tasks.view,
        )
        if self._past is not None:
            now = joined(self._past, now)
        return replace(now, held=self._held, held_s=self._held_s, holds=tuple(self._holds))

    async def cancel_task(self, number: int) -> Cancelled:
        """Cancel a task of own code and return what became of it."""
        if self._look is None:
            return Cancelled(CancelOutcome.OFF, f"task {number}")
        return await self._look.tasks.cancel(number)
