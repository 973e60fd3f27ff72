"""What a relay is to do later: one heap and one alarm for all that it holds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from time import perf_counter

from sockscope.engine.timers import Alarm

DUE_PER_TURN = 256
"""Calls that are made in one turn of the loop: what is due besides waits for the next one."""

Call = Callable[[float], object]
"""Called with the moment at which it was due, monotonic seconds."""


class Schedule:
    """Calls by the moment at which they are due; those of one moment are made in the order of asking."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._alarm = Alarm(loop, self._ring)
        self._due: list[tuple[float, int, Call]] = []
        self._numbers = count()
        self._set_for_s = float("inf")

    def __len__(self) -> int:
        return len(self._due)

    def at(self, due_s: float, call: Call) -> None:
        """Make a call at this moment (monotonic seconds), never before."""
        heappush(self._due, (due_s, next(self._numbers), call))
        if due_s < self._set_for_s:
            self._set_for_s = due_s
            self._alarm.set(due_s - perf_counter())

    def hasten(self) -> None:
        """Make every call that waits as soon as the loop gets to it, in the order in which they were due."""
        now_s = perf_counter()
        self._due = [(min(due_s, now_s), number, call) for due_s, number, call in sorted(self._due)]
        # Sorted by what was due first: as many as are due by now keep their order only by new numbers.
        self._due = [(due_s, next(self._numbers), call) for due_s, _, call in self._due]
        self._set()

    def close(self) -> None:
        """Make no more calls."""
        self._due.clear()
        self._alarm.close()

    def _ring(self) -> None:
        due, now_s = self._due, perf_counter()
        for _ in range(DUE_PER_TURN):
            if not due or due[0][0] > now_s:
                break
            due_s, _, call = heappop(due)
            call(due_s)
            due = self._due
        self._set()

    def _set(self) -> None:
        if self._due:
            self._set_for_s = self._due[0][0]
            self._alarm.set(self._set_for_s - perf_counter())
        else:
            self._set_for_s = float("inf")
