"""Standstills: what holds up a server that is stalled, in threads or on the loop."""

from __future__ import annotations

import threading
from time import perf_counter, sleep


class Standstill:
    """Holds up the threads that come by, as if all of them were in one call that blocks.

    A thread looks at ``until_s`` wherever it is about to touch a socket, and calls :meth:`wait` if it is set:
    without a standstill that costs a comparison.
    """

    def __init__(self) -> None:
        self.until_s = 0.0
        """When it ends, or the last one ended (monotonic); 0 when there was none."""
        self._lifted = threading.Event()

    def begin(self, seconds: float) -> None:
        """Hold up, from now on and for so long, whoever comes by."""
        self._lifted.clear()
        self.until_s = perf_counter() + seconds

    def wait(self) -> None:
        """Return when it is over; in a thread."""
        while (left_s := self.until_s - perf_counter()) > 0:
            self._lifted.wait(left_s)

    def lift(self) -> None:
        """End it: the server stops."""
        self.until_s = 0.0
        self._lifted.set()


class LoopStandstill:
    """Holds up the loop of this process, and remembers when it did so last."""

    def __init__(self) -> None:
        self.began_s = self.ended_s = 0.0
        """Monotonic seconds; 0 = never."""

    def hold(self, seconds: float) -> None:
        """Block, as a call on the loop that takes so long."""
        self.began_s = perf_counter()
        sleep(seconds)
        self.ended_s = perf_counter()

    def within_s(self, since_s: float, until_s: float) -> float:
        """Return how much of the last standstill, which is over, lies between two moments."""
        return max(0.0, min(until_s, self.ended_s) - max(since_s, self.began_s))


LOOP_STANDSTILL = LoopStandstill()
"""That of this process: who shares the loop of a stalled server is not late by a fault of his own."""
