"""How busy a loop is, as far as the loop lets that be known."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sized
from dataclasses import dataclass
from random import uniform
from time import perf_counter, thread_time
from types import CodeType
from typing import Any, Protocol

TIMED_TURNS_PER_S = 2_500
"""About so many turns are timed where there are more: timing all would cost more than half a per cent."""
MOST_RESTS = 15
"""Intervals between heartbeats that are not timed then, on average, for each that is: what is shown is an
old one's for a quarter of a second at most."""


class Meter(Protocol):
    """Counts while it is made and until it is ended; to be used in the thread of its loop."""

    busy_by: str

    @property
    def turns(self) -> int | None:
        """Turns of the loop so far; None where it does not tell."""
        ...

    @property
    def callbacks(self) -> int | None:
        """Callbacks so far; None where it does not tell."""
        ...

    waits_in: CodeType | None
    """The code that runs while the loop waits; None where that is not Python."""

    def busy_s(self) -> float:
        """Seconds in which the loop was busy so far."""
        ...

    def begun_s(self) -> float:
        """When the loop began with what it does now, monotonic; inf if that is not known. For any thread."""
        ...

    def beat(self) -> None:
        """The heartbeat came."""
        ...

    def held(self, hold_s: float, idle_s: float) -> None:
        """The loop was held up for so long, for ``idle_s`` of it without computing or waiting for a core."""
        ...

    def end(self) -> None:
        """Leave the loop as it was."""
        ...


@dataclass(slots=True)
class _Counts:
    """What is counted in some time, or thought to be."""

    length_s: float = 0.0
    waited_s: float = 0.0
    turns: float = 0.0
    callbacks: float = 0.0

    def add(self, other: _Counts, times: float = 1.0) -> None:
        """Add so many times what another one has."""
        self.length_s += times * other.length_s
        self.waited_s += times * other.waited_s
        self.turns += times * other.turns
        self.callbacks += times * other.callbacks


class SelectMeter:
    """Times the selector of asyncio's own loop: what is not spent in it is spent in callbacks.

    A turn of the loop is a call of ``select``. Callbacks are those of sockets that were ready, and those that
    waited for the turn when it began (``call_soon``); timers are not among them.

    Where a loop makes many turns not all of them are timed, but those of an interval between heartbeats now
    and then, and those of the next ones, a random number, are taken to be like them; a hold counts as it is.
    """

    busy_by = "select"

    def __init__(self, loop: asyncio.AbstractEventLoop, selector: Any) -> None:
        self._selector, self._ready = selector, getattr(loop, "_ready", ())
        self.waits_in: CodeType | None = type(selector).select.__code__
        self._counts, self._last = _Counts(), _Counts()
        self._since_s = perf_counter()
        self._rests = 0
        self._held_s = 0.0
        self._tell: Callable[[], tuple[_Counts, float]] | None = None
        self._time()

    def _time(self) -> None:
        self._selector.select, self._tell = _timed(self._selector.select, self._ready)
        self._since_s = perf_counter()

    def _passed(self) -> _Counts:
        """Return what has passed since timing began, or ended."""
        length_s = perf_counter() - self._since_s
        if self._tell is not None:
            counts = self._tell()[0]
            counts.length_s = length_s
            return counts
        passed, last = _Counts(self._held_s), self._last
        passed.add(last, max(length_s - self._held_s, 0.0) / last.length_s if last.length_s else 0.0)
        return passed

    def beat(self) -> None:
        """Go over to timing, or to resting, when it is time for that; at each heartbeat."""
        if self._tell is None:
            self._rests -= 1
            if self._rests:
                return
            self._counts.add(self._passed())
            self._held_s = 0.0
            self._time()
            return
        length_s = perf_counter() - self._since_s
        if self._tell()[0].turns > 2 * TIMED_TURNS_PER_S * length_s > 0:
            self._last = passed = self._passed()
            self._counts.add(passed)
            self._end_timing()
            self._since_s, self._rests = perf_counter(), _rests(passed.turns / passed.length_s)

    def _now(self) -> _Counts:
        now = _Counts()
        now.add(self._counts)
        now.add(self._passed())
        return now

    @property
    def turns(self) -> int | None:
        """Calls of the selector."""
        return round(self._now().turns)

    @property
    def callbacks(self) -> int | None:
        """Callbacks of sockets, and those that waited for a turn."""
        return round(self._now().callbacks)

    def busy_s(self) -> float:
        """Seconds outside of the selector."""
        now = self._now()
        return now.length_s - now.waited_s

    def begun_s(self) -> float:
        """When the selector returned; inf while that is not timed."""
        tell = self._tell
        return tell()[1] if tell is not None else float("inf")

    def held(self, hold_s: float, idle_s: float) -> None:
        """All of a hold is outside of the selector."""
        if self._tell is None:
            self._held_s += hold_s

    def _end_timing(self) -> None:
        if self._tell is not None:
            del self._selector.select
            self._tell = None

    def end(self) -> None:
        """Let the loop wait in its selector as before."""
        self._end_timing()


def _rests(turns_per_s: float) -> int:
    """Return how many intervals are not timed: a random number, lest the loop has a rhythm like that."""
    mean = min(turns_per_s / TIMED_TURNS_PER_S - 1, MOST_RESTS)
    return max(round(uniform(0.5, 1.5) * mean), 1)


def _timed(select: Any, ready: Sized) -> tuple[Any, Callable[[], tuple[_Counts, float]]]:
    """Return a ``select`` that counts, and what tells its counts and when it returned.

    They are variables of it, which cost less than attributes.
    """
    turns, callbacks, waited_s, returned_s = 0, 0, 0.0, perf_counter()
    clock = perf_counter

    def timed(timeout: float | None = None) -> Any:
        nonlocal turns, callbacks, waited_s, returned_s
        waiting = len(ready)
        entered_s = clock()
        events = select(timeout)
        returned_s = clock()
        waited_s += returned_s - entered_s
        turns += 1
        callbacks += waiting + len(events)
        return events

    return timed, lambda: (_Counts(0.0, waited_s, turns, callbacks), returned_s)


class CpuMeter:
    """Goes by the CPU time of the loop's thread, for loops that do not tell when they wait: uvloop's.

    A call that blocks the thread without computing is in it if it was seen as a hold.
    """

    busy_by = "CPU"
    turns: int | None = None
    callbacks: int | None = None
    waits_in: CodeType | None = None

    def __init__(self) -> None:
        self._began_s = thread_time()
        self._held_s = 0.0

    def busy_s(self) -> float:
        """CPU seconds of the thread, and what it was held up besides."""
        return thread_time() - self._began_s + self._held_s

    def beat(self) -> None:
        """Nothing to do: the system counts."""

    def held(self, hold_s: float, idle_s: float) -> None:
        """Count what is no CPU time."""
        self._held_s += max(idle_s, 0.0)

    def begun_s(self) -> float:
        """Not known: ``loop.time()`` of uvloop is the time of its call (``uv_update_time``)."""
        return float("inf")

    def end(self) -> None:
        """Nothing to do: it has changed nothing."""


def meter_of(loop: asyncio.AbstractEventLoop) -> Meter:
    """Return what measures ``loop``, the running one; it begins at once."""
    selector = getattr(loop, "selector", None)
    return CpuMeter() if selector is None else SelectMeter(loop, selector)
