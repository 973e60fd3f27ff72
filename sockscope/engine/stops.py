"""The time in which this process was stopped from outside (SIGSTOP): nothing ran, so nothing was late.

A stop shows only when it is over, by SIGCONT. Whoever owns the signals of the process calls
:meth:`Stops.continued`; how long it lasted is worked out at the next step of what runs all the time, where no
request is in the middle of anything.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from time import perf_counter

from sockscope.engine.standstill import LOOP_STANDSTILL

STEP_S = 0.01
"""How often somebody looks while traffic goes on: so much of a stop is not known, and left out of it."""
IDLE_STEP_S = 0.2
"""The same while it is paused."""
SHORTEST_S = 0.1
"""Shorter ones are not told from a loop that is late."""


def leave_stops_to_main() -> None:
    """Have SIGCONT not come to this thread: the main one is to know of a stop before it goes on."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCONT})


class Stops:
    """Tells ``listeners`` the seconds of each stop, once it is over."""

    def __init__(self) -> None:
        self.listeners: set[Callable[[float], object]] = set()
        self.is_continued = False
        """Whether the process goes on after a stop that nobody has looked at yet."""
        self._continued_s = self._looked_s = self._step_s = 0.0

    def continued(self, *_: object) -> None:
        """Take note that the process goes on; for a handler of signals."""
        self.is_continued, self._continued_s = True, perf_counter()

    def look(self, step_s: float = STEP_S) -> None:
        """Look whether the process was stopped since the last look; the next comes within ``step_s``.

        Time for which a stalled server has held up this loop is none of it: that would have passed anyway.
        """
        now_s = perf_counter()
        if self.is_continued:
            self.is_continued = False
            since_s, until_s = self._looked_s + self._step_s, self._continued_s
            lasted_s = until_s - since_s - LOOP_STANDSTILL.meant_within_s(since_s, until_s)
            if self._looked_s and lasted_s >= SHORTEST_S:
                for listener in list(self.listeners):
                    listener(lasted_s)
        self._looked_s, self._step_s = now_s, step_s


STOPS = Stops()
"""Those of this process."""
