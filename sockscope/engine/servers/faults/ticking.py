"""Faults that come so many a second, on the loop of the server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import perf_counter

from sockscope.engine.servers.faults.counts import Counts
from sockscope.engine.servers.faults.requests import BLOCKS_S, PAUSE_S, injected_block
from sockscope.engine.standstill import LOOP_STANDSTILL

TICK_S = 0.05
"""How often those are made that have come due meanwhile."""
MOST_AT_ONCE = 1_000
"""What has come due while the loop was held up is made up for by so many at the most."""


class PerSecond:
    """Calls ``make(count)`` for ``count`` that have come due, as long as the rate is not 0."""

    def __init__(self, make: Callable[[int], object]) -> None:
        self._make = make
        self._per_s = self._due = self._since_s = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def apply(self, per_s: float) -> None:
        """Go over to this rate."""
        if per_s == self._per_s:
            return
        self._per_s = per_s
        self._due, self._since_s = 0.0, perf_counter()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if per_s:
            self._tick()

    def _tick(self) -> None:
        now = perf_counter()
        self._due += (now - self._since_s) * self._per_s
        self._since_s = now
        count = int(self._due)
        self._due -= count
        if count:
            self._make(min(count, MOST_AT_ONCE))
        self._timer = asyncio.get_running_loop().call_later(TICK_S, self._tick)


class BlockedLoop:
    """Blocks the running loop once a second, as ``time.sleep`` in a coroutine does."""

    def __init__(self, counts: Counts) -> None:
        self._counts = counts
        self._seconds = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def apply(self, seconds: float) -> None:
        """Block for so long each time; 0: not at all."""
        self._seconds = seconds
        if not seconds and self._timer is not None:
            self._timer.cancel()
            self._timer = None
        elif seconds and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(PAUSE_S, self._block)

    def _block(self) -> None:
        seconds, began_s = self._seconds, perf_counter()
        with LOOP_STANDSTILL.noted(seconds):
            injected_block(seconds)
        took_s = perf_counter() - began_s
        self._counts.add("blocks")
        self._counts.add("blocked_s", took_s)
        again_s = max(BLOCKS_S - took_s, PAUSE_S)
        self._timer = asyncio.get_running_loop().call_later(again_s, self._block)
