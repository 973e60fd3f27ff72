"""The holds of all loops of a run: lines of its log, and how many requests each has held up."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from time import perf_counter

from sockscope.core.run.lens import Hold, call_at
from sockscope.core.run.snapshot import ProcessKey, ProcessUse
from sockscope.core.units import format_duration

COUNTED_AFTER_S = 0.05
"""So long after a hold those who waited for its end have their answers."""
LINES_EVERY_S, SAME_EVERY_S = 1.0, 5.0
"""Least time between two lines of the log, and between two about the same call."""
LONG_S = 0.2
"""A hold that no call is to blame for, or that holds up nothing but the screen, gets a line from this length
on."""
SHORT_S, OFTEN = 0.05, 5
"""A shorter hold gets one only when the same call has held up a loop so often."""
_MOST_COUNTS, _MOST_CAUSES = 1_000, 100
_NAMELESS = ("core", "unseen")
_BLAMELESS = (*_NAMELESS, "callbacks")


class HoldLog:
    """Hears of the holds of the processes of a run now and then, and tells what is new.

    ``note(time_s, text)`` writes a line; ``count`` returns how many requests waited for the end of a hold.
    """

    def __init__(self, note: Callable[[float, str], object], count: Callable[[Hold], Awaitable[int]]) -> None:
        self._note = note
        self._count = count
        self._seen_s: dict[ProcessKey, float] = {}
        # Those whose requests are counted, by their process and when they began.
        self._counted: dict[tuple[ProcessKey, float], Hold] = {}
        self._noted_s: dict[str, float] = {}
        self._times: dict[str, int] = {}
        self._untold = 0
        # What counts, by the moment from which on it does.
        self._tasks: dict[asyncio.Task[None], float] = {}

    def take(self, processes: Iterable[ProcessUse]) -> tuple[ProcessUse, ...]:
        """Tell of new holds, and return the processes with what is known of their requests."""
        return tuple([self._take(process) for process in processes])

    def _take(self, process: ProcessUse) -> ProcessUse:
        lens = process.lens
        if lens is None or not lens.holds:
            return process
        self.hear(process.key, process.roles, lens.holds)
        counted, key = self._counted, process.key
        known = tuple([counted.get((key, hold.begin_s), hold) for hold in lens.holds])
        return replace(process, lens=replace(lens, holds=known))

    def hear(self, process: ProcessKey, roles: Sequence[str], holds: Sequence[Hold]) -> None:
        """Tell of what is new among the holds of a process, the earliest of which is first."""
        seen_s = self._seen_s.get(process, float("-inf"))
        for hold in holds:
            if hold.begin_s > seen_s:
                self._tell(process, roles, hold)
        if holds:
            self._seen_s[process] = holds[-1].begin_s

    def _tell(self, process: ProcessKey, roles: Sequence[str], hold: Hold) -> None:
        is_counted = hold.kind not in _NAMELESS or hold.duration_s >= SHORT_S
        if roles and is_counted:  # no request goes through the others
            # Whoever hears of it late need not wait once more.
            from_s = max(hold.end_s + COUNTED_AFTER_S, now_s := perf_counter())
            counting = self._count_later(process, hold, min(from_s - now_s, COUNTED_AFTER_S))
            task = asyncio.get_running_loop().create_task(counting)
            self._tasks[task] = from_s
            task.add_done_callback(self._tasks.pop)
        if hold.duration_s < LONG_S and (hold.kind in _BLAMELESS or not roles):
            return
        cause = call_at(hold)
        self._times[cause] = times = self._times.pop(cause, 0) + 1
        if len(self._times) > _MOST_CAUSES:
            del self._times[next(iter(self._times))]
        if hold.duration_s < SHORT_S and times < OFTEN:
            return
        last_s = max(self._noted_s.values(), default=float("-inf"))
        same_s = self._noted_s.get(cause, float("-inf"))
        if hold.begin_s < max(last_s + LINES_EVERY_S, same_s + SAME_EVERY_S):
            self._untold += 1
            return
        more = f", and {self._untold:,} more since the last line" if self._untold else ""
        length = format_duration(hold.duration_s)
        self._note(hold.begin_s, f"held up {length}: {cause} ({process[0]}){more}")
        self._noted_s.pop(cause, None)
        self._noted_s[cause], self._untold = hold.begin_s, 0
        if len(self._noted_s) > _MOST_CAUSES:
            del self._noted_s[next(iter(self._noted_s))]

    async def _count_later(self, process: ProcessKey, hold: Hold, after_s: float) -> None:
        await asyncio.sleep(after_s)
        count = await self._count(hold)
        self._counted[process, hold.begin_s] = replace(hold, requests=count)
        if len(self._counted) > _MOST_COUNTS:
            del self._counted[next(iter(self._counted))]

    async def settle(self) -> None:
        """Let the requests be counted of the holds that are over for long enough, unless that takes long."""
        now_s = perf_counter()
        if due := [task for task, from_s in self._tasks.items() if from_s <= now_s]:
            await asyncio.wait(due, timeout=COUNTED_AFTER_S)

    def close(self) -> None:
        """Count no more."""
        for task in self._tasks:
            task.cancel()
