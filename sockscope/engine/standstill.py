"""Standstills: what holds up a server that is stalled, in threads or on the loop."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter, sleep


class Standstill:
    """Holds up the threads that come by, as if all of them were in one call that blocks.

    A thread looks at ``holds`` wherever it is about to touch a socket, and calls :meth:`wait` if it is set,
    or :meth:`at_request` before it answers: without a standstill that costs a comparison.
    """

    def __init__(self) -> None:
        self.holds = False
        """Whether there is, or was, anything that holds up who comes by."""
        self._until_s = 0.0
        self._lifted = threading.Event()
        self._strike: Callable[[], object] | None = None

    def begin(self, seconds: float) -> None:
        """Hold up, from now on and for so long, whoever comes by."""
        self._lifted.clear()
        self._until_s = perf_counter() + seconds
        self.holds = True

    def strike_with(self, strike: Callable[[], object] | None) -> None:
        """Call ``strike`` at every request from now on; None: do so no more."""
        self._strike = strike
        self.holds = strike is not None or self._until_s > 0

    def wait(self) -> None:
        """Return when it is over; in a thread."""
        while (left_s := self._until_s - perf_counter()) > 0:
            self._lifted.wait(left_s)

    def at_request(self) -> None:
        """Wait, and do to a request that is to be answered what is to be done; raises what that raises."""
        self.wait()
        if (strike := self._strike) is not None:
            strike()

    def lift(self) -> None:
        """End it: the server stops."""
        self._until_s = 0.0
        self._lifted.set()


class LoopStandstill:
    """Holds up the loop of this process, and remembers when it did so last."""

    def __init__(self) -> None:
        self.began_s = self.ended_s = 0.0
        """Monotonic seconds; 0 = never."""
        self._meant_until_s = 0.0

    def hold(self, seconds: float) -> None:
        """Block, as a call on the loop that takes so long."""
        with self.noted(seconds):
            sleep(seconds)

    @contextmanager
    def noted(self, seconds: float) -> Iterator[None]:
        """Note that the loop is blocked meanwhile, for so long if the process is not stopped beyond that."""
        self.began_s = perf_counter()
        self._meant_until_s = self.began_s + seconds
        yield
        self.ended_s = perf_counter()

    def within_s(self, since_s: float, until_s: float) -> float:
        """Return how much of the last standstill, which is over, lies between two moments."""
        return max(0.0, min(until_s, self.ended_s) - max(since_s, self.began_s))

    def meant_within_s(self, since_s: float, until_s: float) -> float:
        """Return how much of the last standstill, as it was meant, lies between two moments."""
        return max(0.0, min(until_s, self._meant_until_s) - max(since_s, self.began_s))


LOOP_STANDSTILL = LoopStandstill()
"""That of this process: who shares the loop of a stalled server is not late by a fault of his own."""
