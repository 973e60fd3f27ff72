"""A thread that looks at what a loop does when its heartbeat is overdue, and sleeps until then."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from time import perf_counter
from types import FrameType

from sockscope.core.wire.octets import printable
from sockscope.engine.lens.alarm import alarm
from sockscope.engine.lens.meter import Meter
from sockscope.engine.lens.stack import Spot, frames_of, spot, telling
from sockscope.engine.run_queue import thread_times
from sockscope.engine.stops import leave_stops_to_main

OVERDUE_S = 0.01
"""A heartbeat that is so late is overdue: turns of a busy loop take less."""
FIRST_LOOKS_S, MOST_BETWEEN_S = 0.002, 0.5
"""Time between the first looks at a loop that is held up; it doubles with every second one, up to so much."""
MOST_LOOKS = 100
"""Looks at one hold that are kept."""
_MOST_THREADS = 32
_RESTS_IN = ("threading.py", "queue.py", "selectors.py", "thread.py")
"""Files of Python in which threads wait for something to do."""
_MOST_NAME = 30
_NANO = 1e9


@dataclass(frozen=True, slots=True)
class Busy:
    """Another thread that does not wait for something to do: where it is, and its CPU seconds so far."""

    name: str
    native_id: int
    computed_s: float
    where: Spot


@dataclass(frozen=True, slots=True)
class Look:
    """What the loop's thread did at one moment.

    ``begun_s`` is when the loop began with that. ``callback`` is the frame of the callback that it runs
    (None: it waits, or runs no Python), and ``where`` the line that tells most of it. ``late_s`` is how long
    the watchdog had to wait for the interpreter, or for a core, before it could look.
    """

    time_s: float
    begun_s: float
    late_s: float
    callback: FrameType | None
    where: Spot | None
    others: tuple[Busy, ...]


class Watchdog:
    """Looks at the thread of a loop, which makes it and tells it of each heartbeat; until it is closed."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._loop_thread = threading.get_ident()
        self._alarm = alarm()
        self._due_s = self._set_s = float("inf")
        self.depth = 0
        """Frames of the thread below a callback of the loop's; 0 until that is learned."""
        self._looks: list[Look] = []
        self._closed = False
        self._thread = threading.Thread(target=self._watch, name="sockscope lens", daemon=True)
        self._thread.start()

    # On the loop.

    def expect(self, due_s: float) -> None:
        """Look when no heartbeat has come :data:`OVERDUE_S` after it is due; inf for none."""
        if self._looks:
            self._looks = []  # what came too late for the heartbeat that has ended their hold
        self._due_s, self._set_s = due_s, due_s + OVERDUE_S
        self._alarm.set(self._set_s)

    def take(self) -> list[Look]:
        """Return the looks since the last time, the earliest first."""
        looks, self._looks = self._looks, []
        return looks

    def learn_depth(self, callback: FrameType | None) -> None:
        """Learn from the frame of a callback how many frames of the thread are below it: the loop's."""
        self.depth = len(frames_of(callback))

    def close(self) -> None:
        """End the thread."""
        self._closed = True
        self._alarm.set(0.0)
        self._thread.join()
        self._alarm.close()

    # In the thread.

    def _set(self, at_s: float) -> None:
        self._set_s = at_s
        self._alarm.set(at_s)
        if self._closed:  # meanwhile: who closes waits for the thread
            self._alarm.set(0.0)

    def _watch(self) -> None:
        leave_stops_to_main()
        seen_s, count, between_s = 0.0, 0, 0.0
        while True:
            self._alarm.wait()
            if self._closed:
                return
            now_s, due_s = perf_counter(), self._due_s
            if now_s < due_s + OVERDUE_S:  # it was put off while this thread woke up
                self._set(due_s + OVERDUE_S)
                continue
            if due_s != seen_s:
                seen_s, count, between_s = due_s, 0, FIRST_LOOKS_S
            look = self._look(now_s, now_s - self._set_s)
            if due_s == self._due_s:
                self._keep(look)
                count += 1
                between_s = between_s if count % 2 else min(2 * between_s, MOST_BETWEEN_S)
                self._set(perf_counter() + between_s)

    def _keep(self, look: Look) -> None:
        if len(self._looks) < MOST_LOOKS:
            self._looks.append(look)

    def _look(self, now_s: float, late_s: float) -> Look:
        stacks = sys._current_frames()
        frames = frames_of(stacks.get(self._loop_thread))
        waits = any(frame.f_code is self._meter.waits_in for frame in frames)
        known = self.depth and not waits and len(frames) >= self.depth
        above = frames[: len(frames) - self.depth + 1] if known else []
        found = telling(above)
        return Look(
            time_s=now_s,
            begun_s=self._meter.begun_s(),
            late_s=max(late_s, 0.0),
            callback=above[-1] if above else None,
            where=spot(found) if found is not None else None,
            others=tuple(self._others(stacks)),
        )

    def _others(self, stacks: Mapping[int, FrameType]) -> Iterator[Busy]:
        """Yield the other threads that do something."""
        for thread in threading.enumerate()[:_MOST_THREADS]:
            stack = frames_of(stacks.get(thread.ident or 0))
            if thread.ident == self._loop_thread or thread is self._thread or thread.native_id is None:
                continue
            if (found := telling(stack)) is None or stack[0].f_code.co_filename.endswith(_RESTS_IN):
                continue
            times = thread_times(f"/proc/self/task/{thread.native_id}/schedstat")
            name = printable(thread.name, _MOST_NAME)
            yield Busy(name, thread.native_id, times[0] / _NANO if times else 0.0, spot(found))
