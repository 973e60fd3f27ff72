"""How long the threads of a process ran, and waited for a core although they could have run (Linux).

A busy machine hides who is the limit: a process that runs for 48 % of the time and waits for a core for 46 %
wants it for 94 %. The kernel counts both for each thread, in nanoseconds: the first two fields of
``/proc/PID/task/TID/schedstat`` (Documentation/scheduler/sched-stats.rst).
"""

from __future__ import annotations

import os
from typing import NamedTuple

THREADS = 8
"""Threads that are read, the oldest: the loop, and what serves in one thread."""

_MOST_BYTES = 100
"""Three numbers of 64 bits take less."""


class Wanted(NamedTuple):
    """How long the busiest thread ran or waited for a core (``busiest_s``), and waited alone (``waited_s``).

    It is the busiest from one reading to the next. Threads are not added up: a hundred that wake up together
    queue for the cores although there is time to spare.
    """

    waited_s: float
    busiest_s: float


class RunQueue:
    """Counts for one process from the moment that this object is made."""

    def __init__(self, pid: int | None = None) -> None:
        self._tasks = f"/proc/{pid or 'self'}/task"
        self._waited_s = self._busiest_s = 0.0
        self._before = self._threads()

    def read(self) -> Wanted | None:
        """Return the times so far; None where the kernel does not tell. Takes about 10 us a thread."""
        now = self._threads()
        if not now:
            return None
        spent = [
            (sum(times) - sum(self._before[thread]), times[1] - self._before[thread][1])
            for thread, times in now.items()
            if thread in self._before
        ]
        self._before = now
        busiest, waited = max(spent, default=(0, 0))
        self._busiest_s += busiest / 1e9
        self._waited_s += waited / 1e9
        return Wanted(self._waited_s, self._busiest_s)

    def _threads(self) -> dict[str, tuple[int, int]]:
        """Return nanoseconds running and waiting by thread."""
        found: dict[str, tuple[int, int]] = {}
        try:
            for thread in sorted(os.listdir(self._tasks), key=int)[:THREADS]:
                if (times := thread_times(f"{self._tasks}/{thread}/schedstat")) is not None:
                    found[thread] = times
        except OSError:
            return {}
        return found


def thread_times(path: str) -> tuple[int, int] | None:
    """Return nanoseconds running and waiting of one thread, by its ``schedstat``.

    None when it has ended, or the file is not what it should be.
    """
    try:
        # Each call gives the interpreter away, which open() does seven times.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            running, waiting = os.read(descriptor, _MOST_BYTES).split()[:2]
        finally:
            os.close(descriptor)
        return int(running), int(waiting)
    except (OSError, ValueError):
        return None
